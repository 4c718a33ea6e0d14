"""The vocabulary that an equation speaks.

An equation's `linear` and `nonlinear` receive a *field* and answer with one. What a derivative or a product does is up
to the reading: Fourier coefficients (`spectral.py`), neighbouring points (`stencil.py`) or automatic differentiation
at a point (`pointwise.py`). A field is alive only inside these methods: it is no pytree and never crosses `jit`.
"""

import abc
import dataclasses
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

import jax.numpy as jnp


@runtime_checkable
class EquationLike(Protocol):
    """What a reading asks of an equation; `pdejax.equations.Equation` is the base class that users see."""

    def components(self, ndim: int) -> tuple[str, ...]: ...
    def linear(self, u: Any) -> Any: ...
    def nonlinear(self, t: Any, u: Any) -> Any: ...
    def auxiliary(self, u: Any) -> "Mapping[str, Poisson]": ...


@dataclasses.dataclass(frozen=True)
class Poisson:
    """The constraint that defines an auxiliary field `q`: `Laplacian(q) = source`, with zero mean on periodic boxes.

    Fourier divides by `-|k|^2`; finite differences invert their own Laplacian, and Chebyshev collocation its, between
    walls with the conditions that `boundary` states for q by its name; a coordinate network outputs `q` and is
    penalised by `Laplacian(q) - source`.
    """

    source: "AbstractField"


