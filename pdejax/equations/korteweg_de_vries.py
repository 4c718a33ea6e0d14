from functools import partial
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from pdejax.equations.equation import Equation, coefficient, require_ndim
from pdejax.fields import AbstractField


class KortewegDeVries(Equation):
    r"""Shallow water waves in one dimension: `u_t + a u u_x + b u_xxx = 0`.

    With a = 6 and b = 1 the soliton of speed c is `u = (c / 2) sech^2(sqrt(c) / 2 (x - c t))`. Mass, `integral u`, and
    momentum, `integral u^2`, are conserved.

    - `advection`: a, the strength of the nonlinear term.
    - `dispersion`: b. The linear symbol is imaginary.

    Source: Korteweg & de Vries, Phil. Mag. 39 (1895) 422.
    """

    advection: Float[Array, ""] = eqx.field(default=6.0, converter=partial(coefficient, "advection"))
    dispersion: Float[Array, ""] = eqx.field(default=1.0, converter=partial(coefficient, "dispersion"))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        require_ndim(self, ndim, 1)
        return ("u",)

    def linear(self, u: AbstractField) -> AbstractField:
        return u.derivative(0, 3) * -self.dispersion

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return u.advect(u) * -self.advection
