"""Means over the box by the quadrature of its grid, for layers that are to be the same function on every grid."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.nn.products import at_least_single


class AxisPoints(NamedTuple):
    """The points of one axis: `positions`, as parts of the extent from 0 to 1; `weights` of a mean, of sum 1."""

    positions: np.ndarray
    weights: np.ndarray
    periodic: bool


def points_of(space: tuple[int, ...], periodic: Sequence[bool], domain: Grid | None) -> tuple[AxisPoints, ...]:
    """The points of every axis: those of `domain`, or nodes where it is None, with the weights of `Grid.integrate`."""
    kinds = ("nodes",) * len(space) if domain is None else domain.points
    precise = jnp.result_type(float) == np.float64
    return tuple(_axis_points(n, bool(p), kind, precise) for n, p, kind in zip(space, periodic, kinds, strict=True))


def mean(u: Float[Array, "channel *space"], points: Sequence[AxisPoints], axes: Sequence[int]) -> Float[Array, "..."]:
    """The mean of `u` along some of the space axes, counted from 0; they are gone from the result."""
    result = u.astype(at_least_single(u.dtype))
    # Equal weights are a plain mean, which is several times as fast as a product with them.
    equal = [axis for axis in axes if np.ptp(points[axis].weights) == 0]
    for axis in sorted(set(axes) - set(equal), reverse=True):
        weights = jnp.asarray(points[axis].weights, result.dtype).reshape(-1, *(1,) * (result.ndim - 2 - axis))
        result = jnp.sum(result * weights, axis=axis + 1, keepdims=True)
    result = jnp.mean(result, axis=tuple(axis + 1 for axis in equal), keepdims=True) if equal else result
    result = jnp.squeeze(result, axis=tuple(axis + 1 for axis in axes))
    return result.astype(u.dtype)


def standardised(
    u: Float[Array, "channel *space"], points: Sequence[AxisPoints], epsilon: float = 1e-5
) -> Float[Array, "channel *space"]:
    """Every channel without its mean over the box, and over the root of its variance plus `epsilon`."""
    every, each = range(len(points)), (-1, *(1,) * len(points))
    deviation = u.astype(at_least_single(u.dtype))
    # Twice, or the rounding of a large mean would be what is divided by its own size.
    for _ in range(2):
        deviation = deviation - mean(deviation, points, every).reshape(each)
    variance = mean(deviation**2, points, every).reshape(each)
    variance = jnp.where(jnp.isfinite(variance), variance, jnp.nan)  # over an infinite root all would be zero
    return (deviation * jax.lax.rsqrt(variance + epsilon)).astype(u.dtype)


@functools.lru_cache(maxsize=256)
def _axis_points(n: int, periodic: bool, kind: Any, precise: bool) -> AxisPoints:
    """`precise` is part of the key only: whether a grid has double precision."""
    weights = np.ones(n)
    # At equal distances not rounded to the precision of a grid, so that a shifted state is turned by exactly the shift.
    if kind == "centres":
        positions = (np.arange(n) + 0.5) / n
    elif kind == "nodes" and periodic:
        positions = np.arange(n) / n
    elif kind == "nodes":
        if n < 2:
            raise ValueError("One node between two walls is no place: use centres, or more points.")
        positions, weights[[0, -1]] = np.arange(n) / (n - 1), 0.5
    else:
        with jax.ensure_compile_time_eval():
            line = Grid(n, 1.0, periodic=periodic, points=kind)
            positions, weights = np.asarray(line.axes[0], float), np.asarray(line.integrate(jnp.eye(n)), float)
    return AxisPoints(positions, weights / np.sum(weights), periodic)
