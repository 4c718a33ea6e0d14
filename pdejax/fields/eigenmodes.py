"""Finite differences between walls in the basis in which the linear part is diagonal, axis by axis.

With the derivative matrix `D_a = V_a diag(lambda_a) V_a^-1` of each axis, conditions at its two walls included,

    u = (V_1 x V_2 x ...) u_hat:    c u + sum over a of c_a D_a u    becomes    (c + sum over a of c_a lambda_a) u_hat

so exponentials and inverses of it are numbers per mode, as in Fourier space: exponential and implicit-explicit solvers
solve their linear parts exactly, for the price of two products with a small matrix per axis and evaluation ("fast
diagonalisation": Lynch, Rice & Thomas, Numer. Math. 6 (1964) 185). What the walls add, the data of their conditions and
the values of held nodes, depends on time alone.

Periodic axes have their Fourier modes; stretched ones are treated like those with walls. Between walls the eigenvectors
of second derivatives are orthogonal or nearly so for order 2, and have condition numbers below 20 for orders up to 8,
some of whose eigenvalues are complex; on stretched points they are below 400, with the strongest maps that are allowed.
Where derivatives sum by parts eigenvectors are orthogonal in the norm of that, and the eigenvalues real.
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

from pdejax.boundary import AntiPeriodic, Dirichlet, Robin
from pdejax.fields.field import EquationLike
from pdejax.fields.finite_difference import FiniteDifference
from pdejax.fields.separable import Terms, coefficient_of, separable_linear
from pdejax.fields.stencil import Met, StencilField
from pdejax.fields.stencil_weights import central_weights
from pdejax.fields.summation_by_parts import quadrature_weights
from pdejax.grid import Grid

# Beyond this eigenvectors lose more than half of the digits of single precision.
_WORST_CONDITION = 1e4


class WallBasis(eqx.Module):
    """The eigenvectors of a derivative of an axis with walls, or a stretched one, for a mean spacing of 1; held nodes
    stand apart."""

    vectors: Inexact[Array, "points modes"]
    inverse: Inexact[Array, "modes points"]
    eigenvalues: Inexact[Array, " modes"]
    is_held: tuple[bool, bool] = eqx.field(static=True)

    @property
    def is_free(self) -> np.ndarray:
        return _free(self.eigenvalues.shape[0], self.is_held)

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

    def values(self, order: int, accuracy: int) -> np.ndarray:
        """The eigenvalues of the stencil for unit spacing: real for even derivatives, imaginary for odd ones."""
        offsets, weights = central_weights(order, accuracy)
        angles = 2 * np.pi / self.num_points * np.outer(np.arange(self.num_points) + self.shift, offsets)
        return np.cos(angles) @ weights if order % 2 == 0 else 1j * np.sin(angles) @ weights

    def _twist(self, u: Array, axis: int) -> Array:
        angle = 2 * np.pi * self.shift * np.arange(self.num_points) / self.num_points
        return _broadcast(jnp.asarray(np.exp(1j * angle), jnp.result_type(u, jnp.complex64)), axis, u.ndim)


# For each component, the basis of each axis.
Bases = tuple[tuple[WallBasis | FourierBasis, ...], ...]


def bases_of(reading: FiniteDifference, equation: EquationLike) -> Bases:
    """The bases in which `equation.linear` is diagonal on `reading`.

    Raises `ValueError` when the linear part couples components, transports with upwind formulae, differentiates along
    two axes at once or with two orders along one with walls, and when the eigenvectors are nearly dependent (as of
    transport between walls); then it belongs in `nonlinear`, or the solver must be explicit. `TypeError` when the
    weights of a Robin condition or, with one, the extent are traced: they shape the basis, and must be known numbers
    here.
    """
    sides = reading.sides_of(equation)
    terms = separable_linear(equation, reading.grid.ndim, reading.advection)
    return tuple(
        tuple(_basis(reading, axis, side[axis], term) for axis in range(reading.grid.ndim))
        for side, term in zip(sides, terms, strict=True)
    )


class Eigenmodes(eqx.Module):
    """`reading` in the `bases` of an equation's linear part; the duties of a discretisation are its own.

    Stepped is `v = u - g(t)`, with g the lift of the walls' data: `(L - s) g + b(t) = 0`, where b is what the data add
    to `linear`, of the size of the data over h^2. What remains of them, `s g - dg/dt`, is as smooth as they are in
    time. (Explicit stages that saw b itself would lag behind the walls: beside one that moves, errors of a fourth-order
    method were 470 times larger.) The shift s is above all rates of growth, so that the lift exists; held nodes have
    v = 0.
    """

    reading: FiniteDifference
    bases: Bases

    @property
    def grid(self) -> Grid:
        return self.reading.grid

    def into(
        self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]
    ) -> Inexact[Array, "channel *modes"]:
        """The coefficients of `u - g(t)`."""
        return jnp.where(self._is_free(), self._encode(u), 0) - self._lift(equation, t)

    def out_of(self, equation: EquationLike, t: Any, y: Inexact[Array, "channel *modes"]) -> Float[Array, "..."]:
        """The state at time t, with the walls' values at held nodes."""
        return self.reading.hold(equation, t, self._decode(y + self._lift(equation, t)))

    def norm(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, ""]:
        """Root mean square over the points."""
        return self.reading.norm(self._decode(y))

    def symbol(self, equation: EquationLike) -> tuple[Inexact[Array, "channel *modes"], bool]:
        """What the linear part does to each mode; no components are coupled. Zero at held nodes."""
        terms = separable_linear(equation, self.grid.ndim, self.reading.advection)
        total = _stacked([_symbol(self.reading, term, bases) for term, bases in zip(terms, self.bases, strict=True)])
        return jnp.where(self._is_free(), total, 0), False

    def nonlinear(self, equation: EquationLike, t: Any, y: Inexact[Array, "channel *modes"]) -> Inexact[Array, "..."]:
        """The rest of the tendency of `u - g(t)`: `nonlinear` at the state, and what the lift leaves of the data."""
        t = jnp.asarray(t, self.grid.dtype)
        lift, lift_rate = jax.jvp(lambda s: self._lift(equation, s), (t,), (jnp.ones_like(t),))
        state = self.reading.field(equation, t, self._decode(y + lift))
        rate = self._encode(equation.nonlinear(t, state).rate)
        return jnp.where(self._is_free(), rate, 0) + (self._shift(equation) * lift - lift_rate)

    def _lift(self, equation: EquationLike, t: Any) -> Array:
        at_rest = self.reading.field(equation, t, jnp.zeros((len(self.bases), *self.grid.shape), self.grid.dtype))
        added = self._encode(equation.linear(at_rest).values)
        symbol, _ = self.symbol(equation)
        return jnp.where(self._is_free(), added / (self._shift(equation) - symbol), 0)

    def _shift(self, equation: EquationLike) -> Array:
        """Twice the largest rate of growth, and the slowest rate of decay beside it."""
        symbol, _ = self.symbol(equation)
        decay = -symbol.real
        slowest = jnp.min(jnp.where(decay > 1e-6 * jnp.max(jnp.abs(decay)), decay, jnp.inf))
        growth = 2 * jnp.maximum(jnp.max(symbol.real), 0)
        return (growth + jnp.where(jnp.isfinite(slowest), slowest, 1)).astype(self.grid.dtype)

    def _is_free(self) -> Array:
        """Which modes are those of free points, by component."""
        masks = []
        for bases in self.bases:
            mask = np.ones((), bool)
            for axis, basis in enumerate(bases):
                mask = mask & basis.is_free.reshape((1,) * axis + (-1,) + (1,) * (self.grid.ndim - axis - 1))
            masks.append(mask)
        return jnp.asarray(np.stack(masks))

    def _encode(self, u: Array) -> Array:
        return _stacked([_through(part, bases, "encode") for part, bases in zip(u, self.bases, strict=True)])

    def _decode(self, y: Array) -> Array:
        u = _stacked([_through(part, bases, "decode") for part, bases in zip(y, self.bases, strict=True)])
        return u.real.astype(self.grid.dtype)


