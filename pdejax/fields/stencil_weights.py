"""The weights of finite differences and of ghost values, in exact arithmetic.

Vandermonde systems lose digits quickly, and a lost digit in a ghost value is divided by h^2 at the wall: the systems
here are solved in fractions and rounded once. What was solved is kept: a program asks for the same weights at every
wall and for every component.
"""

import functools
from collections.abc import Sequence
from fractions import Fraction
from math import comb, factorial

import numpy as np


@functools.cache
def central_weights(derivative: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets `-m .. m` and the weights of the central formula of a derivative, for unit spacing.

    `m = order / 2 + (derivative - 1) // 2`; exact for polynomials up to degree `derivative + order - 1`.
    """
    weights = exact_central_weights(derivative, order)
    half_width = len(weights) // 2
    return np.arange(-half_width, half_width + 1), np.asarray([float(weight) for weight in weights])


def exact_central_weights(derivative: int, order: int) -> list[Fraction]:
    """The weights of `central_weights`, not rounded."""
    half_width = order // 2 + (derivative - 1) // 2
    offsets = range(-half_width, half_width + 1)
    moments = [[Fraction(offset) ** power for offset in offsets] for power in range(len(offsets))]
    target = [Fraction(factorial(derivative) if power == derivative else 0) for power in range(len(offsets))]
    return solve(moments, target)


def stretched_weights(coefficients: np.ndarray, order: int) -> np.ndarray:
    """The weights `(offset, point)` of `sum over k of coefficients[k - 1] d^k/di^k`, by the central formulas of each
    derivative; the offsets are those of the highest."""
    highest = len(coefficients)
    half_width = central_weights(highest, order)[0][-1]
    total = np.zeros((2 * half_width + 1, coefficients.shape[1]))
    for derivative, coefficient in enumerate(coefficients, start=1):
        offsets, weights = central_weights(derivative, order)
        total[offsets + half_width] += np.outer(weights, coefficient)
    return total


@functools.cache
def ghost_weights(
    points: str, derivative_order: int | None, num_interior: int, num_ghosts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ghost values beyond a wall, from the polynomial through the interior points that meets the wall's condition.

    The wall is at 0, the interior at `i` (nodes) or `i + 1/2` (centres) times h, the ghosts at the mirrored places.
    Returns `(datum, interior)` of shapes `(num_ghosts,)` and `(num_ghosts, num_interior)` for h = 1; a slope datum is
    to be multiplied by h. `derivative_order` is the condition's: 0 for a value, 1 for a slope, None to extrapolate. On
    nodes a wall value is itself the first interior point, and its datum has no weight of its own.
    """
    offset = Fraction(1, 2) if points == "centres" else Fraction(0)
    conditioned = derivative_order is not None and not (points == "nodes" and derivative_order == 0)
    powers = range(num_interior + conditioned)
    rows = [[(i + offset) ** power for power in powers] for i in range(num_interior)]
    if conditioned:
        rows.insert(0, [Fraction(power == derivative_order) for power in powers])
    transposed = [list(column) for column in zip(*rows, strict=True)]
    weights = []
    for ghost in range(num_ghosts):
        position = -(ghost + (offset if points == "centres" else Fraction(1)))
        weights.append([float(weight) for weight in solve(transposed, [position**power for power in powers])])
    table = np.asarray(weights).reshape(num_ghosts, len(rows))
    return (table[:, 0], table[:, 1:]) if conditioned else (np.zeros(num_ghosts), table)


@functools.cache
def fitted_ghost_weights(points: str, degree: int, num_interior: int, num_ghosts: int) -> tuple[np.ndarray, np.ndarray]:
    """Ghost values as those of `ghost_weights`, from a polynomial of `degree` that has the wall's value and fits more
    interior points than it could meet, by least squares."""
    offset = Fraction(1, 2) if points == "centres" else Fraction(0)
    powers = range(1, degree + 1)
    places = [i + offset for i in range(num_interior)]
    normal = [[sum((x ** (j + k) for x in places), Fraction(0)) for k in powers] for j in powers]
    table = []
    for ghost in range(num_ghosts):
        position = -(ghost + (offset if points == "centres" else Fraction(1)))
        solution = solve(normal, [position**power for power in powers])
        table.append(
            [sum((a * x**power for a, power in zip(solution, powers, strict=True)), Fraction(0)) for x in places]
        )
    of_wall = [1 - sum(row) for row in table]
    weights = np.asarray([[float(weight) for weight in row] for row in table])
    if points == "nodes":
        weights[:, 0] = [float(weight) for weight in of_wall]
        return np.zeros(num_ghosts), weights
    return np.asarray([float(weight) for weight in of_wall]), weights


@functools.cache
def midpoint_weights(derivative: int, order: int) -> np.ndarray:
    """The weights of a value (`derivative` 0) or slope (1) midway between the middle two of `order` points at unit
    distance; exact for polynomials of degree `order - 1`, and `order` for the slope."""
    offsets = [Fraction(2 * index + 1 - order, 2) for index in range(order)]
    moments = [[offset**power for offset in offsets] for power in range(order)]
    return np.asarray([float(weight) for weight in solve(moments, [Fraction(p == derivative) for p in range(order)])])


@functools.cache
def upwind_weights(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets `-m .. m`, `m = order / 2`, and the weights of the first derivative from the points `-m .. m - 1`, for
    unit spacing: exact for polynomials up to degree `order - 1`. It is the central formula of `order` and a multiple of
    the difference of that order, which cancels the point m."""
    offsets, weights = central_weights(1, order)
    half = order // 2
    difference = np.asarray([(-1.0) ** (half - j) * comb(order, half + j) for j in offsets])
    return offsets, weights - weights[-1] * difference


@functools.cache
def wall_slope_weights(num_interior: int) -> tuple[float, np.ndarray]:
    """The derivative at a wall, along the inward coordinate and for h = 1, of the polynomial through the wall's value
    and `num_interior` centres: the weight of the wall's value and those, `(num_interior,)`, of the centres."""
    powers = range(num_interior + 1)
    places = [Fraction(0), *(i + Fraction(1, 2) for i in range(num_interior))]
    moments = [[place**power for place in places] for power in powers]
    weights = [float(weight) for weight in solve(moments, [Fraction(power == 1) for power in powers])]
    return weights[0], np.asarray(weights[1:])


def solve(matrix: Sequence[Sequence[Fraction]], right_hand_side: Sequence[Fraction]) -> list[Fraction]:
    """Gauss-Jordan elimination of a regular system."""
    rows = [[*row, value] for row, value in zip(matrix, right_hand_side, strict=True)]
    for column in range(len(rows)):
        pivot = next(index for index in range(column, len(rows)) if rows[index][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for index, row in enumerate(rows):
            if index != column and row[column] != 0:
                rows[index] = [a - row[column] * b for a, b in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows]
