"""How fast waves travel on the lattice."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


def numerical_frequency(wavenumber: Any, spacing: Any, dt: Any, speed: Any = 1.0) -> Float[Array, "..."]:
    r"""The frequency omega >= 0 of a plane wave `exp(i (k . x - omega t))` in Yee's scheme, in a uniform medium:

        sin(omega dt / 2)^2 / (speed dt)^2 = sum over axes of sin(k h / 2)^2 / h^2

    - `wavenumber`: k, `(ndim, ...)`; `spacing`: h, one number or one per axis; `dt`: a step (of `YeeStepper`,
      `dt / substeps`); `speed`: that of the medium.

    Raises `ValueError` for waves that grow, because dt is beyond the Courant limit.

    Source: Taflove & Hagness, Computational Electrodynamics (2005), section 4.3.
    """
    k = jnp.asarray(wavenumber, jnp.result_type(float, jnp.asarray(wavenumber).dtype))
    if k.ndim == 0:
        raise ValueError("The wavenumber has its axes first, (ndim, ...): give (k,) along a line.")
    h = jnp.asarray(spacing, k.dtype)
    if h.shape not in ((), (k.shape[0],)):
        raise ValueError(f"The wavenumber has {k.shape[0]} axes, and the spacing shape {h.shape}: one number per axis.")
    h = jnp.broadcast_to(h, k.shape[:1]).reshape(k.shape[0], *(1,) * (k.ndim - 1))
    sine = speed * dt * jnp.sqrt(jnp.sum((jnp.sin(k * h / 2) / h) ** 2, axis=0))
    rounding = 16 * float(jnp.finfo(k.dtype).eps)
    if not isinstance(sine, Tracer) and not np.all(np.asarray(sine) <= 1 + rounding):
        raise ValueError(
            f"Waves of this length grow: dt = {dt} is {float(jnp.max(sine)):.4g} times the largest one for which they "
            "do not."
        )
    return 2 / jnp.asarray(dt, k.dtype) * jnp.arcsin(jnp.minimum(sine, 1))
