"""The kept Fourier coefficients of real fields, and back, as products with DFT matrices, one axis after the other.

With tens of kept frequencies that is faster than a full FFT of which most is thrown away, and it is what GPUs and TPUs
are best at.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pdejax.nn.modes import Modes


def analyse(u: Array, modes: Modes) -> tuple[Array, Array]:
    """The kept Fourier coefficients of a real field: `(channel, *space)` -> real and imaginary `(channel, *kept)`."""
    channels, *space = u.shape
    forward, _ = _real_matrices(space[-1], modes.highest[-1])
    # Between two axes the array is (channels and axes to come, this axis, real | imaginary, frequencies so far): every
    # step is then one matrix product that contracts two neighbouring dimensions.
    coefficients = jnp.matmul(u, jnp.asarray(forward, u.dtype), precision="highest")
    for axis in reversed(range(len(space) - 1)):
        matrix, _ = _complex_matrices(space[axis], modes.lowest[axis], modes.highest[axis])
        coefficients = coefficients.reshape(channels * int(np.prod(space[:axis])), space[axis], 2, -1)
        matrix = jnp.asarray(matrix, u.dtype)
        coefficients = jnp.einsum("axcr,cxdk->adkr", coefficients, matrix, precision="highest")
    coefficients = coefficients.reshape(channels, 2, *modes.shape)
    return coefficients[:, 0], coefficients[:, 1]


def synthesise(coefficients: Array, modes: Modes, space: tuple[int, ...]) -> Array:
    """The real field of the kept coefficients: `(channel, real | imaginary, *kept)` -> `(channel, *space)`."""
    channels = coefficients.shape[0]
    for axis in range(len(space) - 1):
        _, matrix = _complex_matrices(space[axis], modes.lowest[axis], modes.highest[axis])
        coefficients = coefficients.reshape(channels * int(np.prod(space[:axis])), 2, modes.shape[axis], -1)
        matrix = jnp.asarray(matrix, coefficients.dtype)
        coefficients = jnp.einsum("adkr,dkcx->axcr", coefficients, matrix, precision="highest")
    _, inverse = _real_matrices(space[-1], modes.highest[-1])
    coefficients = coefficients.reshape(channels, *space[:-1], -1)
    return jnp.matmul(coefficients, jnp.asarray(inverse, coefficients.dtype), precision="highest")


@lru_cache(maxsize=64)
def _real_matrices(points: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
    """Real field -> [real | imaginary] coefficients `(points, 2 kept)`, and back `(2 kept, points)`."""
    phase = _phase(points, np.arange(highest + 1))
    # Every frequency stands for its conjugate as well, except 0 and, for an even number of points, the highest one.
    multiplicity = np.where((np.arange(highest + 1) * 2) % points == 0, 1, 2)[:, None]
    forward = np.concatenate([np.cos(phase), -np.sin(phase)], axis=1) / points
    inverse = np.concatenate([multiplicity * np.cos(phase.T), -multiplicity * np.sin(phase.T)])
    return forward, inverse


@lru_cache(maxsize=64)
def _complex_matrices(points: int, lowest: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
    """The transform along one axis as real matrices `(re|im in, points, re|im out, kept)`, and its inverse.

    The inverse is `(re|im in, kept, re|im out, points)`.
    """
    phase = _phase(points, np.arange(lowest, highest + 1))
    cos, sin = np.cos(phase), np.sin(phase)
    # (a + ib) exp(-i phase): the real part is a cos + b sin, the imaginary part is b cos - a sin.
    forward = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)]) / points
    inverse = np.stack([np.stack([cos.T, sin.T], axis=1), np.stack([-sin.T, cos.T], axis=1)])
    return forward, inverse


def _phase(points: int, frequencies: np.ndarray) -> np.ndarray:
    """`2 pi x k / points`, reduced to one turn in whole numbers first, which keeps every digit."""
    return 2 * np.pi / points * (np.outer(np.arange(points), frequencies) % points)
