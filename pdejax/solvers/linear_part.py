"""The stiff linear part of a semilinear system, and the functions of it that integrators ask for.

Among Fourier modes every mode has its own number, or its own small matrix. Between walls it may be a matrix along an
axis (`banded.py`), or known by its action alone (`krylov.py`).
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from pdejax.solvers import phi_functions
from pdejax.solvers.small_inverses import inverses


class AbstractLinearPart(eqx.Module):
    """A linear operator L, its inverse in implicit stages and, where it has a basis, its functions.

    These five methods are all that integrators know of it. Functions of L come as factors: arrays of one shape, whose
    sums and multiples are the factors of the sums and multiples, in whatever basis `multiply` takes them. An inverse is
    only handed back to `multiply`, and may be anything: factors of a matrix, or what an iteration begins with.
    """

    @abc.abstractmethod
    def multiply(self, factor: Any, y: Array) -> Array:
        """Applies a function of this operator, as returned by `functions` or `inverse`, to a state."""

    @abc.abstractmethod
    def functions(self, step: Array, count: int) -> list[Array]:
        """`exp(step L) - 1, phi_1(step L), ..., phi_count(step L)`. `ValueError` where L has no basis to compute in."""

    @abc.abstractmethod
    def inverse(self, step: Array) -> Any:
        """`(1 - step L)^-1`, what an implicit stage is solved with.

        Stages are solved for their difference to y (see `implicit_explicit`), so that nothing is gained by taking the
        identity off: that would cost the stiff directions their digits, where the inverse itself is small.
        """

    @abc.abstractmethod
    def apply(self, y: Array) -> Array:
        """`L y`."""

    @abc.abstractmethod
    def scaled(self, factor: Array) -> "AbstractLinearPart":
        """The operator `factor L`."""


def no_functions(what: str) -> ValueError:
    return ValueError(
        f"This linear part {what}: implicit stages are solved with it, but it has no exponential. Use an "
        "implicit-explicit solver such as KenCarp4 or BDF2 in place of an exponential one."
    )


class AbstractSymbol(AbstractLinearPart):
    """Acts on each mode by itself, by what `symbol` holds for it; factors are shaped like the symbol."""

    symbol: eqx.AbstractVar[Inexact[Array, "..."]]

    def apply(self, y: Array) -> Array:
        return self.multiply(self.symbol, y)

    def scaled(self, factor: Array) -> "AbstractSymbol":
        return eqx.tree_at(lambda part: part.symbol, self, self.symbol * factor)


class Diagonal(AbstractSymbol):
    """One number per channel and mode: `symbol (channel, *modes)`, real or complex. Components act alone."""

    symbol: Inexact[Array, "channel *modes"]

    def multiply(self, factor: Array, y: Array) -> Array:
        return factor * y

    def functions(self, step: Array, count: int) -> list[Array]:
        return phi_functions.of_numbers(self.symbol * step, count)

    def inverse(self, step: Array) -> Array:
        return 1 / (1 - self.symbol * step)


class Coupled(AbstractSymbol):
    """A matrix per mode: `symbol (channel, channel, *modes)`, output channel first."""

    symbol: Inexact[Array, "channel channel *modes"]

    # A sum of products and no dot_general: accelerators would round that to TF32 or bfloat16.
    def multiply(self, factor: Array, y: Array) -> Array:
        return jnp.sum(factor * y[None], axis=1)

    def functions(self, step: Array, count: int) -> list[Array]:
        z = self.symbol * step
        return phi_functions.of_pairs(z, count) if z.shape[0] == 2 else phi_functions.of_matrices(z, count)

    def inverse(self, step: Array) -> Array:
        z = self.symbol * step
        if z.shape[0] == 2:
            (a, b), (c, d) = z
            # Of `det(1 - Z) = 1 - trace + det Z`, det Z may vanish exactly (a conserved sum beside a fast exchange);
            # in `(1 - a) (1 - d) - b c` the 1 would be lost beside the product.
            determinant = 1 - (a + d) + (a * d - b * c)
            return jnp.stack([jnp.stack([1 - d, b]), jnp.stack([c, 1 - a])]) / determinant
        identity = jnp.eye(z.shape[0], dtype=z.dtype)
        return inverses(identity.reshape(*identity.shape, *(1,) * (z.ndim - 2)) - z)
