r"""Exponential time differencing Runge-Kutta methods.

Over one step h of `y' = L y + N(t, y)`:

    ETDRK4    a  = e^(hL/2) y + (h/2) phi_1(hL/2) N(y)
              b  = e^(hL/2) y + (h/2) phi_1(hL/2) N(a)
              d  = e^(hL/2) a + (h/2) phi_1(hL/2) (2 N(b) - N(y))
              y' = e^(hL) y + h [ (phi_1 - 3 phi_2 + 4 phi_3) N(y) + (2 phi_2 - 4 phi_3) (N(a) + N(b))
                                  + (4 phi_3 - phi_2) N(d) ]                                          (phi of hL)

Sources: Cox & Matthews, J. Comput. Phys. 176 (2002) 430; Kassam & Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214. The
error estimates are this project's own; each says what it measures.
"""

from typing import Any

from jaxtyping import Array

from pdejax.solvers.exponential import AbstractExponentialSolver
from pdejax.solvers.linear_part import AbstractLinearPart
from pdejax.solvers.semilinear import SemilinearTerm

# Where ETDRK4's error estimate looks once more, as a fraction of the step.
_PROBE = 2 / 3


class ETDRK4(AbstractExponentialSolver):
    """Fourth order, four evaluations of N per step, five where step control asks for the error estimate.

    The estimate compares the step with the third-order rule of nodes 0 and 2h/3 (Radau's), with N at 2h/3 from the
    quadratic through the N of the step. It tends to `h^4 / 216` times the third derivative of N along the solution:
    whatever makes N change, the state or the time, is seen. (Pairs that compare N(d) with N(y'), as is common for
    Runge-Kutta 4, see no force that depends on time alone, and nothing that only listens to a linear component.)
    """

    def order(self, terms: Any) -> int:
        return 4

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        half, half_phi = linear.functions(h / 2, 1)
        whole, phi_1, phi_2, phi_3 = linear.functions(h, 3)
        node = _PROBE * h
        probe, probe_1, probe_2, probe_3 = linear.functions(node, 3)
        return {
            "half": half,
            "half_source": h / 2 * half_phi,
            "whole": whole,
            "start": h * (phi_1 - 3 * phi_2 + 4 * phi_3),
            "middle": h * (2 * phi_2 - 4 * phi_3),
            "end": h * (4 * phi_3 - phi_2),
            # The integral of the quadratic through N at 0, h/2 and h, up to the probe at 2h/3.
            "probe": probe,
            "probe_start": node * (probe_1 - 3 * _PROBE * probe_2 + 4 * _PROBE**2 * probe_3),
            "probe_middle": node * (2 * _PROBE * probe_2 - 4 * _PROBE**2 * probe_3),
            "probe_end": node * (4 * _PROBE**2 * probe_3 - _PROBE * probe_2),
        }

    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        times, c = term.linear.multiply, coefficients
        halfway = y + times(c["half"], y)
        a = halfway + times(c["half_source"], n_y)
        n_a = term.nonlinear(t + h / 2, a)
        b = halfway + times(c["half_source"], n_a)
        n_b = term.nonlinear(t + h / 2, b)
        d = a + times(c["half"], a) + times(c["half_source"], 2 * n_b - n_y)
        n_d = term.nonlinear(t + h, d)
        change = times(c["whole"], y) + times(c["start"], n_y) + times(c["middle"], n_a + n_b) + times(c["end"], n_d)
        y1 = y + change
        n_1 = term.nonlinear(t + h, y1)
        # What follows serves the estimate alone; the compiler drops it where steps are fixed.
        y_c = y + times(c["probe"], y) + times(c["probe_start"], n_y)
        y_c = y_c + (times(c["probe_middle"], n_a + n_b) + times(c["probe_end"], n_1))
        n_c = term.nonlinear(t + _PROBE * h, y_c)
        # Weights of the step minus those of the rule with 1/4 and 3/4 at 0 and 2h/3, in units of the classical h / 6.
        return y1, n_1, times(c["end"], n_d - 0.5 * n_y + 2 * (n_a + n_b) - 4.5 * n_c)


class ETDRK3(AbstractExponentialSolver):
    """Third order, three evaluations per step; embedded second-order estimate."""

    def order(self, terms: Any) -> int:
        return 3

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        half, half_phi = linear.functions(h / 2, 1)
        whole, phi_1, phi_2, phi_3 = linear.functions(h, 3)
        return {
            "half": half,
            "half_source": h / 2 * half_phi,
            "whole": whole,
            "whole_source": h * phi_1,
            "start": h * (phi_1 - 3 * phi_2 + 4 * phi_3),
            "middle": h * (4 * phi_2 - 8 * phi_3),
            "end": h * (4 * phi_3 - phi_2),
        }

    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        times, c = term.linear.multiply, coefficients
        a = y + times(c["half"], y) + times(c["half_source"], n_y)
        n_a = term.nonlinear(t + h / 2, a)
        whole = times(c["whole"], y)
        b = y + whole + times(c["whole_source"], 2 * n_a - n_y)
        n_b = term.nonlinear(t + h, b)
        y1 = y + (whole + times(c["start"], n_y) + times(c["middle"], n_a) + times(c["end"], n_b))
        # Against the exponential midpoint rule, whose weights are phi_1 - 2 phi_2 and 2 phi_2: the difference is
        # `end` times the second difference of N over the step.
        return y1, term.nonlinear(t + h, y1), times(c["end"], n_y - 2 * n_a + n_b)


class ETDRK2(AbstractExponentialSolver):
    """Second order, two evaluations per step; embedded first-order estimate."""

    def order(self, terms: Any) -> int:
        return 2

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        whole, phi_1, phi_2 = linear.functions(h, 2)
        return {"whole": whole, "source": h * phi_1, "slope": h * phi_2}

    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        times, c = term.linear.multiply, coefficients
        change = times(c["whole"], y) + times(c["source"], n_y)
        correction = times(c["slope"], term.nonlinear(t + h, y + change) - n_y)
        # In one sum: the correction alone is often below the rounding of y, and would be lost.
        y1 = y + (change + correction)
        return y1, term.nonlinear(t + h, y1), correction
