"""The rate of change in place of the next state."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows

_ORDERS = (1, 2, 4, 6)


class Derivative(AbstractObjective):
    r"""The model's output against the time derivative of the frames, by differences:

        batch mean of  loss(model(u_j), sum over m of w_m u_j+m / dt)

    The fitted model is a rate; `pdejax.models.Integrated` steps it, by any interval. dt is that of each trajectory
    where `parameters` holds `output_interval`: one model then serves data of many intervals. `fit(normalise=True)`
    gives it the statistics of these rates, so that they are of order one.

    - `order`: 1, the increment to the next frame over dt, which `Integrated(..., method="euler")` adds again whatever
      dt is; 2, 4 or 6, central differences of that order around u_j. They are wrong by O(dt^order): where frames lie
      far apart order 1, as the increment it is, or an objective of the next frame is the better choice.
    - `loss`: that of `OneStep`, of two rates.

    Raises `ValueError` for other orders; for data whose frames are not equally far apart.
    """

    order: int = eqx.field(static=True, default=1)
    loss: Loss = MEAN_SQUARE

    def __check_init__(self):
        check_loss(self.loss)
        if self.order not in _ORDERS:
            raise ValueError(f"Derivative has the orders {_ORDERS}, got {self.order!r}.")

    @property
    def frames(self) -> int:
        return self.order + 1

    def check_data(self, domain: Any, interval: float | None, parameters: Any) -> None:
        if interval is None and "output_interval" not in parameters:
            raise ValueError(
                "Derivative needs frames that are equally far apart in time, and the `times` of the data are not: "
                "leave frames out until they are, or use OneStep()."
            )

    def targets(self, u: np.ndarray, interval: float | None, parameters: Any) -> np.ndarray:
        count = u.shape[1] - self.order
        total = sum(
            weight * u[:, m : m + count].astype(np.float64) for m, weight in enumerate(difference_weights(self.order))
        )
        dt = np.asarray(parameters.get("output_interval", interval), float)
        return total / dt.reshape(dt.shape + (1,) * (u.ndim - 1 if dt.ndim else 0))

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        self.check_data(batch.domain, batch.interval, batch.parameters)

        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            dt = jnp.asarray(parameters.get("output_interval", batch.interval), u.dtype)
            target = jnp.tensordot(jnp.asarray(difference_weights(self.order), u.dtype), u, 1) / dt
            rate = model(u[self.order // 2], parameters, domain=batch.domain, key=key)
            return error(self.loss, rate, target, batch.domain, model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys)), {}


def difference_weights(order: int) -> np.ndarray:
    """Of `order + 1` values at distance one, for the derivative at the middle one, or at the first of two."""
    nodes = np.arange(order + 1) - order // 2
    unit = np.zeros(order + 1)
    unit[1] = 1.0
    return np.linalg.solve(np.asarray(nodes, float) ** np.arange(order + 1)[:, None], unit)
