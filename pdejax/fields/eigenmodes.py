"""A discretisation between walls in the basis in which the linear part is diagonal, axis by axis.

With the derivative matrix `D_a = V_a diag(lambda_a) V_a^-1` of each axis, conditions at its two walls included,

    u = (V_1 x V_2 x ...) u_hat:    c u + sum over a of c_a D_a u    becomes    (c + sum over a of c_a lambda_a) u_hat

so exponentials and inverses of it are numbers per mode, as in Fourier space: exponential and implicit-explicit solvers
solve their linear parts exactly, for the price of two products with a small matrix per axis and evaluation ("fast
diagonalisation": Lynch, Rice & Thomas, Numer. Math. 6 (1964) 185). What the walls add, the data of their conditions and
the values of held points, depends on time alone.

Periodic axes have their Fourier modes; stretched ones are treated like those with walls. Between walls the eigenvectors
of finite differences are orthogonal or nearly so for second derivatives of order 2, and have condition numbers below 20
for orders up to 8, some of whose eigenvalues are complex; on stretched points up to 3000 was seen, with the strongest
maps that are allowed. Where derivatives sum by parts they are orthogonal in the norm of that, and eigenvalues real.
Those of second derivatives on Chebyshev points have condition numbers below 5 up to 128 points, whatever the walls, and
real eigenvalues. Where an axis has no such basis it may keep its points (`PointBasis`): the linear part is a matrix
along that axis, for each mode of the others.
"""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Inexact

from pdejax.boundary import AntiPeriodic, Outflow, Robin
from pdejax.fields.chebyshev import Chebyshev
from pdejax.fields.field import EquationLike
from pdejax.fields.finite_difference import FiniteDifference
from pdejax.fields.fourier_axis import wavenumbers
from pdejax.fields.line import (
    Reading,
    Stencils,
    along,
    bands,
    dense_matrix,
    free_points,
    held_ends,
    line_of,
    stencils_of,
    unit_of,
)
from pdejax.fields.separable import Terms, coefficient_of, separable_linear
from pdejax.fields.stencil_weights import central_weights
from pdejax.fields.summation_by_parts import quadrature_weights
from pdejax.grid import Grid

# Beyond this eigenvectors lose more than half of the digits of single precision.
_WORST_CONDITION = 1e4


class WallBasis(eqx.Module):
    """The eigenvectors of a derivative along an axis with walls, or a stretched one, for a unit of length; held points
    stand apart."""

    vectors: Inexact[Array, "points modes"]
    inverse: Inexact[Array, "modes points"]
    eigenvalues: Inexact[Array, " modes"]
    is_held: tuple[bool, bool] = eqx.field(static=True)

    @property
    def is_free(self) -> np.ndarray:
        return free_points(self.eigenvalues.shape[0], self.is_held)

    def encode(self, u: Array, axis: int) -> Array:
        return _along(self.inverse, u, axis)

    def decode(self, y: Array, axis: int) -> Array:
        return _along(self.vectors, y, axis)


