"""An equation from its name and coefficients, as a command line or the provenance of a data file states them."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from pdejax import equations
from pdejax.data import Trajectories
from pdejax.equations import Equation


def names() -> list[str]:
    """The equations that a name on the command line can mean."""
    return sorted(
        name
        for name, kind in vars(equations).items()
        if inspect.isclass(kind) and issubclass(kind, Equation) and kind is not Equation
    )


def from_name(name: str, coefficients: Mapping[str, Any]) -> Equation:
    """Raises `ValueError` for an unknown equation, for coefficients it does not have and for those it lacks."""
    if name not in names():
        raise ValueError(f"There is no equation {name!r}; the equations are {', '.join(names())}.")
    kind = getattr(equations, name)
    signature = inspect.signature(kind).parameters
    if unknown := sorted(set(coefficients) - set(signature)):
        raise ValueError(f"{name} has no coefficient {unknown[0]!r}; it has {', '.join(signature)}.")
    required = [each for each, parameter in signature.items() if parameter.default is inspect.Parameter.empty]
    if missing := [each for each in required if each not in coefficients]:
        raise ValueError(f"{name} needs the coefficient {missing[0]!r}: add `--coefficients {missing[0]} VALUE`.")
    return kind(**coefficients)


def of_data(data: Trajectories, name: str | None, coefficients: Mapping[str, float]) -> Equation | None:
    """The equation that the data solve: as named by the user, else as the provenance states it, else None.

    What the user leaves open is taken from the parameters of the file: it holds one value per trajectory, and where
    these differ `evaluate` gives every trajectory its own.
    """
    if name is None:
        name = str(data.provenance.get("equation", ""))
        if name not in names():
            if coefficients:
                raise ValueError("--coefficients are those of an equation: name it with --equation.")
            return None
    # A parameter of the file need not be a coefficient: a Reynolds number, a seed.
    wanted = inspect.signature(getattr(equations, name)).parameters if name in names() else {}
    own = {each: float(np.mean(values)) for each, values in data.parameters.items() if each in wanted}
    return from_name(name, own | dict(coefficients))
