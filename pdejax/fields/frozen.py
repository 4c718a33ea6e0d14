"""The part of a linear part that is diagonal in a basis per axis, coefficients replaced by their means.

    linear(u)_i  ~  c_i u_i + sum over axes a and orders q of c_(i,a,q) d^q u_i / dx_a^q

Dropped are couplings of components, derivatives along several axes at once and, between walls, all but the highest even
order along an axis. It is no approximation to compute with, but one to precondition with: what is dropped is bounded,
or of lower order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.fields.field import AbstractField, EquationLike, as_state
from pdejax.fields.separable import Terms
from pdejax.grid import Grid


class Frozen(eqx.Module):
    """`equation` with the part above as its `linear`: an equation as far as readings are concerned."""

    equation: Any
    grid: Grid

    def components(self, ndim: int) -> tuple[str, ...]:
        return self.equation.components(ndim)

    def auxiliary(self, u: Any) -> Mapping[str, Any]:
        return self.equation.auxiliary(u)

    def nonlinear(self, t: Any, u: Any) -> Any:
        return self.equation.nonlinear(t, u)

    def linear(self, u: Any) -> Any:
        first, *rest = [
            _sum(u[i], of_component) for i, of_component in enumerate(frozen_linear(self.equation, self.grid))
        ]
        return first.stack(*rest)


def _sum(u: Any, terms: Terms) -> Any:
    total = u * terms.get(None, 0.0)
    for key, coefficient in terms.items():
        if key is not None:
            total = total + u.derivative(*key) * coefficient
    return total


def frozen_linear(equation: EquationLike, grid: Grid) -> tuple[Terms, ...]:
    """The terms of each component. Raises `ValueError` where `linear` is not linear, or solves a Poisson equation."""
    names = equation.components(grid.ndim)
    kind = type(equation).__name__
    nothing = jnp.zeros((len(names), *grid.shape), grid.dtype)
    state = FrozenField(nothing, [{(j, None): 1.0} for j in range(len(names))], grid, kind)
    result = equation.linear(as_state(state, equation))
    if not isinstance(result, FrozenField) or result.num_components != len(names):
        raise ValueError(f"`linear` of {kind} must return a field of {len(names)} component(s), like u.")
    return tuple(_kept(i, terms, grid) for i, terms in enumerate(result.terms))


def _kept(component: int, terms: dict[Any, Any], grid: Grid) -> Terms:
    own: Terms = {key: value for (j, key), value in terms.items() if j == component}
    highest = {
        axis: max([order for a, order in filter(None, own) if a == axis and order % 2 == 0], default=0)
        for axis in range(grid.ndim)
    }
    return {
        key: value for key, value in own.items() if key is None or grid.periodic[key[0]] or key[1] == highest[key[0]]
    }


class FrozenField(AbstractField):
    """For each component, known values (of coefficients that depend on x) plus mean coefficients of (component of the
    state, derivative)."""

    def __init__(self, known: Array, terms: Sequence[dict[Any, Any]], grid: Grid, kind: str):
        self.known, self.terms, self.grid, self.kind = known, list(terms), grid, kind
        self.ndim, self.num_components = grid.ndim, len(self.terms)

    def _derivative(self, axis: int, order: int) -> "FrozenField":
        return self._new(jnp.zeros_like(self.known), [_differentiated(terms, axis, order) for terms in self.terms])

    def laplacian(self) -> "FrozenField":
        total = self._derivative(0, 2)
        for axis in range(1, self.ndim):
            total = total._plus(self._derivative(axis, 2))
        return total

    def map(self, function: Callable[[Any], Any]) -> "FrozenField":
        if any(self.terms):
            raise self._refusal()
        return self._given(jnp.asarray(function(self.known), self.known.dtype))

    @property
    def coordinates(self) -> "FrozenField":
        return self._given(self.grid.coordinates())

    def constant(self, value: Any) -> "FrozenField":
        return self._given(jnp.full((1, *self.grid.shape), value, self.grid.dtype))

    def solve_poisson(self) -> "FrozenField":
        raise self._refusal()

    def _scaled(self, factor: Any) -> "FrozenField":
        # As in `separable`: the literal zero of an equation without a linear part is no term.
        is_nothing = isinstance(factor, int | float) and factor == 0
        terms = [{} if is_nothing else {key: value * factor for key, value in of.items()} for of in self.terms]
        return self._new(self.known * jnp.asarray(factor, self.known.dtype), terms)

    def _plus(self, other: "FrozenField") -> "FrozenField":
        terms = [
            {key: a.get(key, 0.0) + b.get(key, 0.0) for key in [*a, *(key for key in b if key not in a)]}
            for a, b in self._paired(other)
        ]
        return self._new(self.known + other.known, terms)

    def _times(self, other: "FrozenField") -> "FrozenField":
        if any(other.terms):
            if any(self.terms):
                raise self._refusal()
            return other._times(self)
        means = self._means(other.known)
        return self._new(self.known * other.known, self._multiplied(means))

    def _over(self, other: "FrozenField") -> "FrozenField":
        if any(other.terms):
            raise self._refusal()
        return self._new(self.known / other.known, self._multiplied(self._means(1 / other.known)))

    def _multiplied(self, means: Array) -> list[dict[Any, Any]]:
        count = max(self.num_components, means.shape[0])
        terms, means = self.terms * (count // self.num_components), jnp.broadcast_to(means, (count,))
        return [{key: value * means[i] for key, value in of.items()} for i, of in enumerate(terms)]

    def _means(self, values: Array) -> Array:
        return jnp.mean(values, axis=tuple(range(1, values.ndim)))

    def _paired(self, other: "FrozenField") -> Any:
        count = max(self.num_components, other.num_components)
        mine, theirs = (field.terms * (count // field.num_components) for field in (self, other))
        return zip(mine, theirs, strict=True)

    def _component(self, index: int) -> "FrozenField":
        return self._new(self.known[index : index + 1], self.terms[index : index + 1])

    def _stacked(self, others: Sequence["FrozenField"]) -> "FrozenField":
        known = jnp.concatenate([self.known, *(other.known for other in others)])
        return self._new(known, [*self.terms, *(terms for other in others for terms in other.terms)])

    def _given(self, values: Array) -> "FrozenField":
        return self._new(values, [{} for _ in values])

    def _new(self, known: Array, terms: Sequence[dict[Any, Any]]) -> "FrozenField":
        return FrozenField(known, terms, self.grid, self.kind)

    def _refusal(self) -> ValueError:
        return ValueError(
            f"`linear` of {self.kind} is no combination of u and its derivatives with coefficients that are known: "
            "what is no linear function of u belongs in `nonlinear`."
        )


def _differentiated(terms: dict[Any, Any], axis: int, order: int) -> dict[Any, Any]:
    """Along one axis; coefficients are means, so they have no derivatives."""
    found: dict[Any, Any] = {}
    for (j, key), value in terms.items():
        if key is None or key[0] == axis:
            found[j, (axis, order + (0 if key is None else key[1]))] = value
    return found
