"""The coefficients of an equation as parameters of trajectories: one number for every name.

Coefficients are the leaves of an equation that hold real or complex numbers, Python's as well as arrays. A number is a
parameter under its own name and a vector is one for each entry (`spellings`). What else an equation holds is no
parameter but is stated in the provenance (`leaves_apart`): arrays of more dimensions, and whole numbers, which choose
(an order, a mode) more often than they measure.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pdejax.data.trajectories import axis_names


def coefficient_leaves(equation: Any) -> dict[str, Array]:
    """The coefficients by name, as arrays; those of an equation inside another as `outer_inner`. Empty for None."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(equation)
    return {leaf_name(where): jnp.asarray(leaf) for where, leaf in leaves if _is_measure(leaf)}


def _is_parameter(leaf: Any) -> bool:
    return leaf.ndim <= 1 and not jnp.issubdtype(leaf.dtype, jnp.complexfloating)


def leaves_apart(equation: Any) -> dict[str, Array]:
    """The numbers of an equation that are no parameters, by name: complex and whole numbers, arrays of two dimensions
    and more."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(equation)
    apart = {leaf_name(where): jnp.asarray(leaf) for where, leaf in leaves if _is_whole(leaf)}
    return apart | {name: leaf for name, leaf in coefficient_leaves(equation).items() if not _is_parameter(leaf)}


def leaf_name(where: tuple[Any, ...]) -> str:
    """The name of a leaf from its place in the tree."""
    return "_".join(str(getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", "")))) for entry in where)


def coefficient_parameters(equation: Any, ndim: int) -> dict[str, Array]:
    """Every coefficient as numbers, those of a vector under the first of its `spellings`; see `leaves_apart`.

    Raises `ValueError` when two of them have one name.
    """
    found: dict[str, Array] = {}
    for name, leaf in coefficient_leaves(equation).items():
        if not _is_parameter(leaf):
            continue
        own = {name: leaf} if leaf.ndim == 0 else dict(zip(spellings(name, leaf, equation, ndim)[0], leaf, strict=True))
        if taken := sorted(own.keys() & found.keys()):
            raise ValueError(f"Two coefficients of the equation would be stored as {taken[0]!r}: rename one of them.")
        found |= own
    return found


def spellings(name: str, leaf: Any, equation: Any, ndim: int) -> list[tuple[str, ...]]:
    """The names that the entries of a vector coefficient may have in data, the first of which `generate` gives them.

    A vector with an entry per axis has `velocity_x`, `velocity_y`, one with an entry per component of the state
    `diffusivities_u`, `diffusivities_v`, and one of any other size numbers: `rates_0`, `rates_1`, `rates_2`. Where
    there are as many axes as components only the equation knows which are meant, and the entries are numbered too. One
    axis and one component make one entry, which is that of the axis. All that fit are understood.
    """
    components = tuple(equation.components(ndim))
    numbered = tuple(f"{name}_{i}" for i in range(leaf.size))
    named = [axis_entries(name, ndim)] if leaf.size == ndim else []
    if leaf.size == len(components):
        named.append(tuple(f"{name}_{each}" for each in components))
    ambiguous = leaf.size == ndim == len(components) > 1
    return [numbered, *named] if ambiguous else [*named, numbered]


def entries_in(parameters: Mapping[str, Any], name: str, leaf: Any, equation: Any, ndim: int) -> tuple[str, ...]:
    """Those names of the entries of a vector coefficient that `parameters` uses; empty where it states none of them."""
    if leaf.ndim != 1:
        return ()
    others = coefficient_leaves(equation).keys()
    for entries in spellings(name, leaf, equation, ndim):
        if any(entry in parameters for entry in entries) and not others & set(entries):
            return entries
    return ()


def axis_entries(name: str, ndim: int) -> tuple[str, ...]:
    """The names of the entries of a vector coefficient with one per axis."""
    return tuple(f"{name}_{axis}" for axis in axis_names(ndim))


def _is_measure(leaf: Any) -> bool:
    return eqx.is_inexact_array(leaf) or isinstance(leaf, float | complex | np.inexact)


def _is_whole(leaf: Any) -> bool:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return bool(jnp.issubdtype(leaf.dtype, jnp.integer))
    return isinstance(leaf, int) and not isinstance(leaf, bool)
