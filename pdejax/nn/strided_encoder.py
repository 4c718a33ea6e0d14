"""From states to a few numbers, by convolutions with a stride: the encoder of models that evolve in latent space."""

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
from pdejax.nn.channels import channels_first
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
    checked_sizes,
)
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.convolution import Convolution
from pdejax.nn.interior import interior
from pdejax.nn.modulation import modulated_last
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.parameter_embedding import ParameterEmbedding

NAME = "StridedEncoder"


class StridedEncoder(eqx.Module):
    r"""`stride` times fewer points along each axis with every level, in one, two or three dimensions:

        h_0 = u,   h_l = activation(norm(C_l h_(l-1))),   z = A h_L + b

    C_l is a `pdejax.nn.Convolution` to `widths[l-1]` channels. With the `space` of the states A is a matrix of all that
    there is, and z one vector of the whole state, `(latent,)`; without it A maps the channels at every coarse point,
    and z is a state of the coarse grid, `(latent, *coarse)`. Numbers of points that the levels do not divide are taken
    to the next ones that they do (`pdejax.nn.fitted_space`).

    `encoder(u, parameters=None, *, domain=None, key=None)`, called as models are.

    - `points`, `stride`: of each C, one number for all axes. 4 and 2 lie evenly around pairs of points.
    - `norm`: of each level, a kind of `pdejax.nn`, or None, the default: how large a state is, norms hide from z.
    - `walls`: what stands behind walls; around periodic axes are the points of the other end.
    - `conditioning`: a `pdejax.nn.Conditioning`; a modulation acts behind each norm.
    - `dtype`: of the weights and of the computation.

    Raises `ValueError` for sizes that make no sense; at trace time for other states than it was made for and where
    nothing says which axes are periodic.
    Source: Wu, Maruyama & Leskovec, Learning to Accelerate Partial Differential Equations via Latent Global Evolution
    (NeurIPS 2022); the published code has four levels, `norm=GroupNorm(...)`, and zeros around periodic axes, too.
    """

    convolutions: tuple[Convolution, ...]
    norms: tuple[Any, ...]
    modulations: tuple[Any, ...]
    head: ChannelMap
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
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
        in_channels: int,
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
        check_sizes(NAME, in_channels=in_channels, latent=latent, ndim=ndim, points=points, stride=stride)
        check_activation(activation, NAME)
        check_norm(norm, NAME)
        check_walls(walls, NAME)
        self.in_channels, self.latent, self.ndim = in_channels, latent, ndim
        self.widths, self.space = checked_widths(widths, NAME), checked_space(space, ndim, NAME)
        self.points, self.stride, self.norm, self.activation, self.walls = points, stride, norm, activation, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        told = self._told
        head_key, embedding_key, *keys = jax.random.split(checked_key(key, NAME), 2 + len(self.widths))
        inputs = (in_channels + told.num_channels(ndim), *self.widths[:-1])
        local = {"stride": stride, "walls": walls, "dtype": dtype}
        self.convolutions = tuple(
            Convolution(c, w, ndim, points, **local, key=k) for c, w, k in zip(inputs, self.widths, keys, strict=True)
        )
        self.norms = tuple(None if norm is None else norm.make(w, dtype=dtype) for w in self.widths)
        self.modulations = tuple(
            told.make_modulation(w, ndim, dtype=dtype, key=jax.random.fold_in(k, 0))
            for w, k in zip(self.widths, keys, strict=True)
        )
        read = 1 if self.space is None else math.prod(coarse_space(self.space, stride, len(self.widths)))
        self.head = ChannelMap(self.widths[-1] * read, latent, dtype=dtype, key=head_key)
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "latent *coarse"]:
        multiple = self.stride ** len(self.widths)
        h, periodic, embedded, _ = interior(
            self, u, parameters, domain, multiple=multiple, computing=self.head.weight.dtype
        )
        if self.space not in (None, u.shape[1:]):
            raise ValueError(
                f"This {NAME} makes one vector of a state on {self.space} points, got {u.shape[1:]}: resample the "
                "state, or make it without `space`, for a latent state on a coarser grid."
            )
        for convolution, norm, modulation in zip(self.convolutions, self.norms, self.modulations, strict=True):
            h = convolution.last(h, periodic)
            h = h if norm is None else norm.last(h)
            h = self.activation(modulated_last(modulation, h, embedded, periodic))
        h = channels_first(h)
        z = self.head(h if self.space is None else h.reshape(-1))
        return z.astype(u.dtype if jnp.issubdtype(u.dtype, jnp.inexact) else z.dtype)

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


def checked_widths(widths: Any, what: str) -> tuple[int, ...]:
    """One level or more. Raises `ValueError` for none."""
    found = checked_sizes(what, "widths", widths)
    if not found:
        raise ValueError(f"{what} needs `widths`: one number of channels or more, e.g. (32, 64), got {widths!r}.")
    return found


def checked_space(space: Any, ndim: int, what: str) -> tuple[int, ...] | None:
    """Raises `ValueError` for another number of axes than `ndim`."""
    found = None if space is None else checked_sizes(what, "space", space)
    if found is not None and len(found) != ndim:
        raise ValueError(f"{what} has ndim={ndim} but space={found} has {len(found)} axes.")
    return found


def coarse_space(space: Sequence[int], stride: int, levels: int) -> tuple[int, ...]:
    """How many points are left along each axis after so many levels."""
    return tuple(-(-n // stride**levels) for n in space)
