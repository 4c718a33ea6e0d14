"""States that a conservation law admits, and steps that its waves allow: refused with their place."""

from typing import Any

import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from pdejax.equations import ConservationLaw
from pdejax.grid import Grid
from pdejax.volumes import FiniteVolume


def check_admissible(law: ConservationLaw, volumes: FiniteVolume, u: Array, t: float) -> None:
    """Raises `ValueError` where a state has what must be positive and is not, naming it, its value and its place, and
    where it does not go with the walls."""
    law.check_state(u, volumes.grid, volumes.reflects)
    if not isinstance(u, Tracer) and (fault := fault_of(law, volumes, u)):
        raise ValueError(f"The state at t = {t:.6g} is no state of {type(law).__name__}: {fault}.")


def fault_of(law: ConservationLaw, volumes: FiniteVolume, u: Array) -> str:
    """What is wrong with a state, or nothing; what depends on traced coefficients is not looked at."""
    for name, given in law.positive(u).items():
        if isinstance(given, Tracer):
            continue
        values = np.asarray(given)
        if not np.all(values > 0):
            # NaN is the least of all.
            index = np.unravel_index(np.argmin(np.nan_to_num(values, nan=-np.inf)), values.shape)
            return f"its {name} is {float(values[index]):.4g} {_place(volumes.grid, index)}"
    return ""


def fault_ahead(law: ConservationLaw, volumes: FiniteVolume, u: Array, t: Any) -> str:
    """What is wrong with a state, or with what forward Euler steps of the CFL number 1/2 make of it; or nothing."""
    when = ""
    for _ in range(3):
        if fault := fault_of(law, volumes, u):
            return f"{when}{fault}"
        rate = np.asarray(volumes.tendency(law, t, u))
        lost = ~np.all(np.isfinite(rate), axis=0)
        if np.any(lost):
            index = np.unravel_index(np.argmax(lost), lost.shape)
            return f"{when}values at a face of the cell {_place(volumes.grid, index)} are not admissible"
        largest = float(np.max(np.asarray(volumes.courant_rates(law, t, u))))
        u, when = u + (0.5 / largest if largest > 0 else 0.0) * rate, "after a step of the CFL number 1/2 "
    return ""


def fault_of_end(law: Any, volumes: FiniteVolume, frames: Array, last: Array, t: Any) -> str:
    """What became of a solve whose frames are not finite, from its last finite state on, and what to do; or nothing."""
    if np.all(np.isfinite(np.asarray(frames))):
        return ""
    fault = fault_ahead(law, volumes, last, t)
    if fault and not volumes.positivity:
        fault += "; FiniteVolume(..., positivity=True) keeps edge values admissible"
    return fault


def check_courant(law: ConservationLaw, volumes: FiniteVolume, u: Array, t: Any, h: float) -> None:
    """Raises `ValueError` where a step h from u has a CFL number above one, naming the limit and where it is."""
    rates = np.asarray(volumes.courant_rates(law, t, u))
    index = np.unravel_index(np.argmax(rates), rates.shape)
    number = h * float(rates[index])
    if number > 1 + 1e-6:
        raise ValueError(
            f"A step of {h:.4g} at t = {float(t):.6g} has the CFL number {number:.3g}, more than one: "
            f"waves and what spreads cross {float(rates[index]):.4g} cells per unit of time "
            f"{_place(volumes.grid, index)}. "
            f"Take dt <= {h / number:.3g}, {int(np.ceil(number))} substeps in place of one, or CourantLimited() to let "
            "the flow decide."
        )


def _place(grid: Grid, index: Any) -> str:
    position = ", ".join(f"{float(axis[i]):.4g}" for axis, i in zip(grid.axes, index, strict=True))
    return f"at x = {position if grid.ndim == 1 else f'({position})'}"
