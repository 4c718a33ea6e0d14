r"""Exponential Adams-Bashforth methods: one evaluation of N per step, the linear part exact.

The polynomial through N at the last k equal steps, integrated beside the exponential:

    y' = e^(hL) y + h sum over j < k of g_j(hL) nabla^j N_n
    g_0 = phi_1,    g_1 = phi_2,    g_2 = phi_3 + phi_2 / 2,    g_3 = phi_4 + phi_3 + phi_2 / 3

with the backward differences `nabla^0 N_n = N_n, nabla^(j+1) N_n = nabla^j N_n - nabla^j N_(n-1)`. Here the g_j are
collected into one weight for each N.

Sources: Cox & Matthews, J. Comput. Phys. 176 (2002) 430; Hochbruck & Ostermann, Acta Numerica 19 (2010) 209, section
2.5.
"""

from math import comb
from typing import Any, ClassVar

from jaxtyping import Array

from pdejax.solvers.etdrk import ETDRK2, ETDRK3, ETDRK4
from pdejax.solvers.exponential import AbstractExponentialSolver
from pdejax.solvers.linear_part import AbstractLinearPart
from pdejax.solvers.multistep import AbstractMultistepSolver, History
from pdejax.solvers.semilinear import SemilinearTerm


class AbstractExponentialAdamsBashforth(AbstractMultistepSolver):
    """The method of order `num_values`."""

    def order(self, terms: Any) -> int:
        return self.num_values

    def multistep_coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Any]:
        whole, phi_1, *phis = linear.functions(h, self.num_values)
        g = [phi_1, phis[0]]
        if self.num_values > 2:
            g.append(phis[1] + phis[0] / 2)
        if self.num_values > 3:
            g.append(phis[2] + phis[1] + phis[0] / 3)
        # N_(n-i) enters nabla^j with (-1)^i binomial(j, i).
        weights = [
            h * sum((-1) ** i * comb(j, i) * g[j] for j in range(i, self.num_values)) for i in range(self.num_values)
        ]
        return {"whole": whole, "weights": weights}

    def multistep(
        self, term: SemilinearTerm, coefficients: dict[str, Any], h: Array, y: Array, history: History
    ) -> Array:
        times = term.linear.multiply
        change = times(coefficients["whole"], y)
        for weight, value in zip(coefficients["weights"], history.values, strict=True):
            change = change + times(weight, value)
        return change


class ExponentialAdamsBashforth2(AbstractExponentialAdamsBashforth):
    """Second order; begins with one step of ETDRK2."""

    starter: ClassVar[AbstractExponentialSolver] = ETDRK2()
    num_values: ClassVar[int] = 2
    num_starting_steps: ClassVar[int] = 1


class ExponentialAdamsBashforth3(AbstractExponentialAdamsBashforth):
    """Third order; begins with two steps of ETDRK3."""

    starter: ClassVar[AbstractExponentialSolver] = ETDRK3()
    num_values: ClassVar[int] = 3
    num_starting_steps: ClassVar[int] = 2


class ExponentialAdamsBashforth4(AbstractExponentialAdamsBashforth):
    """Fourth order; begins with three steps of ETDRK4."""

    starter: ClassVar[AbstractExponentialSolver] = ETDRK4()
    num_values: ClassVar[int] = 4
    num_starting_steps: ClassVar[int] = 3
