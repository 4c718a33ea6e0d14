"""How far stored trajectories are from the solution: they are solved again, twice as fine, from the same states.

Twice as fine in time and, on periodic grids and with finite volumes, in space; between other walls in time alone, and
then the error of the stencil is not in the figure. `measured_part` says which, for every place that prints one.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.fields import FiniteDifference, Spectral
from pdejax.grid import Grid
from pdejax.metrics import rmse, root_mean_square
from pdejax.resample import resample
from pdejax.solvers import AbstractSemilinearSolver, TimeStepper
from pdejax.volumes import FiniteVolume, remap_state

# In roundings of the largest channel: what has never more than this is not told from the rounding of the others.
_NOISE = 1e3
# Of its largest size: a channel that holds less at some time is measured by that.
_EMPTY = 0.01


def measure_solver_error(
    stepper: TimeStepper,
    start: Float[Array | np.ndarray, "channel *space"],
    frames: Float[Array | np.ndarray, "time channel *stored_space"],
    grid: Grid,
    *,
    store_every: int = 1,
    t0: Any = 0.0,
) -> Float[np.ndarray, " time"]:
    """The relative L2 error of every frame of one stored trajectory, `(time,)`, measured and not estimated.

    `refined(stepper)` solves on from the same state with half the step (explicit solvers: a quarter) and twice the
    points, and each frame is compared with it on the modes that both hold, averages over cells on the coarser cells
    (`pdejax.volumes.remap`). With walls and points only the step is halved: see `measured_part`. Rounding and
    truncation to `grid` show up in frame 0, where both solutions are still equal.

    The error of a frame is that of the channel that has the largest. Each channel is measured by its own size at that
    time (where that is less than a hundredth of its largest, by its largest), but for those that hold nothing: a
    channel that at no time is above
    1000 eps times the root mean square over all channels, eps that of the solver's precision, may be the rounding of
    the others, of which no two solutions agree. It is measured by that root mean square. In double precision that is
    2e-13 and concerns no other channel; in single precision it is 1e-4, and a channel whose units make it that small
    beside the others does not count either: give it other units, or solve in double precision.

    - `start`: the state of frame 0 at the solver's own resolution, `(channel, *stepper.grid.shape)`.
    - `frames`: what was stored, `(time, channel, *grid.shape)`, one frame every `store_every` steps of `stepper.dt`.
    - `t0`: the time of frame 0.

    The finer solution errs as well: of the error of a step of order p, half the step shows the part 1 - 2^-p. In a
    chaotic flow the error of any solver grows with time: after one interval and at the end are different questions.

    Raises `ValueError` when the frames are not finite, or the finer solution does not stay so.
    """
    there = np.isfinite(np.asarray(frames)).all(axis=tuple(range(1, frames.ndim)))
    if not there.all():
        raise ValueError(f"The stored frames are not finite from frame {int(np.argmin(there))} on: nothing to measure.")
    differences, sizes = (
        np.asarray(values, np.float64)
        for values in _compared(
            stepper, refined(stepper), jnp.asarray(start), jnp.asarray(frames), grid, store_every, t0
        )
    )
    finite = np.isfinite(differences).all(axis=1)
    if not finite.all():
        raise ValueError(
            "The finer solution that the error is measured against is not finite from frame "
            f"{int(np.argmin(finite))} on: take more substeps, or measure_error=0 to do without."
        )
    return largest_relative(differences, sizes, float(np.finfo(stepper.grid.dtype).eps))


def largest_relative(
    differences: Float[np.ndarray, "time channel"], sizes: Float[np.ndarray, "time channel"], eps: float
) -> Float[np.ndarray, " time"]:
    """The largest over channels of difference over size, by the rule that `measure_solver_error` states."""
    least = _NOISE * eps
    overall = np.sqrt(np.mean(sizes**2, axis=1, keepdims=True))
    largest = np.max(sizes, axis=0)
    # A wave that has just entered a channel is measured by what it will be.
    own = np.where(sizes > _EMPTY * largest, sizes, largest)
    reference = np.where(largest > least * np.max(overall), own, overall)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.max(np.where(differences == 0, 0.0, differences / reference), axis=1)


def measured_part(stepper: TimeStepper) -> str:
    """Which errors `measure_solver_error` sees for this solver, as the end of a sentence about its figures."""
    fine = refined(stepper)
    if fine.grid.shape != stepper.grid.shape:
        return "of the time step and of the grid"
    kept = "on stretched points" if all(stepper.grid.periodic) else "with walls"
    if isinstance(stepper.discretisation, FiniteVolume):
        kept = "with arrays as data of walls"
    return f"of the time step alone: {kept} the points are not refined, and the error of the grid is not measured"


def refined(stepper: TimeStepper) -> TimeStepper:
    """The same problem with twice the points per axis and half the solver step; the output interval stays.

    An explicit solver takes a quarter of the step, which is what diffusion asks of it on the finer grid. Where there
    are walls or stretched points the points stay and the step alone is refined, but for finite volumes without arrays
    as data of their walls. A dealiasing mask made for one grid gives way to the default of the finer one.
    """
    discretisation, grid = stepper.discretisation, stepper.grid
    fine = grid.with_shape(tuple(2 * n for n in grid.shape))
    if isinstance(discretisation, Spectral):
        dealiasing = "auto" if discretisation.mask is not None else discretisation.dealiasing
        cheap, devices = discretisation.cheap_forms, discretisation.devices
        discretisation = Spectral(fine, dealiasing, cheap, devices=devices)
    elif isinstance(discretisation, FiniteVolume):
        if discretisation.walls.fit_every_resolution:
            discretisation = eqx.tree_at(lambda reading: reading.grid, discretisation, fine)
    elif isinstance(discretisation, FiniteDifference) and all(grid.periodic + grid.is_uniform):
        # Anti-periodic axes stay so.
        discretisation = eqx.tree_at(lambda reading: reading.grid, discretisation, fine)
    is_explicit_and_finer = stepper.discretisation.grid.shape != discretisation.grid.shape
    is_explicit_and_finer = is_explicit_and_finer and not isinstance(stepper.solver, AbstractSemilinearSolver)
    factor = 4 if is_explicit_and_finer else 2
    return TimeStepper(stepper.equation, discretisation, stepper.dt, factor * stepper.substeps, stepper.solver)


def on_grid(u: Float[Array, "..."], stepper: Any, grid: Grid, target: Grid) -> Float[Array, "..."]:
    """`u` on the points of `target`; as it is where these are its own, on grids with walls too. What finite volumes
    made are averages."""
    if (grid.shape, grid.points) == (target.shape, target.points):
        return u
    discretisation = getattr(stepper, "discretisation", None)

    def moved(u: Float[Array, "..."]) -> Float[Array, "..."]:
        if isinstance(discretisation, FiniteVolume):
            return remap_state(stepper.equation, u, grid, target)
        return resample(u, grid, target)

    devices = getattr(discretisation, "devices", None)
    return moved(u) if devices is None else devices.alone(moved)(u)


@eqx.filter_jit
def _compared(
    stepper: TimeStepper,
    reference: TimeStepper,
    start: Float[Array, "channel *space"],
    frames: Float[Array, "time channel *stored_space"],
    grid: Grid,
    store_every: int,
    t0: Any,
) -> tuple[Float[Array, "time channel"], Float[Array, "time channel"]]:
    """Root mean squares, of the difference and of the finer solution."""
    common = grid.with_shape(tuple(min(sizes) for sizes in zip(grid.shape, stepper.grid.shape, strict=True)))

    def compared(u: Array, frame: Array) -> tuple[Array, Array]:
        truth = on_grid(u, stepper, reference.grid, common)
        difference = rmse(on_grid(frame.astype(u.dtype), stepper, grid, common), truth, common)
        return difference, root_mean_square(truth, common)

    def advance(u: Array, n_and_frame: Any) -> tuple[Array, tuple[Array, Array]]:
        n, frame = n_and_frame

        def step(i: Array, u: Array) -> Array:
            return reference(u, t=t0 + (n * store_every + i) * reference.dt)

        u = jax.lax.fori_loop(0, store_every, step, u)
        return u, compared(u, frame)

    u = on_grid(start, stepper, stepper.grid, reference.grid)
    first = compared(u, frames[0])
    _, later = jax.lax.scan(advance, u, (jnp.arange(frames.shape[0] - 1), frames[1:]))
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)
