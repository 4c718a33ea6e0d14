"""Conservation laws of one scalar whose waves steepen: inviscid Burgers, traffic, and water that drives out oil."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Speeds, States
from pdejax.equations.equation import coefficient


class InviscidBurgers(ConservationLaw):
    r"""`u_t + sum over axes of d(u^2 / 2) / dx_a = 0`, one component: its waves run with speed u, and break.

    A jump from l down to r moves with (l + r) / 2; a jump up opens into the fan `u = x / t`.
    """

    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def flux(self, u: States, axis: int) -> States:
        return u * u / 2

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        return jnp.minimum(left, right)[0], jnp.maximum(left, right)[0]

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        return _one_wave((left + right) / 2)


class TrafficFlow(ConservationLaw):
    r"""Cars on a road: `rho_t + d(v rho (1 - rho / rho_m)) / dx = 0`, the nearer to a jam the slower.

    - `free_speed`: v > 0, of a car on an empty road.
    - `jam_density`: rho_m > 0, at which traffic stands.

    A jump up is a shock (the tail of a jam), with the speed `v (1 - (rho_l + rho_r) / rho_m)`; a jump down opens into a
    fan. One dimension.

    Sources: Lighthill & Whitham, Proc. R. Soc. A 229 (1955) 317; Greenshields' speeds.
    """

    free_speed: Float[Array, ""] = eqx.field(converter=partial(coefficient, "free_speed", positive=True), default=1.0)
    jam_density: Float[Array, ""] = eqx.field(converter=partial(coefficient, "jam_density", positive=True), default=1.0)
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("density",)

    def flux(self, u: States, axis: int) -> States:
        return self.free_speed.astype(u.dtype) * u * (1 - u / self.jam_density.astype(u.dtype))

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        one, other = self._speed(left), self._speed(right)
        return jnp.minimum(one, other)[0], jnp.maximum(one, other)[0]

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        return _one_wave((self._speed(left) + self._speed(right)) / 2)

    def _speed(self, u: States) -> States:
        return self.free_speed.astype(u.dtype) * (1 - 2 * u / self.jam_density.astype(u.dtype))


class BuckleyLeverett(ConservationLaw):
    r"""Water that drives oil through a porous medium: `S_t + d f(S) / dx = 0`, `f = S^2 / (S^2 + a (1 - S)^2)`.

    S is the share of the pores that water fills, from 0 to 1, and f that of the flow.

    - `mobility_ratio`: a > 0, how much better oil moves than water.

    f is neither convex nor concave: from S = 1 into S = 0 runs a fan that ends in a shock, at the S where
    `f'(S) = f(S) / S`, that is `S^2 = a / (1 + a)`. One dimension.

    Sources: Buckley & Leverett, Trans. AIME 146 (1942) 107; LeVeque, Finite Volume Methods for Hyperbolic Problems
    (2002), section 16.1.
    """

    mobility_ratio: Float[Array, ""] = eqx.field(
        converter=partial(coefficient, "mobility_ratio", positive=True), default=1.0
    )

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("saturation",)

    def flux(self, u: States, axis: int) -> States:
        return u * u / self._both(u)

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        """Of all states between the two: f' has one maximum, and no minimum but at the ends."""
        low, high = jnp.minimum(left, right), jnp.maximum(left, right)
        ends = self._speed(low), self._speed(high)
        fastest = self._speed(jnp.clip(self._inflection(left.dtype), low, high))
        return jnp.minimum(*ends)[0], jnp.maximum(jnp.maximum(*ends), fastest)[0]

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        gap = right - left
        is_jump = jnp.abs(gap) > jnp.finfo(left.dtype).eps ** 0.5
        secant = (self.flux(right, axis) - self.flux(left, axis)) / jnp.where(is_jump, gap, 1.0)
        return _one_wave(jnp.where(is_jump, secant, self._speed((left + right) / 2)))

    def _both(self, u: Array) -> Array:
        return u * u + self.mobility_ratio.astype(u.dtype) * (1 - u) ** 2

    def _speed(self, u: Array) -> Array:
        """f'."""
        return 2 * self.mobility_ratio.astype(u.dtype) * u * (1 - u) / self._both(u) ** 2

    def _inflection(self, dtype: Any) -> Array:
        """Where f'' changes its sign, between 0 and 1: by bisection, to rounding."""
        ratio = self.mobility_ratio.astype(dtype)

        def halved(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            slope = 2 * middle - 2 * ratio * (1 - middle)
            rises = (1 - 2 * middle) * self._both(middle) > 2 * middle * (1 - middle) * slope
            return jnp.where(rises, middle, low), jnp.where(rises, high, middle)

        zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
        low, high = jax.lax.stop_gradient(jax.lax.fori_loop(0, 55, halved, (zero, one)))
        return (low + high) / 2


def _one_wave(speed: States) -> tuple[Array, Array, Array]:
    one = jnp.ones_like(speed)[None]
    return speed, one, one
