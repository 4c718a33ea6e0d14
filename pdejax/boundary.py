"""What holds at the walls: boundary types, and the ghost values they imply.

Whether an axis has walls at all is the grid's (`Grid(..., periodic=...)`); what holds there is stated here.
"""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid

AXIS_NAMES = ("x", "y", "z")


def _number(value: float | Array) -> Float[Array, ""]:
    return jnp.asarray(value, jnp.result_type(float))


class Dirichlet(eqx.Module):
    """The field has a given value at the wall: `u = value`, a number, an array leaf."""

    value: Float[Array, ""] = eqx.field(default=0.0, converter=_number)
    derivative_order: ClassVar[int] = 0


class Neumann(eqx.Module):
    """The field has a given outward derivative at the wall: `du/dn = slope`, n pointing out of the box; a number."""

    slope: Float[Array, ""] = eqx.field(default=0.0, converter=_number)
    derivative_order: ClassVar[int] = 1


Boundary = Dirichlet | Neumann
Sides = tuple[tuple[Boundary, Boundary] | None, ...]


def sides_of(grid: Grid, boundary: Boundary | Mapping[str, Boundary] | None) -> Sides:
    """The two conditions of each axis, `None` where the axis is periodic.

    `boundary` is one condition for every wall, or one per side by name: `{"x-": ..., "x+": ..., "y": ...}`, where
    `"y"` stands for both sides. Raises `ValueError` for a wall without a condition, a condition on a periodic axis, and
    names that are no side.
    """
    if not isinstance(boundary, Mapping):
        given = {} if boundary is None else {name: boundary for name, wraps in _axes(grid) if not wraps}
        if boundary is not None and not given:
            raise ValueError("The grid is periodic along every axis and has no wall to put a boundary condition on.")
    else:
        given = dict(boundary)
    known = {side for name, _ in _axes(grid) for side in (name, f"{name}-", f"{name}+")}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"{unknown[0]!r} is no side of this box; its sides are {sorted(known)}.")
    sides: list[tuple[Boundary, Boundary] | None] = []
    for name, wraps in _axes(grid):
        pair = [given.get(f"{name}{end}", given.get(name)) for end in "-+"]
        if wraps and any(condition is not None for condition in pair):
            raise ValueError(f"Axis {name} is periodic: it has no wall for a boundary condition. Drop {name!r}.")
        if not wraps and any(condition is None for condition in pair):
            missing = name + "-+"[pair.index(None)]
            raise ValueError(
                f"The wall {missing!r} has no boundary condition: pass boundary={{'{missing}': Dirichlet(0.0), ...}}."
            )
        for condition in pair:
            if condition is not None and not isinstance(condition, Dirichlet | Neumann):
                raise ValueError(f"A boundary condition is Dirichlet(...) or Neumann(...), got {condition!r}.")
        sides.append(None if wraps else (pair[0], pair[1]))  # type: ignore[arg-type]
    return tuple(sides)


def ghost_weights(
    points: str, derivative_order: int | None, num_interior: int, num_ghosts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ghost values beyond a wall, from the polynomial through the interior points that meets the wall's condition.

    The wall is at 0, the interior at `i` (nodes) or `i + 1/2` (centres) times h, the ghosts at the mirrored places.
    Returns `(datum, interior)` of shapes `(num_ghosts,)` and `(num_ghosts, num_interior)` for h = 1; a slope datum is
    to be multiplied by h. `derivative_order` None extrapolates without a condition.
    """
    offset = 0.5 if points == "centres" else 0.0
    interior = np.arange(num_interior) + offset
    ghosts = -(np.arange(num_ghosts) + (offset if points == "centres" else 1.0))
    # On nodes a Dirichlet wall is itself the first interior point: its datum is already among the values.
    conditioned = derivative_order is not None and not (points == "nodes" and derivative_order == 0)
    degree = num_interior - 1 + conditioned
    powers = np.arange(degree + 1)
    rows = interior[:, None] ** powers
    if conditioned:
        at_wall = np.zeros(degree + 1)
        at_wall[derivative_order] = 1.0
        rows = np.vstack([at_wall, rows])
    weights = (ghosts[:, None] ** powers) @ np.linalg.inv(rows)
    return (weights[:, 0], weights[:, 1:]) if conditioned else (np.zeros(num_ghosts), weights)


def _axes(grid: Grid) -> list[tuple[str, bool]]:
    return list(zip(AXIS_NAMES, grid.periodic, strict=False))
