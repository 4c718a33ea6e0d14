"""Rotary encodings of positions in a box: what tells a product of queries and keys how far apart their points are."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.nn.quadrature import AxisPoints


def angles(points: AxisPoints, pairs: int, harmonics: int) -> np.ndarray:
    """The angles `(pairs, points)` by which `pairs` pairs of channels are turned at the points of one axis.

    The j-th is `2 pi m x / L` along a periodic axis of length L, `pi m x / L` along others, m = j modulo
    `harmonics + 1`: 0, 1, ..., `harmonics`, 0, 1, ... Whole waves close where a periodic box does; half ones tell the
    two ends of another apart.
    """
    wave = 2 * np.pi if points.periodic else np.pi
    return wave * (np.arange(pairs) % (harmonics + 1))[:, None] * points.positions


def rotated(
    u: Float[Array, "head channel *space"], cos: Float[Array, "pair *space"], sin: Float[Array, "pair *space"]
) -> Float[Array, "head channel *space"]:
    """`(c cos - s sin, c sin + s cos)` of the pairs of channels `(c, s)`: the j-th and the j-th of the second half.

    After it a product of two such vectors at the points x and y depends on the angles through those at x - y alone.
    Source: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), section 3.2; the
    frequencies there are others.
    """
    first, second = jnp.split(u, 2, axis=1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=1)
