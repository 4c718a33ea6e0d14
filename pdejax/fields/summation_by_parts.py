r"""Differences between walls that sum by parts, on nodes: discrete energies obey the estimates of the continuous ones.

    first derivative     D1 = H^-1 Q,               Q + Q^T = diag(-1, 0, ..., 0, 1)
    second derivative    D2 = H^-1 (-M + B S),      M = M^T >= 0,   B = diag(-1, 0, ..., 0, 1)

H is diagonal and positive, the weights of a quadrature of order 2m, S the slope at the two walls. In the interior both
are the central stencils of order 2m, the narrow ones: a checkerboard is no null vector of M. In the 2m rows at either
wall their order is m; solutions lose less (see `FiniteDifference`). For every u

    sum of H D1 u = u_N - u_0                                      what is transported is conserved
    d/dt |u|_H^2 = -c (u_N^2 - u_0^2)                              u_t = -c D1 u
    d/dt |u|_H^2 = -2 u^T M u + 2 (u_N (S u)_N - u_0 (S u)_0)      u_t = D2 u

and conditions keep it so. A value that is held is u_0 = 0 without data, and then the row of its rate has no part in
`u^T H u_t`: for a diagonal H holding is the orthogonal projection of Olsson, Math. Comput. 64 (1995). A stated slope
replaces S u, so that at `a u + b u_n = g` there remains 2 u_N (g - a u_N) / b. Where transport leaves, -c u_N^2. Hence
no mode grows that does not grow in the equation, at any order (with a speed that varies: not faster than at a multiple
of its derivative, whatever the spacing).

Operators of this kind go back to Kreiss & Scherer (1974); first derivatives up to order 8: Strand, J. Comput. Phys. 110
(1994) 47; compact second ones: Mattsson & Nordstrom, J. Comput. Phys. 199 (2004) 503. The numbers here are none of
theirs: the conditions of accuracy are linear in the entries of H, Q and M, which carry the symmetry, and are solved in
fractions when first asked for (0.1 s at most). What they leave free, one number in Q and one in M at order 6, three and
three at order 8, makes the error of the rows at the wall smallest, in the norm of H, for the first power of x that is
not exact, and then for the next. The spectral radii are no larger than those of the stencils on a periodic axis.
"""

import functools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.fields.stencil_weights import exact_central_weights, solve
from pdejax.fields.windows import combined

Matrix = list[list[Fraction]]


def quadrature_weights(num_points: int, order: int) -> Float[np.ndarray, " points"]:
    """The diagonal of H for unit spacing: the weights with which both derivatives sum by parts."""
    at_wall, _ = _rows_at_wall(1, order)
    weights = np.ones(num_points)
    weights[: len(at_wall)] = at_wall
    weights[-len(at_wall) :] = at_wall[::-1]
    return weights


def outward_slope(values: Array, axis: int, end: int, order: int) -> Array:
    """The outward derivative at the wall at the start (`end` 0) or the end (-1) of `axis`, for unit spacing: a slice of
    length 1, of order `order / 2 + 1`."""
    inward = _slope_at_wall(order)
    near = _nearest(values, axis, end, len(inward))
    return -combined(np.asarray([inward], float), near, axis)


