"""The Poisson equation on a Chebyshev grid, solved directly by fast diagonalisation.

    Laplacian(q) = f at the interior points,    a q + b dq/dn = g at the walls

A lift, zero inside, takes the data; for the rest the wall values are linear in the interior ones, and eliminating them
leaves one matrix of a second derivative per axis. Each is diagonalised once, by numbers: with both conditions of the
kinds Dirichlet or Neumann it depends on the extent by a factor alone. Periodic axes are diagonal in Fourier modes. With
Robin conditions the matrix has the weights and the extent in it, which may be traced: one such axis is solved by LU
factors, one for each mode of the others.

Source: Lynch, Rice & Thomas, Numer. Math. 6 (1964) 185; Haidvogel & Zang, J. Comput. Phys. 30 (1979) 167.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.boundary import Condition, Neumann, Outflow, Robin, Sides
from pdejax.fields.chebyshev_polynomials import applied, differentiate, differentiation_matrix
from pdejax.fields.chebyshev_walls import imposed, wall_rows
from pdejax.fields.fourier_axis import fourier_derivative, wavenumbers
from pdejax.grid import Grid

Pair = tuple[Condition, Condition]


def solve_poisson(
    f: Float[Array, "component *space"], grid: Grid, sides: Sides, t: Any
) -> Float[Array, "component *space"]:
    """`q` with `Laplacian(q) = f` and the conditions `sides`, at time t, component by component.

    Values of f on walls with a condition do not enter. Where every axis is periodic or has Neumann conditions at both
    ends, q is known up to a constant and has zero mean; the part of f that no such q has (data and source out of
    balance) is dropped, as Fourier series drop the mean of f.

    A Robin condition whose value weight is traced and turns out to be zero leaves a constant free and is not noticed:
    where no other wall holds it q is then rounding over zero.

    Raises `ValueError` for `Outflow`, which leaves q undetermined, and for Robin conditions along two axes.
    """
    walls = {axis: pair for axis, pair in enumerate(sides) if isinstance(pair, tuple)}
    for axis, pair in walls.items():
        if any(isinstance(condition, Outflow) for condition in pair):
            raise ValueError(
                f"The Poisson equation needs a condition at every wall, and Outflow along axis {axis} states none: "
                "give Dirichlet, Neumann or Robin."
            )
    factorised = [axis for axis, pair in walls.items() if any(isinstance(condition, Robin) for condition in pair)]
    if len(factorised) > 1:
        raise ValueError(
            f"The Poisson equation takes Robin conditions along one axis, and they stand along axes {factorised}: "
            "state Dirichlet or Neumann along the others."
        )
    lift = imposed(jnp.zeros_like(f), grid, sides, t)
    inside = (slice(None), *(slice(1, -1) if axis in walls else slice(None) for axis in range(grid.ndim)))
    rest = (f - laplacian(lift, grid))[inside]
    q = _solved_inside(rest, grid, walls, factorised)
    q = imposed(lift.at[inside].set(q), grid, sides, t)
    if not factorised and all(isinstance(condition, Neumann) for pair in walls.values() for condition in pair):
        mean = grid.integrate(q) / grid.volume.astype(q.dtype)
        q = q - mean.reshape(-1, *(1,) * grid.ndim)
    return q


def laplacian(u: Float[Array, "component *space"], grid: Grid) -> Float[Array, "component *space"]:
    return sum(axis_derivative(u, grid, axis, 2) for axis in range(grid.ndim))  # pyright: ignore[reportReturnType]


def axis_derivative(u: Float[Array, "component *space"], grid: Grid, axis: int, order: int) -> Any:
    """The derivative along one axis: of the polynomial through the points, or of the Fourier series."""
    extent = grid.extent[axis].astype(u.dtype)
    if grid.periodic[axis]:
        return fourier_derivative(u, axis + 1, order, extent)
    return differentiate(u, axis + 1, order) * (2 / extent) ** order


def _solved_inside(rest: Array, grid: Grid, walls: dict[int, Pair], factorised: list[int]) -> Array:
    """The interior values with zero data."""
    dtype = rest.dtype
    kinds = {
        axis: (isinstance(low, Neumann), isinstance(high, Neumann))
        for axis, (low, high) in walls.items()
        if axis not in factorised
    }
    waves = [axis for axis in range(grid.ndim) if axis not in walls]
    transform_axes = tuple(axis + 1 for axis in waves)
    lengths = [grid.shape[axis] for axis in waves]

    eigenvalues: Any = jnp.zeros((1,) * grid.ndim, dtype)
    for axis in range(grid.ndim):
        if axis in kinds:
            numbers, _, inverse = _diagonalised(grid.shape[axis], *kinds[axis])
            rest = applied(inverse, rest, axis + 1)
            along = jnp.asarray(numbers, dtype) * (2 / grid.extent[axis].astype(dtype)) ** 2
        elif axis in waves:
            halved = axis == waves[-1]
            along = -((wavenumbers(grid.shape[axis], halved).astype(dtype) * (2 * np.pi / grid.extent[axis])) ** 2)
        else:
            continue
        eigenvalues = eigenvalues + along.astype(dtype).reshape((-1,) + (1,) * (grid.ndim - axis - 1))
    if waves:
        rest = jnp.fft.rfftn(rest, axes=transform_axes)
    if factorised:
        rest = _solved_by_factors(rest, eigenvalues, grid, walls[factorised[0]], factorised[0])
    elif all(axis in waves or all(kinds[axis]) for axis in range(grid.ndim)):
        # Exactly zero at the constant, and nowhere else.
        rest = rest * jnp.where(eigenvalues == 0, 0, 1 / jnp.where(eigenvalues == 0, 1, eigenvalues))
    else:
        rest = rest / eigenvalues
    if waves:
        rest = jnp.fft.irfftn(rest, s=lengths, axes=transform_axes)
    for axis, pair in kinds.items():
        rest = applied(_diagonalised(grid.shape[axis], *pair)[1], rest, axis + 1)
    return rest


def _solved_by_factors(rest: Array, eigenvalues: Any, grid: Grid, pair: Pair, axis: int) -> Array:
    """Along the axis with Robin conditions: `(A + s) q = r`, where s is what the other axes contribute to each mode."""
    n = grid.shape[axis]
    extent, dtype = grid.extent[axis].astype(eigenvalues.dtype), eigenvalues.dtype
    rows = wall_rows(pair, n, extent, dtype)
    walls = jnp.linalg.solve(rows[:, np.array([0, -1])], rows[:, 1:-1])
    second = differentiation_matrix(n, 2)
    matrix = second[1:-1, 1:-1] - applied(second[1:-1][:, [0, -1]], walls, 0)
    shifts = jnp.moveaxis(eigenvalues, axis, -1)[..., None]
    # One factorisation per mode serves all components, real and imaginary parts.
    modes = jnp.moveaxis(jnp.moveaxis(rest, 0, -1), axis, -2)
    columns = jnp.concatenate([modes.real, modes.imag], axis=-1) if jnp.iscomplexobj(modes) else modes
    operator = matrix.astype(dtype) * (2 / extent) ** 2 + shifts * jnp.eye(n - 2, dtype=dtype)
    operator = jnp.broadcast_to(operator, (*columns.shape[:-2], n - 2, n - 2))
    solved = jnp.linalg.solve(operator, columns)
    if jnp.iscomplexobj(modes):
        real, imaginary = jnp.split(solved, 2, axis=-1)
        solved = real + 1j * imaginary
    return jnp.moveaxis(jnp.moveaxis(solved, -2, axis), -1, 0)


@functools.cache
def _diagonalised(n: int, low_is_slope: bool, high_is_slope: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues, eigenvectors and their inverse of `d^2/ds^2` at the interior points, for conditions of zero data.

    All are real (`chebyshev_walls.py`); that of the constant, between two slopes, is made zero exactly.
    """
    first, second = differentiation_matrix(n, 1), differentiation_matrix(n, 2)
    ends = np.array([0, n - 1])
    rows = np.zeros((2, n))
    for index, is_slope in enumerate((low_is_slope, high_is_slope)):
        rows[index] = first[ends[index]] if is_slope else np.eye(n)[ends[index]]
    eliminated = second[1:-1][:, ends] @ np.linalg.solve(rows[:, ends], rows[:, 1:-1])
    numbers, vectors = np.linalg.eig(second[1:-1, 1:-1] - eliminated)
    numbers, vectors = np.array(np.real(numbers)), np.real(vectors)
    if low_is_slope and high_is_slope:
        numbers[np.argmin(np.abs(numbers))] = 0.0
    return numbers, vectors, np.linalg.inv(vectors)
