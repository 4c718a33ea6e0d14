"""Finite volumes as the classical rivals: for data with shocks, walls or both."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.data.provenance import kinds_of_walls
from pdejax.equations import ConservationLaw, Equation
from pdejax.evaluate.coefficients import with_coefficients
from pdejax.evaluate.on_data_grid import OnDataGrid
from pdejax.grid import Grid, same_box
from pdejax.solvers import SSPRK3, Hancock, TimeStepper
from pdejax.volumes import MUSCL, WENO, AbstractReconstruction, FiniteVolume, remap_state
from pdejax.volumes.hancock import reason_against


@dataclasses.dataclass(frozen=True)
class VolumeRivals:
    """Finite volumes on the data's cells and on coarser ones: every reconstruction, resolution and CFL number.

    - `discretisation`: a `FiniteVolume` on the data's box. Its walls, numerical flux, variables and positivity are
      those of all rivals.
    - `schemes` (a reconstruction and a solver each), `fractions` (of the data's cells per axis), `courant_numbers`:
      what is varied. Steps follow from the fastest waves in some frames of the largest trajectories. `Hancock()` is
      left out where it is not for the law.
    - `least_points`: no rival is coarser along any axis.

    A rival starts from averages over its own cells, and its states become averages over the data's cells again
    (`pdejax.volumes.remap`) at every output; both are part of its cost. Errors are those of these averages.

    Raises `ValueError` for values that make no sense.
    """

    discretisation: Any
    schemes: tuple[tuple[AbstractReconstruction, Any], ...] = (
        (MUSCL(), Hancock()),
        (MUSCL(), SSPRK3()),
        (WENO(5), SSPRK3()),
    )
    fractions: tuple[float, ...] = (1.0, 0.5, 0.25)
    courant_numbers: tuple[float, ...] = (0.8, 0.4)
    least_points: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.discretisation, FiniteVolume):
            raise ValueError(f"VolumeRivals takes a FiniteVolume, got {self.discretisation!r}.")
        for name in ("fractions", "courant_numbers"):
            values = getattr(self, name)
            if not values or not all(0 < value <= 1 for value in values):
                raise ValueError(f"VolumeRivals needs {name} in (0, 1], got {values}.")
        if not self.schemes:
            raise ValueError("VolumeRivals needs a scheme, such as (MUSCL(), SSPRK3()).")
        if not self.discretisation.walls.fit_every_resolution:
            raise ValueError("VolumeRivals needs data of walls that fit every resolution: functions, not arrays.")

    def shapes(self, grid: Grid) -> list[tuple[int, ...]]:
        """The resolutions on this grid, finest first, each once."""
        sizes = [tuple(round(fraction * n) for n in grid.shape) for fraction in sorted(self.fractions, reverse=True)]
        return [s for s in dict.fromkeys(sizes) if all(m >= self.least_points for m in s)] or [grid.shape]

    def rivals(
        self,
        equation: Equation,
        grid: Grid,
        dt: float,
        states: Float[Array | np.ndarray, "state channel *space"],
        shapes: Sequence[tuple[int, ...]],
        *,
        times: Float[np.ndarray, " state"],
        coefficients: Mapping[str, Float[Array | np.ndarray, "state ..."]],
        made_between: Mapping[str, Any] | None = None,
    ) -> dict[str, OnDataGrid]:
        """The rivals by name, in the grid's dtype, at these resolutions; `made_between` are the walls of the data, in
        the words of its provenance.

        Raises `ValueError` for an equation that states no flux, and for another box or other walls than those of the
        data.
        """
        if not isinstance(equation, ConservationLaw):
            raise ValueError(f"{type(equation).__name__} states no flux, which VolumeRivals read: use RivalFamily.")
        own = self.discretisation.grid
        if own.ndim != grid.ndim or not same_box(own, grid):
            raise ValueError(f"VolumeRivals on {own} are none of data on {grid}: build them on the data's box.")
        stated = kinds_of_walls(self.discretisation)
        if made_between and made_between != stated:
            raise ValueError(f"The data was made between the walls {made_between}, and these rivals have {stated}.")
        found: dict[str, OnDataGrid] = {}
        for shape in shapes:
            reading = eqx.tree_at(lambda r: r.grid, self.discretisation, own.with_shape(shape).with_dtype(grid.dtype))
            fastest = _fastest(equation, reading, grid, jnp.asarray(states, grid.dtype), times, coefficients)
            for reconstruction, solver in self.schemes:
                scheme = eqx.tree_at(lambda r: r.reconstruction, reading, reconstruction)
                if isinstance(solver, Hancock) and reason_against(scheme, equation):
                    continue
                for number in self.courant_numbers:
                    substeps = max(1, math.ceil(dt * fastest / number - 1e-6))
                    stepper = TimeStepper(equation, scheme, dt, substeps, solver)
                    found.setdefault(_name(stepper, number), OnDataGrid(stepper, grid))
        return found

    def common(self, grid: Grid, shapes: Sequence[tuple[int, ...]]) -> None:
        """Errors are measured on all cells of the data."""

    @property
    def named(self) -> str:
        return (
            "cells; reconstruction and solver (Hancock: one flux per step; SSPRK: one per stage); time step h; the CFL "
            "number that h has for the fastest waves of the data"
        )

    @property
    def described(self) -> str:
        return "finite-volume solvers, initial state averaged over their cells; resolutions, schemes and steps"


@eqx.filter_jit
def _rates(law: Any, reading: FiniteVolume, grid: Grid, states: Array, times: Array, own: Any) -> Array:
    def rate(state: Any) -> Array:
        u, t, values = state
        u = remap_state(law, u, grid, reading.grid)
        return jnp.max(reading.courant_rates(with_coefficients(law, values), t, u))

    return jnp.max(jax.lax.map(rate, (states, times, own)))


def _fastest(law: Any, reading: FiniteVolume, grid: Grid, states: Array, times: Any, coefficients: Any) -> float:
    """The largest rate at which waves cross cells. Raises `ValueError` where a state has none."""
    own = {name: jnp.asarray(values) for name, values in coefficients.items()}
    fastest = float(_rates(law, reading, grid, states, jnp.asarray(times), own))
    if not math.isfinite(fastest):
        raise ValueError(f"A state of the data is none of {type(law).__name__}: its waves have no speed.")
    return fastest


def _name(stepper: TimeStepper, number: float) -> str:
    """Resolution, reconstruction with solver, step and rule of the steps: `64x64 WENO(5)+SSPRK3 h=0.01 CFL 0.8`. A word
    each for the first three, as `rival_name`."""
    assert isinstance(stepper.discretisation, FiniteVolume)
    reconstruction = stepper.discretisation.reconstruction
    details = [getattr(value, "__name__", value) for value in vars(reconstruction).values()]
    points = "x".join(map(str, stepper.grid.shape)) if stepper.grid.ndim > 1 else f"N={stepper.grid.shape[0]}"
    scheme = f"{type(reconstruction).__name__}({','.join(map(str, details))})+{type(stepper.solver).__name__}"
    return f"{points} {scheme} h={float(stepper.dt) / stepper.substeps:.3g} CFL {number:g}"
