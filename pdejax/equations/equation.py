"""What an equation is: the physics, stated once, in the words of `pdejax.fields`."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.fields import AbstractField, Poisson
from pdejax.grid import Grid


class Equation(eqx.Module):
    r"""A partial differential equation `u_t = linear(u) + nonlinear(t, u)`.

    A subclass states its coefficients as array leaves (`pdejax.equations.coefficient` makes one and checks it), names
    its components, and says the two parts in terms of fields. Everything else, the Fourier symbol, the stencils, the
    physics-informed residual, is read from them. For example

        class Burgers(Equation):                                      # u_t + (u . grad) u = nu Lap u
            viscosity: Array
            degree: ClassVar[int] = 2
            def components(self, ndim): return ("u", "v", "w")[:ndim]
            def linear(self, u):        return self.viscosity * u.laplacian()
            def nonlinear(self, t, u):  return -u.advect(u)

    - `linear`: autonomous, constant coefficients, the stiff part: solvers treat it exactly or implicitly. (Between
      walls and with implicit-explicit solvers coefficients may depend on x.)
    - `nonlinear`: the rest; explicit. Forcing and variable coefficients come from `u.coordinates` and `t`.
    - `auxiliary`: further fields that the state determines, by name, each with its defining constraint.
    - `check_grid`: refuses grids on which the equation makes no sense.
    - `degree`: the degree of `nonlinear` as a polynomial in u (dealiasing follows it), or None if it is none.

    One of the two parts may be left out, and is zero then. A subclass that states neither raises `TypeError` when it is
    solved or read, and one with a method whose name is that of a part in another spelling (`non_linear`) at once: it
    would be an equation that lacks that part.
    """

    degree: ClassVar[int | None] = None

    @abc.abstractmethod
    def components(self, ndim: int) -> tuple[str, ...]:
        """The names of the state's channels on a domain of `ndim` dimensions."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in vars(cls):
            meant = name.replace("_", "").lower()
            if meant in ("linear", "nonlinear") and not name.startswith("_") and name != meant:
                raise TypeError(f"{cls.__name__} has a method `{name}`, which nobody calls: name it `{meant}`.")

    def linear(self, u: AbstractField) -> AbstractField:
        self._require_a_part()
        return u * 0.0

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        self._require_a_part()
        return u * 0.0

    def _require_a_part(self) -> None:
        kind = type(self)
        if kind.linear is Equation.linear and kind.nonlinear is Equation.nonlinear:
            raise TypeError(
                f"{kind.__name__} defines neither `linear(self, u)` nor `nonlinear(self, t, u)`: it would say u_t = 0. "
                "State what the equation says in one of the two, or in both."
            )

    def auxiliary(self, u: AbstractField) -> Mapping[str, Poisson]:
        return {}

    def check_grid(self, grid: Grid) -> None:
        """Raises `ValueError` where this equation makes no sense on `grid`, before anything is solved on it.

        For forces that must fit the box and be resolved. Traced coefficients and boxes pass unchecked.
        """

    def coefficients(self) -> dict[str, Any]:
        """The coefficients by name, as plain numbers and lists; for provenance and messages."""
        leaves = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: np.asarray(leaf).tolist() for name, leaf in leaves.items() if eqx.is_array(leaf)}


def coefficient(
    name: str, value: Any, *, positive: bool = False, nonnegative: bool = False, vector: bool = False
) -> Float[Array, "..."]:
    """`value` as an array leaf; a scalar, or a vector where `vector` is set (then a scalar stays a scalar).

    Raises `ValueError` when it is not finite, has the wrong rank, or the wrong sign. Traced values pass unchecked.
    """
    # One explicit dtype: a weakly typed leaf, as Python numbers give, or a float32 one would compile another program.
    try:
        array = jnp.asarray(value, jnp.result_type(float))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a {'number or vector' if vector else 'number'}, got {value!r}.") from None
    if array.ndim > (1 if vector else 0):
        raise ValueError(f"{name} must be a {'number or vector' if vector else 'number'}, got shape {array.shape}.")
    if not isinstance(array, Tracer):
        given = np.asarray(array)
        if not np.all(np.isfinite(given)):
            raise ValueError(f"{name} must be finite, got {value}.")
        if positive and not np.all(given > 0):
            raise ValueError(f"{name} must be > 0, got {value}.")
        if nonnegative and not np.all(given >= 0):
            raise ValueError(f"{name} must be >= 0, got {value}: with the other sign the equation is ill-posed.")
    return array


def vector_components(ndim: int) -> tuple[str, ...]:
    """The names of the components of a velocity-like state: `u`, `v`, `w`."""
    return ("u", "v", "w")[:ndim]


def require_ndim(equation: Equation, ndim: int, allowed: int) -> None:
    """Raises `ValueError` when an equation of `allowed` dimensions is read on a domain of `ndim`."""
    if ndim != allowed:
        raise ValueError(f"{type(equation).__name__} is an equation in {allowed} dimension(s), the domain has {ndim}.")
