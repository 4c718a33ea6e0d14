"""Point values in which a linear part is applied as it is read, without a basis that makes it diagonal."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.fields.axis_bases import Bases
from pdejax.fields.bases import bases_of
from pdejax.fields.eigenmodes import Eigenmodes
from pdejax.fields.field import EquationLike
from pdejax.fields.frozen import Frozen
from pdejax.fields.line import Reading, without_data
from pdejax.grid import Grid


class NearBases(eqx.Module):
    """The bases of what is near to a linear part (`pdejax.fields.frozen`), to precondition with."""

    bases: Bases

    @classmethod
    def of(cls, reading: Reading, equation: EquationLike) -> "NearBases":
        """Raises as `bases_of` does, and where `linear` is no linear function of u."""
        return cls(bases_of(reading, Frozen(equation, reading.grid)))


class PointValues(eqx.Module):
    """`reading` at its free points; held ones are zero. `modes` are those of what is near to the linear part."""

    modes: Eigenmodes

    @property
    def reading(self) -> Reading:
        return self.modes.reading

    @property
    def grid(self) -> Grid:
        return self.reading.grid

    def frozen(self, equation: EquationLike) -> Frozen:
        return Frozen(equation, self.grid)

    def encode(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return jnp.where(self.modes.is_free(), u, 0)

    def decode(self, y: Float[Array, "channel *space"]) -> Float[Array, "channel *space"]:
        return y

    def norm(self, y: Float[Array, "channel *space"]) -> Float[Array, ""]:
        return self.reading.norm(y)

    def linear(self, equation: EquationLike, y: Array) -> Array:
        """`equation.linear` of the state with these free values, between homogeneous conditions."""
        return self.encode(equation.linear(without_data(self.reading).field(equation, 0.0, y)).rate)

    def linear_with_data(self, equation: EquationLike, t: Any, y: Array) -> Array:
        """The same with the data at time t."""
        return self.encode(equation.linear(self.reading.field(equation, t, y)).rate)

    def nonlinear(self, equation: EquationLike, t: Any, y: Array) -> Array:
        return self.encode(equation.nonlinear(t, self.reading.field(equation, t, y)).rate)
