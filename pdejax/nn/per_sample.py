"""Weights that all samples share, taken once for each of them: it decides how a batched product is computed."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


def per_sample(weight: Float[Array, "*shape"], u: Shaped[Array, "channel *space"]) -> Float[Array, "*shape"]:
    """`weight` itself; under `jax.vmap` over `u` alone, one copy of it for each sample.

    The product of one matrix with a batch of fields, `vmap(lambda u: weight @ u)`, is one product with the samples
    among its columns: on a CPU both the fields and the result are then transposed in memory, which takes longer than
    the product. With a matrix for each sample it is a batch of products in place, and the gradient of the weights a
    batch of products and a sum: two to five times as fast on a CPU. The numbers are the same but for rounding.
    """
    # An empty sum is zero whatever the field holds, has no gradient, and is folded away by the compiler. What is left
    # is that the weights, too, have an axis of samples.
    return weight + jnp.sum(u[:0]).astype(weight.dtype)
