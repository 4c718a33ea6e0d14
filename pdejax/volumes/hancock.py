r"""One step of a conservation law with one Riemann problem per face: the scheme of Hancock and van Leer.

The two values at a face are those of half a step later, which the cell itself says, without its neighbours: each cell's
edge values change by

    h / 2 (- sum over axes of (f_a(upper edge) - f_a(lower edge)) / h_a + what the medium does between them + s)

Then one flux per face lasts for the whole step. Of second order in time and space (with MUSCL), and stable up to the
CFL number one; for constant velocities along a line exact there.

Source: van Leer, SIAM J. Sci. Stat. Comput. 5 (1984) 1; Toro, Riemann Solvers and Numerical Methods for Fluid Dynamics
(2009), section 14.4.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.boundary import Neumann
from pdejax.fields.blocks import is_whole, on_blocks
from pdejax.volumes.finite_volume import FiniteVolume
from pdejax.volumes.ghost_cells import without


def hancock_step(
    volumes: FiniteVolume, law: Any, t: Any, u: Float[Array, "channel *space"], h: Any
) -> Float[Array, "channel *space"]:
    """The averages at `t + h` from those at t.

    Raises `ValueError` for laws that spread or hold a field without sources, and for walls with a slope, of which one
    flux per face is not second order.
    """
    if reason := reason_against(volumes, law):
        raise ValueError(f"Hancock() takes one flux per step, and {reason}: use SSPRK2() or SSPRK3().")
    if not is_whole(volumes):
        # Edge values of half a step later are those of the neighbours, too.
        return on_blocks(volumes, lambda block, v: hancock_step(block, law, t, v, h), u, volumes.reach(law) + 1)
    grid = volumes.grid
    whole = volumes.in_medium(law, u)
    count = u.shape[0]
    faces = [volumes.at_faces(law, t, whole, axis) for axis in range(grid.ndim)]
    edges = [(without(right, a, 0, 1), without(left, a, 1, 0)) for a, (left, right) in enumerate(faces)]
    change = jnp.zeros_like(u)
    for axis, (lower, upper) in enumerate(edges):
        between = law.push(lower, upper, axis)
        rate = law.flux(lower, axis) - law.flux(upper, axis) + (0.0 if between is None else between)
        change = change + rate / grid.mean_spacing(axis)
    source = law.source(t, grid.coordinates(), whole)
    change = h / 2 * (change if source is None else change + source)
    # A medium that the state makes (the field of electrons) is half a step older, too.
    change = jnp.concatenate([change, volumes.in_medium(law, u + change)[count:] - whole[count:]])
    if law.positive(u):
        # A cell whose edges would be lost keeps them as they are: there it is first order in time.
        is_kept = jnp.ones(u.shape[1:], bool)
        for edge in (edge for pair in edges for edge in pair):
            is_kept = is_kept & law.admissible((edge + change)[:count])
        change = jnp.where(is_kept, change, 0.0)

    total = jnp.where(law.admissible(u), jnp.zeros_like(u), jnp.nan)
    for axis, pair in enumerate(edges):
        lower, upper = (edge + change for edge in pair)
        left = without(volumes.padded(law, t + h / 2, upper, axis, 1), axis, 0, 1)
        right = without(volumes.padded(law, t + h / 2, lower, axis, 1), axis, 1, 0)
        seen = law.at_step(left, right, axis)
        flux = volumes.flux_between(law, seen, axis)
        total = total - jnp.diff(flux, axis=axis + 1) / grid.mean_spacing(axis)
        total = total + volumes.push(law, (left, right), seen, axis) / grid.mean_spacing(axis)
    source = law.source(t + h / 2, grid.coordinates(), whole + change)
    return u + h * (total if source is None else total + source)


def reason_against(volumes: FiniteVolume, law: Any) -> str:
    """Why this scheme is not for a law on these volumes, or nothing."""
    name = type(law).__name__
    if law.spreads or law.has_higher_derivatives:
        return f"{name} spreads"
    if law.solenoidal(volumes.grid.ndim):
        return f"{name} holds a field without sources"
    pairs = [pair for sides in volumes.walls.by_component.values() for pair in sides if isinstance(pair, tuple)]
    if any(isinstance(one, Neumann) for pair in pairs for one in pair):
        return "there are walls with a slope (Neumann)"
    return ""
