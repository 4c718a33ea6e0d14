"""The compressible Navier-Stokes equations of an ideal gas."""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import Rates, States
from pdejax.equations.equation import coefficient
from pdejax.equations.euler import Euler


class CompressibleNavierStokes(Euler):
    r"""A gas with friction and conduction of heat: the Euler equations and

        (rho v)_t + ... = div S,    E_t + ... = div(S v + kappa grad T),    T = p / rho

        S = mu (grad v + (grad v)^T - 2/3 (div v) 1) + zeta (div v) 1

    - `shear_viscosity`: mu >= 0.
    - `bulk_viscosity`: zeta >= 0; zero by default.
    - `conductivity`: kappa >= 0, for temperatures in units of the specific gas constant; zero by default. The Prandtl
      number is `gamma / (gamma - 1) mu / kappa`.
    - `heat_capacity_ratio`: gamma > 1.

    Coefficients are constants. The stress has the 2/3 of three dimensions in one and two as well. The components are
    those of `Euler`, and so is all that finite volumes ask of the flux without friction. Beside walls of
    `Reflecting(sticks=True)` the gas is at rest; no heat crosses them.

    Source: Landau & Lifshitz, Fluid Mechanics (1987), sections 15 and 49.
    """

    shear_viscosity: Float[Array, ""] = eqx.field(
        converter=partial(coefficient, "shear_viscosity", nonnegative=True), kw_only=True
    )
    bulk_viscosity: Float[Array, ""] = eqx.field(
        converter=partial(coefficient, "bulk_viscosity", nonnegative=True), default=0.0, kw_only=True
    )
    conductivity: Float[Array, ""] = eqx.field(
        converter=partial(coefficient, "conductivity", nonnegative=True), default=0.0, kw_only=True
    )

    def diffusive_flux(self, w: States, gradient: Float[Array, "axis channel *place"], axis: int) -> Rates:
        ndim = gradient.shape[0]
        mu, zeta, kappa = (c.astype(w.dtype) for c in (self.shear_viscosity, self.bulk_viscosity, self.conductivity))
        expansion: Any = sum(gradient[a, 1 + a] for a in range(ndim))
        stress = [mu * (gradient[axis, 1 + a] + gradient[a, 1 + axis]) for a in range(ndim)]
        stress[axis] = stress[axis] + (zeta - 2 / 3 * mu) * expansion
        work = sum(w[1 + a] * stress[a] for a in range(ndim))
        warming = (gradient[axis, -1] - w[-1] / w[0] * gradient[axis, 0]) / w[0]
        return jnp.stack([jnp.zeros_like(w[0]), *stress, work + kappa * warming])

    def halted(self, u: States, axis: int) -> States:
        return u.at[1:-1].multiply(-1)

    def largest_diffusivity(self, u: States) -> Float[Array, "*place"]:
        along = 4 / 3 * self.shear_viscosity + self.bulk_viscosity
        heat = (self.heat_capacity_ratio - 1) * self.conductivity
        return jnp.maximum(along, heat).astype(u.dtype) / u[0]
