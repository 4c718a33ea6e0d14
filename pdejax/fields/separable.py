"""Reading the linear part as a sum over axes: which derivatives along which axis, with which coefficients.

    linear(u)_i  =  c_i u_i + sum over axes a and orders q of c_(i,a,q) d^q u_i / dx_a^q

An operator of this form is diagonal in the products of one basis per axis. Coefficients stay what they are, traced ones
included; what is refused is a property of the program.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pdejax.fields.field import AbstractField, EquationLike, as_state

# Of one component: the coefficient of the component itself (None) and of its derivatives (axis, order).
Terms = dict[tuple[int, int] | None, Any]


def separable_linear(equation: EquationLike, ndim: int, advection: str = "central") -> tuple[Terms, ...]:
    """The terms of each component of `equation.linear`.

    Raises `ValueError` when components are coupled, when a term has derivatives along two axes, when transport is read
    from upstream (which end that is may be traced), and when the linear part does more than combine derivatives.
    """
    names = equation.components(ndim)
    kind = type(equation).__name__
    state = SeparableField([{(j, None): 1.0} for j in range(len(names))], ndim, kind, advection)
    result = equation.linear(as_state(state, equation))
    if not isinstance(result, SeparableField) or result.num_components != len(names):
        raise ValueError(f"`linear` of {kind} must return a field of {len(names)} component(s), like u.")
    for i, terms in enumerate(result.terms):
        if others := sorted({names[j] for j, _ in terms if j != i}):
            raise ValueError(
                f"`linear` of {kind} couples {names[i]!r} to {others[0]!r}; between walls each component must be "
                "linear in itself alone: state the coupling in `nonlinear`, or use an explicit solver."
            )
    return tuple({key: value for (_, key), value in terms.items()} for terms in result.terms)


class SeparableField(AbstractField):
    """For each component, the coefficient of each (component of the state, derivative)."""

    def __init__(self, terms: Sequence[dict[Any, Any]], ndim: int, kind: str, advection: str):
        self.terms, self.ndim, self.kind, self.advection = list(terms), ndim, kind, advection
        self.num_components = len(self.terms)

    def _derivative(self, axis: int, order: int) -> "SeparableField":
        return self._new([self._differentiated(terms, axis, order) for terms in self.terms])

    def _differentiated(self, terms: dict[Any, Any], axis: int, order: int) -> dict[Any, Any]:
        if any(key is not None for _, key in terms):
            raise ValueError(
                f"`linear` of {self.kind} differentiates a derivative. Between walls it may hold multiples of u and of "
                "its derivatives along one axis at a time: state the rest in `nonlinear`, or use an explicit solver."
            )
        return {(j, (axis, order)): value for (j, _), value in terms.items()}

    def _transport_derivative(self, axis: int) -> "SeparableField":
        if self.advection != "central":
            raise ValueError(
                f"`linear` of {self.kind} transports, and this discretisation reads transport with upwind formulae, "
                "which depend on the sign of the velocity: they are not diagonal in one basis. State it in "
                "`nonlinear`, or use an explicit solver."
            )
        return self.derivative(axis)

    def laplacian(self) -> "SeparableField":
        total = self._derivative(0, 2)
        for axis in range(1, self.ndim):
            total = total._plus(self._derivative(axis, 2))
        return total

    def map(self, function: Callable[[Any], Any]) -> "SeparableField":
        raise self._refusal()

    @property
    def coordinates(self) -> "SeparableField":
        raise self._refusal()

    def constant(self, value: Any) -> "SeparableField":
        raise self._refusal()

    def solve_poisson(self) -> "SeparableField":
        raise self._refusal()

    def _scaled(self, factor: Any) -> "SeparableField":
        # The literal zero of an equation without a linear part is no term.
        if isinstance(factor, int | float) and factor == 0:
            return self._new([{} for _ in self.terms])
        return self._new([{key: value * factor for key, value in terms.items()} for terms in self.terms])

    def _plus(self, other: "SeparableField") -> "SeparableField":
        count = max(self.num_components, other.num_components)
        mine, theirs = (field.terms * (count // field.num_components) for field in (self, other))
        return self._new(
            [
                {k: a.get(k, 0.0) + b.get(k, 0.0) for k in [*a, *(k for k in b if k not in a)]}
                for a, b in zip(mine, theirs, strict=True)
            ]
        )

    def _times(self, other: "SeparableField") -> "SeparableField":
        raise self._refusal()

    def _over(self, other: "SeparableField") -> "SeparableField":
        raise self._refusal()

    def _component(self, index: int) -> "SeparableField":
        return self._new(self.terms[index : index + 1])

    def _stacked(self, others: Sequence["SeparableField"]) -> "SeparableField":
        return self._new([*self.terms, *(terms for other in others for terms in other.terms)])

    def _new(self, terms: Sequence[dict[Any, Any]]) -> "SeparableField":
        return SeparableField(terms, self.ndim, self.kind, self.advection)

    def _refusal(self) -> ValueError:
        return ValueError(
            f"`linear` of {self.kind} does more than combine u and its derivatives with numbers: what depends on x, or "
            "is no linear function of u, belongs in `nonlinear`."
        )


def coefficient_of(terms: Terms, key: tuple[int, int] | None, dtype: Any) -> Array:
    return jnp.asarray(terms.get(key, 0.0), dtype)
