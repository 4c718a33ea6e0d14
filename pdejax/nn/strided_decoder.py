"""From a few numbers to states, by transposed convolutions: the decoder of models that evolve in latent space."""

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
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.checks import (
    check_activation,
    check_neighbours,
    check_norm,
    check_sizes,
    check_told,
    checked_conditioning,
    checked_dtype,
)
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.fitted_space import fitted_space
from pdejax.nn.modulation import modulated_last
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.parameter_embedding import ParameterEmbedding
from pdejax.nn.resampling import placement_of
from pdejax.nn.strided_encoder import checked_space, checked_widths, coarse_space
from pdejax.nn.transposed_convolution import TransposedConvolution

NAME = "StridedDecoder"


class StridedDecoder(eqx.Module):
    r"""The mirror image of a `StridedEncoder`, made with the same `widths`, `space`, `points` and `stride`:

        h_L = activation(norm(A z + b)),   h_(l-1) = activation(norm(T_l h_l)),   u = T_1 h_1

    T_l is a `pdejax.nn.TransposedConvolution` to `stride` times as many points along each axis. With the `space` of the
    states z is one vector, `(latent,)`, of which A makes all of h_L; without it a state of the coarse grid,
    `(latent, *coarse)`, and the result has the points of the `domain`, or where none is given `stride^L` times as many
    as there are.

    `decoder(z, parameters=None, *, domain=None, key=None) -> (out_channels, *space)`, with the domain of the result.

    - `norm`, `activation`, `walls`, `dtype`: those of `StridedEncoder`.
    - `conditioning`: a `pdejax.nn.Conditioning` of numbers, further channels of z or a modulation behind each norm.

    Raises `ValueError` for sizes that make no sense and a conditioning by fields or coordinates; at trace time for
    another latent state than it was made for and where nothing says which axes are periodic.
    Source: that of `StridedEncoder`.
    """

    head: ChannelMap
    convolutions: tuple[TransposedConvolution, ...]
    norms: tuple[Any, ...]
    modulations: tuple[Any, ...]
    embedding: ParameterEmbedding | None
    out_channels: int = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    space: tuple[int, ...] | None = eqx.field(static=True)
    points: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        out_channels: int,
        latent: int,
        ndim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        *,
        space: Sequence[int] | None = None,
        points: int = 4,
        stride: int = 2,
        norm: Any = None,
        activation: Callable = jax.nn.elu,
        walls: Walls = "zeros",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        check_sizes(NAME, out_channels=out_channels, latent=latent, ndim=ndim, points=points, stride=stride)
        check_activation(activation, NAME)
        check_norm(norm, NAME)
        check_walls(walls, NAME)
        self.out_channels, self.latent, self.ndim = out_channels, latent, ndim
        self.widths, self.space = checked_widths(widths, NAME), checked_space(space, ndim, NAME)
        self.points, self.stride, self.norm, self.activation, self.walls = points, stride, norm, activation, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        check_numbers_alone(self._told, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        told, levels = self._told, len(self.widths)
        head_key, embedding_key, *keys = jax.random.split(checked_key(key, NAME), 2 + levels)
        made = 1 if self.space is None else math.prod(coarse_space(self.space, stride, levels))
        read = latent + told.num_channels(ndim)
        self.head = ChannelMap(read, self.widths[-1] * made, dtype=dtype, key=head_key)
        # From the coarsest level to the finest, as they are called.
        inside = self.widths[::-1]
        local = {"stride": stride, "walls": walls, "dtype": dtype}
        self.convolutions = tuple(
            TransposedConvolution(c, w, ndim, points, **local, key=k)
            for c, w, k in zip(inside, (*inside[1:], out_channels), keys, strict=True)
        )
        self.norms = tuple(None if norm is None else norm.make(w, dtype=dtype) for w in inside)
        self.modulations = tuple(
            told.make_modulation(w, ndim, dtype=dtype, key=jax.random.fold_in(k, 0))
            for w, k in zip(inside, keys, strict=True)
        )
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def __call__(
        self,
        z: Float[Array, "latent *coarse"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        check_told(parameters, domain, NAME)
        check_neighbours(domain, NAME)
        told, computing = self._told, self.head.weight.dtype
        periodic = told.periodic_axes(self.ndim, domain, NAME)
        space = self._checked_space(z, domain)
        coarse = coarse_space(space, self.stride, len(self.widths))
        # What takes a result from the points of the levels to those of the states; the zeros are never computed.
        _, restore = fitted_space(
            jnp.zeros((1, *space), computing),
            self.stride ** len(self.widths),
            periodic,
            placement_of(domain, self.ndim),
        )
        embedded = told.embedded(self.embedding, parameters, computing, NAME)
        numbers = told.channels(z.shape[1:], parameters, None, computing, NAME)
        h = self.head(jnp.concatenate([z.astype(computing), *numbers])).reshape(self.widths[-1], *coarse)
        h = channels_last(h)
        for norm, modulation, convolution in zip(self.norms, self.modulations, self.convolutions, strict=True):
            h = h if norm is None else norm.last(h)
            h = self.activation(modulated_last(modulation, h, embedded, periodic))
            h = convolution.last(h, periodic)
        return restore(channels_first(h)).astype(z.dtype)

    def _checked_space(self, z: Array, domain: Grid | None) -> tuple[int, ...]:
        axes = 0 if self.space is not None else self.ndim
        if z.ndim != axes + 1 or z.shape[0] != self.latent:
            expected = "(latent,)" if self.space is not None else f"(latent, *coarse) of {self.ndim} axes"
            raise ValueError(f"{NAME} takes a latent state {expected}, latent={self.latent}, got shape {z.shape}.")
        coarse, levels = z.shape[1:], len(self.widths)
        if self.space is not None:
            space = self.space
        else:
            space = tuple(n * self.stride**levels for n in coarse) if domain is None else domain.shape
        if domain is not None and domain.shape != space:
            raise ValueError(f"This {NAME} makes states on {space} points but the domain has shape {domain.shape}.")
        if self.space is None and coarse != coarse_space(space, self.stride, levels):
            raise ValueError(
                f"A state on {space} points has a latent one on {coarse_space(space, self.stride, levels)}, got "
                f"{coarse}: give {NAME} the widths, the stride and the domain of the encoder."
            )
        return space

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


def check_numbers_alone(told: Conditioning, ndim: int, what: str) -> None:
    """Raises `ValueError` for fields and coordinates, which have no points in a latent state."""
    if told.fields or told.coordinates not in (0, (0,) * ndim):
        raise ValueError(
            f"{what} reads a latent state, which has no points for fields={told.fields} and "
            f"coordinates={told.coordinates}: give these to the encoder, and numbers alone here."
        )
