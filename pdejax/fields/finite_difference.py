"""Finite differences on a uniform grid: the discretisation. How a field is differentiated is in `stencil.py`."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Condition, Dirichlet, datum_at, datum_rate
from pdejax.fields.field import EquationLike, as_state, right_hand_side
from pdejax.fields.stencil import Met, MetSides, StencilField
from pdejax.grid import Grid, check_is_grid
from pdejax.sides import Walls
from pdejax.sizes import size

ORDERS = (2, 4, 6, 8)


class FiniteDifference(eqx.Module):
    """Central finite differences on a uniform grid.

    - `order`: 2, 4, 6 or 8, the order of accuracy of each derivative, at the walls too.
    - `boundary`: what holds at the walls (`pdejax.boundary`): one condition for all of them, a mapping by side
      (`{"x-": 0.0, "x+": Neumann(1.0), "*": ...}`), or by component and then by side; `pdejax.sides` has all forms.

    A node on a Dirichlet wall is held: it has the wall's value, and changes as that does. At a wall with `Outflow`
    derivatives are one-sided.

    Raises `ValueError` for other orders, a grid with fewer points than a stencil, and walls without a condition; when
    it reads an equation, also for components that have none.
    """

    grid: Grid
    order: int = eqx.field(static=True)
    walls: Walls

    def __init__(self, grid: Grid, order: int = 2, boundary: Any = None):
        check_is_grid(grid, "FiniteDifference")
        if "chebyshev" in grid.points:
            raise ValueError(
                f"FiniteDifference needs points at equal distances, and axis {grid.points.index('chebyshev')} has "
                'Chebyshev points: use Grid(..., points="nodes") or "centres" there, or Chebyshev(grid, ...).'
            )
        if order not in ORDERS:
            raise ValueError(f"FiniteDifference has orders {', '.join(map(str, ORDERS))}, got {order}.")
        if min(grid.shape) < 2 * order + 1:
            raise ValueError(
                f"Order {order} needs at least {2 * order + 1} points along every axis, the grid has {grid.shape}."
            )
        self.grid = grid
        self.order = order
        self.walls = Walls(grid, boundary)

    def encode(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The point values themselves."""
        return u

    def decode(self, y: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return y

    def norm(self, y: Float[Array, "channel *space"]) -> Float[Array, ""]:
        """Root mean square over the points, summed over channels."""
        return size(y, jnp.sum) / float(np.sqrt(np.prod(self.grid.shape)))

    def hold(self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The state with the walls' values, at time t, at the nodes on Dirichlet walls."""
        for component, axis, end, condition in self._held(equation):
            u = _at_end(u, component, axis, end).set(_wall(datum_at(condition, self.grid, axis, end, t), axis))
        return u

    def tendency(
        self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """`du/dt` at the points: linear and nonlinear part together. At held nodes, the rate of the wall's value."""
        self.grid.check_state(u, len(equation.components(self.grid.ndim)))
        return self.with_held_rates(equation, t, right_hand_side(equation, t, self.field(equation, t, u)).values)

    def with_held_rates(
        self, equation: EquationLike, t: Any, rate: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """A tendency with the rates of the walls' values at the held nodes."""
        for component, axis, end, condition in self._held(equation):
            rate = _at_end(rate, component, axis, end).set(_wall(datum_rate(condition, self.grid, axis, end, t), axis))
        return rate

    def field(self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]) -> StencilField:
        """The state at time t as the equation sees it."""
        sides = tuple(self._met(sides, t) for sides in self.sides_of(equation))
        return as_state(StencilField(self, self.hold(equation, t, u), sides), equation)

    def sides_of(self, equation: EquationLike) -> tuple[Any, ...]:
        """What is stated for each component (`pdejax.boundary.Sides`)."""
        return self.walls.of(equation.components(self.grid.ndim), type(equation).__name__)

    def _met(self, sides: Any, t: Any) -> MetSides:
        def at(axis: int, end: int, condition: Condition) -> Met:
            return Met(condition, datum_at(condition, self.grid, axis, end, t))

        return tuple(
            (at(axis, 0, pair[0]), at(axis, -1, pair[1])) if isinstance(pair, tuple) else pair
            for axis, pair in enumerate(sides)
        )

    def _held(self, equation: EquationLike) -> list[tuple[int, int, int, Condition]]:
        """Component, axis, end and condition of each wall on whose nodes values are held."""
        return [
            (component, axis, end, condition)
            for component, sides in enumerate(self.sides_of(equation))
            for axis, pair in enumerate(sides)
            if isinstance(pair, tuple) and self.grid.points[axis] == "nodes"
            for end, condition in zip((0, -1), pair, strict=True)
            if isinstance(condition, Dirichlet)
        ]


def _at_end(array: Array, component: int, axis: int, end: int) -> Any:
    index: list[Any] = [component, *[slice(None)] * (array.ndim - 1)]
    index[axis + 1] = end
    return array.at[tuple(index)]


def _wall(datum: Array, axis: int) -> Array:
    return jnp.squeeze(datum, axis)
