"""Several objectives at once."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows, check_in_time

Weight = float | int | Callable[[Any], Any]


class Sum(AbstractObjective):
    r"""A weighted sum of objectives in time, each on the first frames of the same windows:

        Sum({"data": Unrolled(3), "physics": PhysicsResidual(equation, discretisation)}, {"physics": 0.1})

        sum over parts of  weight * loss

    The logs hold the loss of every part without its weight, `loss_data` and `loss_physics`, and what it logs itself
    under its name, `data_loss_step_1`. Weights are not scaled to a sum.

    - `parts`: objectives by name.
    - `weights`: by name, 1 where none is given: numbers, none negative, or schedules of the optimiser step (any of
      optax). `fit` scores held-out data as at the end of these.

    Raises `ValueError` without a part, for a part that takes pairs or is `Bundled`, for a weight that is negative or
    not finite, belongs to no part, or for weights that are all zero.
    """

    parts: dict[str, AbstractObjective]
    weights: tuple[tuple[str, Weight], ...] = eqx.field(static=True)

    def __init__(self, parts: Mapping[str, Any], weights: Mapping[str, Weight] | None = None):
        if not isinstance(parts, Mapping) or not parts:
            raise ValueError(f'Sum takes objectives by name, e.g. {{"data": OneStep()}}, got {parts!r}.')
        for objective in parts.values():
            check_in_time("Sum", objective)
        given = dict(weights or {})
        if unknown := sorted(set(given) - set(parts)):
            raise ValueError(f"The weight {unknown[0]!r} belongs to no part; the parts are {sorted(parts)}.")
        numbers = {name: given.get(name, 1.0) for name in parts}
        fixed = [weight for weight in numbers.values() if not callable(weight)]
        if not all(0 <= weight < np.inf for weight in fixed) or (len(fixed) == len(parts) and not any(fixed)):
            raise ValueError(f"The weights of Sum are numbers >= 0, not all of them 0, got {given}.")
        self.parts, self.weights = dict(parts), tuple(numbers.items())

    @property
    def frames(self) -> int:
        return max(objective.frames or 1 for objective in self.parts.values())

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        total: Any = 0.0
        logged: Logs = {}
        for number, (name, weight) in enumerate(self.weights):
            objective = self.parts[name]
            first_frames = batch._replace(u=batch.u[:, : objective.frames])
            loss, logs = objective(model, first_frames, jax.random.fold_in(key, number))
            total = total + (weight(batch.step) if callable(weight) else weight) * loss
            logged |= {f"loss_{name}": loss} | {f"{name}_{each}": values for each, values in logs.items()}
        return total, logged
