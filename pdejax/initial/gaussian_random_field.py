"""Gaussian random fields with the covariance of an inverse power of the shifted Laplacian."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.initial.fourier_series import evaluate, mode_numbers, unit_normals, wavevectors
from pdejax.initial.parameters import count, positive


class GaussianRandomField(eqx.Module):
    r"""A Gaussian field of mean zero with covariance operator `sigma^2 (-Laplacian + tau^2)^(-alpha)`:

        mean |c_n|^2 = sigma^2 (|k_n|^2 + tau^2)^(-alpha) / volume,    k_n = 2 pi n / extent,    c_0 = 0,

    so its mean square is on average the sum of this over all modes. `k` is the physical wavenumber, hence the field
    is isotropic in x on any box. There is no cutoff: a finer grid adds ever smaller modes and keeps the common ones.

    On the unit square with `alpha=2.5, tau=7` this is the law of the vorticity fields on which the Fourier neural
    operator was tried (generators that draw complex normals of unit variance; those that draw both parts with unit
    variance have `sigma` larger by sqrt(2)).

    - `alpha`: smoothness, > ndim / 2 (below that the mean square grows without bound as the grid is refined); samples
      have alpha - ndim / 2 derivatives.
    - `tau`: inverse correlation length, > 0, in radians per length.
    - `sigma`: amplitude, > 0; default `tau^(alpha - ndim / 2)`, which makes the mean square nearly independent of
      `tau` while the correlation length is short against the box.
    - `num_channels`: how many independent fields.

    Raises `ValueError` for parameters out of range and on a grid that is not periodic.
    Source: Li et al., Fourier Neural Operator for Parametric Partial Differential Equations (ICLR 2021).
    """

    alpha: Float[Array, ""]
    tau: Float[Array, ""]
    sigma: Float[Array, ""] | None
    num_channels: int = eqx.field(static=True)

    def __init__(self, alpha: Any = 2.5, tau: Any = 7.0, *, sigma: Any = None, num_channels: int = 1):
        self.alpha = positive("GaussianRandomField", "alpha", alpha)
        self.tau = positive("GaussianRandomField", "tau", tau)
        self.sigma = None if sigma is None else positive("GaussianRandomField", "sigma", sigma)
        self.num_channels = count("GaussianRandomField", "num_channels", num_channels)

    def __call__(self, grid: Grid, *, key: PRNGKeyArray) -> Float[Array, "channel *space"]:
        if not isinstance(self.alpha, Tracer) and np.asarray(self.alpha) <= grid.ndim / 2:
            raise ValueError(
                f"GaussianRandomField has no finite mean square in {grid.ndim} dimensions for alpha = "
                f"{float(self.alpha):g}; use alpha > {grid.ndim / 2}."
            )
        modes = mode_numbers(grid, "GaussianRandomField")
        alpha, tau = self.alpha.astype(grid.dtype), self.tau.astype(grid.dtype)
        # With tau taken out, sigma = tau^(alpha - ndim / 2) leaves moderate numbers for every alpha.
        relative = (jnp.sum(wavevectors(modes, grid) ** 2, axis=0) / tau**2 + 1) ** (-alpha / 2)
        sigma = tau ** (-grid.ndim / 2) if self.sigma is None else self.sigma.astype(grid.dtype) * tau ** (-alpha)
        amplitude = jnp.where(jnp.any(modes != 0, axis=0), relative, 0.0) * sigma / jnp.sqrt(grid.volume)
        return evaluate(amplitude * unit_normals(key, modes, self.num_channels, grid.dtype), grid)
