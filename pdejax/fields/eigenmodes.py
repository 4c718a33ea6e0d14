"""A discretisation between walls in the basis in which the linear part is diagonal, axis by axis.

With the derivative matrix `D_a = V_a diag(lambda_a) V_a^-1` of each axis, conditions at its two walls included,

    u = (V_1 x V_2 x ...) u_hat:    c u + sum over a of c_a D_a u    becomes    (c + sum over a of c_a lambda_a) u_hat

so exponentials and inverses of it are numbers per mode, as in Fourier space: exponential and implicit-explicit solvers
solve their linear parts exactly, for the price of two products with a small matrix per axis and evaluation ("fast
diagonalisation": Lynch, Rice & Thomas, Numer. Math. 6 (1964) 185). What the walls add, the data of their conditions and
the values of held points, depends on time alone.

Periodic axes have their Fourier modes; stretched ones are treated like those with walls (`bases.py`). Where an axis has
no such basis it may keep its points: the linear part is a matrix along that axis, for each mode of the others.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from pdejax.boundary import Robin
from pdejax.fields.axis_bases import Bases, Basis, FourierBasis, PointBasis, broadcast_along, decoded, encoded
from pdejax.fields.bases import orders_along, separable_terms
from pdejax.fields.field import EquationLike
from pdejax.fields.line import Reading, along, bands, held_ends, stencils_of, unit_of
from pdejax.fields.separable import Terms, coefficient_of
from pdejax.grid import Grid


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
        coefficients = [encoded(part, bases) for part, bases in zip(u, self.bases, strict=True)]
        return jnp.where(self.is_free(), _stacked(coefficients), 0)

    def decode(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, "channel *space"]:
        """The state with these coefficients, zero at held points."""
        u = _stacked([decoded(part, bases) for part, bases in zip(y, self.bases, strict=True)])
        return u.real.astype(self.grid.dtype)

    def norm(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, ""]:
        """Root mean square over the points."""
        return self.reading.norm(self.decode(y))

    def symbol(self, equation: EquationLike) -> Inexact[Array, "channel *modes"]:
        """What the linear part does to each mode, but for derivatives along axes of points. Zero at held points."""
        terms = separable_terms(self.reading, equation)
        total = _stacked([_symbol(self.reading, term, bases) for term, bases in zip(terms, self.bases, strict=True)])
        return jnp.where(self.is_free(), total, 0)

    def lines(
        self, equation: EquationLike
    ) -> "tuple[tuple[int, Float[Array, 'points band'], tuple[bool, bool]] | None, ...]":
        """For each component, the axis that keeps its points, the matrix along it (`line.bands`) and which of its ends
        are held, or None."""
        terms = separable_terms(self.reading, equation)
        found: list[Any] = []
        stated: tuple[Any, ...] = self.reading.sides_of(equation)
        for sides, of_component, bases in zip(stated, terms, self.bases, strict=True):
            axes = [axis for axis, basis in enumerate(bases) if isinstance(basis, PointBasis)]
            for axis in axes:
                coefficients = {order: of_component[axis, order] for order in orders_along(of_component, axis)}
                line = along(self.reading, axis, sides[axis])
                found.append((axis, bands(line, coefficients), held_ends(self.reading, axis, sides[axis])))
            if not axes:
                found.append(None)
        return tuple(found)

    def shift(self, equation: EquationLike) -> Array:
        """A rate above all rates of growth: twice the largest, and the slowest rate of decay beside it. Along an axis
        of points the rates are those of waves of a whole number of half lengths, and what its walls feed."""
        terms = separable_terms(self.reading, equation)
        stated: tuple[Any, ...] = self.reading.sides_of(equation)
        rates = [
            _symbol(self.reading, term, bases, True) + _fed_by_walls(self.reading, term, bases, sides)
            for term, bases, sides in zip(terms, self.bases, stated, strict=True)
        ]
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
        """Which modes are those of free points, by component; along periodic axes one entry stands for all."""
        masks = []
        for bases in self.bases:
            mask = np.ones((), bool)
            for axis, basis in enumerate(bases):
                mask = mask & basis.is_free.reshape((1,) * axis + (-1,) + (1,) * (self.grid.ndim - axis - 1))
            masks.append(mask)
        return jnp.asarray(np.stack(masks))


def _symbol(reading: Reading, terms: Terms, bases: Sequence[Basis], waves: bool = False) -> Array:
    grid, stencils = reading.grid, stencils_of(reading)
    accuracy = None if stencils is None else stencils.order
    total: Any = coefficient_of(terms, None, grid.dtype)
    for axis, basis in enumerate(bases):
        for order in orders_along(terms, axis):
            if isinstance(basis, PointBasis) and not waves:
                continue
            unit = unit_of(reading, axis)
            if isinstance(basis, PointBasis):
                values = (1j * np.pi * np.arange(grid.shape[axis])) ** order
                unit = grid.extent[axis]
            else:
                values = basis.values(order, accuracy) if isinstance(basis, FourierBasis) else basis.eigenvalues
            scale = coefficient_of(terms, (axis, order), grid.dtype) / unit**order
            total = total + broadcast_along(scale * jnp.asarray(values), axis, grid.ndim)
    dtype = jnp.promote_types(grid.dtype, jnp.complex64) if jnp.iscomplexobj(total) else grid.dtype
    return jnp.broadcast_to(total, tuple(basis.num_modes for basis in bases)).astype(dtype)


def _fed_by_walls(reading: Reading, terms: Terms, bases: Sequence[Basis], sides: Any) -> Array:
    """A bound of the growth that mixtures of the other sign, which give more the more there is, feed along axes of
    points.

    With `u_n = w u`, w > 0, the growing mode is `exp(-k d)` at the distance d from the wall, where k is w for a long
    axis; between two walls, and along short axes, it is at most `w_1 + w_2 + 2 / extent`.
    """
    grid, total = reading.grid, jnp.zeros((), reading.grid.dtype)
    for axis, basis in enumerate(bases):
        if not isinstance(basis, PointBasis):
            continue
        mixtures = [condition for condition in sides[axis] if isinstance(condition, Robin)]
        # A weight of zero of the slope states a value.
        slopes = [jnp.where(one.slope_weight == 0, 1.0, one.slope_weight) for one in mixtures]
        feeds: Any = [
            jnp.where(one.slope_weight == 0, 0.0, jnp.maximum(-one.value_weight / slope, 0.0))
            for one, slope in zip(mixtures, slopes, strict=True)
        ]
        fed: Any = sum(feeds, start=jnp.zeros(()))
        k = jnp.where(fed > 0, fed + 2 / grid.extent[axis], 0.0)
        for order in orders_along(terms, axis):
            total = total + jnp.abs(coefficient_of(terms, (axis, order), grid.dtype)) * k**order
    return total.astype(grid.dtype)


def _stacked(parts: Sequence[Array]) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0][None]
