"""How far one state is from another."""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from pdejax.models import output_scale
from pdejax.sizes import safe_sqrt

Loss = Literal["mse", "relative_l2"] | Callable[[Array, Array], Array]


def check_loss(loss: Any) -> None:
    if not callable(loss) and loss not in ("mse", "relative_l2"):
        raise ValueError(f'A loss is "mse", "relative_l2" or a function of prediction and target, got {loss!r}.')


def error(loss: Loss, prediction: Array, target: Array, model: Any) -> Array:
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
