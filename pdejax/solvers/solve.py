"""The adaptive, differentiable driver: `diffrax.diffeqsolve`, with what fields on a grid need around it."""

import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from pdejax.equations import ConservationLaw, Equation
from pdejax.solvers.admissible import check_admissible, fault_of_end
from pdejax.solvers.checked_solution import checked_solution
from pdejax.solvers.courant import CourantLimited, courant_controller
from pdejax.solvers.events import Watched, checked_events
from pdejax.solvers.memory_use import check_memory
from pdejax.solvers.output_times import FixedSteps, OutputTimes, check_resolved, checked_times, fixed_steps
from pdejax.solvers.restart import Restart, described
from pdejax.solvers.stability import check_step
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
from pdejax.solvers.transport_at_walls import check_transport_at_walls
from pdejax.volumes import FiniteVolume


class Solution(eqx.Module):
    """What `solve` returns.

    - `ts (time,)` and `u (time, channel, *space)`: the states at the times asked for; where an event ended the solve,
      at those before it and at the event, the last of them.
    - `num_steps`, `num_rejected`: steps taken, and those of them that were too large and repeated.
    - `result`: diffrax's verdict; of interest with `throw=False`.
    - `t_end`: the time that was reached.
    - `ended_by`: the number, in `until`, of the event that ended the solve; -1 where none did. `event`: it in words.
    - `resume`: what `solve(..., resume=...)` goes on from, bit for bit; `save_restart` keeps it in a file.
    """

    ts: Float[Array, " time"]
    u: Float[Array, "time channel *space"]
    num_steps: Int[Array, ""]
    num_rejected: Int[Array, ""]
    result: Any
    t_end: Float[Array, ""]
    ended_by: Int[Array, ""]
    resume: Restart
    events: tuple[str, ...] = eqx.field(static=True)

    @property
    def event(self) -> str | None:
        """The event that ended the solve, or None; not under jit or vmap, where that is not known yet."""
        return None if int(self.ended_by) < 0 else self.events[int(self.ended_by)]


