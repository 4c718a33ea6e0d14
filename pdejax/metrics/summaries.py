"""Scores over times and samples in one number."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float


class CorrelationTime(NamedTuple):
    """`time`: of the fall, or the last time if there is none. `fell`: whether the mean fell below the threshold."""

    time: float
    fell: bool


def correlation_time(
    correlations: Float[Array | np.ndarray, "*sample time"],
    times: Float[Array | np.ndarray, " time"],
    threshold: float | int,
    *,
    interpolate: bool = False,
) -> CorrelationTime:
    """The first time at which the mean correlation over the samples is below the threshold.

    `correlations` is `(sample, time)`, averaged first, or a mean `(time,)`. The answer is one of `times` unless
    `interpolate` is set: then it is where the straight line from the value before crosses the threshold. If the mean
    never falls, the last time is given with `fell=False`: a lower bound. A mean that is NaN (a diverged sample) has
    fallen.

    Raises `ValueError` for other shapes, for no samples or times, and for times that do not increase.
    """
    correlations, times = np.asarray(correlations, np.float64), np.asarray(times, np.float64)
    if times.size == 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"correlation_time needs increasing times, got {times.tolist()}.")
    if correlations.ndim not in (1, 2) or correlations.size == 0 or correlations.shape[-1] != times.size:
        raise ValueError(
            f"correlation_time needs correlations of shape (sample, {times.size}) or ({times.size},) for "
            f"{times.size} times, got {correlations.shape}."
        )
    mean = correlations if correlations.ndim == 1 else correlations.mean(axis=0)
    below = ~(mean >= threshold)
    if not below.any():
        return CorrelationTime(float(times[-1]), False)
    first = int(np.argmax(below))
    if not interpolate or first == 0 or np.isnan(mean[first]):
        return CorrelationTime(float(times[first]), True)
    fraction = (mean[first - 1] - threshold) / (mean[first - 1] - mean[first])
    return CorrelationTime(float(times[first - 1] + fraction * (times[first] - times[first - 1])), True)


def bootstrap_interval(
    values: Float[Array | np.ndarray, "sample *rest"],
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Lower and upper end of the percentile bootstrap interval of the mean over samples.

    The samples are drawn with replacement `num_resamples` times; the same resamples serve all remaining axes, so a
    band over time belongs to whole trajectories. NaN where a sample is NaN.

    Raises `ValueError` without at least two samples or for a confidence outside (0, 1).
    """
    values = np.asarray(values, np.float64)
    if values.ndim == 0 or values.shape[0] < 2:
        raise ValueError(f"bootstrap_interval needs at least two samples along the first axis, got {values.shape}.")
    if not 0 < confidence < 1:
        raise ValueError(f"bootstrap_interval needs a confidence between 0 and 1, got {confidence}.")
    num_samples = values.shape[0]
    counts = np.random.default_rng(seed).multinomial(num_samples, np.full(num_samples, 1 / num_samples), num_resamples)
    means = np.tensordot(counts / num_samples, values, axes=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return np.asarray(low), np.asarray(high)
