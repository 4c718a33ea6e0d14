"""Symmetric matrices whose rows reach the nearest points of a box.

    (A u)_i = sum_o weights[o]_i u_(i + o),    o in {-1, 0, 1}^ndim

Beyond a wall u is zero; a periodic axis wraps, with a change of sign where it is anti-periodic. The weights themselves
never change sign across the wrap: they are those of the problem on the unrolled axis, and only u turns.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Offset = tuple[int, ...]


class Axis(NamedTuple):
    """How one axis of a matrix ends: whether it wraps, the sign it wraps with, and the first point that is kept when it
    is halved: 0, or 1 where the point before the first is held, which leaves equal intervals up to the wall."""

    wraps: bool
    sign: int = 1
    first: int = 0


def beside(u: Array, axis: int, ends: Axis) -> tuple[Array, Array]:
    """What lies beyond the two ends of one axis of u: one layer of the other end, or of zeros."""
    n = u.shape[axis]
    first, last = (jax.lax.slice_in_dim(u, i, i + 1, axis=axis) for i in (0, n - 1))
    if not ends.wraps:
        return jnp.zeros_like(last), jnp.zeros_like(first)
    return ends.sign * last, ends.sign * first


def padded(u: Array, axes: Sequence[Axis], leading: int = 0) -> Array:
    """u with one more layer at either end of every axis but the `leading` ones."""
    for a, ends in enumerate(axes, leading):
        before, after = beside(u, a, ends)
        u = jnp.concatenate([before, u, after], a)
    return u


def window(around: Array, offset: Sequence[int], leading: int = 0) -> Array:
    """`v_i = u_(i + offset)`, from the padded u."""
    starts = [0] * leading + [1 + o for o in offset]
    lengths = [*around.shape[:leading], *(n - 2 for n in around.shape[leading:])]
    return jax.lax.slice(around, starts, [start + n for start, n in zip(starts, lengths, strict=True)])


class StencilMatrix(eqx.Module):
    """`weights` has shape `(len(offsets), *shape)`; offsets that are absent have weight zero, and so have those that
    point through a wall. The matrix must be symmetric, which is not checked."""

    weights: Float[Array, "offset *shape"]
    offsets: tuple[Offset, ...] = eqx.field(static=True)
    axes: tuple[Axis, ...] = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.weights.shape[1:]

    @property
    def diagonal(self) -> Float[Array, " *shape"]:
        return self.weights[self.offsets.index((0,) * len(self.axes))]

    def __call__(self, u: Float[Array, " *shape"]) -> Float[Array, " *shape"]:
        around = padded(u, self.axes)
        terms = [self.weights[k] * window(around, offset) for k, offset in enumerate(self.offsets)]
        return sum(terms[1:], terms[0])

    def dense(self) -> Float[Array, "points points"]:
        """The same matrix written out, for coarsest grids and for tests."""
        size = self.diagonal.size
        columns = jax.vmap(self)(jnp.eye(size, dtype=self.weights.dtype).reshape(size, *self.shape))
        return columns.reshape(size, size).T

    def all_offsets(self) -> "StencilMatrix":
        """The same matrix with all 3^ndim offsets, in the order of `itertools.product`."""
        offsets = tuple(product((-1, 0, 1), repeat=len(self.axes)))
        if self.offsets == offsets:
            return self
        zero = jnp.zeros(self.shape, self.weights.dtype)
        present = dict(zip(self.offsets, self.weights, strict=True))
        return StencilMatrix(jnp.stack([present.get(o, zero) for o in offsets]), offsets, self.axes)
