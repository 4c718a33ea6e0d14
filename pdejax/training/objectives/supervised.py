"""A target from an input, without time."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error, residuals
from pdejax.training.objectives.objective import AbstractObjective, Logs, Pairs


class Supervised(AbstractObjective):
    """The model's output against a target, operator learning without time: the batch mean of `loss(model(x), y)`.

    - `loss`: that of `OneStep`.
    - `domain`: the grid of inputs and targets, given to the model in every call and to losses that ask for it
      (`Sobolev`). Without one a model that asks where its points are cannot be trained on pairs.

    Numbers and fields that the model is told of every sample, such as coefficients and masks, are the third entry of
    the data, by name: `(inputs, targets, {"mask": masks})`.
    """

    loss: Loss = MEAN_SQUARE
    domain: Any = None
    frames: ClassVar[int | None] = None

    def __check_init__(self):
        check_loss(self.loss)

    def __call__(self, model: Any, batch: Pairs, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        return jnp.mean(self._each(error, model, batch, key)), {}

    def residuals(self, model: Any, batch: Pairs, key: PRNGKeyArray) -> Array:
        return self._each(residuals, model, batch, key)

    def _each(self, measure: Callable[..., Array], model: Any, batch: Pairs, key: PRNGKeyArray) -> Array:
        # A callable that knows nothing of domains is a model, too.
        given = {} if self.domain is None else {"domain": self.domain}

        def one(inputs: Array, target: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            told = {"parameters": parameters} if parameters else {}
            return measure(self.loss, model(inputs, key=key, **told, **given), target, self.domain, model)

        keys = jax.random.split(key, batch.inputs.shape[0])
        return jax.vmap(one)(batch.inputs, batch.targets, batch.parameters, keys)
