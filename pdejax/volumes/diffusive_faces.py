"""What spreads through a face: the diffusive flux of a law between two cells, second order.

The state at a face is the mean of the two cells', its slope across the face their difference over the spacing, and its
slopes along the face the mean of the two cells' central differences (one-sided ones of second order beside walls). The
value at a wall (`Dirichlet`) is that of the face.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.boundary import Dirichlet, Sides
from pdejax.grid import Grid


def diffusive_flux(
    law: Any, whole: Float[Array, "channel *padded"], sides: tuple[Sides, ...], grid: Grid, axis: int
) -> Float[Array, "channel *faces"]:
    """The flux through every face across `axis`, from averages with one cell more at either end of this axis."""
    w = _with_values_at_walls(law.primitive(whole), sides, axis)
    below, above = (jax.lax.slice_in_dim(w, i, w.shape[axis + 1] - 1 + i, axis=axis + 1) for i in (0, 1))
    gradient = []
    for other in range(grid.ndim):
        if other == axis:
            gradient.append((above - below) / grid.mean_spacing(axis))
        else:
            slope = _slope(w, other + 1, grid.periodic[other]) / grid.mean_spacing(other)
            n = slope.shape[axis + 1]
            ends = [jax.lax.slice_in_dim(slope, i, n - 1 + i, axis=axis + 1) for i in (0, 1)]
            gradient.append((ends[0] + ends[1]) / 2)
    return law.diffusive_flux((below + above) / 2, jnp.stack(gradient), axis)


def _with_values_at_walls(w: Array, sides: tuple[Sides, ...], axis: int) -> Array:
    """Beyond a wall with a value lies this value: for what spreads it is at the wall itself, halfway to the cell."""
    for end, (ghost, inner) in enumerate(((0, 1), (-1, -2))):
        for component, of_one in enumerate(sides):
            pair = of_one[axis]
            if isinstance(pair, tuple) and isinstance(pair[end], Dirichlet):
                at = lambda place, c=component: (c, *(slice(None),) * axis, place)  # noqa: E731
                w = w.at[at(ghost)].set(2 * w[at(ghost)] - w[at(inner)])
    return w


def _slope(w: Array, along: int, is_periodic: bool) -> Array:
    """Differences per cell."""
    if is_periodic:
        return (jnp.roll(w, -1, along) - jnp.roll(w, 1, along)) / 2
    steps = jnp.diff(w, axis=along)
    inside = (_part(steps, along, 1, None) + _part(steps, along, 0, -1)) / 2
    if w.shape[along] == 2:
        return jnp.concatenate([steps, steps], axis=along)
    first = (3 * _part(steps, along, 0, 1) - _part(steps, along, 1, 2)) / 2
    last = (3 * _part(steps, along, -1, None) - _part(steps, along, -2, -1)) / 2
    return jnp.concatenate([first, inside, last], axis=along)


def _part(values: Array, along: int, start: int | None, stop: int | None) -> Array:
    return jax.lax.slice_in_dim(values, start, stop, axis=along)
