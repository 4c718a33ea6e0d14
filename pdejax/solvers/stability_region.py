r"""How large a step a solver can take of `y' = z y`, z anywhere in the left half-plane, when it treats z explicitly.

Explicit Runge-Kutta methods multiply y by their stability polynomial, `R(z) = 1 + z b (1 - z A)^-1 1`. Solvers of
`y' = L y + N(t, y)` are looked at with L = 0 and N = z y, by taking steps: that holds for multistep methods too.
"""

import functools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.solvers.linear_part import Diagonal
from pdejax.solvers.semilinear import AbstractSemilinearSolver, SemilinearTerm

# From the imaginary axis to the negative real one.
ANGLES = np.linspace(np.pi / 2, np.pi, 19)
_RADII = np.arange(1, 141) * 0.05
_STEPS = 40


def stability_radii(solver: diffrax.AbstractSolver, growth: float = 1.01) -> np.ndarray | None:
    """For each of `ANGLES` the largest |z| up to which no step makes y grow by more than to `growth` times, up to 7.

    Methods of first and second order are nowhere stable on the imaginary axis, yet useful near zero: hence 1%.

    None for solvers of which that is not known here: diffrax's implicit ones.
    """
    if isinstance(solver, AbstractSemilinearSolver | diffrax.AbstractERK | diffrax.Euler):
        stable = np.logical_and.accumulate(_growth(type(solver), solver) <= growth, axis=0)
        return np.where(stable[0], _RADII[np.maximum(np.sum(stable, axis=0) - 1, 0)], _RADII[0])
    return None


@functools.lru_cache(maxsize=64)
def _growth(kind: type, solver: Any) -> np.ndarray:
    z = _RADII[:, None] * np.exp(1j * ANGLES)
    if issubclass(kind, AbstractSemilinearSolver):
        return _by_stepping(solver, z)
    return np.abs(1 + z) if issubclass(kind, diffrax.Euler) else _of_tableau(solver.tableau, z)


def _of_tableau(tableau: Any, z: np.ndarray) -> np.ndarray:
    stages = len(tableau.b_sol)
    matrix = np.zeros((stages, stages))
    for i, row in enumerate(tableau.a_lower):
        matrix[i + 1, : len(row)] = row
    value, power = np.ones_like(z), np.ones(stages)
    for order in range(1, stages + 1):
        value = value + z**order * (np.asarray(tableau.b_sol) @ power)
        power = matrix @ power
    return np.abs(value)


def _by_stepping(solver: Any, z: np.ndarray) -> np.ndarray:
    """Growth per step, of the later ones of many. What overflows is NaN, and not stable; what underflows is stable."""
    with jax.ensure_compile_time_eval():
        y = jnp.ones((1, *z.shape), jnp.result_type(complex))
        factor = jnp.asarray(z[None], y.dtype)
        one = jnp.ones((), factor.real.dtype)
        term = SemilinearTerm(Diagonal(jnp.zeros_like(y)), lambda t, y: factor * y)

        @jax.jit
        def run() -> Any:
            coefficients = solver.coefficients(term.linear, one)

            def step(carry: Any, _: None) -> tuple[Any, Any]:
                y, memory, _ = solver.advance(term, coefficients, one * 0, one, *carry)
                return (y, memory), jnp.abs(y)

            return jax.lax.scan(step, (y, solver.start(term, one * 0, y)), None, length=_STEPS)[1]

        sizes = np.asarray(run())[:, 0]
    with np.errstate(all="ignore"):
        later = (sizes[-1] / sizes[_STEPS // 2 - 1]) ** (1 / (_STEPS // 2))
        return np.where(sizes[-1] == 0, 0, later)
