"""Several steps of a model, each from its own output, through all of which the gradient goes."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error, residuals
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows

# A loop that is differentiated copies what its backward pass needs in and out of stacks, step by step: a gradient of
# four steps of an FNO takes 56 ms with it and 39 ms written out, one step 8 ms. Longer programs compile for longer.
STEPS_IN_A_ROW = 8


class Unrolled(AbstractObjective):
    r"""The model is fed its own output `num_steps` times, from a true frame, and compared with the truth every time:

        v_0 = u_j,   v_n = model(v_n-1),   batch mean of  sum_n weights_n loss(v_n, u_j+n)

    The logs hold the loss of every step, `loss_step_1` and so on. Over a `pdejax.models.Corrected` or
    `LearnedSolver` model this trains with the solver in the loop.

    - `loss`: that of `OneStep`.
    - `gradient_steps`: backpropagation through so many steps at a time: after every so many the state is taken as it
      is, without its derivative. None: through all of them.
    - `weights`: of the steps, scaled to the sum 1; equal ones by default.
    - `teacher_forcing`: the probability that a step starts from the true frame and not from the model's own state,
      drawn for every sample and step: a number, or a schedule of the optimiser step (any of optax). From 1, which is
      `OneStep`, to 0 it leads from the one kind of training to the other (Bengio et al., Scheduled Sampling for
      Sequence Prediction with Recurrent Neural Networks, NeurIPS 2015). `fit` scores held-out data as at its end.
    - `remat`: keeps the states alone for the backward pass, and computes the inside of every step twice.

    Raises `ValueError` for counts below one, for as many weights as there are no steps, and for a probability outside
    0 to 1.
    """

    num_steps: int = eqx.field(static=True)
    loss: Loss
    gradient_steps: int | None = eqx.field(static=True)
    weights: tuple[float, ...] = eqx.field(static=True)
    teacher_forcing: float | int | Callable[[Any], Any] = eqx.field(static=True)
    remat: bool = eqx.field(static=True)

    def __init__(
        self,
        num_steps: int,
        loss: Loss = MEAN_SQUARE,
        *,
        gradient_steps: int | None = None,
        weights: Sequence[float | int] | np.ndarray | None = None,
        teacher_forcing: float | int | Callable[[Any], Any] = 0.0,
        remat: bool = False,
    ):
        check_loss(loss)
        self.num_steps, self.loss, self.remat = count_of("num_steps", num_steps), loss, remat
        self.gradient_steps = None if gradient_steps is None else count_of("gradient_steps", gradient_steps)
        given = np.ones(self.num_steps) if weights is None else np.asarray(weights, float)
        if given.shape != (self.num_steps,) or not np.all(given >= 0) or not 0 < given.sum() < np.inf:
            raise ValueError(
                f"Unrolled({num_steps}) needs {num_steps} weights, none negative and not all zero, got {weights}."
            )
        self.weights = tuple(float(weight) for weight in given / given.sum())
        if not callable(teacher_forcing) and not 0 <= teacher_forcing <= 1:
            raise ValueError(f"teacher_forcing is a probability, from 0 to 1, got {teacher_forcing}.")
        self.teacher_forcing = teacher_forcing

    @property
    def frames(self) -> int:
        return self.num_steps + 1

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        errors = jnp.mean(self._each(error, model, batch, key), axis=0)
        logs = {f"loss_step_{n + 1}": errors[n] for n in range(self.num_steps)}
        return jnp.sum(errors * jnp.asarray(self.weights, errors.dtype)), logs

    def residuals(self, model: Any, batch: Windows, key: PRNGKeyArray) -> Array:
        if self.gradient_steps is not None:
            raise ValueError(
                f"Least squares need the whole derivative, got gradient_steps={self.gradient_steps}: leave it out."
            )
        each = self._each(residuals, model, batch, key)
        # The mean over the steps has to be the weighted sum.
        weights = np.sqrt(np.asarray(self.weights) * self.num_steps)
        return each * jnp.asarray(weights, each.dtype).reshape((-1,) + (1,) * (each.ndim - 2))

    def _each(self, measure: Callable[..., Array], model: Any, batch: Windows, key: PRNGKeyArray) -> Array:
        """`measure` of every sample and step, `(batch, num_steps, ...)`."""
        forcing = self.teacher_forcing(batch.step) if callable(self.teacher_forcing) else self.teacher_forcing

        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            def step(state: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
                n, previous, following = inputs
                choice_key, model_key = jax.random.split(jax.random.fold_in(key, n))
                if self.gradient_steps is not None:
                    cut = (n > 0) & (n % self.gradient_steps == 0)
                    state = jnp.where(cut, jax.lax.stop_gradient(state), state)
                if callable(self.teacher_forcing) or self.teacher_forcing > 0:
                    state = jnp.where(jax.random.bernoulli(choice_key, forcing), previous, state)
                predicted = model(state, parameters, domain=batch.domain, key=model_key)
                return predicted.astype(state.dtype), measure(self.loss, predicted, following, batch.domain, model)

            step = jax.checkpoint(step) if self.remat else step
            inputs = (jnp.arange(self.num_steps), u[:-1], u[1:])
            _, errors = jax.lax.scan(step, u[0], inputs, unroll=min(self.num_steps, STEPS_IN_A_ROW))
            return errors

        keys = jax.random.split(key, batch.u.shape[0])
        return jax.vmap(one)(batch.u, batch.parameters, keys)
