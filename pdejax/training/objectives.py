"""What a model is trained for: a scalar of the model and a batch."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.models import output_scale
from pdejax.sizes import safe_sqrt

Loss = Literal["mse", "relative_l2"] | Callable[[Array, Array], Array]
Logs = dict[str, Array]


class Windows(NamedTuple):
    """Consecutive frames of trajectories, `u (batch, frame, channel, *space)`, and parameters `(batch,)` by name."""

    u: Array
    parameters: dict[str, Array]
    domain: Any


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


class OneStep(AbstractObjective):
    """The model's next state against the next frame, from true frames: the batch mean of `loss(model(u_j), u_j+1)`.

    - `loss`: `"mse"`, the mean square in units of the model's `output_scale`; for a `Normalised` residual model it
      is 1 for a model that changes nothing (persistence) and 0 for a perfect one. `"relative_l2"`, the ratio of norms
      per channel, averaged; the size of a channel whose target is zero is that of the whole state. Or a function
      `(prediction, target) -> scalar` of two unbatched states in physical units.
    """

    loss: Loss = eqx.field(static=True, default="mse")
    frames: ClassVar[int | None] = 2

    def __check_init__(self):
        _check_loss(self.loss)

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(u: Array, parameters: dict[str, Array], key: PRNGKeyArray) -> Array:
            return _error(self.loss, model(u[0], parameters, domain=batch.domain, key=key), u[1], model)

        keys = jax.random.split(key, batch.u.shape[0])
        return jnp.mean(jax.vmap(one)(batch.u, batch.parameters, keys)), {}


class Supervised(AbstractObjective):
    """The model's output against a target, operator learning without time: the batch mean of `loss(model(x), y)`.

    `loss` is that of `OneStep`.
    """

    loss: Loss = eqx.field(static=True, default="mse")
    frames: ClassVar[int | None] = None

    def __check_init__(self):
        _check_loss(self.loss)

    def __call__(self, model: Any, batch: Pairs, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        def one(inputs: Array, target: Array, key: PRNGKeyArray) -> Array:
            return _error(self.loss, model(inputs, key=key), target, model)

        keys = jax.random.split(key, batch.inputs.shape[0])
        return jnp.mean(jax.vmap(one)(batch.inputs, batch.targets, keys)), {}


def _check_loss(loss: Any) -> None:
    if not callable(loss) and loss not in ("mse", "relative_l2"):
        raise ValueError(f'A loss is "mse", "relative_l2" or a function of prediction and target, got {loss!r}.')


def _error(loss: Loss, prediction: Array, target: Array, model: Any) -> Array:
    if prediction.shape != target.shape:
        # Without this check the difference would broadcast, and a model would train on nonsense.
        raise ValueError(
            f"The model returns shape {prediction.shape} but the target has shape {target.shape}; match the model's "
            "out_channels to the data."
        )
    if callable(loss):
        return loss(prediction, target)
    space = tuple(range(1, target.ndim))
    sizes = _sizes(target) if loss == "relative_l2" else jnp.asarray(output_scale(model), target.dtype)
    # Divided before it is squared: the square of an error of 1e-25 is zero in single precision.
    error = (prediction - target) / sizes.reshape((-1,) + (1,) * len(space) if sizes.ndim else ())
    mean_square = jnp.mean(error**2, axis=space)
    return jnp.mean(safe_sqrt(mean_square) if loss == "relative_l2" else mean_square)


def _sizes(target: Array) -> Array:
    """The root mean square of every channel; of one that is zero, that over all channels."""
    space = tuple(range(1, target.ndim))
    largest = jnp.max(jnp.abs(target), axis=space, keepdims=True)
    largest = jnp.where(largest > 0, largest, 1.0)
    sizes = largest.ravel() * jnp.sqrt(jnp.mean((target / largest) ** 2, axis=space))
    unit = jnp.where(jnp.max(sizes) > 0, jnp.max(sizes), 1.0)
    over_all = unit * jnp.sqrt(jnp.mean((sizes / unit) ** 2))
    return jnp.where(sizes > 0, sizes, jnp.where(over_all > 0, over_all, 1.0))
