"""The next frame from a true one."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.objectives.errors import Loss, check_loss, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows


class OneStep(AbstractObjective):
    """The model's next state against the next frame, from true frames: the batch mean of `loss(model(u_j), u_j+1)`.

    - `loss`: `"mse"`, the mean square in units of the model's `output_scale`; for a `Normalised` residual model it
      is 1 for a model that changes nothing (persistence) and 0 for a perfect one. `"relative_l2"`, the ratio of norms
      per channel, averaged; the size of a channel whose target is zero is that of the whole state. Or a function
      `(prediction, target) -> scalar` of two unbatched states in physical units.
    """

    loss: Loss = eqx.field(static=True, default="mse")
    frames: ClassVar[int | None] = 2

    def __check_init__(self):
        check_loss(self.loss)

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            return error(self.loss, model(u[0], parameters, domain=batch.domain, key=key), u[1], model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys)), {}
