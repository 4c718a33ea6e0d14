"""How finite differences read a field: central stencils of even order, ghost values at the walls.

    d^n u / dx^n at x_i  ~  h^-n * sum over |j| <= m of c_j u_(i+j),    m = order / 2 + (n - 1) // 2

The weights `c_j` make the formula exact for polynomials up to degree `n + order - 1`. Beyond a wall the values are
those of the polynomial that meets the wall's condition and the nearest interior points: of degree `order + 1`, so that
second derivatives at the wall are of this order too. For first derivatives it has degree `order`, and `order - 1` where
values are stated: one order less at the wall costs the solution nothing (Gustafsson, Math. Comput. 29 (1975) 396), and
with more of it transport grows, from an inflow to an outflow and towards walls with layers thinner than a cell. As it
is, orders 2 and 4 are stable in both cases. With orders 6 and 8 and no diffusion some modes grow many times over while
the flow crosses the box, whatever the degree: use these where diffusion reaches the walls, or sum by parts
(`summation_by_parts.py`: there nothing is beyond the wall, and no mode grows at any order).

Multiples and sums of the state meet the multiple and the sum of its conditions. Other fields (a product, a derivative)
have none: a first derivative of them, as in the divergence of a flux, extrapolates; a higher one is refused, since it
would lose the condition. On an anti-periodic axis a derivative changes its sign like u, a product of two such fields
does not.

On stretched points all of this holds in the numbers i that the points are images of, and what a wall's condition says
of du/dx, of `du/di = dx/di du/dx`. A derivative in x is the sum `a_1 d/di + ... + a_n d^n/di^n` of those in i, with a_k
from the exact derivatives of the map. In this form, and not as the divergence of a flux, second derivatives of every
order leave no checkerboard, and while neighbouring distances change slowly enough (`FiniteDifference`) diffusion has
no growing mode.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pdejax.boundary import AntiPeriodic, Condition, Dirichlet, Neumann, Outflow, Robin
from pdejax.fields.field import AbstractField, Poisson
from pdejax.fields.flux_form import flux_divergence
from pdejax.fields.stencil_weights import (
    central_weights,
    fitted_ghost_weights,
    ghost_weights,
    stretched_weights,
    wall_slope_weights,
)
from pdejax.fields.summation_by_parts import add_slope, derivative_by_parts, outward_slope
from pdejax.fields.upwind import multiplied_damping, stacked_damping, summed_damping, upwind_derivative
from pdejax.fields.windows import combined as _combined
from pdejax.fields.windows import window as _slice
from pdejax.grid import check_uniform
from pdejax.stretching import Stretched


@dataclasses.dataclass(frozen=True)
class Met:
    """What a field meets at one wall: the kind of the state's condition there, and a datum for this field."""

    condition: Condition
    datum: Array

    def scaled(self, factor: Array) -> "Met":
        return Met(self.condition, self.datum * factor)

    def plus(self, other: "Met") -> "Met | Unknown":
        """What the sum of two fields meets."""
        a, b = self.condition, other.condition
        # Two mixtures are the same if they are one object: their weights may be traced.
        same = a is b if isinstance(a, Robin) else type(a) is type(b)
        return Met(a, self.datum + other.datum) if same else Unknown()


@dataclasses.dataclass(frozen=True)
class Unknown:
    """No condition is known: at a wall, of a product or a derivative; around an axis, of a function of u."""


# For each axis: periodic, or what is met.
MetSides = tuple[AntiPeriodic | Unknown | tuple[Met | Unknown, Met | Unknown] | None, ...]


