"""Linear transport and spreading: advection, diffusion, and both."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Speeds, States
from pdejax.equations.equation import Equation, coefficient
from pdejax.fields import AbstractField


class Advection(ConservationLaw):
    r"""Transport of one scalar at constant velocity: `u_t + c . grad u = 0`. The solution is `u0(x - c t)`.

    - `velocity`: c, one number (the same along each axis) or one per axis.
    """

    velocity: Float[Array, "..."] = eqx.field(converter=partial(coefficient, "velocity", vector=True))
    degree: ClassVar[int | None] = 1

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        return -u.directional_derivative(per_axis("velocity", self.velocity, u.ndim))

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u * 0.0

    def flux(self, u: States, axis: int) -> States:
        return self._along(axis, u) * u

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        speed = jnp.broadcast_to(self._along(axis, left), left.shape[1:])
        return speed, speed

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        one = jnp.ones_like(left)[None]
        return self._along(axis, left) * one[0], one, one

    def _along(self, axis: int, u: States) -> Array:
        return (self.velocity if self.velocity.ndim == 0 else self.velocity[axis]).astype(u.dtype)


class Diffusion(Equation):
    r"""Heat flow: `u_t = sum over axes of D_a u_aa`. A mode k decays as `exp(-sum(D_a k_a^2) t)`.

    - `diffusivity`: D >= 0, one number or one per axis.
    """

    diffusivity: Float[Array, "..."] = eqx.field(
        converter=partial(coefficient, "diffusivity", vector=True, nonnegative=True)
    )
    degree: ClassVar[int | None] = 1

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        return diffuse(u, self.diffusivity)


class AdvectionDiffusion(Equation):
    r"""Transport and spreading of one scalar: `u_t + c . grad u = sum over axes of D_a u_aa`.

    - `velocity`: c, one number or one per axis.
    - `diffusivity`: D >= 0, one number or one per axis.
    """

    velocity: Float[Array, "..."] = eqx.field(converter=partial(coefficient, "velocity", vector=True))
    diffusivity: Float[Array, "..."] = eqx.field(
        converter=partial(coefficient, "diffusivity", vector=True, nonnegative=True)
    )
    degree: ClassVar[int | None] = 1

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        velocity = per_axis("velocity", self.velocity, u.ndim)
        return diffuse(u, self.diffusivity) - u.directional_derivative(velocity)


def diffuse(u: AbstractField, diffusivity: Float[Array, "..."]) -> AbstractField:
    """`sum over axes of D_a u_aa`, for one diffusivity or one per axis."""
    if diffusivity.ndim == 0:
        return u.laplacian() * diffusivity
    along = per_axis("diffusivity", diffusivity, u.ndim)
    total = u.derivative(0, 2) * along[0]
    for axis in range(1, u.ndim):
        total = total + u.derivative(axis, 2) * along[axis]
    return total


def per_axis(name: str, value: Float[Array, "..."], ndim: int) -> list[Any]:
    """One coefficient per axis, from one number or `ndim` of them."""
    if value.ndim == 1 and value.shape[0] != ndim:
        raise ValueError(f"{name} has {value.shape[0]} entries but the domain has {ndim} dimension(s).")
    return [value if value.ndim == 0 else value[axis] for axis in range(ndim)]
