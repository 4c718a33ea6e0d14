"""Convolution in Fourier space along one axis at a time: the sum over the axes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.modes import Modes
from pdejax.nn.spectral_convolution import SpectralConvolution


class AxialSpectralConvolution(eqx.Module):
    r"""`sum over the axes a of  K_a u`, K_a the one-dimensional `SpectralConvolution` along axis a on every line.

    Its weights grow with the sum of the kept frequencies and not with their product. Shapes
    `(in_channels, *space) -> (out_channels, *space)`; `modes` are how many frequencies are kept along each axis,
    0 .. modes - 1. The sum keeps the size of a field as one of its terms does at `scale=1`.

    Raises `ValueError` as `SpectralConvolution` does.
    Source: Tran et al., Factorized Fourier Neural Operators (ICLR 2023), section 3.1.
    """

    lines: tuple[SpectralConvolution, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: tuple[int, ...],
        *,
        scale: float = 1.0,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(checked_key(key, "AxialSpectralConvolution"), len(modes))
        one = {"scale": scale / len(modes) ** 0.5, "dtype": dtype}
        self.lines = tuple(
            SpectralConvolution(in_channels, out_channels, Modes.classic(count, 1), **one, key=k)
            for count, k in zip(modes, keys, strict=True)
        )

    def __call__(self, u: Float[Array, "in_channels *space"]) -> Float[Array, "out_channels *space"]:
        total: Any = 0.0
        for axis, line in enumerate(self.lines, start=1):
            turned = jnp.moveaxis(u, axis, -1)
            flat = turned.reshape(u.shape[0], -1, u.shape[axis])
            result = jax.vmap(line, in_axes=1, out_axes=1)(flat)
            total = total + jnp.moveaxis(result.reshape(-1, *turned.shape[1:]), -1, axis)
        return total
