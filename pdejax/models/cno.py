"""The convolutional neural operator."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid, check_uniform
from pdejax.keys import checked_key
from pdejax.nn import AntialiasedActivation, Conditioning, Convolution, GroupNorm
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
    checked_state,
)
from pdejax.nn.modulation import modulated
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.parameter_embedding import ParameterEmbedding
from pdejax.nn.resampling import placement_of, resampled, scaled_space


class CNO(eqx.Module):
    r"""A U-net between band-limited functions, in one, two or three dimensions: convolutions of a few points, and
    activations that make no frequency the points do not hold.

    With C a convolution, N a norm, and a -> m the antialiased activation onto the points of level m, whose axes have
    `points / 2^m`, one block is  B_m(v) = (a -> m)(N C v),  and

        v_0 = C B_0(u);   v_(m+1) = B_(m+1)(v_m)  with twice the channels;   s_m = residual(v_m);
        w = s_M;   w <- B_m(w, s_m after B_m(w))  for m = M-1 .. 0;   C B_0(w)

    where residual(v) adds N C B(v) to v so many times over.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`. On a
    periodic box the whole network commutes with all translations, also by parts of a point, but for what is left of
    aliasing. A convolution of a few points is another function on other points: `points` fixes on which.

    - `width`: channels of the finest level; level m has `2^m` times as many.
    - `num_levels`: M, how often the resolution is halved. Any number of points will do.
    - `num_residual`, `num_residual_coarsest`: how many residual blocks are in each s_m, and in that of the coarsest.
    - `points`: on how many points per axis the network computes, one number or one per axis; the state is resampled to
      them and back, so the model gives the same function on every grid that resolves it. None, the default: on those
      of the state.
    - `activation`, `oversampling`: the function a, and on how many times the points: those of
      `pdejax.nn.AntialiasedActivation`. 1 is without antialiasing.
    - `norm`: a kind of `pdejax.nn`; `GroupNorm()` by default.
    - `kernel_points`: how many points a convolution sees along each axis.
    - `walls`: what convolutions see behind walls, "edge", "zeros" or "reflect"; the activations see mirror images.
    - `conditioning`: a `pdejax.nn.Conditioning`: what is appended to the input, and numbers that change what every
      convolution makes, behind its norm. Which axes are periodic the model has to know by the `domain` of the call or
      by `conditioning`.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense; at trace time for a wrong number of channels or axes, an unknown
    kind of axes, points at unequal distances, and levels that would have less than two points.
    Source: Raonic et al., Convolutional Neural Operators for robust and accurate learning of PDEs (NeurIPS 2023),
    sections 2 and 3. Departures: the filters are exact, the norm is not that of a batch, and the activation is smooth:
    of a leaky ReLU three times as much stays aliased.
    """

    lift: "Block"
    lift_out: Convolution
    down: tuple["Block", ...]
    residuals: tuple[tuple["Residual", ...], ...]
    up: tuple["Block", ...]
    merge: tuple["Block", ...]
    project: "Block"
    project_out: Convolution
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_levels: int = eqx.field(static=True)
    num_residual: int = eqx.field(static=True)
    num_residual_coarsest: int = eqx.field(static=True)
    points: tuple[int, ...] | None = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    oversampling: int = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    kernel_points: int = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        width: int,
        *,
        num_levels: int = 3,
        num_residual: int = 1,
        num_residual_coarsest: int = 4,
        points: int | Sequence[int] | None = None,
        activation: Callable = jax.nn.gelu,
        oversampling: int = 2,
        norm: Any = None,
        kernel_points: int = 3,
        walls: Walls = "edge",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        sizes |= {"num_levels": num_levels, "oversampling": oversampling, "kernel_points": kernel_points}
        check_sizes("CNO", **sizes)
        check_activation(activation, "CNO")
        check_norm(norm, "CNO")
        check_walls(walls, "CNO")
        if min(num_residual, num_residual_coarsest) < 0:
            raise ValueError(f"CNO needs numbers of blocks >= 0, got {num_residual} and {num_residual_coarsest}.")
        if kernel_points % 2 == 0:
            raise ValueError(f"CNO needs an odd number of kernel_points, around each point, got {kernel_points}.")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_levels, self.num_residual, self.num_residual_coarsest = num_levels, num_residual, num_residual_coarsest
        per_axis = (points,) * ndim if isinstance(points, int) else points
        if per_axis is not None and (len(per_axis) != ndim or min(per_axis) < 1):
            raise ValueError(f"CNO needs points >= 1, one number or {ndim}, got {points}.")
        self.points = None if per_axis is None else tuple(per_axis)
        self.activation, self.oversampling = activation, oversampling
        self.kernel_points, self.walls = kernel_points, walls
        self.norm = GroupNorm() if norm is None else norm
        self.conditioning = checked_conditioning(conditioning, ndim, "CNO")
        self.dtype = checked_dtype(dtype, "CNO")

        told = self._told
        kinds = _Kinds(ndim, kernel_points, walls, AntialiasedActivation(activation, oversampling), self.norm, told)
        channels = [width * 2**level for level in range(num_levels + 1)]
        blocks = 4 + 3 * num_levels + num_residual * num_levels + num_residual_coarsest
        all_keys = jax.random.split(checked_key(key, "CNO"), blocks + 1)
        keys = iter(all_keys[1:])

        def block(seen: int, made: int) -> Block:
            return Block(kinds, seen, made, dtype=dtype, key=next(keys))

        def convolution(seen: int, made: int) -> Convolution:
            return Convolution(seen, made, ndim, kernel_points, walls=walls, dtype=dtype, key=next(keys))

        self.lift = block(in_channels + told.num_channels(ndim), width)
        self.lift_out = convolution(width, width)
        self.down = tuple(block(c, 2 * c) for c in channels[:-1])
        counts = [num_residual] * num_levels + [num_residual_coarsest]
        self.residuals = tuple(
            tuple(Residual(kinds, c, dtype=dtype, key=next(keys)) for _ in range(count))
            for c, count in zip(channels, counts, strict=True)
        )
        self.up = tuple(block(2 * c, c) for c in channels[:-1])
        self.merge = tuple(block(2 * c, c) for c in channels[:-1])
        self.project = block(width, width)
        self.project_out = convolution(width, out_channels)
        self.embedding = told.make_embedding(dtype=dtype, key=all_keys[0])

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self._computing, "CNO")
        if domain is not None:
            check_uniform(
                domain,
                "CNO",
                "whose activations resample functions by their Fourier series",
                "interpolate the states onto a Grid of nodes or centres",
            )
        told, computing, space = self._told, self._computing, u.shape[1:]
        periodic, placement = told.periodic_axes(self.ndim, domain, "CNO"), placement_of(domain, self.ndim)
        appended = told.channels(space, parameters, domain, computing, "CNO")
        embedded = told.embedded(self.embedding, parameters, computing, "CNO")
        finest = space if self.points is None else self.points
        levels = [
            scaled_space(finest, (0.5**level,) * self.ndim, periodic, placement) for level in range(self.num_levels + 1)
        ]
        if min(levels[-1]) < 2:
            raise ValueError(
                f"CNO halves {finest} points {self.num_levels} times, to {levels[-1]}: use fewer levels or more points."
            )

        def apply(block: Any, v: Array, level: int) -> Array:
            return block(v, levels[level], embedded, periodic, placement)

        v = jnp.concatenate([u.astype(computing), *appended])
        v = v if finest == space else resampled(v, finest, periodic, placement, drop_highest=True)
        v = self.lift_out(apply(self.lift, v, 0), periodic)
        kept = []
        for level in range(self.num_levels + 1):
            v = apply(self.down[level - 1], v, level) if level > 0 else v
            beside = v
            for residual in self.residuals[level]:
                beside = apply(residual, beside, level)
            kept.append(beside)
        v = kept.pop()
        for level in reversed(range(self.num_levels)):
            v = apply(self.up[level], v, level)
            v = apply(self.merge[level], jnp.concatenate([v, kept.pop()]), level)
        v = self.project_out(apply(self.project, v, 0), periodic)
        return resampled(v, space, periodic, placement).astype(u.dtype)

    @property
    def _computing(self) -> np.dtype:
        """That of the weights as they are now: `InPrecision` hands on others than the model was made with."""
        return self.lift_out.weight.dtype

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


class _Kinds(eqx.Module):
    """What all blocks of a network have in common."""

    ndim: int = eqx.field(static=True)
    kernel_points: int = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    activation: AntialiasedActivation = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    conditioning: Conditioning = eqx.field(static=True)


class _NormedConvolution(eqx.Module):
    """A convolution without bias, its norm, and its modulation."""

    convolution: Convolution
    norm: Any
    modulation: Any

    def __init__(self, kinds: _Kinds, seen: int, made: int, *, dtype: Any, key: PRNGKeyArray):
        first, second = jax.random.split(key)
        self.convolution = Convolution(
            seen, made, kinds.ndim, kinds.kernel_points, use_bias=False, walls=kinds.walls, dtype=dtype, key=first
        )
        self.norm = kinds.norm.make(made, dtype=dtype)
        self.modulation = kinds.conditioning.make_modulation(made, kinds.ndim, dtype=dtype, key=second)

    def __call__(self, v: Array, embedded: Array | None, periodic: tuple[bool, ...]) -> Array:
        return modulated(self.modulation, self.norm(self.convolution(v, periodic)), embedded, periodic)


class Block(eqx.Module):
    """A convolution, its norm, and the antialiased activation onto the points asked for."""

    convolution: _NormedConvolution
    activation: AntialiasedActivation = eqx.field(static=True)

    def __init__(self, kinds: _Kinds, seen: int, made: int, *, dtype: Any, key: PRNGKeyArray):
        self.convolution = _NormedConvolution(kinds, seen, made, dtype=dtype, key=key)
        self.activation = kinds.activation

    def __call__(
        self,
        v: Array,
        space: tuple[int, ...],
        embedded: Array | None,
        periodic: tuple[bool, ...],
        placement: tuple[str, ...],
    ) -> Array:
        return self.activation(self.convolution(v, embedded, periodic), periodic, placement, space)


class Residual(eqx.Module):
    """`v + N C B(v)`, on the same points."""

    first: Block
    second: _NormedConvolution

    def __init__(self, kinds: _Kinds, channels: int, *, dtype: Any, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.first = Block(kinds, channels, channels, dtype=dtype, key=keys[0])
        self.second = _NormedConvolution(kinds, channels, channels, dtype=dtype, key=keys[1])

    def __call__(
        self,
        v: Array,
        space: tuple[int, ...],
        embedded: Array | None,
        periodic: tuple[bool, ...],
        placement: tuple[str, ...],
    ) -> Array:
        return v + self.second(self.first(v, space, embedded, periodic, placement), embedded, periodic)
