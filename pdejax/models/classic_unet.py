"""The classic U-Net: pairs of convolutions on coarser and coarser grids and back."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import Conditioning, Convolution, ConvolutionPair, GroupNorm, ParameterEmbedding, TransposedConvolution
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
)
from pdejax.nn.interior import interior
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.pairs_of_points import largest_of_pairs

NAME = "ClassicUNet"


class ClassicUNet(eqx.Module):
    r"""The U-Net of pairs of convolutions, in one, two or three dimensions:

        v_0 = B_0 u;   v_l = B_l max(v_(l-1)), l = 1, ..., `num_levels`;   w = v at the last level;
        w <- A_l (v_l, T_l w), l = `num_levels` - 1, ..., 0;   the result = C w

    B and A are pairs of convolutions of three points along each axis with norms and activations, max takes the largest
    of pairs of points along each axis, T are transposed convolutions of two points and a stride of two. Level l has
    `width 2^l` channels.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`, on any
    numbers of points (`pdejax.nn.fitted_space`). It has to know which axes are periodic, by the `domain` of the call or
    by `conditioning`, and commutes with translations by `2^num_levels` points around them where that number divides
    theirs. It is another function at another resolution.

    - `norm`: a kind of `pdejax.nn` behind every convolution, `GroupNorm()` by default.
    - `use_bias`: whether the convolutions of the pairs have one; `last_points`: of C along each axis, 3 or 1.
    - `walls`: what the convolutions see behind walls, "zeros", "edge" or "reflect".
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts behind the second norm of every pair.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number of
    channels or axes, a missing parameter, points at unequal distances, and where nothing says which axes are periodic.
    Source: Ronneberger, Fischer & Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation (MICCAI 2015),
    padded, with as many weights as "Unetbase" of Gupta & Brandstetter (TMLR 2023), and with `use_bias=False` and
    `last_points=1` as their "Unet2015", whose norms are of batches, which ours are not.
    """

    down: tuple[ConvolutionPair, ...]
    finer: tuple[TransposedConvolution, ...]
    up: tuple[ConvolutionPair, ...]
    last: Convolution
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_levels: int = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    use_bias: bool = eqx.field(static=True)
    last_points: int = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        width: int = 64,
        *,
        num_levels: int = 4,
        norm: Any = None,
        activation: Callable = jax.nn.gelu,
        use_bias: bool = True,
        last_points: int = 3,
        walls: Walls = "zeros",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, num_levels=num_levels, last_points=last_points)
        if last_points not in (1, 3):
            raise ValueError(f"{NAME} takes last_points=3 or 1, got {last_points}.")
        check_activation(activation, NAME)
        check_norm(norm, NAME)
        check_walls(walls, NAME)
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_levels, self.norm, self.activation = num_levels, GroupNorm() if norm is None else norm, activation
        self.use_bias, self.last_points, self.walls = use_bias, last_points, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        told, local = self._told, {"walls": walls, "dtype": dtype}
        first_key, last_key, embedding_key, *keys = jax.random.split(checked_key(key, NAME), 3 + num_levels)
        of_levels = [jax.random.split(each, 3) for each in keys]
        steps = list(pairwise(width * 2**level for level in range(num_levels + 1)))
        first = self._pair(in_channels + told.num_channels(ndim), width, first_key)
        below = (self._pair(above, own, k[0]) for (above, own), k in zip(steps, of_levels, strict=True))
        self.down = (first, *below)
        self.finer = tuple(
            TransposedConvolution(own, above, ndim, 2, **local, key=k[1])
            for (above, own), k in zip(steps, of_levels, strict=True)
        )
        self.up = tuple(self._pair(own, above, k[2]) for (above, own), k in zip(steps, of_levels, strict=True))
        self.last = Convolution(width, out_channels, ndim, last_points, **local, key=last_key)
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def _pair(self, inputs: int, outputs: int, key: PRNGKeyArray) -> ConvolutionPair:
        return ConvolutionPair(
            inputs,
            outputs,
            self.ndim,
            norm=self.norm,
            activation=self.activation,
            modulated="behind",
            use_bias=self.use_bias,
            walls=self.walls,
            conditioning=self._told,
            dtype=self.dtype,
            key=key,
        )

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        v, periodic, embedded, leave = interior(
            self, u, parameters, domain, multiple=2**self.num_levels, computing=self.last.weight.dtype
        )
        made = [self.down[0](v, periodic, embedded)]
        for pair in self.down[1:]:
            made.append(pair(largest_of_pairs(made[-1]), periodic, embedded))
        w = made.pop()
        for finer, pair in zip(reversed(self.finer), reversed(self.up), strict=True):
            w = pair(jnp.concatenate([made.pop(), finer.last(w, periodic)], axis=-1), periodic, embedded)
        return leave(self.last.last(w, periodic))

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
