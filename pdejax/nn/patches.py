"""A coarser grid with more channels, and back: nothing is computed, values change places."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float, Shaped


def patched(u: Shaped[Array, "channel *space"], sizes: Sequence[int]) -> Shaped[Array, "patched *coarser"]:
    """The `sizes[a]` points along each axis a of a patch as channels: `(c, *space) -> (c * patch points, *space /
    sizes)`, the points of a channel one after the other."""
    coarse, ndim = [n // size for n, size in zip(u.shape[1:], sizes, strict=True)], len(sizes)
    pairs = [extent for pair in zip(coarse, sizes, strict=True) for extent in pair]
    order = (0, *range(2, 2 * ndim + 1, 2), *range(1, 2 * ndim, 2))
    return u.reshape(u.shape[0], *pairs).transpose(order).reshape(-1, *coarse)


def unpatched(u: Float[Array, "patched *coarser"], sizes: Sequence[int]) -> Float[Array, "channel *space"]:
    """The inverse of `patched`."""
    coarse, ndim = u.shape[1:], len(sizes)
    channels = u.shape[0] // int(np.prod(sizes))
    order = (0, *(place for axis in range(ndim) for place in (1 + ndim + axis, 1 + axis)))
    fine = [n * size for n, size in zip(coarse, sizes, strict=True)]
    return u.reshape(channels, *sizes, *coarse).transpose(order).reshape(channels, *fine)
