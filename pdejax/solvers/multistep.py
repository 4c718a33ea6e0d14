"""What multistep methods share: a history, and a one-step method that makes it."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.solvers.linear_part import AbstractLinearPart
from pdejax.solvers.semilinear import AbstractSemilinearSolver, SemilinearTerm


class History(eqx.Module):
    """The latest values of N (the first belongs to y) and the latest changes of y, newest first.

    Changes are kept as they were before they were added to y. Differences of states would hand their rounding on to
    the next step, which then repeats it: in float32 slow solutions of BDF2 drifted a hundred times further.
    `num_steps` of the present size lie behind it; what is older is not to be used.
    """

    values: tuple[Array, ...]
    changes: tuple[Array, ...]
    num_steps: Array


class AbstractMultistepSolver(AbstractSemilinearSolver):
    """One evaluation of N per step, from a history of equal steps. Fixed steps: no error is estimated.

    The first steps are taken by `starter`, and so are those after a change of the step size. It has the order of the
    method or more, so nothing is lost. `num_values` of N and `num_changes` of y are kept.
    """

    starter: ClassVar[AbstractSemilinearSolver]
    num_values: ClassVar[int]
    num_changes: ClassVar[int] = 0

    @abc.abstractmethod
    def multistep_coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Any]:
        """What a step from a history needs of `h L`."""

    @abc.abstractmethod
    def multistep(
        self, term: SemilinearTerm, coefficients: dict[str, Any], h: Array, y: Array, history: History
    ) -> Array:
        """The change of y over a step from a whole history."""

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> tuple[Any, dict[str, Any]]:
        return self.starter.coefficients(linear, h), self.multistep_coefficients(linear, h)

    def start(self, term: SemilinearTerm, t: Any, y: Array) -> History:
        n_y = term.nonlinear(t, y)
        return History((n_y,) * self.num_values, (jnp.zeros_like(y),) * self.num_changes, jnp.zeros((), jnp.int32))

    def latest(self, memory: History) -> Array:
        return memory.values[0]

    def resized(self, memory: History, is_resized: Array) -> History:
        return eqx.tree_at(lambda m: m.num_steps, memory, jnp.where(is_resized, 0, memory.num_steps))

    def advance(
        self,
        term: SemilinearTerm,
        coefficients: tuple[Any, dict[str, Any]],
        t: Array,
        h: Array,
        y: Array,
        memory: History,
    ) -> tuple[Array, History, None]:
        starting, own = coefficients

        def begin() -> tuple[Array, Array]:
            y1 = self.starter.advance(term, starting, t, h, y, memory.values[0])[0]
            return y1, y1 - y

        def go_on() -> tuple[Array, Array]:
            change = self.multistep(term, own, h, y, memory)
            return y + change, change

        y1, change = jax.lax.cond(memory.num_steps < self.num_starting_steps, begin, go_on)
        # Counted no further than matters: a run of steps has no end.
        num_steps = jnp.minimum(memory.num_steps + 1, self.num_starting_steps)
        values = (term.nonlinear(t + h, y1), *memory.values[:-1])
        return y1, History(values, (change, *memory.changes)[: self.num_changes], num_steps), None
