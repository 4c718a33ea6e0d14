"""The adaptive, differentiable driver: `diffrax.diffeqsolve`, with what fields on a grid need around it."""

import itertools
import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from pdejax.equations import Equation
from pdejax.solvers.step_size import FieldNormController
from pdejax.solvers.terms import (
    Discretisation,
    Space,
    bases_for,
    check_num_steps,
    check_problem,
    check_solver,
    decoded,
    default_solver,
    encoded,
    space_of,
    terms_for,
)


class Solution(eqx.Module):
    """What `solve` returns.

    - `ts (time,)` and `u (time, channel, *space)`: the states at the times asked for.
    - `num_steps`, `num_rejected`: steps taken, and those of them that were too large and repeated.
    - `result`: diffrax's verdict; of interest with `throw=False`.
    """

    ts: Float[Array, " time"]
    u: Float[Array, "time channel *space"]
    num_steps: Int[Array, ""]
    num_rejected: Int[Array, ""]
    result: Any


def solve(
    equation: Equation,
    discretisation: Discretisation,
    u0: Float[Array, "channel *space"],
    ts: Any,
    *,
    solver: diffrax.AbstractSolver | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    dt: float | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    progress: bool = False,
    throw: bool = True,
    max_steps: int = 2**17,
) -> Solution:
    """Solves an equation from `u0` at `ts[0]` and returns the states at `ts`, the first included.

    - `ts`: increasing times, at least two. Steps end exactly on them; nothing is interpolated. Time is counted from
      `ts[0]` inside, so that steps far from t = 0 keep their size in single precision. (What the equation does with t
      itself is as exact as t is in the grid's precision.)
    - `solver`: a solver of `pdejax.solvers` or diffrax; by default chosen from the equation (see `explain`).
    - `rtol`, `atol`: adaptive steps, accepted when the L2 norm of the error estimate is below `atol + rtol |u|`.
      Default: adaptive with rtol 1e-6 (float64) or 1e-4 (float32), and `atol = rtol |u0|`, or `rtol` where u0 = 0: the
      same steps in whatever units u is. The norm is that of all components together: one that is a millionth of another
      adds nothing to it and is as exact as it happens to be. Choose units in which the components are of like size.
    - `dt`: fixed steps instead, at most this long (each output interval is cut evenly). Not together with tolerances.
    - `adjoint`: how to differentiate; default `diffrax.RecursiveCheckpointAdjoint()`.
    - `progress`: a progress bar.
    - `throw`: raise when the solve fails; otherwise look at `Solution.result`, and expect NaN in `u`.

    Raises `ValueError` for times that do not increase (also once rounded to the grid's precision), dt <= 0, tolerances
    that are not positive, a state of another shape, values that are not finite or not so in the grid's precision, and
    grids on which the equation makes no sense; and `FloatingPointError` when the solution blows up or the step limit is
    reached, naming the time. Under an outer `jit` these become run-time errors of the compiled program.
    """
    check_problem(equation, discretisation)
    grid = discretisation.grid
    grid.check_state(u0, len(equation.components(grid.ndim)), "The initial state u0")
    if not isinstance(u0, Tracer):
        _check_finite(u0, grid.dtype)
    if isinstance(ts, Tracer):
        raise ValueError(
            "The output times `ts` must be known when the program is traced: pass a NumPy array or a list."
        )
    times = np.asarray(ts, dtype=float)
    if times.ndim != 1 or len(times) < 2 or not np.all(np.isfinite(times)) or not np.all(np.diff(times) > 0):
        raise ValueError(
            f"ts must be at least two finite, increasing times, got {np.array2string(times, threshold=6)}."
        )
    if solver is not None:
        check_solver(solver)
    elapsed = times - times[0]
    _check_resolved(elapsed, times, grid.dtype, "output times")
    solver = default_solver(equation, discretisation)[0] if solver is None else solver
    u0 = jnp.asarray(u0, grid.dtype)
    space = space_of(discretisation, bases_for(solver, equation, discretisation))
    if dt is not None:
        if rtol is not None or atol is not None:
            raise ValueError("Give either dt (fixed steps) or rtol/atol (adaptive steps), not both.")
        if not (np.isfinite(dt) and dt > 0):
            raise ValueError(f"dt must be positive and finite, got {dt}.")
        steps = _fixed_steps(elapsed, float(dt))
        _check_resolved(steps, times, grid.dtype, f"steps of dt = {dt}")
        controller: Any = diffrax.StepTo(jnp.asarray(steps, grid.dtype))
        check_num_steps(solver, len(steps) - 1, "take a smaller dt")
        max_steps = len(steps)
    else:
        if not isinstance(solver, diffrax.AbstractAdaptiveSolver):
            raise ValueError(f"{type(solver).__name__} estimates no error, so it cannot adapt its step: give dt.")
        rtol = (1e-6 if grid.dtype == np.float64 else 1e-4) if rtol is None else rtol
        if not (rtol > 0 and (atol is None or atol > 0)):
            raise ValueError(f"rtol and atol must be positive, got {rtol} and {atol}.")
        norm = _Norm(space)
        size = discretisation.norm(discretisation.encode(jax.lax.stop_gradient(u0)))
        floor = rtol * jnp.where(size > 0, size, 1.0) if atol is None else atol
        controller = diffrax.ClipStepSizeController(
            FieldNormController(norm, jnp.asarray(rtol, grid.dtype), jnp.asarray(floor, grid.dtype)),
            step_ts=jnp.asarray(elapsed, grid.dtype),
        )
    adjoint = diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    start, elapsed = jnp.asarray(times[0], grid.dtype), jnp.asarray(elapsed, grid.dtype)
    solution = _solve(equation, space, u0, start, elapsed, solver, controller, adjoint, meter, max_steps)
    solution = eqx.tree_at(lambda s: s.ts, solution, jnp.asarray(times, grid.dtype))
    return _checked(solution, discretisation, solver, times, max_steps) if throw else solution