def _through(part: Array, bases: Sequence[Any], way: str) -> Array:
    for axis, basis in enumerate(bases):
        part = getattr(basis, way)(part, axis)
    return part


def _symbol(reading: FiniteDifference, terms: Terms, bases: Sequence[WallBasis | FourierBasis]) -> Array:
    grid = reading.grid
    total: Any = coefficient_of(terms, None, grid.dtype)
    for axis, basis in enumerate(bases):
        for order in _orders(terms, axis):
            values = basis.values(order, reading.order) if isinstance(basis, FourierBasis) else basis.eigenvalues
            scale = coefficient_of(terms, (axis, order), grid.dtype) / grid.mean_spacing(axis) ** order
            total = total + _broadcast(scale * jnp.asarray(values), axis, grid.ndim)
    dtype = jnp.promote_types(grid.dtype, jnp.complex64) if jnp.iscomplexobj(total) else grid.dtype
    return jnp.broadcast_to(total, grid.shape).astype(dtype)


def _orders(terms: Terms, axis: int) -> list[int]:
    return [order for along, order in (key for key in terms if key is not None) if along == axis]


def _basis(reading: FiniteDifference, axis: int, side: Any, terms: Terms) -> WallBasis | FourierBasis:
    grid, orders = reading.grid, _orders(terms, axis)
    if grid.periodic[axis] and grid.is_uniform[axis]:
        return FourierBasis(grid.shape[axis], 0.5 if isinstance(side, AntiPeriodic) else 0.0)
    if len(orders) > 1:
        what = "is stretched" if grid.periodic[axis] else "has walls"
        raise ValueError(
            f"`linear` holds derivatives of the orders {sorted(orders)} along axis {axis}, which {what}: their "
            "matrices have no common eigenvectors. State one of them in `nonlinear`, or use an explicit solver."
        )
    ends: tuple[Any, ...] = side if isinstance(side, tuple) else () if side is None else (side,)
    conditions = tuple(_homogeneous(condition, grid, axis) for condition in ends)
    vectors, inverse, values, is_held = _diagonalised(
        grid.shape[axis], grid.points[axis], reading.order, orders[0] if orders else 0, conditions, reading.closure
    )
    dtype = jnp.promote_types(grid.dtype, jnp.complex64) if np.iscomplexobj(vectors) else grid.dtype
    return WallBasis(jnp.asarray(vectors, dtype), jnp.asarray(inverse, dtype), jnp.asarray(values, dtype), is_held)


