"""Normalisation of every channel by its own mean and variance over the box."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.nn.quadrature import AxisPoints, standardised


class BoxNorm(eqx.Module):
    """`y_c(x) = weight_c (u_c(x) - mean_c) / sqrt(variance_c + epsilon) + bias_c`, mean and variance over the box.

    Both are quadratures of the grid, so it is the same on every grid that resolves u. Called as `norm(u, points)`, with
    the points of each axis from `pdejax.nn.quadrature`. Shapes `(channel, *space) -> (channel, *space)`.

    Unlike `LayerNorm` it leaves the values at the points in proportion, and of a single channel more than its sign.
    """

    weight: Float[Array, " channel"]
    bias: Float[Array, " channel"]
    epsilon: float = eqx.field(static=True)

    def __init__(self, channels: int, *, epsilon: float = 1e-5, dtype: Any = jnp.float32):
        self.weight, self.bias, self.epsilon = jnp.ones(channels, dtype), jnp.zeros(channels, dtype), epsilon

    def __call__(
        self, u: Float[Array, "channel *space"], points: Sequence[AxisPoints]
    ) -> Float[Array, "channel *space"]:
        each = (-1, *(1,) * (u.ndim - 1))
        return self.weight.reshape(each) * standardised(u, points, self.epsilon) + self.bias.reshape(each)
