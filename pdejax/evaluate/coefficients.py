"""What the parameters of the data say about the coefficients of an equation, for every trajectory."""

import numpy as np
from jaxtyping import Array

from pdejax.data import Trajectories
from pdejax.data.coefficients import coefficient_leaves, entries_in
from pdejax.data.coefficients import stated_by_data as stated_by_data
from pdejax.data.coefficients import with_coefficients as with_coefficients
from pdejax.data.trajectories import layout_names
from pdejax.equations import Equation


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


def varied(test: Trajectories, equation: Equation | None) -> dict[str, Array]:
    """The coefficients that differ from trajectory to trajectory, `(trajectory, ...)` each."""
    if equation is None or len(test) == 0:
        return {}
    stated = stated_by_data(equation, test.parameters, test.grid.ndim)
    return {name: values for name, values in stated.items() if np.any(np.asarray(values) != np.asarray(values[:1]))}