def derivative_by_parts(values: Array, axis: int, derivative: int, order: int) -> Array:
    """`D1 u`, or of the second derivative `-H^-1 M u`, along `axis` for unit spacing.

    To the latter belongs, at either wall, the outward slope divided by H: `add_slope`.
    """
    n = values.shape[axis]
    _, rows = _rows_at_wall(derivative, order)
    count, width = rows.shape
    stencil = [float(weight) for weight in exact_central_weights(derivative, order)]
    inner = n - 2 * count
    middle = sum(
        weight * jax.lax.slice_in_dim(values, start, start + inner, axis=axis)
        for start, weight in enumerate(stencil, count - len(stencil) // 2)
        if weight
    )
    low = combined(rows, _nearest(values, axis, 0, width), axis)
    high = jnp.flip(combined(rows, _nearest(values, axis, -1, width), axis), axis)
    # Seen from the other wall the coordinate runs backwards.
    return jnp.concatenate([low, middle, -high if derivative == 1 else high], axis=axis)


def add_slope(second: Array, slope: Array, axis: int, end: int, order: int) -> Array:
    """A second derivative with its share, slope / H, of the outward slope at one wall, for unit spacing."""
    index = [slice(None)] * second.ndim
    index[axis] = slice(0, 1) if end == 0 else slice(-1, None)
    at_wall, _ = _rows_at_wall(2, order)
    return second.at[tuple(index)].add(slope / float(at_wall[0]))


def _nearest(values: Array, axis: int, end: int, count: int) -> Array:
    """The `count` values nearest to a wall, the wall's first."""
    n = values.shape[axis]
    if end == 0:
        return jax.lax.slice_in_dim(values, 0, count, axis=axis)
    return jnp.flip(jax.lax.slice_in_dim(values, n - count, n, axis=axis), axis)


@functools.cache
def _rows_at_wall(derivative: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """H and the first rows of `H^-1 Q` or `-H^-1 M`, rounded once: shapes `(2m,)` and `(2m, 3m)`."""
    norm, rows = exact_rows(derivative, order)
    scaled = [[entry / weight for entry in row] for weight, row in zip(norm, rows, strict=True)]
    return np.asarray(norm, float), np.asarray(scaled, float)


@functools.cache
def exact_rows(derivative: int, order: int) -> tuple[list[Fraction], Matrix]:
    """H and the rows of Q (`derivative` 1) or -M (2) at the lower wall, for unit spacing.

    Unknown are, of the first derivative, H and the antisymmetric block of Q; of the second, with that H, the symmetric
    block of M. Beyond the block stand the weights of the central stencil, by symmetry.
    """
    count, degree = order, order // 2 + derivative - 1
    stencil = exact_central_weights(derivative, order)
    reach, parity = len(stencil) // 2, -1 if derivative == 1 else 1
    pairs = [(i, j) for i in range(count) for j in range(i + (derivative == 1), count)]
    num_norm = count if derivative == 1 else 0
    norm = [] if derivative == 1 else exact_rows(1, order)[0]
    num_unknown = num_norm + len(pairs)

    def equation(i: int, power: int) -> list[Fraction]:
        """Row i applied to x^power is H times its derivative: the coefficients of the unknowns, and what is known.
        (To -M u belongs the slope at the wall, outward, where x^1 alone has one.)"""
        row = [Fraction(0)] * (num_unknown + 1)
        for column, (a, b) in enumerate(pairs, num_norm):
            row[column] = Fraction(b**power * (a == i) + (parity if a != b else 0) * a**power * (b == i))
        slope = Fraction(power * i ** (power - 1) if power else 0)
        if derivative == 1:
            row[i] = -slope
            known = -Fraction(0**power * (i == 0), 2)
        else:
            curvature = power * (power - 1) * i ** (power - 2) if power > 1 else 0
            known = -norm[i] * curvature - (slope if i == 0 else 0)
        known += sum(stencil[j - i + reach] * j**power for j in range(count, i + reach + 1))
        row[-1] = -known
        return row

    exact = [equation(i, power) for power in range(degree + 1) for i in range(count)]
    found, directions = general_solution(exact)
    norm = norm or found[:count]
    power = degree
    while directions:
        power += 1
        errors = [equation(i, power) for i in range(count)]
        found, directions = _least_squares(found, directions, errors, [1 / weight for weight in norm])
    rows = [[Fraction(0)] * (count + reach) for _ in range(count)]
    for value, (i, j) in zip(found[num_norm:], pairs, strict=True):
        rows[i][j], rows[j][i] = value, value * (parity if i != j else 1)
    for i in range(count):
        for j in range(count, i + reach + 1):
            rows[i][j] = stencil[j - i + reach]
    if derivative == 1:
        rows[0][0] = Fraction(-1, 2)
    return norm, rows


@functools.cache
def _slope_at_wall(order: int) -> list[Fraction]:
    """S: the derivative at the wall, along the inward coordinate, of the polynomial through the nearest nodes."""
    powers = range(order // 2 + 2)
    return solve([[Fraction(node) ** power for node in powers] for power in powers], [Fraction(p == 1) for p in powers])


def _least_squares(
    found: list[Fraction], directions: Matrix, equations: Matrix, weights: Sequence[Fraction]
) -> tuple[list[Fraction], Matrix]:
    """Of all `found + sum of a_k directions_k` those with the smallest weighted squares of the equations' residuals."""
    columns = [[_product(row, direction) for row in equations] for direction in directions]
    residual = [row[-1] - _product(row, found) for row in equations]
    weighted = [[w * a for w, a in zip(weights, column, strict=True)] for column in columns]
    normal = [[*(_product(a, b) for b in columns), _product(a, residual)] for a in weighted]
    shares, remaining = general_solution(normal)

    def moved(share: list[Fraction]) -> list[Fraction]:
        return [_product(share, along) for along in map(list, zip(*directions, strict=True))]

    return [a + b for a, b in zip(found, moved(shares), strict=True)], [moved(share) for share in remaining]


def _product(a: list[Fraction], b: list[Fraction]) -> Fraction:
    """Of the entries that both have: a row of an equation ends with one more, its right-hand side."""
    return sum((x * y for x, y in zip(a, b, strict=False) if x), Fraction(0))


def general_solution(equations: Matrix) -> tuple[list[Fraction], Matrix]:
    """A solution of linear equations, each row ending with its right-hand side, and a basis of the homogeneous ones."""
    rows, pivots, num_unknown = [list(row) for row in equations], [], len(equations[0]) - 1
    for column in range(num_unknown):
        start = len(pivots)
        pivot = next((index for index in range(start, len(rows)) if rows[index][column] != 0), None)
        if pivot is None:
            continue
        rows[start], rows[pivot] = rows[pivot], rows[start]
        rows[start] = [value / rows[start][column] for value in rows[start]]
        for index, row in enumerate(rows):
            if index != start and row[column] != 0:
                rows[index] = [a - row[column] * b if b else a for a, b in zip(row, rows[start], strict=True)]
        pivots.append(column)
    if any(row[-1] != 0 for row in rows[len(pivots) :]):
        raise ArithmeticError("No operator meets these conditions of accuracy.")
    particular, basis = [Fraction(0)] * num_unknown, []
    for row, pivot in zip(rows, pivots, strict=False):
        particular[pivot] = row[-1]
    for free in sorted(set(range(num_unknown)) - set(pivots)):
        direction = [Fraction(0)] * num_unknown
        direction[free] = Fraction(1)
        for row, pivot in zip(rows, pivots, strict=False):
            direction[pivot] = -row[free]
        basis.append(direction)
    return particular, basis
