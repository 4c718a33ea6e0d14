"""Waves in an elastic solid."""

import functools
import itertools
import operator
from functools import partial
from typing import Any, ClassVar

import equinox as eqx

from pdejax.equations.linear_waves import LinearWaves, Parts
from pdejax.equations.of_place import of_place


class Elasticity(LinearWaves):
    r"""Small motions of an isotropic elastic solid: strain and momentum m, 2, 5 or 9 components.

        e_aa,t = d v_a / dx_a                           (the normal strains, one per axis)
        g_ab,t = d v_a / dx_b + d v_b / dx_a            (the shears, twice the tensor's entries)
        m_a,t = sum over b of d sigma_ab / dx_b,        m = rho v
        sigma_ab = lambda tr(e) delta_ab + 2 mu e_ab,   lambda = K - 2 mu / 3

    Tension is positive. In two dimensions this is plane strain, in one a wave of compression alone. Those have the
    speed `sqrt((K + 4 mu / 3) / rho)` (P), waves of shear `sqrt(mu / rho)` (S). The energy per volume is
    `sigma : e / 2 + rho |v|^2 / 2`.

    - `density`: rho > 0, a number or a function of the position, `(ndim, *place)`; it may jump.
    - `bulk_modulus`: K > 0, as `density`; together with mu > 0 the energy is positive.
    - `shear_modulus`: mu > 0, as `density`. (Without shear: `Acoustics`.)

    The order of the components is xx, yy, zz, xy, xz, yz and x, y, z. The fields (`fields`, `state`) are stress and
    velocity in the same order. `Reflecting()` is a wall to which the solid is glued (velocity zero),
    `Reflecting(free=True)` a surface without traction. Beside both, where waves meet them at an angle, errors are of
    first order: fields there have slopes that no mirror image has.
    """

    density: Any = eqx.field(converter=partial(of_place, "density", positive=True))
    bulk_modulus: Any = eqx.field(converter=partial(of_place, "bulk_modulus", positive=True))
    shear_modulus: Any = eqx.field(converter=partial(of_place, "shear_modulus", positive=True))
    of_medium: ClassVar[tuple[str, ...]] = ("density", "bulk_modulus", "shear_modulus")

    def components(self, ndim: int) -> tuple[str, ...]:
        shears = (f"shear_{one}{other}" for one, other in itertools.combinations("xyz"[:ndim], 2))
        normal = (f"strain_{name}{name}" for name in "xyz"[:ndim])
        return (*normal, *shears, *(f"momentum_{name}" for name in "xyz"[:ndim]))

    def to_fields(self, parts: Parts, *medium: Any) -> list[Any]:
        density, bulk, shear = medium
        ndim = _ndim(len(parts))
        pressing = functools.reduce(operator.add, parts[:ndim]) * (bulk - shear * (2 / 3))
        normal = [strain * (2 * shear) + pressing for strain in parts[:ndim]]
        return [*normal, *(g * shear for g in parts[ndim:-ndim]), *(m * (1 / density) for m in parts[-ndim:])]

    def to_state(self, parts: Parts, *medium: Any) -> list[Any]:
        density, bulk, shear = medium
        ndim = _ndim(len(parts))
        lame = bulk - shear * (2 / 3)
        pressing = functools.reduce(operator.add, parts[:ndim]) * (lame / (2 * shear + ndim * lame))
        normal = [(stress - pressing) * (1 / (2 * shear)) for stress in parts[:ndim]]
        return [*normal, *(s * (1 / shear) for s in parts[ndim:-ndim]), *(v * density for v in parts[-ndim:])]

    def pairs(self, axis: int, count: int) -> list[tuple[int, int, float]]:
        ndim = _ndim(count)
        shears = list(itertools.combinations(range(ndim), 2))

        def strain(other: int) -> int:
            return axis if other == axis else ndim + shears.index((min(axis, other), max(axis, other)))

        return [(strain(other), count - ndim + other, -1.0) for other in range(ndim)]


def _ndim(count: int) -> int:
    """Of 2, 5 or 9 components."""
    return {2: 1, 5: 2, 9: 3}[count]
