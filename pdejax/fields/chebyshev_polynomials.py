"""Polynomials on the reference interval -1 <= s <= 1, by values at the Gauss-Lobatto points or by coefficients.

    u(s) = sum over k < N of a_k T_k(s),    T_k(cos v) = cos(k v),    s_i = -cos(pi i / (N - 1))

The points ascend. Derivatives are taken by a matrix or by the recurrence of the coefficients; they are equal but for
rounding, which grows as eps N^2 for a first derivative and eps N^4 for a second one, at the ends most.

Source: Canuto, Hussaini, Quarteroni & Zang, Spectral Methods: Fundamentals in Single Domains (2006), section 2.4.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Points from which the recurrence is used. On two cores in double precision a first derivative along the first of two
# axes took 0.015 (matrix) against 0.075 ms (recurrence) at 64^2 points, 0.41 against 1.7 ms at 256^2 and 4.0 against
# 11 ms at 512^2; on one axis alone the two were equal at 512. Beyond, the matrices are large constants of a program.
MATRIX_BELOW = 512


def differentiate(u: Float[Array, "..."], axis: int, order: int) -> Float[Array, "..."]:
    """`d^order u / ds^order` at the points along one axis, by whichever way is faster at this size."""
    if u.shape[axis] < MATRIX_BELOW:
        return applied(differentiation_matrix(u.shape[axis], order), u, axis)
    return differentiate_by_coefficients(u, axis, order)


@functools.cache
def differentiation_matrix(n: int, order: int) -> np.ndarray:
    """The matrix of `d^order / ds^order` on n points.

    Differences of points are products of sines, without cancellation, and the diagonal is minus the sum of its row, so
    that constants have no derivative but for rounding: Baltensperger & Trummer, SIAM J. Sci. Comput. 24 (2003) 1465.
    Higher orders by Welfert's recursion, SIAM J. Numer. Anal. 34 (1997) 1640.
    """
    last = n - 1
    index = np.arange(n)
    total, difference = index[:, None] + index, index[:, None] - index
    half_angle = np.pi / (2 * last)
    gaps = 2 * np.sin(half_angle * np.minimum(total, 2 * last - total)) * np.sin(half_angle * difference)
    np.fill_diagonal(gaps, 1.0)
    weights = np.where((index == 0) | (index == last), 2.0, 1.0) * (-1.0) ** index
    ratios = weights[:, None] / weights
    matrix = np.eye(n)
    for p in range(1, order + 1):
        matrix = p / gaps * (ratios * np.diag(matrix)[:, None] - matrix)
        np.fill_diagonal(matrix, 0.0)
        np.fill_diagonal(matrix, -matrix.sum(axis=1))
    matrix.setflags(write=False)
    return matrix


def differentiate_by_coefficients(u: Float[Array, "..."], axis: int, order: int) -> Float[Array, "..."]:
    """`d^order u / ds^order` by `b_k = 2 / c_k * sum of p a_p over p > k with p - k odd`, where c_0 = 2, else 1."""
    n = u.shape[axis]
    coefficients = jnp.moveaxis(chebyshev_coefficients(u, axis), axis, -1)
    halves = jnp.asarray(np.where(np.arange(n) == 0, 1.0, 2.0), u.dtype)
    for _ in range(order):
        terms = coefficients * jnp.arange(n, dtype=u.dtype)
        pairs = jnp.concatenate([terms, jnp.zeros((*terms.shape[:-1], 2 + n % 2), u.dtype)], axis=-1)
        # One running sum for even and one for odd degrees, from the highest down.
        sums = jnp.cumsum(jnp.flip(pairs.reshape(*terms.shape[:-1], -1, 2), -2), axis=-2)
        coefficients = halves * jnp.flip(sums, -2).reshape(*terms.shape[:-1], -1)[..., 1 : n + 1]
    return chebyshev_values(jnp.moveaxis(coefficients, -1, axis), axis)


def chebyshev_coefficients(u: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The coefficients `a_k` of the polynomial with the values `u` at the ascending points along `axis`.

    The cosine transform by a real Fourier transform of the even extension: the platforms have no other.
    """
    last = u.shape[axis] - 1
    descending = jnp.moveaxis(jnp.flip(u, axis), axis, -1)
    extended = jnp.concatenate([descending, jnp.flip(descending[..., 1:-1], -1)], axis=-1)
    scales = jnp.asarray(1 / _transform_scales(last), u.dtype)
    return jnp.moveaxis(jnp.fft.rfft(extended, axis=-1).real * scales, -1, axis)


def chebyshev_values(coefficients: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The inverse of `chebyshev_coefficients`: values at the ascending points."""
    last = coefficients.shape[axis] - 1
    scaled = jnp.moveaxis(coefficients, axis, -1) * jnp.asarray(_transform_scales(last), coefficients.dtype)
    descending = jnp.fft.irfft(scaled, n=2 * last, axis=-1)[..., : last + 1]
    return jnp.flip(jnp.moveaxis(descending, -1, axis), axis)


def applied(matrix: np.ndarray | Array, u: Array, axis: int) -> Array:
    """A matrix along one axis of `u`, in the precision of `u`."""
    dtype = u.real.dtype
    # Accelerators would otherwise round the factors of a single-precision product to half the digits.
    product = jnp.tensordot(jnp.asarray(matrix, dtype), u, axes=([1], [axis]), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)


def _transform_scales(last: int) -> np.ndarray:
    """`last` times 2 at both ends of the degrees, 1 between: what the even extension counts once or twice."""
    scales = np.full(last + 1, float(last))
    scales[[0, -1]] *= 2
    return scales
