"""The fixed-step driver: `u -> u(t + dt)`, the shape that classical and neural steppers share."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.equations import Equation
from pdejax.grid import Grid
from pdejax.solvers.semilinear import AbstractSemilinearSolver
from pdejax.solvers.stability import check_step
from pdejax.solvers.terms import (
    Discretisation,
    bases_for,
    check_num_steps,
    check_problem,
    check_solver,
    decoded,
    default_solver,
    encoded,
    semilinear_term,
    space_of,
    terms_for,
)


class TimeStepper(eqx.Module):
    """Advances a state by `dt`, in `substeps` equal steps of `solver`.

    - `equation`, `discretisation`: what is solved, and where.
    - `dt`: the output interval, > 0. An array leaf, like every coefficient: other values run the same program.
    - `substeps`: solver steps per `dt`. Between them the state stays in the solver's representation.
    - `solver`: a solver of `pdejax.solvers`, or any explicit diffrax solver; `None` chooses by the equation
      (`explain()` says which, and why). Multistep ones start anew at every `dt`: they pay with many substeps.
    - `bases`: made here: the modes in which implicit and exponential solvers step finite differences. With a Robin
      condition they hold its weights and the spacing; to change these, make another stepper.

    `stepper(u, t=t)` returns u at `t + dt`; `u (channel, *grid.shape)`. Not jitted by itself; jit, vmap and grad apply.
    `stepper.check_step(u)` says beforehand whether the step is stable at u.

    Raises `ValueError` for dt that is not positive, `substeps` below one (or too few for a multistep solver to begin),
    a state of another shape, and grids on which the equation makes no sense (`Equation.check_grid`); `TypeError` for a
    class in place of an equation or discretisation.
    """

    equation: Equation
    discretisation: Discretisation
    dt: Float[Array, ""]
    substeps: int = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    bases: Any

    def __init__(
        self,
        equation: Equation,
        discretisation: Discretisation,
        dt: Any,
        substeps: int = 1,
        solver: diffrax.AbstractSolver | None = None,
    ):
        if isinstance(substeps, bool) or not isinstance(substeps, int | np.integer) or substeps < 1:
            raise ValueError(f"substeps must be a whole number >= 1, got {substeps!r}.")
        check_problem(equation, discretisation)
        self.equation = equation
        self.discretisation = discretisation
        self.dt = checked_time_step(dt, discretisation.grid)
        self.substeps = int(substeps)
        self.solver = default_solver(equation, discretisation)[0] if solver is None else solver
        check_solver(self.solver)
        self.bases = bases_for(self.solver, equation, discretisation)
        if isinstance(self.solver, AbstractSemilinearSolver):
            # Says now, not at the first step, when the linear part is no multiplier.
            jax.eval_shape(lambda: semilinear_term(equation, space_of(discretisation, self.bases)).linear)
            check_num_steps(self.solver, self.substeps, f"use substeps > {self.solver.num_starting_steps}")
        elif not isinstance(self.solver, diffrax.AbstractERK):
            raise ValueError(
                f"TimeStepper takes the solvers of pdejax.solvers and explicit Runge-Kutta solvers, got "
                f"{self.solver!r}; diffrax's implicit ones run through pdejax.solve."
            )

    @property
    def grid(self) -> Grid:
        return self.discretisation.grid

    def __call__(
        self, u: Float[Array, "channel *space"], *, t: Any = 0.0, key: Any = None
    ) -> Float[Array, "channel *space"]:
        """The state at `t + dt`. `key` is accepted for the sake of the common shape, and not used."""
        self.grid.check_state(u, len(self.equation.components(self.grid.ndim)))
        u = jnp.asarray(u, self.grid.dtype)
        t = jnp.asarray(t, self.grid.dtype)
        h = self.dt / self.substeps
        steps = jnp.arange(self.substeps)
        space = space_of(self.discretisation, self.bases)
        y = encoded(space, self.equation, t, u)
        terms = terms_for(self.solver, self.equation, space, start=t)
        solver: Any = self.solver
        if isinstance(solver, AbstractSemilinearSolver):
            coefficients = solver.coefficients(terms.linear, h)

            def semilinear(carry: Any, i: Array) -> tuple[Any, None]:
                # Times by multiplication: adding h again and again drifts in float32.
                y, memory = carry
                y, memory, _ = solver.advance(terms, coefficients, i * h, h, y, memory)
                return (y, memory), None

            (y, _), _ = jax.lax.scan(semilinear, (y, solver.start(terms, 0.0, y)), steps)
        else:

            def explicit(carry: Any, i: Array) -> tuple[Any, None]:
                y, state = carry
                y, _, _, state, _ = solver.step(terms, i * h, (i + 1) * h, y, None, state, False)
                return (y, state), None

            state = solver.init(terms, jnp.zeros_like(h), h, y, None)
            (y, _), _ = jax.lax.scan(explicit, (y, state), steps)
        return decoded(space, self.equation, t + self.dt, y)

    def check_step(self, u: Float[Array, "channel *space"], *, t: Any = 0.0) -> None:
        """Raises `ValueError` where the step is unstable at the state u, at time t, before it is taken.

        The message names the limit, the part of the equation that sets it and the substeps that are needed. A power
        iteration on the right-hand side's derivative; not under jit, vmap or grad, where nothing is looked at.
        """
        self.grid.check_state(u, len(self.equation.components(self.grid.ndim)))
        if isinstance(self.dt, Tracer):
            return
        u, space = jnp.asarray(u, self.grid.dtype), space_of(self.discretisation, self.bases)
        check_step(self.equation, space, self.solver, u, t, float(self.dt) / self.substeps)

    def explain(self) -> str:
        """Which solver this is, why it was chosen, and what limits its step."""
        chosen, reason = default_solver(self.equation, self.discretisation)
        name = type(self.solver).__name__
        if type(chosen) is not type(self.solver):
            reason = f"{name}, as asked for. The default would be {type(chosen).__name__}: {reason}"
        dt = float(self.dt)
        return f"{reason}\n{self.substeps} step(s) of {dt / self.substeps:.4g} per output interval of {dt:.4g}."


def checked_time_step(dt: Any, grid: Grid) -> Float[Array, ""]:
    """`dt` as a scalar of the grid's precision. Raises `ValueError` unless it is positive and finite."""
    if isinstance(dt, str) or np.ndim(dt) != 0:
        got = repr(dt) if isinstance(dt, str) else f"shape {np.shape(dt)}"
        raise ValueError(f"dt must be one number, got {got}; to vary it, jax.vmap over steppers.")
    if not isinstance(dt, Tracer) and not (np.isfinite(float(dt)) and float(dt) > 0):
        raise ValueError(f"dt must be positive and finite, got {dt}.")
    return jnp.asarray(dt, grid.dtype)