def solve(
    equation: Equation,
    discretisation: Discretisation,
    u0: Float[Array, "channel *space"] | None,
    ts: Any,
    *,
    solver: diffrax.AbstractSolver | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    dt: Any = None,
    until: Any = (),
    resume: Any = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    progress: bool = False,
    throw: bool = True,
    max_steps: int = 2**17,
) -> Solution:
    """Solves an equation from `u0` at `ts[0]` and returns the states at `ts`, the first included.

    - `ts`: increasing times, at least two. Steps end exactly on them; nothing is interpolated. Time is counted from
      `ts[0]` inside, so that steps far from t = 0 keep their size in single precision. (What the equation does with t
      itself, and `Solution.ts`, are as exact as t is in the grid's precision.)
    - `solver`: a solver of `pdejax.solvers` or diffrax; by default chosen from the equation (see `explain`).
    - `rtol`, `atol`: adaptive steps, accepted when the L2 norm of the error estimate is below `atol + rtol |u|`.
      Default: adaptive with rtol 1e-6 (float64) or 1e-4 (float32), and `atol = rtol |u0|`, or `rtol` where u0 = 0: the
      same steps in whatever units u is. The norm is that of all components together: one that is a millionth of another
      adds nothing to it and is as exact as it happens to be. Choose units in which the components are of like size.
      Finite volumes have `dt=CourantLimited()` by default.
    - `dt`: fixed steps instead, at most this long (each output interval is cut evenly), or `CourantLimited(...)`: steps
      as long as the flow at the time allows. Not together with tolerances. A fixed step that is unstable at `u0` is
      refused before it is taken.
    - `until`: what ends the solve before `ts[-1]`: `pdejax.solvers.SteadyState(...)`, `BlowUp(...)`, `NotFinite()`, a
      function of (t, u) that returns a truth value or a number (the solve ends where that changes its sign, located on
      the solver's interpolant), or a list of them. One that holds at the start ends the solve there. The last frame is
      then the state at the event. Under jit and vmap, where the number of frames cannot depend on it, that frame is
      repeated to the end of `ts` and `u`.
    - `resume`: `solution.resume` of an earlier solve of the same problem; u0 is None then, and ts begin where that one
      ended. The two together give the bits of one solve.
    - `adjoint`: how to differentiate; default `diffrax.RecursiveCheckpointAdjoint()`, for `jax.grad`. `jax.jvp` needs
      `diffrax.ForwardMode()`.
    - `progress`: a progress bar.
    - `throw`: raise when the solve fails; otherwise look at `Solution.result`, and expect NaN in `u` after `t_end`.

    Warns (`RuntimeWarning`) where transport between the walls of a linear part has modes that grow by themselves, and
    where it leaves through a wall at which a value is stated.

    Raises `ValueError` for times that do not increase (counted from `ts[0]`, also once rounded to the grid's
    precision), transport that enters through an `Outflow` wall, dt <= 0, tolerances
    that are not positive, a state of another shape, values that are not finite or not so in the grid's precision, a
    fixed step over the limit of stability, a restart of another problem, and grids on which the equation makes no
    sense; `MemoryError` where the frames do not fit the free memory; and `FloatingPointError` when the solution blows
    up or the step limit is reached, naming the time. Under an outer `jit` these become run-time errors of the compiled
    program; the limit of the step and the memory are not looked at there.
    """
    check_problem(equation, discretisation)
    grid = discretisation.grid
    if resume is not None and not isinstance(resume, Restart):
        raise TypeError(f"resume= takes solution.resume, or load_restart(path), got {resume!r:.200}.")
    if (u0 is None) == (resume is None):
        raise ValueError("A solve begins at a state u0 or goes on from resume=: give one of the two, and None for u0.")
    if u0 is not None:
        grid.check_state(u0, len(equation.components(grid.ndim)), "The initial state u0")
        if not isinstance(u0, Tracer):
            _check_finite(u0, grid.dtype)
    if isinstance(ts, Tracer):
        raise ValueError(
            "The output times `ts` must be known when the program is traced: pass a NumPy array or a list."
        )
    times = checked_times(ts)
    if solver is not None:
        check_solver(solver)
    events = checked_events(until)
    origin = float(times[0]) if resume is None else resume.start
    elapsed = times - origin
    check_resolved(elapsed, origin, grid.dtype, "output times")
    solver = default_solver(equation, discretisation)[0] if solver is None else solver
    space = space_of(discretisation, bases_for(solver, equation, discretisation))
    start, outputs = jnp.asarray(origin, grid.dtype), jnp.asarray(elapsed, grid.dtype)
    if u0 is not None:
        u0 = jnp.asarray(u0, grid.dtype)
        if not isinstance(u0, Tracer):
            check_memory(equation, space, solver, len(times))
            check_transport_at_walls(equation, discretisation, float(elapsed[-1]))

    controller: Any
    if isinstance(discretisation, FiniteVolume):
        if isinstance(equation, ConservationLaw) and u0 is not None:
            check_admissible(equation, discretisation, u0, origin)
        if dt is None and rtol is None and atol is None:
            dt = CourantLimited()
    if dt is not None and (rtol is not None or atol is not None):
        raise ValueError("Give either dt (fixed steps, or CourantLimited) or rtol/atol (adaptive steps), not both.")
    if isinstance(dt, CourantLimited):
        kind, controller = "limited by the flow", courant_controller(dt, equation, space, solver, start, outputs)
    elif dt is not None:
        steps = _fixed(dt, elapsed, origin, solver, grid.dtype)
        kind, controller, max_steps = "fixed", FixedSteps(jnp.asarray(steps, grid.dtype)), len(steps)
        if u0 is not None:
            check_step(equation, space, solver, u0, start, float(np.max(np.diff(steps))))
    else:
        kind, controller = "adaptive", _by_tolerance(discretisation, space, solver, u0, rtol, atol)
    if kind != "fixed":
        controller = OutputTimes(controller, outputs)

    adjoint = diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    options = (space, start, outputs, solver, events, adjoint, meter, max_steps)
    problem = (
        ("equation", described(equation)),
        ("grid", described(grid)),
        ("discretisation", described(discretisation)),
        ("solver", described(solver)),
        ("kind of steps", kind),
    )
    past = None
    if resume is not None:
        resume.check(problem, float(times[0]))
        blank = jax.ShapeDtypeStruct((len(equation.components(grid.ndim)), *grid.shape), grid.dtype)
        past = resume.unflattened(eqx.filter_eval_shape(_solve, equation, blank, None, controller, *options).memory)
        if kind == "adaptive" and atol is None:
            # Relative to the state that the first of the solves began with.
            controller = eqx.tree_at(lambda c: c.controller.atol, controller, past.floor)
    outcome = _solve(equation, u0, past, controller, *options)
    t_end = start + outcome.t_end
    solution = Solution(
        # Times that were reached as they were asked for: counted from the start and back they would be rounded.
        ts=jnp.where(outcome.is_reached, jnp.asarray(times, grid.dtype), t_end),
        u=outcome.u,
        num_steps=outcome.num_steps,
        num_rejected=outcome.num_rejected,
        result=outcome.result,
        t_end=jnp.where(outcome.is_reached[-1], jnp.asarray(times[-1], grid.dtype), t_end),
        ended_by=outcome.ended_by,
        resume=Restart(
            tuple(jax.tree.leaves(outcome.memory)), outcome.is_reached[-1], origin, float(times[-1]), problem
        ),
        events=tuple(described(event) for event in events),
    )
    if not isinstance(solution.u, Tracer) and int(solution.ended_by) >= 0:
        # The frames up to the event, and the one at it, unless that is the last of them.
        count = int(np.sum(outcome.is_reached))
        count += bool(outcome.t_end > outputs[count - 1])
        solution = eqx.tree_at(lambda s: (s.ts, s.u), solution, (solution.ts[:count], solution.u[:count]))
    if not throw:
        return solution
    fault = ""
    if isinstance(discretisation, FiniteVolume) and not isinstance(solution.u, Tracer):
        fault = fault_of_end(equation, discretisation, solution.u, outcome.memory.y, t_end)
    return checked_solution(solution, discretisation, solver, times, max_steps, fault)


