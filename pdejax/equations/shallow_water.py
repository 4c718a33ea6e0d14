"""The shallow water equations."""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.callables import as_module
from pdejax.equations.conservation_law import ConservationLaw, Rates, Speeds, States
from pdejax.equations.equation import coefficient
from pdejax.equations.of_place import check_on, values_at
from pdejax.grid import Grid


def _bottom(value: Any) -> Any:
    if value is not None and not callable(value):
        got = f"an array of shape {jnp.shape(value)}" if jnp.ndim(value) else repr(value)
        raise ValueError(f"The bottom is a function of position, got {got}: leave it out where it is flat.")
    return None if value is None else as_module(value)


class ShallowWater(ConservationLaw):
    r"""Water under gravity, `ndim + 1` components, in one or two dimensions: depth h, discharge h v.

        h_t + div(h v) = 0
        (h v)_t + div(h v v) + grad(g h^2 / 2) = -g h grad(b)

    - `gravity`: g > 0.
    - `bottom`: b, the height of the ground, a function of the position, `(ndim, *place)`; it may jump. None: flat.

    Depths are positive: a place that falls dry is refused by `admissible`. Ground above the water is covered by a film,
    of 1e-6 of the depths elsewhere, say, which `FiniteVolume(..., positivity=True)` keeps. Finite volumes keep water at
    rest, `h + b` a constant, at rest to rounding.

    Primitive variables are depth and velocity; over a bottom the height of the surface, h + b, and velocity, and states
    end with b.

    Sources: Toro, Shock-Capturing Methods for Free-Surface Shallow Flows (2001); steps of the bottom: Audusse, Bouchut,
    Bristeau, Klein & Perthame, SIAM J. Sci. Comput. 25 (2004) 2050.
    """

    gravity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "gravity", positive=True), default=9.81)
    bottom: Any = eqx.field(converter=_bottom, default=None)

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("depth", *(f"discharge_{name}" for name in "xyz"[:ndim]))

    def parameters(self, ndim: int) -> tuple[str, ...]:
        return () if self.bottom is None else ("bottom",)

    def medium(self, x: Float[Array, "axis *place"], u: States | None) -> Float[Array, "parameter *place"]:
        return values_at("bottom", self.bottom, x)[None]

    def check_grid(self, grid: Grid) -> None:
        if grid.ndim > 2:
            raise ValueError(f"ShallowWater has one or two dimensions, the grid has {grid.ndim}.")
        if self.bottom is not None:
            check_on("bottom", self.bottom, grid)

    def push(self, below: States, above: States, axis: int) -> Rates | None:
        if self.bottom is None:
            return None
        weight = self._gravity(below) * (below[0] + above[0]) / 2
        rates = jnp.zeros_like(below[:-1])
        return rates.at[1 + axis].set(-weight * (above[-1] - below[-1]))

    def level(self, u: States) -> States:
        return u if self.bottom is None else u.at[0].add(u[-1])

    def from_level(self, w: States) -> States:
        return w if self.bottom is None else w.at[0].add(-w[-1])

    def at_step(self, left: States, right: States, axis: int) -> tuple[States, States]:
        """The two waters as far as they stand above the higher of both grounds, each on the ground that leaves its
        surface where it is."""
        if self.bottom is None:
            return left, right
        higher = jnp.maximum(left[-1], right[-1])

        def above(u: States) -> States:
            surface = u[0] + u[-1]
            depth = jnp.maximum(surface - higher, 0)
            return jnp.concatenate([depth[None], self.velocity(u) * depth, (surface - depth)[None]])

        return above(left), above(right)

    def flux(self, u: States, axis: int) -> Rates:
        depth, velocity = u[0], self.velocity(u)
        through = (self._discharge(u) * velocity[axis]).at[axis].add(self._gravity(u) * depth * depth / 2)
        return jnp.concatenate([u[1 + axis][None], through])

    def positive(self, u: States) -> dict[str, Float[Array, "*place"]]:
        return {"depth": u[0]}

    def primitive(self, u: States) -> States:
        if self.bottom is None:
            return jnp.concatenate([u[:1], self.velocity(u)])
        return jnp.concatenate([u[:1] + u[-1:], self.velocity(u), u[-1:]])

    def conserved(self, w: States) -> States:
        if self.bottom is None:
            return jnp.concatenate([w[:1], w[1:] * w[:1]])
        depth = w[:1] - w[-1:]
        return jnp.concatenate([depth, w[1:-1] * depth, w[-1:]])

    def reflected(self, u: States, axis: int) -> States:
        return u.at[1 + axis].multiply(-1)

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        velocity, celerity = self._roe_average(left, right)
        of_left, of_right = (self.velocity(u)[axis] for u in (left, right))
        c_left, c_right = (_root(self._gravity(u) * u[0]) for u in (left, right))
        # Onto dry ground water runs with twice its celerity.
        slowest = jnp.where(
            left[0] > 0, jnp.minimum(of_left - c_left, velocity[axis] - celerity), of_right - 2 * c_right
        )
        fastest = jnp.where(
            right[0] > 0, jnp.maximum(of_right + c_right, velocity[axis] + celerity), of_left + 2 * c_left
        )
        return slowest, fastest

    def contact_speed(self, left: States, right: States, slowest: Speeds, fastest: Speeds, axis: int) -> Speeds:
        below, above = (speed - self.velocity(u)[axis] for speed, u in ((slowest, left), (fastest, right)))
        thrust = self._gravity(left) * (right[0] ** 2 - left[0] ** 2) / 2
        thrust = thrust + left[1 + axis] * below - right[1 + axis] * above
        return _over(thrust, left[0] * below - right[0] * above)

    def behind_wave(self, u: States, speed: Speeds, contact: Speeds, axis: int) -> Rates:
        velocity = self.velocity(u)
        depth = u[0] * _over(speed - velocity[axis], speed - contact)
        return jnp.concatenate([depth[None], (velocity * depth).at[axis].set(depth * contact)])

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
        weights = _root(left[0]), _root(right[0])
        share = _over(weights[0], weights[0] + weights[1])
        velocity = share * self.velocity(left) + (1 - share) * self.velocity(right)
        return velocity, _root(self._gravity(left) * (left[0] + right[0]) / 2)

    def _discharge(self, u: States) -> Array:
        return u[1:] if self.bottom is None else u[1:-1]

    def velocity(self, u: States) -> Array:
        """v of a state; zero where there is no water at a step of the bottom."""
        return _over(self._discharge(u), u[:1])

    def _gravity(self, u: Array) -> Array:
        return self.gravity.astype(u.dtype)


def _over(share: Array, whole: Array) -> Array:
    """Zero where there is no water at a step of the bottom."""
    return share / jnp.where(whole == 0, 1, whole) * (whole != 0)


def _root(x: Array) -> Array:
    """The square root, with the derivative zero at zero."""
    return jnp.where(x == 0, 0.0, jnp.sqrt(jnp.where(x == 0, 1.0, x)))
