"""The block of ConvNeXt: neighbours channel by channel, then the channels of each point."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_mlp import ChannelMLP
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.convolution import Convolution
from pdejax.nn.layer_norm import LayerNorm
from pdejax.nn.modulation import modulated_last
from pdejax.nn.padding import Walls


class ConvNeXtBlock(eqx.Module):
    """`u + scale_c M(norm(C u))`: C a convolution of each channel by itself with `points` points along each axis, M
    affine, activation, affine, with four times the channels inside, one `scale` per channel.

    Called as `block(u, periodic)`; behind walls C sees what `walls` says. A `modulation` may act behind the norm.
    Shapes `(channel, *space) -> (channel, *space)`.

    `scale`: what the scales start with, 0.1, so that a block is at first close to the identity; in the paper 1e-6, for
    networks of dozens of them. Raises `ValueError` for a seed in place of a key.
    Source: Liu et al., A ConvNet for the 2020s (CVPR 2022), section 2.
    """

    neighbours: Convolution
    norm: LayerNorm
    perceptron: ChannelMLP
    scale: Float[Array, " channel"]

    def __init__(
        self,
        channels: int,
        ndim: int,
        *,
        points: int = 7,
        scale: float = 0.1,
        activation: Callable = jax.nn.gelu,
        walls: Walls = "zeros",
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        first, second = jax.random.split(checked_key(key, "ConvNeXtBlock"))
        local = {"groups": channels, "walls": walls, "dtype": dtype}
        self.neighbours = Convolution(channels, channels, ndim, points, **local, key=first)
        self.norm = LayerNorm(channels, dtype=dtype)
        self.perceptron = ChannelMLP(channels, 4 * channels, channels, activation=activation, dtype=dtype, key=second)
        self.scale = jnp.full(channels, scale, dtype)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        periodic: Sequence[bool],
        modulation: Any = None,
        embedding: Float[Array, " embedding"] | None = None,
    ) -> Float[Array, "channel *space"]:
        return channels_first(self.last(channels_last(u), periodic, modulation, embedding))

    def last(
        self,
        u: Float[Array, "*space channel"],
        periodic: Sequence[bool],
        modulation: Any = None,
        embedding: Float[Array, " embedding"] | None = None,
    ) -> Float[Array, "*space channel"]:
        """The same of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
        normal = self.norm.last(self.neighbours.last(u, periodic))
        return u + self.scale * self.perceptron.last(modulated_last(modulation, normal, embedding, tuple(periodic)))
