"""The stiff linear part of a semilinear system: every mode has its own number, or its own small matrix."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from pdejax.solvers import phi_functions


class AbstractLinearPart(eqx.Module):
    """A linear operator that acts on each mode by itself."""

    symbol: eqx.AbstractVar[Inexact[Array, "..."]]

    @abc.abstractmethod
    def multiply(self, factor: Array, y: Array) -> Array:
        """Applies one of this operator's functions (as returned by `functions`) to a state."""

    @abc.abstractmethod
    def functions(self, step: Array, count: int) -> list[Array]:
        """`exp(step L) - 1, phi_1(step L), ..., phi_count(step L)`, shaped like the symbol."""

    def apply(self, y: Array) -> Array:
        return self.multiply(self.symbol, y)

    def scaled(self, factor: Array) -> "AbstractLinearPart":
        return eqx.tree_at(lambda part: part.symbol, self, self.symbol * factor)


class Diagonal(AbstractLinearPart):
    """One number per channel and mode: `symbol (channel, *modes)`, real or complex. Components act alone."""

    symbol: Inexact[Array, "channel *modes"]

    def multiply(self, factor: Array, y: Array) -> Array:
        return factor * y

    def functions(self, step: Array, count: int) -> list[Array]:
        return phi_functions.of_numbers(self.symbol * step, count)


class Coupled(AbstractLinearPart):
    """A matrix per mode: `symbol (channel, channel, *modes)`, output channel first."""

    symbol: Inexact[Array, "channel channel *modes"]

    # A sum of products and no dot_general: accelerators would round that to TF32 or bfloat16.
    def multiply(self, factor: Array, y: Array) -> Array:
        return jnp.sum(factor * y[None], axis=1)

    def functions(self, step: Array, count: int) -> list[Array]:
        z = self.symbol * step
        return phi_functions.of_pairs(z, count) if z.shape[0] == 2 else phi_functions.of_matrices(z, count)
