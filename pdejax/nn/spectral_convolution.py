"""Convolution with a kernel that is learned in Fourier space, on the lowest frequencies only."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.drawn import normal
from pdejax.nn.modes import Modes
from pdejax.nn.products import at_least_single, product_precision
from pdejax.nn.spectral_weights import Dense, entry_deviation, is_kind_of_weights
from pdejax.nn.truncated_transform import analyse, synthesise


class SpectralConvolution(eqx.Module):
    r"""One complex matrix of channels per kept frequency, in one, two or three dimensions (or more):

        v_o(x) = sum over kept k of  exp(i k.x) sum_i W_kio u_i^(k),      u^(k) = mean over x of u(x) exp(-i k.x)

    and the complex conjugates for the other half of the frequencies, so that v is real: exactly the real inverse
    transform of the zero-padded product, on grids of any size. The transform divides by the number of points, therefore
    the same weights mean the same function at every resolution. At the limit of `Modes.check_resolved`, where -n/2 of n
    points is kept, this frequency is also n/2 and stands for both: a finer grid tells them apart.

    Shapes `(in_channels, *space) -> (out_channels, *space)`. The weights are a real and an imaginary array, each
    `(*modes.shape, in_channels, out_channels)` with ascending frequencies, so that an optimiser sees real numbers only.
    They start normal and centred, with E|W|^2 = scale^2 / in_channels: at `scale=1` the part of a field that is kept
    keeps its size, or a little less where few frequencies are kept, since of a mean the imaginary part is dropped.
    `weights` is what they are made of, a kind of `pdejax.nn`: `Dense()`, or `Tucker(rank)`, `CP(rank)`,
    `TensorTrain(rank)`, where `real` and `imaginary` are tuples of factors. A separable one has a number per channel
    and frequency in place of a matrix.

    The truncated transforms are products with DFT matrices, one axis after the other, in at least float32: with tens
    of kept frequencies that is about three times faster on a CPU, gradient included, than a full FFT of which most is
    thrown away (64 x 64 points, 12 modes, 32 channels), and it is what GPUs and TPUs are best at.

    Raises `ValueError` for a seed in place of a key, something that is no kind of weights and channels in and out that
    differ where they are separable, and at trace time when the grid does not resolve the kept
    frequencies.
    """

    real: Any
    imaginary: Any
    modes: Modes = eqx.field(static=True)
    weights: Any = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: Modes,
        *,
        scale: float = 1.0,
        weights: Any = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        self.modes, self.weights = modes, Dense() if weights is None else weights
        if not is_kind_of_weights(self.weights):
            raise ValueError(f"SpectralConvolution takes weights=pdejax.nn.Tucker(0.1) or the like, got {weights!r}.")
        if self.weights.separable and in_channels != out_channels:
            raise ValueError(f"Separable weights keep the number of channels, got {in_channels} and {out_channels}.")
        key = checked_key(key, "SpectralConvolution")
        channels = (in_channels,) if self.weights.separable else (in_channels, out_channels)
        shapes = self.weights.shapes((*channels, *modes.shape))
        # One number stands for all those in.
        deviation = scale if self.weights.separable else scale / in_channels**0.5
        deviation = entry_deviation(self.weights, shapes, deviation) / 2**0.5
        keys = [key] if len(shapes) == 1 else jax.random.split(key, len(shapes))
        parts = [deviation * normal(each, (2, *shape), dtype) for each, shape in zip(keys, shapes, strict=True)]
        self.real, self.imaginary = (tuple(part[i] for part in parts) for i in range(2))
        if len(shapes) == 1:
            self.real, self.imaginary = self.real[0], self.imaginary[0]

    def __call__(self, u: Float[Array, "in_channels *space"]) -> Float[Array, "out_channels *space"]:
        self.modes.check_resolved(u.shape[1:], "SpectralConvolution")
        dtype = at_least_single(u.dtype)
        real, imaginary = analyse(u.astype(dtype), self.modes)
        factors = [
            jax.lax.complex(r.astype(dtype), i.astype(dtype))
            for r, i in zip(jax.tree.leaves(self.real), jax.tree.leaves(self.imaginary), strict=True)
        ]
        frequencies = "klmn"[: len(self.modes.shape)]
        (come, go), axes = ("cc", "c") if self.weights.separable else ("io", "io")
        terms = ",".join([come + frequencies, *self.weights.terms(axes + frequencies)])
        product = jnp.einsum(
            f"{terms}->{go}{frequencies}", jax.lax.complex(real, imaginary), *factors, precision=product_precision()
        )
        product = jnp.stack([product.real, product.imag], axis=1)
        return synthesise(product, self.modes, u.shape[1:]).astype(u.dtype)

    @property
    def dtype(self) -> np.dtype:
        """Of the weights."""
        return jax.tree.leaves(self.real)[0].dtype

    def turned(self) -> "SpectralConvolution":
        """The convolution with -i times the weights."""
        (real, *reals), (imaginary, *imaginaries) = jax.tree.leaves(self.real), jax.tree.leaves(self.imaginary)
        structure = jax.tree.structure(self.real)
        # One factor of a product is enough.
        new = [jax.tree.unflatten(structure, each) for each in ([imaginary, *reals], [-real, *imaginaries])]
        return eqx.tree_at(lambda c: (c.real, c.imaginary), self, tuple(new))
