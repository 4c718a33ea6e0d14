r"""Fields that stay without sources: the same circulation around an edge for all faces that meet there.

For a field B whose law is `B_t = -curl E`, the flux of `B_b` through a face across a is minus that of `B_a` through a
face across b: both are components of E. Riemann solvers make two values of it. Here their mean over the four faces
around each edge is taken, and is brought back to the faces: with `m` means and `d` differences of neighbours,

    E_ab = (m_b f_a[B_b] - m_a f_b[B_a]) / 2,        f_a[B_b] <- m_b E_ab,    f_b[B_a] <- -m_a E_ab,    f_a[B_a] <- 0

Then the divergence at the corners of cells, `sum over a of (product of m_b, b != a) d_a B_a / h_a`, does not change:
each E_ab enters twice, with opposite signs. At a wall the edges take the mean of the wall's own faces.

All is linear in the fluxes and of second order.

Source: Toth, J. Comput. Phys. 161 (2000) 605, section 4.3 (flux constrained transport on averages over cells).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid


def divergence(field: Float[Array, "axis *cell"], grid: Grid) -> Float[Array, "*corner"]:
    """The divergence that finite volumes keep, of averages over cells, at the corners where `2^ndim` cells meet.

    `field` has one component per axis of `grid`. There are as many corners as cells along a periodic axis, the first
    below the first cell, and one fewer between walls. Raises `ValueError` for another shape of the field.
    """
    grid.check_state(field, grid.ndim, "The field")
    total = jnp.zeros((), field.dtype)
    for axis in range(grid.ndim):
        part = field[axis]
        for other in range(grid.ndim):
            below, above = _neighbours(part, other, grid.periodic[other])
            part = (above - below) / grid.mean_spacing(axis) if other == axis else (below + above) / 2
        total = total + part
    return total


def solenoidal_field(potential: Callable[[Array], Any], grid: Grid) -> Float[Array, "axis *cell"]:
    """The curl of a vector potential as averages over cells whose `divergence` is zero to rounding; second order.

    - `potential`: a function of positions, `(ndim, *place)`. In two dimensions the component across the plane,
      `(*place)`: `B = (dA/dy, -dA/dx)`. In three its three components, `(3, *place)`: `B = curl A`.
    - `grid`: two or three dimensions. Around a periodic axis the potential may rise, by the same everywhere: `A = B_0 y`.

    Raises `ValueError` for other dimensions: in one, B along the axis is one number.
    """
    if grid.ndim not in (2, 3):
        raise ValueError(
            f"solenoidal_field takes a grid of two or three dimensions, got {grid.ndim}: in one the field along the "
            "axis is a constant."
        )
    parts: list[Any] = [0.0] * grid.ndim
    # The potential along c circles round the edges along c: centres of that axis, corners of the others.
    for along in (2,) if grid.ndim == 2 else range(3):
        a, b = (along + 1) % 3, (along + 2) % 3
        places = [_edges(grid, axis) if axis != along else grid.axes[axis] for axis in range(grid.ndim)]
        values = jnp.asarray(potential(jnp.stack(jnp.meshgrid(*places, indexing="ij"))))
        values = values if grid.ndim == 2 else values[along]
        # B_a = dA_c / db, and B_b = - dA_c / da, on faces; then the mean of the two faces of each cell.
        for component, slope, sign in ((a, b, 1.0), (b, a, -1.0)):
            rise = jnp.diff(values, axis=slope) / grid.mean_spacing(slope)
            below, above = _neighbours(rise, component, False)
            parts[component] = parts[component] + sign * (below + above) / 2
    return jnp.stack(parts)


def constrained(
    fluxes: Sequence[Float[Array, "channel *faces"]], components: Sequence[int], grid: Grid
) -> list[Float[Array, "channel *faces"]]:
    """The fluxes through the faces across each axis, with those of the field at `components`, one per axis, such that
    its `divergence` does not change."""
    result = [flux.at[components[axis]].set(0.0) for axis, flux in enumerate(fluxes)]
    for a in range(grid.ndim):
        for b in range(a + 1, grid.ndim):
            one, other = fluxes[a][components[b]], -fluxes[b][components[a]]
            at_edges = _electric_field(one, other, a, b, grid)
            for normal, along, sign in ((a, b, 1.0), (b, a, -1.0)):
                below, above = _neighbours(at_edges, along, False)
                result[normal] = result[normal].at[components[along]].set(sign * (below + above) / 2)
    return result


def _electric_field(one: Array, other: Array, a: int, b: int, grid: Grid) -> Array:
    """At the edges across a and b, the mean of both: `one` on faces across a, `other` on faces across b."""
    one, other = _to_edges(one, b, grid.periodic[b]), _to_edges(other, a, grid.periodic[a])
    mean = (one + other) / 2
    if not grid.periodic[a]:
        mean = jnp.where(_ends(mean.shape, a), one, mean)
    if not grid.periodic[b]:
        mean = jnp.where(_ends(mean.shape, b), other, mean)
        if not grid.periodic[a]:
            mean = jnp.where(_ends(mean.shape, a) & _ends(mean.shape, b), (one + other) / 2, mean)
    return mean


def _to_edges(values: Array, axis: int, periodic: bool) -> Array:
    """From the n cells of an axis to its n + 1 edges; at a wall the value of the last cell."""
    n = values.shape[axis]
    indices = np.arange(-1, n + 1)
    whole = jnp.take(values, indices % n if periodic else np.clip(indices, 0, n - 1), axis=axis)
    below, above = _neighbours(whole, axis, False)
    return (below + above) / 2


def _neighbours(values: Array, axis: int, periodic: bool) -> tuple[Array, Array]:
    """What is below and above each place between two; periodic: also below the first."""
    if periodic:
        return jnp.roll(values, 1, axis=axis), values
    n = values.shape[axis]
    return jax.lax.slice_in_dim(values, 0, n - 1, axis=axis), jax.lax.slice_in_dim(values, 1, n, axis=axis)


def _ends(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Whether a place is at one of the two ends of an axis."""
    index = np.arange(shape[axis])
    return ((index == 0) | (index == shape[axis] - 1)).reshape(-1, *(1,) * (len(shape) - axis - 1))


def _edges(grid: Grid, axis: int) -> Float[Array, " edge"]:
    centres, half = grid.axes[axis], grid.mean_spacing(axis) / 2
    return jnp.append(centres - half, centres[-1] + half)