class FourierBasis(eqx.Module):
    """The modes of a periodic axis, `exp(2 pi i k j / n)`, or of an anti-periodic one, with k + 1/2 in place of k."""

    num_points: int = eqx.field(static=True)
    shift: float = eqx.field(static=True)

    @property
    def is_free(self) -> np.ndarray:
        return np.ones(self.num_points, bool)

    def encode(self, u: Array, axis: int) -> Array:
        return jnp.fft.fft(u * jnp.conj(self._twist(u, axis)), axis=axis)

    def decode(self, y: Array, axis: int) -> Array:
        values = jnp.fft.ifft(y, axis=axis)
        return values * self._twist(values, axis)

    def values(self, order: int, accuracy: int | None) -> np.ndarray:
        """The eigenvalues of the stencil for unit spacing, or (None) of the derivative itself for unit extent: real for
        even derivatives, imaginary for odd ones."""
        if accuracy is None:
            n = self.num_points
            angles = 2 * np.pi * wavenumbers(n, halved=False)
            if order % 2 == 1 and n % 2 == 0:
                # As in `fourier_derivative`: the sine of the highest mode vanishes at every point.
                angles[n // 2] = 0.0
            return angles**order * (1, 1j, -1, -1j)[order % 4]
        offsets, weights = central_weights(order, accuracy)
        angles = 2 * np.pi / self.num_points * np.outer(np.arange(self.num_points) + self.shift, offsets)
        return np.cos(angles) @ weights if order % 2 == 0 else 1j * np.sin(angles) @ weights

    def _twist(self, u: Array, axis: int) -> Array:
        angle = 2 * np.pi * self.shift * np.arange(self.num_points) / self.num_points
        return _broadcast(jnp.asarray(np.exp(1j * angle), jnp.result_type(u, jnp.complex64)), axis, u.ndim)


class PointBasis(eqx.Module):
    """The points of an axis with walls themselves: what acts along it is a matrix."""

    num_points: int = eqx.field(static=True)
    is_held: tuple[bool, bool] = eqx.field(static=True)

    @property
    def is_free(self) -> np.ndarray:
        return free_points(self.num_points, self.is_held)

    def encode(self, u: Array, axis: int) -> Array:
        return u

    def decode(self, y: Array, axis: int) -> Array:
        return y


Basis = WallBasis | FourierBasis | PointBasis
# For each component, the basis of each axis.
Bases = tuple[tuple[Basis, ...], ...]


def bases_of(reading: Reading, equation: EquationLike, lines: bool = False) -> Bases:
    """The bases in which `equation.linear` is diagonal on `reading`; with `lines`, but for one axis per component.

    Raises `ValueError` when the linear part couples components, transports with upwind formulae, differentiates along
    two axes at once or with two orders along one with walls, and when the eigenvectors are nearly dependent (as of
    transport between walls); with `lines` the last two are met by keeping the points of that axis. `TypeError` when the
    weights of a Robin condition or, with one, the extent are traced: they shape the basis, and must be known numbers
    here (with `lines` they need not be along that axis).
    """
    terms = _terms(reading, equation)
    return tuple(
        _bases_of_component(reading, sides, of_component, lines)
        for sides, of_component in zip(reading.sides_of(equation), terms, strict=True)
    )


def _terms(reading: Reading, equation: EquationLike) -> tuple[Terms, ...]:
    advection = reading.advection if isinstance(reading, FiniteDifference) else "central"
    return separable_linear(equation, reading.grid.ndim, advection)


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


class Eigenmodes(eqx.Module):
    """`reading` in the `bases` of an equation's linear part; the duties of a discretisation are its own.

    States are those between homogeneous conditions: zero at held points, whose values follow from the others and the
    data. What the data add to the linear part is `added`.
    """

    reading: Reading
    bases: Bases

    @property
    def grid(self) -> Grid:
        return self.reading.grid

    def encode(self, u: Float[Array, "channel *space"]) -> Inexact[Array, "channel *modes"]:
        """The coefficients of a state, whose held points do not enter."""
        coefficients = [_encoded(part, bases) for part, bases in zip(u, self.bases, strict=True)]
        return jnp.where(self.is_free(), _stacked(coefficients), 0)

    def decode(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, "channel *space"]:
        """The state with these coefficients, zero at held points."""
        u = _stacked([_decoded(part, bases) for part, bases in zip(y, self.bases, strict=True)])
        return u.real.astype(self.grid.dtype)

    def norm(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, ""]:
        """Root mean square over the points."""
        return self.reading.norm(self.decode(y))

    def symbol(self, equation: EquationLike) -> Inexact[Array, "channel *modes"]:
        """What the linear part does to each mode, but for derivatives along axes of points. Zero at held points."""
        terms = _terms(self.reading, equation)
        total = _stacked([_symbol(self.reading, term, bases) for term, bases in zip(terms, self.bases, strict=True)])
        return jnp.where(self.is_free(), total, 0)

    def lines(self, equation: EquationLike) -> "tuple[tuple[int, Float[Array, 'points band']] | None, ...]":
        """For each component, the axis that keeps its points and the matrix along it (`line.bands`), or None."""
        terms = _terms(self.reading, equation)
        found: list[Any] = []
        stated: tuple[Any, ...] = self.reading.sides_of(equation)
        for sides, of_component, bases in zip(stated, terms, self.bases, strict=True):
            axes = [axis for axis, basis in enumerate(bases) if isinstance(basis, PointBasis)]
            for axis in axes:
                coefficients = {order: of_component[axis, order] for order in _orders(of_component, axis)}
                found.append((axis, bands(along(self.reading, axis, sides[axis]), coefficients)))
            if not axes:
                found.append(None)
        return tuple(found)

    def shift(self, equation: EquationLike) -> Array:
        """A rate above all rates of growth: twice the largest, and the slowest rate of decay beside it. Along an axis
        of points the rates are those of waves of a whole number of half lengths."""
        terms = _terms(self.reading, equation)
        rates = [_symbol(self.reading, term, bases, True) for term, bases in zip(terms, self.bases, strict=True)]
        rate = jnp.where(self.is_free(), _stacked(rates), 0).real
        decay = -rate
        slowest = jnp.min(jnp.where(decay > 1e-6 * jnp.max(jnp.abs(decay)), decay, jnp.inf))
        growth = 2 * jnp.maximum(jnp.max(rate), 0)
        return (growth + jnp.where(jnp.isfinite(slowest), slowest, 1)).astype(self.grid.dtype)

    def added(self, equation: EquationLike, t: Any) -> Inexact[Array, "channel *modes"]:
        """What the walls' data add to the linear part at time t: of the size of the data over h^2."""
        at_rest: Any = self.reading.field(equation, t, jnp.zeros((len(self.bases), *self.grid.shape), self.grid.dtype))
        return self.encode(equation.linear(at_rest).rate)

    def nonlinear(self, equation: EquationLike, t: Any, y: Inexact[Array, "channel *modes"]) -> Inexact[Array, "..."]:
        """`equation.nonlinear` at time t for the free values of `decode(y)` and the data."""
        t = jnp.asarray(t, self.grid.dtype)
        return self.encode(equation.nonlinear(t, self.reading.field(equation, t, self.decode(y))).rate)

    def is_free(self) -> Array:
        """Which modes are those of free points, by component."""
        masks = []
        for bases in self.bases:
            mask = np.ones((), bool)
            for axis, basis in enumerate(bases):
                mask = mask & basis.is_free.reshape((1,) * axis + (-1,) + (1,) * (self.grid.ndim - axis - 1))
            masks.append(mask)
        return jnp.asarray(np.stack(masks))


# The transforms of periodic axes come last on the way in and first on the way out: what products with the matrices of
# the other axes see is then real, unless these have complex eigenvectors.
def _encoded(u: Array, bases: Sequence[Basis]) -> Array:
    for axis in sorted(range(len(bases)), key=lambda axis: isinstance(bases[axis], FourierBasis)):
        u = bases[axis].encode(u, axis)
    return u


def _decoded(y: Array, bases: Sequence[Basis]) -> Array:
    for axis in sorted(range(len(bases)), key=lambda axis: not isinstance(bases[axis], FourierBasis)):
        if not isinstance(bases[axis], FourierBasis) and not any(map(_is_complex, bases)):
            y = y.real
        y = bases[axis].decode(y, axis)
    return y


def _is_complex(basis: Basis) -> bool:
    return isinstance(basis, WallBasis) and jnp.iscomplexobj(basis.vectors)


def _symbol(reading: Reading, terms: Terms, bases: Sequence[Basis], waves: bool = False) -> Array:
    grid, stencils = reading.grid, stencils_of(reading)
    accuracy = None if stencils is None else stencils.order
    total: Any = coefficient_of(terms, None, grid.dtype)
    for axis, basis in enumerate(bases):
        for order in _orders(terms, axis):
            if isinstance(basis, PointBasis) and not waves:
                continue
            unit = unit_of(reading, axis)
            if isinstance(basis, PointBasis):
                values = (1j * np.pi * np.arange(grid.shape[axis])) ** order
                unit = grid.extent[axis]
            else:
                values = basis.values(order, accuracy) if isinstance(basis, FourierBasis) else basis.eigenvalues
            scale = coefficient_of(terms, (axis, order), grid.dtype) / unit**order
            total = total + _broadcast(scale * jnp.asarray(values), axis, grid.ndim)
    dtype = jnp.promote_types(grid.dtype, jnp.complex64) if jnp.iscomplexobj(total) else grid.dtype
    return jnp.broadcast_to(total, grid.shape).astype(dtype)


def _orders(terms: Terms, axis: int) -> list[int]:
    return [order for along, order in (key for key in terms if key is not None) if along == axis]


def _basis(reading: Reading, axis: int, side: Any, terms: Terms) -> WallBasis | FourierBasis:
    grid, orders = reading.grid, _orders(terms, axis)
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
            "matrices have no common eigenvectors. State one of them in `nonlinear`, or use an implicit-explicit "
            "solver such as KenCarp4 or an explicit one."
        )
    ends: tuple[Any, ...] = side if isinstance(side, tuple) else () if side is None else (side,)
    conditions = tuple(_homogeneous(condition, reading, axis) for condition in ends)
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


