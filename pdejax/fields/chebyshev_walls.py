"""Conditions at the walls of a Chebyshev grid, whose first and last points lie on them.

Along each line of points the two conditions are rows `a u + b du/dn = g`, with the outward derivative of the polynomial
through all points. They determine the two wall values from the interior ones,

    W u_wall + V u_interior = g,    W the 2 x 2 columns of the walls,

and, with `dg/dt` in place of g, the rates of the wall values from the interior rates: a state that meets its conditions
goes on meeting them. So the equation is collocated at the interior points and nothing is approximated at the walls. The
second derivative with wall values eliminated like this has real eigenvalues, none of them positive, where Robin weights
have the same sign: Gottlieb & Lustman, SIAM J. Numer. Anal. 20 (1983) 909.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.boundary import Condition, Dirichlet, Neumann, Outflow, Robin, Sides, datum_at, datum_rate
from pdejax.fields.chebyshev_polynomials import applied, differentiation_matrix
from pdejax.grid import Grid


def imposed(
    u: Float[Array, "component *space"], grid: Grid, sides: Sides, t: Any, rates: bool = False
) -> Float[Array, "component *space"]:
    """`u` with the wall values that meet the conditions at time t, the same for every component.

    With `rates`, u is a time derivative and meets the time derivatives of the conditions. Points on a wall with
    `Outflow` count as interior ones. Where walls meet, a Dirichlet datum goes before other conditions, and that of a
    later axis before that of an earlier one; data that contradict each other at an edge meet one of them there.
    """
    at = datum_rate if rates else datum_at
    data = {
        (axis, end): at(condition, grid, axis, end, t).astype(u.dtype)
        for axis, pair in enumerate(sides)
        if isinstance(pair, tuple)
        for end, condition in zip((0, -1), pair, strict=True)
        if not isinstance(condition, Outflow)
    }
    for axis, pair in enumerate(sides):
        if isinstance(pair, tuple) and any(_states_slope(condition) for condition in pair):
            u = _solved_along(u, grid, axis, pair, [data.get((axis, end)) for end in (0, -1)])
    # Last, so that the values are those stated to the last digit, at edges too.
    for axis, pair in enumerate(sides):
        for end in (0, -1):
            if isinstance(pair, tuple) and isinstance(pair[end], Dirichlet):
                u = _with_wall(u, axis, end, data[axis, end])
    return u


def wall_rows(pair: tuple[Condition, Condition], n: int, extent: Any, dtype: Any) -> Float[Array, "2 n"]:
    """The conditions at both ends of an axis as rows that act on the n values along it; Outflow states `u = u`."""
    matrix = differentiation_matrix(n, 1)
    rows = []
    for end, condition in zip((0, -1), pair, strict=True):
        value_weight, slope_weight = _weights(condition)
        # Outward at the lower wall is against the axis; the reference interval has length 2.
        slope = jnp.asarray(matrix[end] * (1 if end else -1), dtype) * (2 / extent)
        row = jnp.asarray(slope_weight, dtype) * slope
        rows.append(row.at[end].add(jnp.asarray(value_weight, dtype)))
    return jnp.stack(rows).astype(dtype)


def _solved_along(u: Array, grid: Grid, axis: int, pair: tuple[Condition, Condition], data: list[Any]) -> Array:
    at, n = axis + 1, u.shape[axis + 1]
    rows = wall_rows(pair, n, grid.extent[axis], u.dtype)
    interior = jnp.take(u, jnp.arange(1, n - 1), axis=at)
    right = []
    for end, condition, row, datum in zip((0, -1), pair, rows, data, strict=True):
        if isinstance(condition, Outflow):
            right.append(jnp.take(u, jnp.asarray([end % n]), axis=at))
        elif _states_slope(condition):
            right.append(datum - applied(row[None, 1:-1], interior, at))
        else:
            right.append(datum)
    (low, high), (of_low, of_high) = right, (rows[:, 0], rows[:, -1])
    determinant = of_low[0] * of_high[1] - of_high[0] * of_low[1]
    u = _with_wall(u, axis, 0, (low * of_high[1] - high * of_high[0]) / determinant)
    return _with_wall(u, axis, -1, (high * of_low[0] - low * of_low[1]) / determinant)


def _states_slope(condition: Condition) -> bool:
    return isinstance(condition, Neumann | Robin)


def _weights(condition: Condition) -> tuple[Any, Any]:
    """`a` and `b` of `a u + b du/dn = g`."""
    if isinstance(condition, Robin):
        return condition.value_weight, condition.slope_weight
    return (0.0, 1.0) if isinstance(condition, Neumann) else (1.0, 0.0)


def _with_wall(u: Array, axis: int, end: int, values: Array) -> Array:
    index: list[Any] = [slice(None)] * u.ndim
    index[axis + 1] = slice(0, 1) if end == 0 else slice(-1, None)
    return u.at[tuple(index)].set(jnp.broadcast_to(values, u[tuple(index)].shape))
