r"""Fields that stay without sources: one electric field along each edge for all faces that meet there.

For a field B whose law is `B_t = -curl E`, the flux of `B_b` through a face across a is minus that of `B_a` through a
face across b: both are components of E. Riemann solvers make several values of it around an edge. With `m` means and
`d` differences of neighbours, and E in cells that of their averages,

    E_ab = m_b f_a[B_b] - m_a f_b[B_a] - m_a m_b E_ab(cell)
    f_a[B_b] <- m_b E_ab,    f_b[B_a] <- -m_a E_ab,    f_a[B_a] <- 0

Then the divergence at the corners of cells, `sum over a of (product of m_b, b != a) d_a B_a / h_a`, does not change:
each E_ab enters twice, with opposite signs. A flow that varies along one axis alone has the fluxes that it would have
without the others; the mean of the four faces, which is simpler, has half of their dissipation there. Beyond walls the
fluxes of the last cells are taken again, where `Reflecting()` with the other sign: then E along the wall is zero.

Of second order.

Sources: Toth, J. Comput. Phys. 161 (2000) 605 (averages over cells, the divergence at corners); Gardiner & Stone,
J. Comput. Phys. 205 (2005) 509 (the electric field).
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Reflecting, Sides
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
    - `grid`: two or three dimensions. Around a periodic axis A may rise, by the same everywhere: `B_0 y`.

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
    law: Any,
    fluxes: Sequence[Float[Array, "channel ..."]],
    u: Float[Array, "channel *cell"],
    sides: Sequence[Sides],
    grid: Grid,
) -> list[Float[Array, "channel ..."]]:
    """The fluxes through the faces across each axis, with those of the field that `law.solenoidal` names, if any, such
    that its `divergence` does not change; `sides` has one entry per component."""
    components = law.solenoidal(grid.ndim)
    result = [flux.at[components[axis]].set(0.0) if components else flux for axis, flux in enumerate(fluxes)]
    for a, b in itertools.combinations(range(len(components)), 2):
        # What a mirror makes of the field across a wall it makes of E along it.
        walls_a, walls_b = (sides[components[axis]][axis] for axis in (a, b))
        through_a = _to_edges(fluxes[a][components[b]], b, walls_b)
        through_b = _to_edges(-fluxes[b][components[a]], a, walls_a)
        of_cells = _to_edges(_to_edges(law.flux(u, a)[components[b]], b, walls_b), a, walls_a)
        at_edges = through_a + through_b - of_cells
        for normal, along, sign in ((a, b, 1.0), (b, a, -1.0)):
            below, above = _neighbours(at_edges, along, False)
            result[normal] = result[normal].at[components[along]].set(sign * (below + above) / 2)
    return result


def _to_edges(values: Array, axis: int, walls: Any) -> Array:
    """From the n cells of an axis to its n + 1 edges: the mean of two neighbours."""
    n = values.shape[axis]
    whole = jnp.take(values, np.arange(-1, n + 1) % n, axis=axis)
    if isinstance(walls, tuple):
        signs = [-1.0 if isinstance(wall, Reflecting) else 1.0 for wall in walls]
        first, last = (jax.lax.slice_in_dim(values, i, i + 1, axis=axis) for i in (0, n - 1))
        whole = jnp.concatenate([signs[0] * first, values, signs[1] * last], axis=axis)
    below, above = _neighbours(whole, axis, False)
    return (below + above) / 2


def _neighbours(values: Array, axis: int, periodic: bool) -> tuple[Array, Array]:
    """What is below and above each place between two; periodic: also below the first."""
    if periodic:
        return jnp.roll(values, 1, axis=axis), values
    n = values.shape[axis]
    return jax.lax.slice_in_dim(values, 0, n - 1, axis=axis), jax.lax.slice_in_dim(values, 1, n, axis=axis)


def _edges(grid: Grid, axis: int) -> Float[Array, " edge"]:
    centres, half = grid.axes[axis], grid.mean_spacing(axis) / 2
    return jnp.append(centres - half, centres[-1] + half)
