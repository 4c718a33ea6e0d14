"""Cells beyond the walls, filled so that the fluxes there are what the conditions say.

periodic             the cells of the other end
Outflow()            the last cell again: what leaves is not reflected, to first order
Reflecting()         the mirror image, with what points through the wall turned round: nothing crosses it
Reflecting(free=True)  with what pushes turned round: nothing pushes there
Reflecting(sticks=True)  with all of the velocity turned round: nothing moves there
Dirichlet(value)     the value: what flows in
Neumann(slope)       the mirror image, raised by the slope times the distance
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Dirichlet, Neumann, Outflow, Reflecting, Sides, datum_at
from pdejax.grid import Grid


def padded(
    u: Float[Array, "channel *space"],
    law: Any,
    sides: tuple[Sides, ...],
    grid: Grid,
    t: Any,
    axis: int,
    width: int,
) -> Float[Array, "channel *padded"]:
    """The averages with `width` cells more at either end of `axis`; `sides` has one entry per component."""
    if width == 0:
        return u
    along, n = axis + 1, u.shape[axis + 1]
    if grid.periodic[axis]:
        if width > n:
            return jnp.take(u, np.arange(-width, n + width) % n, axis=along)
        # Pieces in a row: a stencil that looks up every place is several times slower on a CPU.
        ends = (jax.lax.slice_in_dim(u, start, start + width, axis=along) for start in (n - width, 0))
        return jnp.concatenate([next(ends), u, next(ends)], axis=along)
    both = [
        _beyond(u, law, [of_one[axis][index] for of_one in sides], grid, t, axis, end, width)  # type: ignore[index]
        for index, end in enumerate((0, -1))
    ]
    return jnp.concatenate([both[0], u, both[1]], axis=along)


def without(u: Array, axis: int, first: int, last: int) -> Array:
    """Without so many places at the two ends of a space axis."""
    return jax.lax.slice_in_dim(u, first, u.shape[axis + 1] - last, axis=axis + 1)


def _beyond(
    u: Array, law: Any, conditions: list[Any], grid: Grid, t: Any, axis: int, end: int, width: int
) -> Float[Array, "channel *ghost"]:
    """The cells beyond one wall, in the order of their positions."""
    along, n = axis + 1, u.shape[axis + 1]
    # From the wall inwards, and again from the start where there are fewer cells than ghosts.
    inwards = np.minimum(np.arange(width), n - 1)
    order = inwards[::-1] if end == 0 else n - 1 - inwards
    mirrored = jnp.take(u, order, axis=along)
    images = {
        (one.free, one.sticks): _image(law, one, mirrored, axis) for one in conditions if isinstance(one, Reflecting)
    }
    distances = (2 * np.arange(width) + 1.0)[:: -1 if end == 0 else 1]
    rise = grid.mean_spacing(axis) * jnp.asarray(distances, u.dtype).reshape(-1, *(1,) * (grid.ndim - axis - 1))
    last = jnp.take(u, np.full(width, 0 if end == 0 else n - 1), axis=along)
    parts = []
    for component, condition in enumerate(conditions):
        if isinstance(condition, Reflecting):
            part = images[condition.free, condition.sticks][component]
        elif isinstance(condition, Outflow):
            part = last[component]
        else:
            datum = datum_at(condition, grid, axis, end, t)
            assert isinstance(condition, Dirichlet | Neumann)
            part = datum if isinstance(condition, Dirichlet) else mirrored[component] + rise * datum
        parts.append(jnp.broadcast_to(part, mirrored.shape[1:]))
    return jnp.stack(parts)


def _image(law: Any, wall: Reflecting, mirrored: Array, axis: int) -> Array:
    made = law.released if wall.free else law.halted if wall.sticks else law.reflected
    return made(mirrored, axis)
