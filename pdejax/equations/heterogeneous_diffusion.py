"""Heat flow where the diffusivity varies: with the place, or with the temperature itself."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.callables import as_module
from pdejax.equations.equation import Equation, coefficient
from pdejax.fields import AbstractField
from pdejax.grid import Grid


def _function(value: Any) -> Any:
    if not callable(value):
        raise ValueError(
            f"The diffusivity is a function of position, got {value!r}: use Diffusion where it is constant."
        )
    return as_module(value)


class HeterogeneousDiffusion(Equation):
    r"""Heat flow in a heterogeneous medium: `u_t = div(kappa(x) grad u)`.

    - `diffusivity`: kappa > 0, a function of the position x, `(ndim, *space)` (`(ndim,)` at a single point), that
      returns `(*space)`, or one value per axis, `(ndim, *space)`. It acts point by point. A callable `eqx.Module` has
      leaves to differentiate in; a Python function is part of the program.

    kappa may jump: finite differences of order 2 take harmonic means, with which the flux through a jump midway between
    two points is exact.

    - `implicit`: whether this is the linear part. False: it is `nonlinear` and solvers are explicit, with steps of at
      most about `h^2 / (2 ndim max(kappa))`. True: implicit stages solve it between walls, however large kappa is, and
      exponential solvers and Fourier series, which ask for constant coefficients, refuse it.

    `check_grid` raises `ValueError` where kappa is not positive and finite.
    """

    diffusivity: Any = eqx.field(converter=_function)
    implicit: bool = eqx.field(static=True, default=False)
    degree: ClassVar[int | None] = 1

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        return self._spread(u) if self.implicit else u * 0.0

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u * 0.0 if self.implicit else self._spread(u)

    def _spread(self, u: AbstractField) -> AbstractField:
        return u.diffusion(u.coordinates.map(self._of_components), mean="harmonic")

    def check_grid(self, grid: Grid) -> None:
        values = self._of_components(grid.coordinates())
        if not isinstance(values, Tracer) and not np.all(np.isfinite(values) & (np.asarray(values) > 0)):
            raise ValueError(
                f"The diffusivity must be positive and finite; on this grid it is from {float(np.min(values)):.3g} to "
                f"{float(np.max(values)):.3g}."
            )

    def _of_components(self, x: Array) -> Array:
        values = jnp.asarray(self.diffusivity(x))
        if values.shape == x.shape[1:]:
            return values[None]
        if values.shape in ((1, *x.shape[1:]), x.shape):
            return values
        raise ValueError(
            f"The diffusivity at positions of shape {x.shape} has shape {values.shape}: return one value per point, "
            f"{x.shape[1:]}, or one per axis and point, {x.shape}."
        )


class NonlinearDiffusion(Equation):
    r"""Diffusion that grows with what diffuses: `u_t = div(D0 (1 + b u) grad u)`.

    - `diffusivity`: D0 >= 0.
    - `slope`: b; well-posed where `1 + b u > 0`.

    Steps of explicit solvers, the default, are at most about `h^2 / (2 ndim D0 max(1 + b u))`.
    """

    diffusivity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "diffusivity", nonnegative=True))
    slope: Float[Array, ""] = eqx.field(converter=partial(coefficient, "slope"))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u.diffusion((u * self.slope + 1.0) * self.diffusivity)
