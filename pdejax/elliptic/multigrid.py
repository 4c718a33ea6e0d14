"""Geometric multigrid: V-cycles over the matrices that `coarsening` makes, with polynomial smoothing.

The smoother is the Chebyshev iteration of the fourth kind on D^-1 A: it needs an upper bound of the spectrum and no
lower one, takes products with the matrix only, and is symmetric, so that a V-cycle is a preconditioner of conjugate
gradients. Five steps before and five after the coarse correction. Source: Lottes, Optimal polynomial smoothers for
multigrid V-cycles, Numer. Linear Algebra Appl. 30 (2023) e2518.

An axis is halved with its neighbours when its spacing is within a factor of the finest: on anisotropic grids the axis
with the strong coupling goes first, until the spacings are alike.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.elliptic.coarsening import Interpolation, can_halve, halve
from pdejax.elliptic.stencil_matrix import StencilMatrix

NUM_SWEEPS = 5
COARSEST = 40
LARGEST_DENSE = 2048
# Couplings go with 1 / spacing^2: axes within about a factor of two of the strongest coupling are halved together.
ALIKE = 1.5


class Level(eqx.Module):
    matrix: StencilMatrix
    inverse_diagonal: Float[Array, " *shape"]
    bound: Float[Array, ""]
    interpolation: Interpolation


class Multigrid(eqx.Module):
    """`cycle(b)` is one V-cycle from zero for A u = b: linear and symmetric in b, positive.

    - `spacing`: of the axes, up to a common factor; decides which axes are halved together.
    - `singular`: whether the constants are the null space of A; b must then have sum zero.

    Raises `ValueError` when the coarsest grid is too large for a dense inverse, as when a long periodic axis is odd.
    """

    levels: tuple[Level, ...]
    coarsest_inverse: Float[Array, "points points"]

    def __init__(self, matrix: StencilMatrix, spacing: Sequence[float], singular: bool = False):
        levels = []
        for halved in plan(matrix, spacing):
            diagonal = matrix.diagonal
            bound = jnp.max(jnp.sum(jnp.abs(matrix.weights), 0) / diagonal)
            interpolation, coarse = halve(matrix, halved)
            levels.append(Level(matrix, 1 / diagonal, bound, interpolation))
            matrix = coarse
        self.levels = tuple(levels)
        dense = matrix.dense()
        if singular:
            # The constants are lifted off zero, to the size of the rest of the spectrum.
            dense = dense + jnp.max(matrix.diagonal) / len(dense)
        self.coarsest_inverse = jnp.linalg.inv(dense)

    def cycle(self, b: Float[Array, " *shape"]) -> Float[Array, " *shape"]:
        descent = []
        for level in self.levels:
            u, residual = _smooth_from_zero(level, b)
            descent.append((u, residual))
            b = level.interpolation.transpose(residual)
        u = jnp.matmul(self.coarsest_inverse, b.reshape(-1), precision="highest").reshape(b.shape)
        for level, (before, residual) in zip(self.levels[::-1], descent[::-1], strict=True):
            u = _correct_and_smooth(level, before, residual, level.interpolation(u))
        return u


def plan(matrix: StencilMatrix, spacing: Sequence[float]) -> list[tuple[int, ...]]:
    """Which axes are halved on each level."""
    shape, spacing, halvings = list(matrix.shape), [float(h) for h in spacing], []
    while np.prod(shape) > COARSEST:
        possible = [a for a, n in enumerate(shape) if can_halve(n, matrix.axes[a])]
        if not possible:
            break
        finest = min(spacing[a] for a in possible)
        halved = tuple(a for a in possible if spacing[a] <= ALIKE * finest)
        for a in halved:
            shape[a] = (shape[a] + 1 - matrix.axes[a].first) // 2
            spacing[a] *= 2
        halvings.append(halved)
    if np.prod(shape) > LARGEST_DENSE:
        raise ValueError(
            f"Multigrid cannot coarsen {matrix.shape} points below {tuple(shape)}: a periodic axis of odd length has "
            "no coarser grid. Use an even number of points along periodic axes, best a multiple of a power of two."
        )
    return halvings


def _coefficients(dtype: np.dtype) -> Array:
    """Of step k = 1, 2, ...: how much of the last correction is kept, and how much of the residual is taken."""
    k = np.arange(1, NUM_SWEEPS + 1)
    keep, take = (2 * k - 3) / (2 * k + 1), (8 * k - 4) / (2 * k + 1)
    keep[0] = 0.0  # the first step has no last correction of its own
    return jnp.asarray(np.stack([keep, take], 1), dtype)


def _smooth_from_zero(level: Level, b: Array) -> tuple[Array, Array]:
    """The smoothed u and its residual."""
    coefficients = _coefficients(b.dtype)

    def step(k, state):
        u, correction, residual = state
        keep, take = coefficients[k]
        correction = keep * correction + take / level.bound * level.inverse_diagonal * residual
        return u + correction, correction, residual - level.matrix(correction)

    zero = jnp.zeros_like(b)
    u, _, residual = jax.lax.fori_loop(0, NUM_SWEEPS, step, (zero, zero, b))
    return u, residual


def _correct_and_smooth(level: Level, u: Array, residual: Array, correction: Array) -> Array:
    """u + correction, smoothed; `residual` is that of u."""
    coefficients = _coefficients(u.dtype)

    def step(k, state):
        u, correction, residual = state
        keep, take = coefficients[k]
        residual = residual - level.matrix(correction)
        correction = keep * correction + take / level.bound * level.inverse_diagonal * residual
        return u + correction, correction, residual

    return jax.lax.fori_loop(0, NUM_SWEEPS, step, (u + correction, correction, residual))[0]
