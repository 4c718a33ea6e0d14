"""How a layer follows numbers that are the same at every point: a kind is a value, whose `make` draws the weights.

A modulation is called as `modulation(h, embedding, periodic)`: with what the layer made, `(channel, *space)`, the
vector that stands for the numbers, and which axes are periodic (None where only the channels matter).
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.convolution import Convolution
from pdejax.nn.padding import SAY_PERIODIC


@dataclass(frozen=True)
class Addition:
    """`h_c(x) + b_c`, b an affine map of the embedding."""

    def make(self, channels: int, embedding: int, ndim: int, *, dtype: Any, key: PRNGKeyArray) -> "Shift":
        return Shift(channels, embedding, dtype=dtype, key=key)


@dataclass(frozen=True)
class FiLM:
    """`(1 + s_c) h_c(x) + b_c`, s and b affine maps of the embedding.

    Source: Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer (AAAI 2018), section 2.
    """

    def make(self, channels: int, embedding: int, ndim: int, *, dtype: Any, key: PRNGKeyArray) -> "ScaleAndShift":
        return ScaleAndShift(channels, embedding, dtype=dtype, key=key)


@dataclass(frozen=True)
class ChannelAttention:
    """`h(x) + a_1 (C_1 h)(x) + a_2 (C_2 h)(x)`, the a_i one number per channel, affine maps of the embedding.

    C_1 is a matrix of the channels at every point, C_2 a convolution of each channel with `points` points of its own
    along each axis, which can be a difference quotient.

    As in the reference the coefficients of the equation weigh terms as they do in the equation. Two departures: it
    acts in every layer and not once, in front of the network; and its third map, a convolution in Fourier space, is
    left to the layers. Layers that use it have to know which axes are periodic.

    Raises `ValueError` for an even number of points.
    Source: Takamoto, Alesiani & Niepert, Learning Neural PDE Solvers with Parameter-Guided Channel Attention (ICML
    2023), section 4.
    """

    points: int = 3

    def __post_init__(self):
        if self.points < 1 or self.points % 2 == 0:
            raise ValueError(f"ChannelAttention needs an odd number of points, got {self.points}.")

    def make(self, channels: int, embedding: int, ndim: int, *, dtype: Any, key: PRNGKeyArray) -> "WeighedTerms":
        return WeighedTerms(channels, embedding, ndim, self.points, dtype=dtype, key=key)


def is_kind_of_modulation(value: Any) -> bool:
    return isinstance(value, Addition | FiLM | ChannelAttention)


def modulated(
    modulation: Any,
    h: Float[Array, "channel *space"],
    embedding: Float[Array, " embedding"] | None,
    periodic: tuple[bool, ...] | None,
) -> Float[Array, "channel *space"]:
    """What a layer made, after its modulation; as it is where there is none."""
    return h if modulation is None else modulation(h, embedding, periodic)


def modulated_last(
    modulation: Any,
    h: Float[Array, "*space channel"],
    embedding: Float[Array, " embedding"] | None,
    periodic: tuple[bool, ...] | None,
) -> Float[Array, "*space channel"]:
    """`modulated` of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
    if modulation is None:
        return h
    return channels_last(modulation(channels_first(h), embedding, periodic))


class Shift(eqx.Module):
    """The module of `Addition`."""

    shift: ChannelMap

    def __init__(self, channels: int, embedding: int, *, dtype: Any = jnp.float32, key: PRNGKeyArray):
        self.shift = ChannelMap(embedding, channels, dtype=dtype, key=checked_key(key, "Shift"))

    def __call__(self, h: Array, embedding: Array, periodic: tuple[bool, ...] | None = None) -> Array:
        return h + _per_channel(self.shift(embedding), h)


class ScaleAndShift(eqx.Module):
    """The module of `FiLM`; a tenth of the usual size at first, so that layers still see what the layer before made."""

    scale: ChannelMap
    shift: ChannelMap

    def __init__(self, channels: int, embedding: int, *, dtype: Any = jnp.float32, key: PRNGKeyArray):
        keys = jax.random.split(checked_key(key, "ScaleAndShift"))
        maps = [ChannelMap(embedding, channels, dtype=dtype, key=each) for each in keys]
        self.scale, self.shift = (eqx.tree_at(lambda m: m.weight, m, 0.1 * m.weight) for m in maps)

    def __call__(self, h: Array, embedding: Array, periodic: tuple[bool, ...] | None = None) -> Array:
        return (1 + _per_channel(self.scale(embedding), h)) * h + _per_channel(self.shift(embedding), h)


class WeighedTerms(eqx.Module):
    """The module of `ChannelAttention`."""

    weights: tuple[ChannelMap, ChannelMap]
    matrix: ChannelMap
    stencil: Convolution

    def __init__(
        self, channels: int, embedding: int, ndim: int, points: int, *, dtype: Any = jnp.float32, key: PRNGKeyArray
    ):
        keys = jax.random.split(checked_key(key, "WeighedTerms"), 4)
        self.weights = (
            ChannelMap(embedding, channels, dtype=dtype, key=keys[0]),
            ChannelMap(embedding, channels, dtype=dtype, key=keys[1]),
        )
        self.matrix = ChannelMap(channels, channels, use_bias=False, dtype=dtype, key=keys[2])
        self.stencil = Convolution(
            channels, channels, ndim, points, groups=channels, use_bias=False, walls="edge", dtype=dtype, key=keys[3]
        )

    def __call__(self, h: Array, embedding: Array, periodic: tuple[bool, ...] | None) -> Array:
        if periodic is None:
            raise ValueError(f"ChannelAttention looks at neighbouring points and {SAY_PERIODIC}")
        terms = (self.matrix(h), self.stencil(h, periodic))
        return h + sum(
            _per_channel(weigh(embedding), h) * term for weigh, term in zip(self.weights, terms, strict=True)
        )


def _per_channel(values: Float[Array, " channel"], h: Float[Array, "channel *space"]) -> Array:
    return values.reshape(-1, *(1,) * (h.ndim - 1))
