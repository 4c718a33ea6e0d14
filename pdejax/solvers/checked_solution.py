"""What is said of a solve that did not get to its end."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pdejax.solvers.terms import Discretisation


def checked_solution(
    solution: Any, discretisation: Discretisation, solver: Any, times: np.ndarray, max_steps: int, fault: str
) -> Any:
    """The solution itself; `fault` is what a law says of its end.

    Raises `FloatingPointError` where it is not finite, naming the time, and `ValueError` where it never was.
    """
    advice = "Take smaller steps or tolerances, a finer grid, or check the sign and size of the coefficients."
    if isinstance(solution.u, Tracer):
        message = f"pdejax.solve with {type(solver).__name__} produced values that are not finite. {advice}"
        return eqx.tree_at(
            lambda s: s.u, solution, eqx.error_if(solution.u, ~jnp.all(jnp.isfinite(solution.u)), message)
        )
    finite = np.all(np.isfinite(np.asarray(solution.u)), axis=tuple(range(1, solution.u.ndim)))
    if finite.all():
        return solution
    first = int(np.argmin(finite))
    if first == 0:
        # Before any step: u0 itself is finite, so it is what the discretisation makes of it.
        raise ValueError(
            f"The initial state, at t = {times[0]:.6g}, is not finite once {type(discretisation).__name__} holds "
            "it, though u0 is: check the values on the walls, and that a sum over all points of u0 does not "
            f"overflow {discretisation.grid.dtype}."
        )
    where = f"between t = {times[first - 1]:.6g} and t = {times[first]:.6g}, at t = {float(solution.t_end):.6g}"
    taken = f"{int(solution.num_steps)} of at most {max_steps} steps with {type(solver).__name__}"
    if solution.result == diffrax.RESULTS.max_steps_reached:
        raise FloatingPointError(
            f"The solve stopped {where}, after {taken}, {int(solution.num_rejected)} of them rejected. {advice} "
            "max_steps= raises the limit."
        )
    raise FloatingPointError(
        f"The solution is no longer finite {where}: no step leads on to a finite state, after {taken}. (At "
        f"t = {times[first - 1]:.6g} its largest value is "
        f"{np.max(np.abs(np.asarray(solution.u[first - 1]))):.3g}.)"
        + (f" From the last finite state on, {fault}." if fault else "")
        + f" {advice}"
    )
