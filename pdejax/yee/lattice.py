"""Yee's lattice: where each component of E and H lives, and the differences that lead from one to the other.

Along its own axis a component of E lies at the middle of the cells, along all others on their edges; for H it is the
other way round. Every derivative in a curl then is a central difference of two neighbours that ends where it is needed.
All components have the shape of the grid: what lies on edges has its last one, at an upper wall, left out, because it
is zero there, as it is at the lower one (tangential E and normal H at a perfect conductor).

Source: Yee, IEEE Trans. Antennas Propag. 14 (1966) 302.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid

COMPONENTS = ("Ex", "Ey", "Ez", "Hx", "Hy", "Hz")
# The two polarisations of a plane in which nothing varies along z.
TM = ("Ez", "Hx", "Hy")
TE = ("Ex", "Ey", "Hz")
_AXES = "xyz"


class Term(NamedTuple):
    """`sign * d(source)/d(axis)`, a part of a component of a curl."""

    sign: int
    axis: int
    source: str


def curl_terms(name: str, ndim: int) -> tuple[Term, ...]:
    """What the curl has at the place of a component: of H for components of E, of E for those of H."""
    other, own = "H" if name[0] == "E" else "E", _AXES.index(name[1])
    after, last = (own + 1) % 3, (own + 2) % 3
    terms = (Term(1, after, other + _AXES[last]), Term(-1, last, other + _AXES[after]))
    return tuple(term for term in terms if term.axis < ndim)


def is_half(name: str, axis: int) -> bool:
    """Whether a component lies in the middle of the cells along an axis, not on their edges."""
    return (_AXES[axis] == name[1]) == (name[0] == "E")


def positions(grid: Grid, name: str) -> Float[Array, "ndim *space"]:
    """The places of a component, first axis the coordinate."""
    along = [
        grid.origin[axis] + (jnp.arange(n, dtype=grid.dtype) + is_half(name, axis) / 2) * grid.mean_spacing(axis)
        for axis, n in enumerate(grid.shape)
    ]
    return jnp.stack(jnp.meshgrid(*along, indexing="ij"))


def derivative(f: Float[Array, "*space"], source: str, axis: int, grid: Grid) -> Float[Array, "*space"]:
    """`df/d(axis)` of a component, half a cell from where it lies."""
    if is_half(source, axis):
        before = jnp.roll(f, 1, axis) if grid.periodic[axis] else _shifted(f, axis, -1)
        difference = f - before
    else:
        after = jnp.roll(f, -1, axis) if grid.periodic[axis] else _shifted(f, axis, 1)
        difference = after - f
    return difference / grid.mean_spacing(axis)


def free(grid: Grid, name: str) -> Float[np.ndarray, "..."]:
    """One where a component is free and zero where a conductor holds it, in a shape that broadcasts."""
    mask = np.ones((1,) * grid.ndim, grid.dtype)
    for axis, n in enumerate(grid.shape):
        if not grid.periodic[axis] and not is_half(name, axis):
            mask = mask * (np.arange(n) > 0).reshape([-1 if a == axis else 1 for a in range(grid.ndim)])
    return mask.astype(grid.dtype)


def smallest_in_cells(values: Float[Array, "..."], name: str, grid: Grid) -> Float[Array, "..."]:
    """Of the values at a component's places on the corners, edges or faces of each cell the smallest one."""
    for axis, n in enumerate(values.shape):
        if not is_half(name, axis):
            after = np.arange(1, n + 1) % n if grid.periodic[axis] else np.minimum(np.arange(1, n + 1), n - 1)
            values = jnp.minimum(values, jnp.take(values, after, axis))
    return values


def _shifted(f: Array, axis: int, by: int) -> Array:
    """The neighbour of each value, and zero beyond a wall."""
    padding = [(0, 0)] * f.ndim
    padding[axis] = (1, 0) if by < 0 else (0, 1)
    n = f.shape[axis]
    start = 0 if by < 0 else 1
    index = [slice(None)] * f.ndim
    index[axis] = slice(start, start + n)
    return jnp.pad(f, padding)[tuple(index)]
