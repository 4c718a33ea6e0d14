"""Finite differences on uniform and stretched grids: the discretisation. How it differentiates is in `stencil.py`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Condition, Dirichlet, datum_at, datum_rate
from pdejax.devices import Devices
from pdejax.fields.blocks import BlockGrid, check_blocks, is_whole, on_blocks
from pdejax.fields.field import EquationLike, as_state, right_hand_side
from pdejax.fields.met import Met, MetSides
from pdejax.fields.stencil import StencilField
from pdejax.grid import Grid, check_is_grid
from pdejax.sides import Walls
from pdejax.sizes import size
from pdejax.stretching import Stretched

ORDERS = (2, 4, 6, 8)
CLOSURES = ("ghost values", "summation by parts")
# By order, by how much neighbouring distances of stretched points may differ. Diffusion between walls had growing modes
# from 4.5, 2.7, 2.0 and 1.5 on, and none at these figures, with all pairs of conditions, maps and kinds of points.
_LARGEST_GROWTH = {2: 3.0, 4: 2.2, 6: 1.8, 8: 1.45}


class FiniteDifference(eqx.Module):
    """Central finite differences on points at equal distances, or their images (`pdejax.Stretched`).

    - `order`: 2, 4, 6 or 8, the order of accuracy of each derivative; with ghost values, at the walls too.
    - `boundary`: what holds at the walls (`pdejax.boundary`): one condition for all of them, a mapping by side
      (`{"x-": 0.0, "x+": Neumann(1.0), "*": ...}`), or by component and then by side; `pdejax.sides` has all forms.
    - `closure`: how derivatives end at walls. `"ghost values"`: central stencils on values continued beyond the wall.
      `"summation by parts"`: one-sided rows with which the discrete energy obeys the continuous estimate
      (`summation_by_parts.py`), on nodes: nothing grows that the equation does not make grow, at any order, pure
      transport included, and what is transported is conserved. Its rows at the walls have half the order. So
      solutions have, in the L2 norm, the orders 2, 4, 5.5 and 6.5 where diffusion reaches the walls (2, 4, 5 and 6 at
      the wall itself), and `order / 2 + 1`, that is 2, 3, 4 and 5, where there is transport alone. Derivatives above
      the second are refused, and so are upwind advection and fluxes (`u.diffusion`), whose rows at walls are others.
    - `advection`: how `velocity.advect(u)` and `u.directional_derivative(c)` are read: `"central"`, like every
      derivative, or `"upwind"`, from the points upstream, one order less on the same points (1, 3, 5 or 7): it damps
      what the grid does not resolve, which central formulae carry about as ripples. Other derivatives stay central.

    - `devices`: cuts the first axis over `devices.space` of them (`pdejax.fields.blocks`): explicit solvers, equations
      without auxiliary fields. Batches of states over `data` are `jax.vmap(..., spmd_axis_name="data")`.

    A node on a Dirichlet wall is held: it has the wall's value, and changes as that does. At a wall with `Outflow`
    derivatives are one-sided.

    Transport with little diffusion between walls has growing modes with the orders 6 (on nodes) and 8 and ghost values,
    at rates of some ten per crossing: `solve` warns of those of the linear part. Upwind advection and summation by
    parts have none; nor has diffusion that resolves its layers.

    On stretched points derivatives have the same orders; between walls those of order 1 and 2. From an inflow on nodes
    that are stretched there, transport without diffusion grows with orders 4 and more, and read upwind with the
    seventh alone: use advection="upwind", order 2, centres, or diffusion that reaches the wall.

    Raises `ValueError` for other orders and closures, summation by parts on other points than nodes at equal distances,
    a grid with fewer points than a stencil, stretched points whose distances change too fast for the order, walls
    without a condition, and what `devices` cannot cut (stretched or anti-periodic points of the first axis, a first
    axis that sums by parts, data of walls that are arrays); when it reads an equation, also for components that have
    none, and over many devices for auxiliary fields.
    """

    grid: Grid
    order: int = eqx.field(static=True)
    advection: str = eqx.field(static=True)
    walls: Walls
    closure: str = eqx.field(static=True)
    devices: Devices | None = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        order: int = 2,
        boundary: Any = None,
        *,
        advection: str = "central",
        closure: str = "ghost values",
        devices: Devices | None = None,
    ):
        check_is_grid(grid, "FiniteDifference")
        if "chebyshev" in grid.points:
            raise ValueError(
                f"FiniteDifference needs uniform or stretched points, and axis {grid.points.index('chebyshev')} has "
                'Chebyshev points: use Grid(..., points="nodes") or "centres" there, or Chebyshev(grid, ...).'
            )
        if order not in ORDERS:
            raise ValueError(f"FiniteDifference has orders {', '.join(map(str, ORDERS))}, got {order}.")
        if min(grid.shape) < 2 * order + 1:
            raise ValueError(
                f"Order {order} needs at least {2 * order + 1} points along every axis, the grid has {grid.shape}."
            )
        if closure not in CLOSURES:
            raise ValueError(f"The closure at walls is {CLOSURES[0]!r} or {CLOSURES[1]!r}, got {closure!r}.")
        if closure == "summation by parts":
            if advection == "upwind" and not all(grid.periodic):
                raise ValueError(
                    'Upwind advection ends at walls with ghost values: closure="ghost values", or advection="central", '
                    "which is stable between walls that sum by parts."
                )
            for axis, wraps in enumerate(grid.periodic):
                if not wraps and grid.points[axis] != "nodes":
                    raise ValueError(
                        f"Summation by parts needs points at equal distances, on the walls, too, and axis {axis} has "
                        f'{grid.points[axis]!r}: use Grid(..., points="nodes") there, or closure="ghost values".'
                    )
        if advection not in ("central", "upwind"):
            raise ValueError(f'FiniteDifference reads advection "central" or "upwind", got {advection!r}.')
        for axis, points in enumerate(grid.points):
            if isinstance(points, Stretched):
                fractions, _ = points.placed(grid.shape[axis], grid.periodic[axis])
                growth = np.exp(np.max(np.abs(np.diff(np.log(np.diff(fractions))))))
                if growth > _LARGEST_GROWTH[order]:
                    raise ValueError(
                        f"Along axis {axis} neighbouring distances between points differ by a factor of {growth:.2f}, "
                        f"and with order {order} by no more than {_LARGEST_GROWTH[order]} or modes of diffusion grow: "
                        "use more points, a lower order or less stretching."
                    )
        self.grid = grid
        self.order = order
        self.advection = advection
        self.walls = Walls(grid, boundary)
        self.closure = closure
        self.devices = devices
        check_blocks(grid, self.walls, devices)
        if devices is not None and devices.space > 1 and closure == "summation by parts" and not grid.periodic[0]:
            raise ValueError(
                'Over many devices the first axis, which is cut, has ghost values at its walls: closure="ghost values".'
            )

    def encode(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The point values themselves."""
        return u

    def decode(self, y: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return y

    def norm(self, y: Float[Array, "channel *space"]) -> Float[Array, ""]:
        """Root mean square over the points, or over the box where these are stretched, summed over channels."""
        if not all(self.grid.is_uniform):
            volume = self.grid.volume.astype(y.dtype)
            return size(y, lambda squares: jnp.sum(self.grid.integrate(squares)) / volume)
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
        if not is_whole(self):
            reach = self.reach_of(equation, lambda state: right_hand_side(equation, t, state))
            # The outermost point of a block is held as if it were on the wall.
            reach += self.grid.placement[0] == "nodes" and not self.grid.periodic[0]
            return on_blocks(self, lambda block, v: block.tendency(equation, t, v), u, reach)
        return self.with_held_rates(equation, t, right_hand_side(equation, t, self.field(equation, t, u)).rate)

    def reach_of(self, equation: EquationLike, terms: Callable[[Any], Any]) -> int:
        """How far away along the first axis the points are that `terms(state)` depends on, by tracing them alone."""
        found = []

        def read(u: Array) -> None:
            found.append(terms(self.field(equation, 0.0, u)).reach)

        shape = (len(equation.components(self.grid.ndim)), *self.grid.shape)
        jax.eval_shape(read, jax.ShapeDtypeStruct(shape, self.grid.dtype))
        return found[0]

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
        state = StencilField(self, self.hold(equation, t, u), sides)
        state.solve_auxiliary = eqx.Partial(self._solved_auxiliary, equation, t)
        return as_state(state, equation)

    def sides_of(self, equation: EquationLike) -> tuple[Any, ...]:
        """What is stated for each component (`pdejax.boundary.Sides`)."""
        names = equation.components(self.grid.ndim)
        given = self.walls.by_component
        if "*" not in given and not all(name in given for name in names):
            return self.walls.of(names, type(equation).__name__)
        sides = self.walls.of((*names, *self._others(names)), type(equation).__name__)[: len(names)]
        if self._others(names):
            # What is stated for a name that is no component must be meant for an auxiliary field.
            self.walls.of((*names, *self._auxiliary_names(equation, sides)), type(equation).__name__)
        return sides

    def _others(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in self.walls.by_component if name not in (*names, "*"))

    def _auxiliary_names(self, equation: EquationLike, sides: tuple[Any, ...]) -> list[str]:
        found: list[str] = []

        def read() -> None:
            nothing = jnp.zeros((len(sides), *self.grid.shape), self.grid.dtype)
            state = StencilField(self, nothing, tuple(self._met(of_component, 0.0) for of_component in sides))
            found.extend(equation.auxiliary(as_state(state, equation)))

        jax.eval_shape(read)
        return found

    def _solved_auxiliary(self, equation: EquationLike, t: Any, name: str, source: StencilField) -> StencilField:
        """The auxiliary field of this name: its source through the inverse of this reading's own Laplacian."""
        if not is_whole(self) or isinstance(self.grid, BlockGrid):
            raise ValueError(
                f"{name!r} of {type(equation).__name__} solves a Poisson equation, which needs all points at once: "
                "over many devices use Spectral(grid, devices=...)."
            )
        # Eigenmodes are made from readings like this one.
        from pdejax.fields.stencil_poisson import solve_poisson

        names = equation.components(self.grid.ndim)
        sides = self.walls.of((name, *names, *self._others((name, *names))), type(equation).__name__)[0]
        if all(self.grid.periodic) and all(self.grid.is_uniform) and not any(sides):
            return source.solve_poisson()
        values = solve_poisson(source.values, self, sides, t)
        return StencilField(self, values, (self._met(sides, t),) * values.shape[0])

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
            if isinstance(pair, tuple) and self.grid.placement[axis] == "nodes"
            for end, condition in zip((0, -1), pair, strict=True)
            if isinstance(condition, Dirichlet)
        ]


def _at_end(array: Array, component: int, axis: int, end: int) -> Any:
    index: list[Any] = [component, *[slice(None)] * (array.ndim - 1)]
    index[axis + 1] = end
    return array.at[tuple(index)]


def _wall(datum: Array, axis: int) -> Array:
    return jnp.squeeze(datum, axis)
