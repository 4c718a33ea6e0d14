"""Where trajectories came from, in words and numbers that JSON knows."""

import dataclasses
import datetime
import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pdejax.boundary import Reflecting
from pdejax.data.plan import Plan
from pdejax.data.solver_error import measured_part, refined
from pdejax.grid import Grid
from pdejax.solvers import TimeStepper
from pdejax.volumes import FiniteVolume


def solver_error_of(stepper: Any, errors: list[np.ndarray]) -> dict[str, Any]:
    """The measured errors of some trajectories, `(time,)` each: the largest of them, or why there are none."""
    if not isinstance(stepper, TimeStepper):
        return {"solver_error": f"not measured: a {type(stepper).__name__} cannot be refined"}
    if not errors:
        return {"solver_error": "not measured"}
    largest, fine = np.max(errors, axis=0), refined(stepper)
    return {
        "solver_error_one_interval": float(largest[1]),
        "solver_error_whole": float(largest[-1]),
        "solver_error_by_frame": [float(f"{error:.4g}") for error in largest],
        "solver_error_part": measured_part(stepper),
        "solver_error": (
            f"relative L2 {measured_part(stepper)}, largest of {len(errors)} trajectories, against {fine.substeps} "
            f"in place of {stepper.substeps} substeps on {fine.grid.shape} in place of {stepper.grid.shape} points"
        ),
    }


def provenance_of(
    stepper: Any,
    initial: Any,
    key: PRNGKeyArray,
    plan: Plan,
    time_steps: np.ndarray,
    parameters: Mapping[str, np.ndarray],
    apart: Mapping[str, np.ndarray],
    declared: Iterable[str],
) -> dict[str, Any]:
    """Equation, solver, initial law, key, versions and machine.

    `time_steps` and `parameters` are those of the trajectories; `apart` is what else the equation holds in numbers, of
    some of them; `declared` names the parameters that are no coefficients.
    """

    def range_of(values: np.ndarray) -> Any:
        low, high = decimal(values.min()), decimal(values.max())
        return low if low == high else [low, high]

    solved = {"stepper": type(stepper).__name__}
    if isinstance(stepper, TimeStepper):
        solved = {
            "equation": type(stepper.equation).__name__,
            "functions": functions_of(stepper.equation),
            "discretisation": describe(stepper.discretisation),
            "solver": describe(stepper.solver),
            "substeps": stepper.substeps,
            "walls": kinds_of_walls(stepper.discretisation),
        }
    device = jax.devices()[0]
    return {
        **solved,
        "solved_on": list(stepper.grid.shape),
        "coefficients": {name: range_of(values) for name, values in parameters.items()}
        | {name: stated_apart(values) for name, values in apart.items()},
        "declared": list(declared),
        "dt": range_of(time_steps),
        "burn_in": plan.burn_in,
        "store_every": plan.store_every,
        "initial": describe(initial),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "dtype": {"solved": stepper.grid.dtype.name, "stored": plan.dtype.name},
        "versions": {name: _version(name) for name in ("pdejax", "jax", "jaxlib", "numpy")},
        "device": f"{device.platform} ({device.device_kind})",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def kinds_of_walls(discretisation: Any) -> dict[str, list[Any]]:
    """What finite volumes meet at their walls, by component and axis, in words: the kinds, not their data."""
    if not isinstance(discretisation, FiniteVolume):
        return {}
    in_words = lambda wall: repr(wall) if isinstance(wall, Reflecting) else type(wall).__name__  # noqa: E731
    return {
        name: [[in_words(wall) for wall in pair] if isinstance(pair, tuple) else None for pair in sides]
        for name, sides in discretisation.walls.by_component.items()
    }


def functions_of(equation: Any) -> dict[str, str]:
    """The coefficients that are functions, of the place say, by name: a file says that there are, and which they are
    called, but cannot hold them."""
    fields = dataclasses.fields(equation) if dataclasses.is_dataclass(equation) else ()
    given = {field.name: getattr(equation, field.name) for field in fields}
    # A function of Python's is held by a module of one field.
    inner = {name: getattr(value, "function", value) for name, value in given.items() if callable(value)}
    return {name: describe(value) for name, value in inner.items()}


def stated_apart(values: np.ndarray) -> Any:
    """In plain numbers, an array or whole number that is no parameter, from its values `(trajectory, ...)`.

    All entries of up to 256; of more, the shape, mean and root mean square; and what differs between the trajectories
    is said to.
    """
    first = values[0]
    if np.any(values != first):
        return {"shape": list(first.shape), "differs": True}
    if first.size <= 256 and not np.iscomplexobj(first):
        return first.tolist()
    mean, square = complex(np.mean(first)), float(np.sqrt(np.mean(np.abs(first.astype(complex)) ** 2)))
    return {"shape": list(first.shape), "mean": [mean.real, mean.imag], "root_mean_square": square}


def describe(value: Any) -> str:
    """A module, function or number in words, for provenance: `ETDRK4()`, `BandLimited(peak=4.0, ...)`."""
    if isinstance(value, Grid):
        return f"Grid({value.shape}, extent={np.asarray(value.extent).tolist()})"
    if isinstance(value, eqx.Module) and dataclasses.is_dataclass(value):
        fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(f'{name}={describe(v)}' for name, v in fields if v is not None)})"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        small = value.size <= 16
        return str(np.asarray(value).tolist()) if small else f"{value.dtype}{list(value.shape)}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return repr(value)


def decimal(value: Any) -> float:
    """The shortest decimal that rounds to `value` in its own precision: 0.2, where float32 holds 0.200000003."""
    return float(str(np.asarray(value)[()]))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
