"""Reading an equation for its structure: which component of the state reaches which of the result.

No number is involved, so the answer is a property of the program: it holds for every value of the coefficients, traced
ones included. A coupling that one value of a coefficient switches off is still a coupling.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pdejax.fields.field import AbstractField, EquationLike, as_state


def reach_of_linear(equation: EquationLike, ndim: int, refusal: str) -> np.ndarray:
    """A boolean matrix: entry (i, j) says whether component j of the state enters component i of `equation.linear`.

    Raises `ValueError` with the text `refusal` when the linear part does more than combine derivatives.
    """
    identity = np.eye(len(equation.components(ndim)), dtype=bool)
    result = equation.linear(as_state(ReachField(identity, ndim, refusal), equation))
    if not isinstance(result, ReachField) or result.reach.shape != identity.shape:
        got = f"{result.num_components} component(s)" if isinstance(result, ReachField) else type(result).__name__
        raise ValueError(
            f"`linear` must return a field of {len(identity)} component(s), like its argument u; got {got}."
        )
    return result.reach


class ReachField(AbstractField):
    """One row per component: the components of the state that it depends on."""

    def __init__(self, reach: np.ndarray, ndim: int, refusal: str):
        self.reach, self.ndim, self.refusal = reach, ndim, refusal
        self.num_components = reach.shape[0]

    def _derivative(self, axis: int, order: int) -> "ReachField":
        return self

    def laplacian(self) -> "ReachField":
        return self

    def solve_poisson(self) -> "ReachField":
        return self

    def map(self, function: Callable[[Any], Any]) -> "ReachField":
        raise ValueError(self.refusal)

    @property
    def coordinates(self) -> "ReachField":
        raise ValueError(self.refusal)

    def constant(self, value: Any) -> "ReachField":
        raise ValueError(self.refusal)

    def _scaled(self, factor: Any) -> "ReachField":
        # A literal zero, as in the default `linear`, is structure; an array that happens to be zero is a value.
        is_nothing = isinstance(factor, int | float) and factor == 0
        return self._new(np.zeros_like(self.reach) if is_nothing else self.reach)

    def _plus(self, other: "ReachField") -> "ReachField":
        return self._new(self.reach | other.reach)

    def _times(self, other: "ReachField") -> "ReachField":
        raise ValueError(self.refusal)

    def _over(self, other: "ReachField") -> "ReachField":
        raise ValueError(self.refusal)

    def _component(self, index: int) -> "ReachField":
        return self._new(self.reach[index : index + 1])

    def _stacked(self, others: Sequence["ReachField"]) -> "ReachField":
        return self._new(np.concatenate([self.reach, *(other.reach for other in others)]))

    def _new(self, reach: np.ndarray) -> "ReachField":
        return ReachField(reach, self.ndim, self.refusal)
