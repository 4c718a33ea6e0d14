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


def stated_by_data(equation: Any, parameters: Mapping[str, Any], ndim: int) -> dict[str, Array]:
    """Those coefficients of the equation that `parameters` names, in the shape that the equation has them in.

    A parameter is one number, or one per trajectory: then the result leads with the trajectory. A vector is named by
    its entries, see `spellings`; what they leave open is the equation's own. One number of the data serves
    every axis of the equation.

    Raises `ValueError` where the data has one number per axis or component and the equation one for all.
    """
    found: dict[str, Array] = {}
    for name, leaf in coefficient_leaves(equation).items():
        entries = entries_in(parameters, name, leaf, equation, ndim)
        if name in parameters:
            values = jnp.asarray(parameters[name])
            found[name] = jnp.broadcast_to(values.reshape(values.shape + (1,) * leaf.ndim), values.shape + leaf.shape)
        elif entries:
            values = [jnp.asarray(parameters.get(entry, leaf[a])) for a, entry in enumerate(entries)]
            found[name] = jnp.stack(jnp.broadcast_arrays(*values), axis=-1)
        elif leaf.ndim == 0 and (entries := _entries_of_a_vector(equation, name, parameters, ndim)):
            numbers = [float(np.ravel(parameters[entry])[0]) for entry in entries]
            stated = " and ".join(f"{entry}={number:g}" for entry, number in zip(entries, numbers, strict=True))
            raise ValueError(
                f"The test data was solved with {stated} but the equation has one number for {name}: give it a "
                f"vector, {name}=({', '.join(f'{number:g}' for number in numbers)}{',' if len(numbers) == 1 else ''})."
            )
    return found


def _entries_of_a_vector(equation: Any, name: str, parameters: Mapping[str, Any], ndim: int) -> tuple[str, ...]:
    """The parameters that would be the entries of `name`, were it a vector of axes or of components."""
    components = tuple(f"{name}_{each}" for each in equation.components(ndim))
    own = coefficient_leaves(equation).keys()
    for entries in (axis_entries(name, ndim), components, tuple(f"{name}_{i}" for i in range(len(components)))):
        if all(entry in parameters for entry in entries) and not own & set(entries):
            return entries
    return ()


def with_coefficients(equation: Any, values: Mapping[str, Any]) -> Any:
    """The equation with the named coefficients replaced by arrays, each in its own precision."""

    def replaced(where: tuple[Any, ...], leaf: Any) -> Any:
        name = leaf_name(where)
        return jnp.asarray(values[name], jnp.result_type(leaf)) if name in values else leaf

    return jax.tree_util.tree_map_with_path(replaced, equation) if values else equation


def _is_measure(leaf: Any) -> bool:
    return eqx.is_inexact_array(leaf) or isinstance(leaf, float | complex | np.inexact)


def _is_whole(leaf: Any) -> bool:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return bool(jnp.issubdtype(leaf.dtype, jnp.integer))
    return isinstance(leaf, int) and not isinstance(leaf, bool)
