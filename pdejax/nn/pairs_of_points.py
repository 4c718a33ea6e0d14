"""Half as many points along each axis, of features whose channels lie behind the axes of space."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float


def largest_of_pairs(u: Float[Array, "*space channel"]) -> Float[Array, "*coarser channel"]:
    """The largest of the `2^ndim` values of every pair of points along each axis, of each channel by itself."""
    return _of_pairs(jnp.max, u)


def means_of_pairs(u: Float[Array, "*space channel"]) -> Float[Array, "*coarser channel"]:
    """The means of them, which stand in the middle of the pairs."""
    return _of_pairs(jnp.mean, u)


def _of_pairs(reduction: Callable, u: Array) -> Array:
    pairs = u.reshape(*(each for n in u.shape[:-1] for each in (n // 2, 2)), u.shape[-1])
    return reduction(pairs, axis=tuple(range(1, pairs.ndim, 2)))
