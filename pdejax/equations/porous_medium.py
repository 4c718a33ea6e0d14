"""The porous medium equation: diffusion that stops where there is nothing."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Rates, Speeds, States
from pdejax.equations.equation import coefficient
from pdejax.fields import AbstractField


def _exponent(value: Any) -> Float[Array, ""]:
    # One is Diffusion; below one it is fast, and infinitely so where u is zero.
    coefficient("exponent - 1", value - 1.0, positive=True)
    return coefficient("exponent", value)


class PorousMedium(ConservationLaw):
    r"""A gas in a porous medium: `u_t = Lap(u^m)`, u >= 0. What starts with a support ends with one, whose edge moves
    with finite speed and is not smooth; finite volumes keep u from becoming negative.

    - `exponent`: m > 1.

    Explicit steps are at most about `h^2 / (2 ndim m max(u)^(m - 1))`. The primitive variable is `u^m`, the differences
    of which are the flux.

    Source: Vazquez, The Porous Medium Equation (2007).
    """

    exponent: Float[Array, ""] = eqx.field(converter=_exponent, default=2.0)

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def flux(self, u: States, axis: int) -> Rates:
        return jnp.zeros_like(u)

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        return jnp.zeros_like(left[0]), jnp.zeros_like(left[0])

    def diffusive_flux(self, w: States, gradient: Float[Array, "axis channel *place"], axis: int) -> Rates:
        return gradient[axis]

    def largest_diffusivity(self, u: States) -> Float[Array, "*place"]:
        m = self.exponent.astype(u.dtype)
        return m * _power(u[0], m - 1)

    def positive(self, u: States) -> dict[str, Float[Array, "*place"]]:
        # Nothing is admissible, too.
        return {"u": u[0] + jnp.finfo(u.dtype).tiny}

    def primitive(self, u: States) -> States:
        return _power(u, self.exponent.astype(u.dtype))

    def conserved(self, w: States) -> States:
        # A reconstruction may pass below zero.
        return _power(jnp.maximum(w, 0), 1 / self.exponent.astype(w.dtype))

    def reflected(self, u: States, axis: int) -> States:
        return u

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u.map(self.primitive).laplacian()


def _power(u: Array, exponent: Array) -> Array:
    """With derivatives that are finite where u is zero."""
    return jnp.where(u == 0, 0.0, jnp.where(u == 0, 1.0, u) ** exponent)
