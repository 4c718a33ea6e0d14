"""What has to agree before anything runs: names, data, equation and lead time."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from pdejax.data import Trajectories
from pdejax.data.coefficients import coefficient_leaves, entries_in, leaves_apart
from pdejax.data.provenance import decimal, functions_of, stated_apart
from pdejax.data.trajectories import layout_names
from pdejax.equations import Equation
from pdejax.evaluate.coefficients import stated_by_data
from pdejax.evaluate.contestants import PERSISTENCE
from pdejax.training import Fitted


def checked_names(surrogates: Mapping[str, Any]) -> dict[str, Any]:
    """Raises `ValueError` for no surrogate, names that no report can hold, and a training run in place of its model."""
    if not isinstance(surrogates, Mapping) or not surrogates:
        raise ValueError('evaluate needs at least one surrogate by name, e.g. evaluate({"FNO": model}, test).')
    for name, given in surrogates.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"A surrogate needs a name that can be printed, got {name!r}.")
        if name in (PERSISTENCE, "truth", "error"):
            raise ValueError(f"The name {name!r} is taken in every report: choose another for the surrogate.")
        if isinstance(given, Fitted):
            raise ValueError(f"Surrogate {name!r} is the Fitted that training returns: pass fitted.model.")
    return dict(surrogates)


def check_equation_is_one(equation: Any) -> None:
    """Raises `TypeError` unless this is an equation with its coefficients, or None."""
    if equation is not None and not isinstance(equation, Equation):
        got = f"the class {equation.__name__} itself" if isinstance(equation, type) else f"a {type(equation).__name__}"
        raise TypeError(f"The equation must be an instance such as pdejax.equations.Burgers(viscosity=0.1), got {got}.")


def check_pairs_alone(given: Mapping[str, Any]) -> None:
    """Raises `ValueError` for arguments that only trajectories can use, beside a pair (inputs, targets)."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} is of no use with a pair (inputs, targets), which has no time and no classical "
                f"solver: leave {name} out, or pass Trajectories."
            )


def checked_data(test: Any, equation: Equation | None) -> float:
    """The interval between frames.

    Raises `ValueError` for what is no test set of one interval and one box, and for an equation that contradicts it.
    """
    if not isinstance(test, Trajectories):
        raise ValueError(
            f"evaluate scores Trajectories or a pair (inputs, targets) of arrays, got {type(test).__name__}; arrays "
            "through time become trajectories with Trajectories.from_arrays(u, grid, names, times)."
        )
    if len(test) == 0:
        raise ValueError("The test set is empty: give at least one trajectory.")
    if test.num_frames < 2:
        raise ValueError("The test trajectories have one frame each: a rollout is compared with later ones.")
    if test.u.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(
            f"The test data holds {test.u.dtype}, in which nothing is solved: cast it, "
            "dataclasses.replace(test, u=np.asarray(test.u[:], np.float32))."
        )
    if test.grid.dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "The test data lies on a float64 grid, and double precision is off: switch it on with "
            'jax.config.update("jax_enable_x64", True), or compare in single precision, '
            "dataclasses.replace(test, grid=test.grid.with_dtype(np.float32))."
        )
    intervals = np.diff(test.times)
    if not np.allclose(intervals, intervals[0], rtol=1e-3):
        raise ValueError(
            f"The frames must be equally spaced, got intervals from {intervals.min():g} to {intervals.max():g}."
        )
    for name, values in test.parameters.items():
        if name in layout_names(test.grid.ndim) and np.any(values != values[0]):
            raise ValueError(
                f"{name} varies from {values.min():g} to {values.max():g} over the trajectories; evaluate those of one "
                "box and one interval at a time, e.g. test[test.parameters[name] == value]."
            )
    if equation is not None:
        _check_same_equation(test, equation)
        _check_components(test, equation)
        _check_coefficients(test, equation)
        _check_apart(test, equation)
        _check_functions(test, equation)
    return float(intervals.mean())


def _check_same_equation(test: Trajectories, equation: Equation) -> None:
    solved, given = test.provenance.get("equation"), type(equation).__name__
    # `generate` writes down the class that it solved; in the files of others this entry is any text.
    if "discretisation" in test.provenance and solved != given:
        raise ValueError(
            f"The test data was made by solving {solved}, and the rivals would solve {given}: pass the equation of the "
            f"data. If both are the same problem, say so: dataclasses.replace(test, provenance={{**test.provenance, "
            f'"equation": "{given}"}}).'
        )


def _check_functions(test: Trajectories, equation: Equation) -> None:
    """Coefficients that are functions cannot be compared; that there are some can."""
    stated, given = test.provenance.get("functions"), functions_of(equation)
    if stated is not None and set(stated) != set(given):
        name = type(equation).__name__
        raise ValueError(
            f"The test data was made by solving {name} with functions for {sorted(stated) or 'no coefficient'}, and "
            f"the rivals would have them for {sorted(given) or 'none'}: pass the equation of the data."
        )


