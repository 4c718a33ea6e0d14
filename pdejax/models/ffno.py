"""The factorised Fourier neural operator."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import ChannelMap, ChannelMLP, Conditioning, ParameterEmbedding
from pdejax.nn.axial_spectral_convolution import AxialSpectralConvolution
from pdejax.nn.checks import (
    check_activation,
    check_sizes,
    check_transformable,
    checked_conditioning,
    checked_dtype,
    checked_sizes,
    checked_state,
)
from pdejax.nn.modulation import modulated


class FFNO(eqx.Module):
    r"""The factorised Fourier neural operator: convolutions along one axis at a time, in a deep residual network.

        v = P(u, ...);    b = B(sum over a of K_a v),   v <- v + b    num_layers times;    Q(b of the last layer)

    K_a convolves along axis a (`AxialSpectralConvolution`), B is affine, activation, affine at every point with
    `factor * width` channels inside, P is affine and Q affine, activation, affine.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`.

    - `modes`: kept frequencies, 0 .. modes - 1, one number or one per axis.
    - `shared`: one K for all layers, which then differ in B alone.
    - `weight_norm`: in all affine maps, as in the reference.
    - `last_only`: what Q reads, the last b as in the reference's code, or, if False, v behind the last layer.
    - `conditioning`: a `pdejax.nn.Conditioning`; a modulation acts on what the convolutions of a layer make.
    - `projection_width`: channels inside Q. `dtype`: of the weights and of the computation.

    Raises `ValueError` for sizes that make no sense; at trace time for a wrong number of channels or axes and
    frequencies that the grid does not resolve.
    Source: Tran et al., Factorized Fourier Neural Operators (ICLR 2023), section 3.
    """

    lift: ChannelMap
    convolutions: tuple[AxialSpectralConvolution, ...]
    blocks: tuple[ChannelMLP, ...]
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    modes: tuple[int, ...] = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    factor: int = eqx.field(static=True)
    shared: bool = eqx.field(static=True)
    weight_norm: bool = eqx.field(static=True)
    last_only: bool = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        modes: int | Sequence[int],
        width: int,
        *,
        num_layers: int = 4,
        factor: int = 4,
        shared: bool = False,
        weight_norm: bool = True,
        last_only: bool = False,
        projection_width: int = 128,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes("FFNO", **sizes, num_layers=num_layers, factor=factor, projection_width=projection_width)
        check_activation(activation, "FFNO")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        several = isinstance(modes, Sequence) and not isinstance(modes, str)
        self.modes = checked_sizes("FFNO", "modes", modes if several else (modes,) * ndim)
        if len(self.modes) != ndim:
            raise ValueError(f"FFNO needs `modes`: one number or {ndim}, one per axis, got {modes}.")
        self.num_layers, self.factor, self.shared, self.weight_norm = num_layers, factor, shared, weight_norm
        self.last_only, self.projection_width, self.activation = last_only, projection_width, activation
        self.conditioning = checked_conditioning(conditioning or Conditioning(), ndim, "FFNO")
        self.dtype = checked_dtype(dtype, "FFNO")
        keys = jax.random.split(checked_key(key, "FFNO"), 3 + num_layers)
        affine = {"weight_norm": weight_norm, "dtype": dtype}
        self.lift = ChannelMap(in_channels + self.conditioning.num_channels(ndim), width, **affine, key=keys[0])
        self.projection = ChannelMLP(
            width, projection_width, out_channels, activation=activation, **affine, key=keys[1]
        )
        self.embedding = self.conditioning.make_embedding(dtype=dtype, key=keys[2])
        each = [jax.random.split(k, 3) for k in keys[3:]]
        self.convolutions = tuple(
            AxialSpectralConvolution(width, width, self.modes, dtype=dtype, key=k)
            for k, *_ in (each[:1] if shared else each)
        )
        self.blocks = tuple(
            ChannelMLP(width, factor * width, width, activation=activation, **affine, key=k) for _, k, _ in each
        )
        self.modulations = tuple(self.conditioning.make_modulation(width, ndim, dtype=dtype, key=k) for _, _, k in each)

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self.dtype, "FFNO")
        check_transformable(domain, "FFNO")
        for axis, (points, count) in enumerate(zip(u.shape[1:], self.modes, strict=True)):
            if 2 * (count - 1) > points:
                raise ValueError(
                    f"FFNO keeps {count} modes along axis {axis}, whose {points} points resolve {points // 2 + 1}: use "
                    "fewer modes, or a finer grid."
                )
        told, dtype = self.conditioning, self.lift.weight.dtype
        v = self.lift(
            jnp.concatenate([u.astype(dtype), *told.channels(u.shape[1:], parameters, domain, dtype, "FFNO")])
        )
        embedded = told.embedded(self.embedding, parameters, dtype, "FFNO")
        periodic = told.periodic_axes_if_told(self.ndim, domain, "FFNO")
        convolutions = self.convolutions * self.num_layers if self.shared else self.convolutions
        b = v
        for convolution, block, modulation in zip(convolutions, self.blocks, self.modulations, strict=True):
            follow = partial(modulated, modulation, embedding=embedded, periodic=periodic)
            b = block(follow(convolution(v)))
            v = v + b
        return self.projection(b if self.last_only else v).astype(u.dtype)
