"""What of its input a layer adds to its output: a kind is a value, whose `make` draws the weights of one layer."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.nn.channel_map import ChannelMap


@dataclass(frozen=True)
class LinearShortcut:
    """A matrix of the channels at every point, `ChannelMap`; without bias where `bias` is False."""

    bias: bool = True

    def make(self, channels: int, *, dtype: Any, key: PRNGKeyArray) -> ChannelMap:
        return ChannelMap(channels, channels, use_bias=self.bias, dtype=dtype, key=key)


@dataclass(frozen=True)
class GatedShortcut:
    """One number per channel times the channel, at first 1: `ChannelGate`."""

    def make(self, channels: int, *, dtype: Any, key: PRNGKeyArray) -> "ChannelGate":
        return ChannelGate(channels, dtype=dtype)


@dataclass(frozen=True)
class IdentityShortcut:
    """The input itself."""

    def make(self, channels: int, *, dtype: Any, key: PRNGKeyArray) -> eqx.nn.Identity:
        return eqx.nn.Identity()


class ChannelGate(eqx.Module):
    """`y_c(x) = weight_c u_c(x)`, shapes `(channel, *space) -> (channel, *space)`; starts as the identity."""

    weight: Float[Array, " channel"]

    def __init__(self, channels: int, *, dtype: Any = jnp.float32):
        self.weight = jnp.ones(channels, dtype)

    def __call__(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return self.weight.reshape(-1, *(1,) * (u.ndim - 1)) * u
