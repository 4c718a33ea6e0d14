"""Trajectories from a solver: drawn, advanced, checked and stored chunk by chunk."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tqdm.auto
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pdejax.data.coefficients import coefficient_parameters
from pdejax.data.solver_error import measure_solver_error, on_grid, refined
from pdejax.data.storage import WellWriter, check_parameter_names, read_well
from pdejax.data.trajectories import Trajectories, axis_names
from pdejax.grid import Grid, Points, same_box
from pdejax.solvers import TimeStepper


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
    - `store`: the grid to store on, another resolution of the same box; where the box varies, its shape counts.
    - `chunk_size`: trajectories solved at once. All chunks have one shape (the last is filled up, and cropped), so one
      program runs and the bytes of a trajectory do not depend on how many are asked for.
    - `path`: writes each chunk to this file (The Well's layout) as it is done; the result is read from it when indexed.
      The file appears under its name when it is whole.
    - `dtype`: of what is stored. The solver works in the grid's.
    - `names`, `units`, `vectors`: of the channels, see `Trajectories` and `WellWriter`; `names` default to the
      equation's components.
    - `measure_error`: for so many trajectories the error of the stored frames is measured (`measure_solver_error`) and
      put into `provenance` as `solver_error_one_interval` and `solver_error_whole`, the largest over them.

    Sample i draws from `split(fold_in(key, i), 3)`: the initial state, the stepper, the steps (`fold_in` of the step
    number). Time starts at 0 with the initial state and is told to the stepper; `times` are absolute, the first frame
    is at `burn_in * dt`.

    `parameters` holds the coefficients of the equation and what the function declared, one value per trajectory, and
    `output_interval` or `extent_x`, ... where these vary.

    Raises `ValueError` for options that make no sense, and `FloatingPointError`, naming the trajectory and the time,
    when a solution does not stay finite; then no file is left.
    """
    counts = {"num_samples": num_samples, "num_steps": num_steps, "store_every": store_every, "chunk_size": chunk_size}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"generate needs {name} >= 1, got {value}.")
    if burn_in < 0 or measure_error < 0:
        raise ValueError(f"generate needs burn_in >= 0 and measure_error >= 0, got {burn_in} and {measure_error}.")
    if store_every > num_steps:
        raise ValueError(f"store_every={store_every} stores nothing of {num_steps} steps after the first frame.")
    dtype = np.dtype(dtype)
    reference, _ = _stepper_of(stepper, _keys(key, 0)[1])
    if dtype != np.float32 and not dtype == reference.grid.dtype == np.float64:
        raise ValueError(
            f"generate stores float32, or float64 where the solver's grid is float64; got dtype={dtype} and a grid of "
            f"{reference.grid.dtype}."
        )
    names = _channel_names(reference, names)
    plan = _Plan(num_steps // store_every + 1, burn_in, store_every, *_store_layout(stepper, reference, store), dtype)
    grid = plan.stored_grid(reference.grid) if store is None or _is_varied(stepper) else store
    times = (burn_in + store_every * np.arange(plan.num_frames)) * _decimal(reference.dt)
    shape = (num_samples, plan.num_frames, len(names), *grid.shape)

    outcome = eqx.filter_eval_shape(_solve_chunk, stepper, initial, key, jnp.arange(chunk_size), plan)
    if outcome.frames.shape[1:] != shape[1:]:
        raise ValueError(
            f"The states have {outcome.frames.shape[2]} channels but there are {len(names)} names: {names}."
        )
    check_parameter_names(outcome.parameters)

    # With a file, nothing is held but the chunk at hand.
    u = np.empty(shape if path is None else 0, dtype)
    options = {"num_samples": num_samples, "dtype": dtype, "units": units, "vectors": vectors}
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(WellWriter(path, grid, names, times, **options)) if path is not None else None
        bar = stack.enter_context(
            tqdm.auto.tqdm(total=num_samples, desc="trajectories", unit="traj", disable=not progress)
        )
        collected: list[dict[str, np.ndarray]] = []
        time_steps: list[np.ndarray] = []
        errors: list[np.ndarray] = []
        for first in range(0, num_samples, chunk_size):
            size = min(chunk_size, num_samples - first)
            chunk = jax.tree.map(
                lambda leaf, size=size: np.asarray(leaf)[:size],
                _solve_chunk(stepper, initial, key, jnp.arange(first, first + chunk_size), plan),
            )
            _check_finite(chunk, first, plan)
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
        parameters = _without_constant_layout(every)
        provenance = _provenance(reference, initial, key, plan, np.concatenate(time_steps), parameters)
        provenance |= _solver_error(reference, errors)
        if writer is not None:
            writer.finish(parameters, provenance)
            return read_well(writer.path)
    return Trajectories(
        u=u,
        grid=grid,
        times=times,
        names=names,
        units=("",) * len(names) if units is None else tuple(units),
        parameters=parameters,
        provenance=provenance,
    )


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What decides the shape of a chunk's program."""

    num_frames: int
    burn_in: int
    store_every: int
    shape: tuple[int, ...]
    points: tuple[Points, ...]
    dtype: np.dtype

    def stored_grid(self, grid: Grid) -> Grid:
        return Grid(self.shape, grid.extent, grid.periodic, grid.origin, self.points, grid.dtype)


class _Chunk(eqx.Module):
    """What a chunk's program returns; every leaf leads with the sample."""

    frames: Any
    start: Any
    failed_at: Any
    dt: Any
    parameters: dict[str, Any]


@eqx.filter_jit
def _solve_chunk(stepper: Any, initial: Any, key: PRNGKeyArray, indices: Int[Array, " sample"], plan: _Plan) -> _Chunk:
    return jax.vmap(lambda index: _solve_one(stepper, initial, key, index, plan))(indices)


def _solve_one(stepper: Any, initial: Any, key: PRNGKeyArray, index: Int[Array, ""], plan: _Plan) -> _Chunk:
    initial_key, stepper_key, step_key = _keys(key, index)
    stepper, declared = _stepper_of(stepper, stepper_key)
    grid = stepper.grid
    stored_grid = plan.stored_grid(grid)

    def keep(u: Array) -> Array:
        return on_grid(u, grid, stored_grid).astype(plan.dtype)

    def step(n: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        u, failed_at = carry
        following = stepper(u, t=n * stepper.dt, key=jax.random.fold_in(step_key, n)).astype(u.dtype)
        failed_now = (failed_at < 0) & ~jnp.all(jnp.isfinite(following))
        return following, jnp.where(failed_now, n + 1, failed_at)

    def frame(carry: tuple[Array, Array, Array], j: Array) -> tuple[tuple[Array, Array, Array], Array]:
        # The burn-in is the way to frame 0: with a loop of its own, the step would be compiled twice.
        u, start, failed_at = carry
        first = jnp.where(j == 0, 0, plan.burn_in + (j - 1) * plan.store_every)
        u, failed_at = jax.lax.fori_loop(first, plan.burn_in + j * plan.store_every, step, (u, failed_at))
        return (u, jnp.where(j == 0, u, start), failed_at), keep(u)

    u = jnp.asarray(initial(grid, key=initial_key), grid.dtype)
    carry = (u, u, jnp.where(jnp.all(jnp.isfinite(u)), -1, 0))
    (_, start, failed_at), frames = jax.lax.scan(frame, carry, jnp.arange(plan.num_frames))
    layout = {"output_interval": stepper.dt * plan.store_every}
    layout |= {f"extent_{name}": grid.extent[a] for a, name in enumerate(axis_names(grid.ndim))}
    return _Chunk(
        frames=frames,
        start=start,
        failed_at=failed_at,
        dt=stepper.dt,
        parameters=layout | coefficient_parameters(getattr(stepper, "equation", None), grid.ndim) | declared,
    )


def _keys(key: PRNGKeyArray, index: Any) -> Any:
    """The keys of sample `index`: for its initial state, its stepper, its steps."""
    return jax.random.split(jax.random.fold_in(key, index), 3)


def _is_varied(stepper: Any) -> bool:
    return not hasattr(stepper, "dt")


def _stepper_of(stepper: Any, key: PRNGKeyArray) -> tuple[Any, dict[str, Array]]:
    """The stepper of one trajectory, and the parameters declared with it."""
    if not _is_varied(stepper):
        return stepper, {}
    made = stepper(key)
    made, declared = made if isinstance(made, tuple) else (made, {})
    if not (hasattr(made, "dt") and hasattr(made, "grid")):
        raise ValueError(
            "generate takes a stepper with `dt` and `grid`, or a function key -> stepper (or (stepper, parameters)); "
            f"the function returned {type(made).__name__}."
        )
    for name, value in declared.items():
        if jnp.ndim(value) != 0:
            raise ValueError(f"A parameter is one number per trajectory; {name!r} has shape {jnp.shape(value)}.")
    return made, {name: jnp.asarray(value) for name, value in declared.items()}


def _channel_names(stepper: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return (names,) if isinstance(names, str) else tuple(names)
    if not hasattr(stepper, "equation"):
        raise ValueError(f"{type(stepper).__name__} has no equation to name its channels: pass names=(...).")
    return tuple(stepper.equation.components(stepper.grid.ndim))


def _store_layout(stepper: Any, reference: Any, store: Grid | None) -> tuple[tuple[int, ...], tuple[Points, ...]]:
    grid = reference.grid
    if store is None:
        return grid.shape, grid.points
    if store.ndim != grid.ndim or not (_is_varied(stepper) or same_box(store, grid)):
        raise ValueError(
            f"store has extent {np.asarray(store.extent).tolist()} and the solver {np.asarray(grid.extent).tolist()}: "
            f"store another resolution of the same box, grid.with_shape({store.shape})."
        )
    return store.shape, store.points


def _check_finite(chunk: _Chunk, first: int, plan: _Plan) -> None:
    for i, failed_at in enumerate(chunk.failed_at.tolist()):
        if failed_at == 0:
            raise FloatingPointError(f"The initial state of trajectory {first + i} is not finite: see the initial law.")
        if failed_at > 0:
            after = failed_at - plan.burn_in
            where = f"before frame {-(-after // plan.store_every)}" if after > 0 else "during the burn-in"
            dt = _decimal(chunk.dt[i])
            raise FloatingPointError(
                f"Trajectory {first + i} is not finite at t = {failed_at * dt:g}, {where} (step {failed_at} of dt = "
                f"{dt:g}): take more substeps or a smaller dt, a finer grid, or a smoother initial state."
            )
        if not np.all(np.isfinite(chunk.frames[i])):
            raise FloatingPointError(f"Trajectory {first + i} has values beyond {plan.dtype}: store dtype=float64.")


def _without_constant_layout(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drops interval and extents where all trajectories share them: `times` and `grid` say them already."""
    layout = ("output_interval", "extent_")
    return {n: v for n, v in parameters.items() if not n.startswith(layout) or np.any(v != v[0])}


def _error_of(
    stepper: Any, key: PRNGKeyArray, index: int, start: np.ndarray, frames: np.ndarray, plan: _Plan
) -> Float[np.ndarray, " time"]:
    solver, _ = _stepper_of(stepper, _keys(key, index)[1])
    t0 = plan.burn_in * solver.dt
    return measure_solver_error(
        solver, start, frames, plan.stored_grid(solver.grid), store_every=plan.store_every, t0=t0
    )


def _solver_error(stepper: Any, errors: list[np.ndarray]) -> dict[str, Any]:
    if not isinstance(stepper, TimeStepper):
        return {"solver_error": f"not measured: a {type(stepper).__name__} cannot be refined"}
    if not errors:
        return {"solver_error": "not measured"}
    largest, fine = np.max(errors, axis=0), refined(stepper)
    return {
        "solver_error_one_interval": float(largest[1]),
        "solver_error_whole": float(largest[-1]),
        "solver_error_by_frame": [float(f"{error:.4g}") for error in largest],
        "solver_error": (
            f"relative L2, largest of {len(errors)} trajectories, against {fine.substeps} in place of "
            f"{stepper.substeps} substeps on {fine.grid.shape} in place of {stepper.grid.shape} points"
        ),
    }


def _provenance(
    stepper: Any,
    initial: Any,
    key: PRNGKeyArray,
    plan: _Plan,
    time_steps: np.ndarray,
    parameters: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    def range_of(values: np.ndarray) -> Any:
        low, high = _decimal(values.min()), _decimal(values.max())
        return low if low == high else [low, high]

    solved = {"stepper": type(stepper).__name__}
    if isinstance(stepper, TimeStepper):
        solved = {
            "equation": type(stepper.equation).__name__,
            "discretisation": describe(stepper.discretisation),
            "solver": describe(stepper.solver),
            "substeps": stepper.substeps,
        }
    device = jax.devices()[0]
    return {
        **solved,
        "solved_on": list(stepper.grid.shape),
        "coefficients": {name: range_of(values) for name, values in parameters.items()},
        "dt": range_of(time_steps),
        "burn_in": plan.burn_in,
        "store_every": plan.store_every,
        "initial": describe(initial),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "dtype": {"solved": stepper.grid.dtype.name, "stored": plan.dtype.name},
        "versions": {name: _version(name) for name in ("pdejax", "jax", "jaxlib", "numpy")},
        "device": f"{device.platform} ({device.device_kind})",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def describe(value: Any) -> str:
    """A module, function or number in words, for provenance: `ETDRK4()`, `BandLimited(peak=4.0, ...)`."""
    if isinstance(value, Grid):
        return f"Grid({value.shape}, extent={np.asarray(value.extent).tolist()})"
    if isinstance(value, eqx.Module) and dataclasses.is_dataclass(value):
        fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(f'{name}={describe(v)}' for name, v in fields if v is not None)})"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        small = value.size <= 16
        return str(np.asarray(value).tolist()) if small else f"{value.dtype}{list(value.shape)}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return repr(value)


def _decimal(value: Any) -> float:
    """The shortest decimal that rounds to `value` in its own precision: 0.2, where float32 holds 0.200000003."""
    return float(str(np.asarray(value)[()]))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
