"""How far the members of an ensemble are from each other, and from the truth.

`members` is `(member, channel, *space)`, e.g. what one model that draws random numbers makes of one state with several
keys: `jax.vmap(lambda key: model(u, key=key))(jax.random.split(key, 8))`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.metrics.correlations import standardised
from pdejax.metrics.sizes_of_fields import State, mean_of, root_mean_square

Members = Float[Array | np.ndarray, "member channel *space"]


def agreement(members: Members, domain: Grid) -> Float[Array, " channel"]:
    """The mean of the `correlation` of two members over all pairs of different ones, in [-1 / (members - 1), 1].

    It needs no truth: the time at which it falls below a threshold estimates how long a rollout can be trusted,

        correlation_time(jax.vmap(agreement, in_axes=(1, None))(rollouts, domain)[:, 0], times, 0.8)

    for `rollouts` of shape `(member, time, channel, *space)`. Members that share a mistake agree on it: compare with a
    truth before you rely on the estimate. A member that is constant agrees with none, and NaN gives NaN.

    Raises `ValueError` for fewer than two members and for states that are not on the grid.
    Source: the estimate of uncertainty in Lippe et al., PDE-Refiner (NeurIPS 2023).
    """
    members = _checked(members, domain)
    count = members.shape[0]
    standard = jax.vmap(lambda u: standardised(u, domain))(members)
    # The square of the sum is the sum of all products, those of a member with itself included.
    with_itself = jnp.sum(jax.vmap(lambda u: mean_of(u**2, domain))(standard), axis=0)
    return (mean_of(jnp.sum(standard, axis=0) ** 2, domain) - with_itself) / (count * (count - 1))


def spread(members: Members, domain: Grid) -> Float[Array, " channel"]:
    """Root of the mean over the box of the members' variance, in units of the field:

        spread^2 = < sum over i of (u_i - mean)^2 / (members - 1) >

    Where truth and members are draws of one distribution, the `mse` of one member is on average twice its square, and
    that of the mean of the members `1 + 1 / members` times.

    Raises `ValueError` for fewer than two members and for states that are not on the grid.
    """
    members = _checked(members, domain)
    # From one of them first: members that are equal have no deviation, not even that of a rounded mean.
    apart = members - members[0]
    deviations = apart - jnp.mean(apart, axis=0)
    sizes = jax.vmap(lambda u: root_mean_square(u, domain))(deviations)
    # By their largest, so that no square is huge or vanishes.
    largest = jax.lax.stop_gradient(jnp.max(sizes, axis=0))
    unit = jnp.where(largest > 0, largest, 1.0)
    return unit * jnp.sqrt(jnp.sum((sizes / unit) ** 2, axis=0) / (members.shape[0] - 1))


def crps(members: Members, truth: State, domain: Grid) -> Float[Array, " channel"]:
    """Continuous ranked probability score, the mean over the box, in units of the field:

        < mean over i of |u_i - truth| - sum over i < j of |u_i - u_j| / (members (members - 1)) >

    The smaller the better, and on average smallest for members drawn from the distribution that the truth is drawn
    from, however many they are (the "fair" score, which can be below zero).

    Raises `ValueError` for fewer than two members and for states that are not on the grid.
    Source: Ferro, Fair scores for ensemble forecasts (Quarterly Journal of the Royal Meteorological Society, 2014).
    """
    members = _checked(members, domain)
    domain.check_state(truth, members.shape[1], "The truth")
    count = members.shape[0]
    # From the truth, and by the largest: a large mean would leave nothing of the differences, and sums be infinite.
    apart = members - jnp.asarray(truth, members.dtype)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(apart), axis=(0, *range(2, members.ndim)), keepdims=True))
    unit = jnp.where(largest > 0, largest, 1.0)
    apart = apart / unit
    # In order of size every difference of two has a sign: number k is the larger one k times.
    rank = jnp.arange(count, dtype=members.dtype).reshape(-1, *(1,) * (members.ndim - 1))
    between = jnp.mean((2 * rank - (count - 1)) / (count - 1) * jnp.sort(apart, axis=0), axis=0)
    return unit.reshape(-1) * mean_of(jnp.mean(jnp.abs(apart), axis=0) - between, domain)


def _checked(members: Members, domain: Grid) -> Array:
    if jnp.ndim(members) != domain.ndim + 2 or jnp.shape(members)[0] < 2:
        raise ValueError(
            f"An ensemble is two or more states, (member, channel, {', '.join(map(str, domain.shape))}) on this grid, "
            f"got an array of shape {jnp.shape(members)}."
        )
    domain.check_state(members[0], jnp.shape(members)[1], "A member")
    return jnp.asarray(members, jnp.promote_types(jnp.result_type(members), jnp.float32))
