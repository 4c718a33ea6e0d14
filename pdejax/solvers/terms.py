"""From an equation on a discretisation to the terms that integrators take."""

from typing import Any

import diffrax
import equinox as eqx
from jaxtyping import Array

from pdejax.equations import Equation
from pdejax.fields import Chebyshev, Eigenmodes, FiniteDifference, Spectral, bases_of, has_derivatives
from pdejax.solvers.etdrk import ETDRK4
from pdejax.solvers.implicit_explicit import KenCarp4
from pdejax.solvers.linear_part import AbstractLinearPart, Coupled, Diagonal
from pdejax.solvers.semilinear import AbstractSemilinearSolver, SemilinearTerm

Discretisation = Spectral | FiniteDifference | Chebyshev
# What a solver steps in: the discretisation itself, or the basis in which its linear part is diagonal.
Space = Discretisation | Eigenmodes


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


def check_num_steps(solver: Any, num_steps: int, advice: str) -> None:
    """Raises `ValueError` where all steps would be starting steps of a multistep method."""
    if isinstance(solver, AbstractSemilinearSolver) and num_steps <= solver.num_starting_steps:
        raise ValueError(
            f"{type(solver).__name__} starts with {solver.num_starting_steps} step(s) of another method, and none of "
            f"its own would follow in {num_steps}: {advice}."
        )


def bases_for(solver: diffrax.AbstractSolver, equation: Equation, discretisation: Discretisation) -> Any:
    """The bases that `solver` steps finite differences in, if it asks for a linear part that is diagonal; or None.

    Computed where geometry and conditions are known numbers, outside of compiled programs.
    """
    if isinstance(solver, AbstractSemilinearSolver) and isinstance(discretisation, FiniteDifference):
        return bases_of(discretisation, equation)
    return None


def space_of(discretisation: Discretisation, bases: Any) -> Space:
    """What a solver steps in, with the `bases` of `bases_for`."""
    return discretisation if bases is None else Eigenmodes(discretisation, bases)  # pyright: ignore[reportArgumentType]


def encoded(space: Space, equation: Equation, t: Any, u: Array) -> Array:
    """A state at time t in the representation that is stepped. Walls that state values get them."""
    if isinstance(space, Eigenmodes):
        return space.into(equation, t, u)
    return space.encode(space.hold(equation, t, u))


def decoded(space: Space, equation: Equation, t: Any, y: Array) -> Array:
    """The state at time t, from the representation that is stepped."""
    if isinstance(space, Eigenmodes):
        return space.out_of(equation, t, y)
    return space.hold(equation, t, space.decode(y))


def semilinear_term(equation: Equation, space: Space, start: Any = 0.0) -> SemilinearTerm:
    """`dy/dt = L y + N(start + t, y)` for the coefficients y of the modes of L.

    Drivers count time from `start`: far from zero, float32 could not tell the ends of short steps apart.
    """
    if not isinstance(space, Spectral | Eigenmodes):
        raise ValueError(
            "Exponential and implicit-explicit solvers need the linear part mode by mode, as Spectral and "
            f"FiniteDifference give it; with {type(space).__name__} use an explicit solver such as diffrax.Tsit5()."
        )
    symbol, coupled = space.symbol(equation)
    linear: AbstractLinearPart = Coupled(symbol) if coupled else Diagonal(symbol)
    return SemilinearTerm(linear, _Nonlinear(equation, space, start))


def terms_for(solver: diffrax.AbstractSolver, equation: Equation, space: Space, start: Any = 0.0) -> Any:
    """The terms that `solver` takes: semilinear where a symbol exists, otherwise the whole right-hand side."""
    if isinstance(space, Spectral | Eigenmodes) or isinstance(solver, AbstractSemilinearSolver):
        return semilinear_term(equation, space, start)
    return diffrax.ODETerm(_Tendency(equation, space, start))


def default_solver(equation: Equation, discretisation: Discretisation) -> tuple[diffrax.AbstractSolver, str]:
    """The solver that suits an equation on a discretisation, and why."""
    name, grid = type(equation).__name__, discretisation.grid
    where = "on stretched points" if all(grid.periodic) else "between walls"
    if isinstance(discretisation, Chebyshev):
        return diffrax.Tsit5(), (
            f"{name} between Chebyshev points is explicit: Tsit5, fifth order. The points at the walls limit its step: "
            "about 18 extent / (ndim N^2 |velocity|) for transport and 18 extent^2 / (ndim N^4 diffusivity) for "
            "diffusion."
        )
    if isinstance(discretisation, FiniteDifference) and not all(grid.periodic + grid.is_uniform):
        try:
            bases_of(discretisation, equation)
            why = None if has_derivatives(equation, discretisation.grid.ndim) else "`linear` holds no derivative."
        except ValueError as refusal:
            why = str(refusal)
        if why is None:
            return KenCarp4(), (
                f"{name} {where} has a linear part that is diagonal in a basis per axis: KenCarp4 solves its "
                "implicit stages exactly, however stiff, and the rest explicitly with fourth order, with step control."
            )
        return diffrax.Tsit5(), (
            f"{name} {where} is explicit: Tsit5, fifth order; its step is limited by the grid, about h / "
            f"|velocity| for transport and h^2 / (2 ndim diffusivity) for diffusion. Not implicit, because: {why}"
        )
    if isinstance(discretisation, FiniteDifference):
        return diffrax.Tsit5(), (
            f"{name} on finite differences is explicit: Tsit5, fifth order. Its step is limited by the grid: "
            "about h / |velocity| for transport and h^2 / (2 ndim diffusivity) for diffusion."
        )
    if not discretisation.has_linear_part(equation):
        return (
            diffrax.Tsit5(),
            f"{name} has no linear part to treat exactly: Tsit5, explicit, fifth order. Its step is limited by the "
            "grid: about h / |velocity| for transport and h^2 / (3 ndim max(diffusivity)) where a diffusivity varies.",
        )
    return ETDRK4(), (
        f"{name} has a linear part that Fourier modes diagonalise: ETDRK4 advances it exactly, however stiff, and the "
        "rest with fourth order. Its step is limited by the nonlinear part alone."
    )


class _Nonlinear(eqx.Module):
    equation: Equation
    space: Spectral | Eigenmodes
    start: Any

    def __call__(self, t: Any, y: Array) -> Array:
        return self.space.nonlinear(self.equation, self.start + t, y)


class _Tendency(eqx.Module):
    equation: Equation
    discretisation: FiniteDifference | Chebyshev
    start: Any

    def __call__(self, t: Any, y: Array, args: Any) -> Array:
        return self.discretisation.tendency(self.equation, self.start + t, y)
