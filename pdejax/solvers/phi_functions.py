r"""The functions of exponential integrators, of numbers, of 2 x 2 blocks and of blocks of any size.

    phi_0(z) = e^z,    phi_(l+1)(z) = (phi_l(z) - 1/l!) / z,    phi_l(0) = 1/l!

Each function here returns `e^z - 1, phi_1(z), ..., phi_count(z)`, the first without the cancellation of subtracting 1
where z is small. Complex arguments stay complex: an imaginary z, from an odd derivative, makes every phi_l complex, and
keeping real parts would leave a first-order method (Kassam & Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, average
over a contour for the same purpose; the closed form needs no contour away from z = 0, and a series near it).

Every branch is evaluated where it is not taken, too, so its argument is replaced there by a harmless one: derivatives
through `where` are then finite.
"""

from collections.abc import Callable
from math import factorial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

# Taylor terms of phi_l, used where |z| < 9/4: the first neglected one is below 1e-18.
_SERIES_TERMS = 24
# Of the largest block: enough for |Z| up to 2^63.
_DOUBLINGS = 64


def of_numbers(z: Inexact[Array, "..."], count: int) -> list[Array]:
    small = jnp.abs(z) < 1
    near = jnp.where(small, z, 0)
    far = jnp.where(small, 1, z)
    series = _series(near, jnp.ones_like(near), jnp.multiply, count)
    closed = jnp.exp(far)
    result = [jnp.where(small, near * series[0], closed - 1)]
    for order in range(1, count + 1):
        closed = (closed - 1 / factorial(order - 1)) / far
        result.append(jnp.where(small, series[order - 1], closed))
    return result


def of_pairs(z: Inexact[Array, "2 2 *modes"], count: int) -> list[Array]:
    """Of 2 x 2 blocks, in closed form: what turns or decays keeps its modulus to rounding, whatever its rate.

    With the mean m of the diagonal, `Z = m + D` and `D^2 = delta` (Cayley and Hamilton), so the eigenvalues are
    `m +- sqrt(delta)`. Where these lie apart, Z is split into its two projections; where they are close to each other
    compared with m, functions are carried as `a + b D`, by the recursion or, near zero, by the series.
    """
    mean, _, delta = _halves(z)
    close = jnp.abs(delta) < jnp.maximum(1.0, jnp.abs(mean) ** 2) / 4
    zero = close & (jnp.abs(mean) < 1.5)
    unit = lambda upper, lower: jnp.asarray([[upper, 0], [0, lower]], z.dtype)[(...,) + (None,) * (z.ndim - 2)]  # noqa: E731
    apart = _of_separate_pairs(jnp.where(close, unit(1, -1), z), count)
    together = _of_close_pairs(jnp.where(close & ~zero, z, unit(2, 2)), count)
    tiny = _of_small_pairs(jnp.where(zero, z, 0), count)
    return [
        jnp.where(zero, near, jnp.where(close, middle, far))
        for near, middle, far in zip(tiny, together, apart, strict=True)
    ]


def of_matrices(z: Inexact[Array, "channel channel *modes"], count: int) -> list[Array]:
    """Scaling and doubling: the functions of Z / 2^s by their series, then s times, with E = exp(Z) - 1,

        exp(2 Z) - 1 = E^2 + 2 E
        phi_l(2 Z) = 2^-l [ (1 + E) phi_l(Z) + sum over 1 <= j <= l of phi_j(Z) / (l - j)! ]

    E is carried along: rebuilding it as Z phi_1(Z) would multiply the rounding of slow directions by the size of the
    fast ones. Good to about `eps |Z|`, of the modulus too: in single precision, what only turns grows or decays by that
    much per step.

    Source: Higham, Functions of Matrices (2008), section 10.7.4.
    """
    size = jnp.max(jnp.sum(jnp.abs(z), axis=1), axis=0)
    doublings = jnp.ceil(jnp.log2(jnp.maximum(jax.lax.stop_gradient(size), 0.5))).astype(jnp.int32) + 1
    small = z * (0.5**doublings).astype(z.real.dtype)
    identity = jnp.eye(z.shape[0], dtype=z.dtype).reshape(z.shape[:2] + (1,) * (z.ndim - 2))
    phis = _series(small, identity, _matrix_product, count)

    def double(i: Array, values: list[Array]) -> list[Array]:
        exponential, *phis = values
        doubled = [_matrix_product(exponential, exponential) + 2 * exponential]
        for order in range(1, count + 1):
            total = phis[order - 1] + _matrix_product(exponential, phis[order - 1])
            for j in range(1, order + 1):
                total = total + phis[j - 1] / factorial(order - j)
            doubled.append(total / 2**order)
        # A mode that needs fewer doublings than the stiffest one waits.
        return [jnp.where(i < doublings, new, old) for new, old in zip(doubled, values, strict=True)]

    # A fixed count keeps the loop differentiable in reverse mode. Beyond it nothing would be right: NaN says so.
    values = jax.lax.fori_loop(0, _DOUBLINGS, double, [_matrix_product(small, phis[0]), *phis])
    return [jnp.where(doublings <= _DOUBLINGS, value, jnp.nan) for value in values]


