"""What the walls' data add to a linear part, lifted off the state.

    u_t = L u + b(t) + N(t, u),    v = u - g(t),    (M - s) g + b_M(t) = 0

b is what the data add to `linear`, of the size of the data over h^2. With M = L, what the lift g leaves of them,
`s g - dg/dt`, is as smooth as they are in time. Explicit stages that saw b itself would lag behind the walls: beside
one that moves, errors of a fourth-order method were 470 times larger. Where L has no cheap inverse M is the part of it
that has (`pdejax.fields.frozen`), and `L g + b - dg/dt` remains: g meets the data, so that is no larger than the
derivatives of a smooth function. The shift s is above all rates of growth, so that the lift exists. Held points have
v = 0.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.fields import Eigenmodes, EquationLike, PointValues
from pdejax.solvers.linear_part import AbstractLinearPart


class Lift(eqx.Module):
    """g of an equation in `space`, by the operator `part` that is the linear part of `lifted` in `modes`."""

    equation: EquationLike
    space: Eigenmodes | PointValues
    lifted: EquationLike
    modes: Eigenmodes
    part: AbstractLinearPart
    shift: Array
    factor: Any
    steady: Array | None

    def __init__(self, equation: EquationLike, space: Eigenmodes | PointValues, part: AbstractLinearPart):
        self.equation, self.space, self.part = equation, space, part
        self.modes = space.modes if isinstance(space, PointValues) else space
        self.lifted = space.frozen(equation) if isinstance(space, PointValues) else equation
        self.shift = self.modes.shift(self.lifted)
        self.factor = part.inverse(1 / self.shift)
        # Data that do not change are lifted once, not in every stage.
        self.steady = None
        if not _any_changes(space.reading.walls):
            self.steady = self._solved(self.modes.added(self.lifted, 0.0))

    def at(self, t: Any) -> Array:
        """g at time t, in the representation of `space`."""
        return self._solved(self.modes.added(self.lifted, t)) if self.steady is None else self.steady

    def with_rest(self, t: Any) -> tuple[Array, Array]:
        """g at time t, and the tendency that it leaves."""
        t = jnp.asarray(t, self.space.grid.dtype)
        if self.steady is None:
            of_time = lambda s: self.modes.added(self.lifted, s)  # noqa: E731
            # The solve is linear: one run for the data and their rates.
            lift, rate = jax.vmap(self._solved)(jnp.stack(jax.jvp(of_time, (t,), (jnp.ones_like(t),))))
        else:
            lift, rate = self.steady, 0.0
        if isinstance(self.space, PointValues):
            return lift, self.space.linear_with_data(self.equation, t, lift) - rate
        return lift, self.shift * lift - rate

    def _solved(self, added: Array) -> Array:
        modes = self.part.multiply(self.factor, added) / self.shift
        return self.modes.decode(modes) if isinstance(self.space, PointValues) else modes


def _any_changes(walls: Any) -> bool:
    """Whether a datum is a function of time; numbers and arrays are not."""
    pairs = [pair for sides in walls.by_component.values() for pair in sides if isinstance(pair, tuple)]
    return any(callable(getattr(condition, "value", None)) for pair in pairs for condition in pair)
