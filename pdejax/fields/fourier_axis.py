"""Fourier series along one axis of an array, where the other axes are something else."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def fourier_derivative(u: Float[Array, "..."], axis: int, order: int, extent: Float[Array, ""]) -> Float[Array, "..."]:
    """`d^order u / dx^order` of a real periodic `u`.

    The highest mode of an even number of points has no odd derivative: its sine vanishes at every point.
    """
    n = u.shape[axis]
    numbers = wavenumbers(n, halved=True)
    if order % 2 == 1 and n % 2 == 0:
        numbers[-1] = 0.0
    factors = (jnp.asarray(numbers, u.dtype) * (2 * np.pi / extent)) ** order * (1, 1j, -1, -1j)[order % 4]
    coefficients = jnp.fft.rfft(u, axis=axis) * factors.reshape((-1,) + (1,) * (u.ndim - axis - 1))
    return jnp.fft.irfft(coefficients, n=n, axis=axis).astype(u.dtype)


def wavenumbers(n: int, halved: bool) -> np.ndarray:
    """The whole numbers of waves per extent, in the order of `jnp.fft.rfft` (halved) or `fft`."""
    return np.arange(n // 2 + 1, dtype=float) if halved else np.fft.fftfreq(n, 1 / n)