def _check_components(test: Trajectories, equation: Equation) -> None:
    components, name = tuple(equation.components(test.grid.ndim)), type(equation).__name__
    if len(components) != test.num_channels:
        raise ValueError(
            f"{name} has {len(components)} components {components} but the test data has {test.num_channels} channels "
            f"{tuple(test.names)}: choose them with test.select(...)."
        )
    if components == tuple(test.names):
        return
    asked = ", ".join(repr(component) for component in components)
    if set(components) == set(test.names):
        raise ValueError(
            f"{name} orders its components {components} but the test data {tuple(test.names)}: use "
            f"test.select({asked})."
        )
    raise ValueError(
        f"{name} has the components {components} but the test data the channels {tuple(test.names)}: pass the equation "
        f"of these fields. If they are its components under other names, in this order, use test.rename({asked})."
    )


def _check_coefficients(test: Trajectories, equation: Equation) -> None:
    """One value for all trajectories must be the equation's; where they differ, each will have its own."""
    ndim, leaves = test.grid.ndim, coefficient_leaves(equation)
    for name, stated in stated_by_data(equation, test.parameters, ndim).items():
        found, own = np.asarray(stated), np.asarray(leaves[name])
        if np.any(found != found[:1]) or np.allclose(own, found[0], rtol=1e-4, atol=0.0):
            continue
        names = (
            (name,)
            if own.ndim == 0
            else entries_in(test.parameters, name, leaves[name], equation, ndim) or own.size * (name,)
        )
        for entry, mine, its in zip(names, own.ravel(), found[0].ravel(), strict=True):
            if not np.isclose(mine, its, rtol=1e-4, atol=0.0):
                raise ValueError(
                    f"The equation has {entry}={mine:g} but the test data was solved with {entry}={its:g}; the rivals "
                    "would solve another problem."
                )


def _check_apart(test: Trajectories, equation: Equation) -> None:
    """Whole numbers and arrays of more dimensions against what the provenance says of those that were solved with."""
    solved = test.provenance.get("coefficients")
    solved = solved if isinstance(solved, Mapping) else {}  # in the files of others, anything
    for name, leaf in leaves_apart(equation).items():
        own = np.asarray(leaf)
        if own.ndim == 0 and np.any(np.asarray(test.parameters.get(name, own)) != own):
            raise ValueError(
                f"The equation has the whole number {name}={own}, which is no coefficient, and the test data other "
                f"values of {name}: give it a number with a decimal point, {name}={own:.1f}."
            )
        if name in test.parameters or name not in solved:
            continue
        stated, mine = solved[name], stated_apart(own[None])
        if isinstance(stated, Mapping) and stated.get("differs"):
            raise ValueError(
                f"The test data was solved with another {name} in every trajectory, an array of shape "
                f"{tuple(stated['shape'])} that it does not hold, so no rival can be given it: leave the equation out."
            )
        if not _alike(stated, mine):
            raise ValueError(
                f"The equation has {name}={mine} but the test data was solved with {name}={stated}; the rivals would "
                "solve another problem."
            )


def _alike(stated: Any, mine: Any) -> bool:
    if isinstance(stated, Mapping) and isinstance(mine, Mapping):
        return all(_alike(stated.get(key), value) for key, value in mine.items())
    numbers = [np.asarray(value) for value in (stated, mine)]
    if any(each.dtype.kind not in "iufc" for each in numbers):
        return bool(stated == mine)
    return numbers[0].shape == numbers[1].shape and np.allclose(*numbers, rtol=1e-4, atol=0.0)


def lead_times_of(times: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """How far ahead of the first each time lies, to 12 digits: the difference of 1.0 and 0.8 is to be read as 0.2.

    Times that were held in single precision are read as the decimals that they stand for: 1.2, not 1.20000004768.
    """
    single = np.asarray(times, np.float32)
    if np.array_equal(single, times):
        times = np.array([decimal(time) for time in single])
    return np.array([float(f"{time:.12g}") for time in times - times[0]])


def checked_lead_time(at: float | int, lead_times: Float[np.ndarray, " time"]) -> int:
    """The frame at this lead time; `ValueError` unless there is one after the first."""
    interval = lead_times[1] - lead_times[0]
    frame = int(np.argmin(np.abs(lead_times - at)))
    if frame == 0 or abs(lead_times[frame] - at) > 1e-3 * interval:
        stored = ", ".join(f"{time:g}" for time in lead_times[1:4])
        more = f", ..., {lead_times[-1]:g}" if len(lead_times) > 4 else ""
        raise ValueError(
            f"at={at:g} is not a lead time of the test data, which has {stored}{more}: choose one of them."
        )
    return frame
