"""From an equation on a discretisation to the terms that integrators take."""

from typing import Any

import diffrax
import equinox as eqx
from jaxtyping import Array

from pdejax.equations import Equation
from pdejax.fields import FiniteDifference, Spectral
from pdejax.solvers.etdrk import ETDRK4
from pdejax.solvers.exponential import AbstractExponentialSolver, SemilinearTerm
from pdejax.solvers.linear_part import AbstractLinearPart, Coupled, Diagonal

Discretisation = Spectral | FiniteDifference


def check_problem(equation: Any, discretisation: Any) -> None:
    """Raises `TypeError` unless these are an equation and a discretisation, `ValueError` where they do not fit."""
    for name, value, kind, example in (
        ("equation", equation, Equation, "pdejax.equations.Burgers(viscosity=0.1)"),
        ("discretisation", discretisation, Discretisation, "pdejax.Spectral(grid)"),
    ):
        if not isinstance(value, kind):
            got = f"the class {value.__name__} itself" if isinstance(value, type) else f"a {type(value).__name__}"
            raise TypeError(f"The {name} must be an instance such as {example}, got {got}.")
    equation.check_grid(discretisation.grid)


def check_solver(solver: Any) -> None:
    """Raises `TypeError` for a class or a name in place of a solver."""
    if not isinstance(solver, diffrax.AbstractSolver):
        given = solver.__name__ if isinstance(solver, type) else solver
        name = given if isinstance(given, str) and given.isidentifier() else "ETDRK4"
        raise TypeError(f"The solver must be an instance such as pdejax.solvers.{name}(), got {solver!r}.")


def semilinear_term(equation: Equation, discretisation: Discretisation, start: Any = 0.0) -> SemilinearTerm:
    """`dy/dt = L y + N(start + t, y)` for the Fourier coefficients y.

    Drivers count time from `start`: far from zero, float32 could not tell the ends of short steps apart.
    """
    if not isinstance(discretisation, Spectral):
        raise ValueError(
            "An exponential solver needs the linear part mode by mode, as Spectral gives it; with "
            f"{type(discretisation).__name__} use an explicit solver such as diffrax.Tsit5()."
        )
    symbol, coupled = discretisation.symbol(equation)
    linear: AbstractLinearPart = Coupled(symbol) if coupled else Diagonal(symbol)
    return SemilinearTerm(linear, _Nonlinear(equation, discretisation, start))


def terms_for(
    solver: diffrax.AbstractSolver, equation: Equation, discretisation: Discretisation, start: Any = 0.0
) -> Any:
    """The terms that `solver` takes: semilinear where a symbol exists, otherwise the whole right-hand side."""
    if isinstance(discretisation, Spectral) or isinstance(solver, AbstractExponentialSolver):
        return semilinear_term(equation, discretisation, start)
    return diffrax.ODETerm(_Tendency(equation, discretisation, start))


def default_solver(equation: Equation, discretisation: Discretisation) -> tuple[diffrax.AbstractSolver, str]:
    """The solver that suits an equation on a discretisation, and why."""
    name = type(equation).__name__
    if isinstance(discretisation, FiniteDifference):
        return diffrax.Tsit5(), (
            f"{name} on finite differences is explicit: Tsit5, fifth order. Its step is limited by the grid: "
            "about h / |velocity| for transport and h^2 / (2 ndim diffusivity) for diffusion."
        )
    if not discretisation.has_linear_part(equation):
        return (
            diffrax.Tsit5(),
            f"{name} has no linear part to treat exactly: Tsit5, explicit, fifth order.",
        )
    return ETDRK4(), (
        f"{name} has a linear part that Fourier modes diagonalise: ETDRK4 advances it exactly, however stiff, and the "
        "rest with fourth order. Its step is limited by the nonlinear part alone."
    )


class _Nonlinear(eqx.Module):
    equation: Equation
    discretisation: Spectral
    start: Any

    def __call__(self, t: Any, y: Array) -> Array:
        return self.discretisation.nonlinear(self.equation, self.start + t, y)


class _Tendency(eqx.Module):
    equation: Equation
    discretisation: FiniteDifference
    start: Any

    def __call__(self, t: Any, y: Array, args: Any) -> Array:
        return self.discretisation.tendency(self.equation, self.start + t, y)
