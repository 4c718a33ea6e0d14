"""The modern U-Net: residual blocks on coarser and coarser grids and back."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import Conditioning, Convolution, GroupNorm, Modes, ParameterEmbedding, TransposedConvolution
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
    checked_modes,
    checked_sizes,
)
from pdejax.nn.global_attention import GlobalAttention
from pdejax.nn.interior import interior
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.residual_block import ResidualBlock

NAME = "UNet"


class Level(eqx.Module):
    """The blocks of one level on the way down and up, and the maps to the coarser level and back; None on the last."""

    down: tuple[ResidualBlock, ...]
    up: tuple[ResidualBlock, ...]
    coarser: Convolution | None
    finer: TransposedConvolution | None


class UNet(eqx.Module):
    r"""A U-Net of residual blocks, in one, two or three dimensions.

        v = C u;  on every level l: v <- B v, `depth` times, then D_l v on half as many points;
        on the last: v <- B A B v;  and up again: v <- B (v, s), `depth + 1` times, then U_l v on twice as many;
        the result = C a(norm(v))

    B are `pdejax.nn.ResidualBlock`s, D convolutions with three points along each axis and a stride of two, U
    transposed ones with four, s what every step on the way down has made, last made first, and A, with `attention`,
    a `pdejax.nn.GlobalAttention` of the coarsest grid. The level l has `multipliers[l]` times as many channels as the
    one before.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`, on any
    numbers of points (`pdejax.nn.fitted_space`: between walls some are added; around a periodic axis the states are
    interpolated to the next number that the levels divide, and the results back). It has to know which axes are
    periodic, by the `domain` of the call or by `conditioning`, and commutes with translations by `2^(levels - 1)`
    points around them where that number divides theirs. It looks at neighbouring points: it is another function at
    another resolution.

    - `width`: channels behind the first convolution. `multipliers`: one for each level.
    - `fourier_modes`: one entry for each of the first levels, frequencies as of `FNO`: their blocks on the way down are
      Fourier layers (U-FNet).
    - `norm`: a kind of `pdejax.nn`; that of the end has `norm_groups` groups of channels, by default eight, or as many
      of eight as divide the width.
    - `starts_at_zero`: the second convolution of every block and the last one of all are zero at first.
    - `walls`: what the convolutions see behind walls, "edge", "zeros" or "reflect".
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts between the convolutions of every block, behind
      the norm.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number of
    channels or axes, a missing parameter, points at unequal distances, and where nothing says which axes are periodic.
    Source: Gupta & Brandstetter, Towards Multi-spatiotemporal-scale Generalized PDE Modeling (TMLR 2023), section 3
    and their code ("U-Net mod", "U-FNet"), as many weights; its attention normalises over the points that ask and not
    over those that are asked, ours the other way, as in the paper it is from, and behind a norm.
    """

    first: Convolution
    levels: tuple[Level, ...]
    middle: tuple[ResidualBlock, GlobalAttention | None, ResidualBlock]
    norm_at_end: Any
    last: Convolution
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    multipliers: tuple[int, ...] = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    attention: bool = eqx.field(static=True)
    fourier_modes: tuple[Modes, ...] = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    norm_groups: int = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    starts_at_zero: bool = eqx.field(static=True)
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
        multipliers: Sequence[int] = (1, 2, 2, 4),
        depth: int = 2,
        attention: bool = False,
        fourier_modes: Sequence[int | Sequence[int] | Modes] = (),
        norm: Any = None,
        norm_groups: int | None = None,
        activation: Callable = jax.nn.gelu,
        starts_at_zero: bool = False,
        walls: Walls = "zeros",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, depth=depth)
        norm_groups = math.gcd(8, width) if norm_groups is None else norm_groups
        check_sizes(NAME, norm_groups=norm_groups)
        check_activation(activation, NAME)
        check_norm(norm, NAME)
        check_walls(walls, NAME)
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        if not isinstance(attention, bool):
            raise ValueError(f"{NAME} takes attention=True or False, got {attention!r}.")
        self.multipliers, self.depth, self.attention = checked_sizes(NAME, "multipliers", multipliers), depth, attention
        check_sizes(NAME, **{"len(multipliers)": len(self.multipliers)})
        if not isinstance(fourier_modes, Sequence):
            raise ValueError(
                f"UNet takes `fourier_modes`: one entry for each of the first levels, got {fourier_modes!r}."
            )
        if len(fourier_modes) > len(self.multipliers):
            raise ValueError(
                f"UNet has {len(self.multipliers)} levels, but `fourier_modes` has {len(fourier_modes)} entries."
            )
        self.fourier_modes = tuple(checked_modes(m, ndim, f"Level {i} of UNet") for i, m in enumerate(fourier_modes))
        self.norm, self.norm_groups = GroupNorm() if norm is None else norm, norm_groups
        self.activation, self.starts_at_zero, self.walls = activation, starts_at_zero, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        told = self._told
        first_key, last_key, middle_key, embedding_key, *keys = jax.random.split(
            checked_key(key, NAME), 4 + len(self.multipliers)
        )
        local = {"walls": walls, "dtype": dtype}
        self.first = Convolution(in_channels + told.num_channels(ndim), width, ndim, 3, **local, key=first_key)
        channels = [width * math.prod(self.multipliers[:level]) for level in range(len(self.multipliers) + 1)]
        self.levels = tuple(self._level(level, channels, each) for level, each in enumerate(keys))
        before, asked, behind = jax.random.split(middle_key, 3)
        self.middle = (
            self._block(channels[-1], channels[-1], before),
            GlobalAttention(channels[-1], dtype=dtype, key=asked) if attention else None,
            self._block(channels[-1], channels[-1], behind),
        )
        self.norm_at_end = GroupNorm(norm_groups).make(width, dtype=dtype)
        last = Convolution(width, out_channels, ndim, 3, **local, key=last_key)
        self.last = eqx.tree_at(lambda c: c.weight, last, jnp.zeros_like(last.weight)) if starts_at_zero else last
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def _block(self, inputs: int, outputs: int, key: PRNGKeyArray, modes: Modes | None = None) -> ResidualBlock:
        return ResidualBlock(
            inputs,
            outputs,
            self.ndim,
            modes=modes,
            norm=self.norm,
            activation=self.activation,
            starts_as_shortcut=self.starts_at_zero,
            walls=self.walls,
            conditioning=self._told,
            dtype=self.dtype,
            key=key,
        )

    def _level(self, level: int, channels: Sequence[int], key: PRNGKeyArray) -> Level:
        above, own, is_last = channels[level], channels[level + 1], level + 2 == len(channels)
        modes = self.fourier_modes[level] if level < len(self.fourier_modes) else None
        down_key, up_key, coarser_key, finer_key = jax.random.split(key, 4)
        down = jax.random.split(down_key, self.depth)
        up = jax.random.split(up_key, self.depth + 1)
        local = {"walls": self.walls, "dtype": self.dtype}
        # The last block on the way up sees what the level began with: what came from the level above.
        ups = [(2 * own, own)] * self.depth + [(own + above, above)]
        return Level(
            down=tuple(self._block(above if i == 0 else own, own, k, modes) for i, k in enumerate(down)),
            up=tuple(self._block(*each, k) for each, k in zip(ups, up, strict=True)),
            coarser=None if is_last else Convolution(own, own, self.ndim, 3, stride=2, **local, key=coarser_key),
            finer=None if is_last else TransposedConvolution(own, own, self.ndim, **local, key=finer_key),
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
            self, u, parameters, domain, multiple=2 ** (len(self.levels) - 1), computing=self.last.weight.dtype
        )
        v = self._below(self.first.last(v, periodic), 0, periodic, embedded)
        return leave(self.last.last(self.activation(self.norm_at_end.last(v)), periodic))

    def _below(self, v: Array, index: int, periodic: tuple[bool, ...], embedded: Array | None) -> Array:
        """What a level and all below it make of `v`."""
        level, made = self.levels[index], [v]
        for block in level.down:
            v = block(v, periodic, embedded)
            made.append(v)
        if level.coarser is not None and level.finer is not None:
            coarse = self._below(level.coarser.last(v, periodic), index + 1, periodic, embedded)
            v = level.finer.last(coarse, periodic)
        else:
            before, attention, behind = self.middle
            v = before(v, periodic, embedded)
            v = v if attention is None else channels_last(attention(channels_first(v)))
            v = behind(v, periodic, embedded)
        for block in level.up:
            v = block(jnp.concatenate([v, made.pop()], axis=-1), periodic, embedded)
        return v

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
