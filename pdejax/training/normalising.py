"""The units that a network works in, measured on the data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.data.pairs import pair_arrays
from pdejax.models import (
    Boosted,
    Corrected,
    Ensemble,
    InPrecision,
    Integrated,
    LatentEvolution,
    LearnedSolver,
    Normalised,
    Statistics,
)

# Of the pairs of frames on which the error of a solver is measured: more change its deviation by a few per cent.
_MOST_PAIRS = 512


def normalised(
    model: Any, data: Any, frames: int | None, bundle: int = 1, predicted: Callable[..., Any] | None = None
) -> Any:
    """`model` between the statistics of `data`: those of the inputs, and of what the network predicts.

    That is the target for pairs, the increment from frame to frame for trajectories, the next frame itself for a
    `LatentEvolution`, and what the solver misses of it for the network of a `Corrected` one. A `LearnedSolver` works in
    physical units: what it misses before training only becomes its unit of errors. What never varies, a channel or a
    parameter, gets standard deviation 1, so that it stays what it is; so do the increments of a channel that stands
    still, which are the rounding of its values. Where a state is a `bundle` of frames, increments are those from its
    last frame, the ones of each lead by their own deviation. `predicted(u, parameters=)` is what the network predicts
    where that is another.
    """
    if isinstance(model, Ensemble) and isinstance(model.model, Corrected):
        raise ValueError("One solver serves all members: Corrected(stepper, Ensemble.of(networks)), not the other way.")
    if isinstance(model, Ensemble) and isinstance(model.model, LearnedSolver):
        raise ValueError(
            "A LearnedSolver works in physical units, and so do several: fit an Ensemble of them with normalise=False, "
            "or each alone."
        )
    inside = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, Corrected | LearnedSolver | Integrated))
    for part in inside:
        if isinstance(part, Integrated):
            raise ValueError(
                "The statistics belong to the rate that Integrated steps: surround that by Normalised, e.g. by a fit "
                "on Derivative(), and pass normalise=False."
            )
        if isinstance(part, Corrected | LearnedSolver) and part is not model:
            kind = type(part).__name__
            raise ValueError(
                f"The solver of {kind} steps physical states, and statistics around {type(model).__name__} would hand "
                f"it others: put {kind} outside, e.g. Corrected(stepper, InPrecision(network)), or pass "
                "normalise=False."
            )
    if frames is None:
        if isinstance(model, Corrected | LearnedSolver):
            raise ValueError(f"A {type(model).__name__} steps physical states: for pairs pass normalise=False.")
        inputs, targets, told = pair_arrays("data", data)
        parameters = {name: statistics(np.asarray(values)) for name, values in told.items()}
        seen, predicts = (statistics(np.asarray(each), 1) for each in (inputs, targets))
        return Normalised(model, seen, predicts, parameters=parameters)
    u = np.asarray(data.u[:])
    if u.shape[1] <= bundle:
        raise ValueError(
            f"The statistics of increments need trajectories of {bundle + 1} frames or more, and these have "
            f"{u.shape[1]}: pass normalise=False, or a Normalised model of your own."
        )
    parameters = {name: statistics(np.asarray(values)) for name, values in data.parameters.items()}
    size = np.sqrt(np.mean(u.astype(np.float64) ** 2, axis=_all_but(2, u.ndim)))
    others = None if predicted is None else predicted(u, parameters=data.parameters)
    if others is not None:
        return Normalised(model, statistics(u, 2), statistics(others, 2), parameters=parameters)
    if bundle > 1 and isinstance(model, Corrected | LearnedSolver):
        raise ValueError(
            f"The solver of {type(model).__name__} steps one frame, and not a bundle of them: train it without Bundled."
        )
    if isinstance(model, LearnedSolver):
        return LearnedSolver(model.stepper, model.learned, statistics(_errors(model, 1, u), 1, size))
    if not isinstance(model, Corrected):
        increments = _joined([statistics(u[:, lead:] - u[:, :-lead], 2, size) for lead in range(1, bundle + 1)])
        states = _joined([statistics(u, 2)] * bundle)
        if _predicts_states(model):
            return Normalised(model, states, states, parameters=parameters, frames=bundle)
        return Normalised(model, states, increments, residual=True, parameters=parameters, frames=bundle)
    errors = _errors(model, model.substeps, u) / model.substeps
    network = Normalised(model.model, statistics(u, 2), statistics(errors, 1, size), parameters=parameters)
    return Corrected(model.held.inside, network, model.substeps)


def is_normalised(model: Any) -> bool:
    """Whether statistics surround the network already, e.g. those of an earlier fit."""
    if isinstance(model, Boosted):
        return is_normalised(model.first) or is_normalised(model.second)
    if isinstance(model, Corrected | Ensemble | InPrecision):
        return is_normalised(model.model)
    return isinstance(model, Normalised)


def _predicts_states(model: Any) -> bool:
    """Whether increments are nothing that the model could be asked for: its steps are in a latent space."""
    inside = model.model if isinstance(model, Ensemble | InPrecision) else model
    return isinstance(inside, LatentEvolution) or (inside is not model and _predicts_states(inside))


def _joined(each: list[Statistics]) -> Statistics:
    return Statistics(jnp.concatenate([one.mean for one in each]), jnp.concatenate([one.std for one in each]))


def as_given(model: Any) -> Any:
    """What `normalised` was given: the model without what it has put around the network."""
    if isinstance(model, LearnedSolver):
        return model
    if isinstance(model, Corrected):
        return eqx.tree_at(lambda tree: tree.model, model, model.model.model)
    return model.model


def _errors(model: Corrected | LearnedSolver, substeps: int, u: np.ndarray) -> np.ndarray:
    """What the solver of `model` misses of the frames of `u`, `(pair, channel, *space)`."""
    starts = np.linspace(0, u.shape[0] * (u.shape[1] - 1) - 1, min(_MOST_PAIRS, u.shape[0] * (u.shape[1] - 1)))
    sample, frame = np.divmod(starts.round().astype(int), u.shape[1] - 1)

    @jax.jit
    def solved(states: Any) -> Any:
        def one(state: Any) -> Any:
            return jax.lax.fori_loop(0, substeps, lambda _, v: model.stepper(v).astype(v.dtype), state)

        return jax.lax.map(one, states)

    errors = u[sample, frame + 1] - np.asarray(solved(jnp.asarray(u[sample, frame])))
    finite = np.all(np.isfinite(errors.reshape(len(errors), -1)), axis=1)
    if not np.all(finite):
        pair = int(np.argmin(finite))
        raise ValueError(
            f"The stepper of {type(model).__name__} gives a value that is not finite from frame {frame[pair]} of "
            f"sample {sample[pair]}: take smaller steps (TimeStepper's `substeps`), or another solver."
        )
    return errors


def statistics(values: np.ndarray, axis: int | None = None, size: np.ndarray | None = None) -> Statistics:
    """Mean and standard deviation per entry of `axis`, of numbers that are rounded as those of this size are.

    `size` is by default that of their mean.
    """
    others = _all_but(axis, values.ndim)
    mean, std = values.mean(axis=others, dtype=np.float64), values.std(axis=others, dtype=np.float64)
    # Rounding spreads by less than half a unit in the last place, differences of solutions by a few of them. To divide
    # by that would make noise of order one. The device may hold the values in less precision than the file.
    held = jax.dtypes.canonicalize_dtype(values.dtype) if np.issubdtype(values.dtype, np.floating) else np.float32
    rounding = 4 * float(np.finfo(held).eps) * (np.abs(mean) if size is None else size)
    return Statistics(mean, np.where(std > rounding, std, 1.0))


def _all_but(axis: int | None, ndim: int) -> tuple[int, ...]:
    return tuple(a for a in range(ndim) if a != axis)
