"""The bases of single axes: eigenvectors between walls, Fourier modes, points; and what they make of a state together.

`is_free` says which modes are those of free points; it has one entry where they all are.
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from pdejax.fields.fourier_axis import wavenumbers
from pdejax.fields.line import free_points
from pdejax.fields.stencil_weights import central_weights


class WallBasis(eqx.Module):
    """The eigenvectors of a derivative along an axis with walls, or a stretched one, for a unit of length; held points
    stand apart."""

    vectors: Inexact[Array, "points modes"]
    inverse: Inexact[Array, "modes points"]
    eigenvalues: Inexact[Array, " modes"]
    is_held: tuple[bool, bool] = eqx.field(static=True)

    @property
    def num_modes(self) -> int:
        return self.eigenvalues.shape[0]

    @property
    def is_free(self) -> np.ndarray:
        return free_points(self.num_modes, self.is_held)

    def encode(self, u: Array, axis: int) -> Array:
        return _along(self.inverse, u, axis)

    def decode(self, y: Array, axis: int) -> Array:
        return _along(self.vectors, y, axis)


class FourierBasis(eqx.Module):
    """The modes of a periodic axis, `exp(2 pi i k j / n)`, or of an anti-periodic one, with k + 1/2 in place of k.

    With `is_halved`, of a periodic axis alone, only k >= 0: the others are their conjugates where what is transformed
    is real.
    """

    num_points: int = eqx.field(static=True)
    shift: float = eqx.field(static=True)
    is_halved: bool = eqx.field(static=True, default=False)

    @property
    def num_modes(self) -> int:
        return self.num_points // 2 + 1 if self.is_halved else self.num_points

    @property
    def is_free(self) -> np.ndarray:
        return np.ones(1, bool)

    def encode(self, u: Array, axis: int) -> Array:
        if self.is_halved:
            return jnp.fft.rfft(u, axis=axis)
        return jnp.fft.fft(u if self.shift == 0 else u * jnp.conj(self._twist(u, axis)), axis=axis)

    def decode(self, y: Array, axis: int) -> Array:
        if self.is_halved:
            return jnp.fft.irfft(y, n=self.num_points, axis=axis)
        values = jnp.fft.ifft(y, axis=axis)
        return values if self.shift == 0 else values * self._twist(values, axis)

    def values(self, order: int, accuracy: int | None) -> np.ndarray:
        """The eigenvalues of the stencil for unit spacing, or (None) of the derivative itself for unit extent: real for
        even derivatives, imaginary for odd ones."""
        if accuracy is None:
            n = self.num_points
            angles = 2 * np.pi * wavenumbers(n, self.is_halved)
            if order % 2 == 1 and n % 2 == 0:
                # As in `fourier_derivative`: the sine of the highest mode vanishes at every point.
                angles[n // 2] = 0.0
            return angles**order * (1, 1j, -1, -1j)[order % 4]
        offsets, weights = central_weights(order, accuracy)
        angles = 2 * np.pi / self.num_points * np.outer(np.arange(self.num_modes) + self.shift, offsets)
        return np.cos(angles) @ weights if order % 2 == 0 else 1j * np.sin(angles) @ weights

    def _twist(self, u: Array, axis: int) -> Array:
        angle = 2 * np.pi * self.shift * np.arange(self.num_points) / self.num_points
        return broadcast_along(jnp.asarray(np.exp(1j * angle), jnp.result_type(u, jnp.complex64)), axis, u.ndim)


class PointBasis(eqx.Module):
    """The points of an axis with walls themselves: what acts along it is a matrix."""

    num_points: int = eqx.field(static=True)
    is_held: tuple[bool, bool] = eqx.field(static=True)

    @property
    def num_modes(self) -> int:
        return self.num_points

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


def with_halved_modes(bases: Bases) -> Bases:
    """With half of the modes of one periodic axis, where these tell the others: coefficients along all axes that are
    transformed before it are real. All components have the same modes."""
    if any(map(_is_complex, sum(bases, ()))):
        return bases
    along = zip(*bases, strict=True)
    periodic = [all(isinstance(basis, FourierBasis) and basis.shift == 0 for basis in of_axis) for of_axis in along]
    if not any(periodic):
        return bases
    last = max(axis for axis, is_periodic in enumerate(periodic) if is_periodic)
    return tuple(
        (*of_one[:last], dataclasses.replace(of_one[last], is_halved=True), *of_one[last + 1 :]) for of_one in bases
    )


# Periodic axes come last on the way in and first on the way out: what products with the matrices of the other axes see
# is then real, unless these have complex eigenvectors; and what an axis of half of its modes sees is real, too.
def encoded(u: Array, bases: Sequence[Basis]) -> Array:
    """The coefficients of one component."""
    for axis in sorted(range(len(bases)), key=lambda axis: _place(bases[axis])):
        u = bases[axis].encode(u, axis)
    return u


def decoded(y: Array, bases: Sequence[Basis]) -> Array:
    """One component from its coefficients; complex, with a part that is rounding, where transforms are."""
    for axis in sorted(range(len(bases)), key=lambda axis: -_place(bases[axis])):
        if not isinstance(bases[axis], FourierBasis) and not any(map(_is_complex, bases)):
            y = y.real
        y = bases[axis].decode(y, axis)
    return y


def _place(basis: Basis) -> int:
    return 0 if not isinstance(basis, FourierBasis) else 1 if basis.is_halved else 2


def _is_complex(basis: Basis) -> bool:
    return isinstance(basis, WallBasis) and jnp.iscomplexobj(basis.vectors)


def _along(matrix: Array, u: Array, axis: int) -> Array:
    if jnp.iscomplexobj(matrix) and not jnp.iscomplexobj(u):
        # Two real products: a complex one takes four times as long as one of them.
        return jax.lax.complex(_along(matrix.real, u, axis), _along(matrix.imag, u, axis))
    return jnp.moveaxis(jnp.tensordot(matrix, u, axes=([1], [axis]), precision="highest"), 0, axis)


def broadcast_along(values: Array, axis: int, ndim: int) -> Array:
    """Values along one axis, in an array of `ndim` axes."""
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))
