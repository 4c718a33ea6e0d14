"""Attention inside windows, which may be shifted: Swin V2."""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.channel_mlp import ChannelMLP
from pdejax.nn.patches import patched, unpatched
from pdejax.nn.products import at_least_single, product_precision

# Channels inside the perceptron of the position bias. The paper has 512, for windows of 8 to 24 points.
BIAS_WIDTH = 64


class WindowAttention(eqx.Module):
    r"""Attention of each point to those of its window, in one, two or three dimensions, for each of `heads` heads h:

        z(x) = sum over y of softmax_y( s_h cos(q(x), k(y)) + 16 sigmoid(B_h(x - y)) ) v(y)

    and an affine map of all heads together. cos is the cosine of the angle between two vectors (but those shorter
    than about 1e-6 count for less), s_h a learned scale, at first 10 and never more than 100. B is a perceptron of one
    hidden layer with ReLU, of the distances d along each axis in points, as
    sign(d) log2(1 + 8 |d| / (window - 1)) / 3: the same one whatever the size of the grid.
    Called as `attention(u, periodic, shifted=...)`. Shapes `(channel, *space) -> (channel, *space)`.

    Windows begin at the first point of each axis; where `shifted`, half a window further. The last window then has
    points of both ends: around a periodic axis these are neighbours, and it is a window like others; between walls its
    two parts do not see each other. Where an axis has no more points than `window`, it is one window, not shifted.

    Raises `ValueError` for heads that do not divide the channels, a window below one, and a seed in place of a key; at
    trace time where the points of an axis are neither within one window nor a multiple of it.
    Source: Liu et al., Swin Transformer V2: Scaling Up Capacity and Resolution (CVPR 2022), section 3.
    """

    queries: ChannelMap
    keys: ChannelMap
    values: ChannelMap
    out: ChannelMap
    scale: Float[Array, " head"]
    bias: ChannelMLP
    heads: int = eqx.field(static=True)
    window: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, channels: int, window: Sequence[int], *, heads: int, dtype: Any = jnp.float32, key: PRNGKeyArray
    ):
        if heads < 1 or channels % heads or min(window) < 1:
            raise ValueError(
                f"WindowAttention needs windows of a point or more and heads that divide {channels} channels, got "
                f"window={tuple(window)} and heads={heads}."
            )
        keys = jax.random.split(checked_key(key, "WindowAttention"), 5)
        self.heads, self.window = heads, tuple(window)
        self.queries, self.values, self.out = (ChannelMap(channels, channels, dtype=dtype, key=k) for k in keys[:3])
        # A bias of the keys would be the same for all of them.
        self.keys = ChannelMap(channels, channels, use_bias=False, dtype=dtype, key=keys[3])
        self.scale = jnp.full(heads, np.log(10.0), dtype)
        self.bias = ChannelMLP(len(self.window), BIAS_WIDTH, heads, activation=jax.nn.relu, dtype=dtype, key=keys[4])

    def __call__(
        self, u: Float[Array, "channel *space"], periodic: Sequence[bool], *, shifted: bool = False
    ) -> Float[Array, "channel *space"]:
        space = u.shape[1:]
        window = tuple(min(w, n) for w, n in zip(self.window, space, strict=True))
        if any(n % w for w, n in zip(window, space, strict=True)):
            raise ValueError(f"WindowAttention with window={self.window} does not fit {space} points.")
        shift = [w // 2 if shifted and w < n else 0 for w, n in zip(window, space, strict=True)]
        axes = tuple(range(1, u.ndim))
        v = jnp.roll(u, [-s for s in shift], axes) if any(shift) else u
        q, k, v = (self._windows(each(v), window) for each in (self.queries, self.keys, self.values))
        precise = at_least_single(u.dtype)
        q, k = (_unit(each.astype(precise)) for each in (q, k))
        scale = jnp.exp(jnp.minimum(self.scale.astype(precise), np.log(100.0)))
        q = q * scale[:, None, None, None]
        weights = jnp.einsum("hcxw,hcyw->hwxy", q, k, precision=product_precision())
        weights = weights + self._position_bias(window).astype(precise)[:, None]
        seen = _seen(space, window, tuple(shift), tuple(periodic))
        if seen is not None:
            weights = jnp.where(jnp.asarray(seen), weights, -jnp.inf)
        weights = jax.nn.softmax(weights, axis=-1).astype(u.dtype)
        z = jnp.einsum("hwxy,hcyw->hcxw", weights, v, precision=product_precision())
        coarse = [n // w for w, n in zip(window, space, strict=True)]
        z = self.out(unpatched(z.reshape(-1, *coarse), window))
        return jnp.roll(z, shift, axes) if any(shift) else z

    def _windows(self, u: Array, window: tuple[int, ...]) -> Float[Array, "head channel point window"]:
        points = int(np.prod(window))
        return patched(u, window).reshape(self.heads, -1, points, int(np.prod(u.shape[1:])) // points)

    def _position_bias(self, window: tuple[int, ...]) -> Float[Array, "head point point"]:
        """Computed once for every distance and then handed out to the pairs of points."""
        distances, which = _distances(window, self.window)
        bias = self.bias(jnp.asarray(distances, self.bias.hidden.weight.dtype))
        return 16 * jax.nn.sigmoid(bias)[:, which]


def _unit(u: Array) -> Array:
    return u * jax.lax.rsqrt(jnp.maximum(jnp.sum(u**2, axis=1, keepdims=True), 1e-12))


@functools.lru_cache(maxsize=64)
def _distances(window: tuple[int, ...], full: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Every distance inside `window`, `(axis, distance)`, on the logarithmic scale of `full`; and for each pair of
    points, `(point, point)`, which of them it is."""
    places = np.stack(np.meshgrid(*(np.arange(w) for w in window), indexing="ij")).reshape(len(window), -1)
    apart = [2 * w - 1 for w in window]
    offsets = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in apart), indexing="ij")).reshape(len(window), -1)
    largest = np.maximum(np.asarray(full) - 1, 1)[:, None]
    scaled = np.sign(offsets) * np.log2(1 + 8 * np.abs(offsets) / largest) / np.log2(8)
    between = places[:, :, None] - places[:, None, :] + (np.asarray(window) - 1)[:, None, None]
    return scaled, np.asarray(np.ravel_multi_index(tuple(between), apart))


def _seen(
    space: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...], periodic: tuple[bool, ...]
) -> np.ndarray | None:
    """Which points see which, `(window, point, point)`; None where all do."""
    labels = np.zeros((1, *space), int)
    for axis, (n, s, around) in enumerate(zip(space, shift, periodic, strict=True)):
        if s and not around:
            behind = np.arange(n) + s >= n
            labels = 2 * labels + behind.reshape(-1, *(1,) * (len(space) - 1 - axis))
    if not labels.any():
        return None
    count = int(np.prod(window))
    with jax.ensure_compile_time_eval():
        parts = np.asarray(patched(jnp.asarray(labels), window)).reshape(count, -1).T
    return parts[:, :, None] == parts[:, None, :]
