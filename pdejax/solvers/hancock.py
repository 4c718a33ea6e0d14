"""Hancock's scheme as a solver: one Riemann problem per face and step."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import numpy as np

from pdejax.volumes import FiniteVolume
from pdejax.volumes.hancock import hancock_step


class Hancock(diffrax.AbstractERK):
    """The step of `pdejax.volumes.hancock`: second order, for finite volumes alone, about half the price of SSPRK2 and
    exact where a constant velocity crosses one cell per step.

    It has no estimate of its error: for fixed steps and for those that `CourantLimited` chooses. Between steps
    solutions are straight lines in time.

    Raises `ValueError` for other discretisations, and where `hancock_step` does.
    """

    # Heun's: what asks how many evaluations a step takes counts the flux in cells and that between them.
    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([1.0]),), b_sol=np.array([1 / 2, 1 / 2]), b_error=np.array([0.0, 0.0]), c=np.array([1.0])
    )
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        return 2

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any
    ) -> tuple[Any, Any, dict[str, Any], Any, diffrax.RESULTS]:
        # Within diffeqsolve the term is wrapped; time runs forwards all the same.
        vector_field = getattr(getattr(terms, "term", terms), "vector_field", None)
        space = getattr(vector_field, "discretisation", None)
        if not isinstance(space, FiniteVolume):
            raise ValueError("Hancock() is a step of finite volumes: give a FiniteVolume, or another solver.")
        start = vector_field.start  # type: ignore[union-attr]
        y1 = hancock_step(space, vector_field.equation, start + t0, y0, t1 - t0)  # type: ignore[union-attr]
        return y1, None, {"y0": y0, "y1": y1}, solver_state, diffrax.RESULTS.successful
