"""From cell averages to values at the faces.

A reconstruction reads the averages of a cell and of `reach` neighbours on either side, in order, and returns the value
at the upper edge of the middle one; for the lower edge it is given them in reverse.

    PiecewiseConstant     first order
    MUSCL                 second order, total variation diminishing
    WENO                  third or fifth order, essentially non-oscillatory
"""

import abc
import functools
from collections.abc import Callable, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.volumes.limiters import van_leer


class AbstractReconstruction(eqx.Module):
    """How the value at an edge follows from averages."""

    @property
    @abc.abstractmethod
    def reach(self) -> int:
        """How many neighbours on either side are read."""

    @abc.abstractmethod
    def at_edge(self, averages: Sequence[Float[Array, "..."]], fineness: Float[Array, ""]) -> Float[Array, "..."]:
        """The value at the upper edge of the middle cell; `fineness` is the cell's share of the axis."""


class PiecewiseConstant(AbstractReconstruction):
    """The average itself (Godunov's scheme): first order."""

    reach: ClassVar[int] = 0  # pyright: ignore[reportIncompatibleMethodOverride]

    def at_edge(self, averages: Sequence[Float[Array, "..."]], fineness: Float[Array, ""]) -> Float[Array, "..."]:
        return averages[0]


class MUSCL(AbstractReconstruction):
    """A straight line in each cell, with the slope that `limiter` (`pdejax.volumes.limiters`) makes of its differences.

    Second order where the solution is smooth and monotone; first order at smooth extrema, in the maximum norm.

    Source: van Leer, J. Comput. Phys. 32 (1979) 101.
    """

    limiter: Callable[[Array, Array], Array] = eqx.field(static=True, default=van_leer)
    reach: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __check_init__(self):
        if not callable(self.limiter):
            raise TypeError(f"MUSCL takes a limiter such as pdejax.volumes.van_leer, got {self.limiter!r}.")

    def at_edge(self, averages: Sequence[Float[Array, "..."]], fineness: Float[Array, ""]) -> Float[Array, "..."]:
        below, middle, above = averages
        return middle + self.limiter(middle - below, above - middle) / 2


class WENO(AbstractReconstruction):
    """A mean of the parabolas (order 3: straight lines) through neighbouring cells, weighted against those that cross a
    jump: WENO-Z.

    The weights of the sub-stencils k are `d_k (1 + (tau / (beta_k + epsilon))^2)`, normalised; `beta_k` measures how
    rough the polynomial is and `tau`, the difference of the outer ones, is small where all are smooth. `epsilon` is
    `(h / extent)^4` times the mean square of the averages: below what a jump makes, and above what critical points
    of a resolved solution do, where order 5 would be lost otherwise. So the units of u do not matter.

    - `order`: 3 or 5. Raises `ValueError` for others.

    Sources: Jiang & Shu, J. Comput. Phys. 126 (1996) 202 (polynomials, beta); Borges, Carmona, Costa & Don, J. Comput.
    Phys. 227 (2008) 3191 (tau); Don & Borges, J. Comput. Phys. 250 (2013) 347 (epsilon).
    """

    order: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        if self.order not in (3, 5):
            raise ValueError(f"WENO has order 3 or 5, got {self.order}.")

    @property
    def reach(self) -> int:
        return self.order // 2

    def at_edge(self, averages: Sequence[Float[Array, "..."]], fineness: Float[Array, ""]) -> Float[Array, "..."]:
        # In units of the largest: weights have none, and nothing small is squared away in single precision.
        largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, (jnp.abs(average) for average in averages)))
        unit = 1 / jnp.where(largest > 0, largest, 1)
        plain = [average * unit for average in averages]
        stencils = _lines if self.order == 3 else _parabolas
        (values, _, _), (_, roughness, ideal) = stencils(*averages), stencils(*plain)
        tau = jnp.abs(roughness[0] - roughness[-1])
        size = sum(average * average for average in plain) / len(plain)
        # What is left of it in a vacuum only keeps the quotient finite.
        epsilon = fineness**4 * size + jnp.finfo(tau.dtype).tiny ** 0.5
        # On many cells the square of such a quotient overflows; by then no other stencil has a share.
        most = float(jnp.finfo(tau.dtype).max) ** 0.25
        quotients = [jnp.minimum(tau / (beta + epsilon), most) for beta in roughness]
        weights = [share * (1 + quotient**2) for share, quotient in zip(ideal, quotients, strict=True)]
        blend = sum(w * v for w, v in zip(weights, values, strict=True))
        return jnp.asarray(blend) / sum(weights)


def _lines(a: Array, b: Array, c: Array) -> tuple[list[Array], list[Array], list[float]]:
    return [(3 * b - a) / 2, (b + c) / 2], [(b - a) ** 2, (c - b) ** 2], [1 / 3, 2 / 3]


def _parabolas(a: Array, b: Array, c: Array, d: Array, e: Array) -> tuple[list[Array], list[Array], list[float]]:
    values = [(2 * a - 7 * b + 11 * c) / 6, (5 * c - b + 2 * d) / 6, (2 * c + 5 * d - e) / 6]
    curvatures = [a - 2 * b + c, b - 2 * c + d, c - 2 * d + e]
    slopes = [a - 4 * b + 3 * c, b - d, 3 * c - 4 * d + e]
    roughness = [13 / 12 * q * q + p * p / 4 for q, p in zip(curvatures, slopes, strict=True)]
    return values, roughness, [0.1, 0.6, 0.3]
