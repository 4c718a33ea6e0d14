"""What a model with a latent space learns: to predict, to give back what it has read, and to stay in its own space."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.models.latent import in_latent_space, keys_of_parts
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows
from pdejax.training.objectives.unrolled import STEPS_IN_A_ROW


class Latent(AbstractObjective):
    r"""A `pdejax.models.LatentEvolution` on `num_steps` steps in its latent space, from a true frame:

        z_0 = E(u_j),   z_n = the step of z_n-1,   batch mean of

        prediction      sum_n weights_n loss(D(z_n), u_j+n)
        + reconstruction   loss(D(z_0), u_j)
        + consistency   mean over n of |z_n - E(u_j+n)|^2 / |E(u_j+n)|^2

    each times the number of that name. No state is encoded but true ones. The logs hold the three terms without these
    numbers, `loss_prediction` and so on, and the loss of every step, `loss_step_1`.

    - `loss`: that of `OneStep`; without one in units of the deviation of the states, where `fit` normalises the model.
    - `weights`: of the steps, scaled to the sum 1; equal ones by default.
      The published settings in two dimensions are 1, 0.1, 0.1, 0.1.
    - `prediction`, `reconstruction`, `consistency`: what the terms are multiplied by, 1 by default.

    Raises `ValueError` for counts below one, as many weights as there are no steps, weights that are negative or all
    zero; at trace time for a model without a latent space.
    Source: Wu, Maruyama & Leskovec, Learning to Accelerate Partial Differential Equations via Latent Global Evolution
    (NeurIPS 2022).
    """

    num_steps: int = eqx.field(static=True)
    loss: Loss
    weights: tuple[float, ...] = eqx.field(static=True)
    prediction: float = eqx.field(static=True)
    reconstruction: float = eqx.field(static=True)
    consistency: float = eqx.field(static=True)

    def __init__(
        self,
        num_steps: int = 4,
        loss: Loss = MEAN_SQUARE,
        *,
        weights: Sequence[float | int] | np.ndarray | None = None,
        prediction: float | int = 1.0,
        reconstruction: float | int = 1.0,
        consistency: float | int = 1.0,
    ):
        check_loss(loss)
        self.num_steps, self.loss = count_of("num_steps", num_steps), loss
        given = np.ones(self.num_steps) if weights is None else np.asarray(weights, float)
        if given.shape != (self.num_steps,) or not np.all(given >= 0) or not 0 < given.sum() < np.inf:
            raise ValueError(
                f"Latent({num_steps}) needs {num_steps} weights, none negative and not all zero, got {weights}."
            )
        self.weights = tuple(float(weight) for weight in given / given.sum())
        terms = {"prediction": prediction, "reconstruction": reconstruction, "consistency": consistency}
        if not all(0 <= weight < np.inf for weight in terms.values()) or not any(terms.values()):
            raise ValueError(f"The terms of Latent are weighed by numbers >= 0, not all of them 0, got {terms}.")
        self.prediction, self.reconstruction, self.consistency = map(float, terms.values())

    @property
    def frames(self) -> int:
        return self.num_steps + 1

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> tuple[Array, Array, Array]:
            inside, first, told, restore = in_latent_space(model, u[0], parameters)

            def decoded(z: Array, target: Array, key: Any) -> Array:
                state = restore(inside.decode(z, told, domain=batch.domain, key=key))
                return error(self.loss, state, target, batch.domain, model)

            def encoded(u: Array, key: Any) -> Array:
                return inside.encode(in_latent_space(model, u, parameters)[1], told, domain=batch.domain, key=key)

            def step(z: Array, inputs: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
                n, following = inputs
                of_encoder, of_dynamics, of_decoder = keys_of_parts(jax.random.fold_in(key, n))
                z = inside.evolve(z, told, domain=batch.domain, key=of_dynamics)
                sought = encoded(following, of_encoder)
                size = jnp.sum(sought**2)
                off = jnp.sum((z - sought) ** 2) / jnp.where(size > 0, size, 1)
                return z, (decoded(z, following, of_decoder), off)

            of_encoder, _, of_decoder = keys_of_parts(jax.random.fold_in(key, self.num_steps))
            z = inside.encode(first, told, domain=batch.domain, key=of_encoder)
            inputs = (jnp.arange(self.num_steps), u[1:])
            _, (errors, off) = jax.lax.scan(step, z, inputs, unroll=min(self.num_steps, STEPS_IN_A_ROW))
            return errors, decoded(z, u[0], of_decoder), jnp.mean(off)

        keys = jax.random.split(key, batch.u.shape[0])
        errors, *others = jax.vmap(one)(batch.u, batch.parameters, keys)
        errors, (given_back, off) = jnp.mean(errors, axis=0), map(jnp.mean, others)
        predicted = jnp.sum(errors * jnp.asarray(self.weights, errors.dtype))
        total = self.prediction * predicted + self.reconstruction * given_back + self.consistency * off
        logs = {"loss_prediction": predicted, "loss_reconstruction": given_back, "loss_consistency": off}
        return total, logs | {f"loss_step_{n + 1}": errors[n] for n in range(self.num_steps)}
