"""The loss of one state that a model returned."""

from typing import Any

from jaxtyping import Array

from pdejax.models import output_scale
from pdejax.training.losses import MeanSquare
from pdejax.training.losses.loss import AbstractLoss, Loss

# What every objective minimises unless it is told otherwise.
MEAN_SQUARE = MeanSquare()


def error(loss: Loss, prediction: Array, target: Array, domain: Any, model: Any) -> Array:
    """`loss` in the units of `model`. Raises `ValueError` where prediction and target differ in shape."""
    return error_in(loss, prediction, target, domain, output_scale(model))


def error_in(loss: Loss, prediction: Array, target: Array, domain: Any, scale: Any) -> Array:
    """`loss` in units of `scale`, one number or one per channel."""
    _check_shape(prediction, target)
    if isinstance(loss, AbstractLoss):
        return loss(prediction, target, domain, scale)
    return loss(prediction, target)


def residuals(loss: Loss, prediction: Array, target: Array, domain: Any, model: Any) -> Array:
    """What `loss` is the mean square of. Raises `ValueError` where it is none, and for shapes as `error` does."""
    _check_shape(prediction, target)
    if not isinstance(loss, MeanSquare):
        raise ValueError(
            f"Least squares minimise MeanSquare(), got the loss {loss!r}: leave it out, or minimise it by `fit` with "
            "optax.lbfgs()."
        )
    return loss.residuals(prediction, target, output_scale(model))


def _check_shape(prediction: Array, target: Array) -> None:
    if prediction.shape != target.shape:
        # Without this check the difference would broadcast, and a model would train on nonsense.
        same_channels = prediction.ndim == target.ndim and prediction.shape[:1] == target.shape[:1]
        fix = "match the model's out_channels to the data."
        if same_channels:
            fix = (
                "the channels agree and the points do not, and a model returns the points of its input: bring inputs "
                "and targets onto one grid, e.g. by pdejax.resample(u, grid, target_grid)."
            )
        raise ValueError(f"The model returns shape {prediction.shape} but the target has shape {target.shape}; {fix}")
