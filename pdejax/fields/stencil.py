"""Reading an equation with finite differences: central stencils of even order, ghost values at the walls.

    d^n u / dx^n at x_i  ~  h^-n * sum over |j| <= m of c_j u_(i+j),    m = order / 2 + (n - 1) // 2

The weights `c_j` make the formula exact for polynomials up to degree `n + order - 1`. Beyond a wall the values are
those of the polynomial that meets the wall's condition and the nearest interior points. Multiples and sums of the state
meet the multiple and the sum of its conditions. Other fields (a product, a derivative) have none: a first derivative of
them, as in the divergence of a flux, extrapolates; a higher one is refused, since it would lose the condition.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Boundary, Neumann, Sides, sides_of
from pdejax.fields.field import AbstractField, EquationLike, as_state
from pdejax.fields.stencil_weights import central_weights, ghost_weights
from pdejax.grid import Grid, check_is_grid
from pdejax.sizes import size


class FiniteDifference(eqx.Module):
    """Central finite differences on a uniform grid.

    - `order`: 2, 4 or 6, the order of accuracy of each derivative in the interior.
    - `boundary`: what holds at the walls: one condition for all, or a mapping `{"x-": Dirichlet(0.0), "x+": ...}`
      (`pdejax.boundary`). The same for every component; none on periodic axes.

    Raises `ValueError` for other orders, a grid with fewer points than a stencil, and walls without a condition.
    """

    grid: Grid
    order: int = eqx.field(static=True)
    sides: Sides

    def __init__(self, grid: Grid, order: int = 2, boundary: Boundary | Mapping[str, Boundary] | None = None):
        check_is_grid(grid, "FiniteDifference")
        if order not in (2, 4, 6):
            raise ValueError(f"FiniteDifference has orders 2, 4 and 6, got {order}.")
        if min(grid.shape) < 2 * order + 1:
            raise ValueError(
                f"Order {order} needs at least {2 * order + 1} points along every axis, the grid has {grid.shape}."
            )
        self.grid = grid
        self.order = order
        self.sides = sides_of(grid, boundary)

    def encode(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The point values themselves; nodes on a Dirichlet wall take the wall's value."""
        return self._with_wall_values(u)

    def decode(self, y: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return y

    def norm(self, y: Float[Array, "channel *space"]) -> Float[Array, ""]:
        """Root mean square over the points, summed over channels."""
        return size(y, jnp.sum) / float(np.sqrt(np.prod(self.grid.shape)))

    def tendency(
        self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """`du/dt` at the points: linear and nonlinear part together. Zero at nodes held by a Dirichlet wall."""
        self.grid.check_state(u, len(equation.components(self.grid.ndim)))
        state = self.field(equation, self._with_wall_values(u))
        total = equation.linear(state) + equation.nonlinear(t, state)
        if total.num_components != state.num_components:
            raise ValueError(f"`linear` and `nonlinear` must return {state.num_components} component(s), like u.")
        return self._held(total.values, 0.0)

    def field(self, equation: EquationLike, u: Float[Array, "channel *space"]) -> "StencilField":
        """The state as the equation sees it."""
        return as_state(StencilField(self, u, self.sides), equation)

    def _with_wall_values(self, u: Array) -> Array:
        for axis, end, wall in self._held_walls():
            u = _at_end(u, axis - self.grid.ndim, end).set(jnp.asarray(wall.value, u.dtype))
        return u

    def _held(self, tendency: Array, value: float) -> Array:
        for axis, end, _ in self._held_walls():
            tendency = _at_end(tendency, axis - self.grid.ndim, end).set(value)
        return tendency

    def _held_walls(self) -> list[tuple[int, int, Any]]:
        return [
            (axis, end, wall)
            for axis, pair in enumerate(self.sides)
            if pair is not None and self.grid.points[axis] == "nodes"
            for end, wall in zip((0, -1), pair, strict=True)
            if wall.derivative_order == 0
        ]


class StencilField(AbstractField):
    """A field of point values; `sides` holds the conditions at the walls where it has any."""

    def __init__(self, reading: FiniteDifference, values: Any, sides: Sides | None = None):
        self.reading = reading
        self.ndim = reading.grid.ndim
        self.values = values
        self.num_components = values.shape[0]
        self.sides = sides

    def _derivative(self, axis: int, order: int) -> "StencilField":
        if order > 1 and not self.reading.grid.periodic[axis] and (self.sides is None or self.sides[axis] is None):
            raise ValueError(
                f"A derivative of order {order} along axis {axis} was asked of a field for which no condition is known "
                "at that axis' walls: the state has one, and so have its multiples and sums, but not products or "
                "derivatives. Write D * u.laplacian() with the state inside, or a flux and its divergence "
                "(first derivatives need no condition)."
            )
        offsets, weights = central_weights(order, self.reading.order)
        padded = self._padded(axis, int(offsets[-1]))
        n = self.reading.grid.shape[axis]
        spacing = self.reading.grid.spacing[axis].astype(self.values.dtype)
        total = None
        for offset, weight in zip(offsets, weights, strict=True):
            if weight != 0.0:
                start = int(offset + offsets[-1])
                part = float(weight) * jnp.take(padded, jnp.arange(start, start + n), axis=axis + 1)
                total = part if total is None else total + part
        assert total is not None
        return self._new(total / spacing**order)

    def laplacian(self) -> "StencilField":
        total = self.derivative(0, 2)
        for axis in range(1, self.ndim):
            total = total + self.derivative(axis, 2)
        return total

    def map(self, function: Callable[[Any], Any]) -> "StencilField":
        # Coefficients inside `function` may be of another precision; the state's decides.
        return self._new(jnp.asarray(function(self.values), self.values.dtype))

    @property
    def coordinates(self) -> "StencilField":
        return self._new(self.reading.grid.coordinates())

    def constant(self, value: Any) -> "StencilField":
        return self._new(jnp.full((1, *self.reading.grid.shape), value, self.values.dtype))

    def solve_poisson(self) -> "StencilField":
        """Inverts this reading's own Laplacian, whose symbol is a cosine sum, by a Fourier transform."""
        grid = self.reading.grid
        if not all(grid.periodic):
            raise ValueError(
                "Finite differences solve the Poisson equation of an auxiliary field on periodic grids only; this grid "
                f"has walls along axes {[a for a, wraps in enumerate(grid.periodic) if not wraps]}."
            )
        offsets, weights = central_weights(2, self.reading.order)
        symbol: Any = 0.0
        for axis, n in enumerate(grid.shape):
            k = np.arange(n // 2 + 1) if axis == grid.ndim - 1 else np.arange(n)
            cosines = np.cos(2 * np.pi * np.outer(k, offsets) / n) @ weights
            shape = (1,) * axis + (-1,) + (1,) * (grid.ndim - axis - 1)
            symbol = symbol + jnp.asarray(cosines.reshape(shape), self.values.dtype) / grid.spacing[axis] ** 2
        origin = (0,) * grid.ndim
        inverse = (1 / symbol.at[origin].set(1.0)).at[origin].set(0.0)
        axes = tuple(range(-grid.ndim, 0))
        return self._new(jnp.fft.irfftn(jnp.fft.rfftn(self.values, axes=axes) * inverse, s=grid.shape, axes=axes))

    def _padded(self, axis: int, width: int) -> Array:
        at = axis + 1
        if self.reading.grid.periodic[axis]:
            n = self.values.shape[at]
            return jnp.take(self.values, jnp.arange(-width, n + width) % n, axis=at)
        pair = None if self.sides is None else self.sides[axis]
        below, above = pair if pair is not None else (None, None)
        low = self._ghosts(axis, width, below, self.values)
        high = self._ghosts(axis, width, above, jnp.flip(self.values, at))
        return jnp.concatenate([jnp.flip(low, at), self.values, high], axis=at)

    def _ghosts(self, axis: int, width: int, wall: Boundary | None, values: Array) -> Array:
        """The `width` values beyond the wall at the start of `axis`, nearest first."""
        grid, at = self.reading.grid, axis + 1
        # A polynomial of degree `order + 1` keeps second derivatives at the wall within one order of the interior.
        order = None if wall is None else wall.derivative_order
        conditioned = order is not None and not (grid.points[axis] == "nodes" and order == 0)
        num_interior = self.reading.order + 2 - conditioned
        datum_weights, interior_weights = ghost_weights(grid.points[axis], order, num_interior, width)
        nearest = jnp.take(values, jnp.arange(num_interior), axis=at)
        ghosts = jnp.tensordot(jnp.asarray(interior_weights, values.dtype), nearest, axes=([1], [at]))
        if wall is not None and conditioned:
            # The outward derivative is minus the derivative along the inward coordinate that the weights use.
            datum = -wall.slope * grid.spacing[axis] if isinstance(wall, Neumann) else wall.value
            shape = (-1,) + (1,) * (ghosts.ndim - 1)
            ghosts = ghosts + (jnp.asarray(datum_weights, values.dtype) * datum.astype(values.dtype)).reshape(shape)
        return jnp.moveaxis(ghosts, 0, at)

    def _scaled(self, factor: Any) -> "StencilField":
        factor = jnp.asarray(factor, self.values.dtype)
        scale = lambda pair: (pair[0].scaled(factor), pair[1].scaled(factor))  # noqa: E731
        sides = None if self.sides is None else tuple(pair and scale(pair) for pair in self.sides)
        return StencilField(self.reading, self.values * factor, sides)

    def _plus(self, other: "StencilField") -> "StencilField":
        sides = None
        if self.sides is not None and other.sides is not None:
            sides = tuple(itertools.starmap(_summed, zip(self.sides, other.sides, strict=True)))
        return StencilField(self.reading, self.values + other.values, sides)

    def _times(self, other: "StencilField") -> "StencilField":
        return self._new(self.values * other.values)

    def _over(self, other: "StencilField") -> "StencilField":
        return self._new(self.values / other.values)

    def _component(self, index: int) -> "StencilField":
        return StencilField(self.reading, self.values[index : index + 1], self.sides)

    def _stacked(self, others: Sequence["StencilField"]) -> "StencilField":
        sides = self.sides if all(other.sides is self.sides for other in others) else None
        return StencilField(self.reading, jnp.concatenate([self.values, *(other.values for other in others)]), sides)

    def _new(self, values: Any) -> "StencilField":
        return StencilField(self.reading, values)


def _summed(a: tuple[Boundary, Boundary] | None, b: tuple[Boundary, Boundary] | None) -> Any:
    """The conditions that a sum meets along one axis; None where its terms state different kinds."""
    if a is None or b is None or any(type(first) is not type(second) for first, second in zip(a, b, strict=True)):
        return None
    return tuple(first.plus(second) for first, second in zip(a, b, strict=True))  # pyright: ignore[reportArgumentType]


def _at_end(array: Array, axis: int, end: int) -> Any:
    index: list[Any] = [slice(None)] * array.ndim
    index[axis] = end
    return array.at[tuple(index)]
