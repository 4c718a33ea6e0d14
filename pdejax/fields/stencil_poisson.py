"""The Poisson equation of an auxiliary field in finite differences, solved directly by fast diagonalisation.

    Laplacian(q) = f,    with the conditions that are stated for q

The Laplacian is the reading's own, walls included, in the eigenmodes of each axis (`eigenmodes.py`): its inverse is a
division. So q is to the discrete equation what an implicit stage is, exact, and of the order of the stencils.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.boundary import AntiPeriodic, Neumann, Sides
from pdejax.fields.bases import bases_of
from pdejax.fields.eigenmodes import Eigenmodes
from pdejax.fields.finite_difference import FiniteDifference


def solve_poisson(
    f: Float[Array, "component *space"], reading: FiniteDifference, sides: Sides, t: Any
) -> Float[Array, "component *space"]:
    """`q` with `Laplacian(q) = f` and the conditions `sides` at time t, component by component.

    Values of f at nodes on walls where q has a value do not enter. Where every axis is periodic or has Neumann
    conditions at both ends, q is known up to a constant and has zero mean; the part of f that no such q has (data and
    source out of balance) is dropped, as Fourier series drop the mean of f.

    Raises `ValueError` for `Outflow`, which leaves q undetermined, and `TypeError` for Robin conditions with weights or
    extents that are traced.
    """
    of_q: FiniteDifference = eqx.tree_at(lambda r: r.walls.by_component, reading, {"*": sides})
    laplace = _Laplace()
    modes = Eigenmodes(of_q, bases_of(of_q, laplace))
    symbol, added = modes.symbol(laplace), modes.added(laplace, t)
    is_free = modes.is_free()
    is_singular = all(_leaves_a_constant(side) for side in sides)
    # The eigenvalue of the constant is zero but for rounding, and the smallest; no other one is, however long the box.
    least = jnp.min(jnp.where(is_free, jnp.abs(symbol), jnp.inf)) if is_singular else 0.0
    is_solved = is_free & (jnp.abs(symbol) > least)
    inverse = jnp.where(is_solved, 1 / jnp.where(is_solved, symbol, 1), 0)
    solved = [of_q.hold(laplace, t, modes.decode((modes.encode(component[None]) - added) * inverse)) for component in f]
    q = jnp.concatenate(solved)
    if is_singular:
        mean = reading.grid.integrate(q) / reading.grid.volume.astype(q.dtype)
        q = q - mean.reshape(-1, *(1,) * reading.grid.ndim)
    return q


def _leaves_a_constant(side: Any) -> bool:
    if isinstance(side, tuple):
        return all(isinstance(condition, Neumann) for condition in side)
    return not isinstance(side, AntiPeriodic)


class _Laplace:
    """`0 = Laplacian(q)`, as far as readings are concerned an equation."""

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("q",)

    def auxiliary(self, u: Any) -> Mapping[str, Any]:
        return {}

    def linear(self, u: Any) -> Any:
        return u.laplacian()

    def nonlinear(self, t: Any, u: Any) -> Any:
        return u * 0.0
