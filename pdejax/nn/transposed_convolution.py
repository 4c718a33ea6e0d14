"""From every point to a few points of a finer grid: the transpose of a convolution with a stride."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.convolved import convolved
from pdejax.nn.drawn import normal
from pdejax.nn.padding import Walls, check_walls, padded


class TransposedConvolution(eqx.Module):
    r"""`stride` times as many points along each axis, in one, two or three dimensions:

        y_o(k) = bias_o + sum over c and j of weight_ocj z_c(k + j - b),    z(stride i) = u(i), zero in between,

    with b = (points + stride - 2) // 2. Shapes `(in_channels, *space) -> (out_channels, *finer)`, exactly
    `stride * n` of n points. Beyond the ends of a periodic axis are the points of its other end, behind walls what
    `walls` says: `convolution(u, periodic)`, one flag per axis. On a periodic axis moving the input by one point
    moves the result by `stride` points.

    Where a result belongs depends on how many `points` see it. With an even `points + stride`, e.g. 4 and 2, they lie
    evenly around the centres of `stride` cells in the place of one; with 3 and 2 evenly around nodes, of which every
    second one is an old one.

    - `points`, `stride`: one number or one per axis.
    - Starts with normal weights of variance 1 over the mean number of terms in the sum, and a bias of zero.

    Raises `ValueError` for sizes below one, `points` below `stride`, which would leave out points, and a seed in place
    of a key.
    """

    weight: Float[Array, "..."]
    bias: Float[Array, " out_channels"] | None
    stride: tuple[int, ...] = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        points: int | Sequence[int] = 4,
        *,
        stride: int | Sequence[int] = 2,
        use_bias: bool = True,
        walls: Walls = "zeros",
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        check_walls(walls, "TransposedConvolution")
        sizes = {"points": points, "stride": stride}
        per_axis = {name: (n,) * ndim if isinstance(n, int) else tuple(n) for name, n in sizes.items()}
        for name, values in per_axis.items():
            if len(values) != ndim or min(values) < 1:
                raise ValueError(f"TransposedConvolution needs {name} >= 1, one number or {ndim}, got {sizes[name]}.")
        self.stride, self.walls = per_axis["stride"], walls
        if any(p < s for p, s in zip(per_axis["points"], self.stride, strict=True)):
            raise ValueError(f"{points} points leave gaps at stride {stride}: use points >= stride.")
        shape = (out_channels, in_channels, *per_axis["points"])
        # As many terms as there are in the sum at a point.
        terms = math.prod(shape[1:]) / math.prod(self.stride)
        self.weight = normal(checked_key(key, "TransposedConvolution"), shape, dtype, terms**0.5)
        self.bias = jnp.zeros(out_channels, dtype) if use_bias else None

    def __call__(
        self, u: Float[Array, "in_channels *space"], periodic: Sequence[bool]
    ) -> Float[Array, "out_channels *finer"]:
        return channels_first(self.last(channels_last(u), periodic))

    def last(
        self, u: Float[Array, "*space in_channels"], periodic: Sequence[bool]
    ) -> Float[Array, "*finer out_channels"]:
        """The same of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
        around, weight = [], self.weight
        for axis, (points, stride) in enumerate(zip(self.weight.shape[2:], self.stride, strict=True)):
            tap, first, last = _phases(points, stride)
            around.append((-first, last))
            # Axes so far: out, in, and of every axis before this one its phases and its taps.
            at = 2 + 2 * axis
            weight = jnp.pad(weight, [(0, int(a == at)) for a in range(weight.ndim)])
            weight = jnp.take(weight, tap.ravel(), axis=at, mode="clip")
            weight = weight.reshape(*weight.shape[:at], *tap.shape, *weight.shape[at + 1 :])
        ndim = len(self.stride)
        phases, taps = range(2, 2 + 2 * ndim, 2), range(3, 3 + 2 * ndim, 2)
        weight = weight.transpose(*phases, 0, 1, *taps).reshape(-1, weight.shape[1], *(weight.shape[a] for a in taps))
        result = convolved(padded(u, around, periodic, self.walls, first=0), weight, [(0, 0)] * ndim)
        # What the phases have made of a point lies side by side: (*space, *stride, channel).
        space = result.shape[:-1]
        result = result.reshape(*space, *self.stride, -1)
        result = result.transpose(*(a for axis in range(ndim) for a in (axis, ndim + axis)), 2 * ndim)
        result = result.reshape(*(n * s for n, s in zip(space, self.stride, strict=True)), -1)
        return result if self.bias is None else result + self.bias


def _phases(points: int, stride: int) -> tuple[np.ndarray, int, int]:
    """Which weight the result k = stride m + r takes of the old point m + o: `(phase r, tap o)`, and the first and the
    last o. `points`, one beyond the last weight, stands for none.

    As one convolution of the old points with all phases as channels: between points that zeros are put between, the
    gradient of the weights takes XLA 25 to 60 times as long on a CPU.
    """
    before = (points + stride - 2) // 2
    first, last = -(before // stride), (points - 1 - before + stride - 1) // stride
    tap = before - np.arange(stride)[:, None] + stride * np.arange(first, last + 1)
    return np.where((tap >= 0) & (tap < points), tap, points), first, last
