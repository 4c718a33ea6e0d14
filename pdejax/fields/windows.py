"""Pieces of arrays along an axis, sums of them, and arrays that vary along an axis alone."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def window(array: Array, axis: int, start: int, count: int) -> Array:
    """`count` entries along `axis`, from `start` on."""
    index = [slice(None)] * array.ndim
    index[axis] = slice(start, start + count)
    return array[tuple(index)]


def combined(weights: np.ndarray, values: Array, axis: int) -> Array:
    """Row by row, the sum of `weights` times the entries of `values` along `axis`."""
    result = jnp.tensordot(jnp.asarray(weights, values.dtype), values, axes=([1], [axis]), precision="highest")
    return jnp.moveaxis(result, 0, axis)


def along(values: Array, axis: int, ndim: int) -> Array:
    """One number per place along `axis`, as it multiplies an array of `ndim` axes."""
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))
