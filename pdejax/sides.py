"""From the terse way to write boundary conditions to one condition for each side of each component.

    FiniteDifference(grid, boundary=0.0)                                        u = 0 at every wall
    FiniteDifference(grid, boundary={"x": 0.0, "y-": Neumann(1.0), "*": Robin(2.0, 1.0)})
    FiniteDifference(grid, boundary={"u": {"x": 0.0}, "v": Neumann()})          by component, then by side

A side is `x-`, `x+` or `x` for both; `*` is every wall, or component, that is not named. A number, an array or a
function stands for `Dirichlet`, a mixture without a value for `Neumann`; `{"value": 1.0}` and `{"derivative": 1.0}` for
`Dirichlet(1.0)` and `Neumann(1.0)`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer

from pdejax.boundary import AntiPeriodic, Condition, Dirichlet, Neumann, Reflecting, Robin, Sides
from pdejax.grid import Grid

AXIS_NAMES = ("x", "y", "z")
_SHORT = {"value": Dirichlet, "derivative": Neumann}


class Walls(eqx.Module):
    """The conditions of every component; `by_component` has one entry `"*"` where all meet the same.

    Raises `ValueError` for a wall without a condition, a condition on a periodic axis, names that are no side, axes
    that change the sign of some components only and, without `reflecting`, for `Reflecting` walls.
    """

    by_component: dict[str, Sides]

    def __init__(self, grid: Grid, boundary: Any, reflecting: bool = False):
        if _is_by_component(grid, boundary):
            self.by_component = {name: _sides(grid, stated, name, reflecting) for name, stated in boundary.items()}
        else:
            self.by_component = {"*": _sides(grid, boundary, None, reflecting)}
        stated = [one for sides in self.by_component.values() for pair in sides if pair for one in _each(pair)]
        if not reflecting and any(isinstance(one, Reflecting) for one in stated):
            raise ValueError(
                "Reflecting() is a wall for the finite volumes of conservation laws (FiniteVolume); here state what "
                "each component meets, such as Dirichlet(0.0) for a velocity through the wall and Neumann(0.0)."
            )
        turning = {tuple(isinstance(pair, AntiPeriodic) for pair in sides) for sides in self.by_component.values()}
        if len(turning) > 1:
            raise ValueError("An axis is anti-periodic for all components or for none: state it for each of them.")

    @property
    def fit_every_resolution(self) -> bool:
        """Whether no datum is an array, with an entry per point of the wall."""
        stated = [one for sides in self.by_component.values() for pair in sides if pair for one in _each(pair)]
        data = [getattr(one, "value", 0.0) for one in stated]
        return all(callable(datum) or jnp.ndim(datum) == 0 for datum in data)

    def of(self, names: Sequence[str], equation: str) -> tuple[Sides, ...]:
        """One `Sides` per component. Raises `ValueError` for names that the equation does not have, and for those it
        has and `boundary` does not."""
        given = self.by_component
        if unknown := sorted(set(given) - {*names, "*"}):
            raise ValueError(
                f"`boundary` names {unknown[0]!r}, which is neither a side of this box nor a component of {equation}, "
                f"which has {tuple(names)}."
            )
        if missing := [name for name in names if name not in given and "*" not in given]:
            raise ValueError(
                f"Component {missing[0]!r} of {equation} has no boundary conditions: `boundary` names {sorted(given)}. "
                f"Add {missing[0]!r}, or '*' for all others."
            )
        return tuple(given.get(name, given.get("*", ())) for name in names)


def _each(pair: Any) -> tuple[Any, ...]:
    return pair if isinstance(pair, tuple) else (pair,)


def _axis_names(grid: Grid) -> list[str]:
    return [*AXIS_NAMES, *(f"x{axis}" for axis in range(len(AXIS_NAMES), grid.ndim))][: grid.ndim]


def _side_names(grid: Grid) -> list[str]:
    return sorted(side for name in _axis_names(grid) for side in (name, f"{name}-", f"{name}+"))


def _is_by_component(grid: Grid, boundary: Any) -> bool:
    if not isinstance(boundary, Mapping) or set(boundary) <= set(_SHORT):
        return False
    named = set(boundary) - {"*"}
    sides = set(_side_names(grid))
    if named & sides and named - sides:
        raise ValueError(
            f"{min(named - sides)!r} is no side of this box; its sides are {sorted(sides)}. Conditions by component "
            'are written {"u": {"x": ...}, "v": ...}.'
        )
    return bool(named - sides)


def _sides(grid: Grid, boundary: Any, component: str | None, reflecting: bool) -> Sides:
    """The conditions of one component."""
    example = "Reflecting()" if reflecting else "Dirichlet(0.0)"
    of_component = "" if component is None else f" of component {component!r}"
    names = _axis_names(grid)
    if grid.ndim > len(AXIS_NAMES) and not all(grid.periodic):
        raise ValueError(f"Walls are named along {AXIS_NAMES}; a grid of {grid.ndim} dimensions must be periodic.")
    if isinstance(boundary, Mapping) and not set(boundary) <= set(_SHORT):
        given = dict(boundary)
    else:
        if boundary is not None and all(grid.periodic) and not isinstance(boundary, AntiPeriodic):
            raise ValueError("The grid is periodic along every axis and has no wall to put a boundary condition on.")
        given = {} if boundary is None else {"*": boundary}
    if unknown := sorted(set(given) - {*_side_names(grid), "*"}):
        raise ValueError(f"{unknown[0]!r} is no side of this box; its sides are {_side_names(grid)}.")
    sides: list[Any] = []
    for name, wraps in zip(names, grid.periodic, strict=True):
        stated = [given.get(f"{name}{end}", given.get(name)) for end in "-+"]
        if wraps:
            turns = isinstance(given.get(name, given.get("*") if None in stated else None), AntiPeriodic)
            if any(one is not None and not isinstance(one, AntiPeriodic) for one in stated):
                raise ValueError(f"Axis {name} is periodic: it has no wall for a boundary condition. Drop {name!r}.")
            sides.append(AntiPeriodic() if turns else None)
            continue
        pair = [given.get("*") if one is None else one for one in stated]
        if any(one is None for one in pair):
            missing = name + "-+"[pair.index(None)]
            raise ValueError(
                f"The wall {missing!r}{of_component} has no boundary condition: pass boundary={{'{missing}': "
                f"{example}, ...}}."
            )
        sides.append(tuple(_condition(one, grid, axis) for axis, one in [(names.index(name), one) for one in pair]))
    return tuple(sides)


def _condition(stated: Any, grid: Grid, axis: int) -> Condition:
    if isinstance(stated, Mapping) and len(stated) == 1 and set(stated) <= set(_SHORT):
        ((kind, value),) = stated.items()
        return _SHORT[kind](value)
    if isinstance(stated, AntiPeriodic):
        raise ValueError(
            f"Axis {axis} has walls, and AntiPeriodic is for periodic ones: Grid(..., periodic=True) along this axis."
        )
    if isinstance(stated, type) or isinstance(stated, str | Mapping):
        raise ValueError(
            "A boundary condition is a number, an array, a function of (x, t), or one of Dirichlet(...), Neumann(...), "
            f"Robin(...), Outflow(), Reflecting(), got {stated!r}."
        )
    if isinstance(stated, Robin) and grid.placement[axis] == "nodes" and not isinstance(stated.slope_weight, Tracer):
        if float(stated.slope_weight) == 0:
            raise ValueError("Robin(a, 0.0, v) at points on the wall is Dirichlet(v / a): state it so.")
    if isinstance(stated, Robin) and not isinstance(stated.value_weight, Tracer) and float(stated.value_weight) == 0:
        # A slope and nothing else: what has constants to spare must know.
        return Neumann(
            _Over(stated.value, stated.slope_weight) if callable(stated.value) else stated.value / stated.slope_weight
        )
    return stated if isinstance(stated, Condition) else Dirichlet(stated)


class _Over(eqx.Module):
    """A datum over a number."""

    datum: Any
    weight: Any

    def __call__(self, x: Any, t: Any) -> Any:
        return self.datum(x, t) / jnp.asarray(self.weight, jnp.result_type(self.datum(x, t)))
