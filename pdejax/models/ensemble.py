"""Several models of one architecture as one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.nn.checks import check_is_model


class Ensemble(eqx.Module):
    """Models that differ in the values of their arrays alone, e.g. in the seed of their weights; it returns their mean.

    `Ensemble.of([FNO(..., key=key) for key in keys])` holds the given ones. `fit` trains them side by side in one
    program, each on batches of its own and with an optimiser of its own, and `members` takes the result apart.

    - `model`: one of them with all arrays stacked, member first.
    - `Ensemble(model, num_members)` holds copies of one model.

    `ensemble(u, parameters, domain=, key=)`: the mean of what the members return; a key is split among them.

    Raises `ValueError` for a number below one; `of` for models that are not laid out alike.
    """

    model: Any
    num_members: int = eqx.field(static=True)

    def __init__(self, model: Any, num_members: int):
        if isinstance(model, list | tuple):
            raise ValueError(
                f"Ensemble(model, num_members) holds copies of one model, got {len(model)} of them: "
                "Ensemble.of([model, ...]) holds the given ones."
            )
        check_is_model(model, "Ensemble")
        self.num_members = count_of("num_members", num_members)
        self.model = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (num_members, *leaf.shape)) if eqx.is_array(leaf) else leaf, model
        )

    @classmethod
    def of(cls, models: Sequence[Any]) -> "Ensemble":
        """The ensemble of `models`, in this order."""
        if not isinstance(models, Iterable):
            raise ValueError(
                f"Ensemble.of takes a list of models, Ensemble.of([model, ...]), got a {type(models).__name__}; copies "
                "of one model are Ensemble(model, num_members)."
            )
        models = list(models)
        for each in models:
            check_is_model(each, "Ensemble.of")
        if not models:
            raise ValueError("Ensemble.of needs one model or more, got none.")
        first = _layout(models[0])
        for number, other in enumerate(models[1:], 1):
            if _layout(other) != first:
                raise ValueError(
                    f"The members of an Ensemble are laid out alike, and number {number} is not as number 0: build "
                    "them with the same arguments but the key."
                )

        def stacked(*leaves: Any) -> Any:
            return jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0]

        return eqx.tree_at(lambda tree: tree.model, cls(models[0], len(models)), jax.tree.map(stacked, *models))

    def constructor_arguments(self) -> dict[str, Any]:
        """For a model file: one member, since the constructor gives every array of it an axis of members."""
        first = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, self.model)
        return {"model": first, "num_members": self.num_members}

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        keys = None if key is None else jax.random.split(key, self.num_members)
        call = eqx.filter_vmap(
            lambda model, key: model(u, parameters, domain=domain, key=key), in_axes=(eqx.if_array(0), 0)
        )
        return jnp.mean(call(self.model, keys), axis=0)


def members(model: Any) -> list[Any]:
    """The members of the ensemble that `model` is or contains, each with all that surrounds it; else `[model]`.

    Of a fitted ensemble, `Normalised(Ensemble(...))`, these are `Normalised` models, one for each seed.

    Raises `ValueError` for what is no model, such as what `fit` returns in place of the model in it.
    """
    check_is_model(model, "pdejax.models.members")
    count = num_members(model)
    return [model] if count is None else [_member(model, number) for number in range(count)]


def num_members(model: Any) -> int | None:
    """How many members the ensemble inside `model` has, or None where there is none.

    Raises `ValueError` for more than one of them, the one inside the other or side by side.
    """
    found = _ensembles(model)
    if len(found) > 1 or (found and _ensembles(found[0].model)):
        raise ValueError("A model contains one Ensemble at most: put all members into it.")
    return found[0].num_members if found else None


def member_axes(model: Any) -> Any:
    """The axis of the members for every array of `model`, 0 in an ensemble and None elsewhere, as for `jax.vmap`."""
    return jax.tree.map(
        lambda node: jax.tree.map(lambda leaf: 0 if eqx.is_array(leaf) else None, node) if _is_ensemble(node) else None,
        model,
        is_leaf=_is_ensemble,
    )


def without_ensemble(model: Any) -> Any:
    """`model` with what an ensemble holds in its place: a member, where the arrays are those of one."""
    return jax.tree.map(lambda node: node.model if _is_ensemble(node) else node, model, is_leaf=_is_ensemble)


def _member(model: Any, number: int) -> Any:
    def taken(node: Any) -> Any:
        if not _is_ensemble(node):
            return node
        return jax.tree.map(lambda leaf: leaf[number] if eqx.is_array(leaf) else leaf, node.model)

    return jax.tree.map(taken, model, is_leaf=_is_ensemble)


def _ensembles(model: Any) -> list[Ensemble]:
    return [node for node in jax.tree.leaves(model, is_leaf=_is_ensemble) if _is_ensemble(node)]


def _is_ensemble(node: Any) -> bool:
    return isinstance(node, Ensemble)


def _layout(model: Any) -> tuple[Any, list[Any]]:
    arrays, rest = eqx.partition(model, eqx.is_array)
    return jax.tree.structure(rest), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)]
