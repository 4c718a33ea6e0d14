"""The U-Net of ConvNeXt blocks: wide convolutions of each channel by itself on coarser and coarser grids and back."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import (
    ChannelMap,
    Conditioning,
    ConvNeXtBlock,
    Convolution,
    LayerNorm,
    ParameterEmbedding,
    TransposedConvolution,
)
from pdejax.nn.checks import check_activation, check_sizes, checked_conditioning, checked_dtype
from pdejax.nn.interior import interior
from pdejax.nn.padding import Walls, check_walls

NAME = "ConvNeXtUNet"
Skips = Literal["concatenated", "added"]
# Blocks in a row, each with its modulation or None.
Row = tuple[tuple[ConvNeXtBlock, Any], ...]


class Level(eqx.Module):
    """The blocks of one level on the way down and up, and the maps to the coarser level, from what is skipped, and to
    the finer level; None where there are none."""

    down: Row
    coarser: tuple[LayerNorm, Convolution] | None
    join: ChannelMap | None
    up: Row
    finer: tuple[LayerNorm, TransposedConvolution] | None


class ConvNeXtUNet(eqx.Module):
    r"""A U-Net of `pdejax.nn.ConvNeXtBlock`s, in one, two or three dimensions:

        v_0 = C u;   v_(l+1) = D_l norm(B v_l), l = 0, ..., L - 1;   w = F_L norm(B B v_L)
        w <- F_l norm(B M_l (w, v_l)), l = L - 1, ..., 1;   the result = E w

    with L = `num_levels`. Every B is a row of `depth` blocks, the first one of the coarsest level of `coarsest_depth`;
    C and E are convolutions of three points along each axis, D of two points and a stride of two, F the transposes of
    such, and M matrices of the channels at every point. The norms are of the channels of each point. Level l has
    `2^l width` channels.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`, on any
    numbers of points (`pdejax.nn.fitted_space`). It has to know which axes are periodic, by the `domain` of the call or
    by `conditioning`, and commutes with translations by `2^num_levels` points around them where that number divides
    theirs. It is another function at another resolution.

    - `points`: that a block sees along each axis.
    - `skips`: "concatenated" as above, or "added", w + v_l in the place of M_l (w, v_l).
    - `finest_skip`: whether there is an M_0 and blocks behind it, too: E (B M_0 (w, v_0)). In the published network
      what is on the finest grid comes through the coarser one only.
    - `scale`: what the blocks, and the modulations in them, begin with; so near to 0 all blocks are at first the
      identity.
    - `walls`: what the convolutions see behind walls, "zeros", "edge" or "reflect".
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts behind the norm of every block.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number of
    channels or axes, a missing parameter, points at unequal distances, and where nothing says which axes are periodic.
    Source: Ohana et al., The Well: a Large-Scale Collection of Diverse Physics Simulations for Machine Learning
    (NeurIPS 2024, datasets and benchmarks), the "CNextU-Net" of its benchmark with its sizes, as many weights as their
    code. That pads periodic axes with zeros, and divides by the length of the vector of channels in front of D and F,
    where these norms are as in Liu et al., A ConvNet for the 2020s (CVPR 2022).
    """

    first: Convolution
    levels: tuple[Level, ...]
    last: Convolution
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_levels: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    coarsest_depth: int = eqx.field(static=True)
    points: int = eqx.field(static=True)
    skips: Skips = eqx.field(static=True)
    finest_skip: bool = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        width: int = 42,
        *,
        num_levels: int = 4,
        depth: int = 2,
        coarsest_depth: int = 1,
        points: int = 7,
        skips: Skips = "concatenated",
        finest_skip: bool = False,
        scale: float | int = 1e-6,
        activation: Callable = jax.nn.gelu,
        walls: Walls = "zeros",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, num_levels=num_levels, depth=depth, coarsest_depth=coarsest_depth, points=points)
        check_activation(activation, NAME)
        check_walls(walls, NAME)
        if skips not in get_args(Skips):
            raise ValueError(f'ConvNeXtUNet takes skips="concatenated" or "added", got {skips!r}.')
        if not abs(scale) < np.inf:
            raise ValueError(f"ConvNeXtUNet needs a finite `scale`, e.g. 1e-6, got {scale}.")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_levels, self.depth, self.coarsest_depth, self.points = num_levels, depth, coarsest_depth, points
        self.skips, self.finest_skip, self.scale = skips, finest_skip, float(scale)
        self.activation, self.walls = activation, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        told, local = self._told, {"walls": walls, "dtype": dtype}
        first_key, last_key, embedding_key, *keys = jax.random.split(checked_key(key, NAME), 4 + num_levels)
        self.first = Convolution(in_channels + told.num_channels(ndim), width, ndim, 3, **local, key=first_key)
        self.levels = tuple(self._level(level, each) for level, each in enumerate(keys))
        self.last = Convolution(width, out_channels, ndim, 3, **local, key=last_key)
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def _level(self, level: int, key: PRNGKeyArray) -> Level:
        channels, is_last, rises = 2**level * self.width, level == self.num_levels, level > 0 or self.finest_skip
        down_key, coarser_key, join_key, up_key, finer_key = jax.random.split(key, 5)
        sampled = {"walls": self.walls, "dtype": self.dtype}
        coarser = join = finer = None
        if not is_last:
            convolution = Convolution(channels, 2 * channels, self.ndim, 2, stride=2, **sampled, key=coarser_key)
            coarser = LayerNorm(channels, dtype=self.dtype), convolution
            if rises and self.skips == "concatenated":
                join = ChannelMap(2 * channels, channels, dtype=self.dtype, key=join_key)
        if level > 0:
            convolution = TransposedConvolution(channels, channels // 2, self.ndim, 2, **sampled, key=finer_key)
            finer = LayerNorm(channels, dtype=self.dtype), convolution
        return Level(
            down=self._row(channels, self.coarsest_depth if is_last else self.depth, down_key),
            coarser=coarser,
            join=join,
            up=self._row(channels, self.depth, up_key) if rises else (),
            finer=finer,
        )

    def _row(self, channels: int, depth: int, key: PRNGKeyArray) -> Row:
        options = {"points": self.points, "scale": self.scale, "activation": self.activation, "walls": self.walls}

        def one(of: PRNGKeyArray) -> tuple[ConvNeXtBlock, Any]:
            of_block, of_modulation = jax.random.split(of)
            modulation = self._told.make_modulation(channels, self.ndim, dtype=self.dtype, key=of_modulation)
            return ConvNeXtBlock(channels, self.ndim, **options, dtype=self.dtype, key=of_block), modulation

        return tuple(map(one, jax.random.split(key, depth)))

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
        v = self._below(self.first.last(v, periodic), 0, periodic, embedded)
        return leave(self.last.last(v, periodic))

    def _below(self, v: Array, index: int, periodic: tuple[bool, ...], embedded: Array | None) -> Array:
        """What a level and all below it make of `v`, on the points of the level above."""
        level = self.levels[index]
        w = _along(level.down, v, periodic, embedded)
        if level.coarser is not None:
            norm, convolution = level.coarser
            w = self._below(convolution.last(norm.last(w), periodic), index + 1, periodic, embedded)
            if level.join is not None:
                w = level.join.last(jnp.concatenate([w, v], axis=-1))
            elif level.up:
                w = w + v
        w = _along(level.up, w, periodic, embedded)
        if level.finer is not None:
            norm, convolution = level.finer
            w = convolution.last(norm.last(w), periodic)
        return w

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


def _along(row: Row, v: Array, periodic: tuple[bool, ...], embedded: Array | None) -> Array:
    for block, modulation in row:
        v = block.last(v, periodic, modulation, embedded)
    return v
