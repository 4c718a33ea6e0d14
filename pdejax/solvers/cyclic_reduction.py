"""Banded matrices as block-tridiagonal ones, solved by parallel cyclic reduction: what a stage between walls asks for.

    L_k x_(k-s) + D_k x_k + U_k x_(k+s) = r_k    for k = 1 ... K, blocks of one size, s = 1 at first

Each block takes its neighbours' equations off its own and is left with those at twice the distance:

    a_k = L_k D_(k-s)^-1,    c_k = U_k D_(k+s)^-1,    r_k <- r_k - a_k r_(k-s) - c_k r_(k+s)

and so on, until after `log2 K` levels every block stands alone. The a, c and the last inverses are made once; a solve
is then a few products over all blocks at a time, where elimination row by row would be one long run. Pivots are sought
inside the blocks alone: what is inverted are Schur complements, regular for `1 - h L` with L dissipative, whatever h.

Hockney, J. ACM 12 (1965) 95; Sweet, SIAM J. Numer. Anal. 25 (1988) 761 (parallel cyclic reduction).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from pdejax.solvers.small_inverses import inverses, products


class Blocks(eqx.Module):
    """A banded matrix, cut into blocks; rows of zeros fill up the last ones.

    The axes of blocks are (row, column, block): products run over many blocks at once, in the last axes.
    """

    lower: Inexact[Array, "size size block"]
    diagonal: Inexact[Array, "size size block"]
    upper: Inexact[Array, "size size block"]
    num_rows: int = eqx.field(static=True)
    is_held: tuple[bool, bool] = eqx.field(static=True)

    @classmethod
    def of(
        cls, bands: Inexact[Array, "points band"], size: int, is_held: tuple[bool, bool] = (False, False)
    ) -> "Blocks":
        """From rows of the band (`pdejax.fields.line.bands`); `size` is at least its half width, or all rows. Rows of
        held ends are zero."""
        n, width = bands.shape[0], bands.shape[1] // 2
        assert size >= min(width, n)
        count = -(-n // size)
        rows = jnp.pad(bands, [(0, count * size - n), (0, 0)]).reshape(count, size, 2 * width + 1)
        row, column = np.arange(size)[:, None], np.arange(size)

        def blocks(distance: int) -> Array:
            offset = distance * size + column - row + width
            inside = (offset >= 0) & (offset <= 2 * width)
            taken = jnp.where(jnp.asarray(inside), rows[:, row, np.clip(offset, 0, 2 * width)], 0)
            return jnp.moveaxis(taken, 0, -1)

        return cls(blocks(-1), blocks(0), blocks(1), n, is_held)

    def apply(self, u: Inexact[Array, "points mode"]) -> Inexact[Array, "points mode"]:
        """The product with each column of u."""
        parts = _cut(u, *self.diagonal.shape[1:])
        total = _acting(self.diagonal[..., None], parts)
        if parts.shape[1] > 1:
            total = total + _acting(self.lower[..., None], _shifted(parts, -1))
            total = total + _acting(self.upper[..., None], _shifted(parts, 1))
        return _joined(total, self.num_rows)

    def factors(self, step: Any, shifts: Inexact[Array, " mode"]) -> "Factors":
        """Of `shift - step * matrix`, for each of the shifts."""
        size, _, count = self.diagonal.shape
        step = jnp.asarray(step, self.diagonal.dtype)
        # Held and padding rows stand for nothing, and keep clear of shifts that are zero.
        numbers = np.arange(count) * size + np.arange(size)[:, None]
        low_end, high_end = self.is_held
        is_row = (numbers >= low_end) & (numbers < self.num_rows - high_end)
        shifted = jnp.where(is_row[..., None], shifts, 1) * np.eye(size, dtype=bool)[..., None, None]
        middle = shifted - (step * self.diagonal)[..., None]
        low, up = (
            jnp.broadcast_to(-step * part[..., None], middle.shape).astype(middle.dtype)
            for part in (self.lower, self.upper)
        )
        levels, distance = [], 1
        while distance < count:
            inverse = _inverse(middle)
            a, c = products(low, _shifted(inverse, -distance)), products(up, _shifted(inverse, distance))
            levels.append((a, c))
            middle = middle - products(a, _shifted(up, -distance)) - products(c, _shifted(low, distance))
            low, up = -products(a, _shifted(low, -distance)), -products(c, _shifted(up, distance))
            distance *= 2
        lower, upper = (jnp.stack(parts) for parts in zip(*levels, strict=True)) if levels else (middle[None][:0],) * 2
        return Factors(lower, upper, _inverse(middle), self.num_rows)


class Factors(eqx.Module):
    """a and c of each level, and what the last one inverts; axes ([level,] row, column, block, mode)."""

    lower: Inexact[Array, "level size size block mode"]
    upper: Inexact[Array, "level size size block mode"]
    inverse: Inexact[Array, "size size block mode"]
    num_rows: int = eqx.field(static=True)

    def solve(self, r: Inexact[Array, "points mode"]) -> Inexact[Array, "points mode"]:
        """x for each mode's right-hand side."""
        size, count = self.inverse.shape[1:3]
        num_levels = self.lower.shape[0]
        reach = 2**num_levels // 2

        # A loop, since XLA would fuse each level into the next, which asks for it three times, and so on: on 256 points
        # with 64 modes that took twice as long, and six times as long term by term.
        def reduced(parts, level):
            distance, lower, upper = level
            around = jnp.pad(parts, [(0, 0), (reach, reach), (0, 0)])
            before, after = (
                jax.lax.dynamic_slice_in_dim(around, reach + sign * distance, count, axis=1) for sign in (-1, 1)
            )
            return parts - (_acting(lower, before) + _acting(upper, after)), None

        levels = (2 ** jnp.arange(num_levels), self.lower, self.upper)
        parts, _ = jax.lax.scan(reduced, _cut(r, size, count), levels)
        return _joined(_acting(self.inverse, parts), self.num_rows)


