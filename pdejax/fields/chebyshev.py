"""Reading an equation by Chebyshev collocation between walls, with Fourier series along periodic axes.

A field is its values at the points. Along an axis with walls a derivative is that of the polynomial through all of
them, along a periodic axis that of the Fourier series; products are taken at the points, without dealiasing. A
derivative needs no condition, so a product or a flux is differentiated like the state; what holds at the walls enters
through the wall values (`chebyshev_walls.py`) whenever the state is read.

Source: Canuto, Hussaini, Quarteroni & Zang, Spectral Methods: Fundamentals in Single Domains (2006), chapter 3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.boundary import AntiPeriodic, Sides
from pdejax.fields.chebyshev_poisson import axis_derivative, laplacian, solve_poisson
from pdejax.fields.chebyshev_walls import imposed
from pdejax.fields.field import AbstractField, EquationLike, Poisson, as_state, right_hand_side
from pdejax.grid import Grid, check_is_grid
from pdejax.sides import Walls
from pdejax.sizes import size
from pdejax.stretching import Stretched


class Chebyshev(eqx.Module):
    """Chebyshev collocation on a grid whose axes are periodic or have Chebyshev points.

    - `boundary`: what holds at the walls (`pdejax.boundary`): one condition for all of them, a mapping by side, or by
      component and then by side (`pdejax.sides` has the terse forms). Auxiliary fields are named like components.

    One condition per wall is what an equation of second order in space needs. The interior points follow the equation.
    Wall values with a condition follow from the interior ones and the data: a Dirichlet node has the datum and changes
    as that does, between Neumann or Robin walls both are solved for together. A wall with `Outflow` follows the
    equation. Products are not dealiased: resolve them.

    Explicit steps are limited by the points at the walls, whose distance is about 2.5 extent / N^2: the largest
    eigenvalue of a second derivative is about 0.19 N^4 / extent^2 between Dirichlet and 0.055 between Neumann walls.

    Raises `ValueError` for other points along an axis with walls, fewer than four of them, a grid without walls, walls
    without a condition, and `AntiPeriodic`; when it reads an equation, also for components that have no condition.
    """

    grid: Grid
    walls: Walls

    def __init__(self, grid: Grid, boundary: Any = None):
        check_is_grid(grid, "Chebyshev")
        walled = [axis for axis, wraps in enumerate(grid.periodic) if not wraps]
        if not walled:
            raise ValueError("Chebyshev is for axes with walls and this grid is periodic along all: use Spectral.")
        if other := [axis for axis in walled if grid.points[axis] != "chebyshev"]:
            raise ValueError(
                f"Chebyshev needs Chebyshev points along axes with walls, and axis {other[0]} has "
                f'{grid.points[other[0]]!r}: use Grid(..., points="chebyshev") there, or FiniteDifference.'
            )
        if stretched := [axis for axis, kind in enumerate(grid.points) if isinstance(kind, Stretched)]:
            raise ValueError(
                f"Chebyshev reads periodic axes by Fourier series, and axis {stretched[0]} has stretched points: use "
                "nodes or centres there, or FiniteDifference."
            )
        if few := [axis for axis in walled if grid.shape[axis] < 4]:
            raise ValueError(
                f"Chebyshev needs at least four points between walls, axis {few[0]} has {grid.shape[few[0]]}."
            )
        self.grid = grid
        self.walls = Walls(grid, boundary)
        for sides in self.walls.by_component.values():
            if any(isinstance(side, AntiPeriodic) for side in sides):
                raise ValueError(
                    "Chebyshev reads periodic axes by Fourier series of the extent, which do not change sign: for "
                    "AntiPeriodic axes use FiniteDifference, or double the extent and state nothing."
                )

    def encode(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The point values themselves."""
        return u

    def decode(self, y: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return y

    def norm(self, y: Float[Array, "channel *space"]) -> Float[Array, ""]:
        """Root mean square over the box, by the grid's quadrature, summed over channels."""
        volume = self.grid.volume.astype(y.dtype)
        return size(y, lambda squares: jnp.sum(self.grid.integrate(squares)) / volume)

    def hold(self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The state with the wall values that meet the conditions at time t."""
        return self._imposed(self._sides(equation, t, u)[0], t, u)

    def tendency(
        self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """`du/dt` at the points: linear and nonlinear part together; at walls with a condition, the rate with which
        their values go on meeting it. The wall values of u do not enter."""
        self.grid.check_state(u, len(equation.components(self.grid.ndim)))
        return self.with_held_rates(equation, t, right_hand_side(equation, t, self.field(equation, t, u)).values)

    def with_held_rates(
        self, equation: EquationLike, t: Any, rate: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """A tendency with the rates of the wall values that follow from the interior ones and the data."""
        return self._imposed(self._sides(equation, t, rate)[0], t, rate, rates=True)

    def field(self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]) -> "ChebyshevField":
        """The state at time t as the equation sees it: with the wall values that meet the conditions."""
        sides, auxiliary = self._sides(equation, t, u)
        return as_state(ChebyshevField(self, self._imposed(sides, t, u), t, auxiliary), equation)

    def sides_of(self, equation: EquationLike) -> tuple[Sides, ...]:
        """The conditions of each component."""
        at_rest = jnp.zeros((len(equation.components(self.grid.ndim)), *self.grid.shape), self.grid.dtype)
        return self._sides(equation, 0.0, at_rest)[0]

    def _sides(self, equation: EquationLike, t: Any, u: Array) -> tuple[tuple[Sides, ...], dict[str, Sides]]:
        """The conditions of each component, and of each auxiliary field by name."""
        names = equation.components(self.grid.ndim)
        # Only the names are of interest here; what was computed on the way is not used.
        auxiliary = tuple(equation.auxiliary(as_state(ChebyshevField(self, u, t), equation)))
        sides = self.walls.of((*names, *auxiliary), type(equation).__name__)
        return sides[: len(names)], dict(zip(auxiliary, sides[len(names) :], strict=True))

    def _imposed(self, sides: tuple[Sides, ...], t: Any, u: Array, rates: bool = False) -> Array:
        if all(of_component is sides[0] for of_component in sides):
            return imposed(u, self.grid, sides[0], t, rates)
        parts = [imposed(u[c : c + 1], self.grid, sides[c], t, rates) for c in range(len(sides))]
        return jnp.concatenate(parts)


class ChebyshevField(AbstractField):
    """A field of point values; `auxiliary` holds the conditions of the auxiliary fields of a state."""

    def __init__(self, reading: Chebyshev, values: Any, t: Any, auxiliary: Mapping[str, Sides] | None = None):
        self.reading, self.t = reading, t
        self.ndim = reading.grid.ndim
        self.values = values
        self.num_components = values.shape[0]
        self.auxiliary = {} if auxiliary is None else auxiliary

    def _derivative(self, axis: int, order: int) -> "ChebyshevField":
        return self._new(axis_derivative(self.values, self.reading.grid, axis, order))

    @property
    def rate(self) -> Any:
        """The values as a tendency."""
        return self.values

    def laplacian(self) -> "ChebyshevField":
        return self._new(laplacian(self.values, self.reading.grid))

    def map(self, function: Callable[[Any], Any]) -> "ChebyshevField":
        # Coefficients inside `function` may be of another precision; the state's decides.
        return self._new(jnp.asarray(function(self.values), self.values.dtype))

    @property
    def coordinates(self) -> "ChebyshevField":
        return self._new(self.reading.grid.coordinates())

    def constant(self, value: Any) -> "ChebyshevField":
        return self._new(jnp.full((1, *self.reading.grid.shape), value, self.values.dtype))

    def solve_poisson(self) -> "ChebyshevField":
        """For conditions that are the same for every field: which of several are meant is not known here."""
        if set(self.reading.walls.by_component) != {"*"}:
            raise ValueError(
                "Which conditions the solution of this Poisson equation meets is not known: `boundary` states them by "
                "component. Make it an auxiliary field of the equation, and name it in `boundary`."
            )
        return self._solution(self.reading.walls.by_component["*"])

    def _solved(self, name: str, constraint: Poisson) -> "ChebyshevField":
        if name not in self._cache:
            source: Any = constraint.source
            self._cache[name] = source._solution(self.auxiliary[name])
        return self._cache[name]

    def _solution(self, sides: Sides) -> "ChebyshevField":
        return self._new(solve_poisson(self.values, self.reading.grid, sides, self.t))

    def _scaled(self, factor: Any) -> "ChebyshevField":
        return self._new(self.values * jnp.asarray(factor, self.values.dtype))

    def _plus(self, other: "ChebyshevField") -> "ChebyshevField":
        return self._new(self.values + other.values)

    def _times(self, other: "ChebyshevField") -> "ChebyshevField":
        return self._new(self.values * other.values)

    def _over(self, other: "ChebyshevField") -> "ChebyshevField":
        return self._new(self.values / other.values)

    def _component(self, index: int) -> "ChebyshevField":
        return self._new(self.values[index : index + 1])

    def _stacked(self, others: Sequence["ChebyshevField"]) -> "ChebyshevField":
        return self._new(jnp.concatenate([self.values, *(other.values for other in others)]))

    def _new(self, values: Any) -> "ChebyshevField":
        return ChebyshevField(self.reading, values, self.t)
