"""What a fit can be resumed from."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from pdejax.models import trainable


class TrainingState(eqx.Module):
    """Everything that the next step depends on. A pytree of arrays: `eqx.tree_serialise_leaves` stores it.

    `model` holds the last weights, not the average. `average` is the running sum of `ema_decay`, before its correction,
    and `average_weight` what its weights add up to, `1 - decay^step` for one decay throughout; both None without it.
    """

    model: Any
    optimiser_state: Any
    average: Any
    average_weight: Float[Array, ""] | None
    step: int


def initial_state(model: Any, optimiser: optax.GradientTransformation, ema_decay: float | None) -> TrainingState:
    parameters = eqx.filter(model, trainable(model))
    average, weight = None, None
    if ema_decay is not None:
        average, weight = jax.tree.map(jnp.zeros_like, parameters), jnp.zeros((), jnp.float32)
    return TrainingState(model, optimiser.init(parameters), average, weight, 0)


def checked_resume(state: TrainingState, expected: TrainingState) -> TrainingState:
    """`state`, if it is laid out as `expected`, the state that this run would begin with.

    Raises `ValueError` for the state of another model or optimiser, or with an average where there is to be none.
    """
    if _layout(state.model) != _layout(expected.model):
        raise ValueError("The state to resume belongs to another model; pass the model and `normalise` of that fit.")
    if _layout(state.optimiser_state) != _layout(expected.optimiser_state):
        kept, asked = (_kinds(each.optimiser_state) for each in (state, expected))
        raise ValueError(
            f"The state to resume belongs to another optimiser: it holds {kept}, and the given one keeps {asked}. Pass "
            "the optimiser of that fit, or begin a new one from `state.model`."
        )
    if (state.average is None) != (expected.average is None):
        had, has = ("off" if each.average is None else "on" for each in (state, expected))
        raise ValueError(f"The run to resume had ema_decay {had} and this one has it {has}: go on as it began.")
    return state


def _layout(tree: Any) -> tuple[Any, list[tuple[int, ...]]]:
    arrays = eqx.filter(tree, lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct))
    return jax.tree.structure(arrays), [leaf.shape for leaf in jax.tree.leaves(arrays)]


def _kinds(optimiser_state: Any) -> str:
    """The states of its transformations by class, e.g. `ScaleByAdamState, EmptyState`."""
    states = jax.tree.leaves(optimiser_state, is_leaf=lambda node: isinstance(node, tuple) and hasattr(node, "_fields"))
    return ", ".join(type(state).__name__ for state in states) or "nothing"
