"""One step with a gradient, from a state that the model itself has led to."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows


class Pushforward(AbstractObjective):
    r"""A step from the model's own state, which is taken as data: no gradient flows to how it came about.

        v_0 = u_j,   v_n = model(v_n-1) for n = 1 .. m,   batch mean of  loss(model(stop_gradient(v_m)), u_j+m+1)

    The model learns to mend its own errors at the price of one backward step.

    - `num_steps`: of the model before the one that is trained.
    - `random`: m is drawn for every batch, each of 0 .. `num_steps` equally likely; if not it is `num_steps`.
    - `loss`: that of `OneStep`.

    Raises `ValueError` for `num_steps` below one: that is `OneStep`.
    Source: Brandstetter, Worrall & Welling, Message Passing Neural PDE Solvers (ICLR 2022).
    """

    num_steps: int = eqx.field(static=True)
    loss: Loss
    random: bool = eqx.field(static=True)

    def __init__(self, num_steps: int = 1, loss: Loss = MEAN_SQUARE, *, random: bool = True):
        check_loss(loss)
        self.num_steps, self.loss, self.random = count_of("num_steps", num_steps), loss, random

    @property
    def frames(self) -> int:
        return self.num_steps + 2

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        count_key, key = jax.random.split(key)
        count = jax.random.randint(count_key, (), 0, self.num_steps + 1) if self.random else jnp.asarray(self.num_steps)
        # The weights are stopped before anything is computed from them: nothing is kept for a backward pass.
        weights, rest = eqx.partition(model, eqx.is_inexact_array)
        still = eqx.combine(jax.lax.stop_gradient(weights), rest)

        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            def advance(stepped: Any, state: Array, n: Array) -> Array:
                return stepped(state, parameters, domain=batch.domain, key=jax.random.fold_in(key, n))

            def step(n: Array, state: Array) -> Array:
                return advance(still, state, n).astype(state.dtype)

            state = jax.lax.fori_loop(0, count, step, u[0])
            return error(self.loss, advance(model, state, count), u[count + 1], batch.domain, model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys)), {}
