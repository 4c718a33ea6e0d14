"""Reading an equation at a point, by automatic differentiation: the residual of a network, or of an exact solution."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.fields.field import AbstractField, EquationLike

Function = Callable[[Any, Any], Any]


class Terms(eqx.Module):
    """The parts of an equation at one point, each of shape `(component,)`; `residual = time_derivative - rhs`."""

    time_derivative: Float[Array, " component"]
    linear: Float[Array, " component"]
    nonlinear: Float[Array, " component"]
    constraints: Float[Array, " auxiliary"]

    @property
    def residual(self) -> Float[Array, " all"]:
        """`u_t - linear - nonlinear` for each component, then each auxiliary field's constraint."""
        return jnp.concatenate([self.time_derivative - self.linear - self.nonlinear, self.constraints])


class Pointwise(eqx.Module):
    """Reads an equation for a function `u(t, x)` of one time and one position, `x` of shape `(ndim,)`.

    The function returns the components in the equation's order, then its auxiliary fields in theirs. All derivatives
    are exact (forward mode, nested). vmap over points.
    """

    def terms(self, equation: EquationLike, function: Function, t: Any, x: Float[Array, " ndim"]) -> Terms:
        """The equation's parts at `(t, x)`."""
        ndim = x.shape[0]
        names = equation.components(ndim)
        everything = PointwiseField(function, ndim, self._num_outputs(function, t, x))
        state = everything._slice(0, len(names))
        state._names = names
        state._auxiliary = lambda: equation.auxiliary(state)
        constraints = dict(equation.auxiliary(state))
        if everything.num_components != len(names) + len(constraints):
            raise ValueError(
                f"{type(equation).__name__} needs a function with outputs {[*names, *constraints]}, "
                f"this one has {everything.num_components}."
            )
        outputs = {name: everything._slice(len(names) + i, 1) for i, name in enumerate(constraints)}
        state._cache.update(outputs)
        gaps: list[Any] = [outputs[name].laplacian() - constraint.source for name, constraint in constraints.items()]
        _, time_derivative = jax.jvp(lambda s: state.function(s, x), (t,), (jnp.ones_like(t),))
        return Terms(
            time_derivative=time_derivative,
            linear=equation.linear(state).function(t, x),
            nonlinear=equation.nonlinear(t, state).function(t, x),
            constraints=jnp.concatenate([gap.function(t, x) for gap in gaps]) if gaps else jnp.zeros(0, x.dtype),
        )

    def residual(self, equation: EquationLike, function: Function, t: Any, x: Float[Array, " ndim"]) -> Array:
        """`u_t - linear - nonlinear` at `(t, x)`, and the gap in each auxiliary field's constraint."""
        return self.terms(equation, function, t, x).residual

    def _num_outputs(self, function: Function, t: Any, x: Array) -> int:
        shape = jax.eval_shape(function, t, x).shape
        if len(shape) != 1:
            raise ValueError(f"The function must return shape (component,), at one point; it returns {shape}.")
        return shape[0]


class PointwiseField(AbstractField):
    """A function of `(t, x)` that returns `(component,)`."""

    def __init__(self, function: Function, ndim: int, num_components: int):
        self.function, self.ndim, self.num_components = function, ndim, num_components

    def _derivative(self, axis: int, order: int) -> "PointwiseField":
        function = self.function
        for _ in range(order):
            function = _partial_derivative(function, axis)
        return self._new(function)

    def laplacian(self) -> "PointwiseField":
        total = self.derivative(0, 2)
        for axis in range(1, self.ndim):
            total = total + self.derivative(axis, 2)
        return total

    def map(self, function: Callable[[Any], Any]) -> "PointwiseField":
        count = jax.eval_shape(function, jax.ShapeDtypeStruct((self.num_components,), jnp.result_type(float))).shape[0]
        return PointwiseField(lambda t, x: function(self.function(t, x)), self.ndim, count)

    @property
    def coordinates(self) -> "PointwiseField":
        return PointwiseField(lambda t, x: x, self.ndim, self.ndim)

    def constant(self, value: Any) -> "PointwiseField":
        return PointwiseField(lambda t, x: jnp.full((1,), value, x.dtype), self.ndim, 1)

    def solve_poisson(self) -> "PointwiseField":
        raise ValueError(
            "An inverse Laplacian is not known at a point: let the function output the auxiliary field as well."
        )

    def _scaled(self, factor: Any) -> "PointwiseField":
        return self._new(lambda t, x: self.function(t, x) * factor)

    def _plus(self, other: "PointwiseField") -> "PointwiseField":
        return self._joined(other, lambda a, b: a + b)

    def _times(self, other: "PointwiseField") -> "PointwiseField":
        return self._joined(other, lambda a, b: a * b)

    def _over(self, other: "PointwiseField") -> "PointwiseField":
        return self._joined(other, lambda a, b: a / b)

    def _joined(self, other: "PointwiseField", operation: Callable[[Any, Any], Any]) -> "PointwiseField":
        count = max(self.num_components, other.num_components)
        combined = lambda t, x: operation(self.function(t, x), other.function(t, x))  # noqa: E731
        return PointwiseField(combined, self.ndim, count)

    def _component(self, index: int) -> "PointwiseField":
        return self._slice(index, 1)

    def _slice(self, start: int, count: int) -> "PointwiseField":
        return PointwiseField(lambda t, x: self.function(t, x)[start : start + count], self.ndim, count)

    def _stacked(self, others: Sequence["PointwiseField"]) -> "PointwiseField":
        fields = (self, *others)
        count = sum(field.num_components for field in fields)
        return PointwiseField(lambda t, x: jnp.concatenate([f.function(t, x) for f in fields]), self.ndim, count)

    def _new(self, function: Function) -> "PointwiseField":
        return PointwiseField(function, self.ndim, self.num_components)


def _partial_derivative(function: Function, axis: int) -> Function:
    def derivative(t: Any, x: Array) -> Array:
        direction = jnp.zeros_like(x).at[axis].set(1)
        return jax.jvp(lambda position: function(t, position), (x,), (direction,))[1]

    return derivative
