"""How finite differences read a field: central stencils of even order, ghost values at the walls.

    d^n u / dx^n at x_i  ~  h^-n * sum over |j| <= m of c_j u_(i+j),    m = order / 2 + (n - 1) // 2

The weights `c_j` make the formula exact for polynomials up to degree `n + order - 1`. Beyond a wall u has ghost values
(`ghost_values.py`), from the conditions that the field meets there (`met.py`), or the rows sum by parts
(`summation_by_parts.py`).

On stretched points all of this holds in the numbers i that the points are images of. A derivative in x is the sum
`a_1 d/di + ... + a_n d^n/di^n` of those in i, with a_k from the exact derivatives of the map. In this form, and not as
the divergence of a flux, second derivatives of every order leave no checkerboard, and while neighbouring distances
change slowly enough (`FiniteDifference`) diffusion has no growing mode.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pdejax.boundary import Neumann, Robin
from pdejax.fields.field import AbstractField, Poisson
from pdejax.fields.flux_form import flux_divergence
from pdejax.fields.ghost_values import padded
from pdejax.fields.met import Met, MetSides, Unknown, check_stated, differentiated, joined, multiplied, summed
from pdejax.fields.periodic_poisson import inverse_laplacian
from pdejax.fields.stencil_weights import central_weights, stretched_weights
from pdejax.fields.summation_by_parts import add_slope, derivative_by_parts, outward_slope
from pdejax.fields.upwind import multiplied_damping, stacked_damping, summed_damping, upwind_derivative
from pdejax.fields.windows import window as _slice
from pdejax.grid import check_uniform
from pdejax.stretching import Stretched


class StencilField(AbstractField):
    """A field of point values; `sides` says, for each component, what it meets along each axis.

    `damping` belongs to transport read from upstream (`upwind.py`): what a tendency adds to the values. `reach` is how
    far away along the first axis the points of the state lie that a value depends on (`blocks.py`).
    """

    def __init__(self, reading: Any, values: Any, sides: tuple[MetSides, ...], damping: Any = None, *, reach: int = 0):
        self.reading = reading
        self.grid = reading.grid
        self.ndim = reading.grid.ndim
        self.values = values
        self.num_components = values.shape[0]
        self.sides = sides
        self.damping = damping
        self.reach = reach
        # Of a state: from the name and the source of an auxiliary field to the field, which has conditions of its own.
        self.solve_auxiliary: Callable[[str, Any], Any] | None = None

    @property
    def rate(self) -> Array:
        """The values as a tendency: with the damping of transport."""
        return self.values if self.damping is None else self.values + self.damping

    def _derivative(self, axis: int, order: int) -> "StencilField":
        if self.reading.closure == "summation by parts" and not self.grid.periodic[axis]:
            return self._by_parts(axis, order)
        if order > 2 and isinstance(self.grid.points[axis], Stretched):
            if not self.grid.periodic[axis]:
                raise ValueError(
                    f"A derivative of order {order} was asked for along axis {axis}, which has walls and stretched "
                    'points: there, finite differences have the orders 1 and 2. Use points="nodes" or "centres".'
                )
            if order % 2:
                # In one formula odd derivatives are not skew: with 32 points on Sine(0.8) solutions of u_t = -u_xxx
                # grew, and with the slope of an even derivative nothing does.
                return self._derivative(axis, order - 1)._derivative(axis, 1)
        offsets, weights = self._weights(axis, order)
        values = padded(self, axis, int(offsets[-1]), order)
        n = self.grid.shape[axis]
        total = None
        for offset, weight in zip(offsets, weights, strict=True):
            if np.any(weight != 0.0):
                start = int(offset + offsets[-1])
                part = weight * _slice(values, axis + 1, start, n)
                total = part if total is None else total + part
        assert total is not None
        spacing = self.grid.mean_spacing(axis).astype(self.values.dtype)
        reach = self.reach + (int(offsets[-1]) if axis == 0 else 0)
        return StencilField(self.reading, total / spacing**order, tuple(map(differentiated, self.sides)), reach=reach)

    def _weights(self, axis: int, order: int) -> tuple[np.ndarray, Sequence[Any]]:
        """Offsets and the weight of each for a mean spacing of 1: a number, or on stretched points one per point."""
        points, accuracy = self.grid.points[axis], self.reading.order
        if not isinstance(points, Stretched):
            offsets, weights = central_weights(order, accuracy)
            return offsets, weights.tolist()
        n = self.grid.shape[axis]
        weights = stretched_weights(points.coefficients(order, n, self.grid.periodic[axis]), accuracy)
        shape = (-1,) + (1,) * (self.ndim - axis - 1)
        return central_weights(order, accuracy)[0], [w.reshape(shape).astype(self.values.dtype) for w in weights]

    def laplacian(self) -> "StencilField":
        total = self.derivative(0, 2)
        for axis in range(1, self.ndim):
            total = total + self.derivative(axis, 2)
        return total

    def _diffusion(self, diffusivity: "StencilField", mean: str) -> "StencilField":
        if self.reading.closure == "summation by parts" and not all(self.grid.periodic):
            raise ValueError(
                'A diffusivity that varies is read as fluxes, which end at walls with ghost values: closure="ghost '
                'values".'
            )
        values = flux_divergence(self, diffusivity, mean)
        reach = max(self.reach, diffusivity.reach) + self.reading.order
        return StencilField(self.reading, values, tuple(map(differentiated, self.sides)), reach=reach)

    def _transport_derivative(self, axis: int) -> "StencilField":
        if self.reading.advection == "central":
            return self.derivative(axis)
        values, damping = upwind_derivative(self, axis)
        reach = self.reach + (self.reading.order // 2 if axis == 0 else 0)
        return StencilField(self.reading, values, tuple(map(differentiated, self.sides)), damping, reach=reach)

    def map(self, function: Callable[[Any], Any]) -> "StencilField":
        # Coefficients inside `function` may be of another precision; the state's decides.
        values = jnp.asarray(function(self.values), self.values.dtype)
        sides = (joined(self.sides, lambda sides: None if sides is None else Unknown()),) * values.shape[0]
        return StencilField(self.reading, values, sides, reach=self.reach)

    @property
    def coordinates(self) -> "StencilField":
        return self._given(self.grid.coordinates())

    def constant(self, value: Any) -> "StencilField":
        return self._given(jnp.full((1, *self.grid.shape), value, self.values.dtype))

    def _solved(self, name: str, constraint: Poisson) -> Any:
        if self.solve_auxiliary is None:
            return super()._solved(name, constraint)
        if name not in self._cache:
            self._cache[name] = self.solve_auxiliary(name, constraint.source)
        return self._cache[name]

    def solve_poisson(self) -> "StencilField":
        """Inverts this reading's own Laplacian, whose symbol is a cosine sum, by a Fourier transform."""
        grid = self.grid
        if not all(grid.periodic):
            raise ValueError(
                "Which conditions the solution of this Poisson equation meets is not known: make it an auxiliary field "
                "of the equation. (This grid has walls along axes "
                f"{[axis for axis, wraps in enumerate(grid.periodic) if not wraps]}.)"
            )
        if any(side is not None for sides in self.sides for side in sides):
            raise ValueError(
                "Finite differences solve the Poisson equation of periodic fields only, and this one is anti-periodic, "
                "or a function of such a field."
            )
        check_uniform(
            grid,
            "The Poisson equation of an auxiliary field",
            "of which it takes a Fourier transform",
            "use nodes or centres there",
        )
        values = inverse_laplacian(self.values, grid, self.reading.order)
        return StencilField(self.reading, values, self.sides)

    def _by_parts(self, axis: int, order: int) -> "StencilField":
        """A derivative between walls that sums by parts; in the second one a stated slope replaces the field's own."""
        if order > 2:
            raise ValueError(
                f"A derivative of order {order} along axis {axis} was asked between walls whose closure sums by parts, "
                'as first and second derivatives do: use closure="ghost values".'
            )
        accuracy = self.reading.order
        values = derivative_by_parts(self.values, axis + 1, order, accuracy)
        spacing = self.grid.mean_spacing(axis).astype(values.dtype)
        pairs: list[Any] = [sides[axis] for sides in self.sides]
        for pair in pairs:
            check_stated(pair, axis, order)
        for end in (0, -1) if order == 2 else ():
            walls = zip(self.values, pairs, strict=True)
            slopes = [self._outward_slope(axis, end, pair[end], component[None]) for component, pair in walls]
            values = add_slope(values, jnp.concatenate(slopes) * spacing, axis + 1, end, accuracy)
        met = tuple(map(differentiated, self.sides))
        return StencilField(self.reading, values / spacing**order, met, reach=self.reach)

    def _outward_slope(self, axis: int, end: int, wall: Met, values: Array) -> Array:
        """The outward derivative at the nodes of a wall: as stated, or that of the values where none is."""
        at, condition, datum = axis + 1, wall.condition, wall.datum.astype(values.dtype)[None]
        node = _slice(values, at, 0 if end == 0 else values.shape[at] - 1, 1)
        if isinstance(condition, Neumann):
            return jnp.broadcast_to(datum, node.shape)
        if isinstance(condition, Robin):
            value_weight, slope_weight = (
                weight.astype(values.dtype) for weight in (condition.value_weight, condition.slope_weight)
            )
            return (datum - value_weight * node) / slope_weight
        return outward_slope(values, at, end, self.reading.order) / self.grid.mean_spacing(axis).astype(values.dtype)

    def _scaled(self, factor: Any) -> "StencilField":
        factor = jnp.asarray(factor, self.values.dtype)

        def scaled(side: Any) -> Any:
            scale = lambda end: end if isinstance(end, Unknown) else end.scaled(factor)  # noqa: E731
            return tuple(map(scale, side)) if isinstance(side, tuple) else side

        sides = tuple(tuple(map(scaled, sides)) for sides in self.sides)
        damping = None if self.damping is None else self.damping * jnp.abs(factor)
        return StencilField(self.reading, self.values * factor, sides, damping, reach=self.reach)

    def _plus(self, other: "StencilField") -> "StencilField":
        damping = summed_damping(self, other)
        paired, reach = self._paired(other, summed), max(self.reach, other.reach)
        return StencilField(self.reading, self.values + other.values, paired, damping, reach=reach)

    def _times(self, other: "StencilField") -> "StencilField":
        damping = multiplied_damping(self, other)
        paired, reach = self._paired(other, multiplied), max(self.reach, other.reach)
        return StencilField(self.reading, self.values * other.values, paired, damping, reach=reach)

    def _over(self, other: "StencilField") -> "StencilField":
        damping = None if self.damping is None else self.damping / jnp.abs(other.values)
        paired, reach = self._paired(other, multiplied), max(self.reach, other.reach)
        return StencilField(self.reading, self.values / other.values, paired, damping, reach=reach)

    def _component(self, index: int) -> "StencilField":
        part = slice(index, index + 1)
        damping = None if self.damping is None else self.damping[part]
        return StencilField(self.reading, self.values[part], self.sides[part], damping, reach=self.reach)

    def _stacked(self, others: Sequence["StencilField"]) -> "StencilField":
        values = jnp.concatenate([self.values, *(other.values for other in others)])
        sides = (*self.sides, *itertools.chain(*(other.sides for other in others)))
        reach = max(field.reach for field in (self, *others))
        return StencilField(self.reading, values, sides, stacked_damping((self, *others)), reach=reach)

    def _given(self, values: Any) -> "StencilField":
        """A field that is known, and not made from the state."""
        sides = tuple(None if wraps else (Unknown(), Unknown()) for wraps in self.grid.periodic)
        return StencilField(self.reading, values, (sides,) * values.shape[0])

    def _paired(self, other: "StencilField", rule: Callable[[Any, Any], Any]) -> tuple[MetSides, ...]:
        """What each component of a sum or product meets; one component goes with any number."""
        count = max(self.num_components, other.num_components)
        mine, theirs = (field.sides * (count // field.num_components) for field in (self, other))
        return tuple(tuple(itertools.starmap(rule, zip(*pair, strict=True))) for pair in zip(mine, theirs, strict=True))
