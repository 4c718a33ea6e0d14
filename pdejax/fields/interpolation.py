"""The function that the values on a grid stand for, anywhere: its polynomial or Fourier series at arbitrary points."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.fields.chebyshev_polynomials import chebyshev_coefficients
from pdejax.grid import Grid
from pdejax.stretching import Stretched


def interpolate(u: Float[Array, "..."], grid: Grid, points: Any) -> Float[Array, "..."]:
    """`u (..., *grid.shape)` at `points (ndim, *places)`, the position first as in `grid.coordinates()`:
    `(..., *places)`.

    Along an axis with N Chebyshev points, the polynomial of degree N - 1 through them; along a periodic axis, the
    Fourier series, with the cosine alone of the highest mode of an even N. Differentiable in u and in the points, at
    the grid's own points too. Beyond a wall the polynomial goes on, and soon grows out of all bounds.

    Costs about N^2 operations per point and axis. Raises `ValueError` for an axis that is neither periodic nor has
    Chebyshev points, and for shapes that do not fit.
    """
    for axis, (kind, wraps) in enumerate(zip(grid.points, grid.periodic, strict=True)):
        if kind != "chebyshev" and not wraps:
            raise ValueError(
                f"interpolate evaluates polynomials on Chebyshev points and Fourier series on periodic axes, and axis "
                f"{axis} has {kind!r} between walls."
            )
        if isinstance(kind, Stretched):
            raise ValueError(
                f"interpolate takes the Fourier series of uniform points, and axis {axis} has stretched ones: "
                "interpolate between its points with jnp.interp, or solve on nodes or centres."
            )
    u, points = jnp.asarray(u), jnp.asarray(points, grid.dtype)
    if jnp.shape(u)[-grid.ndim :] != grid.shape:
        raise ValueError(f"This grid has shape {grid.shape} but the array ends in {jnp.shape(u)[-grid.ndim :]}.")
    if points.ndim == 0 or points.shape[0] != grid.ndim:
        raise ValueError(
            f"The points have shape {points.shape}, and (ndim, ...) with ndim = {grid.ndim} is needed: the position "
            "first, as in grid.coordinates()."
        )
    places = points.shape[1:]
    flat = points.reshape(grid.ndim, -1)
    lead = u.shape[: u.ndim - grid.ndim]
    highest = jax.lax.Precision.HIGHEST
    # One axis after the other: the first leaves one value per place, which the others keep.
    weights = _weights(grid, 0, flat[0], u.dtype)
    values = jnp.einsum("pn,an...->ap...", weights, u.reshape(-1, *grid.shape), precision=highest)
    for axis in range(1, grid.ndim):
        weights = _weights(grid, axis, flat[axis], u.dtype)
        values = jnp.einsum("pn,apn...->ap...", weights, values, precision=highest)
    return values.reshape(*lead, *places)


def _weights(grid: Grid, axis: int, x: Float[Array, " place"], dtype: Any) -> Float[Array, "place n"]:
    """The weight of each of the axis' values in the function at x."""
    n = grid.shape[axis]
    fraction = (x - grid.origin[axis]) / grid.extent[axis]
    if grid.points[axis] == "chebyshev":
        # Polynomials by their recurrence and not as cos(k arccos s), which has no derivative at the ends.
        s = 2 * fraction - 1

        def next_degree(pair: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], Any]:
            below, here = pair
            return (here, 2 * s * here - below), here

        _, later = jax.lax.scan(next_degree, (jnp.ones_like(s), s), None, n - 1)
        basis = jnp.concatenate([jnp.ones_like(s)[None], later]).T
        from_values = chebyshev_coefficients(jnp.eye(n, dtype=grid.dtype), 0)
        return jnp.matmul(basis, from_values, precision=jax.lax.Precision.HIGHEST).astype(dtype)
    offset = 0.5 / n if grid.points[axis] == "centres" else 0.0
    modes = np.arange(n // 2 + 1)
    angles = 2 * np.pi * np.outer(modes, np.arange(n)) / n
    twice = np.where((modes == 0) | (2 * modes == n), 1.0, 2.0)[:, None] / n
    phases = 2 * np.pi * (fraction - offset)[:, None] * jnp.asarray(modes, grid.dtype)
    basis = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=1)
    from_values = jnp.asarray(np.concatenate([twice * np.cos(angles), twice * np.sin(angles)]), grid.dtype)
    return jnp.matmul(basis, from_values, precision=jax.lax.Precision.HIGHEST).astype(dtype)
