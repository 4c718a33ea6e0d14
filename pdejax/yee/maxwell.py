"""Maxwell's equations on Yee's lattice: materials, walls, sources, and what is known of a state."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.callables import as_module
from pdejax.grid import Grid, check_is_grid, check_uniform
from pdejax.yee.lattice import COMPONENTS, curl_terms, derivative, free, positions, smallest_in_cells
from pdejax.yee.walls import Stretching, Walls, stretching, thicknesses, walls_of


class YeeState(eqx.Module):
    """E and H at one time, and what the layers remember.

    - `fields`: `(channel, *grid.shape)`, a channel per component, each at its own places (`Maxwell.positions`).
    - `memory`: by component and axis, the convolutions in the cells of the layers; empty without layers.
    """

    fields: Float[Array, "channel *space"]
    memory: dict[str, Array]


class Maxwell(eqx.Module):
    r"""Maxwell's equations in linear, isotropic media, in one, two or three dimensions.

        permittivity E_t = curl H - conductivity E - J,    permeability H_t = -curl E

    - `grid`: its cells; along axes with walls the points are the cells' centres, which is the default.
    - `permittivity`, `permeability` > 0, `conductivity` >= 0: numbers, or functions of position `(ndim, *space)` that
      return `(*space)`. Every component takes them at its own places, when this is made; a material that jumps there
      needs the mean of both sides to be of second order. Fields by component, leaves to differentiate in.
    - `boundary`: `Conductor()` (the default) or `PerfectlyMatchedLayer(...)`, one for all walls or by side, e.g.
      `{"x": PerfectlyMatchedLayer(12), "y-": Conductor(), "y+": PerfectlyMatchedLayer(8)}`.
    - `current`: J by component of E, functions of `(x, t)` that return `(*space)`, e.g. `{"Ez": lambda x, t: ...}`.
    - `components`: those that are computed, and their order; all six by default. In the plane `yee.TM` and `yee.TE`
      are complete on their own, along a line `("Ez", "Hy")` and `("Ey", "Hz")`. Derivatives along axes that the grid
      does not have are zero.

    Units are the user's: with permittivity and permeability 1 speeds are in those of light.

    Raises `ValueError` for coefficients that are not finite or not positive, components that are incomplete, more than
    three axes, and points that are not the middles of cells.
    """

    grid: Grid
    components: tuple[str, ...] = eqx.field(static=True)
    permittivity: dict[str, Array]
    permeability: dict[str, Array]
    conductivity: dict[str, Array]
    current: dict[str, Any]
    walls: Walls

    def __init__(
        self,
        grid: Grid,
        permittivity: Any = 1.0,
        permeability: Any = 1.0,
        conductivity: Any = 0.0,
        boundary: Any = None,
        current: Mapping[str, Callable[[Any, Any], Any]] | None = None,
        components: Sequence[str] = COMPONENTS,
    ):
        check_is_grid(grid, "Maxwell")
        _check_cells(grid)
        self.grid = grid
        self.components = _checked_components(components, grid.ndim)
        self.walls = walls_of(grid, boundary)
        self.permittivity = self._coefficients("permittivity", permittivity, "E")
        self.permeability = self._coefficients("permeability", permeability, "H")
        self.conductivity = self._coefficients("conductivity", conductivity, "E", may_vanish=True)
        given = dict(current or {})
        if unknown := [name for name in given if name not in self.electric]:
            raise ValueError(f"There is a current along {unknown[0]!r}, and E has the components {self.electric}.")
        if plain := [name for name, function in given.items() if not callable(function)]:
            raise ValueError(f"The current along {plain[0]!r} must be a function of (x, t), got {given[plain[0]]!r}.")
        self.current = {name: as_module(function) for name, function in given.items()}

    @property
    def electric(self) -> tuple[str, ...]:
        return tuple(name for name in self.components if name[0] == "E")

    @property
    def magnetic(self) -> tuple[str, ...]:
        return tuple(name for name in self.components if name[0] == "H")

    def positions(self, name: str) -> Float[Array, "ndim *space"]:
        """Where a component lives. What lies on an upper wall is zero, and has no place among these."""
        return positions(self.grid, name)

    def initial(self, **fields: Any) -> YeeState:
        """The state with these fields, by component, and zero in all others: `maxwell.initial(Ez=lambda x: ...)`.

        A field is a number, an array of the grid's shape, or a function of position `(ndim, *space)`. E and H are at
        one and the same time. What a conductor holds is set to zero. Raises `ValueError` for unknown components,
        other shapes and values that are not finite.
        """
        if unknown := [name for name in fields if name not in self.components]:
            raise ValueError(f"There is no component {unknown[0]!r} here; the components are {self.components}.")
        stacked = jnp.stack([self._sampled(f"initial {name}", fields.get(name, 0.0), name) for name in self.components])
        return YeeState(stacked, self.empty_memory())

    def empty_memory(self) -> dict[str, Array]:
        """That of layers which nothing has entered yet."""
        return {key: jnp.zeros(shape, self.grid.dtype) for key, shape in self.memory_shapes().items()}

    def memory_shapes(self) -> dict[str, tuple[int, ...]]:
        """By the component that a derivative changes and its axis: the grid's shape, with the layers' cells alone."""
        cells = {axis: sum(thicknesses(self.walls, axis)) for axis in range(self.grid.ndim)}
        return {
            f"{name}{term.axis}": tuple(cells[a] if a == term.axis else n for a, n in enumerate(self.grid.shape))
            for name in self.components
            for term in curl_terms(name, self.grid.ndim)
            if cells[term.axis]
        }

    def stretchings(self, dt: Any) -> dict[str, Stretching]:
        """What derivatives meet in the layers, for steps dt; keys as those of the memory."""
        speed = jnp.max(self.speeds())
        found = {
            f"{name}{term.axis}": stretching(self.walls, self.grid, name, term.axis, speed, dt)
            for name in self.components
            for term in curl_terms(name, self.grid.ndim)
        }
        return {key: one for key, one in found.items() if one is not None}

    def curl(
        self,
        name: str,
        fields: dict[str, Array],
        stretchings: Mapping[str, Stretching],
        memory: dict[str, Array],
        renew: bool,
    ) -> tuple[Float[Array, "*space"], dict[str, Array]]:
        """The curl at the place of a component, zero where it is held, and the memory; `renew`: it is a step later."""
        total = jnp.zeros(self.grid.shape, self.grid.dtype)
        for sign, axis, source in curl_terms(name, self.grid.ndim):
            slope = derivative(fields[source], source, axis, self.grid)
            key = f"{name}{axis}"
            if key in stretchings:
                if renew:
                    memory = {**memory, key: stretchings[key].renewed(memory[key], slope)}
                slope = stretchings[key](slope, memory[key])
            total = total + sign * slope
        return total * free(self.grid, name), memory

    def by_name(self, fields: Float[Array, "channel *space"]) -> dict[str, Array]:
        return dict(zip(self.components, fields, strict=True))

    def energy(self, fields: Float[Array, "channel *space"]) -> Float[Array, ""]:
        """The integral of `(permittivity |E|^2 + permeability |H|^2) / 2` over the box.

        It varies by `O(dt^2)` where `YeeStepper.conserved_energy` is constant.
        """
        self.grid.check_state(fields, len(self.components), "The fields")
        parts = self.by_name(fields)
        weights = {**self.permittivity, **self.permeability}
        return self.integral(sum(weights[name] * parts[name] ** 2 for name in self.components)) / 2

    def integral(self, density: Any) -> Float[Array, ""]:
        """Every place stands for a whole cell: at walls, where cells are cut, the fields there are zero."""
        return jnp.sum(density) * self.grid.volume / math.prod(self.grid.shape)

    def speeds(self) -> Float[Array, "..."]:
        """The largest speed of waves in each cell, from the smallest coefficients on its faces and edges; one number
        where they are numbers."""
        eps, mu = (
            functools.reduce(jnp.minimum, [smallest_in_cells(given[name], name, self.grid) for name in given])
            for given in (self.permittivity, self.permeability)
        )
        return 1 / jnp.sqrt(eps * mu)

    def largest_step(self) -> Float[Array, ""]:
        r"""The Courant limit `1 / (c sqrt(sum 1/h^2))`, c the largest of `speeds()`.

        With coefficients that vary it is sufficient: the scheme's energy is a sum over cells, and none of them is more
        than this one allows. Source for constant ones: Taflove & Hagness (2005), section 4.7.
        """
        return 1 / (jnp.max(self.speeds()) * jnp.sqrt(jnp.sum(self.grid.spacing**-2)))

    def _coefficients(self, what: str, value: Any, field: str, may_vanish: bool = False) -> dict[str, Array]:
        values = {}
        for name in self.components:
            if name[0] == field:
                array = self._evaluated(what, value, name)
                if not isinstance(array, Tracer):
                    given = np.asarray(array)
                    if not np.all(np.isfinite(given) & ((given >= 0) if may_vanish else (given > 0))):
                        raise ValueError(
                            f"The {what} must be finite and {'not negative' if may_vanish else 'positive'}; at the "
                            f"places of {name} it is from {given.min():.3g} to {given.max():.3g}."
                        )
                values[name] = array
        return values

    def _evaluated(self, what: str, value: Any, name: str) -> Array:
        array = jnp.asarray(value(self.positions(name)) if callable(value) else value, self.grid.dtype)
        if array.shape not in ((), self.grid.shape) or (array.shape and not callable(value)):
            raise ValueError(
                f"The {what} is a number, or a function of position that returns one value per place, "
                f"{self.grid.shape}; for {name} it has shape {array.shape}."
            )
        return array

    def _sampled(self, what: str, value: Any, name: str) -> Array:
        array = jnp.asarray(value(self.positions(name)) if callable(value) else value, self.grid.dtype)
        if array.shape not in ((), self.grid.shape):
            raise ValueError(f"The {what} has shape {array.shape}, and the grid {self.grid.shape}.")
        if not isinstance(array, Tracer) and not np.all(np.isfinite(np.asarray(array))):
            raise ValueError(f"The {what} is not finite everywhere.")
        return jnp.broadcast_to(array, self.grid.shape) * free(self.grid, name)


def _check_cells(grid: Grid) -> None:
    if grid.ndim > 3:
        raise ValueError(f"Maxwell's equations are for one to three dimensions, and the grid has {grid.ndim}.")
    check_uniform(grid, "Yee's scheme", "which its differences are between", "use the default points")
    for axis, (kind, periodic) in enumerate(zip(grid.points, grid.periodic, strict=True)):
        if kind == "nodes" and not periodic:
            raise ValueError(
                f"Yee's scheme counts cells, and axis {axis} has nodes between its walls: Grid(..., points=None) has "
                "the middles of cells there."
            )


def _checked_components(components: Sequence[str], ndim: int) -> tuple[str, ...]:
    names = (components,) if isinstance(components, str) else tuple(components)
    if unknown := [name for name in names if name not in COMPONENTS]:
        raise ValueError(f"{unknown[0]!r} is no component; they are {COMPONENTS}.")
    if len(set(names)) != len(names) or {name[0] for name in names} != {"E", "H"}:
        raise ValueError(f"Components are named once each, with at least one of E and one of H, got {names}.")
    for name in names:
        if missing := [term.source for term in curl_terms(name, ndim) if term.source not in names]:
            raise ValueError(
                f"In {ndim}D {name} follows {missing[0]}, which is not among the components {names}: add it."
            )
    return names