def _shifted(blocks: Array, by: int) -> Array:
    """Entry k is that of block k + by, or zero where there is none."""
    n = blocks.shape[-2]
    if by == 0 or n <= abs(by):
        return blocks if by == 0 else jnp.zeros_like(blocks)
    padding = [(0, 0)] * (blocks.ndim - 2) + [(max(-by, 0), max(by, 0)), (0, 0)]
    return jnp.pad(blocks, padding)[..., max(by, 0) : max(by, 0) + n, :]


# Sums of products and no dot_general where blocks are small and many: accelerators would round to half the digits.
def _acting(matrices: Array, vectors: Array) -> Array:
    if matrices.shape[2:] == (1, 1):
        return jnp.matmul(matrices[..., 0, 0], vectors[:, 0], precision="highest")[:, None]
    if matrices.shape[3] == 1:
        # Term by term: a sum that leaves one mode to each place was not vectorised, and 35 times slower.
        return sum(matrices[:, j] * vectors[j] for j in range(matrices.shape[1]))  # type: ignore[return-value]
    return jnp.sum(matrices * vectors[None], axis=1)


def _inverse(blocks: Array) -> Array:
    if blocks.shape[2:] != (1, 1):
        return inverses(blocks)
    # One matrix, which may be large.
    return jnp.linalg.inv(blocks[..., 0, 0])[..., None, None]


def _cut(u: Array, size: int, count: int) -> Array:
    padded = jnp.pad(u, [(0, count * size - u.shape[0]), (0, 0)])
    return jnp.swapaxes(padded.reshape(count, size, u.shape[1]), 0, 1)


def _joined(parts: Array, num_rows: int) -> Array:
    return jnp.swapaxes(parts, 0, 1).reshape(-1, parts.shape[2])[:num_rows]
