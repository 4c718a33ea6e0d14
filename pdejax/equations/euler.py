"""The Euler equations of an ideal gas."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Speeds, States
from pdejax.equations.equation import coefficient
from pdejax.grid import Grid


def heat_capacity_ratio_above_one(value: Any) -> Float[Array, ""]:
    # Above one: internal energy has a sign.
    coefficient("heat_capacity_ratio - 1", value - 1.0, positive=True)
    return coefficient("heat_capacity_ratio", value)


class Euler(ConservationLaw):
    r"""A compressible gas without friction, `ndim + 2` components: density, momentum, total energy per volume.

        rho_t + div(rho v) = 0
        (rho v)_t + div(rho v v) + grad p = 0
        E_t + div((E + p) v) = 0,                    p = (gamma - 1) (E - rho |v|^2 / 2)

    - `heat_capacity_ratio`: gamma > 1; 1.4 for air.

    Primitive variables are density, velocity and pressure. Densities and pressures are positive.

    Sources: Toro, Riemann Solvers and Numerical Methods for Fluid Dynamics (2009), chapters 3 and 10; speeds of the
    outer waves, which keep densities and pressures of HLL positive: Einfeldt, SIAM J. Numer. Anal. 25 (1988) 294.
    """

    heat_capacity_ratio: Float[Array, ""] = eqx.field(converter=heat_capacity_ratio_above_one, default=1.4)

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("density", *(f"momentum_{name}" for name in "xyz"[:ndim]), "energy")

    def flux(self, u: States, axis: int) -> States:
        density, momentum, energy = u[0], u[1:-1], u[-1]
        velocity, pressure = momentum[axis] / density, self.pressure(u)
        through = (momentum * velocity).at[axis].add(pressure)
        return jnp.concatenate([momentum[axis][None], through, ((energy + pressure) * velocity)[None]])

    def pressure(self, u: States) -> Float[Array, "*place"]:
        """p of a conserved state."""
        density, momentum, energy = u[0], u[1:-1], u[-1]
        return (self._gamma(u) - 1) * (energy - jnp.sum(momentum * momentum, axis=0) / density / 2)

    def speed_of_sound(self, u: States) -> Float[Array, "*place"]:
        """`sqrt(gamma p / rho)` of a conserved state; NaN where the pressure or the density is negative."""
        return jnp.sqrt(self._gamma(u) * self.pressure(u) / u[0])

    def positive(self, u: States) -> dict[str, Float[Array, "*place"]]:
        return {"density": u[0], "pressure": self.pressure(u)}

    def primitive(self, u: States) -> States:
        return jnp.concatenate([u[:1], u[1:-1] / u[:1], self.pressure(u)[None]])

    def conserved(self, w: States) -> States:
        density, velocity, pressure = w[0], w[1:-1], w[-1]
        energy = pressure / (self._gamma(w) - 1) + density * jnp.sum(velocity * velocity, axis=0) / 2
        return jnp.concatenate([w[:1], velocity * density, energy[None]])

    def reflected(self, u: States, axis: int) -> States:
        return u.at[1 + axis].multiply(-1)

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        velocity, _, sound, _ = self._roe_average(left, right)
        one, other = left[1 + axis] / left[0], right[1 + axis] / right[0]
        slowest = jnp.minimum(one - self.speed_of_sound(left), velocity[axis] - sound)
        fastest = jnp.maximum(other + self.speed_of_sound(right), velocity[axis] + sound)
        return slowest, fastest

    def contact_speed(self, left: States, right: States, slowest: Speeds, fastest: Speeds, axis: int) -> Speeds:
        below, above = (speed - u[1 + axis] / u[0] for speed, u in ((slowest, left), (fastest, right)))
        thrust = self.pressure(right) - self.pressure(left) + left[1 + axis] * below - right[1 + axis] * above
        return thrust / (left[0] * below - right[0] * above)

    def behind_wave(self, u: States, speed: Speeds, contact: Speeds, axis: int) -> States:
        velocity = u[1 + axis] / u[0]
        density = u[0] * (speed - velocity) / (speed - contact)
        momentum = (u[1:-1] / u[0] * density).at[axis].set(density * contact)
        push = contact + self.pressure(u) / (u[0] * (speed - velocity))
        energy = density * (u[-1] / u[0] + (contact - velocity) * push)
        return jnp.concatenate([density[None], momentum, energy[None]])

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        velocity, enthalpy, sound, kinetic = self._roe_average(left, right)
        ndim, through = velocity.shape[0], velocity[axis]
        one, zero = jnp.ones_like(sound), jnp.zeros_like(sound)
        shears = [other for other in range(ndim) if other != axis]

        def column(density: Array, momentum: Any, energy: Array) -> Array:
            return jnp.stack([density, *momentum, energy])

        def moved(change: Array) -> list[Array]:
            return [velocity[a] + (change if a == axis else 0) for a in range(ndim)]

        columns = [
            column(one, moved(-sound), enthalpy - through * sound),
            column(one, list(velocity), kinetic),
            *(column(zero, [one if a == shear else zero for a in range(ndim)], velocity[shear]) for shear in shears),
            column(one, moved(sound), enthalpy + through * sound),
        ]
        # Rows of the inverse; `pressed` is dp / (a^2) as a function of the conserved variables.
        share = (self._gamma(left) - 1) / (sound * sound)
        pressed = column(share * kinetic, [-share * velocity[a] for a in range(ndim)], share * one)
        pushed = column(-through / sound, [one / sound if a == axis else zero for a in range(ndim)], zero)
        whole = column(one, [zero] * ndim, zero)
        rows = [
            (pressed - pushed) / 2,
            whole - pressed,
            *(column(-velocity[shear], [one if a == shear else zero for a in range(ndim)], zero) for shear in shears),
            (pressed + pushed) / 2,
        ]
        speeds = jnp.stack([through - sound, *[through] * (1 + len(shears)), through + sound])
        return speeds, jnp.stack(columns, axis=1), jnp.stack(rows)

    def _roe_average(self, left: States, right: States) -> tuple[Array, Array, Array, Array]:
        """Velocity, specific enthalpy, speed of sound and `|v|^2 / 2` of the state at which the linearised law has the
        jump's own waves."""
        weights = jnp.sqrt(left[0]), jnp.sqrt(right[0])
        share = weights[0] / (weights[0] + weights[1])
        of_left, of_right = ((u[1:-1] / u[0], (u[-1] + self.pressure(u)) / u[0]) for u in (left, right))
        velocity, enthalpy = (share * one + (1 - share) * other for one, other in zip(of_left, of_right, strict=True))
        kinetic = jnp.sum(velocity * velocity, axis=0) / 2
        return velocity, enthalpy, jnp.sqrt((self._gamma(left) - 1) * (enthalpy - kinetic)), kinetic

    def _gamma(self, u: Array) -> Array:
        return self.heat_capacity_ratio.astype(u.dtype)

    def check_grid(self, grid: Grid) -> None:
        if grid.ndim > 3:
            raise ValueError(f"Euler has one to three dimensions, the grid has {grid.ndim}.")
