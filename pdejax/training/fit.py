"""The training loop: several optimiser steps per compiled call, reproducible across interruptions."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from pdejax.devices import Devices
from pdejax.progress import ProgressBar
from pdejax.training.agreement import check_agreement, check_held_out
from pdejax.training.arguments import check_arguments, check_kinds, check_options, check_stages, check_stopping
from pdejax.training.checkpoints import CheckpointFolder, Checkpoints, described_run
from pdejax.training.dataset import device_data
from pdejax.training.fitted import Fitted, TrainingDiverged, divergence
from pdejax.training.log import TrainingLog, by_member, check_log_path
from pdejax.training.loggers import Logger
from pdejax.training.members import EACH, each_member
from pdejax.training.normalising import as_given, is_normalised, normalised
from pdejax.training.objectives import AbstractObjective
from pdejax.training.state import Best, TrainingState, checked_resume, initial_state, optimised
from pdejax.training.steps import Carry, compiled_score, compiled_steps


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
    frozen: Callable[[Any], Any] | None = None,
    keep_best: bool = False,
    patience: int | None = None,
    resume: TrainingState | None = None,
    checkpoints: Checkpoints | None = None,
    devices: Devices | None = None,
    steps_per_call: int | None = None,
    compiler_options: Mapping[str, Any] | None = None,
    progress: bool = True,
    log_path: str | os.PathLike | None = None,
    loggers: Sequence[Any] = (),
) -> Fitted:
    r"""Minimises `objective` over the weights of `model` with `num_steps` steps of an optax optimiser.

    - `model`: any that is called as models are. An `Ensemble`, e.g. of several seeds, is trained side by side in one
      program: each member has batches and an optimiser of its own, and is what `fit` would make of it alone with the
      key `fold_in(key, number)`. It is stopped (`patience`) when all of them have waited long enough.
    - `data`, `valid`: `Trajectories`, or a pair of arrays `(inputs, targets)`, each `(sample, channel, *space)`, for
      `Supervised`, and as a third entry what the model is told of each. They are put on the device whole; `valid` is
      scored on 64 windows (a batch, where that is more), evenly spread, every `valid_every` steps (a tenth of the run
      by default) and at the end, with the weights that would be returned.
    - `optimiser`: any of optax, or `soap`. Line searches (`optax.lbfgs()`) are held on the batch of their step; what
      they learn of the curvature holds for the next step if `batch_size` is the number of all windows, of which every
      batch then holds all in the same order, and if the objective draws nothing at random.
    - `batch_size`: windows (or pairs) per step. A batch is drawn at random inside the compiled step: the data are cut
      into `batch_size` stretches of equal length at a random offset, and one window is drawn from each. So no window
      comes twice in a batch, all are equally likely, a batch spreads over all trajectories, and a step depends on
      nothing but `key` and its own number: no epoch, no shuffled order to store.
    - `normalise`: wraps the model in `Normalised` with the statistics of `data`. For an objective in time the network
      then predicts the increment from frame to frame (`residual=True`), a `LatentEvolution` the next frame itself, as
      every network does the target of a pair. The network of a
      `Corrected` solver gets the statistics of what the solver misses; nothing is put around a `LearnedSolver`. A
      model that is `Normalised` already, e.g. by an earlier fit, stays as it is; give `normalise=False` for any other
      that is in physical units.
    - `ema_decay`: returns the average `a_n / (1 - decay^n)`, `a_n = decay a_{n-1} + (1 - decay) weights_n`, `a_0 = 0`.
      It may change when a run is resumed: then the divisor is what the weights really add up to.
    - `frozen`: picks what is not trained, e.g. `lambda model: model.lift` or a tuple of several parts of `model`: it
      keeps its values, to the bit, and no optimiser sees it.
    - `keep_best`: returns the model of the validation with the lowest loss, and not the last one. `patience`: stops
      after so many validations in a row that were not better than the best.
    - `resume`: goes on from the `state` of an earlier fit with `num_steps` further steps; its weights and statistics
      replace those of `model`. With the same `key`, data and `valid_every` the result equals that of an uninterrupted
      run bit for bit. A score at the end of a run that is no multiple of `valid_every` counts for the model that is
      returned, and not for what the next run goes on from.
    - `checkpoints`: writes down, every so many steps, what the next one depends on, and goes on from the newest where
      the folder holds any: `num_steps` is then where the run ends, and the same script, started again after it was
      killed, ends with the bits of one that was not.
    - `devices`: trains on many of them; losses and gradients agree with those of one device to rounding. (Adam
      divides a gradient by its own size: a weight whose gradient is nothing but rounding moves all the same.)
    - `steps_per_call`: optimiser steps per compiled call; by default as many as take about half a second. It changes
      how often the progress bar moves, never the result: the number is an argument of one compiled loop.
    - `compiler_options`: of XLA, for what is compiled here, as `jax.jit` takes them; `QUICK_COMPILATION` shortens
      the time that deep networks take to compile for a CPU. Others round otherwise: a run that is resumed with other
      ones does not end with the same bits.
    - `log_path`: where the log is written, .csv or .jsonl, at every validation and at the end; folders are made.
    - `loggers`: of `pdejax.training.loggers` (`TensorBoard`, `Wandb`, `LivePlot`), or functions of one's own that are
      called with new rows of the log as they come, and may have a method `finish` for the end.

    Statistics are no parameters (`pdejax.models.trainable`): no gradient, weight decay or average touches them.

    Raises `ValueError` for a model that cannot be called as models are, for data that do not fit the objective, the
    model or the batch, for values that are not finite, and for a state to resume that belongs to another model or
    optimiser; `TrainingDiverged` when a loss, a gradient or an update is not finite, naming the step
    and keeping the run up to it.
    """
    check_options(num_steps, batch_size, valid_every, ema_decay, steps_per_call)
    check_kinds(key, resume, checkpoints, devices, loggers)
    check_stopping(keep_best, patience, valid, resume, checkpoints)
    check_arguments(model, objective, optimiser, normalise)
    check_stages(objective, num_steps if resume is None else resume.step + num_steps)
    if log_path is not None:
        check_log_path(log_path)
    normalise = normalise and not is_normalised(model)
    train = device_data("data", data, objective.frames, batch_size, model, objective.bundle)
    held_out = None if valid is None else device_data("valid", valid, objective.frames, 1, model, objective.bundle)
    check_agreement(model, objective, train)
    if held_out is not None:
        check_agreement(model, objective, held_out)
        check_held_out(train, held_out)
    if normalise:
        model = normalised(
            model, data, objective.frames, objective.bundle, partial(objective.targets, interval=train.interval)
        )
    if devices is not None:
        devices.check(batch_size, train.points)
    flags = optimised(model, frozen, as_given if normalise else lambda tree: tree)
    optimiser = optax.with_extra_args_support(optimiser)
    arguments = (model, flags, optimiser, ema_decay, keep_best or patience is not None)
    log, first, folder = TrainingLog(), 0, None
    if resume is None:
        state = initial_state(*arguments)
    else:
        state = checked_resume(resume, eqx.filter_eval_shape(initial_state, *arguments))
    end = state.step + num_steps
    if checkpoints is not None:
        folder = CheckpointFolder(
            checkpoints, described_run(state, flags, objective, train, key, batch_size, ema_decay)
        )
        if folder.newest is not None:
            state, log = folder.read(state if devices is None else devices.whole(state))
            if state.step > end:
                raise ValueError(
                    f"{checkpoints.folder} holds a run that took {state.step} steps, beyond num_steps={end}: pass at "
                    "least as many, or begin a new run in another folder."
                )
    first, earlier = state.step, float(log["seconds"][-1]) if len(log) else 0.0
    parameters, rest = eqx.partition(state.model, flags)
    # Donated buffers must be this run's own: the caller keeps his model and the state he resumed from.
    carry = jax.tree.map(jnp.copy, Carry(parameters, state.optimiser_state, state.average, state.average_weight))
    best = lowest = state.best
    if devices is not None:
        carry, (train, held_out, key) = devices.kept(carry), devices.whole((train, held_out, key))
    # The same for every number of steps, so that a resumed run compiles to the same program.
    capacity = steps_per_call or 1000
    if compiler_options is not None and not isinstance(compiler_options, Mapping):
        raise ValueError(
            "`compiler_options` are names of XLA's options and their values, e.g. "
            f"pdejax.training.QUICK_COMPILATION, got {compiler_options!r}."
        )
    asked = None if compiler_options is None else dict(compiler_options)
    advance = compiled_steps(objective, optimiser, rest, batch_size, ema_decay, capacity, devices, asked)
    score = compiled_score(objective, batch_size, asked)

    def weights_of(kept: Carry) -> Any:
        """Those that are scored and returned: the average, where one is asked for and has begun."""
        if ema_decay is None or not np.all(np.asarray(kept.average_weight) > 0):
            return kept.parameters

        def divided(average: Any, weight: Any, parameters: Any) -> Any:
            return jax.tree.map(lambda a, p: (a / weight.astype(a.dtype)).astype(p.dtype), average, parameters)

        return each_member(divided, rest, (EACH, 0, EACH))(kept.average, kept.average_weight, kept.parameters)

    def copied() -> Carry:
        """What no later step donates, and every device holds whole."""
        return jax.tree.map(jnp.copy, carry) if devices is None else devices.gathered(carry)

    def fitted(step: int) -> Fitted:
        kept = copied()
        last = eqx.combine(kept.parameters, rest)
        state = TrainingState(last, kept.optimiser_state, kept.average, kept.average_weight, step, best)
        weights = lowest.weights_or(weights_of(kept)) if keep_best and lowest is not None else weights_of(kept)
        return Fitted(eqx.combine(weights, rest), log, state)

    tenth = -(-num_steps // 10) if held_out is not None or log_path is not None else num_steps
    interval = tenth if valid_every is None else valid_every
    saving = num_steps if checkpoints is None else checkpoints.every
    step, start = first, time.perf_counter()
    # Several processes have to agree on every call, which their clocks do not.
    timed = steps_per_call is None and jax.process_count() == 1
    writes = jax.process_index() == 0
    chunk = 1 if timed else capacity
    valid_loss, told = np.nan, len(log)
    if best is not None and held_out is not None and first == end and end % interval:
        # A run that was over already: the score at its end was not kept, and decides what is returned.
        weights = weights_of(copied())
        lowest = best.after(weights, score(eqx.combine(weights, rest), held_out, key), end)
    try:
        with ProgressBar(max(0, end - first), unit="step", description="fit", shown=progress) as bar:
            while step < end and not _waited_enough(best, patience):
                # Scores and checkpoints belong to the number of the step, and not to where a run went on.
                count = min(chunk, interval - step % interval, saving - step % saving, end - step, capacity)
                began = time.perf_counter()
                carry, rows, done, finite = advance(carry, train, key, step, count)
                done, elapsed = int(done), time.perf_counter() - began
                if timed and step > first:  # the first call compiles: its time says nothing
                    chunk = max(1, min(capacity, round(0.5 * done / elapsed)))
                rows = {name: np.asarray(values)[:done] for name, values in rows.items()}
                seconds = earlier + time.perf_counter() - start
                log.append({"step": np.arange(step, step + done) + 1, "seconds": seconds, **by_member(rows)})
                step += done
                bar.update(done)
                if not bool(finite):
                    if log_path is not None and writes:
                        log.write(log_path)
                    raise TrainingDiverged(divergence(step, rows, folder), fitted(step - 1))
                if step % interval == 0 or step == end:
                    if held_out is not None:
                        weights = weights_of(copied())
                        scored = score(eqx.combine(weights, rest), held_out, key)
                        lowest = None if best is None else best.after(weights, scored, step)
                        # A score that only this run's end asked for would not be there in a longer run.
                        best = lowest if step % interval == 0 else best
                        log.amend(by_member({"valid_loss": np.asarray(scored)[None]}))
                        valid_loss = float(np.mean(scored))
                    if log_path is not None and writes:
                        log.write(log_path)
                if writes:
                    told = _tell(loggers, log, told)
                if folder is not None and (step % saving == 0 or step == end or _waited_enough(best, patience)):
                    folder.write(fitted(step).state, log)
                shown = {"loss": f"{rows['loss'].mean():.2e}"}
                bar.set_postfix(shown if np.isnan(valid_loss) else shown | {"valid": f"{valid_loss:.2e}"})
    finally:
        if writes:
            _tell(loggers, log, told)
            for logger in loggers:
                if callable(finish := getattr(logger, "finish", None)):
                    finish()
        if folder is not None:
            folder.finish()
    return fitted(step)


def _waited_enough(best: Best | None, patience: int | None) -> bool:
    return best is not None and patience is not None and bool(np.all(np.asarray(best.waited) >= patience))


def _tell(loggers: Sequence[Logger], log: TrainingLog, told: int) -> int:
    """Gives the loggers what they were not told yet, and returns how much they know."""
    if len(log) > told:
        for logger in loggers:
            logger(log.since(told))
    return len(log)
