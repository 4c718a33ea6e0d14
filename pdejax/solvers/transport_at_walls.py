"""Whether transport between walls is well posed, and whether what a reading makes of it grows by itself.

A linear part with constant coefficients is looked at axis by axis, before anything is solved: first derivatives tell
which way it flows, and the eigenvalues of the line's matrix whether modes grow that the equation does not make grow.
Central formulae of order 6 and 8 have such modes at walls where cells are wide beside the layer of diffusion, and so
has an inflow on stretched nodes. Coefficients that vary, and terms in `nonlinear`, are not looked at.
"""

import functools
import warnings
from typing import Any

import numpy as np
from jax.core import Tracer

from pdejax.boundary import Dirichlet, Outflow
from pdejax.equations import Equation
from pdejax.fields import FiniteDifference
from pdejax.fields.bases import homogeneous_kind, orders_along, unit_matrix
from pdejax.fields.line import stencils_of, unit_of
from pdejax.fields.separable import Terms, separable_linear

# Points of a line whose eigenvalues are computed; what grows at a wall is seen with these.
_LONGEST = 300
# Growth of rounding and of small errors by less is no matter.
_NOTICED = 1e3


def check_transport_at_walls(equation: Equation, reading: Any, duration: float) -> None:
    """Raises `ValueError` where transport enters through a wall at which nothing is stated.

    Warns (`RuntimeWarning`) where a value is stated at a wall that pure transport leaves through, and where modes of
    the discretisation would grow a thousandfold over the duration.
    """
    if not isinstance(reading, FiniteDifference) or all(reading.grid.periodic):
        return
    try:
        terms = separable_linear(equation, reading.grid.ndim, "central")
    except (ValueError, TypeError):
        return  # coupled, varying or no linear part
    for sides, of_component in zip(reading.sides_of(equation), terms, strict=True):
        for axis, side in enumerate(sides):
            if isinstance(side, tuple) and 1 in orders_along(of_component, axis):
                _check_line(type(equation).__name__, reading, axis, side, of_component, duration)


def _check_line(kind: str, reading: FiniteDifference, axis: int, pair: Any, terms: Terms, duration: float) -> None:
    given = {order: terms[axis, order] for order in orders_along(terms, axis)}
    unit: Any = unit_of(reading, axis)
    if any(isinstance(value, Tracer) for value in (*given.values(), unit)):
        return
    coefficients = {order: float(value) for order, value in given.items()}
    velocity, name = -coefficients[1], "xyz"[axis]
    if velocity == 0:
        return
    entry, exit_ = (0, 1) if velocity > 0 else (1, 0)
    flows = f"{kind}, of velocity {velocity:.4g} along axis {axis}, flows"
    if isinstance(pair[entry], Outflow):
        raise ValueError(
            f"{flows} in through the wall {name + '-+'[entry]!r}, where Outflow() states nothing: give the value that "
            "flows in, such as Dirichlet(0.0)."
        )
    if isinstance(pair[exit_], Dirichlet) and not any(coefficients.get(order) for order in (2, 4)):
        _warn(
            f"{flows} out through the wall {name + '-+'[exit_]!r}, where a value is stated: transport alone cannot "
            "meet it, and is reflected as ripples. State Outflow() there."
        )
    if reading.advection == "upwind":
        return
    rate = _growth_rate(reading, axis, pair, coefficients, float(unit))
    if rate * duration > np.log(_NOTICED):
        factor, points = np.exp(min(rate * duration, 700)), reading.grid.points[axis]
        _warn(
            f"Between the walls of axis {axis} modes of {kind} grow that should not, by a factor of {factor:.1e} "
            f"over a time of {duration:.4g}: read with order {reading.order} on {points!r} points, {reading.closure}. "
            "Use advection='upwind', closure='summation by parts', a lower order, or more points where diffusion makes "
            "a layer."
        )


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=5)


def _growth_rate(reading: FiniteDifference, axis: int, pair: Any, coefficients: dict[int, float], unit: float) -> float:
    try:
        conditions = tuple(homogeneous_kind(condition, reading, axis) for condition in pair)
    except TypeError:
        return 0.0  # traced weights
    points, n = reading.grid.points[axis], reading.grid.shape[axis]
    if reading.grid.is_uniform[axis]:
        n = min(n, _LONGEST)
    elif n > 2 * _LONGEST:
        return 0.0
    return _largest_growth(stencils_of(reading), n, points, conditions, tuple(coefficients.items()), unit)


@functools.lru_cache(maxsize=64)
def _largest_growth(
    stencils: Any, n: int, points: Any, conditions: Any, coefficients: tuple[tuple[int, float], ...], unit: float
) -> float:
    total: Any = 0.0
    for order, value in coefficients:
        matrix, is_free = unit_matrix(stencils, n, points, order, conditions)
        total = total + value / unit**order * matrix[np.ix_(is_free, is_free)]
    values = np.linalg.eigvals(total)
    # Rounding of eigenvalues that are nearly multiple, as those of transport are, is far above that of one.
    return float(np.max(values.real)) if np.max(values.real) > 1e-6 * np.max(np.abs(values)) else 0.0
