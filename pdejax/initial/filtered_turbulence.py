"""Random solenoidal velocity fields, the usual start of a turbulence simulation."""

from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.initial.fourier_series import evaluate, mean_square, mode_numbers, mode_radius, unit_normals, wavevectors
from pdejax.initial.parameters import cutoff_of, positive


class FilteredTurbulence(eqx.Module):
    r"""A random velocity field with div u = 0 and no mean, or its vorticity, with the energy spectrum

        E(r) proportional to exp(-(log(r / peak))^2 / (2 width^2)),    1 <= r <= cutoff,    r = |n|

    of the mode numbers n, which is largest at r = peak. Phases and directions are random: independent normal
    coefficients, projected onto the plane orthogonal to k_n = 2 pi n / extent, so the divergence vanishes on any box.
    Mode numbers count waves per side: on a box with unequal sides the eddies are stretched along with the box.

    In two dimensions the velocity is (psi_y, -psi_x) of a stream function and the vorticity v_x - u_y, positive
    counter-clockwise: the state of `NavierStokesVorticity`. In three dimensions the vorticity is curl u. The same key
    gives a velocity and its own vorticity.

    - `peak`: waves per side where the spectrum is largest, > 0.
    - `width`: of the spectrum, in units of log r, > 0.
    - `cutoff`: an integer, the largest |n|; default `ceil(4 * peak)`, to be given where peak is traced. A grid needs
      `2 * cutoff + 1` points per axis.
    - `rms_speed`: square root of the mean of |u|^2 over the box, exactly that for every sample, in length per time;
      the kinetic energy per mass is `rms_speed^2 / 2`.
    - `quantity`: `"velocity"`, with ndim channels, or `"vorticity"`, with one channel in 2D and three in 3D.

    Largest speeds are not normalised: the maximum over points depends on the points.

    Raises `ValueError` for parameters out of range, outside two and three dimensions, and on a grid that is not
    periodic or does not hold the modes.
    """

    peak: Float[Array, ""]
    width: Float[Array, ""]
    rms_speed: Float[Array, ""]
    cutoff: int = eqx.field(static=True)
    quantity: Literal["velocity", "vorticity"] = eqx.field(static=True)

    def __init__(
        self,
        peak: Any = 4.0,
        *,
        width: Any = 0.5,
        cutoff: int | None = None,
        rms_speed: Any = 1.0,
        quantity: Literal["velocity", "vorticity"] = "velocity",
    ):
        if quantity not in ("velocity", "vorticity"):
            raise ValueError(f'FilteredTurbulence gives "velocity" or "vorticity", got quantity={quantity!r}.')
        self.peak = positive("FilteredTurbulence", "peak", peak)
        self.width = positive("FilteredTurbulence", "width", width)
        self.rms_speed = positive("FilteredTurbulence", "rms_speed", rms_speed)
        self.cutoff = cutoff_of("FilteredTurbulence", cutoff, peak, 4)
        self.quantity = quantity

    def __call__(self, grid: Grid, *, key: PRNGKeyArray) -> Float[Array, "channel *space"]:
        if grid.ndim not in (2, 3):
            raise ValueError(f"FilteredTurbulence needs two or three dimensions, the grid has {grid.ndim}.")
        modes = mode_numbers(grid, "FilteredTurbulence", self.cutoff)
        radius = mode_radius(modes, grid.dtype)
        inside = (radius > 0) & (radius <= self.cutoff)
        safe_radius = jnp.where(inside, radius, 1.0)
        peak, width = self.peak.astype(grid.dtype), self.width.astype(grid.dtype)
        logarithm = -((jnp.log(safe_radius / peak) / width) ** 2) / 4
        # Relative to the largest among the modes, which may be far from the peak; `rms_speed` sets the factor anyway.
        spectrum = jnp.exp(logarithm - jnp.max(jnp.where(inside, logarithm, -jnp.inf)))
        amplitude = jnp.where(inside, spectrum * safe_radius ** ((1 - grid.ndim) / 2), 0.0)

        k = wavevectors(modes, grid)
        # The mean has no direction; a root of zero would have no derivative in the extent.
        length = jnp.sqrt(jnp.where(radius > 0, jnp.sum(k**2, axis=0), 1.0))
        direction = k / length
        if grid.ndim == 2:
            # psi = a / |k|, so that |u| = |a| and the vorticity, -Laplacian psi, is |k| a.
            a = amplitude * unit_normals(key, modes, 1, grid.dtype)
            velocity = jnp.concatenate([1j * direction[1] * a, -1j * direction[0] * a])
            vorticity = length * a
        else:
            a = amplitude * unit_normals(key, modes, 3, grid.dtype)
            velocity = a - direction * jnp.sum(direction * a, axis=0)
            vorticity = 1j * jnp.cross(k, velocity, axis=0)
        scale = self.rms_speed.astype(grid.dtype) / jnp.sqrt(jnp.sum(mean_square(velocity)))
        return evaluate(scale * (velocity if self.quantity == "velocity" else vorticity), grid)
