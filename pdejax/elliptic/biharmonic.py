"""The plate equation `Lap(Lap(u)) = f`, with u = 0 at the walls.

    "supported"    u = Lap(u) = 0     two Poisson problems, -Lap(v) = f and -Lap(u) = v
    "clamped"      u = du/dn = 0      the 13-point stencil, with the ghost value u(-h) = u(h)

A supported wall continues u with the opposite sign, u(-h) = -u(h). Between the two stencils lies `2 u / h^4` at the
points next to a clamped wall, and nothing else: `A = L^2 + D` with L the five-point Laplacian and D diagonal, symmetric
and positive. Conjugate gradients with L^-2 by fast transforms as preconditioner solve it. Source: Bjorstad, Fast
numerical solution of the biharmonic Dirichlet problem on rectangles, SIAM J. Numer. Anal. 20 (1983) 59-71.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from pdejax.elliptic.iteration import conjugate_gradients, without_derivatives
from pdejax.elliptic.operator import EllipticOperator
from pdejax.elliptic.solve import poisson
from pdejax.elliptic.transforms import solve_direct
from pdejax.grid import Grid


def biharmonic(grid: Grid, f: Any, walls: Literal["supported", "clamped"] = "supported") -> Array:
    """The u of `Lap(Lap(u)) = f`, shape `grid.shape`; f is a number or an array `grid.shape`.

    `walls` says what holds at the walls of the axes that are not periodic; on a grid without any, f must have integral
    zero and u has mean zero. Second order. Raises `ValueError` for clamped walls between centres, which need nodes, and
    where `poisson` does; `FloatingPointError` when the iteration does not converge.
    """
    if walls not in ("supported", "clamped"):
        raise ValueError(f'`walls` is "supported" or "clamped", got {walls!r}.')
    boundary = None if all(grid.periodic) else 0.0
    if walls == "supported" or boundary is None:
        return poisson(grid, poisson(grid, f, boundary)[0], boundary)[0]
    walled = [a for a, wraps in enumerate(grid.periodic) if not wraps]
    if any(grid.points[a] == "centres" for a in walled):
        raise ValueError('Clamped walls need points on the walls: Grid(..., points="nodes").')
    operator = EllipticOperator(grid, boundary)
    u, residual = _clamped(operator, operator.right_hand_side(f), tuple(walled))
    # The condition number of the stencil times rounding bounds what can be asked for.
    missed = ~(residual <= (1e-8 if grid.dtype == np.float64 else 1e-3))
    if isinstance(u, Tracer):
        return eqx.error_if(u, missed, "The iteration for clamped walls did not converge.")
    if bool(missed):
        raise FloatingPointError(f"The iteration for clamped walls stopped at the residual {float(residual):.3g}.")
    return u


@eqx.filter_jit
def _clamped(operator: EllipticOperator, b: Array, walled: tuple[int, ...]) -> tuple[Array, Array]:
    matrix, grid = operator.matrix(), operator.grid
    extra = jnp.zeros(operator.free_shape, grid.dtype)
    for axis in walled:
        n = operator.free_shape[axis]
        beside = np.zeros(n)
        # Added, not set: a single free point has a wall on either side.
        beside[0] += 2
        beside[-1] += 2
        shape = [-1 if a == axis else 1 for a in range(grid.ndim)]
        extra = extra + jnp.asarray(beside.reshape(shape), grid.dtype) / grid.spacing[axis] ** 4

    def apply(u: Array) -> Array:
        return matrix(matrix(u)) + extra * u

    fixed = without_derivatives(operator)

    def precondition(r: Array) -> Array:
        return solve_direct(fixed, solve_direct(fixed, r))

    def solve(product: Any, b: Array) -> tuple[Array, Array]:
        rtol = 1e-12 if b.dtype == np.float64 else 1e-6
        return conjugate_gradients(product, precondition, b, rtol, 500)

    u, _ = jax.lax.custom_linear_solve(apply, b, solve, symmetric=True, has_aux=True)
    # In the norm of the preconditioner: that of b itself is dominated by the roughest modes.
    gap, size = (jnp.linalg.norm(precondition(v)) for v in jax.lax.stop_gradient((b - apply(u), b)))
    return operator.extend(u), gap / jnp.where(size > 0, size, 1.0)
