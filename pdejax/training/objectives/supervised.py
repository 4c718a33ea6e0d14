"""A target from an input, without time."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.objectives.errors import Loss, check_loss, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Pairs


class Supervised(AbstractObjective):
    """The model's output against a target, operator learning without time: the batch mean of `loss(model(x), y)`.

    `loss` is that of `OneStep`.
    """

    loss: Loss = eqx.field(static=True, default="mse")
    frames: ClassVar[int | None] = None

    def __check_init__(self):
        check_loss(self.loss)

    def __call__(self, model: Any, batch: Pairs, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(inputs: Array, target: Array, key: PRNGKeyArray) -> Array:
            return error(self.loss, model(inputs, key=key), target, model)

        keys = jax.random.split(key, batch.inputs.shape[0])
        return jnp.mean(jax.vmap(one)(batch.inputs, batch.targets, keys)), {}
