"""Trajectories from a solver: drawn, advanced, checked and stored chunk by chunk."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.data.plan import Plan, is_varied, keys_of, stepper_of
from pdejax.data.provenance import decimal, provenance_of, solver_error_of
from pdejax.data.solver_error import measure_solver_error
from pdejax.data.solving import apart_of, check_finite, check_initial, solve_chunk
from pdejax.data.storage import WellWriter, check_parameter_names, read_well, refuse_existing
from pdejax.data.trajectories import Trajectories, as_names, layout_names
from pdejax.grid import Grid, Points, same_box
from pdejax.keys import checked_key
from pdejax.progress import ProgressBar
from pdejax.solvers import TimeStepper
from pdejax.solvers.memory_use import num_bytes, readable, refuse_more_than_free


def generate(
    stepper: Any,
    initial: Callable[..., Float[Array, "channel *space"]],
    *,
    num_samples: int,
    num_steps: int,
    burn_in: int = 0,
    store: Grid | None = None,
    store_every: int = 1,
    key: PRNGKeyArray,
    chunk_size: int = 8,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    dtype: Any = np.float32,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    vectors: Mapping[str, Sequence[str]] | None = None,
    progress: bool = True,
    measure_error: int = 2,
) -> Trajectories:
    r"""Solves `num_samples` initial value problems and returns their trajectories.

    - `stepper`: one stepper, or a function `key -> stepper` that draws coefficients, extent or step per trajectory. It
      may also return `(stepper, {"reynolds": re})`, numbers to be stored beside the coefficients.
    - `initial`: `initial(stepper.grid, key=key) -> (channel, *grid.shape)`.
    - `burn_in`: steps of `stepper.dt` before the first stored frame.
    - `num_steps`: steps after it. Every `store_every`-th is stored, so `u` has `num_steps // store_every + 1` frames.
    - `store`: the grid to store on, the solver's or a coarser one of the same box; where the box varies, its shape
      counts. By default the solver's own: enough to train on, but then the data is its own truth, and `evaluate` leaves
      out those rivals that are more than half as fine. Half the solver's points or fewer leave all of them in. The
      measured error is the solver's in every case: it is found with twice the solver's points, however many are stored.
    - `chunk_size`: trajectories solved at once. All chunks have one shape (the last is filled up, and cropped), so one
      program runs and the bytes of a trajectory do not depend on how many are asked for. Where the discretisation has
      `devices`, those along `data` solve parts of a chunk side by side, and must divide its size.
    - `path`: writes each chunk to this file (The Well's layout) as it is done; the result is read from it when indexed.
      The file appears under its name when it is whole. One that has the name already is replaced with `overwrite=True`.
    - `dtype`: of what is stored. The solver works in the grid's.
    - `names`, `units`, `vectors`: of the channels, see `Trajectories` and `WellWriter`; `names` default to the
      equation's components.
    - `measure_error`: for so many trajectories the error of the stored frames is measured (`measure_solver_error`) and
      put into `provenance` as `solver_error_one_interval` and `solver_error_whole`, the largest over them.

    Sample i draws from `split(fold_in(key, i), 3)`: the initial state, the stepper, the steps (`fold_in` of the step
    number). Time starts at 0 with the initial state and is told to the stepper; `times` are absolute, the first frame
    is at `burn_in * dt`.

    `parameters` holds the coefficients of the equation and what the function declared, one value per trajectory, and
    `output_interval` or `extent_x`, ... where these vary. No two of them may have one name. A vector is one parameter
    for each entry: `velocity_x` by the axis, `diffusivities_u` by the component, `rates_0` in any other case. What else
    the equation holds in numbers, arrays of more dimensions and whole numbers, is no parameter: `provenance` states it
    under `coefficients`, or that it differs between trajectories (then it is lost, and `evaluate` takes no equation).

    Raises `ValueError` for options that make no sense and for a file that exists, and `FloatingPointError`, naming the
    trajectory and the time, when a solution does not stay finite; then no file is left. `TypeError` for a class in
    place of a stepper or an initial law, and `MemoryError` where what is held exceeds the free memory.
    """
    counts = {"num_samples": num_samples, "num_steps": num_steps, "store_every": store_every, "chunk_size": chunk_size}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"generate needs {name} >= 1, got {value}.")
    if burn_in < 0 or measure_error < 0:
        raise ValueError(f"generate needs burn_in >= 0 and measure_error >= 0, got {burn_in} and {measure_error}.")
    if path is not None and jax.process_count() > 1:
        raise ValueError(
            f"generate runs in {jax.process_count()} processes, which would all write {path}: leave path= out, and "
            "write the result in one: if jax.process_index() == 0: pdejax.write_well(path, trajectories)."
        )
    if store_every > num_steps:
        raise ValueError(f"store_every={store_every} stores nothing of {num_steps} steps after the first frame.")
    if path is not None:
        refuse_existing(Path(path), overwrite)
    dtype = np.dtype(dtype)
    checked_key(key, "generate")
    for what, given, example in (
        ("stepper", stepper, "TimeStepper(equation, discretisation, dt)"),
        ("initial", initial, "BandLimited(peak=4)"),
    ):
        if isinstance(given, type):
            raise TypeError(
                f"generate takes {what}=, an instance such as {example}, got the class {given.__name__} itself."
            )
    reference, declared = stepper_of(stepper, keys_of(key, 0)[1])
    if dtype != np.float32 and not dtype == reference.grid.dtype == np.float64:
        raise ValueError(
            f"generate stores float32, or float64 where the solver's grid is float64; got dtype={dtype} and a grid of "
            f"{reference.grid.dtype}."
        )
    names = _channel_names(reference, names)
    units = None if units is None else as_names(units)
    devices = getattr(getattr(reference, "discretisation", None), "devices", None)
    if devices is not None and chunk_size % devices.data:
        raise ValueError(
            f"chunk_size is {chunk_size}, which {devices.data} devices along `data` do not divide: use "
            f"{-(-chunk_size // devices.data) * devices.data}, or other Devices."
        )
    layout = _store_layout(stepper, reference, store)
    plan = Plan(num_steps // store_every + 1, burn_in, store_every, *layout, dtype, devices)
    grid = plan.stored_grid(reference.grid) if store is None or is_varied(stepper) else store
    times = (burn_in + store_every * np.arange(plan.num_frames)) * decimal(reference.dt)
    shape = (num_samples, plan.num_frames, len(names), *grid.shape)

    outcome = eqx.filter_eval_shape(solve_chunk, stepper, initial, key, jnp.arange(chunk_size), plan)
    if outcome.frames.shape[1:] != shape[1:]:
        raise ValueError(
            f"The states have {outcome.frames.shape[2]} channels but there are {len(names)} names: {names}."
        )
    check_initial(stepper, initial, key)
    check_parameter_names(outcome.parameters)
    _check_memory(shape, dtype, outcome, in_memory=path is None)
    # A few say whether they differ; of large arrays, all samples at once could be more than there is memory.
    some = jnp.arange(min(num_samples, 16) if is_varied(stepper) else 1)
    apart = {name: np.asarray(values) for name, values in apart_of(stepper, key, some).items()}

    # With a file, nothing is held but the chunk at hand.
    u = np.empty(shape if path is None else 0, dtype)
    options = {"num_samples": num_samples, "dtype": dtype, "units": units, "vectors": vectors}
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(WellWriter(path, grid, names, times, **options)) if path is not None else None
        bar = stack.enter_context(ProgressBar(num_samples, unit="traj", description="trajectories", shown=progress))
        collected: list[dict[str, np.ndarray]] = []
        time_steps: list[np.ndarray] = []
        errors: list[np.ndarray] = []
        for first in range(0, num_samples, chunk_size):
            size = min(chunk_size, num_samples - first)
            chunk = solve_chunk(stepper, initial, key, jnp.arange(first, first + chunk_size), plan)
            if jax.process_count() > 1 and devices is not None:
                chunk = devices.gathered(chunk)
            chunk = jax.tree.map(lambda leaf, size=size: np.asarray(leaf)[:size], chunk)
            check_finite(chunk, first, plan)
            if writer is not None:
                writer.write(first, chunk.frames)
            else:
                u[first : first + size] = chunk.frames
            collected.append(chunk.parameters)
            time_steps.append(chunk.dt)
            bar.update(size)
            # At once and not at the end: a solution too coarse to be measured should not cost the whole run first.
            if isinstance(reference, TimeStepper) and len(errors) < measure_error:
                bar.set_description("solver error")
                for i in range(min(size, measure_error - len(errors))):
                    errors.append(_error_of(stepper, key, first + i, chunk.start[i], chunk.frames[i], plan))
                bar.set_description("trajectories")

        every = {name: np.concatenate([part[name] for part in collected]) for name in collected[0]}
        # Interval and extents that all trajectories share are said by `times` and `grid` already.
        shared = {name for name in layout_names(grid.ndim) if np.all(every[name] == every[name][0])}
        parameters = {name: values for name, values in every.items() if name not in shared}
        provenance = provenance_of(
            reference, initial, key, plan, np.concatenate(time_steps), parameters, apart, declared
        )
        provenance |= solver_error_of(reference, errors)
        if writer is not None:
            writer.finish(parameters, provenance)
            return read_well(writer.path)
    return Trajectories(
        u=u,
        grid=grid,
        times=times,
        names=names,
        units=("",) * len(names) if units is None else units,
        parameters=parameters,
        provenance=provenance,
    )


def _check_memory(shape: tuple[int, ...], dtype: np.dtype, chunk: Any, in_memory: bool) -> None:
    """Raises `MemoryError` where the frames and a chunk of them exceed the free memory: from shapes, and at least."""
    held = int(np.prod(shape)) * dtype.itemsize if in_memory else 0
    size = num_bytes(chunk)
    refuse_more_than_free(
        held + size,
        f"generate holds {shape[0]} trajectories of {shape[1]} frames ({readable(held)}) and a chunk of "
        f"{chunk.frames.shape[0]} ({readable(size)})",
        "Write to a file (path=), store on fewer points (store=) or fewer frames (store_every=), or take a smaller "
        "chunk_size.",
    )


def _channel_names(stepper: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return as_names(names)
    if not hasattr(stepper, "equation"):
        raise ValueError(f"{type(stepper).__name__} has no equation to name its channels: pass names=(...).")
    return tuple(stepper.equation.components(stepper.grid.ndim))


def _store_layout(stepper: Any, reference: Any, store: Grid | None) -> tuple[tuple[int, ...], tuple[Points, ...]]:
    grid = reference.grid
    if store is None:
        return grid.shape, grid.points
    if store.ndim != grid.ndim or not (is_varied(stepper) or same_box(store, grid)):
        if store.ndim == grid.ndim and store.periodic != grid.periodic:
            raise ValueError(
                f"store is periodic {store.periodic} and the solver {grid.periodic}: grid.with_shape({store.shape}) "
                "has the same walls."
            )
        raise ValueError(
            f"store has extent {np.asarray(store.extent).tolist()} and the solver {np.asarray(grid.extent).tolist()}: "
            f"store another resolution of the same box, grid.with_shape({store.shape})."
        )
    if any(kept > solved for kept, solved in zip(store.shape, grid.shape, strict=True)):
        raise ValueError(
            f"store has {store.shape} points, more than the {grid.shape} that were solved on, and they would hold no "
            "more: store on the solver's grid or a coarser one; resample(u, grid, finer) shows it on more."
        )
    return store.shape, store.points


def _error_of(
    stepper: Any, key: PRNGKeyArray, index: int, start: np.ndarray, frames: np.ndarray, plan: Plan
) -> Float[np.ndarray, " time"]:
    solver, _ = stepper_of(stepper, keys_of(key, index)[1])
    t0 = plan.burn_in * solver.dt
    return measure_solver_error(
        solver, start, frames, plan.stored_grid(solver.grid), store_every=plan.store_every, t0=t0
    )
