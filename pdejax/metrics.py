"""Scores of a prediction against the truth: `(prediction, truth, domain) -> (channel,)`.

States are unbatched, `(channel, *space)`, and every mean over space is the domain's quadrature, so a score belongs to
the fields and not to the resolution. Each channel is scored on its own; use `jax.vmap` for samples and times.

A relative score of a truth that is zero throughout is 0 where the prediction is zero too and infinite elsewhere. A NaN
in a state gives NaN. `correlation_time` and `bootstrap_interval` summarise such scores over time and over samples.

Relative scores are relative to the channel's own truth, so that units do not matter: a channel of size 1e-6 beside one
of size 1 weighs as much in a mean over channels. The other side of it is that a channel which holds nothing but
rounding is scored like any other, and its score, of order one or more, says nothing: read the channels one by one
before their mean.

Relative scores are taken in units of the field's largest value and sizes after division by it, so a field of order
1e-30 or 1e30 is scored in single precision as well as one of order one, and has as good a gradient. Where a size is
zero its derivative, which does not exist, is given as zero, and so is that of a relative score of a zero truth, 0 or
infinite: a loss made of these scores has a finite gradient where prediction and truth agree, and a channel whose truth
is zero adds nothing to the gradient of the others.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pdejax.grid import Grid, check_uniform
from pdejax.sizes import safe_sqrt, size

State = Float[Array | np.ndarray, "channel *space"]


def mse(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """Mean squared error over the box, in squared units of the field."""
    prediction, truth = _checked(prediction, truth, domain)
    return _mean((prediction - truth) ** 2, domain)


def rmse(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """Root of the mean squared error over the box, in units of the field."""
    prediction, truth = _checked(prediction, truth, domain)
    return root_mean_square(prediction - truth, domain)


def root_mean_square(u: State, domain: Grid) -> Float[Array, " channel"]:
    """Root of the mean of u^2 over the box, in units of the field; its derivative is zero where u is zero."""
    u = jnp.asarray(u, jnp.promote_types(jnp.result_type(u), jnp.float32))
    return size(u, partial(_mean, domain=domain), tuple(range(1, domain.ndim + 1)))


def varies(u: State, domain: Grid) -> Bool[Array, " channel"]:
    """Whether a channel is more than its mean over the box: its fluctuation is above the rounding of its size."""
    u = jnp.asarray(u, jnp.promote_types(jnp.result_type(u), jnp.float32))
    rounding = 8 * float(jnp.finfo(u.dtype).eps)  # a mean over many points
    # Negated, so that NaN is something and not nothing.
    return ~(root_mean_square(_centred(u, domain), domain) <= rounding * root_mean_square(u, domain))


def relative_l2(prediction: State, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """`|prediction - truth| / |truth|` in the L2 norm over the box; 1 for a prediction of zero."""
    prediction, truth = _in_units_of_truth(*_checked(prediction, truth, domain), domain)
    return _ratio(root_mean_square(prediction - truth, domain), root_mean_square(truth, domain))


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
    prediction, truth = _in_units_of_truth(*_checked(prediction, truth, domain), domain)
    deviation = root_mean_square(_centred(truth, domain), domain)
    return _ratio(root_mean_square(prediction - truth, domain), jnp.where(varies(truth, domain), deviation, 0.0))


def correlation(prediction: State, truth: State, domain: Grid, *, remove_mean: bool = True) -> Float[Array, " channel"]:
    """Pearson correlation over the box, in [-1, 1]:

        <p, q> / (|p| |q|),    p = prediction - mean of prediction,    q = truth - mean of truth

    With `remove_mean=False` the means stay in (the cosine of the angle between the fields), as in the vorticity
    correlation of Kochkov et al. (PNAS 2021); for a vorticity on a periodic box, of mean zero, both are the same.
    It is 0 where either p or q is zero throughout, a constant minus its mean up to rounding included.
    """
    prediction, truth = _checked(prediction, truth, domain)
    product, nothing, known = 1.0, False, True
    for u in (prediction, truth):
        u = u / _unit(_largest(u, domain))
        centred = _centred(u, domain) if remove_mean else u
        size = root_mean_square(centred, domain)
        is_nothing = ~varies(u, domain) if remove_mean else size == 0
        # Each by its own size: the product of two small sizes would vanish.
        product = product * centred / jnp.where(is_nothing, 1.0, size).reshape((-1,) + (1,) * domain.ndim)
        nothing, known = nothing | is_nothing, known & ~jnp.isnan(size)
    return jnp.where(nothing & known, 0.0, _mean(product, domain))


def energy_spectrum(u: State, domain: Grid) -> Float[Array, "channel shell"]:
    r"""Mean square of the field in shells of Fourier modes: entry s sums |c_n|^2 over s - 1/2 <= |n| < s + 1/2,

        u(x) = sum over n of c_n exp(2 pi i n . (x - origin) / extent).

    Entry 0 is the squared mean, and all entries sum to the mean of u^2 over the box (Parseval). The kinetic energy per
    mass of a velocity is half the sum over its channels. The mode numbers n count waves per side of the box, so shell s
    is the wavenumber 2 pi s / extent where all sides are equal.

    Shells beyond (min(shape) - 1) // 2 are cut by the edge of the resolved modes and hold only their corners.
    Energies are squares: in single precision those of fields beyond 1e19 or below 1e-19 are not numbers that it has.

    Raises `ValueError` on a grid that is not periodic, and on stretched points.
    """
    if not all(domain.periodic):
        raise ValueError(f"energy_spectrum needs a periodic grid, got periodic={domain.periodic}.")
    check_uniform(
        domain, "energy_spectrum", "of which it takes a Fourier transform", "compare fields by relative_l2 or vrmse"
    )
    domain.check_state(u, jnp.shape(u)[0])
    space = tuple(range(1, domain.ndim + 1))
    coefficients = jnp.fft.rfftn(jnp.asarray(u, jnp.promote_types(u.dtype, jnp.float32)), axes=space, norm="forward")
    power = coefficients.real**2 + coefficients.imag**2
    # A real transform stores one of each pair n, -n, except on the lines that are their own mirror image.
    pairs = np.full(power.shape[-1], 2.0)
    pairs[0] = 1.0
    if domain.shape[-1] % 2 == 0:
        pairs[-1] = 1.0
    axes = [np.fft.fftfreq(n, 1 / n) for n in domain.shape[:-1]] + [np.arange(power.shape[-1])]
    radius = np.sqrt(sum(mode**2 for mode in np.meshgrid(*axes, indexing="ij")))
    shells = np.floor(radius + 0.5).astype(np.int32).ravel()
    per_mode = (power * jnp.asarray(pairs, power.dtype)).reshape(power.shape[0], -1)
    return jax.ops.segment_sum(per_mode.T, shells, num_segments=int(shells.max()) + 1).T


def spectrum_error(
    prediction: State, truth: State, domain: Grid, *, floor: float | int = 1e-10
) -> Float[Array, " channel"]:
    r"""Root mean square of log((E_prediction(s) + e) / (E_truth(s) + e)) over the shells s = 1..S of `energy_spectrum`.

    Every complete shell counts the same, S = (min(shape) - 1) // 2, so missing small scales show although they hold
    little energy: 0.1 is 10 % too much or too little energy in a typical shell, 0.69 a factor of two. The logarithm is
    natural. Energies below e = `floor` times the mean square of the truth are noise and count as equal; 1e-10 is above
    the rounding of fields stored in single precision.

    Raises `ValueError` on a grid that is not periodic, on stretched points, and on a grid that has two points along an
    axis and no complete shell.
    """
    prediction, truth = _checked(prediction, truth, domain)
    if min(domain.shape) < 3:
        raise ValueError(
            f"spectrum_error compares complete shells of modes, of which a grid of shape {domain.shape} has none: it "
            "needs three points along every axis."
        )
    complete = slice(1, (min(domain.shape) - 1) // 2 + 1)
    prediction, truth = _in_units_of_truth(prediction, truth, domain)
    predicted, true = energy_spectrum(prediction, domain), energy_spectrum(truth, domain)
    least = floor * jnp.sum(true, axis=1, keepdims=True)
    ratio = _ratio(predicted[:, complete] + least, true[:, complete] + least, both_zero=1.0)
    return safe_sqrt(jnp.mean(jnp.log(ratio) ** 2, axis=1))


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


def _checked(prediction: State, truth: State, domain: Grid) -> tuple[Array, Array]:
    """Both as arrays of one shape and precision, the better of the two."""
    domain.check_state(truth, jnp.shape(truth)[0], "The truth")
    domain.check_state(prediction, jnp.shape(truth)[0], "The prediction")
    dtype = jnp.promote_types(jnp.result_type(prediction, truth), jnp.float32)
    return jnp.asarray(prediction, dtype), jnp.asarray(truth, dtype)


def _in_units_of_truth(prediction: Array, truth: Array, domain: Grid) -> tuple[Array, Array]:
    """Both over the size of the truth, or of the prediction where that is zero: no square is huge or vanishes."""
    true_size, predicted_size = _largest(truth, domain), _largest(prediction, domain)
    unit = _unit(jnp.where(true_size > 0, true_size, predicted_size))
    return prediction / unit, truth / unit


def _largest(u: Float[Array, "channel *space"], domain: Grid) -> Float[Array, "channel ..."]:
    return jnp.max(jnp.abs(jax.lax.stop_gradient(u)), axis=tuple(range(1, domain.ndim + 1)), keepdims=True)


def _unit(largest: Float[Array, "..."]) -> Float[Array, "..."]:
    """The power of two below `largest`, by which division is exact; 1 where that is zero or not finite."""
    numbers = jnp.finfo(largest.dtype)
    usual = (largest > 0) & jnp.isfinite(largest)
    # Neither a unit nor one over it may be a subnormal number, which is flushed to zero.
    within = jnp.clip(jnp.where(usual, largest, 1.0), 4 * numbers.tiny, numbers.max / 8)
    _, exponent = jnp.frexp(within)
    return jnp.ldexp(jnp.ones_like(within), exponent - 1)


def _mean(u: Float[Array, "..."], domain: Grid) -> Float[Array, "..."]:
    return domain.integrate(u) / domain.volume.astype(u.dtype)


def _centred(u: Float[Array, "channel *space"], domain: Grid) -> Float[Array, "channel *space"]:
    return u - _mean(u, domain).reshape((-1,) + (1,) * domain.ndim)


def _ratio(
    numerator: Float[Array, "..."], denominator: Float[Array, "..."], both_zero: float = 0.0
) -> Float[Array, "..."]:
    """`numerator / denominator`, infinite for a zero denominator unless both are zero. NaN stays NaN.

    Over a zero denominator the derivative is zero: that of the quotient, infinite, times any zero would be NaN.
    """
    none = denominator == 0
    quotient = numerator / jnp.where(none, 1.0, denominator)
    undefined = jnp.where(numerator == 0, both_zero, jnp.where(jnp.isnan(numerator), jnp.nan, jnp.inf))
    return jnp.where(none, undefined, quotient)
