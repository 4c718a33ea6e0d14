"""Any objective in time, from states that are not quite the true ones."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.models import input_scale
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows, check_in_time


class InputNoise(AbstractObjective):
    """`objective` with noise added to the first frame of every window; the frames it is compared with stay true.

    So the model learns to lead a disturbed state back. The noise is white in space, with standard deviation `std` in
    units of the model's input: of `Normalised` models the standard deviation of each channel.

    Raises `ValueError` for an objective that takes pairs, and for a `std` that is not positive.
    Source: Sanchez-Gonzalez et al., Learning to Simulate Complex Physics with Graph Networks (ICML 2020).
    """

    objective: AbstractObjective
    std: float = eqx.field(static=True)

    def __init__(self, objective: Any, std: float):
        if not isinstance(objective, AbstractObjective) or objective.frames is None:
            raise ValueError(f"InputNoise disturbs an objective in time, e.g. OneStep(), got {objective!r}.")
        check_in_time("InputNoise", objective)
        if not 0 < std < float("inf"):
            raise ValueError(f"InputNoise needs std > 0, in units of the model's input, got {std}.")
        self.objective, self.std = objective, float(std)

    @property
    def frames(self) -> int | None:
        return self.objective.frames

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        noise_key, key = jax.random.split(key)
        first = batch.u[:, 0]
        scale = jnp.asarray(input_scale(model), first.dtype)
        scale = scale.reshape((-1,) + (1,) * (first.ndim - 2) if scale.ndim else ())
        noise = self.std * scale * jax.random.normal(noise_key, first.shape, first.dtype)
        return self.objective(model, batch._replace(u=batch.u.at[:, 0].add(noise)), key)
