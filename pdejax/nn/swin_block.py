"""The block of Swin V2."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_mlp import ChannelMLP
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.layer_norm import LayerNorm
from pdejax.nn.modulation import modulated
from pdejax.nn.window_attention import WindowAttention


class SwinBlock(eqx.Module):
    """`v <- u + N_1 A u, w = v + N_2 F v`: A a `WindowAttention`, F affine, activation, affine with `expansion` times
    the channels inside, each N a `LayerNorm` and then the modulation of a `Conditioning`: norms behind what they norm.

    Called as `block(u, periodic, embedding, shifted=...)`. Shapes `(channel, *space) -> (channel, *space)`.

    Source: Liu et al., Swin Transformer V2: Scaling Up Capacity and Resolution (CVPR 2022), section 3.2.
    """

    attention: WindowAttention
    feed_forward: ChannelMLP
    norms: tuple[LayerNorm, LayerNorm]
    modulations: tuple[Any, Any]

    def __init__(
        self,
        channels: int,
        window: Sequence[int],
        *,
        heads: int,
        expansion: int,
        conditioning: Conditioning,
        activation: Callable = jax.nn.gelu,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(checked_key(key, "SwinBlock"), 4)
        inside = {"activation": activation, "dtype": dtype}
        self.attention = WindowAttention(channels, window, heads=heads, dtype=dtype, key=keys[0])
        self.feed_forward = ChannelMLP(channels, expansion * channels, channels, **inside, key=keys[1])
        self.norms = (LayerNorm(channels, dtype=dtype), LayerNorm(channels, dtype=dtype))
        first, second = (conditioning.make_modulation(channels, len(window), dtype=dtype, key=k) for k in keys[2:])
        self.modulations = (first, second)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        periodic: tuple[bool, ...],
        embedding: Float[Array, " embedding"] | None,
        *,
        shifted: bool = False,
    ) -> Float[Array, "channel *space"]:
        attended = self.norms[0](self.attention(u, periodic, shifted=shifted))
        v = u + modulated(self.modulations[0], attended, embedding, periodic)
        return v + modulated(self.modulations[1], self.norms[1](self.feed_forward(v)), embedding, periodic)
