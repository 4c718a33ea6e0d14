"""What `fit` is given, checked before anything is computed: mistakes of a first hour, named with their fix."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import optax

from pdejax.counts import count_of
from pdejax.devices import Devices
from pdejax.keys import checked_key
from pdejax.models import Normalised
from pdejax.training.checkpoints import Checkpoints
from pdejax.training.objectives import AbstractObjective, Curriculum, OneStep, Supervised
from pdejax.training.objectives.objective import each_objective
from pdejax.training.state import TrainingState

CONTRACT = "__call__(self, u, parameters=None, *, domain=None, key=None)"


def check_arguments(model: Any, objective: Any, optimiser: Any, normalise: bool) -> None:
    """Raises `ValueError` for an objective, an optimiser or a model that is none."""
    if isinstance(objective, type):
        raise ValueError(f"fit needs an objective, got the class {objective.__name__}: pass {objective.__name__}().")
    if not isinstance(objective, AbstractObjective):
        raise ValueError(f"fit needs an objective, e.g. OneStep() or Supervised(), got {objective!r}.")
    if not isinstance(optimiser, optax.GradientTransformation):
        name = getattr(optimiser, "__name__", type(optimiser).__name__)
        given = f"{name}, which is not called" if callable(optimiser) else repr(optimiser)
        if hasattr(optimiser, "gradient_transformation"):
            given = f"a {type(optimiser).__name__}: pass its .gradient_transformation()"
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


def check_options(num_steps, batch_size, valid_every, ema_decay, steps_per_call) -> None:
    """Raises `ValueError` for numbers that make no sense."""
    given = {"num_steps": num_steps, "batch_size": batch_size}
    given |= {"valid_every": valid_every, "steps_per_call": steps_per_call}
    for name, value in given.items():
        if value is not None:
            count_of(name, value)
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"fit needs 0 <= ema_decay < 1, got {ema_decay}; 0.999 averages over about 1000 steps.")


def check_kinds(key: Any, resume: Any, checkpoints: Any, devices: Any, loggers: Any) -> None:
    """Raises `ValueError` for what is not of the kind that `fit` takes, with what would be."""
    checked_key(key, "fit")
    if resume is not None and not isinstance(resume, TrainingState):
        state = "its `state`" if hasattr(resume, "state") else "the `state` of an earlier fit"
        raise ValueError(f"fit resumes from a state, got resume of {type(resume).__name__}: pass {state}.")
    if checkpoints is not None and not isinstance(checkpoints, Checkpoints):
        raise ValueError(f"fit needs checkpoints=Checkpoints(folder, every=...), got {checkpoints!r}.")
    if devices is not None and not isinstance(devices, Devices):
        number = devices if isinstance(devices, int) else ""
        raise ValueError(f"fit needs devices=pdejax.Devices({number}), got {devices!r}.")
    if isinstance(loggers, str) or not isinstance(loggers, Sequence):
        raise ValueError(f"fit takes a list of loggers, e.g. [pdejax.loggers.LivePlot()], got {loggers!r}.")
    for logger in loggers:
        if isinstance(logger, type) or not callable(logger):
            given = f"the class {logger.__name__}" if isinstance(logger, type) else repr(logger)
            raise ValueError(f"A logger is a function of rows, e.g. pdejax.loggers.LivePlot(), got {given}.")


def check_stages(objective: AbstractObjective, end: int) -> None:
    """Warns of the last stages of a `Curriculum` that a run to step `end` does not reach."""
    for part in each_objective(objective):
        if isinstance(part, Curriculum) and part.first_steps[-1] >= end:
            warnings.warn(
                f"A stage of Curriculum begins at step {part.first_steps[-1]} and the run ends at {end}: it is not "
                "trained, but held-out data are scored by it.",
                stacklevel=3,
            )


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
