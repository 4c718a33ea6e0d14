"""An equation with less of it in `linear`: for solvers that need that part diagonal in a basis per axis."""

from typing import Any

from pdejax.equations.wrapped import Wrapped
from pdejax.fields import AbstractField, Frozen
from pdejax.grid import Grid


class LeadingPart(Wrapped):
    r"""The same equation, of whose linear part only the leading terms are solved implicitly or exactly:

        u_t = L_d u + [(L - L_d) u + N(t, u)]

    L_d holds, for each component and axis, the mean coefficients of its own derivatives: all of them along periodic
    axes, the highest even one between walls. Transport between walls, couplings and what varies of a coefficient go to
    the bracket, which is explicit. Nothing is left out: readings, residuals and solutions are those of `equation`.

    Between walls exponential solvers need it where L is no multiple of one derivative along each axis, and
    implicit-explicit ones are spared factors of matrices and iterations. In return the bracket limits the step: by
    about h / |velocity| for transport, and a diffusivity may nowhere be more than twice its mean. Beside walls whose
    data change in time, orders above 2 fall to 2 or 2.5 in the last digits, as those of explicit methods do.

    - `equation`: as it is written.
    - `grid`: where it is solved, for the means of coefficients that depend on x.
    """

    grid: Grid

    def linear(self, u: AbstractField) -> AbstractField:
        return Frozen(self.equation, self.grid).linear(u)

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return self.equation.nonlinear(t, u) + (self.equation.linear(u) - self.linear(u))
