"""What an objective is, and the batches it is given."""

import abc
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

Logs = dict[str, Array]


class Windows(NamedTuple):
    """Consecutive frames of trajectories, `u (batch, frame, channel, *space)`, and parameters `(batch,)` by name.

    `step` is how many optimiser steps were taken before; held-out data are scored as after more than any run takes, at
    the end of every schedule. `interval` is the time from frame to frame, or None where it is not the same for all or
    not known. `bundle` is how many consecutive frames one entry of the axis of frames holds as channels (`Bundled`);
    `interval` is that of the single frames. `time` is that of the first frame, of a bundle that of its last one: one
    number or `(batch,)`.
    """

    u: Array
    parameters: dict[str, Array]
    domain: Any
    step: Any = 0
    interval: Any = 1.0
    time: Any = 0.0
    bundle: Any = 1


class Pairs(NamedTuple):
    """Inputs `(batch, channel, *space)`, the targets that belong to them, `(batch, channel_out, *space)`, and what the
    model is told of each: numbers `(batch,)` and fields `(batch, *space)`, by name."""

    inputs: Array
    targets: Array
    parameters: dict[str, Array] = {}


class AbstractObjective(eqx.Module):
    """`objective(model, batch, key) -> (loss, logs)`: a scalar to minimise and a dict of scalars to write down.

    `frames` is how many consecutive frames of a trajectory one window must hold (the batch is `Windows`), or None for
    an objective that takes `Pairs`.
    """

    frames: eqx.AbstractVar[int | None]

    @property
    def bundle(self) -> int:
        """How many frames one state of the model holds, as channels."""
        return 1

    def targets(self, u: np.ndarray, interval: float | None, parameters: Any) -> np.ndarray | None:
        """What the model is to return for trajectories `u (sample, time, channel, *space)`, with the same axes, where
        that is neither the next frame nor an increment; else None. `fit` measures its statistics."""
        return None

    def check_data(self, domain: Any, interval: float | None, parameters: Any) -> None:
        """Raises `ValueError` for data that this objective cannot be computed from; called before anything is traced.

        `domain` and `interval` are those of `Windows`, `parameters` holds `(sample,)` by name.
        """

    @abc.abstractmethod
    def __call__(self, model: Any, batch: Any, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        """The loss of one batch; `key` is for what the objective draws at random."""

    def residuals(self, model: Any, batch: Any, key: PRNGKeyArray) -> Array:
        """An array whose mean square is the loss, for `fit_least_squares`. Raises `ValueError` where there is none."""
        raise ValueError(
            f"{type(self).__name__} has no residuals, of which its loss would be the mean square: use OneStep(), "
            "Supervised() or Unrolled(n), or minimise it by `fit` with optax.lbfgs()."
        )


def each_objective(objective: AbstractObjective) -> Iterator[AbstractObjective]:
    """`objective`, and those it is made of."""
    yield objective

    def is_part(node: Any) -> bool:
        return node is not objective and isinstance(node, AbstractObjective)

    for node in jax.tree.leaves(objective, is_leaf=is_part):
        if is_part(node):
            yield from each_objective(node)


def check_in_time(taker: str, objective: Any) -> None:
    """Raises `ValueError` for what is no objective in time of single states, to be a part of `taker`."""
    if not isinstance(objective, AbstractObjective) or objective.frames is None:
        raise ValueError(f"{taker} takes an objective in time, e.g. OneStep(), got {objective!r}.")
    if type(objective).targets is not AbstractObjective.targets:
        raise ValueError(f"{type(objective).__name__} trains another quantity than states: it is no part of {taker}.")
    if objective.bundle > 1:
        raise ValueError(f"Bundled surrounds all others: Bundled({taker}(...), frames), and not {taker}(Bundled(...)).")
