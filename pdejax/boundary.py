"""What holds at the walls.

Whether an axis has walls at all is the grid's (`Grid(..., periodic=...)`); what holds there is stated here.
"""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.grid import Grid

AXIS_NAMES = ("x", "y", "z")


def _number(value: float | Array) -> Float[Array, ""]:
    number = jnp.asarray(value, jnp.result_type(float))
    if number.ndim != 0:
        raise ValueError(
            f"A boundary condition takes one number, the same for all components; got shape {number.shape}."
        )
    return number


class Dirichlet(eqx.Module):
    """The field has a given value at the wall: `u = value`, a number, an array leaf."""

    value: Float[Array, ""] = eqx.field(default=0.0, converter=_number)
    derivative_order: ClassVar[int] = 0

    def scaled(self, factor: Array) -> "Dirichlet":
        """What `factor` times the field meets."""
        return Dirichlet(self.value * factor)

    def plus(self, other: "Dirichlet") -> "Dirichlet":
        """What the sum of two fields meets."""
        return Dirichlet(self.value + other.value)


class Neumann(eqx.Module):
    """The field has a given outward derivative at the wall: `du/dn = slope`, n pointing out of the box; a number."""

    slope: Float[Array, ""] = eqx.field(default=0.0, converter=_number)
    derivative_order: ClassVar[int] = 1

    def scaled(self, factor: Array) -> "Neumann":
        """What `factor` times the field meets."""
        return Neumann(self.slope * factor)

    def plus(self, other: "Neumann") -> "Neumann":
        """What the sum of two fields meets."""
        return Neumann(self.slope + other.slope)


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
    if grid.ndim > len(AXIS_NAMES) and not all(grid.periodic):
        raise ValueError(f"Walls are named along {AXIS_NAMES}; a grid of {grid.ndim} dimensions must be periodic.")
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


def _axes(grid: Grid) -> list[tuple[str, bool]]:
    names = (*AXIS_NAMES, *(f"x{axis}" for axis in range(len(AXIS_NAMES), grid.ndim)))
    return list(zip(names, grid.periodic, strict=False))
