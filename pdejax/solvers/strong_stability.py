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

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import numpy as np


class SSPRK2(diffrax.AbstractERK):
    """Second order, embedded first-order estimate."""

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([1.0]),),
        b_sol=np.array([1 / 2, 1 / 2]),
        b_error=np.array([-1 / 2, 1 / 2]),
        c=np.array([1.0]),
    )
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms: Any) -> int:
        return 2


class SSPRK3(diffrax.AbstractERK):
    """Third order, embedded second-order estimate."""

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([1.0]), np.array([1 / 4, 1 / 4])),
        b_sol=np.array([1 / 6, 1 / 6, 2 / 3]),
        b_error=np.array([1 / 6 - 1 / 2, 1 / 6 - 1 / 2, 2 / 3]),
        c=np.array([1.0, 1 / 2]),
    )
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms: Any) -> int:
        return 3