class StencilField(AbstractField):
    """A field of point values; `sides` says, for each component, what it meets along each axis.

    `damping` belongs to transport read from upstream (`upwind.py`): what a tendency adds to the values.
    """

    def __init__(self, reading: Any, values: Any, sides: tuple[MetSides, ...], damping: Any = None):
        self.reading = reading
        self.grid = reading.grid
        self.ndim = reading.grid.ndim
        self.values = values
        self.num_components = values.shape[0]
        self.sides = sides
        self.damping = damping
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
        padded = self._padded(axis, int(offsets[-1]), order)
        n = self.grid.shape[axis]
        total = None
        for offset, weight in zip(offsets, weights, strict=True):
            if np.any(weight != 0.0):
                start = int(offset + offsets[-1])
                part = weight * _slice(padded, axis + 1, start, n)
                total = part if total is None else total + part
        assert total is not None
        spacing = self.grid.mean_spacing(axis).astype(self.values.dtype)
        return StencilField(self.reading, total / spacing**order, tuple(map(_differentiated, self.sides)))

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
        return StencilField(self.reading, values, tuple(map(_differentiated, self.sides)))

    def _transport_derivative(self, axis: int) -> "StencilField":
        if self.reading.advection == "central":
            return self.derivative(axis)
        values, damping = upwind_derivative(self, axis)
        return StencilField(self.reading, values, tuple(map(_differentiated, self.sides)), damping)

    def map(self, function: Callable[[Any], Any]) -> "StencilField":
        # Coefficients inside `function` may be of another precision; the state's decides.
        values = jnp.asarray(function(self.values), self.values.dtype)
        sides = (_joined(self.sides, lambda sides: None if sides is None else Unknown()),) * values.shape[0]
        return StencilField(self.reading, values, sides)

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
        values = jnp.fft.irfftn(jnp.fft.rfftn(self.values, axes=axes) * inverse, s=grid.shape, axes=axes)
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
            _check_stated(pair, axis, order)
        for end in (0, -1) if order == 2 else ():
            walls = zip(self.values, pairs, strict=True)
            slopes = [self._outward_slope(axis, end, pair[end], component[None]) for component, pair in walls]
            values = add_slope(values, jnp.concatenate(slopes) * spacing, axis + 1, end, accuracy)
        return StencilField(self.reading, values / spacing**order, tuple(map(_differentiated, self.sides)))

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

    def _padded(self, axis: int, width: int, order: int, degree: int | None = None, inflow: int | None = None) -> Array:
        """The values with `width` more at either end of `axis`, for a derivative of `order`; those beyond walls from
        polynomials of `degree`, by default that of a central formula. `inflow` is the end where transport enters."""
        at = axis + 1
        padded = []
        for component, sides in zip(self.values, self.sides, strict=True):
            values, side = component[None], sides[axis]
            if isinstance(side, Unknown):
                raise ValueError(
                    f"A derivative along axis {axis}, where u is anti-periodic, was asked of a field of which it is "
                    "not known whether it is. Write products in place of powers and functions: u * u.derivative(0)."
                )
            if not isinstance(side, tuple):
                n, sign = self.grid.shape[axis], -1 if isinstance(side, AntiPeriodic) else 1
                low, high = sign * _slice(values, at, n - width, width), sign * _slice(values, at, 0, width)
            else:
                _check_stated(side, axis, order)
                low = jnp.flip(self._ghosts(axis, 0, width, order, side[0], values, degree, inflow == 0), at)
                high = self._ghosts(axis, 1, width, order, side[1], jnp.flip(values, at), degree, inflow == -1)
            padded.append(jnp.concatenate([low, values, high], axis=at))
        return padded[0] if len(padded) == 1 else jnp.concatenate(padded)

    def _ghosts(
        self,
        axis: int,
        end: int,
        width: int,
        derivative: int,
        wall: Met | Unknown,
        values: Array,
        degree: int | None = None,
        is_inflow: bool = False,
    ) -> Array:
        """The `width` values beyond the wall at the start (`end` 0) or the end (1) of `axis`, nearest first, for a
        derivative of that order; `values` start at that wall."""
        at, kind, order = axis + 1, self.grid.placement[axis], self.reading.order
        spacing = self.grid.mean_spacing(axis).astype(values.dtype)
        if isinstance(points := self.grid.points[axis], Stretched):
            spacing = spacing * points.end_slopes()[end]
        near = lambda count: _slice(values, at, 0, count)  # noqa: E731
        number = lambda value: value.astype(values.dtype)  # noqa: E731
        combined = lambda weights, count: _combined(weights, near(count), at)  # noqa: E731
        condition = Outflow() if isinstance(wall, Unknown) else wall.condition
        has_value = isinstance(wall, Unknown) or isinstance(condition, Dirichlet)
        of_first = order - 1 if has_value else order
        reach = degree if degree is not None else (order + 1 if derivative > 1 else of_first)
        if is_inflow and isinstance(wall, Met) and isinstance(condition, Dirichlet):
            of_datum, weights = fitted_ghost_weights(kind, reach, 2 * (reach + 1), width)
            datum = wall.datum.astype(values.dtype)[None]
            return combined(weights, 2 * (reach + 1)) + _combined(of_datum[:, None], datum, at)
        if isinstance(condition, Outflow) or (has_value and kind == "nodes"):
            _, weights = ghost_weights(kind, None, reach + 1, width)
            return combined(weights, reach + 1)
        assert isinstance(wall, Met)
        datum = wall.datum.astype(values.dtype)[None]
        if isinstance(condition, Robin) and kind == "centres":
            # The wall's value w, from the slope of the polynomial through w and the interior.
            of_wall, of_interior = wall_slope_weights(reach)
            slope = combined(of_interior[None], reach)
            share = number(condition.slope_weight) / spacing
            datum = (datum + share * slope) / (number(condition.value_weight) - share * of_wall)
        elif isinstance(condition, Robin):
            # The wall's value is that of its node, so the condition states the slope.
            datum = (datum - number(condition.value_weight) * near(1)) / number(condition.slope_weight)
        has_slope = isinstance(condition, Neumann) or (isinstance(condition, Robin) and kind == "nodes")
        if has_slope:
            # The outward derivative is minus the derivative along the inward coordinate that the weights use.
            datum = -datum * spacing
        of_datum, weights = ghost_weights(kind, 1 if has_slope else 0, reach, width)
        return combined(weights, reach) + _combined(of_datum[:, None], datum, at)

    def _scaled(self, factor: Any) -> "StencilField":
        factor = jnp.asarray(factor, self.values.dtype)

        def scaled(side: Any) -> Any:
            scale = lambda end: end if isinstance(end, Unknown) else end.scaled(factor)  # noqa: E731
            return tuple(map(scale, side)) if isinstance(side, tuple) else side

        sides = tuple(tuple(map(scaled, sides)) for sides in self.sides)
        damping = None if self.damping is None else self.damping * jnp.abs(factor)
        return StencilField(self.reading, self.values * factor, sides, damping)

    def _plus(self, other: "StencilField") -> "StencilField":
        damping = summed_damping(self, other)
        return StencilField(self.reading, self.values + other.values, self._paired(other, _summed), damping)

    def _times(self, other: "StencilField") -> "StencilField":
        damping = multiplied_damping(self, other)
        return StencilField(self.reading, self.values * other.values, self._paired(other, _multiplied), damping)

    def _over(self, other: "StencilField") -> "StencilField":
        damping = None if self.damping is None else self.damping / jnp.abs(other.values)
        return StencilField(self.reading, self.values / other.values, self._paired(other, _multiplied), damping)

    def _component(self, index: int) -> "StencilField":
        part = slice(index, index + 1)
        damping = None if self.damping is None else self.damping[part]
        return StencilField(self.reading, self.values[part], self.sides[part], damping)

    def _stacked(self, others: Sequence["StencilField"]) -> "StencilField":
        values = jnp.concatenate([self.values, *(other.values for other in others)])
        sides = (*self.sides, *itertools.chain(*(other.sides for other in others)))
        return StencilField(self.reading, values, sides, stacked_damping((self, *others)))

    def _given(self, values: Any) -> "StencilField":
        """A field that is known, and not made from the state."""
        sides = tuple(None if wraps else (Unknown(), Unknown()) for wraps in self.grid.periodic)
        return StencilField(self.reading, values, (sides,) * values.shape[0])

    def _paired(self, other: "StencilField", rule: Callable[[Any, Any], Any]) -> tuple[MetSides, ...]:
        """What each component of a sum or product meets; one component goes with any number."""
        count = max(self.num_components, other.num_components)
        mine, theirs = (field.sides * (count // field.num_components) for field in (self, other))
        return tuple(tuple(itertools.starmap(rule, zip(*pair, strict=True))) for pair in zip(mine, theirs, strict=True))


def _check_stated(side: tuple[Met | Unknown, Met | Unknown], axis: int, order: int) -> None:
    """Raises `ValueError` where a derivative above the first lacks a condition at a wall."""
    if order > 1 and any(isinstance(end, Met) and isinstance(end.condition, Outflow) for end in side):
        raise ValueError(
            f"A derivative of order {order} along axis {axis} was asked of a field that flows out there: "
            "diffusion needs a condition at that wall. Neumann(0.0) is the usual one."
        )
    if order > 1 and any(isinstance(end, Unknown) for end in side):
        raise ValueError(
            f"A derivative of order {order} along axis {axis} was asked of a field for which no condition "
            "is known at that axis' walls: the state has one, and so have its multiples and sums, but not "
            "products or derivatives. Write D * u.laplacian() with the state inside, or a flux and its "
            "divergence (first derivatives need no condition)."
        )


def _differentiated(sides: MetSides) -> MetSides:
    return tuple((Unknown(), Unknown()) if isinstance(side, tuple) else side for side in sides)


def _joined(sides: tuple[MetSides, ...], rule: Callable[[Any], Any]) -> MetSides:
    """What a function of all components meets."""
    return tuple(
        (Unknown(), Unknown())
        if isinstance(along[0], tuple)
        else rule(next((side for side in along if side is not None), None))
        for along in zip(*sides, strict=True)
    )


def _summed(a: Any, b: Any) -> Any:
    """What a sum meets along one axis."""
    if isinstance(a, tuple):
        both = zip(a, b, strict=True)
        return tuple(Unknown() if Unknown() in pair else pair[0].plus(pair[1]) for pair in both)
    return a if type(a) is type(b) else Unknown()


def _multiplied(a: Any, b: Any) -> Any:
    """What a product or quotient meets along one axis."""
    if isinstance(a, tuple):
        return (Unknown(), Unknown())
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return Unknown()
    return None if type(a) is type(b) else AntiPeriodic()
