"""The next frame from a true one."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error, residuals
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows


class OneStep(AbstractObjective):
    """The model's next state against the next frame, from true frames: the batch mean of `loss(model(u_j), u_j+1)`.

    - `loss`: a value of `pdejax.losses`, by default `MeanSquare()`, the mean square in units of the model's
      `output_scale`; or a function `(prediction, target) -> scalar` of two unbatched states in physical units.

    Raises `ValueError` for a loss that is neither.
    """

    loss: Loss = MEAN_SQUARE
    frames: ClassVar[int | None] = 2

    def __check_init__(self):
        check_loss(self.loss)

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        return jnp.mean(self._each(error, model, batch, key)), {}

    def residuals(self, model: Any, batch: Windows, key: PRNGKeyArray) -> Array:
        return self._each(residuals, model, batch, key)

    def _each(self, measure: Callable[..., Array], model: Any, batch: Windows, key: PRNGKeyArray) -> Array:
        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            return measure(self.loss, model(u[0], parameters, domain=batch.domain, key=key), u[1], batch.domain, model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jax.vmap(one)(batch.u, batch.parameters, keys)
