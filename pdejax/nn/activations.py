"""Activations that `jax.nn` has no name for: a model file names them."""

import jax
from jaxtyping import Array, Float


def exact_gelu(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`u Phi(u)` with the distribution function Phi of the normal law: torch's `gelu`.

    `jax.nn.gelu` is by default its approximation by a tanh, up to 5e-4 away.
    """
    return jax.nn.gelu(u, approximate=False)
