"""A U-net of shifted-window attention."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid, check_uniform
from pdejax.keys import checked_key
from pdejax.nn import (
    ChannelMap,
    Conditioning,
    ConvNeXtBlock,
    Convolution,
    LayerNorm,
    ParameterEmbedding,
    SwinBlock,
    padded,
)
from pdejax.nn.checks import check_activation, check_sizes, checked_conditioning, checked_dtype, checked_state
from pdejax.nn.patches import patched, unpatched

NAME = "SwinUNet"


class Level(eqx.Module):
    """The weights of one level: its blocks on the way down and up, the skip between them, and the maps to the level
    below and back; None or empty on the last one, which has blocks alone."""

    down: tuple[SwinBlock, ...]
    skip: tuple[tuple[ConvNeXtBlock, Any], ...]
    merge: tuple[ChannelMap, LayerNorm] | None
    expand: tuple[ChannelMap, LayerNorm] | None
    up: tuple[SwinBlock, ...]


class SwinUNet(eqx.Module):
    r"""A U-net whose levels are made of Swin V2 blocks (scOT), in one, two or three dimensions:

        v_0 = E u on patches;   v_(l+1) = norm(M blocks(v_l)) on patches of 2 points along each axis
        w_l = blocks(norm(X w_(l+1)) + skip(blocks(v_l)));   the result = C (R w_0)

    E and R are affine maps between a patch of the state and `width` channels, M and X matrices between levels, which
    have `2^l width` channels; a level has `depth` `pdejax.nn.SwinBlock`s down and up, every second one with shifted
    windows, and a skip of `skip_blocks` `pdejax.nn.ConvNeXtBlock`s. C is a convolution with 5 points along each axis
    that smooths the edges of the patches.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`. It has to
    be told which axes are periodic, by the `domain` of the call or by `Conditioning(periodic=...)`. It commutes with
    translations by `patch 2^(num_levels - 1) window` points around periodic axes, and sees points, not positions: at
    another resolution it is another function.

    - `patch`, `window`: points of a patch, and patches of a window, one number or one per axis.
    - `heads`: of the first level; the number doubles with the channels. `expansion`: of the channels in a block.
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts behind the norms of all blocks, so `FiLM()` of
      the `lead_time` is the time-conditioned norm of Poseidon.
    - `dtype`: of the weights and of the computation. Input of another precision is cast on entry and on return.

    Sizes fit that the patches of the last level divide, where at every level an axis is within one window or a
    multiple of it. Between walls others are padded at both ends with copies of the last point up to the next size that
    fits, and the result is cut out; around a periodic axis nothing can be put in between, and such sizes are refused.

    Departures from Poseidon: no norm follows E, which would take from every patch how large it is; the level at the
    bottom has blocks once; the position bias is computed by fewer channels.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number
    of channels or axes, a missing parameter, points that are not at equal distances, where nothing says which axes
    are periodic, and for periodic axes of other sizes, naming those that fit.
    Sources: Herde et al., Poseidon: Efficient Foundation Models for PDEs (NeurIPS 2024), section 2; Liu et al., Swin
    Transformer V2: Scaling Up Capacity and Resolution (CVPR 2022).
    """

    embed: ChannelMap
    levels: tuple[Level, ...]
    recover: ChannelMap
    mix: Convolution
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    patch: tuple[int, ...] = eqx.field(static=True)
    window: tuple[int, ...] = eqx.field(static=True)
    num_levels: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    skip_blocks: int = eqx.field(static=True)
    heads: int = eqx.field(static=True)
    expansion: int = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        width: int,
        *,
        patch: int | Sequence[int] = 4,
        window: int | Sequence[int] = 4,
        num_levels: int = 3,
        depth: int = 2,
        skip_blocks: int = 1,
        heads: int = 2,
        expansion: int = 4,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width, "depth": depth}
        check_sizes(NAME, **sizes, num_levels=num_levels, heads=heads, expansion=expansion)
        check_activation(activation, NAME)
        if width % heads:
            raise ValueError(f"SwinUNet needs heads that divide its width of {width}, got {heads}.")
        if skip_blocks < 0:
            raise ValueError(f"SwinUNet needs skip_blocks >= 0, got {skip_blocks}.")
        self.patch, self.window = _per_axis("patch", patch, ndim), _per_axis("window", window, ndim)
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_levels, self.depth, self.skip_blocks = num_levels, depth, skip_blocks
        self.heads, self.expansion, self.activation = heads, expansion, activation
        self.dtype = checked_dtype(dtype, NAME)
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        first, last, mixing, embedding_key, *level_keys = jax.random.split(checked_key(key, NAME), 4 + num_levels)
        told, points = self._told, int(np.prod(self.patch))
        self.embed = ChannelMap((in_channels + told.num_channels(ndim)) * points, width, dtype=dtype, key=first)
        self.levels = tuple(self._level(index, each) for index, each in enumerate(level_keys))
        # Each block adds a part of size one: at first a tenth of what comes out, and close to what is on the patches.
        recover = ChannelMap(width, out_channels * points, dtype=dtype, key=last)
        self.recover = eqx.tree_at(lambda m: m.weight, recover, 0.1 * recover.weight)
        mix = Convolution(out_channels, out_channels, ndim, 5, use_bias=False, walls="edge", dtype=dtype, key=mixing)
        centre = (slice(None), slice(None), *(2,) * ndim)
        identity = jnp.zeros_like(mix.weight).at[centre].set(jnp.eye(out_channels, dtype=dtype))
        self.mix = eqx.tree_at(lambda m: m.weight, mix, 0.1 * mix.weight + identity)
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def _level(self, index: int, key: PRNGKeyArray) -> Level:
        channels, told, dtype = 2**index * self.width, self._told, self.dtype
        down, up, skips, merging, expanding = jax.random.split(key, 5)
        inside = {"activation": self.activation, "dtype": dtype}
        block = {"heads": 2**index * self.heads, "expansion": self.expansion, "conditioning": told, **inside}

        def blocks(of: PRNGKeyArray) -> tuple[SwinBlock, ...]:
            return tuple(SwinBlock(channels, self.window, **block, key=k) for k in jax.random.split(of, self.depth))

        if index == self.num_levels - 1:
            return Level(blocks(down), (), None, None, ())

        def skip(of: PRNGKeyArray) -> tuple[ConvNeXtBlock, Any]:
            of_block, of_modulation = jax.random.split(of)
            modulation = told.make_modulation(channels, self.ndim, dtype=dtype, key=of_modulation)
            return ConvNeXtBlock(channels, self.ndim, **inside, key=of_block), modulation

        def matrix(inputs: int, outputs: int, of: PRNGKeyArray) -> ChannelMap:
            return ChannelMap(inputs, outputs, use_bias=False, dtype=dtype, key=of)

        ends = 2**self.ndim * channels
        return Level(
            down=blocks(down),
            skip=tuple(skip(k) for k in jax.random.split(skips, self.skip_blocks)),
            merge=(matrix(ends, 2 * channels, merging), LayerNorm(2 * channels, dtype=dtype)),
            expand=(matrix(2 * channels, ends, expanding), LayerNorm(channels, dtype=dtype)),
            up=blocks(up),
        )

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        # `InPrecision` hands on other weights than the model was made with.
        told, computing = self._told, self.recover.weight.dtype
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, computing, NAME)
        if domain is not None:
            check_uniform(
                domain, NAME, "whose windows count points", "interpolate the states onto a Grid of nodes or centres"
            )
        space, periodic = u.shape[1:], told.periodic_axes(self.ndim, domain, NAME)
        ends = self._ends(space, periodic)
        channels = told.channels(space, parameters, domain, computing, NAME)
        embedded = told.embedded(self.embedding, parameters, computing, NAME)
        v = padded(jnp.concatenate([u.astype(computing), *channels]), ends, periodic, "edge")
        w = self._below(self.embed(patched(v, self.patch)), 0, periodic, embedded)
        w = self.mix(unpatched(self.recover(w), self.patch), periodic)
        return w[:, *(slice(before, before + n) for (before, _), n in zip(ends, space, strict=True))].astype(u.dtype)

    def _below(self, v: Array, index: int, periodic: tuple[bool, ...], embedded: Array | None) -> Array:
        """What a level and all below it make of `v`."""
        level, twos = self.levels[index], (2,) * self.ndim
        for number, block in enumerate(level.down):
            v = block(v, periodic, embedded, shifted=number % 2 == 1)
        if level.merge is None or level.expand is None:
            return v
        (merge, coarse_norm), (expand, fine_norm) = level.merge, level.expand
        w = self._below(coarse_norm(merge(patched(v, twos))), index + 1, periodic, embedded)
        for block, modulation in level.skip:
            v = block(v, periodic, modulation, embedded)
        v = v + fine_norm(unpatched(expand(w), twos))
        for number, block in enumerate(level.up):
            v = block(v, periodic, embedded, shifted=number % 2 == 1)
        return v

    def fits(self, points: int, axis: int) -> bool:
        """Whether an axis of so many points is cut into patches and windows at every level without a rest."""
        patches, window = points // self.patch[axis], self.window[axis]
        if points < 1 or points % (self.patch[axis] * 2 ** (self.num_levels - 1)):
            return False
        return all(n <= window or n % window == 0 for n in (patches // 2**level for level in range(self.num_levels)))

    def _ends(self, space: tuple[int, ...], periodic: tuple[bool, ...]) -> list[tuple[int, int]]:
        """How many points are put before and behind each axis."""
        ends = []
        for axis, (n, around) in enumerate(zip(space, periodic, strict=True)):
            # Multiples of the patches of the last level and its windows fit always.
            unit = self.patch[axis] * 2 ** (self.num_levels - 1)
            above = next(m for m in range(n, n + unit * self.window[axis] + 1) if self.fits(m, axis))
            if around and above != n:
                below = next((m for m in range(n, 0, -1) if self.fits(m, axis)), None)
                near = f"{above}" if below is None else f"{below} and {above}"
                raise ValueError(
                    f"SwinUNet cuts axes into patches of {self.patch[axis]} points and windows of {self.window[axis]} "
                    f"patches on {self.num_levels} levels: {n} points along axis {axis} do not fit, and a periodic "
                    f"axis cannot be padded. The nearest sizes that fit are {near}: pdejax.resample, or choose others."
                )
            ends.append(((above - n) // 2, above - n - (above - n) // 2))
        return ends

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


def _per_axis(name: str, value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    values = (value,) * ndim if isinstance(value, int) else tuple(value)
    if len(values) != ndim or min(values) < 1:
        raise ValueError(f"SwinUNet needs {name} >= 1, one number or {ndim}, got {value}.")
    return values
