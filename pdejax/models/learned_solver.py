"""A solver with a part that is learned, e.g. the reconstruction of its finite volumes."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.nn import Held


class LearnedSolver(eqx.Module):
    r"""A time stepper as a model, of which training moves the part that `learned` points at and nothing else:

        stepper = pdejax.TimeStepper(equation, FiniteVolume(grid, LearnedReconstruction(key=key)), dt, substeps)
        model = LearnedSolver(stepper, lambda stepper: stepper.discretisation.reconstruction)

    - `stepper`: `stepper(u, t=, key=)` over the interval of the data. Its coefficients are no weights: `fit` leaves
      them alone, and a gradient finds zero there. Gradients with respect to states do pass through it.
    - `learned`: returns the part of a stepper that is trained, as for `equinox.tree_at`.

    `model(u, parameters, domain=, key=)` as for all models; it is autonomous, as `NeuralStepper` is, and works in
    physical units. `fit(normalise=True)` puts nothing around it, but measures the error of the solver as it is given on
    the data, per channel: `output_scale`, the unit of the loss, which thus begins at one. `stepper` of a fitted model
    is a stepper as any other.

    Raises `ValueError` for a stepper that cannot be called, and for a part without arrays to train.
    Source: Kochkov et al., Machine learning-accelerated computational fluid dynamics (PNAS 2021), "learned
    interpolation".
    """

    held: Held
    part: Any
    scale: Any
    learned: Callable[[Any], Any] = eqx.field(static=True)

    def __init__(self, stepper: Any, learned: Callable[[Any], Any], scale: Any = None):
        if isinstance(stepper, type) or not callable(stepper):
            what = f"the class {stepper.__name__}" if isinstance(stepper, type) else f"a {type(stepper).__name__}"
            raise ValueError(f"LearnedSolver needs a stepper that is built and can be called, got {what}.")
        self.learned, self.scale = learned, scale
        self.part = learned(stepper)
        if not any(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(self.part)):
            raise ValueError(
                f"LearnedSolver trains the part that `learned` returns, and {type(self.part).__name__} has no weights: "
                "point at a network, e.g. at a LearnedReconstruction."
            )
        self.held = Held(eqx.tree_at(learned, stepper, None))

    @property
    def stepper(self) -> Any:
        """The solver with its learned part, through whose other coefficients no gradient passes."""
        return eqx.tree_at(self.learned, self.held.values, self.part, is_leaf=lambda node: node is None)

    @property
    def output_scale(self) -> Any:
        """What the solver missed before training, per channel; 1 where nobody has measured it."""
        return 1.0 if self.scale is None else jax.lax.stop_gradient(self.scale.std)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel *space"]:
        return self.stepper(u).astype(u.dtype)
