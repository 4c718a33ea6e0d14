"""The coefficients of an equation as parameters of trajectories: one number for every name."""

from collections.abc import Mapping
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
    """Every coefficient as numbers, those of a vector under the names of `entries_of`.

    Arrays of any other shape are no parameters and are left out.
    """
    found = {}
    for name, leaf in coefficient_leaves(equation).items():
        if leaf.ndim == 0:
            found[name] = leaf
        elif entries := entries_of(name, leaf, equation, ndim):
            found |= dict(zip(entries, leaf, strict=True))
    return found


def entries_of(name: str, leaf: Array, equation: Any, ndim: int) -> tuple[str, ...]:
    """The names of the entries of a vector coefficient; empty for what is no vector of axes or of components.

    A vector with an entry per axis has `velocity_x`, `velocity_y`, one with an entry per component of the state
    `diffusivities_u`, `diffusivities_v`. Where there are as many axes as components only the equation knows which are
    meant, and the entries are numbered: `diffusivities_0`, `diffusivities_1`. One axis and one component make one
    entry, which is that of the axis.
    """
    if leaf.ndim != 1:
        return ()
    components = tuple(equation.components(ndim))
    if leaf.size not in (ndim, len(components)):
        return ()
    if ndim == len(components) > 1:
        return tuple(f"{name}_{i}" for i in range(ndim))
    return axis_entries(name, ndim) if leaf.size == ndim else tuple(f"{name}_{each}" for each in components)


def entries_in(parameters: Mapping[str, Any], name: str, leaf: Array, equation: Any, ndim: int) -> tuple[str, ...]:
    """Those names of the entries of a vector coefficient that `parameters` uses; empty where it states none of them.

    Files of earlier versions name the entries of every vector with as many entries as there are axes after the axes.
    """
    old = axis_entries(name, ndim) if leaf.shape == (ndim,) else ()
    for entries in (entries_of(name, leaf, equation, ndim), old):
        if any(entry in parameters for entry in entries):
            return entries
    return ()


def axis_entries(name: str, ndim: int) -> tuple[str, ...]:
    """The names of the entries of a vector coefficient with one per axis."""
    return tuple(f"{name}_{axis}" for axis in axis_names(ndim))
