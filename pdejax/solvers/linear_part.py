r"""The stiff linear part of a semilinear system, and its exponential functions.

    phi_0(z) = e^z,    phi_(l+1)(z) = (phi_l(z) - 1/l!) / z,    phi_l(0) = 1/l!

Every mode has its own number z (components act alone) or small matrix Z (components are coupled). Complex symbols stay
complex: an imaginary z, from an odd derivative, makes every phi_l complex, and keeping real parts would leave a
first-order method (Kassam & Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, average over a contour for the same
purpose; the closed form below needs no contour away from z = 0, and a series near it).
"""

import abc
from collections.abc import Callable
from math import factorial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

# Taylor series of phi_l, used where |z| < 1: the first neglected term is below 1 / 16!, less than float64 rounding.
_SERIES_TERMS = 16
# Of the largest block: enough for |Z| up to 2^63.
_DOUBLINGS = 64


class AbstractLinearPart(eqx.Module):
    """A linear operator that acts on each mode by itself."""

    symbol: eqx.AbstractVar[Inexact[Array, "..."]]

    @abc.abstractmethod
    def multiply(self, factor: Array, y: Array) -> Array:
        """Applies one of this operator's functions (as returned by `phi`) to a state."""

    @abc.abstractmethod
    def functions(self, step: Array, count: int) -> list[Array]:
        """`exp(step L) - 1, phi_1(step L), ..., phi_count(step L)`, shaped like the symbol.

        The first without the cancellation of subtracting 1 where `step L` is small.
        """

    def apply(self, y: Array) -> Array:
        return self.multiply(self.symbol, y)

    def scaled(self, factor: Array) -> "AbstractLinearPart":
        return eqx.tree_at(lambda part: part.symbol, self, self.symbol * factor)


class Diagonal(AbstractLinearPart):
    """One number per channel and mode: `symbol (channel, *modes)`, real or complex."""

    symbol: Inexact[Array, "channel *modes"]

    def multiply(self, factor: Array, y: Array) -> Array:
        return factor * y

    def functions(self, step: Array, count: int) -> list[Array]:
        z = self.symbol * step
        small = jnp.abs(z) < 1
        near = jnp.where(small, z, 0)
        far = jnp.where(small, 1, z)
        # Both branches are finite everywhere, so that derivatives through `where` are finite too.
        series = _series(near, jnp.ones_like(near), jnp.multiply, count)
        closed = jnp.exp(far)
        result = [jnp.where(small, near * series[0], closed - 1)]
        for order in range(1, count + 1):
            closed = (closed - 1 / factorial(order - 1)) / far
            result.append(jnp.where(small, series[order - 1], closed))
        return result


class Coupled(AbstractLinearPart):
    """A matrix per mode: `symbol (channel, channel, *modes)`, output channel first."""

    symbol: Inexact[Array, "channel channel *modes"]

    # A sum of products and no dot_general: accelerators would round that to TF32 or bfloat16.
    def multiply(self, factor: Array, y: Array) -> Array:
        return jnp.sum(factor * y[None], axis=1)

    def functions(self, step: Array, count: int) -> list[Array]:
        """Scaling and doubling: the functions of Z / 2^s by their series, then s times, with E = exp(Z) - 1,

            exp(2 Z) - 1 = E^2 + 2 E
            phi_l(2 Z) = 2^-l [ (1 + E) phi_l(Z) + sum over 1 <= j <= l of phi_j(Z) / (l - j)! ]

        E is carried along: rebuilding it as Z phi_1(Z) would multiply the rounding of slow directions by the size of
        the fast ones. Good to about `eps |Z|`.

        Source: Higham, Functions of Matrices (2008), section 10.7.4.
        """
        z = self.symbol * step
        size = jnp.max(jnp.sum(jnp.abs(z), axis=1), axis=0)
        doublings = jnp.ceil(jnp.log2(jnp.maximum(jax.lax.stop_gradient(size), 0.5))).astype(jnp.int32) + 1
        small = z * (0.5**doublings).astype(z.real.dtype)
        identity = jnp.eye(z.shape[0], dtype=z.dtype).reshape(z.shape[:2] + (1,) * (z.ndim - 2))
        phis = _series(small, identity, _matrix_product, count)

        def double(i: Array, values: list[Array]) -> list[Array]:
            exponential, *phis = values
            doubled = [_matrix_product(exponential, exponential) + 2 * exponential]
            for order in range(1, count + 1):
                total = phis[order - 1] + _matrix_product(exponential, phis[order - 1])
                for j in range(1, order + 1):
                    total = total + phis[j - 1] / factorial(order - j)
                doubled.append(total / 2**order)
            # A mode that needs fewer doublings than the stiffest one waits.
            return [jnp.where(i < doublings, new, old) for new, old in zip(doubled, values, strict=True)]

        # A fixed count keeps the loop differentiable in reverse mode. Beyond it nothing would be right: NaN says so.
        values = jax.lax.fori_loop(0, _DOUBLINGS, double, [_matrix_product(small, phis[0]), *phis])
        return [jnp.where(doublings <= _DOUBLINGS, value, jnp.nan) for value in values]


def _matrix_product(first: Array, second: Array) -> Array:
    """Of the leading two axes, for each mode."""
    return jnp.sum(first[:, :, None] * second[None], axis=1)


def _series(z: Array, one: Array, compose: Callable[[Array, Array], Array], count: int) -> list[Array]:
    """`phi_1(z) .. phi_count(z)` for |z| <= 1: the last by its series, the others by `phi_l = z phi_(l+1) + 1/l!`.

    Downwards the recursion multiplies by z and loses nothing; upwards it would divide rounding errors by it.
    """
    inverse_factorials = jnp.asarray([1 / factorial(count + n) for n in reversed(range(_SERIES_TERMS))], z.real.dtype)
    horner = lambda total, coefficient: (coefficient * one + compose(z, total), None)  # noqa: E731
    phis = [jax.lax.scan(horner, jnp.zeros_like(z + one), inverse_factorials)[0]]
    for order in reversed(range(1, count)):
        phis.append(one / factorial(order) + compose(z, phis[-1]))
    return phis[::-1]
