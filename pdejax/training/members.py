"""An ensemble is fitted as its members would be alone, side by side in one program."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from pdejax.models.ensemble import Ensemble, num_members

# Of arrays that are all of a member: weights, and what an optimiser knows of them.
EACH = eqx.if_array(0)


def each_member(function: Callable[..., Any], model: Any, in_axes: tuple[Any, ...]) -> Callable[..., Any]:
    """`function` over the members of `model`, results stacked; itself where `model` is no ensemble.

    `in_axes` are those of the arguments, as for `equinox.filter_vmap`.
    """
    return function if num_members(model) is None else eqx.filter_vmap(function, in_axes=in_axes)


def member_keys(key: PRNGKeyArray, model: Any) -> Any:
    """The key of every member, `fold_in(key, number)`: that with which it would be fitted alone. Else `key`."""
    count = num_members(model)
    return key if count is None else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def step_keys(key: PRNGKeyArray, model: Any, step: Any) -> Any:
    """What a step draws with, of every member."""
    keys = member_keys(key, model)
    return each_member(jax.random.fold_in, model, (0, None))(keys, step)


def check_all_in_members(flags: Any) -> None:
    """Raises `ValueError` where something is trained that belongs to no member, beside an ensemble."""

    def outside(node: Any) -> Any:
        return False if isinstance(node, Ensemble) else node

    beside = jax.tree.map(outside, flags, is_leaf=lambda node: isinstance(node, Ensemble))
    if num_members(flags) is not None and any(jax.tree.leaves(beside)):
        raise ValueError(
            "Weights beside an Ensemble would be trained by all of its members: put the whole model into it, "
            "Ensemble.of([a model for each seed]), or name them in `frozen`."
        )
