"""Attention along one axis at a time, with a kernel that the means over the other axes make."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.channel_mlp import ChannelMLP
from pdejax.nn.drawn import normal
from pdejax.nn.products import product_precision
from pdejax.nn.quadrature import AxisPoints, mean
from pdejax.nn.rotary import angles, rotated


class AxialKernel(eqx.Module):
    r"""The kernel of one axis, for each head h, from the mean p of a state over all the other axes:

        A_h(x, y) = q_h(x) . k_h(y) / sqrt(rank),     q = R(x) (Q M(p(x)) + b),     k = R(y) (K M(p(y)) + c)

    M is a `ChannelMLP`, R the rotation of `pdejax.nn.rotary`, so the kernel knows x - y and no absolute position:
    around a periodic axis a shifted state has the shifted kernel. Shapes: `(channel, n) -> (head, n, n)`.

    The biases b and c are drawn, not zero: where the means vanish, the kernel is that of a convolution.
    """

    perceptron: ChannelMLP
    queries: ChannelMap
    keys: ChannelMap
    heads: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        heads: int,
        rank: int,
        harmonics: int,
        *,
        activation: Callable = jax.nn.gelu,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        if rank < 2 or rank % 2 or harmonics < 0:
            raise ValueError(
                f"AxialKernel turns pairs of channels: an even rank >= 2 and harmonics >= 0, got {rank}, {harmonics}."
            )
        keys = jax.random.split(checked_key(key, "AxialKernel"), 5)
        self.heads, self.rank, self.harmonics = heads, rank, harmonics
        self.perceptron = ChannelMLP(channels, channels, channels, activation=activation, dtype=dtype, key=keys[0])
        self.queries, self.keys = (
            eqx.tree_at(
                lambda m: m.bias,
                ChannelMap(channels, heads * rank, dtype=dtype, key=of_weight),
                normal(of_bias, (heads * rank,), dtype),
            )
            for of_weight, of_bias in ((keys[1], keys[2]), (keys[3], keys[4]))
        )

    def __call__(self, p: Float[Array, "channel n"], points: AxisPoints) -> Float[Array, "head n n"]:
        made = self.perceptron(p)
        turn = angles(points, self.rank // 2, self.harmonics)
        cos, sin = (jnp.asarray(part, made.dtype) for part in (np.cos(turn), np.sin(turn)))
        q, k = (rotated(each(made).reshape(self.heads, self.rank, -1), cos, sin) for each in (self.queries, self.keys))
        return jnp.einsum("hci,hcj->hij", q, k, precision=product_precision()) / self.rank**0.5


class AxialAttention(eqx.Module):
    r"""Factorised kernel integrals in one, two or three dimensions, all of the same input, side by side:

        w_ahc(x) = mean over y_a of A_ah(x_a, y_a) v_hc(x with y_a in place of x_a)      for each axis a

    A_a is the `AxialKernel` of the axis, v = V u the values, `head_channels` of them for each of `heads` heads; the
    mean is a quadrature, so the same weights give the same function on every grid that resolves it. On N^d points it
    takes `N^(d + 1)` products where attention between all points takes `N^(2 d)`.

    Called as `attention(u, points)`, with the points of each axis from `pdejax.nn.quadrature`. Shapes
    `(channel, *space) -> (ndim * heads * head_channels, *space)`, the axes one after the other.

    Raises `ValueError` for an odd `rank`, `harmonics` below zero and a seed in place of a key.
    Sources: Li, Shu & Barati Farimani, Scalable Transformer for PDE Surrogate Modeling (NeurIPS 2023), for the kernels;
    there the axes act one after the other; in parallel: Yang, Wang & Wang, Implicit factorized transformer approach to
    fast prediction of turbulent channel flows (2024).
    """

    values: ChannelMap
    kernels: tuple[AxialKernel, ...]
    heads: int = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        ndim: int,
        *,
        heads: int,
        head_channels: int,
        rank: int,
        harmonics: int,
        activation: Callable = jax.nn.gelu,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        values_key, *axis_keys = jax.random.split(checked_key(key, "AxialAttention"), 1 + ndim)
        self.heads = heads
        self.values = ChannelMap(channels, heads * head_channels, use_bias=False, dtype=dtype, key=values_key)
        self.kernels = tuple(
            AxialKernel(channels, heads, rank, harmonics, activation=activation, dtype=dtype, key=each)
            for each in axis_keys
        )

    def __call__(self, u: Float[Array, "channel *space"], points: Sequence[AxisPoints]) -> Float[Array, "made *space"]:
        v, space = self.values(u), u.shape[1:]
        made = []
        for axis, kernel in enumerate(self.kernels):
            others = [other for other in range(len(space)) if other != axis]
            a = kernel(mean(u, points, others), points[axis]) * jnp.asarray(points[axis].weights, u.dtype)
            made.append(_along(a, v, axis).reshape(v.shape))
        return jnp.concatenate(made)


def _along(a: Float[Array, "head n n"], v: Float[Array, "channel *space"], axis: int) -> Array:
    """`sum over j of a_hij v_hcj` along a space axis, every channel with the matrix of its head.

    As products of matrices that lie in memory as they are: on a CPU the gradient of one contraction, for which both
    are transposed, takes half as long again.
    """
    heads, n, behind = len(a), v.shape[axis + 1], math.prod(v.shape[axis + 2 :])
    if behind == 1:
        return jnp.matmul(v.reshape(heads, -1, n), jnp.swapaxes(a, 1, 2), precision=product_precision())
    by_head = v.reshape(heads, -1, n, behind)
    each = jnp.broadcast_to(a[:, None], (*by_head.shape[:2], n, n))
    return jnp.matmul(each, by_head, precision=product_precision())
