"""Reading an equation in Fourier space, on periodic grids.

    u(x) = sum over k of u_hat(k) exp(i k . (x - origin)),   d/dx_a -> i k_a,   Laplacian -> -|k|^2

A field keeps its coefficients, its values, or both, and transforms at most once. Linear operations stay among the
coefficients and products among the values, so a right-hand side compiles to the transforms that hand-written code
would use, no more.

Dealiasing: the parts of the state that enter a product are truncated to `|k_a| < fraction * N_a / 2`, and so is the
product. With `fraction = 2 / (degree + 1)` (2/3 for quadratic, 1/2 for cubic terms) no product of resolved modes folds
back. What does not depend on the state (a force, a coefficient that depends on x) is sampled at the points and kept.

Source: Canuto, Hussaini, Quarteroni & Zang, Spectral Methods: Fundamentals in Single Domains (2006), section 3.4.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact

from pdejax.fields.field import AbstractField, EquationLike, as_state
from pdejax.fields.growth import without_growth
from pdejax.fields.reach import reach_of_linear
from pdejax.grid import Grid, check_is_grid, check_uniform
from pdejax.sizes import size

Dealiasing = float | Literal["auto"] | None | Bool[Array, "..."] | np.ndarray


class Spectral(eqx.Module):
    """The Fourier pseudo-spectral discretisation of a periodic grid, of any shape and aspect ratio.

    - `dealiasing`: `"auto"` (2 / (degree + 1), from the equation's polynomial degree; 2/3 where it states none), the
      fraction of modes per axis that take part in products, `None` for all of them, or a boolean mask over the
      coefficients, shape `(*grid.shape[:-1], grid.shape[-1] // 2 + 1)` in the order of `jnp.fft.rfftn`.
    - `cheap_forms`: use algebraically equal forms with fewer transforms where the reading sees one: `(u . grad) u` in
      one dimension as `(u^2 / 2)_x`, and the advection of the vorticity of a plane stream function by 2 + 2 transforms
      in place of 4 + 1 (Basdevant, J. Comput. Phys. 50 (1983) 209). Equal on resolved fields.

    Raises `ValueError` on a grid that is not periodic or has stretched points, a fraction outside (0, 1], or a mask of
    the wrong shape, and `TypeError` for a class in place of a grid.
    """

    grid: Grid
    dealiasing: float | Literal["auto"] | None = eqx.field(static=True)
    mask: Bool[Array, "*modes"] | None
    cheap_forms: bool = eqx.field(static=True)

    def __init__(self, grid: Grid, dealiasing: Dealiasing = "auto", cheap_forms: bool = True):
        check_is_grid(grid, "Spectral")
        if not all(grid.periodic):
            walls = [axis for axis, wraps in enumerate(grid.periodic) if not wraps]
            raise ValueError(
                f"Spectral needs a periodic grid, but axes {walls} are not periodic: use Grid(..., periodic=True), "
                "Chebyshev or FiniteDifference."
            )
        check_uniform(
            grid, "Spectral", "of which it takes Fourier transforms", "use nodes or centres, or FiniteDifference"
        )
        self.grid = grid
        self.cheap_forms = cheap_forms
        self.mask = None
        self.dealiasing = None
        if isinstance(dealiasing, bool):
            raise ValueError(f'dealiasing is "auto", None (off), a fraction or a mask, and not {dealiasing}.')
        if dealiasing is None or isinstance(dealiasing, str):
            if dealiasing not in (None, "auto"):
                raise ValueError(f'dealiasing must be "auto", None, a fraction or a mask, got {dealiasing!r}.')
            self.dealiasing = dealiasing
        elif jnp.ndim(dealiasing) == 0:
            if not 0 < float(dealiasing) <= 1:
                raise ValueError(f"The dealiasing fraction must lie in (0, 1], got {dealiasing}; 2/3 is usual.")
            self.dealiasing = float(dealiasing)
        else:
            if jnp.shape(dealiasing) != self.coefficient_shape:
                raise ValueError(
                    f"The dealiasing mask has shape {jnp.shape(dealiasing)} but the coefficients of a grid of shape "
                    f"{grid.shape} have shape {self.coefficient_shape} (the last axis is halved, as in rfftn)."
                )
            self.mask = jnp.asarray(dealiasing, bool)

    @property
    def coefficient_shape(self) -> tuple[int, ...]:
        return (*self.grid.shape[:-1], self.grid.shape[-1] // 2 + 1)

    def hold(self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        """The state as it is: there are no walls at which it is given."""
        return u

    def encode(self, u: Float[Array, "channel *space"]) -> Complex[Array, "channel *modes"]:
        """Values to coefficients, unscaled as in `jnp.fft.rfftn`."""
        return jnp.fft.rfftn(u, axes=self._axes)

    def decode(self, y: Complex[Array, "channel *modes"]) -> Float[Array, "channel *space"]:
        return jnp.fft.irfftn(y, s=self.grid.shape, axes=self._axes)

    def norm(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, ""]:
        """Root mean square over the box of the field with coefficients `y`, by Parseval's identity."""
        n = self.grid.shape[-1]
        # A stored mode stands for its conjugate too, but for k = 0 and, where N is even, k = N/2 on the halved axis.
        weights = np.full(n // 2 + 1, 2.0)
        weights[0] = 1.0
        if n % 2 == 0:
            weights[-1] = 1.0
        weights = jnp.asarray(weights, self.grid.dtype)
        return size(y, lambda squares: jnp.sum(weights * squares)) / np.prod(self.grid.shape)

    def tendency(
        self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """`du/dt` at the points: linear and nonlinear part together."""
        self.grid.check_state(u, len(equation.components(self.grid.ndim)))
        y = self.encode(u)
        state = self.field(equation, y)
        linear = _checked(equation.linear(state), state, "linear").coefficients()
        return self.decode(linear + self.nonlinear(equation, t, y))

    def nonlinear(self, equation: EquationLike, t: Any, y: Complex[Array, "channel *modes"]) -> Complex[Array, "..."]:
        """The coefficients of `equation.nonlinear` at the state with coefficients `y`."""
        state = self.field(equation, y)
        return _checked(equation.nonlinear(t, state), state, "nonlinear").coefficients()

    def symbol(self, equation: EquationLike) -> tuple[Inexact[Array, "..."], bool]:
        """The linear part in Fourier space: what it does to each mode, and whether it couples components.

        Returns `(channel, *modes)` and False where each component acts on itself alone, `(channel, channel, *modes)`
        (output component first) and True otherwise. Real where all derivatives are of even order.

        Modes that dealiasing keeps out of all products do not grow: what would saturate their growth cannot reach them
        (the reaction `r u - r u^3` would go on as `r u`, and a small disturbance out there end the solve).

        Raises `ValueError` when the linear part multiplies by a function of x: then it is no multiplier.
        """
        matrix = self._symbol_matrix(equation)
        reach = reach_of_linear(equation, self.grid.ndim, _NOT_A_MULTIPLIER)
        mask = self._mask(getattr(equation, "degree", None))
        if mask is not None and self._has_products(equation):
            matrix = without_growth(matrix, ~mask)
        if np.any(reach & ~np.eye(len(reach), dtype=bool)):
            return matrix, True
        channels = jnp.arange(matrix.shape[0])
        return matrix[channels, channels], False

    def has_linear_part(self, equation: EquationLike) -> bool:
        """Whether `equation.linear` does anything at all."""
        return bool(np.any(reach_of_linear(equation, self.grid.ndim, _NOT_A_MULTIPLIER)))

    def field(self, equation: EquationLike, y: Complex[Array, "channel *modes"]) -> "SpectralField":
        """The state as the equation sees it."""
        space = _Space(self.grid, self._mask(getattr(equation, "degree", None)), self.cheap_forms)
        return as_state(SpectralField(space, coefficients=y), equation)

    def _has_products(self, equation: EquationLike) -> bool:
        """Whether anything of the state passes through values in `nonlinear`, which is where dealiasing acts."""
        space = _Space(self.grid, None, self.cheap_forms)
        shape = (len(equation.components(self.grid.ndim)), *self.coefficient_shape)
        dtype = jnp.promote_types(self.grid.dtype, jnp.complex64)

        def run(t: Array, y: Array) -> Array:
            return equation.nonlinear(t, as_state(SpectralField(space, coefficients=y), equation)).coefficients()

        jax.eval_shape(run, jax.ShapeDtypeStruct((), self.grid.dtype), jax.ShapeDtypeStruct(shape, dtype))
        return space.has_products

    def _symbol_matrix(self, equation: EquationLike) -> Inexact[Array, "channel channel *modes"]:
        space = _Space(self.grid, None, self.cheap_forms)
        names = equation.components(self.grid.ndim)
        columns = []
        for j in range(len(names)):
            unit = jnp.zeros((len(names), *self.coefficient_shape), self.grid.dtype).at[j].set(1)
            state = as_state(_SymbolField(space, coefficients=unit), equation)
            columns.append(_checked(equation.linear(state), state, "linear").coefficients())
        return jnp.stack(columns, axis=1)

    def _mask(self, degree: int | None) -> Bool[Array, "*modes"] | None:
        if self.dealiasing is None:
            return self.mask
        fraction = self.dealiasing if isinstance(self.dealiasing, float) else 2 / ((degree or 2) + 1)
        if fraction == 1:
            return None
        mask = np.ones((), bool)
        for axis, n in enumerate(self.grid.shape):
            # Strictly below the cut: at |k| = N/3 the square would fold back onto that very mode.
            mask = mask & _broadcast(
                np.abs(_mode_numbers(self.grid.shape, axis)) < fraction * n / 2, axis, self.grid.ndim
            )
        return jnp.asarray(mask)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.grid.ndim, 0))


# Points from which a transform is worth a core of its own; measured in two dimensions (benchmarks/solvers.py).
_LARGE = 128**2


class _Space:
    """What the fields of one reading share: wavenumbers, mask and transforms."""

    def __init__(self, grid: Grid, mask: Bool[Array, "*modes"] | None, cheap_forms: bool):
        self.grid, self.mask, self.cheap_forms = grid, mask, cheap_forms
        self.has_products = False
        self.axes = tuple(range(-grid.ndim, 0))

    def wavenumber(self, axis: int, order: int = 1) -> Float[Array, "*modes"]:
        """`k^order` along one axis, broadcastable. The Nyquist mode of an even axis has no odd derivative: its sine
        vanishes at every point, so the derivative of its cosine is zero there."""
        numbers = _mode_numbers(self.grid.shape, axis).astype(float)
        n = self.grid.shape[axis]
        if order % 2 == 1 and n % 2 == 0:
            numbers[n // 2] = 0.0
        scaled = jnp.asarray(numbers, self.grid.dtype) * (2 * np.pi / self.grid.extent[axis])
        return _broadcast(scaled, axis, self.grid.ndim) ** order

    def squared_wavenumber(self) -> Float[Array, "*modes"]:
        total = self.wavenumber(0, 2)
        for axis in range(1, self.grid.ndim):
            total = total + self.wavenumber(axis, 2)
        return total

    def to_values(
        self, coefficients: Complex[Array, "component *modes"], is_given: bool
    ) -> Float[Array, "component *space"]:
        inverse = lambda part: jnp.fft.irfftn(part, s=self.grid.shape, axes=self.axes)  # noqa: E731
        return self._by_component(inverse, coefficients if is_given else self.truncated(coefficients))

    def to_coefficients(
        self, values: Float[Array, "component *space"], is_given: bool
    ) -> Complex[Array, "component *modes"]:
        self.has_products |= not is_given
        coefficients = self._by_component(lambda part: jnp.fft.rfftn(part, axes=self.axes), values)
        return coefficients if is_given else self.truncated(coefficients)

    def _by_component(self, transform: Callable[[Any], Any], array: Any) -> Any:
        """Large transforms one component at a time: those the compiler runs side by side, a batch on one core alone.
        Small ones gain more from being one operation."""
        if array.shape[0] == 1 or np.prod(self.grid.shape) < _LARGE:
            return transform(array)
        return jnp.concatenate([transform(array[i : i + 1]) for i in range(array.shape[0])])

    def truncated(self, coefficients: Any) -> Any:
        return coefficients if self.mask is None else jnp.where(self.mask, coefficients, 0)


class SpectralField(AbstractField):
    """A field that holds Fourier coefficients, point values, or both, and transforms when first asked.

    `is_given`: the values do not depend on the state. They are not truncated: they are no product of resolved modes.
    """

    def __init__(self, space: _Space, *, coefficients: Any = None, values: Any = None, is_given: bool = False):
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


class _SymbolField(SpectralField):
    """A unit state with which the linear part is asked for its multiplier: it has no values."""

    def values(self) -> Any:
        raise ValueError(_NOT_A_MULTIPLIER)

    def _from_values(self, values: Any, is_given: bool = False) -> "SpectralField":
        raise ValueError(_NOT_A_MULTIPLIER)


_NOT_A_MULTIPLIER = (
    "An equation's `linear` must be a combination of derivatives with constant coefficients (it becomes a multiplier "
    "per Fourier mode). Products of fields, sources and coefficients that depend on x belong in `nonlinear`."
)


def _checked(result: Any, state: SpectralField, method: str) -> SpectralField:
    if not isinstance(result, SpectralField) or result.num_components != state.num_components:
        got = f"{result.num_components} component(s)" if isinstance(result, SpectralField) else type(result).__name__
        raise ValueError(
            f"`{method}` must return a field of {state.num_components} component(s), like its argument u; got {got}."
        )
    return result


def _mode_numbers(shape: tuple[int, ...], axis: int) -> np.ndarray:
    n = shape[axis]
    return np.arange(n // 2 + 1) if axis == len(shape) - 1 else np.fft.fftfreq(n, 1 / n)


def _broadcast(values: Any, axis: int, ndim: int) -> Any:
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))
