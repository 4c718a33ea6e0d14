"""What the parameters of the data say about the coefficients of an equation, for every trajectory."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pdejax.data import Trajectories
from pdejax.data.coefficients import axis_entries, coefficient_leaves, entries_in, leaf_name
from pdejax.equations import Equation


def stated_by_data(equation: Equation, parameters: Mapping[str, Any], ndim: int) -> dict[str, Array]:
    """Those coefficients of the equation that `parameters` names, in the shape that the equation has them in.

    A parameter is one number, or one per trajectory: then the result leads with the trajectory. A vector is named by
    its entries, see `entries_of`; what they leave open is the equation's own. One number of the data serves
    every axis of the equation.

    Raises `ValueError` where the data has one number per axis and the equation one for all.
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
        elif leaf.ndim == 0 and all(entry in parameters for entry in axis_entries(name, ndim)):
            entries = axis_entries(name, ndim)
            numbers = [float(np.ravel(parameters[entry])[0]) for entry in entries]
            stated = " and ".join(f"{entry}={number:g}" for entry, number in zip(entries, numbers, strict=True))
            raise ValueError(
                f"The test data was solved with {stated} but the equation has one number for {name}: give it one per "
                f"axis, {name}=({', '.join(f'{number:g}' for number in numbers)}{',' if ndim == 1 else ''})."
            )
    return found


def with_coefficients(equation: Equation, values: Mapping[str, Any]) -> Equation:
    """The equation with the named coefficients replaced, each in its own precision."""

    def replaced(where: tuple[Any, ...], leaf: Any) -> Any:
        name = leaf_name(where)
        return jnp.asarray(values[name], leaf.dtype) if name in values else leaf

    return jax.tree_util.tree_map_with_path(replaced, equation) if values else equation


def varied(test: Trajectories, equation: Equation | None) -> dict[str, Array]:
    """The coefficients that differ from trajectory to trajectory, `(trajectory, ...)` each."""
    if equation is None or len(test) == 0:
        return {}
    stated = stated_by_data(equation, test.parameters, test.grid.ndim)
    return {name: values for name, values in stated.items() if np.any(np.asarray(values) != np.asarray(values[:1]))}
