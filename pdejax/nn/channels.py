"""Where the channels are: in front of the axes of space, as everywhere in pdejax, or behind them.

Inside of networks of convolutions they are behind. That is how XLA computes convolutions on a CPU; with the channels in
front it turns every one of them, features and gradients, and a third of a training step and of its compilation is that.
Modules that such networks are made of have a method `last` beside their call.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


def channels_last(u: Shaped[Array, "channel *space"]) -> Shaped[Array, "*space channel"]:
    """The same numbers with the first axis behind the others."""
    return jnp.moveaxis(u, 0, -1)


def channels_first(u: Shaped[Array, "*space channel"]) -> Shaped[Array, "channel *space"]:
    """The same numbers with the last axis in front of the others."""
    return jnp.moveaxis(u, -1, 0)


def behind_space(ndim: int) -> Any:
    """`dimension_numbers` of a convolution of features (1, *space, channel) with weights (out, in, *points)."""
    space = tuple(range(1, ndim + 1))
    behind = (0, ndim + 1, *space)
    return jax.lax.ConvDimensionNumbers(lhs_spec=behind, rhs_spec=(0, 1, *(a + 1 for a in space)), out_spec=behind)