class AbstractField(abc.ABC):
    """One or more components over a domain: a scalar has one component, a vector `ndim` of them.

    Arithmetic is componentwise and returns the reading's own kind of field (hence `Any` below). A field of one
    component multiplies one of any number; numbers and scalar arrays (coefficients) combine with every field.
    """

    # NumPy scalars would otherwise try to turn a field into an object array; with this they ask the field instead.
    __array_ufunc__ = None

    ndim: int
    num_components: int
    _names: tuple[str, ...] = ()
    _auxiliary: Callable[[], Mapping[str, Poisson]] | None = None
    _negative: Any = None

    @property
    def dtype(self) -> NoReturn:
        """There is none. Functions of arrays ask for it, and pass on what is said here."""
        raise ValueError(
            "A field is no array, so jnp.sin(u) and its like do not take one: u.map(jnp.sin) applies a function to the "
            "values at every point."
        )

    # What a reading provides.

    @abc.abstractmethod
    def _derivative(self, axis: int, order: int) -> "AbstractField": ...

    @abc.abstractmethod
    def laplacian(self) -> "AbstractField":
        """The sum of the second derivatives, component by component."""

    @abc.abstractmethod
    def map(self, function: Callable[[Any], Any]) -> "AbstractField":
        """`function` of the values, pointwise: `u.map(jnp.sin)`. It must not look at other points."""

    @property
    @abc.abstractmethod
    def coordinates(self) -> "AbstractField":
        """The position, a field of `ndim` components: for forcings and variable coefficients."""

    @abc.abstractmethod
    def constant(self, value: Any) -> "AbstractField":
        """A field of one component with the same value everywhere."""

    @abc.abstractmethod
    def solve_poisson(self) -> "AbstractField":
        """The field `q` with `Laplacian(q) = self`, component by component; zero mean on periodic boxes."""

    @abc.abstractmethod
    def _scaled(self, factor: Any) -> "AbstractField": ...

    @abc.abstractmethod
    def _plus(self, other: "AbstractField") -> "AbstractField": ...

    @abc.abstractmethod
    def _times(self, other: "AbstractField") -> "AbstractField": ...

    @abc.abstractmethod
    def _over(self, other: "AbstractField") -> "AbstractField": ...

    @abc.abstractmethod
    def _component(self, index: int) -> "AbstractField": ...

    @abc.abstractmethod
    def _stacked(self, others: Sequence["AbstractField"]) -> "AbstractField": ...

    # What follows from it.

    def derivative(self, axis: int, order: int = 1) -> Any:
        """The partial derivative of each component along `axis` (0, 1, ...), `order` times."""
        if not isinstance(axis, int) or not 0 <= axis < self.ndim:
            raise ValueError(f"A field in {self.ndim} dimension(s) has the axes 0 to {self.ndim - 1}, got {axis!r}.")
        if not isinstance(order, int) or order < 1:
            raise ValueError(f"The order of a derivative is a whole number >= 1, got {order!r}.")
        return self._derivative(axis, order)

    def __iter__(self) -> Iterator[Any]:
        """The components, one field each: `u, v = state`."""
        return iter([self[index] for index in range(self.num_components)])

    def __len__(self) -> int:
        return self.num_components

    def __getitem__(self, name: str | int) -> Any:
        """A component by name (`u["density"]`) or number, or an auxiliary field by the name the equation gave it."""
        if isinstance(name, int):
            if not -self.num_components <= name < self.num_components:
                raise ValueError(f"Component {name} was asked of a field with {self.num_components} components.")
            return self._cached_component(name % self.num_components)
        if name in self._names:
            return self._cached_component(self._names.index(name))
        constraints = self._auxiliary() if self._auxiliary is not None else {}
        if name in constraints:
            return self._solved(name, constraints[name])
        known = [*self._names, *constraints]
        raise ValueError(f"This equation has no component or auxiliary field {name!r}; it has {known}.")

    def _solved(self, name: str, constraint: Poisson) -> "AbstractField":
        if name not in self._cache:
            self._cache[name] = constraint.source.solve_poisson()
        return self._cache[name]

    def _cached_component(self, index: int) -> "AbstractField":
        # The same object each time, so that a reading transforms a component once and can recognise it.
        if self.num_components == 1:
            return self
        if index not in self._cache:
            self._cache[index] = self._component(index)
        return self._cache[index]

    @property
    def _cache(self) -> dict[Any, Any]:
        return vars(self).setdefault("_cache_storage", {})

    def stack(self, *others: "AbstractField") -> Any:
        """The components of this field and of the others, one after another."""
        return self._stacked(others)

    def gradient(self) -> Any:
        """The vector of first derivatives of a field of one component."""
        self._require(1, "gradient", "take it component by component, e.g. u[0].gradient()")
        first, *rest = [self.derivative(axis) for axis in range(self.ndim)]
        return first.stack(*rest)

    def divergence(self) -> Any:
        """The sum over axes of the derivative of component `a` along axis `a`."""
        self._require(self.ndim, "divergence", "stack a vector of ndim components first")
        return _sum([self[axis].derivative(axis) for axis in range(self.ndim)])

    def curl(self) -> Any:
        """`v_x - u_y` of a plane vector `(u, v)`; the usual vector in three dimensions."""
        self._require(self.ndim, "curl", "stack a vector of ndim components first")
        if self.ndim == 2:
            return self[1].derivative(0) - self[0].derivative(1)
        if self.ndim == 3:
            x, y, z = [
                self[(a + 2) % 3].derivative((a + 1) % 3) - self[(a + 1) % 3].derivative((a + 2) % 3) for a in range(3)
            ]
            return x.stack(y, z)
        raise ValueError(f"The curl needs two or three dimensions, this field has {self.ndim}.")

    def rotated_gradient(self) -> Any:
        """`(psi_y, -psi_x)`: the divergence-free plane velocity of a stream function."""
        if self.ndim != 2:
            raise ValueError(f"A stream function gives a velocity in two dimensions, this field has {self.ndim}.")
        self._require(1, "rotated_gradient", "a stream function is a scalar")
        return self.derivative(1).stack(-self.derivative(0))

    def advect(self, transported: "AbstractField") -> Any:
        """`(self . grad) transported`, component by component; `self` is a velocity of `ndim` components."""
        self._require(self.ndim, "advect", "a velocity has one component per axis")
        return _sum([self[axis] * transported._transport_derivative(axis) for axis in range(self.ndim)])

    def directional_derivative(self, direction: Any) -> Any:
        """`c . grad u` for a constant vector `c` of `ndim` entries."""
        if len(direction) != self.ndim:
            raise ValueError(f"A direction in {self.ndim} dimension(s) has as many entries, got {len(direction)}.")
        return _sum([self._transport_derivative(axis) * direction[axis] for axis in range(self.ndim)])

    def diffusion(self, diffusivity: Any, mean: str = "arithmetic") -> Any:
        """`div(D grad u)`, component by component, with a diffusivity D that varies: made from `u.coordinates` and t,
        or from the state itself.

        - `diffusivity`: a field of one component, or of one per axis, `sum over axes of d_a (D_a d_a u)`; a number
          leaves the divergence, `D Lap u`.
        - `mean`: how finite differences take D between two points. `"arithmetic"` where D follows the state: a front
          moves on even where D vanishes before it. `"harmonic"` for layers: the flux through a jump of D midway between
          points is exact. Readings without points in between need none.
        """
        if mean not in ("arithmetic", "harmonic"):
            raise ValueError(f'The mean of a diffusivity is "arithmetic" or "harmonic", got {mean!r}.')
        if _is_scalar(diffusivity):
            return self.laplacian() * diffusivity
        diffusivity = self._as_field(diffusivity)
        if diffusivity.num_components not in (1, self.ndim):
            raise ValueError(
                f"A diffusivity in {self.ndim} dimension(s) has one component, or one per axis; this one has "
                f"{diffusivity.num_components}."
            )
        return self._diffusion(diffusivity, mean)

    def _diffusion(self, diffusivity: Any, mean: str) -> Any:
        first, *rest = [(diffusivity * component.gradient()).divergence() for component in self]
        return first.stack(*rest) if rest else first

    def _transport_derivative(self, axis: int) -> Any:
        """The derivative as transport along `axis` asks for it: a reading may take it from upstream."""
        return self.derivative(axis)

    def _require(self, num_components: int, operation: str, fix: str) -> None:
        if self.num_components != num_components:
            raise ValueError(
                f"`{operation}` in {self.ndim} dimensions needs a field of {num_components} component(s), "
                f"this one has {self.num_components}: {fix}."
            )

    def _broadcasts(self, other: "AbstractField", operation: str) -> None:
        if self.num_components != other.num_components and 1 not in (self.num_components, other.num_components):
            raise ValueError(
                f"Cannot {operation} fields of {self.num_components} and {other.num_components} components: "
                "pick components by name or number first."
            )

    def __add__(self, other: Any) -> Any:
        other = self._as_field(other)
        self._broadcasts(other, "add")
        return self._plus(other)

    def __mul__(self, other: Any) -> Any:
        if _is_scalar(other):
            return self._scaled(other)
        other = self._as_field(other)
        self._broadcasts(other, "multiply")
        return self._times(other)

    def __truediv__(self, other: Any) -> Any:
        if _is_scalar(other):
            # In the default precision: 1 / int32(3) would be a single one, whatever the grid's is.
            return self._scaled(1 / jnp.asarray(other, jnp.result_type(float)))
        other = self._as_field(other)
        self._broadcasts(other, "divide")
        return self._over(other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._as_field(other) / self

    def __pow__(self, exponent: int) -> Any:
        if not isinstance(exponent, int) or exponent < 1:
            raise ValueError(f"A field is raised to integer powers >= 1, got {exponent!r}; use u.map(...) otherwise.")
        return self if exponent == 1 else self.map(lambda values: values**exponent)

    def __neg__(self) -> Any:
        # -(-u) is u itself, so that a reading recognises it.
        if self._negative is None:
            self._negative = self._scaled(-1)
            self._negative._negative = self
        return self._negative

    def __sub__(self, other: Any) -> Any:
        return self + (-self._as_field(other))

    def __rsub__(self, other: Any) -> Any:
        return self._as_field(other) + (-self)

    __radd__ = __add__
    __rmul__ = __mul__

    def _as_field(self, value: Any) -> Any:
        if isinstance(value, AbstractField):
            if type(value) is not type(self):
                raise TypeError(f"Cannot combine a {type(self).__name__} with a {type(value).__name__}.")
            return value
        if _is_scalar(value):
            return self.constant(value)
        raise TypeError(
            f"A field combines with fields and scalars, got {type(value).__name__} of shape {jnp.shape(value)}. "
            "Use u.coordinates for variable coefficients and u.directional_derivative(c) for a constant vector."
        )


def as_state(field: Any, equation: EquationLike) -> Any:
    """`field` as the state of `equation`: its components and auxiliary fields have names. Raises `ValueError` where
    they do not match."""
    names = equation.components(field.ndim)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{type(equation).__name__}.components must return a tuple of names, got {names!r}.")
    if len(names) != field.num_components:
        raise ValueError(
            f"{type(equation).__name__} has components {tuple(names)} in {field.ndim} dimensions, "
            f"but the state has {field.num_components} channel(s)."
        )
    field._names = tuple(names)
    field._auxiliary = lambda: equation.auxiliary(field)
    return field


def right_hand_side(equation: EquationLike, t: Any, state: Any) -> Any:
    """`linear + nonlinear` of a state. Raises `ValueError` unless it has as many components."""
    total = equation.linear(state) + equation.nonlinear(t, state)
    if total.num_components != state.num_components:
        raise ValueError(f"`linear` and `nonlinear` must return {state.num_components} component(s), like u.")
    return total


def _is_scalar(value: Any) -> bool:
    is_scalar = isinstance(value, numbers.Number) or (
        not isinstance(value, AbstractField) and hasattr(value, "dtype") and jnp.ndim(value) == 0
    )
    if is_scalar and jnp.iscomplexobj(value):
        raise TypeError(f"Fields are real, got the factor {value}: write a complex state as two real components.")
    return is_scalar


def _sum(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
