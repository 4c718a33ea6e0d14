"""Linear parts that are known by their action alone: implicit stages by a preconditioned Krylov method.

    P^-1 (1 - h L) x = P^-1 r,    P = 1 - h L_d

with L_d the part of L that is diagonal in a basis per axis, coefficients replaced by their means (`pdejax.fields.
frozen`): the number of iterations then depends on what L_d leaves out, and hardly on the grid. L is applied by the
reading itself, and no matrix is formed. Measured is the residual of the system above: that of r would be as large as
`h |L|` times the rounding of x, which no iteration can improve.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.fields import EquationLike, PointValues
from pdejax.solvers.gmres import gmres
from pdejax.solvers.linear_part import AbstractLinearPart, no_functions

MAX_STEPS = 50


class Krylov(AbstractLinearPart):
    """The linear part of `equation` at the free points of `space`, times `factor`; `near` is L_d, in its own modes.

    The residual falls to 1e-11 of the right-hand side in double, 2e-6 in single precision. A solve that does not get
    there in 50 steps is an error at run time, or NaN (`raises` False) for a step control that then takes a shorter one.
    """

    equation: EquationLike
    space: PointValues
    near: AbstractLinearPart
    factor: Array
    raises: bool = eqx.field(static=True, default=True)

    def apply(self, y: Array) -> Array:
        return self.factor * self.space.linear(self.equation, y)

    def inverse(self, step: Array) -> tuple[Array, Any]:
        return step, self.near.inverse(step)

    def multiply(self, factor: tuple[Array, Any], y: Array) -> Array:
        step, near = factor
        modes = self.space.modes

        def preconditioned(u: Array) -> Array:
            return modes.decode(self.near.multiply(near, modes.encode(u)))

        def system(x: Array) -> Array:
            return preconditioned(x - step * self.apply(x))

        def solved(matrix: Any, right: Array) -> Array:
            tolerance = 1e-11 if y.dtype == jnp.float64 else 2e-6
            x, _, converged = gmres(matrix, right, tolerance, MAX_STEPS)
            if not self.raises:
                return jnp.where(converged, x, jnp.nan)
            return eqx.error_if(
                x,
                ~converged,
                f"The implicit stages of {type(self.equation).__name__} were not solved: the Krylov iteration did not "
                f"reach {tolerance:.0e} of the right-hand side in {MAX_STEPS} steps. Take smaller time steps, state "
                "part of `linear` in `nonlinear`, or use an explicit solver.",
            )

        # Derivatives are those of the solution: one more solve, with the transposed system in reverse.
        return jax.lax.custom_linear_solve(system, preconditioned(y), solved, solved)

    def functions(self, step: Array, count: int) -> list[Any]:
        raise no_functions("is applied without a matrix")

    def scaled(self, factor: Array) -> "Krylov":
        return Krylov(self.equation, self.space, self.near.scaled(factor), self.factor * factor, self.raises)
