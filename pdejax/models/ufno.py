"""The U-FNO: a Fourier neural operator with a U-net in its later layers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import (
    ChannelMap,
    ChannelMLP,
    Conditioning,
    Convolution,
    GroupNorm,
    Modes,
    SpectralConvolution,
    TransposedConvolution,
    padded,
)
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    check_transformable,
    checked_conditioning,
    checked_dtype,
    checked_modes,
    checked_padding,
    checked_state,
    padding_widths,
)
from pdejax.nn.modulation import modulated
from pdejax.nn.padding import Walls, check_walls
from pdejax.nn.parameter_embedding import ParameterEmbedding

_HALVINGS = 3


class UFNO(eqx.Module):
    r"""Fourier layers and then U-Fourier layers, in one, two or three dimensions:

        v = P(u);   v <- a(K v + W v), num_fourier_layers times;   v <- a(K v + W v + U v), num_u_layers times;   Q(v)

    K is a `pdejax.nn.SpectralConvolution`, W a matrix of channels at every point, U a U-net of constant width over
    three halvings of the grid, P affine and Q affine, a, affine. The U-nets see what the kept frequencies do not, e.g.
    fronts.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`. A U-net
    looks at neighbouring points: it is another function at another resolution.

    - `modes`: kept frequencies in the classic convention, one number or one per axis, or a `pdejax.nn.Modes`.
    - `norm`: that of the U-nets.
    - `slope`: of the leaky ReLU inside the U-nets, below zero.
    - `padding`: what part of an axis is added at each of its ends, from the lift to the projection, `round(padding *
      points)` points; one number or one per axis. Periodic axes are left as they are.
    - `walls`: what stands behind walls, there and in the U-nets: "edge", "zeros" or "reflect".
    - `conditioning`: a `pdejax.nn.Conditioning`: what is appended to the input, and numbers that change what every
      K and U makes. Which axes are periodic the model has to know by the `domain` of the call or by `conditioning`.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense; at trace time for a wrong number of channels or axes, an unknown
    kind of axes, points at unequal distances, frequencies that the grid does not resolve, and periodic axes whose
    number of points is no multiple of 8.
    Source: Wen et al., U-FNO - An enhanced Fourier neural operator-based deep-learning model for multiphase flow
    (Advances in Water Resources 2022), section 3. Departures: the U-nets have group norms of one group in the place of
    batch norms, as many weights, and no dropout, periodic axes are treated as such, others are padded at both ends, and
    the spectral weights start centred.
    """

    lift: ChannelMap
    convolutions: tuple[SpectralConvolution, ...]
    shortcuts: tuple[ChannelMap, ...]
    u_nets: tuple["ConstantWidthUNet", ...]
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    modes: Modes = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_fourier_layers: int = eqx.field(static=True)
    num_u_layers: int = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    slope: float = eqx.field(static=True)
    padding: tuple[float, ...] = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        modes: int | Sequence[int] | Modes,
        width: int,
        *,
        num_fourier_layers: int = 3,
        num_u_layers: int = 3,
        projection_width: int = 128,
        norm: Any = None,
        activation: Callable = jax.nn.relu,
        slope: float = 0.1,
        padding: float | int | Sequence[float | int] = 0.0,
        walls: Walls = "edge",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        sizes |= {"num_u_layers": num_u_layers, "projection_width": projection_width}
        check_sizes("UFNO", **sizes)
        check_activation(activation, "UFNO")
        check_norm(norm, "UFNO")
        check_walls(walls, "UFNO")
        if not isinstance(num_fourier_layers, int) or isinstance(num_fourier_layers, bool) or num_fourier_layers < 0:
            raise ValueError(f"UFNO needs num_fourier_layers >= 0, an int of Python, got {num_fourier_layers!r}.")
        if not isinstance(slope, float | int | np.floating) or not np.isfinite(slope):
            raise ValueError(f"UFNO needs as slope a number, got {slope!r}.")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_fourier_layers, self.num_u_layers = num_fourier_layers, num_u_layers
        self.projection_width, self.activation, self.walls = projection_width, activation, walls
        self.slope = float(slope)
        self.modes = checked_modes(modes, ndim, "UFNO")
        self.norm = GroupNorm() if norm is None else norm
        self.padding = checked_padding(padding, ndim, "UFNO")
        self.conditioning = checked_conditioning(conditioning, ndim, "UFNO")
        self.dtype = checked_dtype(dtype, "UFNO")

        told, count = self._told, num_fourier_layers + num_u_layers
        lift_key, projection_key, *keys = jax.random.split(checked_key(key, "UFNO"), 2 + count)
        parts = [jax.random.split(k, 4) for k in keys]
        self.lift = ChannelMap(in_channels + told.num_channels(ndim), width, dtype=dtype, key=lift_key)
        self.convolutions = tuple(
            SpectralConvolution(width, width, self.modes, scale=0.25, dtype=dtype, key=k[0]) for k in parts
        )
        self.shortcuts = tuple(ChannelMap(width, width, dtype=dtype, key=k[1]) for k in parts)
        inside = {"norm": self.norm, "slope": self.slope, "walls": walls, "dtype": dtype}
        self.u_nets = tuple(ConstantWidthUNet(width, ndim, **inside, key=k[2]) for k in parts[num_fourier_layers:])
        self.modulations = tuple(told.make_modulation(width, ndim, dtype=dtype, key=k[3]) for k in parts)
        self.projection = ChannelMLP(
            width, projection_width, out_channels, activation=activation, dtype=dtype, key=projection_key
        )
        self.embedding = told.make_embedding(dtype=dtype, key=jax.random.fold_in(lift_key, 0))

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self._computing, "UFNO")
        check_transformable(domain, "UFNO")
        told, computing, space = self._told, self._computing, u.shape[1:]
        periodic = told.periodic_axes(self.ndim, domain, "UFNO")
        for axis, (points, around) in enumerate(zip(space, periodic, strict=True)):
            if around and points % 2**_HALVINGS:
                # Between every second point and the first one there would be a gap of another size.
                raise ValueError(
                    f"UFNO halves axis {axis} three times, which goes around {points} points: use a multiple of 8."
                )
        widths = padding_widths(self.padding, space, periodic)
        self.modes.check_resolved(tuple(n + 2 * end for n, (end, _) in zip(space, widths, strict=True)), "UFNO")
        appended = told.channels(space, parameters, domain, computing, "UFNO")
        v = self.lift(jnp.concatenate([u.astype(computing), *appended]))
        embedded = told.embedded(self.embedding, parameters, computing, "UFNO")
        v = padded(v, widths, periodic, self.walls)
        for i, (convolution, shortcut) in enumerate(zip(self.convolutions, self.shortcuts, strict=True)):
            h = convolution(v)
            if i >= self.num_fourier_layers:
                h = h + self.u_nets[i - self.num_fourier_layers](v, periodic)
            v = self.activation(modulated(self.modulations[i], h, embedded, periodic) + shortcut(v))
        v = v[:, *(slice(end, end + n) for (end, _), n in zip(widths, space, strict=True))]
        return self.projection(v).astype(u.dtype)

    @property
    def _computing(self) -> np.dtype:
        """That of the weights as they are now: `InPrecision` hands on others than the model was made with."""
        return self.convolutions[0].real.dtype

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


class ConstantWidthUNet(eqx.Module):
    """Three halvings of the grid by convolutions, and back up by transposed ones, with `width` channels everywhere.

    Shapes `(width, *space) -> (width, *space)`. The second and the third level convolve once more at their resolution;
    on the way up what the way down had is appended, at last the input. Between walls any number of points will do: of
    an odd number the coarser level has half of one more, and the way up leaves out the point that is too much.
    """

    down: tuple["NormedConvolution", ...]
    again: tuple["NormedConvolution", ...]
    up: tuple[TransposedConvolution, ...]
    out: Convolution
    slope: float = eqx.field(static=True)

    def __init__(self, width: int, ndim: int, *, norm: Any, slope: float, walls: Walls, dtype: Any, key: PRNGKeyArray):
        self.slope = slope
        keys = iter(jax.random.split(checked_key(key, "ConstantWidthUNet"), 3 * _HALVINGS))
        normed = {"norm": norm, "walls": walls, "dtype": dtype}
        self.down = tuple(NormedConvolution(width, ndim, stride=2, **normed, key=next(keys)) for _ in range(_HALVINGS))
        self.again = tuple(
            NormedConvolution(width, ndim, stride=1, **normed, key=next(keys)) for _ in range(_HALVINGS - 1)
        )
        self.up = tuple(
            TransposedConvolution((1 + (i > 0)) * width, width, ndim, walls=walls, dtype=dtype, key=next(keys))
            for i in range(_HALVINGS)
        )
        self.out = Convolution(2 * width, width, ndim, walls=walls, dtype=dtype, key=next(keys))

    def __call__(self, v: Float[Array, "width *space"], periodic: Sequence[bool]) -> Float[Array, "width *space"]:
        levels = [v]
        for i, down in enumerate(self.down):
            v = self._activated(down(v, periodic))
            if i > 0:
                v = self._activated(self.again[i - 1](v, periodic))
            levels.append(v)
        levels.pop()
        for up in self.up:
            beside = levels.pop()
            v = self._activated(up(v, periodic))
            v = jnp.concatenate([beside, v[:, *(slice(n) for n in beside.shape[1:])]])
        return self.out(v, periodic)

    def _activated(self, v: Array) -> Array:
        return jax.nn.leaky_relu(v, self.slope)


class NormedConvolution(eqx.Module):
    """A convolution with three points along each axis, no bias, and its norm."""

    convolution: Convolution
    norm: Any

    def __init__(self, width: int, ndim: int, *, stride: int, norm: Any, walls: Walls, dtype: Any, key: PRNGKeyArray):
        self.convolution = Convolution(
            width, width, ndim, 3, stride=stride, use_bias=False, walls=walls, dtype=dtype, key=key
        )
        self.norm = norm.make(width, dtype=dtype)

    def __call__(self, v: Array, periodic: Sequence[bool]) -> Array:
        return self.norm(self.convolution(v, periodic))
