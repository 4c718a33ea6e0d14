"""Normalisation inside a layer, by the mean and the variance of the one state at hand: no batch, no running statistics.

A kind is a value, whose `make` gives the module of one layer. Where points are at equal distances, as nodes of periodic
axes and centres are, a mean over them is a quadrature, so a network with these norms is still a map of functions; of
nodes on walls and of stretched points it is none (`pdejax.nn.BoxNorm` is told the points). How large its input is, it
sees no more.
"""

from dataclasses import dataclass
from functools import partial
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
        weight, bias, computing = *self._affine(len(u), u.dtype), at_least_single(u.dtype)
        each = (self.groups, -1, *(1,) * (u.ndim - 1))
        grouped = u.reshape(self.groups, -1, *u.shape[1:]).astype(computing)
        axes = (1, tuple(range(2, u.ndim + 1)))
        made = _normal(grouped, weight.reshape(each), bias.reshape(each), self.epsilon, axes)
        return made.reshape(u.shape).astype(u.dtype)

    def last(self, u: Float[Array, "*space channel"]) -> Float[Array, "*space channel"]:
        """The same of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
        weight, bias, computing = *self._affine(u.shape[-1], u.dtype), at_least_single(u.dtype)
        grouped = u.reshape(*u.shape[:-1], self.groups, -1).astype(computing)
        axes = (u.ndim, tuple(range(u.ndim - 1)))
        each = grouped.shape[-2:]
        made = _normal(grouped, weight.reshape(each), bias.reshape(each), self.epsilon, axes)
        return made.reshape(u.shape).astype(u.dtype)

    def _affine(self, channels: int, dtype: Any) -> tuple[Array, Array]:
        computing = at_least_single(dtype)
        weight = jnp.ones(channels, computing) if self.weight is None else self.weight.astype(computing)
        return weight, jnp.zeros(channels, computing) if self.bias is None else self.bias.astype(computing)


# The axis of the channels of a group, and those of space.
Axes = tuple[int, tuple[int, ...]]


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _normal(u: Array, weight: Array, bias: Array, epsilon: float, axes: Axes) -> Array:
    deviation, rescaling = _moments(u, epsilon, axes)
    return deviation * (weight * rescaling) + bias


@_normal.defjvp
def _tangent_of_normal(
    epsilon: float, axes: Axes, primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    # By hand, for what differentiation alone would make of `_moments` takes twice as long, to compile and to run. In
    # this order the gradient has two sums over the points, of t and of t y for every channel.
    (u, weight, bias), (du, dweight, dbias) = primals, tangents
    deviation, rescaling = _moments(u, epsilon, axes)
    y, scale = deviation * rescaling, weight * rescaling
    by_channel = (jnp.mean(each, axis=axes[1], keepdims=True) for each in (du, y * du))
    common, along = (jnp.mean(each, axis=axes[0], keepdims=True) for each in by_channel)
    value = deviation * scale + bias
    return value, scale * du + y * (dweight - scale * along) + (dbias - scale * common)


def _moments(u: Array, epsilon: float, axes: Axes) -> tuple[Array, Array]:
    """`u - mean` and `1 / sqrt(variance + epsilon)` of the groups of u."""

    def mean(v: Array) -> Array:
        return jnp.mean(v, axis=(axes[0], *axes[1]), keepdims=True)

    deviation = u - mean(u)
    # Once more, or the rounding of a large mean would be what is divided by its own size.
    rest = mean(deviation)
    variance = jnp.maximum(mean(deviation**2) - rest**2, 0)
    # Squares of 1e20 are infinite in single precision, and over their root all is zero: better none than that.
    variance = jnp.where(jnp.isfinite(variance), variance, jnp.nan)
    return deviation - rest, jax.lax.rsqrt(variance + epsilon)
