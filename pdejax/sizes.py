"""How large a field is, without overflow, loss or derivatives that are not finite."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


def size(
    u: Inexact[Array, "..."], mean_of: Callable[[Array], Array], axes: tuple[int, ...] | None = None
) -> Float[Array, "..."]:
    """`sqrt(mean_of(|u|^2))`, where `mean_of` is a mean, sum or integral over `axes` (default all) of an array like u.

    Squares of single-precision numbers beyond 1e19 overflow and below 1e-19 vanish: u is divided by its largest value
    first. The derivative is zero where u is zero; what is not finite stays so.
    """
    magnitude = jnp.abs(jax.lax.stop_gradient(u))
    largest = jnp.max(magnitude, axis=axes, keepdims=True)
    # The size is homogeneous in u: a constant divisor changes neither value nor derivative.
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    scaled = u / scale
    square = scaled.real**2 + scaled.imag**2 if jnp.iscomplexobj(u) else scaled**2
    return jnp.squeeze(scale, axes) * safe_sqrt(mean_of(square))


def safe_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The root, with the derivative 0 at 0. NaN stays NaN."""
    return jnp.where(x == 0, 0.0, jnp.sqrt(jnp.where(x == 0, 1.0, x)))
