"""Inverses of many small matrices at a time, by Gauss-Jordan elimination over all of them.

LAPACK as JAX calls it shares a batch out to the threads of the pool that it runs in, and waits there. Two such calls
that run beside each other then take all the threads of a machine with two cores, and wait for ever (seen with jaxlib
0.10.2: the factors of a channel's lines). Elimination is a program like any other, for accelerators too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


@jax.custom_jvp
def inverses(matrices: Inexact[Array, "size size *batch"]) -> Inexact[Array, "size size *batch"]:
    """Of each matrix; rows and columns come first. Pivots are the largest of their column; not finite if singular."""
    size, batch = matrices.shape[0], matrices.shape[2:]
    identity = jnp.eye(size, dtype=matrices.dtype).reshape(size, size, *(1,) * len(batch))
    both = jnp.concatenate([matrices, jnp.broadcast_to(identity, matrices.shape)], axis=1)
    number = jnp.arange(size).reshape(-1, 1, *(1,) * len(batch))

    def eliminated(k, both):
        size_of_pivot = jnp.where(number[:, 0] >= k, jnp.abs(both[:, k]), -1)
        is_pivot = number == jnp.argmax(size_of_pivot, axis=0)
        row = jnp.sum(jnp.where(is_pivot, both, 0), axis=0)
        row = row / row[k]
        both = jnp.where(is_pivot, both[k], both)
        return jnp.where(number == k, row, both - both[:, k][:, None] * row)

    inverse = jax.lax.fori_loop(0, size, eliminated, both)[:, size:]
    # An infinite pivot would leave zeros and no trace.
    return jnp.where(jnp.all(jnp.isfinite(matrices), axis=(0, 1)), inverse, jnp.nan)


@inverses.defjvp
def _(primals, tangents):
    inverse = inverses(*primals)
    return inverse, -products(inverse, products(tangents[0], inverse))


# A sum of products and no dot_general: accelerators would round to half the digits.
def products(
    a: Inexact[Array, "row size *batch"], b: Inexact[Array, "size column *batch"]
) -> Inexact[Array, "row column *batch"]:
    """Of each pair of matrices."""
    return jnp.sum(a[:, :, None] * b[None], axis=1)
