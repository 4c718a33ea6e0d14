"""Where the channels are: in front of the axes of space, as everywhere in pdejax, or behind them.

Inside of networks of convolutions they are behind. That is how XLA computes convolutions on a CPU (see `convolved`);
with the channels in front every one would be turned before and after.
Modules that such networks are made of have a method `last` beside their call.
"""

import jax.numpy as jnp
from jaxtyping import Array, Shaped


def channels_last(u: Shaped[Array, "channel *space"]) -> Shaped[Array, "*space channel"]:
    """The same numbers with the first axis behind the others."""
    return jnp.moveaxis(u, 0, -1)


def channels_first(u: Shaped[Array, "*space channel"]) -> Shaped[Array, "channel *space"]:
    """The same numbers with the last axis in front of the others."""
    return jnp.moveaxis(u, -1, 0)
