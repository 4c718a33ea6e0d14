"""What an objective is, and the batches it is given."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

Logs = dict[str, Array]


class Windows(NamedTuple):
    """Consecutive frames of trajectories, `u (batch, frame, channel, *space)`, and parameters `(batch,)` by name.

    `step` is how many optimiser steps were taken before; held-out data are scored as after more than any run takes, at
    the end of every schedule. `interval` is the time from frame to frame, or None where it is not the same for all.
    """

    u: Array
    parameters: dict[str, Array]
    domain: Any
    step: Any = 0
    interval: Any = 1.0


class Pairs(NamedTuple):
    """Inputs `(batch, channel, *space)` and the targets that belong to them, `(batch, channel_out, *space)`."""

    inputs: Array
    targets: Array


class AbstractObjective(eqx.Module):
    """`objective(model, batch, key) -> (loss, logs)`: a scalar to minimise and a dict of scalars to write down.

    `frames` is how many consecutive frames of a trajectory one window must hold (the batch is `Windows`), or None for
    an objective that takes `Pairs`.
    """

    frames: eqx.AbstractVar[int | None]

    @abc.abstractmethod
    def __call__(self, model: Any, batch: Any, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        """The loss of one batch; `key` is for what the objective draws at random."""

    def residuals(self, model: Any, batch: Any, key: PRNGKeyArray) -> Array:
        """An array whose mean square is the loss, for `fit_least_squares`. Raises `ValueError` where there is none."""
        raise ValueError(
            f"{type(self).__name__} has no residuals, of which its loss would be the mean square: use OneStep(), "
            "Supervised() or Unrolled(n), or minimise it by `fit` with optax.lbfgs()."
        )
