"""What `fit` is given, checked before anything is computed: mistakes of a first hour, named with their fix."""

import inspect
from typing import Any

import optax

from pdejax.models import Normalised
from pdejax.training.objectives import AbstractObjective, OneStep, Supervised

CONTRACT = "__call__(self, u, parameters=None, *, domain=None, key=None)"


def check_arguments(model: Any, objective: Any, optimiser: Any, normalise: bool) -> None:
    """Raises `ValueError` for an objective, an optimiser or a model that is none."""
    if isinstance(objective, type):
        raise ValueError(f"fit needs an objective, got the class {objective.__name__}: pass {objective.__name__}().")
    if not isinstance(objective, AbstractObjective):
        raise ValueError(f"fit needs an objective, e.g. OneStep() or Supervised(), got {objective!r}.")
    if not isinstance(optimiser, optax.GradientTransformation):
        given = f"{optimiser.__name__}, which is not called" if callable(optimiser) else repr(optimiser)
        raise ValueError(f"fit needs an optax optimiser, e.g. optimiser=optax.adam(1e-3), got {given}.")
    if isinstance(model, type) or not callable(model):
        given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise ValueError(f"fit trains a model that is built, e.g. FNO(...), got {given}.")
    # What the model itself is called with; an objective of one's own may call it in any way.
    network = model.model if isinstance(model, Normalised) else model
    if normalise or network is not model or isinstance(objective, OneStep):
        _check_call(network, "u", "parameters", domain=None, key=None)
    elif isinstance(objective, Supervised):
        _check_call(network, "u", key=None)


def _check_call(model: Any, *positional: Any, **named: Any) -> None:
    try:
        signature = inspect.signature(model)
    except ValueError:  # some callables written in C do not state theirs
        return
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise ValueError(
            f"{type(model).__name__} cannot be called as models are, {error}: define {CONTRACT}; what it does not need "
            "it may ignore."
        ) from error