def explain(equation: Equation, discretisation: Discretisation) -> str:
    """Which solver `solve` and `TimeStepper` choose for this equation on this discretisation, and why.

    Raises as `solve` does where they do not fit.
    """
    check_problem(equation, discretisation)
    grid = discretisation.grid
    state = jax.ShapeDtypeStruct((len(equation.components(grid.ndim)), *grid.shape), grid.dtype)
    jax.eval_shape(lambda u: discretisation.tendency(equation, 0.0, u), state)
    return default_solver(equation, discretisation)[1]


class _Memory(eqx.Module):
    """What steps remember: all that a restart holds.

    `frame` is y as it was saved, by the solver's interpolant at the end of its step: that differs by its rounding.
    """

    y: Any
    frame: Any
    solver: Any
    controller: Any
    floor: Any


class _Outcome(eqx.Module):
    u: Float[Array, "time channel *space"]
    is_reached: Bool[Array, " time"]
    t_end: Array
    num_steps: Array
    num_rejected: Array
    result: Any
    ended_by: Array
    memory: _Memory


@eqx.filter_jit
def _solve(
    equation: Equation,
    u0: Any,
    past: _Memory | None,
    controller: Any,
    space: Space,
    start: Array,
    elapsed: Array,
    solver: Any,
    events: tuple[Any, ...],
    adjoint: Any,
    meter: Any,
    max_steps: int,
) -> _Outcome:
    # A stage that is not solved asks for a shorter step.
    terms = terms_for(solver, equation, space, start, raises=False)
    floor = getattr(getattr(controller, "controller", None), "atol", None)
    y0: Any = encoded(space, equation, start + elapsed[0], u0) if past is None else past.y
    watched = Watched.of(events, equation, space, start, elapsed, terms, y0)
    controller_state = None
    if past is not None and isinstance(controller, OutputTimes):
        controller, controller_state = controller.resumed(elapsed[0], past.controller)
    # The backsolve adjoint takes one kind of output alone, and no events: its last frame is the end.
    frames, has_end = diffrax.SubSaveAt(ts=elapsed[1:]), not isinstance(adjoint, diffrax.BacksolveAdjoint)
    subs = (frames, diffrax.SubSaveAt(t1=True)) if has_end else (frames,)
    with warnings.catch_warnings():
        # Checked in this project's tests: its explicit solvers and ours, step control and gradients are right.
        warnings.filterwarnings("ignore", message="Complex dtype support in Diffrax")
        outcome: Any = diffrax.diffeqsolve(
            terms,
            solver,
            t0=elapsed[0],
            t1=elapsed[-1],
            dt0=None,
            y0=y0,
            saveat=diffrax.SaveAt(subs=subs if has_end else frames, solver_state=True, controller_state=True),
            stepsize_controller=controller,
            adjoint=adjoint,
            event=watched.event(elapsed.dtype),
            progress_meter=meter,
            max_steps=max_steps,
            throw=False,
            solver_state=None if past is None else past.solver,
            controller_state=controller_state,
        )
    saved_ts, saved_ys = (outcome.ts[0], outcome.ys[0]) if has_end else (outcome.ts, outcome.ys)
    t_end, y_end = (outcome.ts[1][0], outcome.ys[1][0]) if has_end else (elapsed[-1], saved_ys[-1])
    # Before any step the state is what the discretisation makes of u0, whatever becomes of the step.
    ts, ys = (
        jnp.concatenate([elapsed[:1], saved_ts]),
        jnp.concatenate([(y0 if past is None else past.frame)[None], saved_ys]),
    )
    index = watched.ended_by(events, outcome.event_mask, outcome.result, t_end, y_end, terms)
    is_reached = jnp.isfinite(ts)
    if events:
        is_filled = ~is_reached & (index >= 0)
        ts = jnp.where(is_filled, t_end, ts)
        ys = jnp.where(is_filled.reshape(-1, *[1] * y_end.ndim), y_end, ys)
    remembered = eqx.filter(
        _Memory(y_end, saved_ys[-1], outcome.solver_state, outcome.controller_state, floor),
        eqx.is_array_like,
    )
    return _Outcome(
        u=jax.vmap(lambda t, y: decoded(space, equation, start + t, y))(ts, ys),
        is_reached=is_reached,
        t_end=t_end,
        num_steps=outcome.stats["num_steps"],
        num_rejected=outcome.stats["num_rejected_steps"],
        result=outcome.result,
        ended_by=index,
        memory=jax.tree.map(jnp.asarray, remembered),
    )


