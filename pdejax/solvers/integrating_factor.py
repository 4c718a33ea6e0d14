"""Runge-Kutta methods behind an integrating factor."""

from typing import Any

from jaxtyping import Array

from pdejax.solvers.exponential import AbstractExponentialSolver
from pdejax.solvers.linear_part import AbstractLinearPart
from pdejax.solvers.semilinear import SemilinearTerm


class IntegratingFactorRK4(AbstractExponentialSolver):
    """Classical RK4 for `e^(-Lt) y`, four evaluations of N per step, five with its third-order error estimate.

    Cheaper in memory than ETDRK4 and far less accurate on stiff problems; for weakly stiff ones.

    The estimate is the sum of two: the `h / 10 (k4 - k5)` of Balac & Mahe, Comput. Phys. Commun. 184 (2013) 1211, which
    sees how N depends on the state, and the difference to the rule of nodes 0 and 2h/3 (Radau's), which sees how N
    changes with time or with a component that the linear part moves by itself, where the first is blind.
    """

    def order(self, terms: Any) -> int:
        return 4

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        parts = {"half": 1 / 2, "whole": 1.0, "sixth": 1 / 6, "third": 1 / 3, "two_thirds": 2 / 3}
        return {name: linear.functions(part * h, 1)[0] for name, part in parts.items()}

    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        def over(part: str, v: Array) -> Array:
            return v + term.linear.multiply(coefficients[part], v)

        halfway = over("half", y)
        n_a = term.nonlinear(t + h / 2, over("half", y + h / 2 * n_y))
        n_b = term.nonlinear(t + h / 2, halfway + h / 2 * n_a)
        n_d = term.nonlinear(t + h, over("half", halfway + h * n_b))
        middle = h / 3 * over("half", n_a + n_b)
        y1 = over("whole", y + h / 6 * n_y) + (middle + h / 6 * n_d)
        n_1 = term.nonlinear(t + h, y1)
        # What follows serves the estimate alone; the compiler drops it where steps are fixed.
        y_c = over("two_thirds", y + 2 * h / 9 * n_y) + 2 * h / 9 * over("sixth", n_a + n_b)
        n_c = term.nonlinear(t + 2 * h / 3, y_c)
        radau = h / 6 * n_d + middle - h / 12 * over("whole", n_y) - 3 * h / 4 * over("third", n_c)
        return y1, n_1, radau + h / 10 * (n_d - n_1)