def _homogeneous(condition: Any, grid: Grid, axis: int) -> tuple[Any, ...]:
    """The kind of a condition, with its weights for unit spacing."""
    if not isinstance(condition, Robin):
        return (type(condition),)
    weights = (condition.value_weight, condition.slope_weight, grid.mean_spacing(axis))
    if any(isinstance(weight, Tracer) for weight in weights):
        raise TypeError(
            "The weights of a Robin condition, and the extent of its grid, shape the basis in which the linear part is "
            "diagonal: they must be numbers here, and not traced by jit, vmap or grad. Make the stepper outside of "
            "these, or use an explicit solver."
        )
    return Robin, float(condition.value_weight) * float(grid.mean_spacing(axis)), float(condition.slope_weight)


@functools.lru_cache(maxsize=64)
def _diagonalised(
    num_points: int, points: Any, accuracy: int, order: int, conditions: tuple[tuple[Any, ...], ...], closure: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[bool, bool]]:
    """Of a derivative for a mean spacing of 1: eigenvectors, their inverse, eigenvalues, and which ends are held.

    `conditions` are those of two walls, or around a periodic axis the change of sign or none.
    """
    periodic = len(conditions) < 2
    grid = _unit_grid(num_points, points, periodic)
    held = [grid.placement[0] == "nodes" and kind is Dirichlet for kind, *_ in conditions]
    low, high = (False, False) if periodic else held
    is_free = _free(num_points, (low, high))
    vectors, inverse, values = np.eye(num_points), np.eye(num_points), np.zeros(num_points)
    if order == 0:
        return vectors, inverse, values, (low, high)
    free = np.ix_(is_free, is_free)
    matrix = _matrix(grid, accuracy, order, conditions, closure)[free]
    if closure == "summation by parts" and order == 2 and not periodic:
        # Symmetric in the norm of H: the eigenvalues are real.
        scale = np.sqrt(quadrature_weights(num_points, accuracy))[is_free]
        symmetric = scale[:, None] * matrix / scale
        found, columns = np.linalg.eigh((symmetric + symmetric.T) / 2)
        columns = columns / scale[:, None]
    else:
        found, columns = np.linalg.eig(matrix)
    condition = np.linalg.cond(columns)
    if not condition < _WORST_CONDITION:
        where = "around this axis" if periodic else "between these walls"
        raise ValueError(
            f"The eigenvectors of the derivative of order {order} {where} are nearly dependent (condition number "
            f"{condition:.1e}): they are no basis to compute in. State it in `nonlinear`, or use an explicit solver."
        )
    dtype = found.dtype
    vectors, inverse, values = vectors.astype(dtype), inverse.astype(dtype), values.astype(dtype)
    vectors[free], inverse[free], values[is_free] = columns, np.linalg.inv(columns), found
    return vectors, inverse, values, (low, high)


def _free(num_points: int, is_held: tuple[bool, bool]) -> np.ndarray:
    """Which points are not held: a mask."""
    is_free = np.ones(num_points, bool)
    is_free[0], is_free[-1] = (not held for held in is_held)
    return is_free


def _unit_grid(num_points: int, points: Any, periodic: bool) -> Grid:
    """An axis with a mean spacing of 1; float64."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        grid = Grid(num_points, 1.0, periodic, points=points, dtype=np.float64)
        return eqx.tree_at(lambda one: one.extent, grid, 1 / grid.mean_spacing(0)[None])


def _matrix(grid: Grid, accuracy: int, order: int, conditions: tuple[tuple[Any, ...], ...], closure: str) -> np.ndarray:
    """The derivative between homogeneous conditions, from the stencils themselves; float64."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        ends = [kind(*weights) for kind, *weights in conditions]
        if len(ends) == 2:
            reading = FiniteDifference(grid, accuracy, {"x-": ends[0], "x+": ends[1]}, closure=closure)
            side: Any = (Met(ends[0], jnp.zeros(1)), Met(ends[1], jnp.zeros(1)))
        else:
            reading, side = FiniteDifference(grid, accuracy), ends[0] if ends else None
        derivative = lambda u: StencilField(reading, u[None], ((side,),)).derivative(0, order).values[0]  # noqa: E731
        return np.asarray(jax.vmap(derivative, out_axes=1)(jnp.eye(grid.shape[0])))


def _along(matrix: Array, u: Array, axis: int) -> Array:
    return jnp.moveaxis(jnp.tensordot(matrix, u, axes=([1], [axis]), precision="highest"), 0, axis)


def _broadcast(values: Array, axis: int, ndim: int) -> Array:
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


def _stacked(parts: Sequence[Array]) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0][None]
