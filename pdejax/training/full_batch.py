"""All data of a fit in one batch, without a change from step to step, as line searches and least squares need them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optax

from pdejax.training.agreement import check_agreement
from pdejax.training.arguments import check_arguments
from pdejax.training.dataset import batch_at, device_data
from pdejax.training.normalising import as_given, is_normalised, normalised
from pdejax.training.objectives import AbstractObjective
from pdejax.training.state import optimised


class FullBatch(NamedTuple):
    """`weights` are what is fitted, `rest` is the rest of the model; `arrays` hold all windows (or pairs), `around` is
    what a batch has besides."""

    weights: Any
    rest: Any
    arrays: Any
    around: Any

    def model(self, weights: Any) -> Any:
        return eqx.combine(weights, self.rest)

    def batch(self, arrays: Any) -> Any:
        return eqx.combine(arrays, self.around)


def full_batch(
    model: Any, objective: AbstractObjective, data: Any, normalise: bool, frozen: Callable[[Any], Any] | None
) -> FullBatch:
    """The arguments of `fit`, checked as it does, with the statistics of `data` around the model if asked for."""
    # An optimiser that does nothing: the check asks for one, and what minimises is none of optax.
    check_arguments(model, objective, optax.identity(), normalise)
    placed = device_data("data", data, objective.frames, 1, model, objective.bundle)
    check_agreement(model, objective, placed)
    normalise = normalise and not is_normalised(model)
    if normalise:
        predicted = partial(objective.targets, interval=placed.interval)
        model = normalised(model, data, objective.frames, objective.bundle, predicted)
    flags = optimised(model, frozen, as_given if normalise else lambda tree: tree)
    batch = batch_at(placed, jnp.arange(placed.num_windows))
    # Arrays become arguments and no constants, which the compiler would fold.
    return FullBatch(*eqx.partition(model, flags), *eqx.partition(batch, eqx.is_array))
