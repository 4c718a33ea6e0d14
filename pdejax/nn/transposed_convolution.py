"""From every point to a few points of a finer grid: the transpose of a convolution with a stride."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channels import behind_space, channels_first, channels_last
from pdejax.nn.drawn import normal
from pdejax.nn.padding import Walls, check_walls, padded
from pdejax.nn.products import product_precision


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
        around, zeros = [], []
        for points, stride in zip(self.weight.shape[2:], self.stride, strict=True):
            before = (points + stride - 2) // 2
            behind = points - 1 - before  # how far the sum of the first of `stride` results looks ahead
            ahead = behind + stride - 1
            # Values of u stand at every `stride`-th place: as many as are seen, and zeros up to the last place seen.
            around.append((before // stride, ahead // stride))
            zeros.append((before % stride, ahead % stride))
        result = jax.lax.conv_general_dilated(
            padded(u, around, periodic, self.walls, first=0)[None],
            self.weight,
            (1,) * len(self.stride),
            zeros,
            lhs_dilation=self.stride,
            dimension_numbers=behind_space(len(self.stride)),
            precision=product_precision(),
        )[0]
        return result if self.bias is None else result + self.bias
