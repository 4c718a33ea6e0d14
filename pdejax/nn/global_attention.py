"""Attention between all pairs of points, for grids of few of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.norms import GroupNorm
from pdejax.nn.products import at_least_single, product_precision


class GlobalAttention(eqx.Module):
    r"""`u(x) + O z(x)`, of the softmax attention of every point to all points y, with n = norm(u), for each head:

        z(x) = sum over y of a(x, y) V n(y),    a(x, .) = softmax of q(x) . k(y) / sqrt(d),   q = Q n,   k = K n

    with d channels in a head. Points are told apart by their values alone, so it commutes with every permutation of
    them and with it the network around with translations. Time and memory grow with the square of the points.
    Shapes `(channel, *space) -> (channel, *space)`. Raises `ValueError` for heads that do not divide the channels.
    Source: Vaswani et al., Attention Is All You Need (NeurIPS 2017), section 3.2.
    """

    norm: Any
    projections: ChannelMap
    out: ChannelMap
    heads: int = eqx.field(static=True)

    def __init__(self, channels: int, *, heads: int = 1, norm: Any = None, dtype: Any = jnp.float32, key: PRNGKeyArray):
        if heads < 1 or channels % heads:
            raise ValueError(f"GlobalAttention needs a number of heads that divides {channels} channels, got {heads}.")
        self.heads = heads
        inside, outside = jax.random.split(checked_key(key, "GlobalAttention"))
        self.norm = (GroupNorm() if norm is None else norm).make(channels, dtype=dtype)
        self.projections = ChannelMap(channels, 3 * channels, dtype=dtype, key=inside)
        self.out = ChannelMap(channels, channels, dtype=dtype, key=outside)

    def __call__(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        q, k, v = self.projections(self.norm(u)).reshape(3, self.heads, -1, int(np.prod(u.shape[1:])))
        # A softmax of half precision would be of three digits, over all points.
        q = q.astype(at_least_single(u.dtype)) / q.shape[1] ** 0.5
        shares = jax.nn.softmax(jnp.einsum("hcx,hcy->hxy", q, k, precision=product_precision()), axis=-1)
        z = jnp.einsum("hxy,hcy->hcx", shares, v, precision=product_precision()).astype(u.dtype)
        return u + self.out(z.reshape(u.shape))
