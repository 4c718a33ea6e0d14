"""Banded matrices as block-tridiagonal ones, and their LU factors: what a stage between walls is solved with.

    L_k x_(k-1) + D_k x_k + U_k x_(k+1) = r_k    for k = 1 ... K, blocks of one size

Elimination from the first block on leaves the pivots `S_k = D_k - L_k S_(k-1)^-1 U_(k-1)`, and

    z_k = r_k - (L_k S_(k-1)^-1) z_(k-1),    x_k = S_k^-1 z_k - (S_k^-1 U_k) x_(k+1)

so with the three products kept a solve is two runs over the blocks. Pivots are sought inside the blocks alone: of
`1 - h L` with L dissipative the S_k are regular, whatever h. Derivatives go through the elimination itself.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact


class Blocks(eqx.Module):
    """A banded matrix, cut into blocks; rows of zeros fill up the last ones."""

    lower: Inexact[Array, "block size size"]
    diagonal: Inexact[Array, "block size size"]
    upper: Inexact[Array, "block size size"]
    num_rows: int = eqx.field(static=True)

    @classmethod
    def of(cls, bands: Inexact[Array, "points band"], size: int) -> "Blocks":
        """From rows of the band (`pdejax.fields.line.bands`); `size` is at least its half width, or all rows."""
        n, width = bands.shape[0], bands.shape[1] // 2
        assert size >= min(width, n)
        count = -(-n // size)
        rows = jnp.pad(bands, [(0, count * size - n), (0, 0)]).reshape(count, size, 2 * width + 1)
        row, column = np.arange(size)[:, None], np.arange(size)

        def blocks(distance: int) -> Array:
            offset = distance * size + column - row + width
            inside = (offset >= 0) & (offset <= 2 * width)
            return jnp.where(jnp.asarray(inside), rows[:, row, np.clip(offset, 0, 2 * width)], 0)

        return cls(blocks(-1), blocks(0), blocks(1), n)

    def apply(self, u: Inexact[Array, "points *others"]) -> Inexact[Array, "points *others"]:
        """The product with u, whose first axis is that of the matrix."""
        parts = _cut(u, *self.diagonal.shape[:2])
        nothing = jnp.zeros_like(parts[:1])
        total = _times(self.diagonal, parts)
        if len(parts) > 1:
            total = total + _times(self.lower, jnp.concatenate([nothing, parts[:-1]]))
            total = total + _times(self.upper, jnp.concatenate([parts[1:], nothing]))
        return _joined(total, self.num_rows)

    def factors(self, step: Any, shifts: Inexact[Array, " mode"]) -> "Factors":
        """Of `shift - step * matrix`, for each of the shifts."""
        count, size, _ = self.diagonal.shape
        step = jnp.asarray(step, self.diagonal.dtype)
        identity = jnp.eye(size, dtype=self.diagonal.dtype)
        diagonal = shifts[None, :, None, None] * identity - (step * self.diagonal)[:, None]
        dtype = diagonal.dtype
        lower, upper = ((-step * part).astype(dtype) for part in (self.lower, self.upper))
        if count == 1:
            return Factors(jnp.zeros_like(diagonal), jnp.linalg.inv(diagonal), jnp.zeros_like(diagonal), self.num_rows)

        def eliminate(before: Array, blocks: Any) -> tuple[Array, Any]:
            low, here, up = blocks
            forward = _product(low, before)
            inverse = jnp.linalg.inv(here - _product(forward, up))
            return inverse, (forward, inverse)

        # The upper blocks that each elimination meets are those of the row before.
        met = jnp.concatenate([jnp.zeros_like(upper[:1]), upper[:-1]])
        _, (forward, inverse) = jax.lax.scan(eliminate, jnp.zeros_like(diagonal[0]), (lower, diagonal, met))
        return Factors(forward, inverse, _product(inverse, upper[:, None]), self.num_rows)


class Factors(eqx.Module):
    """The products that a solve needs, by block and mode: `L_k S_(k-1)^-1`, `S_k^-1` and `S_k^-1 U_k`."""

    forward: Inexact[Array, "block mode size size"]
    inverse: Inexact[Array, "block mode size size"]
    backward: Inexact[Array, "block mode size size"]
    num_rows: int = eqx.field(static=True)

    def solve(self, r: Inexact[Array, "points mode"]) -> Inexact[Array, "points mode"]:
        """x for each mode's right-hand side."""
        count, _, size, _ = self.inverse.shape
        parts = jnp.swapaxes(_cut(r, count, size), 1, 2)
        if count == 1:
            return _joined(jnp.swapaxes(_acting(self.inverse, parts), 1, 2), self.num_rows)

        def down(before: Array, this: Any) -> tuple[Array, Array]:
            part, forward = this
            z = part - _acting(forward, before)
            return z, z

        def up(after: Array, this: Any) -> tuple[Array, Array]:
            part, backward = this
            x = part - _acting(backward, after)
            return x, x

        nothing = jnp.zeros(parts.shape[1:], jnp.result_type(parts, self.inverse))
        _, z = jax.lax.scan(down, nothing, (parts, self.forward))
        _, x = jax.lax.scan(up, nothing, (_acting(self.inverse, z), self.backward), reverse=True)
        return _joined(jnp.swapaxes(x, 1, 2), self.num_rows)


# Products with full precision: accelerators would round the factors of single precision to half the digits.
def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _acting(matrices: Array, vectors: Array) -> Array:
    return jnp.einsum("...ij,...j->...i", matrices, vectors, precision="highest")


def _times(blocks: Array, parts: Array) -> Array:
    return jnp.einsum("kij,kj...->ki...", blocks, parts, precision="highest")


def _cut(u: Array, count: int, size: int) -> Array:
    padding = [(0, count * size - u.shape[0])] + [(0, 0)] * (u.ndim - 1)
    return jnp.pad(u, padding).reshape(count, size, *u.shape[1:])


def _joined(parts: Array, num_rows: int) -> Array:
    return parts.reshape(-1, *parts.shape[2:])[:num_rows]
