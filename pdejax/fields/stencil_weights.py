"""The weights of finite differences and of ghost values, in exact arithmetic.

Vandermonde systems lose digits quickly, and a lost digit in a ghost value is divided by h^2 at the wall: the systems
here are solved in fractions and rounded once.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import factorial

import numpy as np


def central_weights(derivative: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets `-m .. m` and the weights of the central formula of a derivative, for unit spacing.

    `m = order / 2 + (derivative - 1) // 2`; exact for polynomials up to degree `derivative + order - 1`.
    """
    half_width = order // 2 + (derivative - 1) // 2
    offsets = range(-half_width, half_width + 1)
    moments = [[Fraction(offset) ** power for offset in offsets] for power in range(len(offsets))]
    target = [Fraction(factorial(derivative) if power == derivative else 0) for power in range(len(offsets))]
    return np.asarray(offsets), np.asarray([float(weight) for weight in _solve(moments, target)])


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
        weights.append([float(weight) for weight in _solve(transposed, [position**power for power in powers])])
    table = np.asarray(weights)
    return (table[:, 0], table[:, 1:]) if conditioned else (np.zeros(num_ghosts), table)


def wall_slope_weights(num_interior: int) -> tuple[float, np.ndarray]:
    """The derivative at a wall, along the inward coordinate and for h = 1, of the polynomial through the wall's value
    and `num_interior` centres: the weight of the wall's value and those, `(num_interior,)`, of the centres."""
    powers = range(num_interior + 1)
    places = [Fraction(0), *(i + Fraction(1, 2) for i in range(num_interior))]
    moments = [[place**power for place in places] for power in powers]
    weights = [float(weight) for weight in _solve(moments, [Fraction(power == 1) for power in powers])]
    return weights[0], np.asarray(weights[1:])


def _solve(matrix: Sequence[Sequence[Fraction]], right_hand_side: Sequence[Fraction]) -> list[Fraction]:
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
