"""Linear parts that are a matrix along one axis, for each mode of the others: solved by LU factors.

Transport and diffusion along one axis between walls, two orders of derivatives there, a mixture of value and slope with
weights that are traced: no basis that is known beforehand makes these diagonal, but they reach only few neighbours. An
implicit stage is solved exactly all the same. Functions such as the exponential of a banded matrix are full: solvers
that ask for them are refused.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from pdejax.solvers.block_tridiagonal import Blocks, Factors
from pdejax.solvers.linear_part import AbstractLinearPart, no_functions

# Runs over many small blocks are slower than few larger products, up to the cost of the products themselves.
SMALLEST_BLOCK = 16
SMALLEST_BLOCK_ALONE = 128


class Line(eqx.Module):
    """A matrix along `axis` of a component."""

    axis: int = eqx.field(static=True)
    blocks: Blocks

    @classmethod
    def of(cls, axis: int, bands: Inexact[Array, "points band"], num_modes: int) -> "Line":
        n, width = bands.shape[0], bands.shape[1] // 2
        smallest = SMALLEST_BLOCK_ALONE if num_modes == 1 else SMALLEST_BLOCK
        return cls(axis, Blocks.of(bands, min(n, max(width, smallest))))

    def apply(self, y: Array) -> Array:
        return jnp.moveaxis(self.blocks.apply(jnp.moveaxis(y, self.axis, 0)), 0, self.axis)

    def factors(self, step: Array, symbol: Array) -> Factors:
        """Of `1 - step (symbol + matrix)`; along the axis the symbol changes only in that it is zero at held ends."""
        return self.blocks.factors(step, 1 - step * jnp.take(symbol, 1, axis=self.axis).ravel())

    def solve(self, factors: Factors, r: Array) -> Array:
        columns = jnp.moveaxis(r, self.axis, 0)
        solved = factors.solve(columns.reshape(columns.shape[0], -1)).reshape(columns.shape)
        return jnp.moveaxis(solved, 0, self.axis)


class Banded(AbstractLinearPart):
    """For each component what `symbol` holds for its modes, and along an axis with a line a matrix besides."""

    symbol: Inexact[Array, "channel *modes"]
    lines: tuple[Line | None, ...]

    def multiply(self, factor: Any, y: Array) -> Array:
        solved = [
            of_component * part if line is None else line.solve(of_component, part)
            for of_component, part, line in zip(factor, y, self.lines, strict=True)
        ]
        return jnp.stack(solved)

    def functions(self, step: Array, count: int) -> list[Any]:
        raise no_functions("is a banded matrix along an axis with walls")

    def inverse(self, step: Array) -> tuple[Any, ...]:
        return tuple(
            1 / (1 - step * symbol) if line is None else line.factors(step, symbol)
            for symbol, line in zip(self.symbol, self.lines, strict=True)
        )

    def apply(self, y: Array) -> Array:
        along = [
            jnp.zeros_like(part) if line is None else line.apply(part) for part, line in zip(y, self.lines, strict=True)
        ]
        return self.symbol * y + jnp.stack(along)

    def scaled(self, factor: Array) -> "Banded":
        of_matrix = lambda leaf: leaf * jnp.asarray(factor, leaf.dtype)  # noqa: E731
        return Banded(self.symbol * factor, jax.tree.map(of_matrix, self.lines))