def explain(equation: Equation, discretisation: Discretisation) -> str:
    """Which solver `solve` and `TimeStepper` choose for this equation on this discretisation, and why."""
    return default_solver(equation, discretisation)[1]


@eqx.filter_jit
def _solve(
    equation: Equation,
    space: Space,
    u0: Array,
    start: Array,
    elapsed: Array,
    solver: Any,
    controller: Any,
    adjoint: Any,
    meter: Any,
    max_steps: int,
) -> Solution:
    terms = terms_for(solver, equation, space, start)
    with warnings.catch_warnings():
        # Checked in this project's tests: its explicit solvers and ours, step control and gradients are right.
        warnings.filterwarnings("ignore", message="Complex dtype support in Diffrax")
        outcome: Any = diffrax.diffeqsolve(
            terms,
            solver,
            t0=elapsed[0],
            t1=elapsed[-1],
            dt0=None,
            y0=encoded(space, equation, start, u0),
            saveat=diffrax.SaveAt(ts=elapsed),
            stepsize_controller=controller,
            adjoint=adjoint,
            progress_meter=meter,
            max_steps=max_steps,
            throw=False,
        )
    return Solution(
        ts=elapsed,
        u=jax.vmap(lambda t, y: decoded(space, equation, start + t, y))(elapsed, outcome.ys),
        num_steps=outcome.stats["num_steps"],
        num_rejected=outcome.stats["num_rejected_steps"],
        result=outcome.result,
    )


def _check_finite(u0: Any, dtype: np.dtype) -> None:
    values = np.asarray(u0)
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "The initial state u0 holds values that are not finite; a solve from it would be NaN throughout."
        )
    largest = np.max(np.abs(values))
    if largest > np.finfo(dtype).max:
        raise ValueError(
            f"The initial state u0 holds values up to {largest:.3g}, more than the {dtype} of the grid can: use other "
            "units, or a float64 grid (with jax_enable_x64)."
        )


class _Norm(eqx.Module):
    space: Space

    def __call__(self, y: Array) -> Array:
        return self.space.norm(y)


def _fixed_steps(times: np.ndarray, dt: float) -> np.ndarray:
    """Every step's end: each output interval in equal parts no longer than dt (but for rounding)."""
    counts = [max(1, int(np.ceil((b - a) / dt * (1 - 1e-9)))) for a, b in itertools.pairwise(times)]
    parts = [np.linspace(a, b, n + 1)[1:] for a, b, n in zip(times[:-1], times[1:], counts, strict=True)]
    return np.concatenate([times[:1], *parts])


def _check_resolved(elapsed: np.ndarray, times: np.ndarray, dtype: np.dtype, what: str) -> None:
    """Raises `ValueError` where neighbouring times, counted from the first, are one number in `dtype`."""
    same = np.flatnonzero(np.diff(elapsed.astype(dtype)) <= 0)
    if len(same):
        first, a, b = [float(time) for time in (times[0], *(times[0] + elapsed[same[0] : same[0] + 2]))]
        raise ValueError(
            f"The {what} are too close for {dtype}: {a!r} and {b!r} are one number, counted from {first!r}. Use a "
            "float64 grid (with jax_enable_x64), longer steps, or several solves one after another."
        )


def _checked(
    solution: Solution, discretisation: Discretisation, solver: Any, times: np.ndarray, max_steps: int
) -> Solution:
    advice = "Take smaller steps or tolerances, a finer grid, or check the sign and size of the coefficients."
    if isinstance(solution.u, Tracer):
        message = f"pdejax.solve with {type(solver).__name__} produced values that are not finite. {advice}"
        return eqx.tree_at(
            lambda s: s.u, solution, eqx.error_if(solution.u, ~jnp.all(jnp.isfinite(solution.u)), message)
        )
    finite = np.all(np.isfinite(np.asarray(solution.u)), axis=tuple(range(1, solution.u.ndim)))
    if not finite.all():
        first = int(np.argmin(finite))
        if first == 0:
            # Before any step: u0 itself is finite, so it is what the discretisation makes of it.
            raise ValueError(
                f"The initial state, at t = {times[0]:.6g}, is not finite once {type(discretisation).__name__} holds "
                "it, though u0 is: check the values on the walls, and that a sum over all points of u0 does not "
                f"overflow {discretisation.grid.dtype}."
            )
        if solution.result != diffrax.RESULTS.successful:
            raise FloatingPointError(
                f"The solve stopped between t = {times[first - 1]:.6g} and t = {times[first]:.6g} after "
                f"{int(solution.num_steps)} of at most {max_steps} steps with {type(solver).__name__}, "
                f"{int(solution.num_rejected)} of them rejected. {advice} max_steps= raises the limit."
            )
        raise FloatingPointError(
            f"The solution is no longer finite at t = {times[first]:.6g} (it was at t = {times[first - 1]:.6g}, with "
            f"largest value {np.max(np.abs(np.asarray(solution.u[first - 1]))):.3g}). {advice}"
        )
    return solution
