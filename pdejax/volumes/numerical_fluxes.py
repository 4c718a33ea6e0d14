"""The flux through a face from the states on its two sides: approximate Riemann solvers.

Every one is consistent (`flux(u, u) = f(u)`) and upwind. From the most to the least dissipative at contacts and shear
waves: Rusanov, HLL, HLLC and Roe; HLLD is sharper than HLLC where a law has more waves than that. What they ask of a
law: `flux` and `wave_speeds`; HLLC also `contact_speed` and `behind_wave`; HLLD `fan`; Roe `eigensystem`. `FluxWaves`,
for linear laws in a medium, needs no jump of the state (`check_jumps`).
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

Law = Any  # pdejax.equations.ConservationLaw, which stands above this package
States = Float[Array, "channel *face"]
Fluxes = Float[Array, "component *face"]


class AbstractNumericalFlux(eqx.Module):
    """One flux for two states."""

    @abc.abstractmethod
    def __call__(self, law: Law, left: States, right: States, axis: int) -> Fluxes:
        """The flux along `axis` between a state below and one above."""


class Rusanov(AbstractNumericalFlux):
    """The mean of both fluxes and a diffusion with the largest speed: local Lax-Friedrichs.

    Source: Rusanov, USSR Comput. Math. Math. Phys. 1 (1962) 304.
    """

    def __call__(self, law: Law, left: States, right: States, axis: int) -> Fluxes:
        law.check_jumps()
        slowest, fastest = law.wave_speeds(left, right, axis)
        speed = jnp.maximum(jnp.abs(slowest), jnp.abs(fastest))
        flux = law.flux(left, axis) + law.flux(right, axis)
        return (flux - speed * _jump(left, right, flux)) / 2


class HLL(AbstractNumericalFlux):
    """One constant state between the slowest and the fastest wave.

    Source: Harten, Lax & van Leer, SIAM Review 25 (1983) 35.
    """

    def __call__(self, law: Law, left: States, right: States, axis: int) -> Fluxes:
        law.check_jumps()
        slowest, fastest = law.wave_speeds(left, right, axis)
        below, above = jnp.minimum(slowest, 0), jnp.maximum(fastest, 0)
        flux_left, flux_right = law.flux(left, axis), law.flux(right, axis)
        # Two speeds of zero: nothing moves, and both fluxes are one.
        width = jnp.where(above > below, above - below, 1.0)
        between = (above * flux_left - below * flux_right + above * below * _jump(left, right, flux_left)) / width
        return jnp.where(above > below, between, (flux_left + flux_right) / 2)


class HLLC(AbstractNumericalFlux):
    """Two constant states between the outer waves, with the contact apart: a contact at rest stays sharp.

    Source: Toro, Spruce & Speares, Shock Waves 4 (1994) 25; Toro, Riemann Solvers and Numerical Methods for Fluid
    Dynamics (2009), section 10.4.
    """

    def __call__(self, law: Law, left: States, right: States, axis: int) -> Fluxes:
        slowest, fastest = law.wave_speeds(left, right, axis)
        contact = law.contact_speed(left, right, slowest, fastest, axis)
        flux_left, flux_right = law.flux(left, axis), law.flux(right, axis)
        behind_left = flux_left + slowest * _jump(left, law.behind_wave(left, slowest, contact, axis), flux_left)
        behind_right = flux_right + fastest * _jump(right, law.behind_wave(right, fastest, contact, axis), flux_right)
        of_left = jnp.where(slowest >= 0, flux_left, behind_left)
        of_right = jnp.where(fastest <= 0, flux_right, behind_right)
        return jnp.where((slowest >= 0) | ((contact >= 0) & (fastest > 0)), of_left, of_right)


class HLLD(AbstractNumericalFlux):
    """As many constant states as the law's `fan` has: for magnetohydrodynamics four between the outer waves, with the
    contact and the rotations apart.

    The jumps of the fan that run downwards are added to the flux of the left state, or those that run upwards taken
    from that of the right one, so that what moves faster than every wave has its own flux.

    Source: Miyoshi & Kusano, J. Comput. Phys. 208 (2005) 315.
    """

    def __call__(self, law: Law, left: States, right: States, axis: int) -> States:
        speeds, states = law.fan(left, right, axis)
        jumps, speeds = jnp.diff(states, axis=0), speeds[:, None]
        of_left = law.flux(states[0], axis) + jnp.sum(jnp.minimum(speeds, 0) * jumps, axis=0)
        of_right = law.flux(states[-1], axis) - jnp.sum(jnp.maximum(speeds, 0) * jumps, axis=0)
        return jnp.where(speeds[0] + speeds[-1] >= 0, of_left, of_right)


class Roe(AbstractNumericalFlux):
    """Every wave of the linearised problem with its own speed.

    Where a wave's speed goes through zero within a rarefaction the linearised problem has no fan, and would keep an
    expansion shock: speeds nearer to zero than to those of the two states are raised by these. Contacts, whose speeds
    do not differ, stay as they are.

    Sources: Roe, J. Comput. Phys. 43 (1981) 357; Harten & Hyman, J. Comput. Phys. 50 (1983) 235.
    """

    def __call__(self, law: Law, left: States, right: States, axis: int) -> Fluxes:
        law.check_jumps()
        speeds, to_state, to_waves = law.eigensystem(left, right, axis)
        of_left, of_right = (law.eigensystem(u, u, axis)[0] for u in (left, right))
        flux = law.flux(left, axis) + law.flux(right, axis)
        strengths = jnp.sum(to_waves * _jump(left, right, flux)[None], axis=1)
        spread = jnp.maximum(jnp.maximum(speeds - of_left, of_right - speeds), 0)
        is_sonic = jnp.abs(speeds) < spread
        raised = (speeds * speeds / jnp.where(is_sonic, spread, 1.0) + spread) / 2
        dissipation = jnp.sum(to_state * (jnp.where(is_sonic, raised, jnp.abs(speeds)) * strengths)[None], axis=1)
        return (flux - dissipation) / 2


class FluxWaves(AbstractNumericalFlux):
    """Every wave takes its part of the jump of the flux to the side that it moves to.

    For linear laws in a medium that jumps: the waves are those of the material that they run into, at the face between
    them nothing stands still, and this is the exact solution. Other laws have no guard against expansion shocks here.

    Source: Bale, LeVeque, Mitran & Rossmanith, SIAM J. Sci. Comput. 24 (2002) 955.
    """

    def __call__(self, law: Law, left: States, right: States, axis: int) -> Fluxes:
        speeds, to_state, to_waves = law.eigensystem(left, right, axis)
        flux_left, flux_right = law.flux(left, axis), law.flux(right, axis)
        parts = jnp.sign(speeds) * jnp.sum(to_waves * (flux_right - flux_left)[None], axis=1)
        return (flux_left + flux_right - jnp.sum(to_state * parts[None], axis=1)) / 2


def _jump(left: Array, right: Array, flux: Fluxes) -> Fluxes:
    """From one state to the other, without the medium that may follow their components."""
    return right[: flux.shape[0]] - left[: flux.shape[0]]
