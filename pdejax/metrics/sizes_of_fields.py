"""What the scores are made of: means over the box, sizes, and ratios of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pdejax.grid import Grid
from pdejax.sizes import size

State = Float[Array | np.ndarray, "channel *space"]


def root_mean_square(u: State, domain: Grid) -> Float[Array, " channel"]:
    """Root of the mean of u^2 over the box, in units of the field; its derivative is zero where u is zero."""
    u = jnp.asarray(u, jnp.promote_types(jnp.result_type(u), jnp.float32))
    return size(u, partial(mean_of, domain=domain), tuple(range(1, domain.ndim + 1)))


def varies(u: State, domain: Grid) -> Bool[Array, " channel"]:
    """Whether a channel is more than its mean over the box: its fluctuation is above the rounding of its size."""
    u = jnp.asarray(u, jnp.promote_types(jnp.result_type(u), jnp.float32))
    rounding = 8 * float(jnp.finfo(u.dtype).eps)  # a mean over many points
    # Negated, so that NaN is something and not nothing.
    return ~(root_mean_square(without_mean(u, domain), domain) <= rounding * root_mean_square(u, domain))


def both_checked(prediction: State, truth: State, domain: Grid) -> tuple[Array, Array]:
    """Both as arrays of one shape and precision, the better of the two."""
    domain.check_state(truth, jnp.shape(truth)[0], "The truth")
    domain.check_state(prediction, jnp.shape(truth)[0], "The prediction")
    dtype = jnp.promote_types(jnp.result_type(prediction, truth), jnp.float32)
    return jnp.asarray(prediction, dtype), jnp.asarray(truth, dtype)


def in_units_of_truth(prediction: Array, truth: Array, domain: Grid) -> tuple[Array, Array]:
    """Both over the size of the truth, or of the prediction where that is zero: no square is huge or vanishes."""
    true_size, predicted_size = largest_of(truth, domain), largest_of(prediction, domain)
    unit = unit_of(jnp.where(true_size > 0, true_size, predicted_size))
    return prediction / unit, truth / unit


def largest_of(u: Float[Array, "channel *space"], domain: Grid) -> Float[Array, "channel ..."]:
    return jnp.max(jnp.abs(jax.lax.stop_gradient(u)), axis=tuple(range(1, domain.ndim + 1)), keepdims=True)


def unit_of(largest: Float[Array, "..."]) -> Float[Array, "..."]:
    """The power of two below `largest`, by which division is exact; 1 where that is zero or not finite."""
    numbers = jnp.finfo(largest.dtype)
    usual = (largest > 0) & jnp.isfinite(largest)
    # Neither a unit nor one over it may be a subnormal number, which is flushed to zero.
    within = jnp.clip(jnp.where(usual, largest, 1.0), 4 * numbers.tiny, numbers.max / 8)
    _, exponent = jnp.frexp(within)
    return jnp.ldexp(jnp.ones_like(within), exponent - 1)


def mean_of(u: Float[Array, "..."], domain: Grid) -> Float[Array, "..."]:
    return domain.integrate(u) / domain.volume.astype(u.dtype)


def without_mean(u: Float[Array, "channel *space"], domain: Grid) -> Float[Array, "channel *space"]:
    return u - mean_of(u, domain).reshape((-1,) + (1,) * domain.ndim)


def ratio_of(
    numerator: Float[Array, "..."], denominator: Float[Array, "..."], both_zero: float = 0.0
) -> Float[Array, "..."]:
    """`numerator / denominator`, infinite for a zero denominator unless both are zero. NaN stays NaN.

    Over a zero denominator the derivative is zero: that of the quotient, infinite, times any zero would be NaN.
    """
    none = denominator == 0
    quotient = numerator / jnp.where(none, 1.0, denominator)
    undefined = jnp.where(numerator == 0, both_zero, jnp.where(jnp.isnan(numerator), jnp.nan, jnp.inf))
    return jnp.where(none, undefined, quotient)
