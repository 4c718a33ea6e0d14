"""Whether solvers, held-out data and the data of a fit speak of the same grid, the same interval and the same flow."""

from typing import Any

import jax
import numpy as np

from pdejax.data.coefficients import coefficient_leaves, stated_by_data
from pdejax.data.trajectories import layout_names
from pdejax.grid import Grid
from pdejax.models import Corrected, LearnedSolver
from pdejax.solvers import TimeStepper
from pdejax.training.dataset import DeviceData
from pdejax.training.objectives import AbstractObjective, AllPairs, DivertedChain
from pdejax.training.objectives.objective import each_objective
from pdejax.training.objectives.same_grid import check_grid


def check_agreement(model: Any, objective: AbstractObjective, data: DeviceData) -> None:
    """Raises `ValueError` where the objective or a solver inside the model contradicts the data."""
    for part in each_objective(objective):
        part.check_data(data.domain, data.interval, data.parameters)
        if (loss := getattr(part, "loss", None)) is not None and hasattr(loss, "check_domain"):
            loss.check_domain(data.domain)
        if isinstance(part, DivertedChain) and isinstance(part.stepper, TimeStepper):
            _check_stepper("the stepper of DivertedChain", part.stepper, 1, data)
            # It is the truth here, and one for all trajectories.
            _check_coefficients("the stepper of DivertedChain", part.stepper.equation, data)
        if isinstance(part, AllPairs):
            _check_lead_time(model)
    for hybrid in _parts(model, Corrected | LearnedSolver):
        if isinstance(hybrid.stepper, TimeStepper):
            # Its equation may well be another: what the network learns is what the solver misses.
            substeps = hybrid.substeps if isinstance(hybrid, Corrected) else 1
            _check_stepper(f"the solver of {type(hybrid).__name__}", hybrid.stepper, substeps, data)


def check_held_out(data: DeviceData, held_out: DeviceData) -> None:
    """Raises `ValueError` where a model of `data` cannot be judged by `held_out`."""
    # Where intervals or boxes vary, those of times and grid are but one of them.
    stated = data.parameters.keys() | held_out.parameters.keys()
    own, other = data.interval, held_out.interval
    varies = "output_interval" in stated
    if own is not None and other is not None and not varies and not np.isclose(own, other, rtol=1e-3):
        raise ValueError(
            f"The frames of `valid` are {other:g} apart and those of `data` {own:g}: a model of the one says nothing "
            "of the other."
        )
    if isinstance(data.domain, Grid) and isinstance(held_out.domain, Grid):
        extents = [np.asarray(each.domain.extent, float) for each in (data, held_out)]
        if not stated & set(layout_names(data.domain.ndim)[1:]) and not np.allclose(*extents, rtol=1e-5):
            raise ValueError(f"The box of `valid` is {extents[1]} and that of `data` {extents[0]}.")


def _check_stepper(what: str, stepper: TimeStepper, substeps: int, data: DeviceData) -> None:
    if data.frames is None:
        return
    check_grid(what, stepper.grid, data.domain, data.parameters)
    stated = data.parameters.get("output_interval", data.interval)
    own = float(np.max(np.asarray(stepper.dt))) * substeps
    if stated is not None and not np.allclose(stated, own, rtol=1e-3):
        apart = f"{float(np.ravel(stated)[0]):g}"
        steps = f"{substeps} steps of {own / substeps:g}" if substeps > 1 else f"a step of {own:g}"
        raise ValueError(f"The frames of the data are {apart} apart, and {what} takes {steps}: build it with that dt.")


def _check_coefficients(what: str, equation: Any, data: DeviceData) -> None:
    own = coefficient_leaves(equation)
    for name, values in stated_by_data(equation, data.parameters, data.domain.ndim).items():
        values = np.asarray(values)
        if len(values) and not np.all(np.isclose(values, np.asarray(own[name]), rtol=1e-5)):
            spread = f"{values.min():.6g}" + (f" to {values.max():.6g}" if values.min() < values.max() else "")
            raise ValueError(
                f"The data were solved with {name}={spread}, and the equation of {what} has "
                f"{name}={np.array2string(np.asarray(own[name]), precision=6)}, one for all trajectories."
            )


def _check_lead_time(model: Any) -> None:
    # Networks of this package say what they are told; one of somebody else's is not asked.
    found = jax.tree.leaves(model, is_leaf=lambda node: hasattr(node, "conditioning"))
    networks = [part for part in found if hasattr(part, "conditioning")]
    if networks and not any("lead_time" in _told(network) for network in networks):
        kind = type(networks[0]).__name__
        raise ValueError(
            f'AllPairs tells the model how far to go as the parameter "lead_time", and this {kind} takes the '
            f'parameters {_told(networks[0])}: build it with conditioning=pdejax.nn.Conditioning("lead_time").'
        )


def _told(network: Any) -> tuple[str, ...]:
    """The names of the numbers that a network takes."""
    own = () if network.conditioning is None else network.conditioning.parameters
    return (*own, *getattr(network, "parameters", ()))


def _parts(model: Any, kind: Any) -> list[Any]:
    """The modules of that kind inside `model`, the outer ones."""
    found = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, kind))
    return [part for part in found if isinstance(part, kind)]
