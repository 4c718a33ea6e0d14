r"""The Riemann problem of an ideal gas:

    rho_t + (rho u)_x = 0,    (rho u)_t + (rho u^2 + p)_x = 0,    E_t + (u (E + p))_x = 0,
    E = p / (gamma - 1) + rho |v|^2 / 2;

velocities v along the other directions are carried with the gas. Source: Toro, Riemann Solvers and Numerical Methods
for Fluid Dynamics (3rd ed., 2009), chapter 4. Solved in x = log p: the velocity changes through a wave by

    c_k = 2 a_k / (gamma - 1) ((p / p_k)^((gamma - 1) / (2 gamma)) - 1)                  p <= p_k, a fan
    c_k = (p - p_k) (2 / (rho_k ((gamma + 1) p + (gamma - 1) p_k)))^(1/2)                p > p_k, a shock
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.riemann.checks import check_alike, check_states, numbers
from pdejax.riemann.self_similar import Fan, Pieces, SelfSimilar, between, edges_of


class Gas(eqx.Module):
    """A state of a gas.

    - `density`, `pressure`: positive; `velocity`: along x. Numbers, as array leaves: `jax.vmap(Gas)` makes many.
    - `transverse_velocity`: the velocities along the other directions, as many as there are.

    Raises `ValueError` for values that are not finite, and for vacuum: density and pressure are positive.
    """

    density: Float[Array, ""]
    velocity: Float[Array, ""]
    pressure: Float[Array, ""]
    transverse_velocity: Float[Array, " direction"]

    def __init__(self, density: Any = 1.0, velocity: Any = 0.0, pressure: Any = 1.0, transverse_velocity: Any = ()):
        self.density, self.velocity, self.pressure, self.transverse_velocity = numbers(
            "Gas",
            {"density": "> 0", "pressure": "> 0"},
            density=density,
            velocity=velocity,
            pressure=pressure,
            transverse_velocity=transverse_velocity,
        )


class EulerStar(eqx.Module):
    """The gas between the two outer waves; in vacuum the pressure and both densities are zero, and the velocity is the
    mean of the velocities at its edges."""

    pressure: Float[Array, ""]
    velocity: Float[Array, ""]
    left_density: Float[Array, ""]
    right_density: Float[Array, ""]


class EulerRiemann(SelfSimilar):
    """The solution for two states of a gas that meet at x = 0 at time 0, as a function of x / t.

        problem = EulerRiemann(Gas(1.0, 0.0, 1.0), Gas(0.125, 0.0, 0.1))
        density, velocity, pressure = problem(x / t)

    - `left`, `right`: `Gas`. States that move apart so fast that they leave a vacuum are solved, too.
    - `heat_capacity_ratio`: gamma > 1.

    Variables are ordered density, velocity, transverse velocities, pressure; conserved ones density, momentum,
    transverse momenta, energy, all per volume. Differentiable in all numbers, away from waves.

    Raises `ValueError` for a ratio that is not above 1, or different numbers of transverse velocities.
    """

    left: Gas
    right: Gas
    heat_capacity_ratio: Float[Array, ""]

    def __init__(self, left: Gas, right: Gas, heat_capacity_ratio: Any = 1.4):
        check_states("EulerRiemann", Gas, left, right)
        check_alike("EulerRiemann", left.transverse_velocity, right.transverse_velocity)
        self.left, self.right = left, right
        (ratio,) = numbers("EulerRiemann", {"heat_capacity_ratio": "> 1"}, heat_capacity_ratio=heat_capacity_ratio)
        self.heat_capacity_ratio = ratio.astype(jnp.result_type(left.density, right.density))

    @property
    def star(self) -> EulerStar:
        density, velocity, *_, pressure = self._pieces().constant[:, 1:3]
        return EulerStar(pressure[0], velocity[0], *density)

    @eqx.filter_jit
    def _pieces(self) -> Pieces:
        gamma = self.heat_capacity_ratio
        sides = (self.left, self.right)
        density, velocity, pressure = (
            jnp.stack([getattr(side, name) for side in sides]) for name in ("density", "velocity", "pressure")
        )
        sound_speed = jnp.sqrt(gamma * pressure / density)
        # The undisturbed x are counted from a constant: a derivative of `scale exp(x)` in the smaller pressure would
        # be the small difference of two that are larger by the ratio.
        scale = jax.lax.stop_gradient(jnp.max(pressure))
        undisturbed = jnp.log(pressure / scale)
        exponent = (gamma - 1) / (2 * gamma)
        fastest = 2 * sound_speed / (gamma - 1)

        def change(x: Float[Array, ""]) -> Float[Array, "2"]:
            behind = scale * jnp.exp(x)
            resistance = jnp.sqrt((gamma + 1) * behind + (gamma - 1) * pressure)
            shock = (behind - pressure) / resistance * jnp.sqrt(2 / density)
            return jnp.where(x > undisturbed, shock, fastest * jnp.expm1(exponent * (x - undisturbed)))

        x, share, is_vacuum = between(change, sound_speed, velocity, undisturbed, gamma, exponent)
        star_pressure = scale * jnp.exp(x)
        is_shock = (x > undisturbed) & ~is_vacuum
        changed = jnp.where(is_vacuum, -fastest, change(x))
        tail = changed + jnp.where(is_vacuum, 0, sound_speed * jnp.exp(exponent * (x - undisturbed)))
        shock = jnp.sqrt(sound_speed**2 + (gamma + 1) / 2 * (star_pressure - pressure) / density)
        edges = edges_of(
            velocity, changed, jnp.where(is_shock, shock, sound_speed), jnp.where(is_shock, shock, tail), share
        )
        compressed = ((gamma + 1) * star_pressure + (gamma - 1) * pressure) / (
            (gamma - 1) * star_pressure + (gamma + 1) * pressure
        )
        star_density = density * jnp.where(is_shock, compressed, jnp.exp((x - undisturbed) / gamma))
        star_density, star_pressure = (jnp.where(is_vacuum, 0, one) for one in (star_density, star_pressure))
        given = [_primitive(s.density, s.velocity, s.transverse_velocity, s.pressure) for s in sides]
        star = [_primitive(star_density[k], edges[2], sides[k].transverse_velocity, star_pressure) for k in (0, 1)]
        left, right = (Fan(d, state, a, gamma) for d, state, a in zip((-1, 1), given, sound_speed, strict=True))
        return Pieces(edges, jnp.stack([given[0], *star, given[1]], axis=1), (left, right))

    def _in_fan(self, fan: Fan, ratio: Float[Array, "*shape"]) -> Float[Array, "component *shape"]:
        density, _, *transverse, pressure = fan.state
        power = 2 / (fan.gamma - 1)
        carried = [jnp.full_like(ratio, v) for v in transverse]
        return jnp.stack([density * ratio**power, fan.velocity_at(ratio), *carried, pressure * ratio ** (power + 2)])

    def _mean_in_fan(
        self, fan: Fan, first: Float[Array, " cell"], last: Float[Array, " cell"], conserved: bool
    ) -> Float[Array, "component cell"]:
        density, velocity, *transverse, pressure = fan.state
        mass, momentum, energy, internal = fan.moments(first, last)
        if not conserved:
            carried = [jnp.full_like(mass, v) for v in transverse]
            return jnp.stack([density * mass, fan.velocity_at((first + last) / 2), *carried, pressure * internal])
        kinetic = (energy + 2 * velocity * momentum + (velocity**2 + sum(v**2 for v in transverse)) * mass) / 2
        return jnp.stack(
            [
                density * mass,
                density * (velocity * mass + momentum),
                *(density * v * mass for v in transverse),
                pressure * internal / (fan.gamma - 1) + density * kinetic,
            ]
        )

    def _conserved(self, primitive: Float[Array, "component *shape"]) -> Float[Array, "component *shape"]:
        density, *velocities, pressure = primitive
        kinetic = density * sum(v**2 for v in velocities) / 2
        energy = pressure / (self.heat_capacity_ratio - 1) + kinetic
        return jnp.stack([density, *(density * v for v in velocities), energy])


def _primitive(density: Array, velocity: Array, transverse: Array, pressure: Array) -> Float[Array, " component"]:
    return jnp.concatenate([density[None], velocity[None], transverse, pressure[None]])
