r"""The stiff linear part of a semilinear system, and its exponential functions.

    phi_0(z) = e^z,    phi_(l+1)(z) = (phi_l(z) - 1/l!) / z,    phi_l(0) = 1/l!

Every mode has its own number z (components act alone) or small matrix Z (components are coupled). Complex symbols stay
complex: an imaginary z, from an odd derivative, makes every phi_l complex, and keeping real parts would leave a
first-order method (Kassam & Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, average over a contour for the same
purpose; the closed form below needs no contour away from z = 0, and a series near it).
"""

import abc
from math import factorial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

# Taylor series of phi_l, used where |z| < 1: the first neglected term is below 1 / 17!, less than float64 rounding.
_SERIES_TERMS = 16


class AbstractLinearPart(eqx.Module):
    """A linear operator that acts on each mode by itself."""

    symbol: eqx.AbstractVar[Inexact[Array, "..."]]

    @abc.abstractmethod
    def multiply(self, factor: Array, y: Array) -> Array:
        """Applies one of this operator's functions (as returned by `phi`) to a state."""

    @abc.abstractmethod
    def phi(self, step: Array, count: int) -> list[Array]:
        """`phi_1(step L), ..., phi_count(step L)`, shaped like the symbol."""

    @abc.abstractmethod
    def compose(self, first: Array, second: Array) -> Array:
        """The function that applies `second`, then `first`."""

    def apply(self, y: Array) -> Array:
        return self.multiply(self.symbol, y)

    def scaled(self, factor: Array) -> "AbstractLinearPart":
        return eqx.tree_at(lambda part: part.symbol, self, self.symbol * factor)

    def expm1(self, step: Array) -> Array:
        """`exp(step L) - 1`, without the cancellation at small `step L`."""
        return self.compose(self.symbol * step, self.phi(step, 1)[0])


class Diagonal(AbstractLinearPart):
    """One number per channel and mode: `symbol (channel, *modes)`, real or complex."""

    symbol: Inexact[Array, "channel *modes"]

    def multiply(self, factor: Array, y: Array) -> Array:
        return factor * y

    def compose(self, first: Array, second: Array) -> Array:
        return first * second

    def phi(self, step: Array, count: int) -> list[Array]:
        z = self.symbol * step
        small = jnp.abs(z) < 1
        near = jnp.where(small, z, 0)
        far = jnp.where(small, 1, z)
        # Both branches are finite everywhere, so that derivatives through `where` are finite too.
        series = [_taylor(near, order) for order in range(1, count + 1)]
        closed = jnp.exp(far)
        result = []
        for order in range(1, count + 1):
            closed = (closed - 1 / factorial(order - 1)) / far
            result.append(jnp.where(small, series[order - 1], closed))
        return result


class Coupled(AbstractLinearPart):
    """A matrix per mode: `symbol (channel, channel, *modes)`, output channel first."""

    symbol: Inexact[Array, "channel channel *modes"]

    def multiply(self, factor: Array, y: Array) -> Array:
        return jnp.einsum("ij...,j...->i...", factor, y)

    def compose(self, first: Array, second: Array) -> Array:
        return jnp.einsum("ij...,jk...->ik...", first, second)

    def phi(self, step: Array, count: int) -> list[Array]:
        """Scaling and doubling: phi(Z / 2^s) by its series, then s times

            phi_l(2 Z) = 2^-l [ phi_0(Z) phi_l(Z) + sum over 1 <= j <= l of phi_j(Z) / (l - j)! ]

        Source: Higham, Functions of Matrices (2008), section 10.7.4; Skaflestad & Wright, Appl. Numer. Math. 59 (2009).
        """
        z = self.symbol * step
        size = jnp.max(jnp.sum(jnp.abs(z), axis=1), axis=0)
        doublings = jnp.ceil(jnp.log2(jnp.maximum(jax.lax.stop_gradient(size), 0.5))).astype(jnp.int32) + 1
        small = z * (0.5**doublings).astype(z.real.dtype)
        identity = jnp.eye(z.shape[0], dtype=z.dtype).reshape(z.shape[:2] + (1,) * (z.ndim - 2))
        phis = [self._taylor(small, identity, order) for order in range(1, count + 1)]

        def double(i: Array, carry: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
            current, values = carry
            # exp is rebuilt from phi_1: squaring exp itself would amplify the rounding of 1 + small.
            exponential = identity + self.compose(current, values[0])
            doubled = []
            for order in range(1, count + 1):
                total = self.compose(exponential, values[order - 1])
                for j in range(1, order + 1):
                    total = total + values[j - 1] / factorial(order - j)
                doubled.append(total / 2**order)
            # A mode that needs fewer doublings than the stiffest one waits.
            active = i < doublings
            keep = lambda new, old: jnp.where(active, new, old)  # noqa: E731
            return keep(2 * current, current), [keep(new, old) for new, old in zip(doubled, values, strict=True)]

        # Enough for |z| up to 1e12; a fixed count keeps the loop differentiable in reverse mode.
        return jax.lax.fori_loop(0, 42, double, (small, phis))[1]

    def _taylor(self, z: Array, identity: Array, order: int) -> Array:
        total = identity / factorial(order + _SERIES_TERMS)
        for power in reversed(range(_SERIES_TERMS)):
            total = identity / factorial(order + power) + self.compose(z, total)
        return total


def _taylor(z: Array, order: int) -> Array:
    """`sum over n of z^n / (n + order)!`, by Horner's rule."""
    total = jnp.full_like(z, 1 / factorial(order + _SERIES_TERMS))
    for power in reversed(range(_SERIES_TERMS)):
        total = 1 / factorial(order + power) + z * total
    return total
