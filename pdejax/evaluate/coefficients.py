"""What the parameters of the data say about the coefficients of an equation, for every trajectory."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pdejax.data import Trajectories
from pdejax.data.coefficients import axis_entries, coefficient_leaves, entries_in, leaf_name
from pdejax.data.trajectories import layout_names
from pdejax.equations import Equation


def stated_by_data(equation: Equation, parameters: Mapping[str, Any], ndim: int) -> dict[str, Array]:
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


def _entries_of_a_vector(equation: Equation, name: str, parameters: Mapping[str, Any], ndim: int) -> tuple[str, ...]:
    """The parameters that would be the entries of `name`, were it a vector of axes or of components."""
    components = tuple(f"{name}_{each}" for each in equation.components(ndim))
    own = coefficient_leaves(equation).keys()
    for entries in (axis_entries(name, ndim), components, tuple(f"{name}_{i}" for i in range(len(components)))):
        if all(entry in parameters for entry in entries) and not own & set(entries):
            return entries
    return ()


def unmatched(test: Trajectories, equation: Equation | None) -> tuple[str, ...]:
    """The parameters of the data that are no coefficient of the equation, nor interval, extent or known to be neither.

    `generate` writes down which parameters were declared beside the coefficients; in other files any may be one.
    """
    if equation is None:
        return ()
    ndim, declared = test.grid.ndim, test.provenance.get("declared")
    known = {*layout_names(ndim), *(declared if isinstance(declared, list) else ())}
    for name, leaf in coefficient_leaves(equation).items():
        known |= {name} if name in test.parameters else set(entries_in(test.parameters, name, leaf, equation, ndim))
    return tuple(name for name in test.parameters if name not in known)


def with_coefficients(equation: Equation, values: Mapping[str, Any]) -> Equation:
    """The equation with the named coefficients replaced by arrays, each in its own precision."""

    def replaced(where: tuple[Any, ...], leaf: Any) -> Any:
        name = leaf_name(where)
        return jnp.asarray(values[name], jnp.result_type(leaf)) if name in values else leaf

    return jax.tree_util.tree_map_with_path(replaced, equation) if values else equation


def varied(test: Trajectories, equation: Equation | None) -> dict[str, Array]:
    """The coefficients that differ from trajectory to trajectory, `(trajectory, ...)` each."""
    if equation is None or len(test) == 0:
        return {}
    stated = stated_by_data(equation, test.parameters, test.grid.ndim)
    return {name: values for name, values in stated.items() if np.any(np.asarray(values) != np.asarray(values[:1]))}
