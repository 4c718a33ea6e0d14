"""Fitting by a solver of jaxopt: all data in one batch, no noise, so that line searches and quasi-Newton steps work.

Nothing of jaxopt is imported here: the solver comes from the caller.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from pdejax.training.full_batch import full_batch
from pdejax.training.objectives import AbstractObjective


def full_batch_loss(
    model: Any,
    objective: AbstractObjective,
    data: Any,
    *,
    key: PRNGKeyArray,
    normalise: bool = True,
    frozen: Callable[[Any], Any] | None = None,
) -> tuple[Callable[[Any, Any], Any], Any, Any, Callable[[Any], Any]]:
    """`(loss, weights, batch, model_of)`: the objective over all windows (or pairs) at once, for any minimiser.

    `loss(weights, batch)` is a scalar, differentiable in the pytree `weights`; `batch` is the pytree of arrays that
    holds the data; `model_of(weights)` is the model with these weights. The arguments are those of
    `minimise_with_jaxopt`, and so are the errors that they raise.
    """
    problem = full_batch(model, objective, data, normalise, frozen)

    def loss(weights: Any, batch: Any) -> Any:
        return objective(problem.model(weights), problem.batch(batch), key)[0]

    return loss, problem.weights, problem.arrays, problem.model


def minimise_with_jaxopt(
    solver: Callable[[Callable[..., Any]], Any],
    model: Any,
    objective: AbstractObjective,
    data: Any,
    *,
    key: PRNGKeyArray,
    normalise: bool = True,
    frozen: Callable[[Any], Any] | None = None,
) -> tuple[Any, Any]:
    """Minimises `objective` over the weights of `model` by a solver of jaxopt; returns the model and its last state.

    - `solver`: the class, `jaxopt.LBFGS`, or a function of the loss, `lambda loss: jaxopt.BFGS(loss, maxiter=50)`: any
      that minimises a scalar function of a pytree. (Least-squares solvers, e.g. `jaxopt.LevenbergMarquardt`, take
      residuals and do not fit.)
    - `data`, `normalise`, `frozen`: those of `fit`. All windows are one batch, so that memory bounds the data.
    - `key`: for what the objective or the model draws at random; the draw is the same in every evaluation.

    Raises `ValueError` for arguments that `fit` would not take, and for a solver that ends where the loss or a weight
    is not finite.
    """
    loss, weights, batch, model_of = full_batch_loss(
        model, objective, data, key=key, normalise=normalise, frozen=frozen
    )
    if not callable(solver):
        given = type(solver).__name__
        raise ValueError(f"minimise_with_jaxopt builds the solver, got a {given} that is built: pass jaxopt.{given}.")
    # Copied, for solvers that are told to donate: the caller keeps his model.
    found, state = solver(loss).run(jax.tree.map(jnp.copy, weights), batch)
    last = float(jax.jit(loss)(found, batch))
    if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in [last, *jax.tree.leaves(found)]):
        raise ValueError(
            f"The solver ended at a loss of {last} or at weights that are not finite: begin from other weights, or "
            "give it a smaller first step, e.g. lambda loss: jaxopt.LBFGS(loss, max_stepsize=0.1)."
        )
    return model_of(found), state
