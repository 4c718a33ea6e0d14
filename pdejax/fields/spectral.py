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

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact

from pdejax.devices import Devices
from pdejax.fields.field import EquationLike, as_state
from pdejax.fields.fourier_space import FourierSpace, along_axis, mode_numbers
from pdejax.fields.fourier_transform import FourierTransform
from pdejax.fields.growth import without_growth
from pdejax.fields.reach import reach_of_linear
from pdejax.fields.spectral_field import NOT_A_MULTIPLIER, SpectralField, SymbolField, checked
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
    - `devices`: cuts values across the first axis over `devices.space` of them, and modes across the second
      (`pdejax.fields.fourier_transform`), whose number is filled up to a multiple; batches of states over `data` are
      `jax.vmap(..., spmd_axis_name="data")`. Results agree with those of one device to rounding.

    Raises `ValueError` on a grid that is not periodic or has stretched points, a fraction outside (0, 1], a mask of
    the wrong shape, or a grid that `devices` cannot cut, and `TypeError` for a class in place of a grid.
    """

    grid: Grid
    dealiasing: float | Literal["auto"] | None = eqx.field(static=True)
    mask: Bool[Array, "*modes"] | None
    cheap_forms: bool = eqx.field(static=True)
    devices: Devices | None = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        dealiasing: Dealiasing = "auto",
        cheap_forms: bool = True,
        *,
        devices: Devices | None = None,
    ):
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
        FourierTransform(grid.shape, devices)  # says what cannot be cut
        self.grid = grid
        self.cheap_forms = cheap_forms
        self.devices = devices
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
        return self._transform.forward(u)

    def decode(self, y: Complex[Array, "channel *modes"]) -> Float[Array, "channel *space"]:
        return self._transform.backward(y)

    def norm(self, y: Inexact[Array, "channel *modes"]) -> Float[Array, ""]:
        """Root mean square over the box of the field with coefficients `y`, by Parseval's identity."""
        n = self.grid.shape[-1]
        # A stored mode stands for its conjugate too, but for k = 0 and, where N is even, k = N/2 on the halved axis.
        weights = np.full(n // 2 + 1, 2.0)
        weights[0] = 1.0
        if n % 2 == 0:
            weights[-1] = 1.0
        # Modes that fill an axis up are zero.
        weights = np.pad(weights, (0, self._transform.modes[-1] - len(weights)))
        weights = jnp.asarray(weights, self.grid.dtype)
        return size(y, lambda squares: jnp.sum(weights * squares)) / np.prod(self.grid.shape)

    def tendency(
        self, equation: EquationLike, t: Any, u: Float[Array, "channel *space"]
    ) -> Float[Array, "channel *space"]:
        """`du/dt` at the points: linear and nonlinear part together."""
        self.grid.check_state(u, len(equation.components(self.grid.ndim)))
        y = self.encode(u)
        state = self.field(equation, y)
        linear = checked(equation.linear(state), state, "linear").coefficients()
        return self.decode(linear + self.nonlinear(equation, t, y))

    def nonlinear(self, equation: EquationLike, t: Any, y: Complex[Array, "channel *modes"]) -> Complex[Array, "..."]:
        """The coefficients of `equation.nonlinear` at the state with coefficients `y`."""
        state = self.field(equation, y)
        return checked(equation.nonlinear(t, state), state, "nonlinear").coefficients()

    def symbol(self, equation: EquationLike) -> tuple[Inexact[Array, "..."], bool]:
        """The linear part in Fourier space: what it does to each mode, and whether it couples components.

        Returns `(channel, *modes)` and False where each component acts on itself alone, `(channel, channel, *modes)`
        (output component first) and True otherwise. Real where all derivatives are of even order.

        Modes that dealiasing keeps out of all products do not grow: what would saturate their growth cannot reach them
        (the reaction `r u - r u^3` would go on as `r u`, and a small disturbance out there end the solve).

        Raises `ValueError` when the linear part multiplies by a function of x: then it is no multiplier.
        """
        matrix = self._symbol_matrix(equation)
        reach = reach_of_linear(equation, self.grid.ndim, NOT_A_MULTIPLIER)
        mask = self._mask(getattr(equation, "degree", None))
        if mask is not None and self._has_products(equation):
            matrix = without_growth(matrix, ~mask)
        if np.any(reach & ~np.eye(len(reach), dtype=bool)):
            return matrix, True
        channels = jnp.arange(matrix.shape[0])
        return matrix[channels, channels], False

    def has_linear_part(self, equation: EquationLike) -> bool:
        """Whether `equation.linear` does anything at all."""
        return bool(np.any(reach_of_linear(equation, self.grid.ndim, NOT_A_MULTIPLIER)))

    def field(self, equation: EquationLike, y: Complex[Array, "channel *modes"]) -> "SpectralField":
        """The state as the equation sees it."""
        space = self._space(self._mask(getattr(equation, "degree", None)))
        return as_state(SpectralField(space, coefficients=y), equation)

    def _has_products(self, equation: EquationLike) -> bool:
        """Whether anything of the state passes through values in `nonlinear`, which is where dealiasing acts."""
        space = self._space(None)
        shape = (len(equation.components(self.grid.ndim)), *self._transform.modes)
        dtype = jnp.promote_types(self.grid.dtype, jnp.complex64)

        def run(t: Array, y: Array) -> Array:
            return equation.nonlinear(t, as_state(SpectralField(space, coefficients=y), equation)).coefficients()

        jax.eval_shape(run, jax.ShapeDtypeStruct((), self.grid.dtype), jax.ShapeDtypeStruct(shape, dtype))
        return space.has_products

    def _symbol_matrix(self, equation: EquationLike) -> Inexact[Array, "channel channel *modes"]:
        space = self._space(None)
        names = equation.components(self.grid.ndim)
        columns = []
        for j in range(len(names)):
            unit = jnp.zeros((len(names), *self._transform.modes), self.grid.dtype).at[j].set(1)
            state = as_state(SymbolField(space, coefficients=unit), equation)
            columns.append(checked(equation.linear(state), state, "linear").coefficients())
        return self._transform.held(jnp.stack(columns, axis=1))

    def _mask(self, degree: int | None) -> Bool[Array, "*modes"] | None:
        if self.dealiasing is None:
            return None if self.mask is None else self._transform.filled(self.mask)
        fraction = self.dealiasing if isinstance(self.dealiasing, float) else 2 / ((degree or 2) + 1)
        if fraction == 1:
            return None
        mask = jnp.ones((), bool)
        for axis, n in enumerate(self.grid.shape):
            # Strictly below the cut: at |k| = N/3 the square would fold back onto that very mode.
            kept = np.abs(mode_numbers(self.grid.shape, axis)) < fraction * n / 2
            kept = np.pad(kept, (0, self._transform.modes[axis] - len(kept)))
            # Of the axes, and together only in the program: as one array it would be on every device, and whole.
            mask = mask & along_axis(jnp.asarray(kept), axis, self.grid.ndim)
        return mask

    def _space(self, mask: Bool[Array, "*modes"] | None) -> FourierSpace:
        return FourierSpace(self.grid, mask, self.cheap_forms, self._transform)

    @property
    def _transform(self) -> FourierTransform:
        return FourierTransform(self.grid.shape, self.devices)
