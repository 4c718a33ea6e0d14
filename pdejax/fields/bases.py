"""The bases in which the linear part of an equation is diagonal on a discretisation, found axis by axis.

Between walls the eigenvectors of finite differences are orthogonal or nearly so for second derivatives of order 2, and
have condition numbers below 20 for orders up to 8, some of whose eigenvalues are complex; on stretched points up to
3000 was seen, with the strongest maps that are allowed. Where derivatives sum by parts they are orthogonal in the norm
of that, and eigenvalues real. Those of second derivatives on Chebyshev points have condition numbers below 5 up to 128
points, whatever the walls, and real eigenvalues. Where an axis has no such basis it may keep its points (`PointBasis`):
the linear part is a matrix along that axis, for each mode of the others.
"""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pdejax.boundary import AntiPeriodic, Outflow, Robin
from pdejax.fields.axis_bases import Bases, Basis, FourierBasis, PointBasis, WallBasis, with_halved_modes
from pdejax.fields.chebyshev import Chebyshev
from pdejax.fields.field import EquationLike
from pdejax.fields.finite_difference import FiniteDifference
from pdejax.fields.line import Reading, Stencils, dense_matrix, free_points, held_ends, line_of, stencils_of, unit_of
from pdejax.fields.separable import Terms, separable_linear
from pdejax.fields.summation_by_parts import quadrature_weights

# Beyond this eigenvectors lose more than half of the digits of single precision.
_WORST_CONDITION = 1e4


def bases_of(reading: Reading, equation: EquationLike, lines: bool = False) -> Bases:
    """The bases in which `equation.linear` is diagonal on `reading`; with `lines`, but for one axis per component.

    Raises `ValueError` when the linear part couples components, transports with upwind formulae, differentiates along
    two axes at once or with two orders along one with walls, and when the eigenvectors are nearly dependent (as of
    transport between walls); with `lines` the last two are met by keeping the points of that axis. `TypeError` when the
    weights of a Robin condition or, with one, the extent are traced: they shape the basis, and must be known numbers
    here (with `lines` they need not be along that axis).
    """
    terms = separable_terms(reading, equation)
    stated = zip(reading.sides_of(equation), terms, strict=True)
    return with_halved_modes(tuple(_bases_of_component(reading, *of_component, lines) for of_component in stated))


def separable_terms(reading: Reading, equation: EquationLike) -> tuple[Terms, ...]:
    """The linear part of each component, by axis and order."""
    advection = reading.advection if isinstance(reading, FiniteDifference) else "central"
    return separable_linear(equation, reading.grid.ndim, advection)


def orders_along(terms: Terms, axis: int) -> list[int]:
    """The orders of derivatives along an axis."""
    return [order for along, order in (key for key in terms if key is not None) if along == axis]


def _bases_of_component(reading: Reading, sides: Any, terms: Terms, lines: bool) -> tuple[Basis, ...]:
    bases: list[Basis] = []
    for axis in range(reading.grid.ndim):
        try:
            bases.append(_basis(reading, axis, sides[axis], terms))
        except (_NotDiagonal, TypeError):
            if not lines or any(isinstance(basis, PointBasis) for basis in bases):
                raise
            bases.append(PointBasis(reading.grid.shape[axis], held_ends(reading, axis, sides[axis])))
    return tuple(bases)


class _NotDiagonal(ValueError):
    """Along one axis with walls: its points can be kept."""


def _basis(reading: Reading, axis: int, side: Any, terms: Terms) -> WallBasis | FourierBasis:
    grid, orders = reading.grid, orders_along(terms, axis)
    if grid.periodic[axis] and grid.is_uniform[axis]:
        return FourierBasis(grid.shape[axis], 0.5 if isinstance(side, AntiPeriodic) else 0.0)
    if isinstance(reading, Chebyshev):
        _check_chebyshev(side, orders, axis)
    if len(orders) > 1 and grid.periodic[axis]:
        raise ValueError(
            f"`linear` holds derivatives of the orders {sorted(orders)} along axis {axis}, which is stretched: their "
            "matrices have no common eigenvectors. State one of them in `nonlinear`, or use an implicit-explicit "
            "solver such as KenCarp4 or an explicit one."
        )
    if len(orders) > 1:
        raise _NotDiagonal(
            f"`linear` holds derivatives of the orders {sorted(orders)} along axis {axis}, which has walls: their "
            "matrices have no common eigenvectors. Leave one of them in `linear` (equations.LeadingPart does), or "
            "use an implicit-explicit solver such as KenCarp4 or an explicit one."
        )
    ends: tuple[Any, ...] = side if isinstance(side, tuple) else () if side is None else (side,)
    conditions = tuple(homogeneous_kind(condition, reading, axis) for condition in ends)
    vectors, inverse, values = _diagonalised(
        stencils_of(reading), grid.shape[axis], grid.points[axis], orders[0] if orders else 0, conditions
    )
    dtype = jnp.promote_types(grid.dtype, jnp.complex64) if np.iscomplexobj(vectors) else grid.dtype
    is_held = held_ends(reading, axis, side)
    return WallBasis(jnp.asarray(vectors, dtype), jnp.asarray(inverse, dtype), jnp.asarray(values, dtype), is_held)


