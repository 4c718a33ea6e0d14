"""Semi-implicit backward differentiation: L implicit, N extrapolated."""

from typing import Any, ClassVar

from jaxtyping import Array

from pdejax.solvers.implicit_explicit import KenCarp3
from pdejax.solvers.linear_part import AbstractLinearPart
from pdejax.solvers.multistep import AbstractMultistepSolver, History
from pdejax.solvers.semilinear import AbstractSemilinearSolver, SemilinearTerm


class BDF2(AbstractMultistepSolver):
    """Second order, one evaluation of N and one implicit solve per step; begins with one step of KenCarp3.

        (3/2 y_(n+1) - 2 y_n + 1/2 y_(n-1)) / h = L y_(n+1) + 2 N_n - N_(n-1)

    solved for `y_(n+1) - y_n`, so that slow modes are rounded like their change. L-stable in L: what is stiff is gone
    after a few steps. Source: Ascher, Ruuth & Wetton, SIAM J. Numer. Anal. 32 (1995) 797, there SBDF.
    """

    needs_functions: ClassVar[bool] = False
    starter: ClassVar[AbstractSemilinearSolver] = KenCarp3()
    num_values: ClassVar[int] = 2
    num_changes: ClassVar[int] = 1
    num_starting_steps: ClassVar[int] = 1

    def order(self, terms: Any) -> int:
        return 2

    def multistep_coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Any]:
        return {"inverse": linear.inverse(2 / 3 * h)}

    def multistep(
        self, term: SemilinearTerm, coefficients: dict[str, Any], h: Array, y: Array, history: History
    ) -> Array:
        (n_0, n_1), (before,) = history.values, history.changes
        rest = before / 3 + 2 / 3 * h * (term.linear.apply(y) + 2 * n_0 - n_1)
        return term.linear.multiply(coefficients["inverse"], rest)