def _fixed(dt: Any, elapsed: np.ndarray, origin: float, solver: Any, dtype: np.dtype) -> np.ndarray:
    if isinstance(dt, str | type) or np.ndim(dt) != 0 or not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt must be a positive, finite number or CourantLimited(...), got {dt!r}.")
    # The last steps are the first to fall together: nobody has to wait for the millions before them.
    check_resolved(fixed_steps(elapsed[-2:], float(dt)), origin, dtype, f"steps of dt = {dt}")
    steps = fixed_steps(elapsed, float(dt))
    check_resolved(steps, origin, dtype, f"steps of dt = {dt}")
    check_num_steps(solver, len(steps) - 1, "take a smaller dt")
    return steps


def _by_tolerance(
    discretisation: Discretisation, space: Space, solver: Any, u0: Any, rtol: Any, atol: Any
) -> FieldNormController:
    dtype = discretisation.grid.dtype
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise ValueError(
            f"{type(solver).__name__} estimates no error, so it cannot adapt its step: give dt, a number or "
            "CourantLimited(...)."
        )
    rtol = (1e-6 if dtype == np.float64 else 1e-4) if rtol is None else rtol
    if not (rtol > 0 and (atol is None or atol > 0)):
        raise ValueError(f"rtol and atol must be positive, got {rtol} and {atol}.")
    if atol is None:
        size = jnp.ones(()) if u0 is None else discretisation.norm(discretisation.encode(jax.lax.stop_gradient(u0)))
        atol = rtol * jnp.where(size > 0, size, 1.0)
    return FieldNormController(_Norm(space), jnp.asarray(rtol, dtype), jnp.asarray(atol, dtype))


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
