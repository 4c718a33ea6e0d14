r"""Explicit Runge-Kutta methods that preserve strong stability.

Let a forward Euler step not increase some norm (or convex functional: a maximum, the total variation) of the solution
for every step h <= h_E, as it is with upwind or limited fluxes. A method preserves that with CFL coefficient C if its
own step does not increase it for h <= C h_E. These have C = 1: each is a convex combination of forward Euler steps of
length h,

    SSPRK2    u_1 = E(u),    u' = 1/2 u + 1/2 E(u_1)
    SSPRK3    u_1 = E(u),    u_2 = 3/4 u + 1/4 E(u_1),    u' = 1/3 u + 2/3 E(u_2)            with E(u) = u + h f(t, u)

Two and three evaluations per step. Each estimates its error against the method of one order less that its first stages
make, which preserves strong stability as well: forward Euler for SSPRK2, SSPRK2 for SSPRK3.

Source: Shu & Osher, J. Comput. Phys. 77 (1988) 439, equations 2.16 and 2.18; Gottlieb, Shu & Tadmor, SIAM Review 43
(2001) 89.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np


class _MeansOfEulerSteps(diffrax.AbstractERK):
    """The form above, one stage after another: the sums of a tableau keep every stage, and took up to three times as
    long on small grids. What is returned is what `diffrax.AbstractERK` returns.

    `shares`: of the step's beginning in each stage.
    """

    tableau: ClassVar[diffrax.ButcherTableau]
    shares: ClassVar[tuple[float, ...]]

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any
    ) -> tuple[Any, Any, dict[str, Any], Any, diffrax.RESULTS]:
        control = terms.contr(t0, t1)

        def stage(y: Any, fractions: Any) -> tuple[Any, tuple[Any, Any]]:
            share, passed = fractions
            change = terms.vf_prod(t0 + passed * (t1 - t0), y, args, control)
            mean = lambda start, y, k: (share * start + (1 - share) * (y + k)).astype(y.dtype)  # noqa: E731
            y = jax.tree.map(mean, y0, y, change)
            return y, (y, change)

        times = (0.0, *self.tableau.c)
        fractions = tuple(jnp.asarray(values, jnp.result_type(t0)) for values in (self.shares, times))
        y1, (stages, changes) = jax.lax.scan(stage, y0, fractions)
        error = jax.tree.map(self.error, y0, stages)
        return y1, error, {"y0": y0, "y1": y1, "k": changes}, solver_state, diffrax.RESULTS.successful

    @abc.abstractmethod
    def error(self, start: Any, stages: Any) -> Any:
        """The difference from the method of one order less."""


class SSPRK2(_MeansOfEulerSteps):
    """Second order, embedded first-order estimate."""

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([1.0]),),
        b_sol=np.array([1 / 2, 1 / 2]),
        b_error=np.array([-1 / 2, 1 / 2]),
        c=np.array([1.0]),
    )
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    shares: ClassVar[tuple[float, ...]] = (0.0, 1 / 2)

    def order(self, terms: Any) -> int:
        return 2

    def error(self, start: Any, stages: Any) -> Any:
        return stages[1] - stages[0]


class SSPRK3(_MeansOfEulerSteps):
    """Third order, embedded second-order estimate."""

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([1.0]), np.array([1 / 4, 1 / 4])),
        b_sol=np.array([1 / 6, 1 / 6, 2 / 3]),
        b_error=np.array([1 / 6 - 1 / 2, 1 / 6 - 1 / 2, 2 / 3]),
        c=np.array([1.0, 1 / 2]),
    )
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    shares: ClassVar[tuple[float, ...]] = (0.0, 3 / 4, 1 / 3)

    def order(self, terms: Any) -> int:
        return 3

    def error(self, start: Any, stages: Any) -> Any:
        # SSPRK2 ends at 2 u_2 - u.
        return stages[2] - (2 * stages[1] - start)
