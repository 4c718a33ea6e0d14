"""An equation from its name and coefficients, as a command line or the provenance of a data file states them."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from pdejax import equations
from pdejax.data import Trajectories
from pdejax.data.coefficients import axis_entries
from pdejax.equations import Equation

NONE = "none"
# What has a function or another equation for a coefficient cannot be stated on a command line, nor read from a file;
# what finite volumes alone can solve is not solved there.
_OF_FUNCTIONS = (equations.HeterogeneousDiffusion, equations.LeadingPart, equations.VlasovPoisson)


def names() -> list[str]:
    """The equations that a name on the command line can mean."""
    return sorted(
        name
        for name, kind in vars(equations).items()
        if inspect.isclass(kind)
        and issubclass(kind, Equation)
        and not (inspect.isabstract(kind) or kind in _OF_FUNCTIONS)
    )


def from_name(name: str, coefficients: Mapping[str, Any]) -> Equation:
    """Raises `ValueError` for an unknown equation, for coefficients it does not have and for those it lacks."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"--equation {name}: there is none of this name{meant} They are {', '.join(names())}.")
    kind = getattr(equations, name)
    signature = inspect.signature(kind).parameters
    if unknown := sorted(set(coefficients) - set(signature)):
        raise ValueError(f"--coefficients: {name} has no {unknown[0]!r}; it has {', '.join(signature)}.")
    required = [each for each, parameter in signature.items() if parameter.default is inspect.Parameter.empty]
    if missing := [each for each in required if each not in coefficients]:
        raise ValueError(f"{name} needs the coefficient {missing[0]!r}: add `--coefficients {missing[0]} VALUE`.")
    try:
        return kind(**coefficients)
    except ValueError as error:
        raise ValueError(f"--coefficients: {error}") from error


def of_data(data: Trajectories, name: str | None, coefficients: Mapping[str, float]) -> Equation | None:
    """The equation that the data solve: as named by the user, else as the provenance states it, else None.

    The name `none` makes it None, whatever the file states.

    What the user leaves open is taken from the parameters of the file: it holds one value per trajectory, and where
    these differ `evaluate` gives every trajectory its own.
    """
    stated = data.provenance.get("equation")
    known = name is not None or stated in names()
    if name == NONE or not known:
        if coefficients:
            raise ValueError("--coefficients are those of an equation: name it with --equation.")
        return None
    if "discretisation" in data.provenance and name not in (None, stated):
        raise ValueError(f"--equation {name}: {stated} was solved for this file; leave the option out, or say {NONE}.")
    if functions := data.provenance.get("functions"):
        raise ValueError(
            f"{', '.join(functions)} of {stated} was a function when this file was made, and a command line cannot say "
            f"which: evaluate in Python with the equation, or say --equation {NONE}."
        )
    name = str(stated) if name is None else name
    return from_name(name, _own(data, name) | dict(coefficients))


def left_to_defaults(equation: Equation, data: Trajectories, coefficients: Mapping[str, float]) -> str:
    """What neither the data nor the user state, in words: `drag=0.1, amplitude=1`; empty where all is stated."""
    given = {*_own(data, type(equation).__name__), *coefficients}
    left = {each: np.asarray(value) for each, value in equation.coefficients().items() if each not in given}
    return ", ".join(f"{each}={np.round(value, 8)}" for each, value in left.items())


def _own(data: Trajectories, name: str) -> dict[str, Any]:
    """The coefficients of the equation of this name that the file states, means over trajectories."""
    # A parameter of the file need not be a coefficient: a Reynolds number, a seed.
    wanted = inspect.signature(getattr(equations, name)).parameters if name in names() else {}
    own: dict[str, Any] = {each: float(np.mean(values)) for each, values in data.parameters.items() if each in wanted}
    # A vector is stored entry by entry. Those of the equations that have a name have one per axis: `velocity_x`, ...
    for each in set(wanted) - set(own):
        entries = axis_entries(each, data.grid.ndim)
        if all(entry in data.parameters for entry in entries):
            own[each] = [float(np.mean(data.parameters[entry])) for entry in entries]
    return own
