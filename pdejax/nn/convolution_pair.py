"""Two convolutions, each with a norm and an activation behind it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.convolution import Convolution
from pdejax.nn.modulation import modulated_last
from pdejax.nn.padding import Walls


class ConvolutionPair(eqx.Module):
    """`a(norm_2(C_2 a(norm_1(C_1 u))))`, with convolutions C of three points along each axis, in one, two or three
    dimensions.

    `modulated`: where the modulation of the `conditioning` acts, "between" the two, on what C_2 sees, or "behind" the
    second norm, in front of the last activation.

    Called as `pair(u, periodic, embedded)`. Shapes `(*space, in_channels) -> (*space, out_channels)`: it is a part of
    networks that have their channels behind (`pdejax.nn.channels`).
    """

    convolutions: tuple[Convolution, Convolution]
    norms: tuple[Any, Any]
    modulation: Any
    modulated: Literal["between", "behind"] = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        *,
        norm: Any,
        activation: Callable = jax.nn.gelu,
        modulated: Literal["between", "behind"],
        use_bias: bool = True,
        walls: Walls = "zeros",
        conditioning: Conditioning,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        one, two, of_modulation = jax.random.split(checked_key(key, "ConvolutionPair"), 3)
        local = {"use_bias": use_bias, "walls": walls, "dtype": dtype}
        self.convolutions = (
            Convolution(in_channels, out_channels, ndim, 3, **local, key=one),
            Convolution(out_channels, out_channels, ndim, 3, **local, key=two),
        )
        self.norms = (norm.make(out_channels, dtype=dtype), norm.make(out_channels, dtype=dtype))
        self.modulation = conditioning.make_modulation(out_channels, ndim, dtype=dtype, key=of_modulation)
        self.modulated, self.activation = modulated, activation

    def __call__(
        self,
        u: Float[Array, "*space in_channels"],
        periodic: Sequence[bool],
        embedded: Float[Array, " embedding"] | None = None,
    ) -> Float[Array, "*space out_channels"]:
        between, behind = (self.modulation if self.modulated == place else None for place in ("between", "behind"))
        h = self.activation(self._normed(0, u, periodic))
        h = self._normed(1, modulated_last(between, h, embedded, tuple(periodic)), periodic)
        return self.activation(modulated_last(behind, h, embedded, tuple(periodic)))

    def _normed(self, number: int, h: Array, periodic: Sequence[bool]) -> Array:
        return self.norms[number].last(self.convolutions[number].last(h, periodic))
