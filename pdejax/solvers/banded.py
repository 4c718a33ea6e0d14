"""Linear parts that are a matrix along one axis, for each mode of the others: solved by cyclic reduction.

Transport and diffusion along one axis between walls, two orders of derivatives there, a mixture of value and slope with
weights that are traced: no basis that is known beforehand makes these diagonal, but they reach only few neighbours. An
implicit stage is solved exactly all the same. Functions such as the exponential of a banded matrix are full: solvers
that ask for them are refused.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from pdejax.solvers.cyclic_reduction import Blocks, Factors
from pdejax.solvers.linear_part import AbstractLinearPart, no_functions

# Points up to which the inverse of the whole line is used, where it serves many modes and where it serves one: on a CPU
# one product with 256 rows took 5, cyclic reduction 17 microseconds.
WHOLE_UP_TO = 32
WHOLE_ALONE_UP_TO = 512


class Line(eqx.Module):
    """A matrix along `axis` of a component."""

    axis: int = eqx.field(static=True)
    blocks: Blocks

    @classmethod
    def of(cls, axis: int, bands: Inexact[Array, "points band"], is_held: tuple[bool, bool], num_modes: int) -> "Line":
        n, width = bands.shape[0], bands.shape[1] // 2
        is_whole = n <= (WHOLE_ALONE_UP_TO if num_modes == 1 else WHOLE_UP_TO)
        return cls(axis, Blocks.of(bands, n if is_whole else min(n, width), is_held))

    def apply(self, y: Array) -> Array:
        return self._through(self.blocks.apply, y)

    def factors(self, step: Array, symbol: Array) -> Factors:
        """Of `1 - step (symbol + matrix)`; along the axis the symbol changes only in that it is zero at held ends."""
        return self.blocks.factors(step, 1 - step * jnp.take(symbol, 1, axis=self.axis).ravel())

    def solve(self, factors: Factors, r: Array) -> Array:
        return self._through(factors.solve, r)

    def _through(self, act: Callable[[Array], Array], y: Array) -> Array:
        columns = jnp.moveaxis(y, self.axis, 0)
        return jnp.moveaxis(act(columns.reshape(columns.shape[0], -1)).reshape(columns.shape), 0, self.axis)


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
