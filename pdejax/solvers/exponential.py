r"""Exponential time differencing and integrating factors, as diffrax solvers.

For `y' = L y + N(t, y)` with a linear part L that acts on each mode by itself, over one step h:

    ETDRK4    a  = e^(hL/2) y + (h/2) phi_1(hL/2) N(y)
              b  = e^(hL/2) y + (h/2) phi_1(hL/2) N(a)
              c  = e^(hL/2) a + (h/2) phi_1(hL/2) (2 N(b) - N(y))
              y' = e^(hL) y + h [ (phi_1 - 3 phi_2 + 4 phi_3) N(y) + (2 phi_2 - 4 phi_3) (N(a) + N(b))
                                  + (4 phi_3 - phi_2) N(c) ]                                          (phi of hL)

The linear part is exact: stiffness costs nothing, and a linear equation is solved to rounding. Updates are written as
`y + (e^(hL) - 1) y + ...`: in float32 the round-off of many steps then grows several times more slowly.

Sources: Cox & Matthews, J. Comput. Phys. 176 (2002) 430 (ETDRK2/3/4); Kassam & Trefethen, SIAM J. Sci. Comput. 26
(2005) 1214; integrating factor with embedded error: Balac & Mahe, Comput. Phys. Commun. 184 (2013) 1211.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.solvers.linear_part import AbstractLinearPart


class SemilinearTerm(diffrax.AbstractTerm):
    """`dy/dt = linear(y) + nonlinear(t, y)`. Explicit diffrax solvers take it too, as their sum."""

    linear: AbstractLinearPart
    nonlinear: Callable[[Any, Array], Array]

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        return self.linear.apply(y) + self.nonlinear(t, y)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: Any, control: Any) -> Any:
        return vf * control


class AbstractExponentialSolver(diffrax.AbstractAdaptiveSolver):
    """One step of an exponential method, usable by itself (`advance`) and by `diffrax.diffeqsolve` (`step`)."""

    term_structure: ClassVar = SemilinearTerm
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation

    @abc.abstractmethod
    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        """The functions of `h L` that a step needs; the same for every step of one size."""

    @abc.abstractmethod
    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        """From `y` at t, with `n_y = N(t, y)`, to `(y1, N(t + h, y1), error estimate)`."""

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        term, direction = _unwrapped(terms)
        h = t1 - t0
        return _nonlinear(term, direction)(t0, y0), h, self.coefficients(_linear(term, direction), h)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        term, direction = _unwrapped(terms)
        oriented = SemilinearTerm(_linear(term, direction), _nonlinear(term, direction))
        n_0, known_h, known = solver_state
        h = t1 - t0
        # Constant steps differ by the rounding of t1 - t0 alone; only a truly new step size needs new coefficients.
        is_new = jnp.abs(h - known_h) > jnp.sqrt(jnp.finfo(h.dtype).eps) * jnp.abs(h)
        h, coefficients = jax.lax.cond(
            is_new, lambda: (h, self.coefficients(oriented.linear, h)), lambda: (known_h, known)
        )
        n_0 = jax.lax.cond(made_jump, lambda: oriented.nonlinear(t0, y0), lambda: n_0)
        y1, n_1, error = self.advance(oriented, coefficients, t0, h, y0, n_0)
        dense_info = {
            "y0": y0,
            "y1": y1,
            "k0": h * (oriented.linear.apply(y0) + n_0),
            "k1": h * (oriented.linear.apply(y1) + n_1),
        }
        return y1, error, dense_info, (n_1, h, coefficients), diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)


class ETDRK4(AbstractExponentialSolver):
    """Fourth order, four evaluations of the nonlinear part per step; the embedded estimate is of third order."""

    def order(self, terms: Any) -> int:
        return 4

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        half, half_phi = linear.functions(h / 2, 1)
        whole, phi_1, phi_2, phi_3 = linear.functions(h, 3)
        return {
            "half": half,
            "half_source": h / 2 * half_phi,
            "whole": whole,
            "start": h * (phi_1 - 3 * phi_2 + 4 * phi_3),
            "middle": h * (2 * phi_2 - 4 * phi_3),
            "end": h * (4 * phi_3 - phi_2),
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
        # In the classical limit `end` is h / 6 and this is the h / 10 (k4 - k5) of the 4(3) pair of Balac & Mahe.
        return y1, n_1, 0.6 * times(c["end"], n_d - n_1)


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
        euler = y + (times(c["whole"], y) + times(c["source"], n_y))
        correction = times(c["slope"], term.nonlinear(t + h, euler) - n_y)
        y1 = euler + correction
        return y1, term.nonlinear(t + h, y1), correction


class IntegratingFactorRK4(AbstractExponentialSolver):
    """Classical RK4 for `e^(-Lt) y`, four evaluations per step, embedded third-order estimate.

    Cheaper in memory than ETDRK4 and far less accurate on stiff problems; for weakly stiff ones.
    """

    def order(self, terms: Any) -> int:
        return 4

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        return {"half": linear.functions(h / 2, 1)[0], "whole": linear.functions(h, 1)[0]}

    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        half = lambda v: v + term.linear.multiply(coefficients["half"], v)  # noqa: E731
        whole = lambda v: v + term.linear.multiply(coefficients["whole"], v)  # noqa: E731
        halfway = half(y)
        n_a = term.nonlinear(t + h / 2, half(y + h / 2 * n_y))
        n_b = term.nonlinear(t + h / 2, halfway + h / 2 * n_a)
        n_c = term.nonlinear(t + h, half(halfway + h * n_b))
        y1 = whole(y + h / 6 * n_y) + (h / 3 * half(n_a + n_b) + h / 6 * n_c)
        n_1 = term.nonlinear(t + h, y1)
        return y1, n_1, h / 10 * (n_c - n_1)


def _unwrapped(terms: Any) -> tuple[SemilinearTerm, Any]:
    """diffeqsolve hands its solvers a term wrapped with the direction of time."""
    if isinstance(terms, SemilinearTerm):
        return terms, 1
    return terms.term, terms.direction


def _linear(term: SemilinearTerm, direction: Any) -> AbstractLinearPart:
    return term.linear if isinstance(direction, int) else term.linear.scaled(direction)


def _nonlinear(term: SemilinearTerm, direction: Any) -> Callable[[Any, Array], Array]:
    if isinstance(direction, int):
        return term.nonlinear
    return eqx.Partial(_oriented, term.nonlinear, direction)


def _oriented(nonlinear: Callable[[Any, Array], Array], direction: Any, t: Any, y: Array) -> Array:
    return direction * nonlinear(direction * t, y)
