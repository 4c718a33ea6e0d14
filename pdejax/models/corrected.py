"""A solver and a network that corrects it."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.nn import Held


class Corrected(eqx.Module):
    r"""A hybrid: every step of a solver, usually a cheap and coarse one, is followed by a learned correction:

        v = stepper(u);   u <- v + model(v)        `substeps` times

    - `stepper`: `stepper(u, t=, key=)`, any classical one on the grid of the states; it advances by the interval of the
      data divided by `substeps`. Its coefficients are no weights: `fit` leaves them alone. Gradients with respect to
      states do pass through it, so that an objective that unrolls trains the network on states that the hybrid itself
      leads to: with `Unrolled` this is training with the solver in the loop.
    - `model`: any that returns what is to be added, in physical units. `fit(normalise=True)` puts `Normalised` around
      it, with the statistics of the solver's states and errors on the data: the loss is then 1 for the bare solver.

    `hybrid(u, parameters, domain=, key=)` as for all models; it is autonomous, as `NeuralStepper` is.

    Raises `ValueError` for a stepper or a model that cannot be called, and for `substeps` below one; at trace time
    where a result has another shape than the state.
    Source: Um et al., Solver-in-the-Loop: Learning from Differentiable Physics to Interact with Iterative PDE-Solvers
    (NeurIPS 2020); Kochkov et al., Machine learning-accelerated computational fluid dynamics (PNAS 2021), "learned
    correction".
    """

    held: Held
    model: Any
    substeps: int = eqx.field(static=True)

    def __init__(self, stepper: Any, model: Any, substeps: int = 1):
        for name, given in (("stepper", stepper), ("model", model)):
            if isinstance(given, type) or not callable(given):
                what = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
                raise ValueError(f"Corrected needs a {name} that is built and can be called, got {what}.")
        self.held, self.model, self.substeps = Held(stepper), model, count_of("substeps", substeps)

    @property
    def stepper(self) -> Any:
        """The solver, through whose coefficients no gradient passes."""
        return self.held.values

    @property
    def input_scale(self) -> Any:
        """That of the network, which sees states as well."""
        return getattr(self.model, "input_scale", 1.0)

    @property
    def output_scale(self) -> Any:
        """That of the network: the size of what the solver misses."""
        return getattr(self.model, "output_scale", 1.0)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel *space"]:
        stepper = self.stepper

        def step(state: Array, key: Any) -> tuple[Array, None]:
            solved = stepper(state).astype(state.dtype)
            correction = self.model(solved, parameters, domain=domain, key=key)
            for name, shape in (("stepper", solved.shape), ("correction", correction.shape)):
                if shape != state.shape:
                    raise ValueError(f"The {name} of Corrected returns shape {shape} for a state of {state.shape}.")
            return solved + correction.astype(state.dtype), None

        keys = None if key is None else jax.random.split(key, self.substeps)
        return jax.lax.scan(step, u, keys, self.substeps)[0]
