"""Any later frame from any earlier one, by a model that is told how far apart they are."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows


class AllPairs(AbstractObjective):
    r"""Pairs of frames i < j, at most `max_lead` apart, for a model that takes the time between them as a parameter:

        batch mean of  loss(model(u_i, parameters | {"lead_time": (j - i) dt}), u_j)

    A window holds `max_lead` + 1 frames; for each one of their pairs is drawn, all equally likely. dt is the interval
    between frames: that of the trajectory where `parameters` holds `output_interval`, else that of the times of the
    data. `Normalised` hands `lead_time` on as it is, unless it was given statistics for it.

    - `loss`: that of `OneStep`.

    Raises `ValueError` for `max_lead` below one; at trace time where the frames are not equally far apart in time.
    Source: Herde et al., Poseidon: Efficient Foundation Models for PDEs (NeurIPS 2024), "all2all" training.
    """

    max_lead: int = eqx.field(static=True)
    loss: Loss

    def __init__(self, max_lead: int, loss: Loss = MEAN_SQUARE):
        check_loss(loss)
        self.max_lead, self.loss = count_of("max_lead", max_lead), loss

    @property
    def frames(self) -> int:
        return self.max_lead + 1

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        earlier, later = (jnp.asarray(numbers) for numbers in np.triu_indices(self.frames, 1))
        if batch.interval is None and "output_interval" not in batch.parameters:
            raise ValueError(
                "AllPairs needs frames that are equally far apart in time, and the `times` of the data are not: leave "
                "frames out until they are, or use OneStep()."
            )

        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            pair_key, model_key = jax.random.split(key)
            pair = jax.random.randint(pair_key, (), 0, len(earlier))
            i, j = earlier[pair], later[pair]
            interval = parameters.get("output_interval", batch.interval)
            told = parameters | {"lead_time": (j - i) * batch.bundle * jnp.asarray(interval, u.dtype)}
            return error(self.loss, model(u[i], told, domain=batch.domain, key=model_key), u[j], batch.domain, model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys)), {}
