"""Smooth random fields of one length scale."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.initial.fourier_series import evaluate, mean_square, mode_numbers, mode_radius, unit_normals
from pdejax.initial.parameters import count, cutoff_of, positive


class BandLimited(eqx.Module):
    r"""A random Fourier series with independent normal coefficients and the energy spectrum

        E(r) proportional to (r / peak)^4 exp(-2 (r / peak)^2),    1 <= r <= cutoff,    r = |n|

    of the mode numbers n, which is largest at r = peak. A single mode has the mean square E(r) / r^(ndim - 1), because
    the number of modes at radius r grows with r^(ndim - 1). Channels are independent.

    Mode numbers count waves per side of the box: on a box with unequal sides the field is isotropic in x / extent, and
    its structures are stretched along with the box.

    - `peak`: waves per side where the spectrum is largest, > 0.
    - `cutoff`: an integer, the largest |n|; default `ceil(2 * peak)`, to be given where peak is traced. A grid needs
      `2 * cutoff + 1` points per axis.
    - `rms`: root mean square of the fluctuation over the box, in the units of the field.
    - `mean`: the mean over the box.
    - `num_channels`: how many independent fields.
    - `same_rms`: whether every sample and channel has exactly this `rms`; otherwise the field is Gaussian and `rms^2`
      is the expectation of its mean square.

    Largest values are not normalised: the maximum over points depends on the points.

    Raises `ValueError` for parameters out of range, and on a grid that is not periodic or does not hold the modes.
    """

    peak: Float[Array, ""]
    rms: Float[Array, ""]
    mean: Float[Array, ""]
    cutoff: int = eqx.field(static=True)
    num_channels: int = eqx.field(static=True)
    same_rms: bool = eqx.field(static=True)

    def __init__(
        self,
        peak: Any = 4.0,
        *,
        cutoff: int | None = None,
        rms: Any = 1.0,
        mean: Any = 0.0,
        num_channels: int = 1,
        same_rms: bool = True,
    ):
        self.peak = positive("BandLimited", "peak", peak)
        self.rms = positive("BandLimited", "rms", rms)
        self.mean = jnp.asarray(mean, float)
        self.cutoff = cutoff_of("BandLimited", cutoff, peak, 2)
        self.num_channels = count("BandLimited", "num_channels", num_channels)
        self.same_rms = same_rms

    def __call__(self, grid: Grid, *, key: PRNGKeyArray) -> Float[Array, "channel *space"]:
        modes = mode_numbers(grid, "BandLimited", self.cutoff)
        radius = mode_radius(modes, grid.dtype)
        inside = (radius > 0) & (radius <= self.cutoff)
        ratio = jnp.where(inside, radius, 1.0) / self.peak.astype(grid.dtype)
        # The logarithm of amplitude^2 = E(r) / r^(ndim - 1), halved. Relative to the largest among the modes, which may
        # be far from the peak: one below every mode would leave nothing but underflow. `rms` sets the factor anyway.
        logarithm = (2 - (grid.ndim - 1) / 2) * jnp.log(ratio) - ratio**2
        largest = jnp.max(jnp.where(inside, logarithm, -jnp.inf))
        amplitude = jnp.where(inside, jnp.exp(jnp.where(inside, logarithm - largest, 0.0)), 0.0)
        coefficients = amplitude * unit_normals(key, modes, self.num_channels, grid.dtype)
        power = mean_square(coefficients) if self.same_rms else mean_square((amplitude + 0j)[None])
        scale = self.rms.astype(grid.dtype) / jnp.sqrt(power)
        fluctuation = evaluate(coefficients * scale.reshape((-1,) + (1,) * grid.ndim), grid)
        return self.mean.astype(grid.dtype) + fluctuation
