"""What a law says of second and higher derivatives, read on averages by central differences.

The average of a derivative over a cell is the derivative of the average, taken as a function of the cell's middle; so
for terms with constant coefficients the formulae for points hold for averages, to their full order. Around a periodic
box their sum is zero, as that of a difference of fluxes.
"""

import functools
import operator
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.fields import FiniteDifference
from pdejax.grid import Grid

Law = Any  # pdejax.equations.ConservationLaw, which stands above this package


def higher_derivatives(
    law: Law, grid: Grid, order: int, u: Float[Array, "channel *space"]
) -> Float[Array, "channel *space"] | None:
    """`law.higher_derivatives` of averages by differences of an even `order`; None for a law that has none.

    Raises `ValueError` between walls: which conditions a derivative meets there, a flux does not say.
    """
    if not law.has_higher_derivatives:
        return None
    if not all(grid.periodic):
        walls = [axis for axis, wraps in enumerate(grid.periodic) if not wraps]
        raise ValueError(
            f"Finite volumes read the higher derivatives of {type(law).__name__} around periodic boxes, and axes "
            f"{walls} have walls: use periodic axes, or FiniteDifference."
        )
    return law.higher_derivatives(FiniteDifference(grid, order).field(law, 0.0, u)).values


def largest_rate(law: Law, grid: Grid, order: int, dtype: Any) -> Float[Array, ""]:
    """A bound of the moduli of their eigenvalues: around a periodic box, the transforms of what differences make of
    one cell; zero for a law that has none."""
    if not law.has_higher_derivatives:
        return jnp.zeros((), dtype)
    count = len(law.components(grid.ndim))
    place = (0,) * grid.ndim
    columns = []
    for component in range(count):
        unit = jnp.zeros((count, *grid.shape), dtype).at[(component, *place)].set(1)
        made = higher_derivatives(law, grid, order, unit)
        assert made is not None
        columns.append(jnp.abs(jnp.fft.fftn(made, axes=range(1, grid.ndim + 1))))
    return jnp.max(functools.reduce(operator.add, columns))