def _check_chebyshev(side: Any, orders: Sequence[int], axis: int) -> None:
    if orders and max(orders) > 2:
        raise ValueError(
            f"`linear` holds a derivative of order {max(orders)} along axis {axis}: Chebyshev points with one "
            "condition at each wall carry first and second derivatives. Use FiniteDifference, or write the equation "
            "as a system of second order."
        )
    if 2 in orders and any(isinstance(condition, Outflow) for condition in side):
        raise ValueError(
            f"`linear` holds a second derivative along axis {axis}, where u flows out: diffusion needs a condition at "
            "that wall, without one its modes grow. Neumann(0.0) is the usual one."
        )
    if orders == [1]:
        raise _NotDiagonal(
            f"`linear` holds a first derivative along axis {axis}: on Chebyshev points between walls it has no useful "
            "eigenvectors. State it in `nonlinear`, or use an implicit-explicit solver such as KenCarp4 or an explicit "
            "one."
        )


def homogeneous_kind(condition: Any, reading: Reading, axis: int) -> tuple[Any, ...]:
    """The kind of a condition, with its weights for a unit of length."""
    if not isinstance(condition, Robin):
        return (type(condition),)
    with jax.ensure_compile_time_eval():
        unit = unit_of(reading, axis)
    if any(isinstance(weight, Tracer) for weight in (condition.value_weight, condition.slope_weight, unit)):
        raise TypeError(
            "The weights of a Robin condition, and the extent of its grid, shape the basis in which the linear part is "
            "diagonal: they must be numbers here, and not traced by jit, vmap or grad. Make the stepper outside of "
            "these, or use an explicit solver, or (with such a condition along one axis) an implicit-explicit one."
        )
    return Robin, float(condition.value_weight) * float(unit), float(condition.slope_weight)


@functools.lru_cache(maxsize=64)
def unit_matrix(
    stencils: Stencils | None, num_points: int, points: Any, order: int, conditions: tuple[tuple[Any, ...], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of a derivative for a unit of length, and which points are free; conditions by `homogeneous_kind`."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        ends = tuple(kind(*weights) for kind, *weights in conditions)
        line = line_of(stencils, num_points, 1.0, points, ends, np.float64)
        # For unit length, whatever that is a part of.
        line = eqx.tree_at(lambda one: one.grid.extent, line, 1 / unit_of(line, 0)[None])
        return dense_matrix(line, order), free_points(num_points, held_ends(line, 0, ends))


@functools.lru_cache(maxsize=64)
def _diagonalised(
    stencils: Stencils | None, num_points: int, points: Any, order: int, conditions: tuple[tuple[Any, ...], ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a derivative for a unit of length: eigenvectors, their inverse, and eigenvalues, zero at held ends."""
    vectors, inverse, values = np.eye(num_points), np.eye(num_points), np.zeros(num_points)
    if order == 0:
        return vectors, inverse, values
    matrix, is_free = unit_matrix(stencils, num_points, points, order, conditions)
    free = np.ix_(is_free, is_free)
    num_ends = len(conditions)
    if stencils is not None and stencils.closure == "summation by parts" and order == 2 and num_ends == 2:
        # Symmetric in the norm of H: the eigenvalues are real.
        scale = np.sqrt(quadrature_weights(num_points, stencils.order))[is_free]
        symmetric = scale[:, None] * matrix[free] / scale
        found, columns = np.linalg.eigh((symmetric + symmetric.T) / 2)
        columns = columns / scale[:, None]
    else:
        found, columns = np.linalg.eig(matrix[free])
    condition = np.linalg.cond(columns)
    if not condition < _WORST_CONDITION:
        where, refusal = ("between these walls", _NotDiagonal) if num_ends == 2 else ("around this axis", ValueError)
        raise refusal(
            f"The eigenvectors of the derivative of order {order} {where} are nearly dependent (condition number "
            f"{condition:.1e}): they are no basis to compute in. State it in `nonlinear`, or use an implicit-explicit "
            "solver such as KenCarp4 or an explicit one."
        )
    dtype = found.dtype
    vectors, inverse, values = vectors.astype(dtype), inverse.astype(dtype), values.astype(dtype)
    vectors[free], inverse[free], values[is_free] = columns, np.linalg.inv(columns), found
    return vectors, inverse, values
