"""Normalisation inside a layer, by the mean and the variance of the one state at hand: no batch, no running statistics.

A kind is a value, whose `make` gives the module of one layer. Where points are at equal distances, as nodes of periodic
axes and centres are, a mean over them is a quadrature, so a network with these norms is still a map of functions; of
nodes on walls and of stretched points it is none (`pdejax.nn.BoxNorm` is told the points). How large its input is, it
sees no more.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.nn.products import at_least_single


@dataclass(frozen=True)
class InstanceNorm:
    """Every channel by its own mean and variance over the points; `affine` adds a weight and a bias per channel."""

    affine: bool = False
    epsilon: float = 1e-5

    def make(self, channels: int, *, dtype: Any) -> "ChannelNorm":
        return ChannelNorm(channels, channels, self.epsilon, self.affine, dtype=dtype)


@dataclass(frozen=True)
class GroupNorm:
    """Every one of `groups` groups of channels by its mean and variance over its channels and the points.

    Raises `ValueError` where a layer is made whose channels `groups` does not divide.
    Source: Wu & He, Group Normalization (ECCV 2018).
    """

    groups: int = 1
    affine: bool = True
    epsilon: float = 1e-5

    def make(self, channels: int, *, dtype: Any) -> "ChannelNorm":
        if self.groups < 1 or channels % self.groups:
            raise ValueError(f"GroupNorm with groups={self.groups} needs a number of groups that divides {channels}.")
        return ChannelNorm(channels, self.groups, self.epsilon, self.affine, dtype=dtype)


class ChannelNorm(eqx.Module):
    """`y = weight_c (u - mean_g) / sqrt(variance_g + epsilon) + bias_c` of a channel c that belongs to the group g.

    The variance is the mean square of what is left, over all of `channels / groups` channels and all points. Where it
    is no finite number, from states of about 1e19 in single precision, nothing is.
    Shapes `(channel, *space) -> (channel, *space)`.
    """

    weight: Float[Array, " channel"] | None
    bias: Float[Array, " channel"] | None
    groups: int = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def __init__(self, channels: int, groups: int, epsilon: float, affine: bool, *, dtype: Any = jnp.float32):
        self.groups, self.epsilon = groups, epsilon
        self.weight = jnp.ones(channels, dtype) if affine else None
        self.bias = jnp.zeros(channels, dtype) if affine else None

    def __call__(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        grouped = u.reshape(self.groups, -1).astype(at_least_single(u.dtype))
        deviation = grouped - jnp.mean(grouped, axis=1, keepdims=True)
        # Once more, or the rounding of a large mean would be what is divided by its own size.
        deviation = deviation - jnp.mean(deviation, axis=1, keepdims=True)
        variance = jnp.mean(deviation**2, axis=1, keepdims=True)
        # Squares of 1e20 are infinite in single precision, and over their root all is zero: better none than that.
        variance = jnp.where(jnp.isfinite(variance), variance, jnp.nan)
        normal = (deviation * jax.lax.rsqrt(variance + self.epsilon)).reshape(u.shape).astype(u.dtype)
        if self.weight is None or self.bias is None:
            return normal
        each = (-1, *(1,) * (u.ndim - 1))
        return self.weight.reshape(each) * normal + self.bias.reshape(each)
