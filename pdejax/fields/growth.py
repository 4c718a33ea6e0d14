"""How fast the linear part lets each mode grow, and linear parts without that growth."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact


def growth_rate(matrix: Inexact[Array, "channel channel *modes"]) -> Float[Array, "*modes"]:
    """The largest real part of the eigenvalues of each block, exact for up to two components.

    Of larger blocks it is the largest on their diagonal: what grows through their coupling alone is not seen.
    """
    diagonal = jnp.arange(matrix.shape[0])
    rates = matrix[diagonal, diagonal].real
    if matrix.shape[0] != 2:
        return jnp.max(rates, axis=0)
    (a, b), (c, d) = matrix
    square = ((a - d) / 2) ** 2 + b * c
    # The root has no derivative where both eigenvalues are one.
    root = jnp.sqrt(jnp.where(square == 0, 1, square).astype(jnp.result_type(square, jnp.complex64)))
    return jnp.mean(rates, axis=0) + jnp.where(square == 0, 0, jnp.abs(root.real))


def without_growth(
    matrix: Inexact[Array, "channel channel *modes"], where: Bool[Array, "*modes"]
) -> Inexact[Array, "channel channel *modes"]:
    """Blocks shifted by their growth rate, where it is above zero."""
    diagonal = jnp.arange(matrix.shape[0])
    excess = jnp.where(where, jnp.maximum(growth_rate(matrix), 0), 0)
    return matrix.at[diagonal, diagonal].add(-excess)
