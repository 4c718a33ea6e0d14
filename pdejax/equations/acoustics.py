"""Sound in a medium at rest."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx

from pdejax.equations.linear_waves import LinearWaves, Parts
from pdejax.equations.of_place import of_place


class Acoustics(LinearWaves):
    r"""Sound, small motions of a fluid at rest, `ndim + 1` components: compression theta and momentum m.

        theta_t + div v = 0,      theta = p / K
        m_t + grad p = 0,         m = rho v

    theta is the share by which a volume has shrunk. Waves have the speed `c = sqrt(K / rho)` and the impedance
    `Z = rho c`: a wave that runs from Z_1 into Z_2 comes back with the share `(Z_2 - Z_1) / (Z_2 + Z_1)` of its
    pressure. The energy per volume is `p^2 / (2 K) + rho |v|^2 / 2`.

    - `density`: rho > 0, a number or a function of the position, `(ndim, *place)`; it may jump.
    - `bulk_modulus`: K > 0, as `density`.

    The fields (`fields`, `state`) are pressure and velocity. `Reflecting()` is a rigid wall, `Reflecting(free=True)` a
    surface at which the pressure is zero.
    """

    density: Any = eqx.field(converter=partial(of_place, "density", positive=True))
    bulk_modulus: Any = eqx.field(converter=partial(of_place, "bulk_modulus", positive=True))
    of_medium: ClassVar[tuple[str, ...]] = ("density", "bulk_modulus")

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("compression", *(f"momentum_{name}" for name in "xyz"[:ndim]))

    def to_fields(self, parts: Parts, *medium: Any) -> list[Any]:
        density, bulk_modulus = medium
        return [parts[0] * bulk_modulus, *(momentum * (1 / density) for momentum in parts[1:])]

    def to_state(self, parts: Parts, *medium: Any) -> list[Any]:
        density, bulk_modulus = medium
        return [parts[0] * (1 / bulk_modulus), *(velocity * density for velocity in parts[1:])]

    def pairs(self, axis: int, count: int) -> list[tuple[int, int, float]]:
        return [(0, 1 + axis, 1.0)]
