"""A perceptron of one hidden layer in the channels, the same at every point."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap


class ChannelMLP(eqx.Module):
    """`y(x) = out(activation(hidden(u(x))))` at every point x, both maps affine.

    Shapes `(in_channels, *space) -> (out_channels, *space)`, with `width` channels in between. `weight_norm` is that of
    `ChannelMap`, of both.

    Raises `ValueError` for a `width` below 1 and for a seed in place of a key.
    """

    hidden: ChannelMap
    out: ChannelMap
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        activation: Callable = jax.nn.gelu,
        weight_norm: bool = False,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        if width < 1:
            raise ValueError(f"ChannelMLP needs width >= 1, got {width}.")
        hidden_key, out_key = jax.random.split(checked_key(key, "ChannelMLP"))
        self.hidden = ChannelMap(in_channels, width, weight_norm=weight_norm, dtype=dtype, key=hidden_key)
        self.out = ChannelMap(width, out_channels, weight_norm=weight_norm, dtype=dtype, key=out_key)
        self.activation = activation

    def __call__(self, u: Float[Array, "in_channels *space"]) -> Float[Array, "out_channels *space"]:
        return self.out(self.activation(self.hidden(u)))

    def last(self, u: Float[Array, "*space in_channels"]) -> Float[Array, "*space out_channels"]:
        """The same of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
        return self.out.last(self.activation(self.hidden.last(u)))
