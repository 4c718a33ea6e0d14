"""Electromagnetic waves."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import Rates, States
from pdejax.equations.linear_waves import LinearWaves, Parts
from pdejax.equations.of_place import check_on, of_place, values_at
from pdejax.fields import AbstractField
from pdejax.grid import Grid


class Maxwell(LinearWaves):
    r"""Maxwell's equations in a medium: electric displacement D and magnetic induction B, six components in one, two
    and three dimensions.

        D_t - curl H = -sigma E,      E = D / epsilon
        B_t + curl E = 0,             H = B / mu

    Fields depend on the first `ndim` coordinates. `div B` and, without conduction, `div D` keep the values they start
    with: in finite volumes up to the error of the scheme, in Fourier series to rounding. Waves have the speed
    `1 / sqrt(epsilon mu)` and the impedance `sqrt(mu / epsilon)`. The energy per volume is `(E . D + H . B) / 2`.

    - `permittivity`: epsilon > 0, a number or a function of the position, `(ndim, *place)`; it may jump.
    - `permeability`: mu > 0, as `permittivity`.
    - `conductivity`: sigma >= 0, as `permittivity`. Explicit steps must follow the rate sigma / epsilon, which the CFL
      number knows nothing of.

    The fields (`fields`, `state`) are E and H. `Reflecting()` is a perfect conductor (E along the wall is zero),
    `Reflecting(free=True)` its magnetic counterpart (H along the wall is zero).
    """

    permittivity: Any = eqx.field(converter=partial(of_place, "permittivity", positive=True))
    permeability: Any = eqx.field(converter=partial(of_place, "permeability", positive=True))
    conductivity: Any = eqx.field(converter=partial(of_place, "conductivity", nonnegative=True), default=0.0)
    of_medium: ClassVar[tuple[str, ...]] = ("permittivity", "permeability")

    def components(self, ndim: int) -> tuple[str, ...]:
        return tuple(f"{kind}_{name}" for kind in ("displacement", "induction") for name in "xyz")

    def check_grid(self, grid: Grid) -> None:
        super().check_grid(grid)
        if callable(self.conductivity):
            check_on("conductivity", self.conductivity, grid, nonnegative=True)

    def to_fields(self, parts: Parts, *medium: Any) -> list[Any]:
        permittivity, permeability = medium
        return [*(d * (1 / permittivity) for d in parts[:3]), *(b * (1 / permeability) for b in parts[3:])]

    def to_state(self, parts: Parts, *medium: Any) -> list[Any]:
        permittivity, permeability = medium
        return [*(e * permittivity for e in parts[:3]), *(h * permeability for h in parts[3:])]

    def pairs(self, axis: int, count: int) -> list[tuple[int, int, float]]:
        one, other = (axis + 1) % 3, (axis + 2) % 3
        return [(3 + other, one, 1.0), (3 + one, other, -1.0)]

    def linear(self, u: AbstractField) -> AbstractField:
        if not self._is_constant:
            return u * 0.0
        electric, magnetic = list(u)[:3], list(u)[3:]
        lost = [d * (-self.conductivity / self.permittivity) for d in electric]
        return super().linear(u) + lost[0].stack(*lost[1:], *(b * 0.0 for b in magnetic))

    def source(self, t: Any, x: Float[Array, "axis *place"], u: States) -> Rates | None:
        parts, (permittivity, _) = self._read(u)
        conductivity = values_at("conductivity", self.conductivity, x).astype(u.dtype)
        lost = [-conductivity / permittivity * displacement for displacement in parts[:3]]
        return jnp.stack([*lost, *(jnp.zeros_like(induction) for induction in parts[3:])])

    @property
    def _is_constant(self) -> bool:
        return not self._varying and not callable(self.conductivity)
