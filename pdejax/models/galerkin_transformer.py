"""The Galerkin transformer."""

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
from pdejax.nn import (
    ChannelMap,
    ChannelMLP,
    Conditioning,
    LinearAttention,
    Modes,
    ParameterEmbedding,
    SpectralConvolution,
)
from pdejax.nn.checks import (
    check_activation,
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
from pdejax.nn.padding import padded
from pdejax.nn.quadrature import points_of

NAME = "GalerkinTransformer"


class GalerkinTransformer(eqx.Module):
    r"""A transformer with Galerkin attention, in one, two or three dimensions:

        v = P(u, coordinates, parameters);   v <- v + A v,  v <- v + F v  num_layers times;   Q(v)

    and with `modes`, in front of Q, the decoder of the paper: v <- activation(K v + W v) `spectral_layers` times,
    without the activation in the last. K convolves in Fourier space, W is a matrix of channels at every point.

    A is a `pdejax.nn.LinearAttention`, without a softmax and with norms on keys and values; F, the feed-forward block,
    is affine, activation, affine, with `feed_forward_width` channels inside. P is affine, Q affine, activation, affine.
    Its cost is that of the points, whatever their number. The same weights give the same function on every grid that
    resolves it; without coordinates it commutes with every translation along periodic axes.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`. It has to
    be told which axes are periodic, by the `domain` of the call or by `Conditioning(periodic=...)`.

    - `width`: channels between P and Q, an even number for each of `heads`.
    - `harmonics`: those of the position up to which pairs of channels of queries and keys are turned, by which a point
      sees how far another is; 0: it does not.
    - `feed_forward_width`: `2 * width` by default, like `projection_width`, of the channels inside Q.
    - `modes`: None, a transformer alone; or the frequencies that K keeps, as of `FNO`, whose kernels are as many as
      there are pairs of channels, where attention has one for each head.
    - `padding`: in front of the layers of K, the part of an axis between walls that is added at each of its ends, as
      zeros, `round(padding * points)` points, and taken off behind them; one number or one per axis.
    - `conditioning`: a `pdejax.nn.Conditioning`. Its coordinates are the positions of the paper, as harmonics of the
      box; its modulation acts on what every A, F and K makes.
    - `dtype`: of the weights and of the computation. Input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number
    of channels or axes, a missing parameter, where nothing says which axes are periodic, and for coordinates on points
    that are not at equal distances.
    Source: Cao, Choose a Transformer: Fourier or Galerkin (NeurIPS 2021), section 3.
    """

    lift: ChannelMap
    attentions: tuple[LinearAttention, ...]
    feed_forwards: tuple[ChannelMLP, ...]
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    modulations: tuple[Any, ...]
    convolutions: tuple[SpectralConvolution, ...]
    shortcuts: tuple[ChannelMap, ...]
    decoder_modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    heads: int = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)
    feed_forward_width: int = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
    modes: Modes | None = eqx.field(static=True)
    spectral_layers: int = eqx.field(static=True)
    padding: tuple[float, ...] = eqx.field(static=True)
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
        num_layers: int = 4,
        heads: int = 4,
        harmonics: int = 4,
        feed_forward_width: int | None = None,
        projection_width: int | None = None,
        modes: int | Sequence[int] | Modes | None = None,
        spectral_layers: int = 2,
        padding: float | int | Sequence[float | int] = 0.0,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, num_layers=num_layers, heads=heads, spectral_layers=spectral_layers)
        check_activation(activation, NAME)
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_layers, self.heads, self.harmonics = num_layers, heads, harmonics
        self.feed_forward_width = 2 * width if feed_forward_width is None else feed_forward_width
        self.projection_width = 2 * width if projection_width is None else projection_width
        if width % (2 * heads):
            raise ValueError(
                f"{NAME} needs an even number of channels for each of its heads={heads}, got width={width}: take a "
                f"multiple of {2 * heads}."
            )
        self.modes = None if modes is None else checked_modes(modes, ndim, NAME)
        self.spectral_layers, self.padding = spectral_layers, checked_padding(padding, ndim, NAME)
        if modes is None and any(self.padding):
            raise ValueError(
                f"{NAME} pads in front of its spectral layers, and without `modes` has none, got padding={padding}: "
                "leave it out, or give `modes`."
            )
        self.activation, self.dtype = activation, checked_dtype(dtype, NAME)
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        lift_key, projection_key, embedding_key, *layer_keys = jax.random.split(checked_key(key, NAME), 3 + num_layers)
        inside = {"activation": activation, "dtype": dtype}
        told = self._told
        self.lift = ChannelMap(in_channels + told.num_channels(ndim), width, dtype=dtype, key=lift_key)
        attention_keys, feed_keys, *modulation_keys = zip(*(jax.random.split(k, 4) for k in layer_keys), strict=True)
        self.attentions = tuple(
            LinearAttention(width, heads=heads, harmonics=harmonics, dtype=dtype, key=k) for k in attention_keys
        )
        self.feed_forwards = tuple(
            ChannelMLP(width, self.feed_forward_width, width, **inside, key=k) for k in feed_keys
        )
        self.projection = ChannelMLP(width, self.projection_width, out_channels, **inside, key=projection_key)
        self.embedding = told.make_embedding(dtype=dtype, key=embedding_key)
        self.modulations = tuple(
            tuple(told.make_modulation(width, ndim, dtype=dtype, key=k) for k in pair)
            for pair in zip(*modulation_keys, strict=True)
        )
        self._make_decoder(jax.random.fold_in(projection_key, 0))

    def _make_decoder(self, key: PRNGKeyArray) -> None:
        modes = self.modes
        if modes is None:
            self.convolutions = self.shortcuts = self.decoder_modulations = ()
            return
        keys = [jax.random.split(each, 3) for each in jax.random.split(key, self.spectral_layers)]
        inside: dict[str, Any] = {"dtype": self.dtype}
        # A quarter of the size that the shortcut keeps, as in FNO.
        self.convolutions = tuple(
            SpectralConvolution(self.width, self.width, modes, scale=0.25, **inside, key=k) for k, *_ in keys
        )
        self.shortcuts = tuple(ChannelMap(self.width, self.width, **inside, key=k) for _, k, _ in keys)
        self.decoder_modulations = tuple(
            self._told.make_modulation(self.width, self.ndim, **inside, key=k) for _, _, k in keys
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
        told, computing = self._told, self.lift.weight.dtype
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, computing, NAME)
        space, periodic = u.shape[1:], told.periodic_axes(self.ndim, domain, NAME)
        channels = told.channels(space, parameters, domain, computing, NAME)
        embedded = told.embedded(self.embedding, parameters, computing, NAME)
        follow = partial(modulated, embedding=embedded, periodic=periodic)
        points = points_of(space, periodic, domain)
        v = self.lift(jnp.concatenate([u.astype(computing), *channels]))
        for attention, feed_forward, (first, second) in zip(
            self.attentions, self.feed_forwards, self.modulations, strict=True
        ):
            v = v + follow(first, attention(v, points))
            v = v + follow(second, feed_forward(v))
        if self.modes is not None:
            check_transformable(domain, NAME)
            v = self._decoded(v, periodic, follow)
        return self.projection(v).astype(u.dtype)

    def _decoded(self, v: Array, periodic: tuple[bool, ...], follow: Callable[..., Array]) -> Array:
        space = v.shape[1:]
        widths = padding_widths(self.padding, space, periodic)
        v = padded(v, widths, periodic, "zeros")
        decoder = zip(self.convolutions, self.shortcuts, self.decoder_modulations, strict=True)
        for number, (convolution, shortcut, modulation) in enumerate(decoder, 1):
            v = follow(modulation, convolution(v)) + shortcut(v)
            v = v if number == self.spectral_layers else self.activation(v)
        return v[:, *(slice(end, end + n) for (end, _), n in zip(widths, space, strict=True))]

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
