"""The largest eigenvalues of a real linear operator that can be applied, by applying it.

States are pytrees of real or complex arrays; the operator is linear over the real numbers, as derivatives of real
fields are, in whatever representation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Apply = Callable[[Any], Any]


def spectral_radius(apply: Apply, start: Any, num_iterations: int) -> tuple[Float[Array, ""], Any]:
    """The largest modulus of the eigenvalues, from below, and a vector of its eigenspace, of norm one.

    Eigenvalues of transport come in pairs, so single growth factors oscillate and their geometric mean over the second
    half of the iterations is taken; where many are nearly as large, that is some percent less than the largest.
    """

    def iterate(v: Any, _: None) -> tuple[Any, Array]:
        image = apply(v)
        length = norm(image)
        tiny = jnp.finfo(length.dtype).tiny
        return _scaled(image, 1 / jnp.maximum(length, tiny)), length / jnp.maximum(norm(v), tiny)

    vector, growths = jax.lax.scan(iterate, start, None, length=num_iterations)
    later = growths[-(num_iterations // 4 * 2) :]  # an even number: pairs of eigenvalues alternate
    radius = jnp.exp(jnp.mean(jnp.log(jnp.where(later > 0, later, 1.0))))
    return jnp.where(jnp.all(later > 0), radius, 0.0), vector


def dominant_pair(apply: Apply, v: Any) -> tuple[Float[Array, ""], Float[Array, ""], Any]:
    """Modulus and angle, in [0, pi], of the larger of the two eigenvalues that `v` is nearest to, and v twice further.

    Of the quadratic that best annihilates v: `|A^2 v - a A v - b v|` is least. For v from earlier calls, a power
    iteration that goes on while the operator changes.
    """
    first = apply(v)
    second = apply(first)
    tiny = jnp.finfo(norm(second).dtype).tiny
    vv, vf, ff = _dot(v, v), _dot(v, first), _dot(first, first)
    vs, fs = _dot(v, second), _dot(first, second)
    # One eigenvalue alone makes v and A v parallel: then the quadratic is no quadratic, and the quotient says it.
    determinant = ff * vv - vf**2
    is_single = determinant <= 1e3 * jnp.finfo(vv.dtype).eps * ff * vv
    safe = jnp.where(is_single, 1, determinant)
    a = (fs * vv - vs * vf) / safe
    b = (vs * ff - fs * vf) / safe
    square = a**2 / 4 + b
    turning = square < 0
    real = jnp.where(a < 0, a / 2 - jnp.sqrt(jnp.maximum(square, 0)), a / 2 + jnp.sqrt(jnp.maximum(square, 0)))
    modulus = jnp.where(turning, jnp.sqrt(jnp.maximum(-b, 0)), jnp.abs(real))
    real = jnp.where(turning, a / 2, real)
    alone = vf / jnp.maximum(vv, tiny)
    modulus, real = jnp.where(is_single, jnp.abs(alone), modulus), jnp.where(is_single, alone, real)
    angle = jnp.arccos(jnp.clip(real / jnp.maximum(modulus, tiny), -1, 1))
    length = norm(second)
    # What was annihilated is no direction to go on from.
    vector = jax.tree.map(
        lambda new, old: jnp.where(length > 0, new, old), _scaled(second, 1 / jnp.maximum(length, tiny)), v
    )
    return modulus, angle, vector


def norm(v: Any) -> Float[Array, ""]:
    """The Euclidean norm over all entries."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(jnp.abs(leaf))) for leaf in jax.tree.leaves(v)))


def _dot(v: Any, w: Any) -> Float[Array, ""]:
    pairs = zip(jax.tree.leaves(v), jax.tree.leaves(w), strict=True)
    return jnp.asarray(sum(jnp.sum((jnp.conj(a) * b).real) for a, b in pairs))


def _scaled(v: Any, factor: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.real.dtype), v)
