"""How alike two fields are, whatever their sizes."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.metrics.sizes_of_fields import (
    State,
    both_checked,
    largest_of,
    mean_of,
    root_mean_square,
    unit_of,
    varies,
    without_mean,
)


def correlation(prediction: State, truth: State, domain: Grid, *, remove_mean: bool = True) -> Float[Array, " channel"]:
    """Pearson correlation over the box, in [-1, 1]:

        <p, q> / (|p| |q|),    p = prediction - mean of prediction,    q = truth - mean of truth

    With `remove_mean=False` the means stay in (the cosine of the angle between the fields), as in the vorticity
    correlation of Kochkov et al. (PNAS 2021); for a vorticity on a periodic box, of mean zero, both are the same.
    It is 0 where either p or q is zero throughout, a constant minus its mean up to rounding included.
    """
    p, q = (standardised(u, domain, remove_mean=remove_mean) for u in both_checked(prediction, truth, domain))
    return mean_of(p * q, domain)


def standardised(u: Array, domain: Grid, *, remove_mean: bool = True) -> Float[Array, "channel *space"]:
    """`u` minus its mean over the box, over the root mean square of that; zero where that is rounding alone."""
    u = u / unit_of(largest_of(u, domain))
    centred = without_mean(u, domain) if remove_mean else u
    size = root_mean_square(centred, domain)
    is_nothing = ~varies(u, domain) if remove_mean else size == 0
    over_space = (-1,) + (1,) * domain.ndim
    scale = (jnp.where(is_nothing, 0.0, 1.0) / jnp.where(is_nothing, 1.0, size)).reshape(over_space)
    return centred * scale
