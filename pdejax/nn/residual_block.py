"""Two convolutions behind norms and activations, beside a shortcut."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.convolution import Convolution
from pdejax.nn.modes import Modes
from pdejax.nn.modulation import modulated_last
from pdejax.nn.padding import Walls
from pdejax.nn.spectral_convolution import SpectralConvolution


class ResidualBlock(eqx.Module):
    r"""`S u + C_2 a(modulation(norm_2(C_1 a(norm_1(u)))))`, in one, two or three dimensions.

    C_1 and C_2 are convolutions with `points` along each axis, S the identity, or a matrix where the number of channels
    changes. With `modes` they are Fourier layers in their place: a `pdejax.nn.SpectralConvolution` and a convolution
    with one point, added.

    Called as `block(u, periodic, embedded)`. Shapes `(*space, in_channels) -> (*space, out_channels)`: it is a part of
    networks that have their channels behind (`pdejax.nn.channels`).

    `starts_as_shortcut`: C_2 is zero at first, and the block S.
    Source: He et al., Identity Mappings in Deep Residual Networks (ECCV 2016); with `modes` Gupta & Brandstetter,
    Towards Multi-spatiotemporal-scale Generalized PDE Modeling (TMLR 2023), section 3.
    """

    norms: tuple[Any, Any]
    convolutions: tuple[Convolution, Convolution]
    spectral: tuple[SpectralConvolution, SpectralConvolution] | None
    shortcut: ChannelMap | None
    modulation: Any
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        *,
        points: int = 3,
        modes: Modes | None = None,
        norm: Any,
        activation: Callable = jax.nn.gelu,
        starts_as_shortcut: bool = False,
        walls: Walls = "zeros",
        conditioning: Conditioning,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(checked_key(key, "ResidualBlock"), 6)
        self.activation = activation
        self.norms = (norm.make(in_channels, dtype=dtype), norm.make(out_channels, dtype=dtype))
        local = {"points": 1 if modes is not None else points, "walls": walls, "dtype": dtype}
        first = Convolution(in_channels, out_channels, ndim, **local, key=keys[0])
        second = Convolution(out_channels, out_channels, ndim, **local, key=keys[1])
        self.spectral = None
        if modes is not None:
            one = SpectralConvolution(in_channels, out_channels, modes, dtype=dtype, key=keys[2])
            two = SpectralConvolution(out_channels, out_channels, modes, dtype=dtype, key=keys[3])
            self.spectral = (one, _silent(two) if starts_as_shortcut else two)
        self.convolutions = (first, _silent(second) if starts_as_shortcut else second)
        same = in_channels == out_channels
        self.shortcut = None if same else ChannelMap(in_channels, out_channels, dtype=dtype, key=keys[4])
        self.modulation = conditioning.make_modulation(out_channels, ndim, dtype=dtype, key=keys[5])

    def __call__(
        self,
        u: Float[Array, "*space in_channels"],
        periodic: Sequence[bool],
        embedded: Float[Array, " embedding"] | None = None,
    ) -> Float[Array, "*space out_channels"]:
        h = self._convolved(0, self.activation(self.norms[0].last(u)), periodic)
        h = modulated_last(self.modulation, self.norms[1].last(h), embedded, tuple(periodic))
        h = self._convolved(1, self.activation(h), periodic)
        return h + (u if self.shortcut is None else self.shortcut.last(u))

    def _convolved(self, number: int, h: Array, periodic: Sequence[bool]) -> Array:
        local = self.convolutions[number].last(h, periodic)
        if self.spectral is None:
            return local
        return local + channels_last(self.spectral[number](channels_first(h)))


def _silent(module: Any) -> Any:
    """With weights of zero."""
    return jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf, module)
