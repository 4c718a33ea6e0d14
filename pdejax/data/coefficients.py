"""The coefficients of an equation as parameters of trajectories: one number for every name."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from pdejax.data.trajectories import axis_names


def coefficient_leaves(equation: Any) -> dict[str, Array]:
    """The coefficients by name; those of an equation inside another as `outer_inner`. Empty for None."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(equation, eqx.is_inexact_array))
    return {leaf_name(where): leaf for where, leaf in leaves}


def leaf_name(where: tuple[Any, ...]) -> str:
    """The name of a leaf from its place in the tree."""
    return "_".join(str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", "")))) for entry in where)


def coefficient_parameters(equation: Any, ndim: int) -> dict[str, Array]:
    """Every coefficient as numbers: one of a vector with an entry per axis as `velocity_x`, `velocity_y`, ...

    Arrays of any other shape are no parameters and are left out.
    """
    found = {}
    for name, leaf in coefficient_leaves(equation).items():
        if leaf.ndim == 0:
            found[name] = leaf
        elif leaf.shape == (ndim,):
            found |= {entry: leaf[a] for a, entry in enumerate(entries_of(name, ndim))}
    return found


def entries_of(name: str, ndim: int) -> tuple[str, ...]:
    """The names of the entries of a vector coefficient."""
    return tuple(f"{name}_{axis}" for axis in axis_names(ndim))
