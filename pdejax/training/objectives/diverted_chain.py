"""The model's own states, each judged by one step of a classical solver."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows
from pdejax.training.objectives.unrolled import STEPS_IN_A_ROW


class DivertedChain(AbstractObjective):
    r"""The model's next state against the step of a classical solver from the same state, which is the model's own:

        v_0 = u_j,   v_n = model(v_n-1),   batch mean of  sum over n of loss(v_n, stepper(v_n-1)) / num_steps

    It needs one true frame, and asks on the model's own path what `OneStep` asks on the true one. The logs hold the
    loss of every step, `loss_step_1` and so on.

    - `stepper`: called as `stepper(u, t=0.0)`, e.g. the `TimeStepper` that made the data. It is the same for all
      trajectories and at all times: for equations that do not depend on time, and parameters that do not vary.
    - `through_stepper`: whether the gradient goes through the stepper, too; a solver that has no reverse mode (an
      adaptive one) needs False. The gradient along the path of the model is there in either case.
    - `loss`: that of `OneStep`.

    Raises `ValueError` for `num_steps` below one and a stepper that cannot be called.
    Source: Koehler, Niedermayr, Westermann & Thuerey, APEBench (NeurIPS 2024), "diverted chain" training.
    """

    stepper: Callable[..., Any]
    num_steps: int = eqx.field(static=True)
    loss: Loss
    through_stepper: bool = eqx.field(static=True)

    def __init__(self, stepper: Any, num_steps: int, loss: Loss = MEAN_SQUARE, *, through_stepper: bool = True):
        if isinstance(stepper, type) or not callable(stepper):
            raise ValueError(f"DivertedChain needs a stepper that is built, e.g. TimeStepper(...), got {stepper!r}.")
        check_loss(loss)
        self.stepper, self.num_steps, self.loss = stepper, count_of("num_steps", num_steps), loss
        self.through_stepper = through_stepper

    @property
    def frames(self) -> int:
        return 1

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            def step(state: Array, n: Array) -> tuple[Array, Array]:
                # Stopped before the stepper, which then is not differentiated at all.
                target = self.stepper(state if self.through_stepper else jax.lax.stop_gradient(state), t=0.0)
                predicted = model(state, parameters, domain=batch.domain, key=jax.random.fold_in(key, n))
                own_loss = error(self.loss, predicted, target.astype(predicted.dtype), batch.domain, model)
                return predicted.astype(state.dtype), own_loss

            _, errors = jax.lax.scan(step, u[0], jnp.arange(self.num_steps), unroll=min(self.num_steps, STEPS_IN_A_ROW))
            return errors

        keys = jax.random.split(key, batch.u.shape[0])
        errors = jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys), axis=0)
        return jnp.mean(errors), {f"loss_step_{n + 1}": errors[n] for n in range(self.num_steps)}
