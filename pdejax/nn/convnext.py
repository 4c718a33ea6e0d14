"""The block of ConvNeXt: neighbours channel by channel, then the channels of each point."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_mlp import ChannelMLP
from pdejax.nn.convolution import Convolution
from pdejax.nn.layer_norm import LayerNorm
from pdejax.nn.modulation import modulated


class ConvNeXtBlock(eqx.Module):
    """`u + scale_c M(norm(C u))`: C a convolution of each channel by itself with `points` points along each axis, M
    affine, activation, affine, with four times the channels inside, one `scale` per channel.

    Called as `block(u, periodic)`; C is padded around periodic axes and with zeros behind walls. A `modulation` may act
    behind the norm. Shapes `(channel, *space) -> (channel, *space)`.

    The scale starts at 0.1, so that a block is at first close to the identity; in the paper at 1e-6, for networks of
    dozens of them. Raises `ValueError` for a seed in place of a key.
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
        activation: Callable = jax.nn.gelu,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        first, second = jax.random.split(checked_key(key, "ConvNeXtBlock"))
        self.neighbours = Convolution(channels, channels, ndim, points, groups=channels, dtype=dtype, key=first)
        self.norm = LayerNorm(channels, dtype=dtype)
        self.perceptron = ChannelMLP(channels, 4 * channels, channels, activation=activation, dtype=dtype, key=second)
        self.scale = jnp.full(channels, 0.1, dtype)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        periodic: Sequence[bool],
        modulation: Any = None,
        embedding: Float[Array, " embedding"] | None = None,
    ) -> Float[Array, "channel *space"]:
        normal = modulated(modulation, self.norm(self.neighbours(u, periodic)), embedding, tuple(periodic))
        return u + self.scale.reshape(-1, *(1,) * (u.ndim - 1)) * self.perceptron(normal)
