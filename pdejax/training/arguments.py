"""What `fit` is given, checked before anything is computed: mistakes of a first hour, named with their fix."""

import inspect
from typing import Any

import optax

from pdejax.counts import count_of
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


def check_options(num_steps, batch_size, valid_every, ema_decay, steps_per_call, loggers) -> None:
    """Raises `ValueError` for numbers that make no sense, and for a logger that is none."""
    for logger in loggers:
        if isinstance(logger, type) or not callable(logger):
            given = f"the class {logger.__name__}" if isinstance(logger, type) else repr(logger)
            raise ValueError(f"A logger is a function of rows, e.g. pdejax.loggers.LivePlot(), got {given}.")
    given = {"num_steps": num_steps, "batch_size": batch_size}
    given |= {"valid_every": valid_every or 1, "steps_per_call": steps_per_call or 1}
    for name, value in given.items():
        if value < 1:
            raise ValueError(f"fit needs {name} >= 1, got {value}.")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"fit needs 0 <= ema_decay < 1, got {ema_decay}; 0.999 averages over about 1000 steps.")


def check_stopping(keep_best, patience, valid, resume, checkpoints) -> None:
    """Raises `ValueError` for options that contradict each other."""
    if patience is not None:
        count_of("patience", patience)
    if (keep_best or patience is not None) and valid is None:
        raise ValueError("keep_best and patience ask for the loss on held-out data: pass `valid`.")
    if resume is not None and checkpoints is not None:
        raise ValueError(
            "A fit goes on from a state or from a folder: pass `resume` or `checkpoints`, and not both. With "
            "`checkpoints` the same call goes on where it was killed."
        )


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
