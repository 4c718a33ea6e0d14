"""The inverse of a periodic Laplacian in finite differences, whose symbol is a cosine sum, by a Fourier transform."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.fields.stencil_weights import central_weights
from pdejax.grid import Grid


def inverse_laplacian(
    values: Float[Array, "component *space"], grid: Grid, order: int
) -> Float[Array, "component *space"]:
    """The q of mean zero with `Laplacian(q) = values - mean(values)`, in central differences of this order."""
    offsets, weights = central_weights(2, order)
    symbol: Any = 0.0
    for axis, n in enumerate(grid.shape):
        k = np.arange(n // 2 + 1) if axis == grid.ndim - 1 else np.arange(n)
        cosines = np.cos(2 * np.pi * np.outer(k, offsets) / n) @ weights
        shape = (1,) * axis + (-1,) + (1,) * (grid.ndim - axis - 1)
        symbol = symbol + jnp.asarray(cosines.reshape(shape), values.dtype) / grid.spacing[axis] ** 2
    origin = (0,) * grid.ndim
    inverse = (1 / symbol.at[origin].set(1.0)).at[origin].set(0.0)
    axes = tuple(range(-grid.ndim, 0))
    return jnp.fft.irfftn(jnp.fft.rfftn(values, axes=axes) * inverse, s=grid.shape, axes=axes)
