"""A field as Fourier coefficients, point values, or both."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from pdejax.fields.field import AbstractField
from pdejax.fields.fourier_space import FourierSpace


class SpectralField(AbstractField):
    """A field that holds Fourier coefficients, point values, or both, and transforms when first asked.

    `is_given`: the values do not depend on the state. They are not truncated: they are no product of resolved modes.
    """

    def __init__(self, space: FourierSpace, *, coefficients: Any = None, values: Any = None, is_given: bool = False):
        self.space = space
        self.ndim = space.grid.ndim
        self._coefficients, self._values, self._is_given = coefficients, values, is_given
        self.num_components = (coefficients if coefficients is not None else values).shape[0]
        # Provenance, by which `advect` recognises a cheaper form: the Laplacian of this field, the curl of this field.
        self._laplacian: SpectralField | None = None
        self._curl: SpectralField | None = None

    def coefficients(self) -> Any:
        if self._coefficients is None:
            self._coefficients = self.space.to_coefficients(self._values, self._is_given)
        return self._coefficients

    def values(self) -> Any:
        if self._values is None:
            self._values = self.space.to_values(self._coefficients, self._is_given)
        return self._values

    def _derivative(self, axis: int, order: int) -> "SpectralField":
        # i^order by cases: an even order keeps a real symbol real.
        factor = self.space.wavenumber(axis, order) * (1, 1j, -1, -1j)[order % 4]
        return self._from_coefficients(self.coefficients() * factor, self._is_given)

    def laplacian(self) -> "SpectralField":
        return self._from_coefficients(self.coefficients() * -self.space.squared_wavenumber(), self._is_given)

    def map(self, function: Callable[[Any], Any]) -> "SpectralField":
        # Coefficients inside `function` may be of another precision; the grid's decides.
        return self._from_values(jnp.asarray(function(self.values()), self.space.grid.dtype), self._is_given)

    @property
    def coordinates(self) -> "SpectralField":
        return self._from_values(self.space.grid.coordinates(), is_given=True)

    def constant(self, value: Any) -> "SpectralField":
        return self._from_values(jnp.full((1, *self.space.grid.shape), value, self.space.grid.dtype), is_given=True)

    def solve_poisson(self) -> "SpectralField":
        squared = self.space.squared_wavenumber()
        inverse = jnp.where(squared == 0, 0, -1 / jnp.where(squared == 0, 1, squared))
        solution = self._from_coefficients(self.coefficients() * inverse, self._is_given)
        solution._laplacian = self
        return solution

    def rotated_gradient(self) -> "SpectralField":
        velocity = super().rotated_gradient()
        if self._laplacian is not None:
            velocity._curl = -self._laplacian
        return velocity

    def advect(self, transported: "SpectralField") -> "SpectralField":
        self._require(self.ndim, "advect", "a velocity has one component per axis")
        if self.space.cheap_forms and self.ndim == 1 and transported is self:
            return (self * self).derivative(0) * 0.5
        if self.space.cheap_forms and transported is self._curl:
            return self._advect_own_curl()
        # One batched transform for the velocity, one per direction for the derivatives, one for the sum of products.
        velocity = self.values()
        total = velocity[0] * transported.derivative(0).values()
        for axis in range(1, self.ndim):
            total = total + velocity[axis] * transported.derivative(axis).values()
        return self._from_values(total)

    def _advect_own_curl(self) -> "SpectralField":
        """`u . grad(curl u) = (d_xx - d_yy)(u v) + d_xy (v^2 - u^2)` for a divergence-free plane velocity."""
        u, v = self.values()
        products = self._from_values(jnp.stack([u * v, v * v - u * u])).coefficients()
        k_x, k_y = self.space.wavenumber(0), self.space.wavenumber(1)
        return self._from_coefficients(((k_y**2 - k_x**2) * products[0] - k_x * k_y * products[1])[None])

    def _scaled(self, factor: Any) -> "SpectralField":
        factor = jnp.asarray(factor, self.space.grid.dtype)
        if self._coefficients is not None:
            return self._from_coefficients(self._coefficients * factor, self._is_given)
        return self._from_values(self._values * factor, self._is_given)

    def _plus(self, other: "SpectralField") -> "SpectralField":
        # Two products are added as values and transformed once. Cached values of a field with coefficients do not
        # count: they are truncated, and the sum would depend on whether somebody had asked for them before.
        only_values = self._coefficients is None and other._coefficients is None
        if only_values and self._is_given == other._is_given:
            return self._from_values(self._values + other._values, self._is_given)
        return self._from_coefficients(self.coefficients() + other.coefficients(), self._is_given and other._is_given)

    def _times(self, other: "SpectralField") -> "SpectralField":
        return self._from_values(self.values() * other.values(), self._is_given and other._is_given)

    def _over(self, other: "SpectralField") -> "SpectralField":
        return self._from_values(self.values() / other.values(), self._is_given and other._is_given)

    def _component(self, index: int) -> "SpectralField":
        part = slice(index, index + 1)
        if self._values is None:
            return self._from_coefficients(self.coefficients()[part], self._is_given)
        if self._coefficients is None:
            return self._from_values(self._values[part], self._is_given)
        coefficients, values = self._coefficients[part], self._values[part]
        return type(self)(self.space, coefficients=coefficients, values=values, is_given=self._is_given)

    def _stacked(self, others: Sequence["SpectralField"]) -> "SpectralField":
        fields = (self, *others)
        if all(field._coefficients is None and field._is_given == self._is_given for field in fields):
            return self._from_values(jnp.concatenate([field.values() for field in fields]), self._is_given)
        coefficients = jnp.concatenate([field.coefficients() for field in fields])
        return self._from_coefficients(coefficients, all(field._is_given for field in fields))

    def _from_coefficients(self, coefficients: Any, is_given: bool = False) -> "SpectralField":
        return type(self)(self.space, coefficients=coefficients, is_given=is_given)

    def _from_values(self, values: Any, is_given: bool = False) -> "SpectralField":
        return type(self)(self.space, values=values, is_given=is_given)


class SymbolField(SpectralField):
    """A unit state with which the linear part is asked for its multiplier: it has no values."""

    def values(self) -> Any:
        raise ValueError(NOT_A_MULTIPLIER)

    def _from_values(self, values: Any, is_given: bool = False) -> "SpectralField":
        raise ValueError(NOT_A_MULTIPLIER)


NOT_A_MULTIPLIER = (
    "An equation's `linear` must be a combination of derivatives with constant coefficients (it becomes a multiplier "
    "per Fourier mode). Products of fields, sources and coefficients that depend on x belong in `nonlinear`."
)


def checked(result: Any, state: SpectralField, method: str) -> SpectralField:
    if not isinstance(result, SpectralField) or result.num_components != state.num_components:
        got = f"{result.num_components} component(s)" if isinstance(result, SpectralField) else type(result).__name__
        raise ValueError(
            f"`{method}` must return a field of {state.num_components} component(s), like its argument u; got {got}."
        )
    return result
