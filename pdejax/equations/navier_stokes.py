"""Incompressible flow in the plane, in vorticity form: decaying, and driven by a sinusoidal force."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.equations.equation import Equation, coefficient, require_ndim
from pdejax.fields import AbstractField, Poisson
from pdejax.grid import Grid


class NavierStokesVorticity(Equation):
    r"""Incompressible plane flow, its vorticity stepped.

        w_t + u w_x + v w_y = nu Lap w - mu w,    w = v_x - u_y,    (u, v) = (psi_y, -psi_x),    Lap psi = -w

    Counter-clockwise rotation is positive. The mean of `w` is zero on a periodic domain; a nonzero mean in the initial
    state decays with the drag alone and drives no flow.

    State: `vorticity`, one channel. Auxiliary field: `stream_function`. Between walls both have conditions, under their
    names: `{"vorticity": 0.0, "stream_function": 0.0}` are walls that the flow slides along. Walls that it sticks to
    state psi and its slope and leave w open, which these two conditions cannot say.

    - `viscosity`: kinematic viscosity nu >= 0. At nu = 0 a solution is meaningful only while its spectrum is resolved.
    - `drag`: linear drag mu >= 0.

    Raises `ValueError` in other than two dimensions.
    Source: Majda & Bertozzi, Vorticity and Incompressible Flow (2002), section 2.1 (psi there has the opposite sign).
    """

    viscosity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "viscosity", nonnegative=True))
    drag: Float[Array, ""] = eqx.field(default=0.0, converter=partial(coefficient, "drag", nonnegative=True))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        require_ndim(self, ndim, 2)
        return ("vorticity",)

    def auxiliary(self, u: AbstractField) -> Mapping[str, Poisson]:
        return {"stream_function": Poisson(source=-u["vorticity"])}

    def velocity(self, t: Any, u: AbstractField) -> AbstractField:
        return u["stream_function"].rotated_gradient()

    def linear(self, u: AbstractField) -> AbstractField:
        return u.laplacian() * self.viscosity - u * self.drag

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return -self.velocity(t, u).advect(u["vorticity"])


class KolmogorovFlow(Equation):
    r"""Plane flow driven by the force `F sin(k y)` along x, the standard test of learned turbulence models.

        w_t + u w_x + v w_y = nu Lap w - mu w - F k cos(k y),    w, (u, v) and psi as in NavierStokesVorticity

    State: `vorticity`, one channel. Auxiliary field: `stream_function`.

    - `viscosity`: kinematic viscosity nu >= 0.
    - `drag`: linear drag mu >= 0; 0.1 is usual.
    - `wavenumber`: k in radians per length: a whole number on a box of side 2 pi. The force must fit a periodic box: k
      is a multiple of `2 pi / extent[1]`.
    - `amplitude`: F.

    Raises `ValueError` in other than two dimensions, and before solving where the force does not fit the box or has a
    period for every two points or fewer.
    Source: Chandler & Kerswell, J. Fluid Mech. 722 (2013) 554; with drag and k = 4 as in Kochkov et al., PNAS 118
    (2021) e2101784118.
    """

    viscosity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "viscosity", nonnegative=True))
    drag: Float[Array, ""] = eqx.field(default=0.1, converter=partial(coefficient, "drag", nonnegative=True))
    wavenumber: Float[Array, ""] = eqx.field(default=4.0, converter=partial(coefficient, "wavenumber"))
    amplitude: Float[Array, ""] = eqx.field(default=1.0, converter=partial(coefficient, "amplitude"))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        require_ndim(self, ndim, 2)
        return ("vorticity",)

    def auxiliary(self, u: AbstractField) -> Mapping[str, Poisson]:
        return {"stream_function": Poisson(source=-u["vorticity"])}

    def velocity(self, t: Any, u: AbstractField) -> AbstractField:
        return u["stream_function"].rotated_gradient()

    def linear(self, u: AbstractField) -> AbstractField:
        return u.laplacian() * self.viscosity - u * self.drag

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid.ndim, 2)
        if isinstance(self.wavenumber, Tracer) or isinstance(grid.extent, Tracer) or not grid.periodic[1]:
            return
        # Inside a trace even an entry of a known array is a tracer; of the array itself the numbers are at hand.
        side = float(np.asarray(grid.extent)[1])
        periods = float(np.asarray(self.wavenumber)) * side / (2 * np.pi)
        if abs(periods - round(periods)) > 1e-5 * max(1.0, abs(periods)):
            raise ValueError(
                f"KolmogorovFlow(wavenumber={float(self.wavenumber):g}) has {periods:.4g} periods in a box of side "
                f"{side:.6g}: the force would jump at its end. Take a multiple of 2 pi / extent = "
                f"{2 * np.pi / side:.6g}."
            )
        # At two points per period the points may sit on the zeros of the wave.
        if 2 * abs(periods) >= grid.shape[1] - 1e-3:
            raise ValueError(
                f"KolmogorovFlow(wavenumber={float(self.wavenumber):g}) has {periods:.0f} periods along an axis of "
                f"{grid.shape[1]} points: the force would vanish or appear as a longer wave. Take at least "
                f"{2 * abs(round(periods)) + 1} points, several times as many to resolve the flow."
            )

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        force_curl = u.coordinates[1].map(lambda y: -self.amplitude * self.wavenumber * jnp.cos(self.wavenumber * y))
        return force_curl - self.velocity(t, u).advect(u["vorticity"])
