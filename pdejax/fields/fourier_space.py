"""The modes of a periodic grid: wavenumbers, mask and transforms."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from pdejax.fields.fourier_transform import FourierTransform
from pdejax.grid import Grid

# Points from which a transform is worth a core of its own; measured in two dimensions (benchmarks/solvers.py).
_LARGE = 128**2


class FourierSpace:
    """What the fields of one reading share: wavenumbers, mask and transforms."""

    def __init__(
        self,
        grid: Grid,
        mask: Bool[Array, "*modes"] | None,
        cheap_forms: bool,
        transform: FourierTransform | None = None,
    ):
        self.grid, self.mask, self.cheap_forms = grid, mask, cheap_forms
        self.transform = FourierTransform(grid.shape) if transform is None else transform
        self.has_products = False

    def wavenumber(self, axis: int, order: int = 1) -> Float[Array, "*modes"]:
        """`k^order` along one axis, broadcastable. The Nyquist mode of an even axis has no odd derivative: its sine
        vanishes at every point, so the derivative of its cosine is zero there."""
        numbers = mode_numbers(self.grid.shape, axis).astype(float)
        n = self.grid.shape[axis]
        if order % 2 == 1 and n % 2 == 0:
            numbers[n // 2] = 0.0
        numbers = np.pad(numbers, (0, self.transform.modes[axis] - len(numbers)))
        scaled = jnp.asarray(numbers, self.grid.dtype) * (2 * np.pi / self.grid.extent[axis])
        return along_axis(scaled, axis, self.grid.ndim) ** order

    def squared_wavenumber(self) -> Float[Array, "*modes"]:
        total = self.wavenumber(0, 2)
        for axis in range(1, self.grid.ndim):
            total = total + self.wavenumber(axis, 2)
        return total

    def to_values(
        self, coefficients: Complex[Array, "component *modes"], is_given: bool
    ) -> Float[Array, "component *space"]:
        kept = coefficients if is_given else self.truncated(coefficients)
        return self._by_component(self.transform.backward, kept)

    def to_coefficients(
        self, values: Float[Array, "component *space"], is_given: bool
    ) -> Complex[Array, "component *modes"]:
        self.has_products |= not is_given
        coefficients = self._by_component(self.transform.forward, values)
        return coefficients if is_given else self.truncated(coefficients)

    def _by_component(self, transform: Callable[[Any], Any], array: Any) -> Any:
        """Large transforms one component at a time: those the compiler runs side by side, a batch on one core alone.
        Small ones gain more from being one operation, and those over many devices from one message."""
        if array.shape[0] == 1 or self.transform.is_cut or np.prod(self.grid.shape) < _LARGE:
            return transform(array)
        return jnp.concatenate([transform(array[i : i + 1]) for i in range(array.shape[0])])

    def truncated(self, coefficients: Any) -> Any:
        return coefficients if self.mask is None else jnp.where(self.mask, coefficients, 0)


def mode_numbers(shape: tuple[int, ...], axis: int) -> np.ndarray:
    n = shape[axis]
    return np.arange(n // 2 + 1) if axis == len(shape) - 1 else np.fft.fftfreq(n, 1 / n)


def along_axis(values: Any, axis: int, ndim: int) -> Any:
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))
