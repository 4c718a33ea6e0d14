from functools import partial
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from pdejax.equations.equation import Equation, coefficient, vector_components
from pdejax.fields import AbstractField


class Burgers(Equation):
    r"""The viscous Burgers equation of a velocity: `u_t + (u . grad) u = nu Lap u`, `ndim` components.

    - `viscosity`: kinematic viscosity nu >= 0. Shocks are about `nu / jump` wide: a grid that is coarser shows ringing.

    Source: Burgers, Adv. Appl. Mech. 1 (1948) 171; exact solutions by Cole (1951) and Hopf (1950).
    """

    viscosity: Float[Array, ""] = eqx.field(converter=partial(coefficient, "viscosity", nonnegative=True))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        return vector_components(ndim)

    def linear(self, u: AbstractField) -> AbstractField:
        return u.laplacian() * self.viscosity

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return -u.advect(u)
