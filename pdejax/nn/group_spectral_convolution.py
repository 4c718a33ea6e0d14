"""Convolution over the plane and the rotations of a square, with a kernel that is learned in Fourier space."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.drawn import normal
from pdejax.nn.group_convolution import SquareGroup, elements, relative, turned
from pdejax.nn.modes import Modes
from pdejax.nn.products import at_least_single, product_precision
from pdejax.nn.truncated_transform import analyse, synthesise


class GroupSpectralConvolution(eqx.Module):
    r"""A convolution over the translations, turns and (group "p4m") reflections of a periodic square:

        v_o^(k, g) = sum over i and h of W_io(g^-1 k, g^-1 h) u_i^(k, h),      |k_1|, |k_2| < modes

    u^ as in `SpectralConvolution`. For each g the kernel is the same one, turned by g in Fourier space. All kept
    frequencies lie below half the number of points, so that turning them is exact on grids of odd and of even size.

    W is the transform of a real kernel, W(-k) the conjugate of W(k). Its numbers that are free, `(2 modes - 1)^2` for
    each pair of channels and element h, are kept as one real array V on all kept frequencies:

        W(k) = (V(k) + V(-k)) / sqrt(2) + i (V(k) - V(-k)) / sqrt(2)

    It starts normal and centred, with E|W|^2 = scale^2 over the number of channels and elements that are summed.

    Shapes `(in_channels, element, *space) -> (out_channels, element, *space)`, both axes of space equal.

    Raises `ValueError` for `modes` below one, a group that is not of the square and a seed in place of a key; at trace
    time for unequal axes and for a grid that does not resolve the kept frequencies.
    """

    weight: Float[Array, "frequency frequency element in_channels out_channels"]
    group: SquareGroup = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: int,
        group: SquareGroup,
        *,
        scale: float = 1.0,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        if modes < 1:
            raise ValueError(f"GroupSpectralConvolution needs modes >= 1, got {modes}.")
        order = len(elements(group))
        shape = (2 * modes - 1, 2 * modes - 1, order, in_channels, out_channels)
        numbers = normal(checked_key(key, "GroupSpectralConvolution"), shape, dtype)
        self.weight = numbers * scale / (2 * order * in_channels) ** 0.5
        self.group = group

    @property
    def modes(self) -> int:
        return (self.weight.shape[0] + 1) // 2

    def __call__(self, u: Float[Array, "in_channels element *space"]) -> Float[Array, "out_channels element *space"]:
        in_channels, order, *space = u.shape
        check_turns(space, self.modes, "GroupSpectralConvolution")
        dtype = at_least_single(u.dtype)
        kept = Modes((1 - self.modes, 0), (self.modes - 1,) * 2)
        parts = analyse(u.reshape(in_channels * order, *space).astype(dtype), kept)
        coefficients = jax.lax.complex(*parts).reshape(in_channels, order, *kept.shape)
        product = jnp.einsum("ih...,...ghio->og...", coefficients, self._kernels(dtype), precision=product_precision())
        product = product.reshape(-1, *kept.shape)
        product = synthesise(jnp.stack([product.real, product.imag], axis=1), kept, tuple(space))
        return product.reshape(-1, order, *space).astype(u.dtype)

    def _kernels(self, dtype: Any) -> Array:
        """W seen from every element, on the half of the frequencies of a real field."""
        weight = self.weight.astype(dtype)
        kernels = []
        for matrix, places in zip(elements(self.group), relative(self.group), strict=True):
            seen = turned(weight[:, :, places], matrix)
            opposite = jnp.flip(seen, (0, 1))
            kernels.append(jax.lax.complex(seen + opposite, seen - opposite)[:, self.modes - 1 :])
        return jnp.stack(kernels, axis=2) / 2**0.5


def check_turns(space: Any, modes: int, what: str) -> None:
    """Raises `ValueError` unless a grid of `space` points is a square that holds the frequencies |k| < `modes`."""
    if len(set(space)) > 1:
        raise ValueError(
            f"{what} turns the plane by 90 degrees, which takes equal numbers of points, and the axes have "
            f"{' and '.join(map(str, space))}: use a square grid, or pdejax.models.FNO."
        )
    if 2 * (modes - 1) >= space[0]:
        raise ValueError(
            f"{what} keeps the frequencies below modes={modes}, and {space[0]} points per axis resolve those below "
            f"{(space[0] + 1) // 2}: use modes <= {(space[0] + 1) // 2}, or a finer grid."
        )
