"""Constant coefficients on a box: the exact inverse of the discrete operator, one axis at a time.

With a and c numbers the operator is a sum over axes, `A = a sum_i T_i + c`, and the eigenvectors of each
one-dimensional T (rows divided by their cells) are known: Fourier modes on periodic axes, sines and cosines between two
walls of one kind,

    Dirichlet, nodes    sin(pi (j + 1) (k + 1) / (n + 1))     DST-I
    Neumann,   nodes    cos(pi j k / (n - 1))                 DCT-I
    Dirichlet, centres  sin(pi (j + 1/2) (k + 1) / n)         DST-II
    Neumann,   centres  cos(pi (j + 1/2) k / n)               DCT-II

each with the eigenvalue `(2 - 2 cos(angle)) / h^2`. These are done by a real Fourier transform of the reflected signal;
other pairs of walls, and anti-periodic axes, by a matrix of eigenvectors (n^2 work per line in place of n log n).
Source: Swarztrauber, SIAM Rev. 19 (1977) 490-501; Lynch, Rice & Thomas, Numer. Math. 6 (1964) 185-199.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Robin
from pdejax.elliptic.operator import EllipticOperator


class _Axis(NamedTuple):
    kind: str
    eigenvalues: Array  # of T times h^2
    forward: Array | None = None
    backward: Array | None = None


def solve_direct(operator: EllipticOperator, b: Float[Array, " *free"]) -> Float[Array, " *free"]:
    """The u with `operator(u) = b`; of mean zero, and of the part of b of sum zero, where the operator is singular.

    Raises `ValueError` for coefficients that are arrays.
    """
    if operator.diffusivity.ndim or operator.reaction.ndim:
        raise ValueError('The direct method needs numbers for the coefficients; use method="cg" for arrays.')
    ndim, h = operator.grid.ndim, operator.grid.spacing
    axes = [_axis(operator, axis) for axis in range(ndim)]
    waves = [a for a, one in enumerate(axes) if one.kind == "fourier"]
    u = b / operator.restrict(operator.cells())
    for a, one in enumerate(axes):
        u = _transform(one, u, a)
    if waves:
        u = jnp.fft.rfftn(u, axes=waves)
    total = jnp.asarray(operator.reaction)
    for a, one in enumerate(axes):
        values = one.eigenvalues[: u.shape[a]] * operator.diffusivity / h[a] ** 2
        total = total + values.reshape([-1 if i == a else 1 for i in range(ndim)])
    if operator.singular:
        first = np.zeros(total.shape, bool)
        first[(0,) * ndim] = True
        u = jnp.where(first, 0.0, u / jnp.where(first, 1.0, total))
    else:
        u = u / total
    if waves:
        u = jnp.fft.irfftn(u, s=[operator.free_shape[a] for a in waves], axes=waves)
    for a, one in enumerate(axes):
        u = _inverse(one, u, a)
    return u.astype(b.dtype)


def _axis(operator: EllipticOperator, axis: int) -> _Axis:
    side, n = operator.sides[axis], operator.free_shape[axis]
    dtype = operator.grid.dtype
    if side is None:
        return _Axis("fourier", jnp.asarray(2 - 2 * np.cos(2 * np.pi * np.arange(n) / n), dtype))
    if isinstance(side, AntiPeriodic):
        matrix = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
        matrix[0, -1] += 1
        matrix[-1, 0] += 1
        return _by_matrix(matrix, np.ones(n), dtype)
    nodes = operator.grid.points[axis] == "nodes"
    dirichlet = [isinstance(one, Dirichlet) for one in side]
    neumann = [isinstance(one, Neumann) or _is_neumann(one) for one in side]
    if all(dirichlet):
        # DST-II as a DCT-II of the signal with alternating signs: the highest mode comes first.
        angles = np.pi * (np.arange(1, n + 1) / (n + 1) if nodes else np.arange(n, 0, -1) / n)
        return _Axis("dst1" if nodes else "dst2", jnp.asarray(2 - 2 * np.cos(angles), dtype))
    if all(neumann):
        angles = np.pi * np.arange(n) / (n - 1 if nodes else n)
        return _Axis("dct1" if nodes else "dct2", jnp.asarray(2 - 2 * np.cos(angles), dtype))
    matrix: Any = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    cells, robin = np.ones(n), {}
    for end, condition, is_dirichlet, is_neumann in zip((0, -1), side, dirichlet, neumann, strict=True):
        if is_dirichlet and nodes:
            continue  # the first interval leads to the held point
        cells[end] = 0.5 if nodes else 1.0
        matrix[end, end] = 3.0 if is_dirichlet else 1.0
        if isinstance(condition, Robin) and not is_neumann:
            h = operator.grid.spacing[axis]
            half = 0.0 if nodes else h / 2
            robin[end] = h * condition.value_weight / (condition.value_weight * half + condition.slope_weight)
    for end, extra in robin.items():
        matrix = jnp.asarray(matrix, dtype).at[end, end].add(extra.astype(dtype))
    return _by_matrix(matrix, cells, dtype)


def _is_neumann(condition: Any) -> bool:
    weight = condition.value_weight if isinstance(condition, Robin) else None
    return weight is not None and not isinstance(weight, Tracer) and float(weight) == 0


def _by_matrix(matrix: Any, cells: np.ndarray, dtype: np.dtype) -> _Axis:
    roots = np.sqrt(cells)
    # In NumPy where nothing is traced: the eigenvectors are then constants of the program.
    library = np if isinstance(matrix, np.ndarray) else jnp
    values, vectors = library.linalg.eigh(matrix / np.outer(roots, roots))
    forward, backward = vectors.T * roots, vectors / roots[:, None]
    return _Axis("matrix", *(jnp.asarray(array, dtype) for array in (values, forward, backward)))


def _product(u: Array, matrix: Array | None) -> Array:
    """Along the last axis of `u`; accelerators would round it to half the digits."""
    assert matrix is not None
    return jnp.matmul(u, matrix.T, precision="highest")


def _transform(one: _Axis, u: Array, axis: int) -> Array:
    if one.kind == "fourier":
        return u
    u = jnp.moveaxis(u, axis, -1)
    if one.kind == "matrix":
        u = _product(u, one.forward)
    else:
        u = {"dst1": _dst1, "dct1": _dct1, "dst2": _dst2, "dct2": _dct2}[one.kind](u)
    return jnp.moveaxis(u, -1, axis)


def _inverse(one: _Axis, u: Array, axis: int) -> Array:
    if one.kind == "fourier":
        return u
    u = jnp.moveaxis(u, axis, -1)
    n = u.shape[-1]
    if one.kind == "matrix":
        u = _product(u, one.backward)
    elif one.kind == "dst1":
        u = _dst1(u) / (2 * (n + 1))
    elif one.kind == "dct1":
        u = _dct1(u) / (2 * (n - 1))
    else:
        u = _inverse_dct2(u) * (_signs(u) if one.kind == "dst2" else 1.0)
    return jnp.moveaxis(u, -1, axis)


def _signs(u: Array) -> Array:
    return jnp.asarray((-1.0) ** np.arange(u.shape[-1]), u.dtype)


def _dst1(u: Array) -> Array:
    zero = jnp.zeros_like(u[..., :1])
    return -jnp.fft.rfft(jnp.concatenate([zero, u, zero, -u[..., ::-1]], -1)).imag[..., 1:-1]


def _dct1(u: Array) -> Array:
    return jnp.fft.rfft(jnp.concatenate([u, u[..., -2:0:-1]], -1)).real


def _quarter_turns(u: Array, direction: int) -> Array:
    n = u.shape[-1]
    return jnp.asarray(np.exp(direction * 0.5j * np.pi * np.arange(n) / n), jnp.result_type(u.dtype, jnp.complex64))


def _dct2(u: Array) -> Array:
    spectrum = jnp.fft.rfft(jnp.concatenate([u, u[..., ::-1]], -1))[..., :-1]
    return (spectrum * _quarter_turns(u, -1)).real


def _dst2(u: Array) -> Array:
    return _dct2(u * _signs(u))


def _inverse_dct2(u: Array) -> Array:
    n = u.shape[-1]
    spectrum = u * _quarter_turns(u, 1)
    return jnp.fft.irfft(jnp.concatenate([spectrum, jnp.zeros_like(spectrum[..., :1])], -1), 2 * n)[..., :n]
