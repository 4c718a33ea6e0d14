"""What a fit can be resumed from."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from pdejax.models import trainable
from pdejax.models.ensemble import num_members
from pdejax.training.members import EACH, check_all_in_members, each_member


class Best(eqx.Module):
    """The weights with the lowest validation loss so far: those that would be returned, averaged if asked for.

    `loss` is infinite and `step` 0 until something was scored; `waited` counts the validations since. Every member of
    an ensemble has its own.
    """

    weights: Any
    loss: Float[Array, "*member"]
    step: Int[Array, "*member"]
    waited: Int[Array, "*member"]

    def after(self, weights: Any, loss: Float[Array, "*member"], step: int) -> "Best":
        """The better one of this and what was scored now; a loss that is not a number is not better."""
        better = loss < self.loss
        now = Best(weights, loss.astype(jnp.float32), jnp.full_like(self.step, step), jnp.zeros_like(self.waited))
        kept = Best(self.weights, self.loss, self.step, self.waited + 1)
        return _chosen(better, now, kept)

    def weights_or(self, others: Any) -> Any:
        """The best weights, or `others` where nothing was better than no score at all."""
        return _chosen(self.step > 0, self.weights, others)


def _chosen(first: Bool[Array, "*member"], one: Any, other: Any) -> Any:
    """The arrays of `one` where `first`, else those of `other`; for an ensemble member by member."""

    def of(a: Array, b: Array) -> Array:
        return jnp.where(first.reshape(first.shape + (1,) * (a.ndim - first.ndim)), a, b)

    return jax.tree.map(of, one, other)


class TrainingState(eqx.Module):
    """Everything that the next step depends on. A pytree of arrays: `eqx.tree_serialise_leaves` stores it.

    `model` holds the last weights, not the average. `average` is the running sum of `ema_decay`, before its correction,
    and `average_weight` what its weights add up to, `1 - decay^step` for one decay throughout; both None without it.
    `best` is None in a fit without `keep_best` and `patience`. For an ensemble every array has an axis of members.
    """

    model: Any
    optimiser_state: Any
    average: Any
    average_weight: Float[Array, "*member"] | None
    step: int
    best: Best | None = None


def optimised(model: Any, frozen: Callable[[Any], Any] | None, network: Callable[[Any], Any]) -> Any:
    """A tree of flags shaped like `model`: what the optimiser sees, `trainable` without the `frozen` parts.

    `frozen` picks them from what `network` picks from the model: from the model as the user gave it.

    Raises `ValueError` for a selection that is no part of it, and where nothing is left to train.
    """
    flags = trainable(model)
    if frozen is not None:
        try:
            flags = eqx.tree_at(
                lambda tree: frozen(network(tree)), flags, replace_fn=lambda node: jax.tree.map(lambda _: False, node)
            )
        except (AttributeError, ValueError, TypeError, IndexError, KeyError) as error:
            raise ValueError(
                "`frozen` has to pick parts of the model, e.g. lambda model: model.lift, or a tuple of several: "
                f"{type(error).__name__}: {error}"
            ) from error
    check_all_in_members(flags)
    if not any(jax.tree.leaves(flags)):
        raise ValueError("There is nothing to train: the model has no weights, or all of them are `frozen`.")
    return flags


def initial_state(
    model: Any, flags: Any, optimiser: optax.GradientTransformation, ema_decay: float | None, keeps_best: bool
) -> TrainingState:
    parameters = eqx.filter(model, flags)
    count = num_members(model)
    leading = () if count is None else (count,)
    average, weight = None, None
    if ema_decay is not None:
        # A sum of a thousand small shares is more than half precision can add up.
        average = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), parameters)
        weight = jnp.zeros(leading, jnp.float32)
    best = None
    if keeps_best:
        nothing = jnp.full(leading, jnp.inf, jnp.float32), jnp.zeros(leading, jnp.int32), jnp.zeros(leading, jnp.int32)
        best = Best(jax.tree.map(jnp.copy, parameters), *nothing)
    begun = each_member(optimiser.init, model, (EACH,))(parameters)
    return TrainingState(model, begun, average, weight, 0, best)


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
            "the optimiser and `frozen` of that fit, or begin a new one from `state.model`."
        )
    if (state.average is None) != (expected.average is None):
        had, has = ("off" if each.average is None else "on" for each in (state, expected))
        raise ValueError(f"The run to resume had ema_decay {had} and this one has it {has}: go on as it began.")
    if (state.best is None) != (expected.best is None):
        had, has = ("no best model" if each.best is None else "the best model" for each in (state, expected))
        raise ValueError(
            f"The run to resume kept {had} and this one keeps {has} (keep_best, patience): go on as it began."
        )
    return state


def _layout(tree: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    arrays = eqx.filter(tree, lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct))
    return jax.tree.structure(arrays), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)]


def _kinds(optimiser_state: Any) -> str:
    """The states of its transformations by class, e.g. `ScaleByAdamState, EmptyState`."""
    states = jax.tree.leaves(optimiser_state, is_leaf=lambda node: isinstance(node, tuple) and hasattr(node, "_fields"))
    return ", ".join(type(state).__name__ for state in states) or "nothing"