def _halves(z: Array) -> tuple[Array, Array, Array]:
    """Mean and half difference of the diagonal, and delta."""
    half = (z[0, 0] - z[1, 1]) / 2
    return (z[0, 0] + z[1, 1]) / 2, half, half**2 + z[0, 1] * z[1, 0]


def _of_separate_pairs(z: Array, count: int) -> list[Array]:
    """`f(Z) = f(z_1) P + f(z_2) (1 - P)` with the projection P on the first eigenvector.

    Signs are chosen such that no small entry is the difference of large ones: a slow component beside a fast one keeps
    its rate, and the fast one its own functions.
    """
    _, half, delta = _halves(z)
    root = jnp.sqrt(delta.astype(jnp.result_type(delta, jnp.complex64)))
    root = jnp.where((jnp.conj(half) * root).real < 0, -root, root)
    shift = z[0, 1] * z[1, 0] / (root + half)
    large = 0.5 + half / (2 * root)
    upper, lower = z[0, 1] / (2 * root), z[1, 0] / (2 * root)
    small = upper * lower / large
    result = []
    for first, second in zip(of_numbers(z[0, 0] + shift, count), of_numbers(z[1, 1] - shift, count), strict=True):
        gap = first - second
        block = [[first * large + second * small, gap * upper], [gap * lower, first * small + second * large]]
        value = jnp.stack([jnp.stack(row) for row in block])
        result.append(value if jnp.iscomplexobj(z) else value.real)
    return result


def _of_close_pairs(z: Array, count: int) -> list[Array]:
    """Away from zero: `phi_l (m + D) = phi_(l-1) - 1/(l-1)!` solved for the two numbers of phi_l."""
    mean, _, delta = _halves(z)
    tiny = jnp.abs(delta) < 0.25
    near, far = jnp.where(tiny, delta, 0), jnp.where(tiny, 1, delta)
    root = jnp.sqrt(far.astype(jnp.result_type(far, jnp.complex64)))
    plus, minus = jnp.exp(mean + root), jnp.exp(mean - root)
    # cosh(sqrt(delta)) and sinh(sqrt(delta)) / sqrt(delta), by their series for the small ones.
    even = sum(near**n * (1 / factorial(2 * n)) for n in range(9)) * jnp.exp(mean)
    odd = sum(near**n * (1 / factorial(2 * n + 1)) for n in range(9)) * jnp.exp(mean)
    closed = [(plus + minus) / 2, (plus - minus) / (2 * root)]
    if not jnp.iscomplexobj(z):
        closed = [part.real for part in closed]
    a, b = (jnp.where(tiny, series, other) for series, other in zip((even, odd), closed, strict=True))
    result = [_of_parts(z, a - 1, b)]
    determinant = mean**2 - delta
    for order in range(1, count + 1):
        rest = a - 1 / factorial(order - 1)
        a, b = (mean * rest - delta * b) / determinant, (mean * b - rest) / determinant
        result.append(_of_parts(z, a, b))
    return result


def _of_small_pairs(z: Array, count: int) -> list[Array]:
    """The series, whose terms are kept as `a + b D`: entries of Z may be large where its eigenvalues are small."""
    mean, _, delta = _halves(z)
    one = jnp.stack([jnp.ones_like(mean), jnp.zeros_like(mean)])
    own = jnp.stack([mean, jnp.ones_like(mean)])

    def compose(first: Array, second: Array) -> Array:
        (a, b), (c, d) = first, second
        return jnp.stack([a * c + delta * b * d, a * d + b * c])

    phis = _series(own, one, compose, count)
    return [_of_parts(z, *value) for value in (compose(own, phis[0]), *phis)]


def _of_parts(z: Array, a: Array, b: Array) -> Array:
    """`a + b D`."""
    _, half, _ = _halves(z)
    return jnp.stack([jnp.stack([a + b * half, b * z[0, 1]]), jnp.stack([b * z[1, 0], a - b * half])])


def _matrix_product(first: Array, second: Array) -> Array:
    """Of the leading two axes, for each mode."""
    return jnp.sum(first[:, :, None] * second[None], axis=1)


def _series(z: Array, one: Array, compose: Callable[[Array, Array], Array], count: int) -> list[Array]:
    """`phi_1(z) .. phi_count(z)` near zero: the last by its series, the others by `phi_l = z phi_(l+1) + 1/l!`.

    Downwards the recursion multiplies by z and loses nothing; upwards it would divide rounding errors by it.
    """
    inverse_factorials = jnp.asarray([1 / factorial(count + n) for n in reversed(range(_SERIES_TERMS))], z.real.dtype)
    horner = lambda total, coefficient: (coefficient * one + compose(z, total), None)  # noqa: E731
    phis = [jax.lax.scan(horner, jnp.zeros_like(z + one), inverse_factorials)[0]]
    for order in reversed(range(1, count)):
        phis.append(one / factorial(order) + compose(z, phis[-1]))
    return phis[::-1]
