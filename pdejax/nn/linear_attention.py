"""Attention without a softmax, whose cost is that of its points and not of their pairs."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.box_norm import BoxNorm
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.position import along, spread
from pdejax.nn.products import product_precision
from pdejax.nn.quadrature import AxisPoints
from pdejax.nn.rotary import angles, rotated


class LinearAttention(eqx.Module):
    r"""Galerkin attention in one, two or three dimensions, for each of `heads` heads:

        z(x) = q(x) . (mean over y of k(y) v(y)^T),     q = R Q u,   k = R norm(K u),   v = norm(V u)

    and `O z` of all heads together. The norms are `BoxNorm`s, so the columns of k and v are functions of mean square
    one, like the basis of a Petrov-Galerkin projection. The mean over y is a quadrature, too: the same weights give the
    same function on every grid that resolves it. R(x) is the rotation of
    `pdejax.nn.rotary`: pairs of channels are shared out among the axes, and z(x) sees y through x - y. With
    `harmonics=0` it is the identity, and points are told apart by their values alone.

    Called as `attention(u, points)`, with the points of each axis from `pdejax.nn.quadrature`. Shapes
    `(channel, *space) -> (channel, *space)`.

    Q, K and V start as 0.01 (I + G), G normal with variance one over the channels: the rescaled initialisation of the
    paper, there with uniform numbers. Raises `ValueError` for heads that do not divide the channels into an even
    number for each, and for a seed in place of a key.
    Source: Cao, Choose a Transformer: Fourier or Galerkin (NeurIPS 2021), section 3. Two departures: there the norms
    are of the channels of each point, which of a single channel leave its sign alone; and positions are appended to
    the q, k and v of every head in place of the rotation, for which see Li, Meidani & Barati Farimani, Transformer for
    Partial Differential Equations' Operator Learning (TMLR 2023).
    """

    queries: ChannelMap
    keys: ChannelMap
    values: ChannelMap
    key_norm: BoxNorm
    value_norm: BoxNorm
    out: ChannelMap
    heads: int = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)

    def __init__(
        self, channels: int, *, heads: int = 4, harmonics: int = 4, dtype: Any = jnp.float32, key: PRNGKeyArray
    ):
        if heads < 1 or channels % (2 * heads) or harmonics < 0:
            raise ValueError(
                "LinearAttention needs harmonics >= 0 and heads with an even number of channels each, got "
                f"harmonics={harmonics} and {channels} channels for heads={heads}."
            )
        self.heads, self.harmonics = heads, harmonics
        *projections, out_key = jax.random.split(checked_key(key, "LinearAttention"), 4)
        self.queries, self.keys, self.values = (_near_identity(channels, dtype, each) for each in projections)
        self.key_norm, self.value_norm = (BoxNorm(channels, dtype=dtype) for _ in range(2))
        self.out = ChannelMap(channels, channels, dtype=dtype, key=out_key)

    def __call__(
        self, u: Float[Array, "channel *space"], points: Sequence[AxisPoints]
    ) -> Float[Array, "channel *space"]:
        space = u.shape[1:]
        by_head = (self.heads, -1, *space)
        q, k, v = self.queries(u), self.key_norm(self.keys(u), points), self.value_norm(self.values(u), points)
        q, k, v = (each.reshape(by_head) for each in (q, k, v))
        if self.harmonics:
            cos, sin = self._turns(q.shape[1] // 2, space, points, u.dtype)
            q, k = (rotated(each, cos, sin) for each in (q, k))
        for axis, each in enumerate(points):
            v = v * jnp.asarray(along(axis, len(space), each.weights[None]), v.dtype)
        q, k, v = (each.reshape(self.heads, each.shape[1], -1) for each in (q, k, v))
        moments = jnp.einsum("hcn,hdn->hcd", k, v, precision=product_precision())
        z = jnp.einsum("hcd,hcn->hdn", moments, q, precision=product_precision())
        return self.out(z.reshape(u.shape))

    def _turns(
        self, pairs: int, space: tuple[int, ...], points: Sequence[AxisPoints], dtype: Any
    ) -> tuple[Array, Array]:
        """Cosines and sines of the angles, `(pairs, *space)`: the first pairs turn along the first axis, and so on."""
        ndim = len(space)
        counts = [pairs // ndim + (axis < pairs % ndim) for axis in range(ndim)]
        turns = [
            along(axis, ndim, angles(points[axis], count, self.harmonics)) for axis, count in enumerate(counts) if count
        ]
        cos, sin = (jnp.concatenate([spread(of(turn), space, dtype) for turn in turns]) for of in (np.cos, np.sin))
        return cos, sin


def _near_identity(channels: int, dtype: Any, key: PRNGKeyArray) -> ChannelMap:
    drawn = ChannelMap(channels, channels, dtype=dtype, key=key)
    return eqx.tree_at(lambda m: m.weight, drawn, 0.01 * (drawn.weight + jnp.eye(channels, dtype=dtype)))
