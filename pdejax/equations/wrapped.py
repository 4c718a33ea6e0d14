"""An equation around another one: what it does not say otherwise is said by that."""

from collections.abc import Mapping
from typing import Any

from pdejax.equations.equation import Equation
from pdejax.fields import AbstractField, Poisson
from pdejax.grid import Grid


class Wrapped(Equation):
    """`equation`, to be changed in a part by subclasses."""

    equation: Equation

    @property
    def degree(self) -> int | None:  # type: ignore[override]
        return self.equation.degree

    def components(self, ndim: int) -> tuple[str, ...]:
        return self.equation.components(ndim)

    def check_grid(self, grid: Grid) -> None:
        self.equation.check_grid(grid)

    def auxiliary(self, u: AbstractField) -> Mapping[str, Poisson]:
        return self.equation.auxiliary(u)

    def coefficients(self) -> dict[str, Any]:
        return self.equation.coefficients()

    def linear(self, u: AbstractField) -> AbstractField:
        return self.equation.linear(u)

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return self.equation.nonlinear(t, u)
