"""One axis of a reading by itself: derivatives along a line between homogeneous conditions at two walls, or around it.

They are the reading's own, of one dimension less: whatever a stencil or a polynomial does at a wall, the matrices here
do as well.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Condition, Dirichlet, Outflow, Robin
from pdejax.fields.chebyshev import Chebyshev
from pdejax.fields.finite_difference import FiniteDifference
from pdejax.grid import Grid, Points

Reading = FiniteDifference | Chebyshev
Pair = tuple[Condition, Condition]


class Stencils(NamedTuple):
    """What finite differences are, but for their grid and their conditions."""

    order: int
    closure: str


def stencils_of(reading: Reading) -> Stencils | None:
    """None for Chebyshev collocation."""
    return Stencils(reading.order, reading.closure) if isinstance(reading, FiniteDifference) else None


def held_ends(reading: Reading, axis: int, side: Any) -> tuple[bool, bool]:
    """Whether the points at the two ends follow from the others and the conditions, and so are no unknowns."""
    if reading.grid.periodic[axis]:
        return False, False
    pair: Pair = side
    if isinstance(reading, Chebyshev):
        low, high = (not isinstance(condition, Outflow) for condition in pair)
    else:
        low, high = (reading.grid.placement[axis] == "nodes" and isinstance(condition, Dirichlet) for condition in pair)
    return low, high


def free_points(num_points: int, is_held: tuple[bool, bool]) -> np.ndarray:
    """Which points are not held: a mask."""
    is_free = np.ones(num_points, bool)
    is_free[0], is_free[-1] = (not held for held in is_held)
    return is_free


def unit_of(reading: Reading, axis: int) -> Array:
    """The length that a derivative along an axis is counted in: the mean spacing, or half the extent of Chebyshev
    points."""
    if isinstance(reading, FiniteDifference):
        return reading.grid.mean_spacing(axis)
    return reading.grid.extent[axis] / (1 if reading.grid.periodic[axis] else 2)


def homogeneous(condition: Condition) -> Condition:
    """A condition of the same kind and weights, with the datum zero."""
    if isinstance(condition, Robin):
        return Robin(condition.value_weight, condition.slope_weight)
    return type(condition)()


def without_data(reading: Reading) -> Reading:
    """The reading between conditions of the same kinds, their data zero."""
    sides_of = lambda sides: tuple(tuple(map(homogeneous, s)) if isinstance(s, tuple) else s for s in sides)  # noqa: E731
    given = reading.walls.by_component
    return eqx.tree_at(
        lambda r: r.walls.by_component, reading, {name: sides_of(sides) for name, sides in given.items()}
    )


def line_of(
    stencils: Stencils | None, num_points: int, extent: Any, points: Points, ends: tuple[Any, ...], dtype: Any
) -> Reading:
    """Finite differences, or Chebyshev collocation where `stencils` is None, along one axis; `ends` are the conditions
    of two walls, or around a periodic axis the change of sign or nothing."""
    grid = Grid(num_points, extent, periodic=len(ends) < 2, points=points, dtype=dtype)
    boundary = {"x-": ends[0], "x+": ends[1]} if len(ends) == 2 else {"x": ends[0]} if ends else None
    if stencils is None:
        return Chebyshev(grid, boundary)
    return FiniteDifference(grid, stencils.order, boundary, closure=stencils.closure)


def along(reading: Reading, axis: int, pair: Pair) -> Reading:
    """The line along `axis` of `reading`, between the homogeneous conditions of `pair`; weights and extents traced."""
    grid = reading.grid
    ends = (homogeneous(pair[0]), homogeneous(pair[1]))
    return line_of(stencils_of(reading), grid.shape[axis], grid.extent[axis], grid.points[axis], ends, grid.dtype)


def dense_matrix(line: Reading, order: int) -> np.ndarray:
    """The derivative of numbers known now."""
    columns = jax.vmap(lambda u: _combination(line, {order: 1.0}, u), out_axes=1)(jnp.eye(line.grid.shape[0]))
    return np.asarray(columns)


def half_bandwidth(line: Reading, orders: Any) -> int:
    """How far to either side of the diagonal the matrices of these derivatives reach: at the ends, as far as the
    polynomials beyond the walls look inside."""
    n = line.grid.shape[0]
    if isinstance(line, Chebyshev):
        return n - 1
    at_walls = line.order + 1 if line.closure == "ghost values" else 3 * line.order // 2
    return min(n - 1, max(at_walls, *(line.order // 2 + (order - 1) // 2 for order in orders)))


def bands(line: Reading, coefficients: Mapping[int, Any]) -> Float[Array, "points band"]:
    """The matrix of `sum over orders q of coefficients[q] d^q/dx^q`, zero at held points: entry (i, k) is that of row i
    and column i + k - w, w the half bandwidth.

    Columns further apart than the band is wide share no row, so that one application serves them all: the matrix costs
    2 w + 1 applications, whatever its size, and everything in it may be traced.
    """
    n, width = line.grid.shape[0], half_bandwidth(line, coefficients)
    pair: Any = line.walls.by_component["*"][0]
    is_free = jnp.asarray(free_points(n, held_ends(line, 0, pair)))
    period = 2 * width + 1
    index = np.arange(n)
    probes = jnp.asarray(index % period == np.arange(period)[:, None], line.grid.dtype)
    images = jax.vmap(lambda u: _combination(line, coefficients, u))(jnp.where(is_free, probes, 0))
    columns = index[:, None] + np.arange(-width, width + 1)
    inside = (columns >= 0) & (columns < n)
    values = images[columns % period, index[:, None]]
    return jnp.where(jnp.asarray(inside) & is_free[:, None], values, 0)


class _Scalar:
    """The state along a line: one component, of no equation in particular."""

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def auxiliary(self, u: Any) -> dict[str, Any]:
        return {}

    def linear(self, u: Any) -> Any:
        return u

    def nonlinear(self, t: Any, u: Any) -> Any:
        return u


def _combination(line: Reading, coefficients: Mapping[int, Any], u: Array) -> Array:
    state: Any = line.field(_Scalar(), 0.0, u[None])
    total = jnp.zeros_like(u)
    for order, coefficient in coefficients.items():
        total = total + jnp.asarray(coefficient, u.dtype) * state.derivative(0, order).values[0]
    return total
