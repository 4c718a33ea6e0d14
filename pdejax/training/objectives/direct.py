"""A frame further on, in one call."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows


class DirectMultiStep(AbstractObjective):
    """A frame `num_steps` further on from a true one, in one call: the batch mean of `loss(model(u_j), u_j+num_steps)`.

    The fitted model steps `num_steps` intervals at a time: `NeuralStepper(model, num_steps * dt)`. `loss` is that of
    `OneStep`.

    Raises `ValueError` for `num_steps` below one.
    """

    num_steps: int = eqx.field(static=True)
    loss: Loss

    def __init__(self, num_steps: int, loss: Loss = MEAN_SQUARE):
        check_loss(loss)
        self.num_steps, self.loss = count_of("num_steps", num_steps), loss

    @property
    def frames(self) -> int:
        return self.num_steps + 1

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            return error(self.loss, model(u[0], parameters, domain=batch.domain, key=key), u[-1], batch.domain, model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys)), {}
