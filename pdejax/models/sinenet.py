"""SineNet: several small U-Nets in a row, each of which has only a part of the way to go."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import ChannelMap, Conditioning, Convolution, ConvolutionPair, GroupNorm, ParameterEmbedding
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
)
from pdejax.nn.interior import interior
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.pairs_of_points import means_of_pairs
from pdejax.nn.resampling import resampled

NAME = "SineNet"


class Step(eqx.Module):
    """From one level to the next: blocks in a row, and a matrix of channels beside all of them."""

    blocks: tuple[ConvolutionPair, ...]
    shortcut: ChannelMap

    def __call__(self, u: Array, beside: Array | None, periodic: tuple[bool, ...], embedded: Array | None) -> Array:
        h = u if beside is None else jnp.concatenate([beside, u], axis=-1)
        for block in self.blocks:
            h = block(h, periodic, embedded)
        return h + self.shortcut.last(u)


class Wave(eqx.Module):
    """One U-Net, with a step down and a step up for every level."""

    down: tuple[Step, ...]
    up: tuple[Step, ...]


class SineNet(eqx.Module):
    r"""Waves W_k, each a U-Net, between two convolutions S and C, in one, two or three dimensions:

        v = S u;   v <- v + W_k v for k = 1, ..., `num_waves`;   the result = C v

    A wave goes down and up `num_levels` levels. Going down it takes means of pairs of points along each axis and then
    convolves; going up it interpolates to twice as many points, by the cubic kernel of Keys, and convolves that
    together with what was on this level before. Beside each step there is a matrix of channels. What is carried over to
    the finest level is the wave's input itself: nothing is convolved there before it was on the coarse ones. The more
    waves, the less has to move between the two sides of one of them, so that what skips across fits what comes up.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`, on any
    numbers of points (`pdejax.nn.fitted_space`). It has to know which axes are periodic, by the `domain` of the call or
    by `conditioning`; convolutions and interpolation go around these, and the model commutes with translations by
    `2^num_levels` points where that number divides theirs. It is another function at another resolution.

    - `width`: channels on the finest level; level l has `int(width * multiplier^l)`. With `width=64` and `multiplier`
      1.8075, 1.611, 1.5 and 1.425 the published networks of 2, 4, 6 and 8 waves have about as many weights each.
    - `disentangled`: whether levels below the first are given means of the wave's input, too. Without it ("tangled")
      what a level needs of the input has to come through the levels above.
    - `num_blocks`: of two convolutions each, in every step.
    - `norm`: a kind of `pdejax.nn` behind every convolution of a block, `GroupNorm()` by default.
    - `walls`: what the convolutions see behind walls, "zeros", "edge" or "reflect".
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts between the convolutions of every block.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number of
    channels or axes, a missing parameter, points at unequal distances, and where nothing says which axes are periodic.
    Source: Zhang et al., SineNet: Learning Temporal Dynamics in Time-Dependent Partial Differential Equations
    (ICLR 2024), section 3, and their code, as many weights. Their cubic kernel has the slope -3/4 in place of -1/2.
    """

    first: Convolution
    waves: tuple[Wave, ...]
    last: Convolution
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_waves: int = eqx.field(static=True)
    multiplier: float = eqx.field(static=True)
    num_levels: int = eqx.field(static=True)
    num_blocks: int = eqx.field(static=True)
    disentangled: bool = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
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
        num_waves: int = 8,
        multiplier: float | int = 1.425,
        num_levels: int = 4,
        num_blocks: int = 1,
        disentangled: bool = True,
        norm: Any = None,
        activation: Callable = jax.nn.gelu,
        walls: Walls = "zeros",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, num_waves=num_waves, num_levels=num_levels, num_blocks=num_blocks)
        check_activation(activation, NAME)
        check_norm(norm, NAME)
        check_walls(walls, NAME)
        if not 1 <= width * multiplier**num_levels < np.inf or not multiplier > 0:
            raise ValueError(f"SineNet needs a `multiplier` that leaves channels on every level, got {multiplier}.")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_waves, self.multiplier, self.num_levels = num_waves, float(multiplier), num_levels
        self.num_blocks, self.disentangled = num_blocks, disentangled
        self.norm, self.activation, self.walls = GroupNorm() if norm is None else norm, activation, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        told, local = self._told, {"walls": walls, "dtype": dtype}
        first_key, last_key, embedding_key, *keys = jax.random.split(checked_key(key, NAME), 3 + num_waves)
        self.first = Convolution(in_channels + told.num_channels(ndim), width, ndim, 3, **local, key=first_key)
        self.waves = tuple(map(self._wave, keys))
        self.last = Convolution(width, out_channels, ndim, 3, **local, key=last_key)
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def _wave(self, key: PRNGKeyArray) -> Wave:
        channels = [int(self.width * self.multiplier**level) for level in range(self.num_levels + 1)]
        down_keys, up_keys = (jax.random.split(each, self.num_levels) for each in jax.random.split(key))
        beside = [0] + [self.width if self.disentangled else 0] * (self.num_levels - 1)
        pairs = list(itertools.pairwise(channels))
        return Wave(
            down=tuple(
                self._step(above, more, below, k)
                for (above, below), more, k in zip(pairs, beside, down_keys, strict=True)
            ),
            up=tuple(
                self._step(below, above, above, k) for (above, below), k in zip(reversed(pairs), up_keys, strict=True)
            ),
        )

    def _step(self, inputs: int, beside: int, outputs: int, key: PRNGKeyArray) -> Step:
        of_shortcut, *keys = jax.random.split(key, 1 + self.num_blocks)
        sources = [inputs + beside] + [outputs] * (self.num_blocks - 1)
        return Step(
            blocks=tuple(self._block(source, outputs, k) for source, k in zip(sources, keys, strict=True)),
            shortcut=ChannelMap(inputs, outputs, dtype=self.dtype, key=of_shortcut),
        )

    def _block(self, inputs: int, outputs: int, key: PRNGKeyArray) -> ConvolutionPair:
        return ConvolutionPair(
            inputs,
            outputs,
            self.ndim,
            norm=self.norm,
            activation=self.activation,
            modulated="between",
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
        v = self.first.last(v, periodic)
        for wave in self.waves:
            v = v + self._waved(wave, v, periodic, embedded)
        return leave(self.last.last(v, periodic))

    def _waved(self, wave: Wave, v: Array, periodic: tuple[bool, ...], embedded: Array | None) -> Array:
        across, means = [], v
        for level, step in enumerate(wave.down):
            across.append(v)
            means = means_of_pairs(means)
            v = step(means_of_pairs(v), means if self.disentangled and level else None, periodic, embedded)
        for step in wave.up:
            beside = across.pop()
            # The mean of a pair stands in its middle, as the centre of a cell twice as wide.
            finer = resampled(channels_first(v), beside.shape[:-1], periodic, ("centres",) * self.ndim, "bicubic")
            v = step(channels_last(finer), beside, periodic, embedded)
        return v

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
