"""From an equation on a discretisation to the terms that integrators take."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.equations import ConservationLaw, Equation
from pdejax.fields import Chebyshev, Eigenmodes, FiniteDifference, NearBases, PointValues, Spectral, bases_of
from pdejax.fields.blocks import is_whole
from pdejax.fields.frozen import frozen_linear
from pdejax.solvers.banded import Banded, Line
from pdejax.solvers.etdrk import ETDRK4
from pdejax.solvers.implicit_explicit import KenCarp4
from pdejax.solvers.krylov import Krylov
from pdejax.solvers.lift import Lift
from pdejax.solvers.linear_part import AbstractLinearPart, Coupled, Diagonal
from pdejax.solvers.semilinear import AbstractSemilinearSolver, SemilinearTerm
from pdejax.solvers.strong_stability import SSPRK3
from pdejax.volumes import FiniteVolume

Discretisation = Spectral | FiniteDifference | Chebyshev | FiniteVolume
# What a solver steps in: the discretisation itself, the basis in which its linear part is diagonal (but for one axis),
# or point values with such a basis near by.
Space = Discretisation | Eigenmodes | PointValues


def check_problem(equation: Any, discretisation: Any) -> None:
    """Raises `TypeError` unless these are an equation and a discretisation, `ValueError` where they do not fit."""
    for name, value, kind, example in (
        ("equation", equation, Equation, "pdejax.equations.Burgers(viscosity=0.1)"),
        ("discretisation", discretisation, Discretisation, "pdejax.Spectral(grid)"),
    ):
        if not isinstance(value, kind):
            got = f"the class {value.__name__} itself" if isinstance(value, type) else f"a {type(value).__name__}"
            raise TypeError(f"The {name} must be an instance such as {example}, got {got}.")
    if isinstance(discretisation, FiniteVolume) and not isinstance(equation, ConservationLaw):
        raise TypeError(
            f"FiniteVolume reads conservation laws, such as pdejax.equations.Euler(), and {type(equation).__name__} "
            "states no flux: use Spectral, FiniteDifference or Chebyshev, or derive it from ConservationLaw."
        )
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
    """The bases that `solver` steps a discretisation by points in, if it asks for a linear part; or None.

    Computed where geometry and conditions are known numbers, outside of compiled programs.
    """
    if not isinstance(solver, AbstractSemilinearSolver) or isinstance(discretisation, Spectral):
        return None
    if isinstance(discretisation, FiniteVolume):
        raise ValueError(
            f"{type(solver).__name__} treats a linear part apart, and finite volumes have none: use an explicit "
            "solver, pdejax.solvers.SSPRK3() for one."
        )
    if isinstance(discretisation, FiniteDifference) and not is_whole(discretisation):
        raise ValueError(
            f"{type(solver).__name__} solves for all points at once, and over many devices finite differences are "
            "stepped explicitly: use diffrax.Tsit5(), or Spectral(grid, devices=...)."
        )
    if solver.needs_functions:
        return bases_of(discretisation, equation)
    return implicit_bases(equation, discretisation)[0]


def implicit_bases(equation: Equation, discretisation: FiniteDifference | Chebyshev) -> tuple[Any, str]:
    """Bases in which implicit stages can be solved, by the cheapest way there is, and how they are.

    Raises `ValueError` where there is none.
    """
    try:
        return bases_of(discretisation, equation), "diagonal in a basis per axis: {} solves its implicit stages exactly"
    except (ValueError, TypeError):
        pass
    try:
        return bases_of(discretisation, equation, lines=True), (
            "a matrix along one axis: {} solves its implicit stages exactly, by factors made once per step size"
        )
    except (ValueError, TypeError):
        pass
    return NearBases.of(discretisation, equation), (
        "neither diagonal in a basis per axis nor a matrix along one: {} solves its implicit stages by a Krylov "
        "method, preconditioned by its diagonal part"
    )


def space_of(discretisation: Discretisation, bases: Any) -> Space:
    """What a solver steps in, with the `bases` of `bases_for`."""
    if bases is None or isinstance(discretisation, Spectral):
        return discretisation
    assert not isinstance(discretisation, FiniteVolume)
    if isinstance(bases, NearBases):
        return PointValues(Eigenmodes(discretisation, bases.bases))
    return Eigenmodes(discretisation, bases)


def encoded(space: Space, equation: Equation, t: Any, u: Array) -> Array:
    """A state at time t in the representation that is stepped. Walls that state values get them."""
    if isinstance(space, Eigenmodes | PointValues):
        return space.encode(u) - _lift(equation, space).at(t)
    return space.encode(space.hold(equation, t, u))


def decoded(space: Space, equation: Equation, t: Any, y: Array) -> Array:
    """The state at time t, from the representation that is stepped."""
    if isinstance(space, Eigenmodes | PointValues):
        return space.reading.hold(equation, t, space.decode(y + _lift(equation, space).at(t)))
    return space.hold(equation, t, space.decode(y))


def semilinear_term(equation: Equation, space: Space, start: Any = 0.0, raises: bool = True) -> SemilinearTerm:
    """`dy/dt = L y + N(start + t, y)` for the representation y that is stepped.

    Drivers count time from `start`: far from zero, float32 could not tell the ends of short steps apart. A stage that
    an iteration does not solve is an error, or NaN where `raises` is False.
    """
    if isinstance(space, Spectral):
        symbol, coupled = space.symbol(equation)
        linear: AbstractLinearPart = Coupled(symbol) if coupled else Diagonal(symbol)
        return SemilinearTerm(linear, _Nonlinear(equation, space, start))
    if not isinstance(space, Eigenmodes | PointValues):
        raise ValueError(
            f"Exponential and implicit-explicit solvers step {type(space).__name__} in bases of the linear part "
            "(`bases_for`), and none are given here; without them use an explicit solver such as diffrax.Tsit5()."
        )
    lift = _lift(equation, space)
    linear = lift.part
    if isinstance(space, PointValues):
        linear = Krylov(equation, space, lift.part, jnp.ones((), space.grid.dtype), raises)
    return SemilinearTerm(linear, _LiftedNonlinear(lift, start))


def _lift(equation: Equation, space: Eigenmodes | PointValues) -> Lift:
    if isinstance(space, PointValues):
        return Lift(equation, space, Diagonal(space.modes.symbol(space.frozen(equation))))
    symbol, lines = space.symbol(equation), space.lines(equation)
    if not any(lines):
        return Lift(equation, space, Diagonal(symbol))
    parts = [line and Line.of(*line, symbol[0].size // line[1].shape[0]) for line in lines]
    return Lift(equation, space, Banded(symbol, tuple(parts)))


def terms_for(
    solver: diffrax.AbstractSolver, equation: Equation, space: Space, start: Any = 0.0, raises: bool = True
) -> Any:
    """The terms that `solver` takes: semilinear where the linear part is apart, otherwise the whole right-hand side."""
    if isinstance(space, Spectral | Eigenmodes | PointValues) or isinstance(solver, AbstractSemilinearSolver):
        return semilinear_term(equation, space, start, raises)
    return diffrax.ODETerm(_Tendency(equation, space, start))


def default_solver(equation: Equation, discretisation: Discretisation) -> tuple[diffrax.AbstractSolver, str]:
    """The solver that suits an equation on a discretisation, and why."""
    name, grid = type(equation).__name__, discretisation.grid
    where = "on stretched points" if all(grid.periodic) else "between these walls"
    if isinstance(discretisation, FiniteDifference) and not is_whole(discretisation):
        return diffrax.Tsit5(), (
            f"{name} over many devices is explicit: Tsit5, fifth order, which needs the neighbours of a point alone. "
            "Its step is limited by the grid: about h / |velocity| for transport and h^2 / (2 ndim diffusivity) for "
            "diffusion."
        )
    if isinstance(discretisation, Chebyshev | FiniteDifference) and not all(grid.periodic + grid.is_uniform):
        limit = (
            "about 18 extent / (ndim N^2 |velocity|) for transport and 18 extent^2 / (ndim N^4 diffusivity) for "
            "diffusion"
            if isinstance(discretisation, Chebyshev)
            else "about h / |velocity| for transport and h^2 / (2 ndim diffusivity) for diffusion"
        )
        try:
            _, how = implicit_bases(equation, discretisation)
            why = "" if _is_stiff(equation, discretisation) else "its linear part has no diffusion that limits steps."
        except ValueError as refusal:
            how, why = "", str(refusal)
        if not why:
            return KenCarp4(), (
                f"{name} {where} has a linear part that is {how.format('KenCarp4')}, however stiff it is, "
                f"and the rest explicitly with fourth order, with step control. (Explicit steps would be limited to "
                f"{limit}.)"
            )
        return diffrax.Tsit5(), (
            f"{name} {where} is explicit: Tsit5, fifth order; its step is limited by the grid, {limit}. "
            f"Not implicit, because {why}"
        )
    if isinstance(discretisation, FiniteVolume):
        return SSPRK3(), (
            f"{name} on finite volumes is explicit: SSPRK3, third order, every stage a mean of forward Euler steps, so "
            "that what these do not increase does not grow. Its step is limited by the waves: CFL numbers up to one, "
            "by default a half (CourantLimited(0.5))."
        )
    if isinstance(discretisation, FiniteDifference):
        return diffrax.Tsit5(), (
            f"{name} on finite differences is explicit: Tsit5, fifth order. Its step is limited by the grid: "
            "about h / |velocity| for transport and h^2 / (2 ndim diffusivity) for diffusion."
        )
    assert isinstance(discretisation, Spectral)
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


def _is_stiff(equation: Equation, discretisation: FiniteDifference | Chebyshev) -> bool:
    """Whether the linear part holds derivatives beyond the first, along one axis at least."""
    terms = frozen_linear(equation, discretisation.grid)
    return any(key is not None and key[1] > 1 for of_component in terms for key in of_component)


class _Nonlinear(eqx.Module):
    equation: Equation
    space: Spectral
    start: Any

    def __call__(self, t: Any, y: Array) -> Array:
        return self.space.nonlinear(self.equation, self.start + t, y)


class _LiftedNonlinear(eqx.Module):
    """`nonlinear` at the state `y + g(t)`, and what the lift g leaves of the data."""

    lift: Lift
    start: Any

    def __call__(self, t: Any, y: Array) -> Array:
        t = self.start + t
        lift, rest = self.lift.with_rest(t)
        return self.lift.space.nonlinear(self.lift.equation, t, y + lift) + rest


class _Tendency(eqx.Module):
    equation: Equation
    discretisation: FiniteDifference | Chebyshev | FiniteVolume
    start: Any

    def __call__(self, t: Any, y: Array, args: Any) -> Array:
        return self.discretisation.tendency(self.equation, self.start + t, y)
