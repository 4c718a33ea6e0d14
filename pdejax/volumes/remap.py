"""Averages over the cells of one grid, from those over the cells of another."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.grid import Grid, same_box
from pdejax.volumes.limiters import monotonized_central


def remap(u: Float[Array | np.ndarray, "..."], grid: Grid, target: Grid) -> Float[Array, "..."]:
    """The averages over the cells of `target` of what has the averages `u` over those of `grid`, `(..., *grid.shape)`.

    Axis by axis, each cell holds a straight line with the slope of the monotonized central limiter (zero beside walls),
    which is integrated over the cells of the other grid exactly. So the integral is kept to rounding, no new
    extremum is made, and where the cells of `target` are unions of those of `grid` their averages are exact; finer
    cells are second order. Unlike `resample` it makes no ripples of jumps, and knows walls.

    Raises `ValueError` for grids of different boxes (unless these are traced), points that are no cells of one size,
    and arrays that do not end in `grid.shape`.
    """
    concrete = not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((grid, target)))
    if grid.ndim != target.ndim or grid.periodic != target.periodic or (concrete and not same_box(grid, target)):
        raise ValueError(
            f"remap needs two grids of one box, got {grid} and {target}: build the target with grid.with_shape(...)."
        )
    for one in (grid, target):
        for axis, points in enumerate(one.points):
            if points != "centres" and not (points == "nodes" and one.periodic[axis]):
                raise ValueError(f"remap needs cells of one size, and axis {axis} of a grid has {points!r}.")
    if jnp.shape(u)[-grid.ndim :] != grid.shape:
        raise ValueError(f"This grid has shape {grid.shape} but the array ends in {jnp.shape(u)[-grid.ndim :]}.")
    out = jnp.asarray(u)
    out = out.astype(jnp.promote_types(out.dtype, jnp.float32)) if not jnp.issubdtype(out.dtype, jnp.floating) else out
    for axis in range(grid.ndim):
        shifts = [0.0 if one.points[axis] == "centres" else -0.5 / one.shape[axis] for one in (grid, target)]
        if grid.shape[axis] != target.shape[axis] or shifts[0] != shifts[1]:
            along = jnp.moveaxis(out, axis - grid.ndim, -1)
            means, moments = _overlaps(grid.shape[axis], target.shape[axis], *shifts)
            # Accelerators would round the averages to half their digits.
            moved = jnp.matmul(along, means.astype(out.dtype), precision="highest")
            slopes = _slopes(along, grid.periodic[axis])
            moved = moved + jnp.matmul(slopes, moments.astype(out.dtype), precision="highest")
            out = jnp.moveaxis(moved, -1, axis - grid.ndim)
    return out


def remap_state(law: Any, u: Float[Array | np.ndarray, "..."], grid: Grid, target: Grid) -> Float[Array, "..."]:
    """`remap` of the state of a law. In a medium what is at rest is moved (`ConservationLaw.level`): the surface of
    water, and not its depth, for the bottom of a cell is not the mean of those of its parts. What is at rest stays so;
    the volume changes once by the difference of the bottoms. Where the surface would leave no water the depth is moved.
    """
    moved = remap(u, grid, target)
    if not law.parameters(grid.ndim):
        return moved
    u, count = jnp.asarray(u), jnp.shape(u)[-grid.ndim - 1]

    def of_one(v: Array, plain: Array) -> Array:
        beside, there = (law.medium(g.coordinates().astype(v.dtype), w) for g, w in ((grid, v), (target, plain)))
        levels = remap(law.level(jnp.concatenate([v, beside]))[:count], grid, target)
        found = law.from_level(jnp.concatenate([levels, there]))[:count]
        return jnp.where(law.admissible(found), found, plain)

    if u.ndim == grid.ndim + 1:
        return of_one(u, moved)
    flat, others = (a.reshape(-1, *a.shape[-grid.ndim - 1 :]) for a in (u, moved))
    return jax.vmap(of_one)(flat, others).reshape(moved.shape)


def _slopes(u: Array, is_periodic: bool) -> Array:
    """Per cell, along the last axis."""
    if is_periodic:
        return monotonized_central(u - jnp.roll(u, 1, -1), jnp.roll(u, -1, -1) - u)
    steps = jnp.diff(u, axis=-1)
    inside = monotonized_central(steps[..., :-1], steps[..., 1:])
    return jnp.concatenate([jnp.zeros_like(u[..., :1]), inside, jnp.zeros_like(u[..., :1])], axis=-1)


def _overlaps(n: int, m: int, shift: float, target_shift: float) -> tuple[np.ndarray, np.ndarray]:
    """What of each average, and of each slope, becomes part of each new average: two matrices `(n, m)`; shifts are
    those of the first cell, in extents, around the axis."""
    means, moments = np.zeros((n, m)), np.zeros((n, m))
    edges, others = np.arange(n + 1) / n + shift, np.arange(m + 1) / m + target_shift
    for around in (-1, 0, 1) if shift != target_shift else (0,):
        low = np.maximum(edges[:-1, None] + around, others[None, :-1])
        high = np.minimum(edges[1:, None] + around, others[None, 1:])
        share = np.maximum(high - low, 0) * m
        middle = (low + high) / 2 - (edges[:-1, None] + edges[1:, None]) / 2 - around
        means += share
        moments += share * middle * n
    return means, moments
