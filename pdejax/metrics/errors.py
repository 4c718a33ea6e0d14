"""Scores of the difference between a prediction and the truth."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.metrics.sizes_of_fields import (
    State,
    both_checked,
    in_units_of_truth,
    mean_of,
    ratio_of,
    root_mean_square,
    varies,
    without_mean,
)


def mse(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """Mean squared error over the box, in squared units of the field."""
    prediction, truth = both_checked(prediction, truth, domain)
    return mean_of((prediction - truth) ** 2, domain)


def rmse(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """Root of the mean squared error over the box, in units of the field."""
    prediction, truth = both_checked(prediction, truth, domain)
    return root_mean_square(prediction - truth, domain)


def relative_l2(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """`|prediction - truth| / |truth|` in the L2 norm over the box; 1 for a prediction of zero."""
    prediction, truth = in_units_of_truth(*both_checked(prediction, truth, domain), domain)
    return ratio_of(root_mean_square(prediction - truth, domain), root_mean_square(truth, domain))


def nrmse(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """`rmse` over the root mean square of the truth, the nRMSE of PDEBench and APEBench; 1 for a prediction of zero.

    The box cancels, so for one state this is `relative_l2` under the name those benchmarks use.
    """
    return relative_l2(prediction, truth, domain)


def vrmse(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """`rmse` over the standard deviation of the truth in space, the VRMSE of The Well; 1 for a prediction of the mean.

    Unlike `relative_l2`, it does not flatter a field with a large mean (a density, a temperature). The deviation of a
    truth that is constant up to rounding (`varies`) is zero: the score is 0 where both are equal, infinite elsewhere.
    """
    prediction, truth = in_units_of_truth(*both_checked(prediction, truth, domain), domain)
    deviation = root_mean_square(without_mean(truth, domain), domain)
    return ratio_of(root_mean_square(prediction - truth, domain), jnp.where(varies(truth, domain), deviation, 0.0))
