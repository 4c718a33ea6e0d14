"""How far stored trajectories are from the solution: they are solved again, twice as fine, from the same states."""

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
from pdejax.solvers import AbstractExponentialSolver, TimeStepper


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

    `refined(stepper)` solves on from the same state with half the step and twice the points, and each frame is compared
    with it on the modes that both hold. The error is that of the channel that has the largest, and in a channel that is
    zero it is relative to the root mean square over all channels. Rounding and truncation
    to `grid` show up in frame 0, where both solutions are still equal.

    - `start`: the state of frame 0 at the solver's own resolution, `(channel, *stepper.grid.shape)`.
    - `frames`: what was stored, `(time, channel, *grid.shape)`, one frame every `store_every` steps of `stepper.dt`.
    - `t0`: the time of frame 0.

    The finer solution errs as well: of the error of a step of order p, half the step shows the part 1 - 2^-p. In a
    chaotic flow the error of any solver grows with time: after one interval and at the end are different questions.

    Raises `ValueError` when the finer solution does not stay finite.
    """
    errors = _errors(stepper, refined(stepper), jnp.asarray(start), jnp.asarray(frames), grid, store_every, t0)
    if not np.all(np.isfinite(errors)):
        raise ValueError(
            "The finer solution that the error is measured against is not finite from frame "
            f"{int(np.argmin(np.isfinite(errors)))} on: take more substeps, or measure_error=0 to do without."
        )
    return np.asarray(errors)


def refined(stepper: TimeStepper) -> TimeStepper:
    """The same problem with twice the points per axis and half the solver step; the output interval stays.

    An explicit solver takes a quarter of the step, which is what diffusion asks of it on the finer grid. Where there
    are walls, the points stay and the step alone is refined. A dealiasing mask made for one grid gives way to the
    default of the finer one.
    """
    discretisation, grid = stepper.discretisation, stepper.grid
    fine = grid.with_shape(tuple(2 * n for n in grid.shape))
    if isinstance(discretisation, Spectral):
        dealiasing = "auto" if discretisation.mask is not None else discretisation.dealiasing
        discretisation = Spectral(fine, dealiasing, discretisation.cheap_forms)
    elif isinstance(discretisation, FiniteDifference) and all(grid.periodic):
        discretisation = FiniteDifference(fine, discretisation.order)
    factor = 2 if isinstance(stepper.solver, AbstractExponentialSolver) else 4
    return TimeStepper(stepper.equation, discretisation, stepper.dt, factor * stepper.substeps, stepper.solver)


def on_grid(u: Float[Array, "..."], grid: Grid, target: Grid) -> Float[Array, "..."]:
    """`u` on the points of `target`; as it is where these are its own, on grids with walls too."""
    return u if (grid.shape, grid.points) == (target.shape, target.points) else resample(u, grid, target)


@eqx.filter_jit
def _errors(
    stepper: TimeStepper,
    reference: TimeStepper,
    start: Float[Array, "channel *space"],
    frames: Float[Array, "time channel *stored_space"],
    grid: Grid,
    store_every: int,
    t0: Any,
) -> Float[Array, " time"]:
    common = grid.with_shape(tuple(min(sizes) for sizes in zip(grid.shape, stepper.grid.shape, strict=True)))

    def error(u: Array, frame: Array) -> Array:
        truth = on_grid(u, reference.grid, common)
        difference = rmse(on_grid(frame.astype(u.dtype), grid, common), truth, common)
        size = root_mean_square(truth, common)
        # A channel that vanishes has no relative error of its own.
        size = jnp.where(size == 0, jnp.sqrt(jnp.mean(size**2)), size)
        return jnp.max(jnp.where(difference == 0, 0.0, difference / size))

    def advance(u: Array, n_and_frame: Any) -> tuple[Array, Array]:
        n, frame = n_and_frame

        def step(i: Array, u: Array) -> Array:
            return reference(u, t=t0 + (n * store_every + i) * reference.dt)

        u = jax.lax.fori_loop(0, store_every, step, u)
        return u, error(u, frame)

    u = on_grid(start, stepper.grid, reference.grid)
    first = error(u, frames[0])
    _, later = jax.lax.scan(advance, u, (jnp.arange(frames.shape[0] - 1), frames[1:]))
    return jnp.concatenate([first[None], later])
