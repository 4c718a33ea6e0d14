"""GMRES: the residual that is smallest over the Krylov space, from the Hessenberg matrix of the Arnoldi process.

    A V_k = V_(k+1) H_k,    x = V_k y,    |r| = min over y of |beta e_1 - H_k y|

A left null vector z of H_k, with `z_0 = 1`, has the entries `z_(j+1) = -(sum over i <= j of z_i h_ij) / h_(j+1, j)`.
The smallest residual is the projection of `beta e_1` on it, `beta / |z|`. So the iteration stops without solving for y
in each step. A is applied in one place of the program. Saad & Schultz, SIAM J. Sci. Stat. Comput. 7 (1986) 856.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int


def gmres(
    matrix: Callable[[Array], Array], b: Float[Array, "..."], rtol: float, max_steps: int
) -> tuple[Float[Array, "..."], Int[Array, ""], Bool[Array, ""]]:
    """x with `|b - A x| <= rtol |b|` in the Euclidean norm, the number of steps, and whether it got there.

    Starts from zero and is not restarted: `max_steps + 1` vectors are kept.
    """
    shape, steps = b.shape, min(max_steps, b.size)
    size = jnp.linalg.norm(b)
    first = b.ravel() / jnp.where(size > 0, size, 1)
    rounding = jnp.finfo(b.dtype).eps

    def unfinished(state):
        k, _, _, _, residual = state
        return (residual > rtol) & (k < steps)

    def advance(state):
        k, basis, hessenberg, null, _ = state
        image = matrix(basis[k].reshape(shape)).ravel()
        length = jnp.linalg.norm(image)
        column = jnp.zeros(steps + 1, b.dtype)
        # Once would leave what rounding makes of nearly parallel vectors.
        for _ in range(2):
            along = _product(basis, image)
            image, column = image - _product(along, basis), column + along
        rest = jnp.linalg.norm(image)
        is_last = rest <= 4 * rounding * length
        entry = -jnp.dot(null, column, precision="highest") / jnp.where(is_last, 1, rest)
        null = null.at[k + 1].set(entry)
        basis = basis.at[k + 1].set(image / jnp.where(is_last, 1, rest))
        hessenberg = hessenberg.at[:, k].set(column.at[k + 1].set(rest))
        residual = jnp.where(is_last, 0, 1 / jnp.linalg.norm(null))
        return k + 1, basis, hessenberg, null, residual

    basis = jnp.zeros((steps + 1, b.size), b.dtype).at[0].set(first)
    null = jnp.zeros(steps + 1, b.dtype).at[0].set(1)
    # Columns that are not reached have a row of their own, and so y is zero there.
    hessenberg = jnp.eye(steps + 1, steps, -1, dtype=b.dtype)
    begin = (jnp.zeros((), jnp.int32), basis, hessenberg, null, jnp.where(size > 0, 1, 0).astype(b.dtype))
    k, basis, hessenberg, _, residual = jax.lax.while_loop(unfinished, advance, begin)
    q, r = jnp.linalg.qr(hessenberg)
    y = solve_triangular(r, q[0])
    x = (size * _product(y, basis[:-1])).reshape(shape)
    # A breakdown ends with the solution, or with nothing: of a singular matrix, or one with NaN. Then x is not finite.
    return x, k, (residual <= rtol) & jnp.isfinite(size) & jnp.all(jnp.isfinite(x))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
