from functools import partial
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from pdejax.equations.equation import Equation, coefficient, vector_components
from pdejax.fields import AbstractField


class KuramotoSivashinsky(Equation):
    r"""Flame fronts and thin films, chaotic on long domains: `u_t + (u . grad) u + Lap u + nu Lap^2 u = 0`.

    In one dimension `u_t + u u_x + u_xx + nu u_xxxx = 0`. In more, u = grad h is the slope of a front h with
    `h_t + |grad h|^2 / 2 + Lap h + nu Lap^2 h = 0`; start from a gradient and it stays one. `ndim` components.

    - `viscosity`: nu >= 0, of the fourth-order damping; 1 in most of the literature. Modes with `nu k^2 < 1` grow.

    Source: Kuramoto & Tsuzuki, Prog. Theor. Phys. 55 (1976) 356; Sivashinsky, Acta Astronaut. 4 (1977) 1177.
    """

    viscosity: Float[Array, ""] = eqx.field(default=1.0, converter=partial(coefficient, "viscosity", nonnegative=True))
    degree: ClassVar[int | None] = 2

    def components(self, ndim: int) -> tuple[str, ...]:
        return vector_components(ndim)

    def linear(self, u: AbstractField) -> AbstractField:
        curvature = u.laplacian()
        return -(curvature + curvature.laplacian() * self.viscosity)

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return -u.advect(u)
