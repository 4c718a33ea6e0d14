"""Normalisation of the channels of each point by their own mean and variance."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.nn.products import at_least_single


class LayerNorm(eqx.Module):
    """`y_c(x) = weight_c (u_c(x) - mean_g(x)) / sqrt(variance_g(x) + epsilon) + bias_c`, mean and variance over the
    `channels / groups` channels of the group g that c belongs to, at each point x by itself.

    It looks at no other point, so it is the same on every grid. Shapes `(channel, *space) -> (channel, *space)`.

    Raises `ValueError` for groups that do not divide the channels.
    Source: Ba, Kiros & Hinton, Layer Normalization (2016).
    """

    weight: Float[Array, " channel"]
    bias: Float[Array, " channel"]
    groups: int = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def __init__(self, channels: int, groups: int = 1, *, epsilon: float = 1e-5, dtype: Any = jnp.float32):
        if groups < 1 or channels % groups:
            raise ValueError(f"LayerNorm needs groups that divide {channels} channels, got {groups}.")
        self.groups, self.epsilon = groups, epsilon
        self.weight, self.bias = jnp.ones(channels, dtype), jnp.zeros(channels, dtype)

    def __call__(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        normal = self._normal(u.reshape(self.groups, -1, *u.shape[1:]), 1).reshape(u.shape)
        each = (-1, *(1,) * (u.ndim - 1))
        return self.weight.reshape(each) * normal + self.bias.reshape(each)

    def last(self, u: Float[Array, "*space channel"]) -> Float[Array, "*space channel"]:
        """The same of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
        normal = self._normal(u.reshape(*u.shape[:-1], self.groups, -1), -1).reshape(u.shape)
        return self.weight * normal + self.bias

    def _normal(self, grouped: Array, axis: int) -> Array:
        computed = grouped.astype(at_least_single(grouped.dtype))
        deviation = computed - jnp.mean(computed, axis=axis, keepdims=True)
        # Once more, or the rounding of a large mean would be what is divided by its own size.
        deviation = deviation - jnp.mean(deviation, axis=axis, keepdims=True)
        variance = jnp.mean(deviation**2, axis=axis, keepdims=True)
        # As in `ChannelNorm`: over an infinite root all would be zero.
        variance = jnp.where(jnp.isfinite(variance), variance, jnp.nan)
        return (deviation * jax.lax.rsqrt(variance + self.epsilon)).astype(grouped.dtype)
