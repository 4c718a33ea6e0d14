"""The training loop: several optimiser steps per compiled call, reproducible across interruptions."""

import dataclasses
import os
import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray
from tqdm import tqdm

from pdejax.models import trainable
from pdejax.training.dataset import DeviceData, batch_at, device_data, normalised, sample_batch
from pdejax.training.log import TrainingLog
from pdejax.training.objectives import AbstractObjective


class TrainingState(eqx.Module):
    """Everything that the next step depends on. A pytree of arrays: `eqx.tree_serialise_leaves` stores it.

    `model` holds the last weights, not the average; `average` is the running sum of `ema_decay`, before its correction.
    """

    model: Any
    optimiser_state: Any
    average: Any
    step: int


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What `fit` returns: `model` (physical units in and out, averaged weights if asked for), `log`, and `state`."""

    model: Any
    log: TrainingLog
    state: TrainingState


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is no longer finite. `fitted` is the run up to the last step where both were."""

    def __init__(self, message: str, fitted: Fitted):
        super().__init__(message)
        self.fitted = fitted


class _Carry(NamedTuple):
    parameters: Any
    optimiser_state: Any
    average: Any


def fit(
    model: Any,
    objective: AbstractObjective,
    data: Any,
    *,
    optimiser: optax.GradientTransformation,
    num_steps: int,
    key: PRNGKeyArray,
    batch_size: int = 16,
    valid: Any = None,
    valid_every: int | None = None,
    normalise: bool = True,
    ema_decay: float | None = None,
    resume: TrainingState | None = None,
    steps_per_call: int | None = None,
    progress: bool = True,
    log_path: str | os.PathLike | None = None,
) -> Fitted:
    r"""Minimises `objective` over the weights of `model` with `num_steps` steps of an optax optimiser.

    - `data`, `valid`: `Trajectories`, or a pair of arrays `(inputs, targets)`, each `(sample, channel, *space)`, for
      `Supervised`. They are put on the device whole; `valid` is scored on up to 64 windows, evenly spread, every
      `valid_every` steps (a tenth of the run by default) and at the end, with the weights that would be returned.
    - `batch_size`: windows (or pairs) per step. A batch is drawn at random inside the compiled step: the data are cut
      into `batch_size` stretches of equal length at a random offset, and one window is drawn from each. So no window
      comes twice in a batch, all are equally likely, a batch spreads over all trajectories, and a step depends on
      nothing but `key` and its own number: no epoch, no shuffled order to store.
    - `normalise`: wraps the model in `Normalised` with the statistics of `data`. For an objective in time the network
      then predicts the increment from frame to frame (`residual=True`), for pairs the target itself. Give
      `normalise=False` for a model that is already in physical units, e.g. a `Normalised` of one's own.
    - `ema_decay`: returns the average `a_n / (1 - decay^n)`, `a_n = decay a_{n-1} + (1 - decay) weights_n`, `a_0 = 0`.
    - `resume`: goes on from the `state` of an earlier fit with `num_steps` further steps; its weights and statistics
      replace those of `model`. With the same `key` and data the result equals that of an uninterrupted run bit for bit.
    - `steps_per_call`: optimiser steps per compiled call; by default as many as take about half a second. It changes
      how often the progress bar moves, never the result: the number is an argument of one compiled loop.
    - `log_path`: where the log is written, .csv or .jsonl, at every validation and at the end.

    Statistics are no parameters (`pdejax.models.trainable`): no gradient, weight decay or average touches them.

    Raises `ValueError` for data that do not fit the objective, the model or the batch, and for values that are not
    finite; `TrainingDiverged` when a loss or a gradient is not finite, naming the step and keeping the run up to it.
    """
    _check_options(num_steps, batch_size, valid_every, ema_decay, steps_per_call)
    train = device_data("data", data, objective.frames, batch_size, model)
    held_out = None if valid is None else device_data("valid", valid, objective.frames, 1, model)
    if normalise:
        model = normalised(model, data, objective.frames)
    optimiser = optax.with_extra_args_support(optimiser)
    state = _initial_state(model, optimiser, ema_decay) if resume is None else _checked_resume(resume, model, ema_decay)
    parameters, rest = eqx.partition(state.model, trainable(state.model))
    # Donated buffers must be this run's own: the caller keeps his model and the state he resumed from.
    carry = jax.tree.map(jnp.copy, _Carry(parameters, state.optimiser_state, state.average))
    # The same for every number of steps, so that a resumed run compiles to the same program.
    capacity = steps_per_call or 1000
    advance = _compiled_steps(objective, optimiser, rest, batch_size, ema_decay, capacity)
    score = _compiled_score(objective, batch_size)

    def fitted(step: int) -> Fitted:
        kept = jax.tree.map(jnp.copy, carry)
        last = eqx.combine(kept.parameters, rest)
        result = last if ema_decay is None or step == 0 else eqx.combine(_debiased(kept.average, ema_decay, step), rest)
        return Fitted(result, log, TrainingState(last, kept.optimiser_state, kept.average, step))

    log = TrainingLog()
    first, end = state.step, state.step + num_steps
    pauses = held_out is not None or log_path is not None
    interval = valid_every or (-(-num_steps // 10) if pauses else num_steps)
    step, chunk, start = first, steps_per_call or 1, time.perf_counter()
    valid_loss = np.nan
    with tqdm(total=num_steps, desc="fit", unit="step", disable=not progress, dynamic_ncols=True) as bar:
        while step < end:
            until_score = interval - (step - first) % interval
            count = min(chunk, until_score, end - step, capacity)
            began = time.perf_counter()
            carry, rows, done, finite = advance(carry, train, key, step, count)
            done, elapsed = int(done), time.perf_counter() - began
            if steps_per_call is None and step > first:  # the first call compiles: its time says nothing
                chunk = max(1, min(capacity, round(0.5 * done / elapsed)))
            rows = {name: np.asarray(values)[:done] for name, values in rows.items()}
            log.append({"step": np.arange(step, step + done) + 1, "seconds": time.perf_counter() - start, **rows})
            step += done
            bar.update(done)
            if not bool(finite):
                if log_path is not None:
                    log.write(log_path)
                raise TrainingDiverged(
                    f"Step {step}: the loss is {rows['loss'][-1]:g} and the norm of its gradient "
                    f"{rows['gradient_norm'][-1]:g}. Lower the learning rate, clip the gradient "
                    "(optax.clip_by_global_norm) or check the data; the error's `fitted` holds the last finite model.",
                    fitted(step - 1),
                )
            if (step - first) % interval == 0 or step == end:
                if held_out is not None:
                    valid_loss = float(score(fitted(step).model, held_out, key))
                    log.columns.setdefault("valid_loss", np.full(len(log), np.nan))[-1] = valid_loss
                if log_path is not None:
                    log.write(log_path)
            shown = {"loss": f"{rows['loss'].mean():.2e}"}
            bar.set_postfix(shown if np.isnan(valid_loss) else shown | {"valid": f"{valid_loss:.2e}"})
    return fitted(step)


def _compiled_steps(objective, optimiser, rest, batch_size: int, ema_decay: float | None, capacity: int):
    """The compiled loop: `(carry, data, key, first, count) -> (carry, rows, steps done, all finite)`."""

    def loss_of(parameters, batch, key):
        return objective(eqx.combine(parameters, rest), batch, key)

    def one_step(carry: _Carry, data: DeviceData, key: PRNGKeyArray):
        batch_key, loss_key = jax.random.split(key)
        batch = sample_batch(data, batch_size, batch_key)
        (loss, logs), gradient = jax.value_and_grad(loss_of, has_aux=True)(carry.parameters, batch, loss_key)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, optimiser_state = optimiser.update(
            gradient,
            carry.optimiser_state,
            carry.parameters,
            value=loss,
            grad=gradient,
            value_fn=lambda parameters: loss_of(parameters, batch, loss_key)[0],
        )
        # Selecting the sum, not the state, costs no pass over memory: it fuses into the update.
        new = optax.apply_updates(carry.parameters, updates)
        parameters = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, carry.parameters)
        average = carry.average
        if ema_decay is not None:
            gain = 1 - ema_decay
            average = jax.tree.map(lambda a, p: jnp.where(finite, a + gain * (p - a), a), average, parameters)
        rows = {"loss": loss, "gradient_norm": norm, **logs}
        return _Carry(parameters, optimiser_state, average), rows, finite

    @eqx.filter_jit(donate="all-except-first")
    def advance(arguments, carry):
        data, key, first, count = arguments
        shapes = jax.eval_shape(one_step, carry, data, key)[1]
        rows = {name: jnp.zeros(capacity, row.dtype) for name, row in shapes.items()}

        def body(loop):
            i, carry, rows, _ = loop
            carry, row, finite = one_step(carry, data, jax.random.fold_in(key, first + i))
            return i + 1, carry, {name: rows[name].at[i].set(row[name]) for name in rows}, finite

        # A while loop with the number of steps as an argument: one program for every number, so that how a run is cut
        # into calls cannot change how XLA rounds.
        start = (jnp.int32(0), carry, rows, jnp.bool_(True))
        done, carry, rows, finite = jax.lax.while_loop(lambda loop: (loop[0] < count) & loop[3], body, start)
        return carry, rows, done, finite

    def call(carry, data, key, first, count):
        return advance((data, key, jnp.int32(first), jnp.int32(count)), carry)

    return call


def _compiled_score(objective, batch_size: int):
    """The mean loss over evenly spread windows, in batches of the training size."""

    @eqx.filter_jit
    def score(model, data: DeviceData, key: PRNGKeyArray):
        size = min(batch_size, data.num_windows)
        batches = min(-(-64 // size), data.num_windows // size)
        indices = np.linspace(0, data.num_windows - 1, batches * size).round().astype(int).reshape(batches, size)
        # No training step has this number, so this key meets no other.
        key = jax.random.fold_in(key, 2**32 - 1)
        return jnp.mean(
            jax.lax.map(lambda index: objective(model, batch_at(data, index), key)[0], jnp.asarray(indices))
        )

    return score


def _initial_state(model: Any, optimiser: optax.GradientTransformation, ema_decay: float | None) -> TrainingState:
    parameters = eqx.filter(model, trainable(model))
    average = None if ema_decay is None else jax.tree.map(jnp.zeros_like, parameters)
    return TrainingState(model, optimiser.init(parameters), average, 0)


def _checked_resume(state: TrainingState, model: Any, ema_decay: float | None) -> TrainingState:
    def shapes(tree):
        leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
        return jax.tree.structure(eqx.filter(tree, eqx.is_array)), [leaf.shape for leaf in leaves]

    if shapes(state.model) != shapes(model):
        raise ValueError("The state to resume belongs to another model; pass the model and `normalise` of that fit.")
    if (state.average is None) != (ema_decay is None):
        raise ValueError(
            f"The run to resume had ema_decay {'off' if state.average is None else 'on'}, this has {ema_decay}."
        )
    return state


def _debiased(average: Any, decay: float, step: int) -> Any:
    return jax.tree.map(lambda a: a / (1 - decay**step), average)


def _check_options(num_steps, batch_size, valid_every, ema_decay, steps_per_call) -> None:
    given = {"num_steps": num_steps, "batch_size": batch_size}
    given |= {"valid_every": valid_every or 1, "steps_per_call": steps_per_call or 1}
    for name, value in given.items():
        if value < 1:
            raise ValueError(f"fit needs {name} >= 1, got {value}.")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"fit needs 0 <= ema_decay < 1, got {ema_decay}; 0.999 averages over about 1000 steps.")
