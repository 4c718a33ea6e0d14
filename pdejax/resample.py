"""The same function on another resolution of the same periodic box."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.grid import Grid, same_box


def resample(u: Float[Array | np.ndarray, "..."], grid: Grid, target: Grid) -> Float[Array, "..."]:
    r"""Truncates or pads the Fourier series of `u`: the values of the same function on the points of `target`.

    Along an axis with N points of period L the field stands for its trigonometric interpolant

        u(x) = sum over |n| <= N/2 of c_n exp(2 pi i n (x - x_0) / L),

    in which the highest mode of an even N, of which the points only see the cosine about the first point x_0, is split
    equally between n = N/2 and n = -N/2. The modes with |n| <= M/2 are kept and evaluated on the M points of `target`;
    on an even M the modes n = M/2 and n = -M/2 fall onto the same values and are added.

    Hence to a finer grid and back is the identity; to a coarser grid and back is an orthogonal projection, exact for
    modes below M/2 in magnitude; the mean never changes. Nodes and centres are told apart by a phase, so both grids
    may place their points differently.

    `u`: `(..., *grid.shape)`, real; the result has shape `(..., *target.shape)` and the dtype of `u`. Axes whose points
    agree on both grids are passed through bit for bit. Each axis costs one real transform there and one back.

    Raises `ValueError` for an axis that is not periodic or whose points are stretched and not the same on both grids,
    for grids of different boxes (not checked for extents that are traced under `jax.jit`), for arrays that do not end
    in `grid.shape`, and for values that are not real floats.
    """
    if grid.ndim != target.ndim or not all(grid.periodic + target.periodic):
        raise ValueError(
            "resample truncates or pads Fourier series and needs two periodic grids with equally many axes, got "
            f"periodic={grid.periodic} and periodic={target.periodic}; where there are walls, interpolate locally."
        )
    concrete = not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((grid, target)))
    if concrete and not same_box(grid, target):
        raise ValueError(
            f"resample needs two grids of the same box, got extents {np.asarray(grid.extent).tolist()} from "
            f"{np.asarray(grid.origin).tolist()} and {np.asarray(target.extent).tolist()} from "
            f"{np.asarray(target.origin).tolist()}; build the target with grid.with_shape({target.shape})."
        )
    for axis in range(grid.ndim):
        same = (grid.shape[axis], grid.points[axis]) == (target.shape[axis], target.points[axis])
        if not same and not (grid.is_uniform[axis] and target.is_uniform[axis]):
            raise ValueError(
                f"resample takes Fourier series of points at equal distances, and axis {axis} has stretched points: "
                "keep the points of this axis, or interpolate locally."
            )
    if jnp.shape(u)[-grid.ndim :] != grid.shape:
        raise ValueError(f"This grid has shape {grid.shape} but the array ends in {jnp.shape(u)[-grid.ndim :]}.")
    u = jnp.asarray(u)
    if not jnp.issubdtype(u.dtype, jnp.floating):
        raise ValueError(f"resample needs real floating-point values, got {u.dtype}; cast them first.")

    # There is no Fourier transform in half precision.
    out = u.astype(jnp.promote_types(u.dtype, jnp.float32))
    for a in range(grid.ndim):
        shift = _offset(target, a) - _offset(grid, a)
        if grid.shape[a] != target.shape[a] or shift != 0.0:
            out = _resample_axis(out, a - grid.ndim, target.shape[a], shift)
    return out.astype(u.dtype)


def _offset(grid: Grid, axis: int) -> float:
    """Distance of the first point from the lower corner, as a fraction of the period."""
    return 0.5 / grid.shape[axis] if grid.points[axis] == "centres" else 0.0


def _resample_axis(u: Float[Array, "..."], axis: int, num_target: int, shift: float) -> Float[Array, "..."]:
    factor = fourier_factors(u.shape[axis], num_target, shift)
    coefficients = jnp.fft.rfft(u, axis=axis)
    shape = [1] * u.ndim
    shape[axis] = factor.size
    coefficients = coefficients * factor.reshape(shape).astype(coefficients.dtype)
    return jnp.fft.irfft(coefficients, n=num_target, axis=axis)


def fourier_factors(num_source: int, num_target: int, shift: float) -> np.ndarray:
    """By what the real transform of `num_source` points is multiplied, before the inverse one of `num_target` points.

    Those then lie `shift` periods further on. The inverse transform pads or truncates.
    """
    modes = np.arange(num_source // 2 + 1)
    factor = np.exp(2j * np.pi * modes * shift) * (num_target / num_source)
    # Real transforms store n >= 0 only, n < 0 is implied by symmetry. So the half of a split mode stays alone, and the
    # highest mode of an even target, of which the inverse transform reads the real part once, stands for two.
    factor[2 * modes == num_source] *= 0.5
    factor[2 * modes == num_target] *= 2.0
    return factor
