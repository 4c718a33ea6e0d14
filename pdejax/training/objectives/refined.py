"""What a refiner learns: to tell a step of a trajectory from noise of a size drawn at random."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.models import Normalised, PDERefiner
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows


class Refined(AbstractObjective):
    """The mean square of what the network of a `pdejax.models.PDERefiner` predicts minus what it should, on a level
    drawn for every window: of the next frame after a true one, in the units of the refiner.

    Raises `ValueError` at trace time for a model that is no `PDERefiner`, with or without statistics around it.
    Source: Lippe et al., PDE-Refiner: Achieving Accurate Long Rollouts with Neural PDE Solvers (NeurIPS 2023), section
    3.1.
    """

    frames: ClassVar[int | None] = 2

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        return jnp.mean(self.residuals(model, batch, key) ** 2), {}

    def residuals(self, model: Any, batch: Windows, key: PRNGKeyArray) -> Array:
        refiner = model.model if isinstance(model, Normalised) else model
        if not isinstance(refiner, PDERefiner):
            raise ValueError(
                f"Refined trains a PDERefiner, with or without statistics around it, got a {type(refiner).__name__}: "
                "PDERefiner(network, out_channels), or another objective, e.g. OneStep()."
            )

        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            state, result, told = u[0], u[1], parameters
            if isinstance(model, Normalised):
                result = model.sought(state, result)
                state, told = model.seen(state, told)
            return refiner.residual(state, result, told, domain=batch.domain, key=key)

        keys = jax.random.split(key, batch.u.shape[0])
        return jax.vmap(one)(batch.u, batch.parameters, keys)
