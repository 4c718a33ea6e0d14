"""Conservation laws of one scalar whose waves steepen: inviscid Burgers and traffic."""

from functools import partial
from typing import ClassVar

import equinox as eqx
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


def _one_wave(speed: States) -> tuple[Array, Array, Array]:
    one = jnp.ones_like(speed)[None]
    return speed, one, one
