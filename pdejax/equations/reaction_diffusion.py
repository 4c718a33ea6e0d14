"""One scalar that diffuses and reacts with itself."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from pdejax.equations.equation import Equation, coefficient
from pdejax.fields import AbstractField


class AllenCahn(Equation):
    r"""Phase separation: `u_t = D Lap u + r (u - u^3)`; stable phases at u = -1 and u = 1.

    Fronts between the phases are about `sqrt(2 D / r)` wide.

    - `diffusivity`: D >= 0.
    - `reaction`: r, the rate.

    Source: Allen & Cahn, Acta Metall. 27 (1979) 1085.
    """

    diffusivity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "diffusivity", nonnegative=True))
    reaction: Float[Array, ""] = eqx.field(default=1.0, converter=partial(coefficient, "reaction"))
    degree: ClassVar[int | None] = 3

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        return u.laplacian() * self.diffusivity + u * self.reaction

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u**3 * -self.reaction


class FisherKPP(Equation):
    r"""Spread of a population: `u_t = D Lap u + r u (1 - u)`; u = 0 is unstable, u = 1 stable.

    Fronts travel at `2 sqrt(D r)` or faster; `u = (1 + exp(sqrt(r / (6 D)) x - 5 r t / 6))^-2` is exact.

    - `diffusivity`: D >= 0.
    - `reaction`: r, the rate.

    Source: Fisher, Ann. Eugenics 7 (1937) 355; the exact front: Ablowitz & Zeppetella, Bull. Math. Biol. 41 (1979) 835.
    """

    diffusivity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "diffusivity", nonnegative=True))
    reaction: Float[Array, ""] = eqx.field(default=1.0, converter=partial(coefficient, "reaction"))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        return u.laplacian() * self.diffusivity + u * self.reaction

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u**2 * -self.reaction
