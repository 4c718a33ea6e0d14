"""The shallow water equations."""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Speeds, States
from pdejax.equations.equation import coefficient


class ShallowWater(ConservationLaw):
    r"""Water under gravity over a flat bottom, `ndim + 1` components, in one or two dimensions: depth h, discharge h v.

        h_t + div(h v) = 0
        (h v)_t + div(h v v) + grad(g h^2 / 2) = 0

    - `gravity`: g > 0.

    Depths are positive: a bottom that falls dry is refused by `admissible`. Primitive variables are depth and velocity.

    Source: Toro, Shock-Capturing Methods for Free-Surface Shallow Flows (2001).
    """

    gravity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "gravity", positive=True), default=9.81)

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("depth", *(f"discharge_{name}" for name in "xyz"[:ndim]))

    def flux(self, u: States, axis: int) -> States:
        depth, discharge = u[0], u[1:]
        through = (discharge * (discharge[axis] / depth)).at[axis].add(self._gravity(u) * depth * depth / 2)
        return jnp.concatenate([discharge[axis][None], through])

    def positive(self, u: States) -> dict[str, Float[Array, "*place"]]:
        return {"depth": u[0]}

    def primitive(self, u: States) -> States:
        return jnp.concatenate([u[:1], u[1:] / u[:1]])

    def conserved(self, w: States) -> States:
        return jnp.concatenate([w[:1], w[1:] * w[:1]])

    def reflected(self, u: States, axis: int) -> States:
        return u.at[1 + axis].multiply(-1)

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        velocity, celerity = self._roe_average(left, right)
        slowest = left[1 + axis] / left[0] - jnp.sqrt(self._gravity(left) * left[0])
        fastest = right[1 + axis] / right[0] + jnp.sqrt(self._gravity(left) * right[0])
        return jnp.minimum(slowest, velocity[axis] - celerity), jnp.maximum(fastest, velocity[axis] + celerity)

    def contact_speed(self, left: States, right: States, slowest: Speeds, fastest: Speeds, axis: int) -> Speeds:
        below, above = (speed - u[1 + axis] / u[0] for speed, u in ((slowest, left), (fastest, right)))
        thrust = self._gravity(left) * (right[0] ** 2 - left[0] ** 2) / 2
        thrust = thrust + left[1 + axis] * below - right[1 + axis] * above
        return thrust / (left[0] * below - right[0] * above)

    def behind_wave(self, u: States, speed: Speeds, contact: Speeds, axis: int) -> States:
        depth = u[0] * (speed - u[1 + axis] / u[0]) / (speed - contact)
        discharge = (u[1:] / u[0] * depth).at[axis].set(depth * contact)
        return jnp.concatenate([depth[None], discharge])

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        velocity, celerity = self._roe_average(left, right)
        ndim, through = velocity.shape[0], velocity[axis]
        one, zero = jnp.ones_like(celerity), jnp.zeros_like(celerity)
        shears = [other for other in range(ndim) if other != axis]

        def unit(shear: int) -> list[Any]:
            return [one if a == shear else zero for a in range(ndim)]

        def moved(change: Array) -> list[Array]:
            return [velocity[a] + (change if a == axis else 0) for a in range(ndim)]

        columns = [
            jnp.stack([one, *moved(-celerity)]),
            *(jnp.stack([zero, *unit(shear)]) for shear in shears),
            jnp.stack([one, *moved(celerity)]),
        ]
        pushed = jnp.stack([-through / celerity, *[part / celerity for part in unit(axis)]])
        whole = jnp.stack([one, *[zero] * ndim])
        rows = [
            (whole - pushed) / 2,
            *(jnp.stack([-velocity[shear], *unit(shear)]) for shear in shears),
            (whole + pushed) / 2,
        ]
        speeds = jnp.stack([through - celerity, *[through] * len(shears), through + celerity])
        return speeds, jnp.stack(columns, axis=1), jnp.stack(rows)

    def _roe_average(self, left: States, right: States) -> tuple[Array, Array]:
        """Velocity and celerity of the state at which the linearised law has the jump's own waves."""
        weights = jnp.sqrt(left[0]), jnp.sqrt(right[0])
        share = weights[0] / (weights[0] + weights[1])
        velocity = share * left[1:] / left[0] + (1 - share) * right[1:] / right[0]
        return velocity, jnp.sqrt(self._gravity(left) * (left[0] + right[0]) / 2)

    def _gravity(self, u: Array) -> Array:
        return self.gravity.astype(u.dtype)
