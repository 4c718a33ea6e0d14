"""Waves that steepen, spread and disperse, driven by travelling sines."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.equations.conservation_law import ConservationLaw, Speeds, States
from pdejax.equations.equation import coefficient, require_ndim
from pdejax.fields import AbstractField
from pdejax.grid import Grid

_vector = partial(coefficient, vector=True)


class ForcedKortewegDeVriesBurgers(ConservationLaw):
    r"""The combined equation of the message-passing PDE solvers, one component in one dimension:

        u_t + d(alpha u^2 - beta u_x + gamma u_xx) / dx = delta(t, x),
        delta(t, x) = sum over j of A_j sin(omega_j t + k_j x + phi_j)

    - `advection`: alpha. Waves run with `2 alpha u`; 1/2 is Burgers' equation.
    - `diffusivity`: beta >= 0.
    - `dispersion`: gamma. alpha = 3, gamma = 1 is the equation of Korteweg and de Vries with the soliton
      `(c / 2) sech^2(sqrt(c) / 2 (x - c t))`.
    - `amplitudes`, `frequencies`, `wavenumbers`, `phases`: A, omega (radians per time), k (radians per length) and phi,
      one entry per sine; by default there is no force. `random_sines(key, extent)` draws them.

    The mean of u changes by the force alone, and not at all where every sine fits a periodic box. Finite volumes read
    the flux with their reconstruction and `higher_derivatives` with central differences, all other readings the whole.
    (The force at the middle of a cell is its average up to second order.)

    Raises `ValueError` in other than one dimension, for sines that do not have one entry of each, and before solving
    where a sine does not fit the periodic box.
    Source: Brandstetter, Worrall & Welling, Message Passing Neural PDE Solvers (ICLR 2022).
    """

    advection: Float[Array, ""] = eqx.field(converter=partial(coefficient, "advection"))
    diffusivity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "diffusivity", nonnegative=True))
    dispersion: Float[Array, ""] = eqx.field(converter=partial(coefficient, "dispersion"))
    amplitudes: Float[Array, " wave"] = eqx.field(converter=partial(_vector, "amplitudes"), default=())
    frequencies: Float[Array, " wave"] = eqx.field(converter=partial(_vector, "frequencies"), default=())
    wavenumbers: Float[Array, " wave"] = eqx.field(converter=partial(_vector, "wavenumbers"), default=())
    phases: Float[Array, " wave"] = eqx.field(converter=partial(_vector, "phases"), default=())
    degree: ClassVar[int | None] = 2

    def __check_init__(self):
        shapes = {name: jnp.shape(getattr(self, name)) for name in _SINES}
        if len(set(shapes.values())) > 1 or jnp.ndim(self.amplitudes) != 1:
            raise ValueError(f"ForcedKortewegDeVriesBurgers needs one entry per sine of each of {shapes}.")

    def components(self, ndim: int) -> tuple[str, ...]:
        require_ndim(self, ndim, 1)
        return ("u",)

    def force(self, t: Any, x: Float[Array, "*place"]) -> Float[Array, "*place"]:
        """delta at the positions x."""
        amplitudes, *rates = (getattr(self, name).astype(x.dtype) for name in _SINES)
        frequencies, wavenumbers, phases = rates
        turns = frequencies * t + wavenumbers * x[..., None] + phases
        return jnp.sum(amplitudes * jnp.sin(turns), axis=-1)

    def flux(self, u: States, axis: int) -> States:
        return self.advection.astype(u.dtype) * u * u

    def higher_derivatives(self, u: AbstractField) -> AbstractField:
        return u.laplacian() * self.diffusivity - u.derivative(0, 3) * self.dispersion

    def source(self, t: Any, x: Float[Array, "axis *place"], u: States) -> States:
        return self.force(t, x)

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        # The force apart from the state: Fourier keeps its values as they are given.
        flux: Any = u.map(lambda values: self.flux(values, 0))
        return u.coordinates.map(lambda x: self.force(t, x)) - flux.derivative(0)

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        one, other = (2 * self.advection.astype(u.dtype) * u[0] for u in (left, right))
        return jnp.minimum(one, other), jnp.maximum(one, other)

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        speed = self.advection.astype(left.dtype) * (left + right)
        return speed, jnp.ones_like(speed)[None], jnp.ones_like(speed)[None]

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid.ndim, 1)
        if isinstance(self.wavenumbers, Tracer) or isinstance(grid.extent, Tracer) or not grid.periodic[0]:
            return
        extent = float(np.asarray(grid.extent)[0])
        periods = np.asarray(self.wavenumbers) * extent / (2 * np.pi)
        gaps = np.abs(periods - np.round(periods))
        if np.any(gaps > 1e-5 * np.maximum(1.0, np.abs(periods))):
            raise ValueError(
                f"A sine of the force has {periods[np.argmax(gaps)]:.4g} periods in a box of {extent:.6g}: it would "
                f"jump at its end. Take multiples of 2 pi / extent = {2 * np.pi / extent:.6g}."
            )


_SINES = ("amplitudes", "frequencies", "wavenumbers", "phases")


def random_sines(
    key: PRNGKeyArray,
    extent: Any,
    num_waves: int = 5,
    *,
    max_mode: int = 2,
    amplitude: Any = 0.5,
    frequency: Any = 0.4,
) -> dict[str, Float[Array, " wave"]]:
    """The leaves of a random force: `ForcedKortewegDeVriesBurgers(0.5, 0.01, 0.0, **random_sines(key, 16.0))`.

    A uniform in (-amplitude, amplitude), omega in (-frequency, frequency), phi in (0, 2 pi), and k = 2 pi l / extent
    with l uniform in {1, ..., max_mode}; the defaults are those of the message-passing PDE solvers.
    """
    if num_waves < 1 or max_mode < 1:
        raise ValueError(f"random_sines needs num_waves and max_mode >= 1, got {num_waves} and {max_mode}.")
    # Single precision whatever the default, so that both precisions have one force, to rounding.
    draws = jax.random.uniform(key, (4, num_waves), jnp.float32).astype(jnp.result_type(float))
    modes = 1 + jnp.floor(draws[2] * max_mode)
    return {
        "amplitudes": amplitude * (2 * draws[0] - 1),
        "frequencies": frequency * (2 * draws[1] - 1),
        "wavenumbers": 2 * np.pi * modes / extent,
        "phases": 2 * np.pi * draws[3],
    }