def _homogeneous(condition: Any, reading: Reading, axis: int) -> tuple[Any, ...]:
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
def _diagonalised(
    stencils: Stencils | None, num_points: int, points: Any, order: int, conditions: tuple[tuple[Any, ...], ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a derivative for a unit of length: eigenvectors, their inverse, and eigenvalues, zero at held ends."""
    vectors, inverse, values = np.eye(num_points), np.eye(num_points), np.zeros(num_points)
    if order == 0:
        return vectors, inverse, values
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        ends = tuple(kind(*weights) for kind, *weights in conditions)
        line = line_of(stencils, num_points, 1.0, points, ends, np.float64)
        # For unit length, whatever that is a part of.
        line = eqx.tree_at(lambda one: one.grid.extent, line, 1 / unit_of(line, 0)[None])
        matrix = dense_matrix(line, order)
    is_free = free_points(num_points, held_ends(line, 0, ends))
    free = np.ix_(is_free, is_free)
    if stencils is not None and stencils.closure == "summation by parts" and order == 2 and len(ends) == 2:
        # Symmetric in the norm of H: the eigenvalues are real.
        scale = np.sqrt(quadrature_weights(num_points, stencils.order))[is_free]
        symmetric = scale[:, None] * matrix[free] / scale
        found, columns = np.linalg.eigh((symmetric + symmetric.T) / 2)
        columns = columns / scale[:, None]
    else:
        found, columns = np.linalg.eig(matrix[free])
    condition = np.linalg.cond(columns)
    if not condition < _WORST_CONDITION:
        where, refusal = ("between these walls", _NotDiagonal) if len(ends) == 2 else ("around this axis", ValueError)
        raise refusal(
            f"The eigenvectors of the derivative of order {order} {where} are nearly dependent (condition number "
            f"{condition:.1e}): they are no basis to compute in. State it in `nonlinear`, or use an implicit-explicit "
            "solver such as KenCarp4 or an explicit one."
        )
    dtype = found.dtype
    vectors, inverse, values = vectors.astype(dtype), inverse.astype(dtype), values.astype(dtype)
    vectors[free], inverse[free], values[is_free] = columns, np.linalg.inv(columns), found
    return vectors, inverse, values


def _along(matrix: Array, u: Array, axis: int) -> Array:
    if jnp.iscomplexobj(matrix) and not jnp.iscomplexobj(u):
        # Two real products: a complex one takes four times as long as one of them.
        return jax.lax.complex(_along(matrix.real, u, axis), _along(matrix.imag, u, axis))
    return jnp.moveaxis(jnp.tensordot(matrix, u, axes=([1], [axis]), precision="highest"), 0, axis)


def _broadcast(values: Array, axis: int, ndim: int) -> Array:
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


def _stacked(parts: Sequence[Array]) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0][None]
