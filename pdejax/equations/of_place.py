"""Coefficients that may vary with the place: a number, or a function of the position."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.callables import as_module
from pdejax.equations.equation import coefficient
from pdejax.grid import Grid


def of_place(name: str, value: Any, *, positive: bool = False, nonnegative: bool = False) -> Any:
    """A coefficient that is a number, or a function of the position x, `(ndim, *place)`, with values `(*place)`."""
    if callable(value):
        return as_module(value)
    if np.ndim(value) > 0:
        raise ValueError(f"{name} is a number, or a function of the position, got an array of shape {np.shape(value)}.")
    return coefficient(name, value, positive=positive, nonnegative=nonnegative)


def values_at(name: str, given: Any, x: Float[Array, "axis *place"]) -> Float[Array, "*place"]:
    """The values of such a coefficient. Raises `ValueError` where a function returns another shape."""
    values = jnp.asarray(given(x) if callable(given) else given)
    if jnp.iscomplexobj(values):
        raise ValueError(f"{name} must be real, got {values.dtype}.")
    values = values.astype(x.dtype)
    if values.shape not in ((), x.shape[1:]):
        raise ValueError(
            f"{name} at positions of shape {x.shape} has shape {values.shape}: return one value per point."
        )
    return jnp.broadcast_to(values, x.shape[1:])


def check_on(name: str, given: Any, grid: Grid, *, positive: bool = False, nonnegative: bool = False) -> None:
    """Raises `ValueError` where such a coefficient is not finite, or has the wrong sign, at a point of the grid."""
    values = values_at(name, given, grid.coordinates())
    if isinstance(values, Tracer):
        return
    values = np.asarray(values)
    wrong = ~np.isfinite(values) | ((values <= 0) & positive) | ((values < 0) & nonnegative)
    if np.any(wrong):
        index = np.unravel_index(np.argmax(wrong), wrong.shape)
        position = ", ".join(f"{float(axis[i]):.4g}" for axis, i in zip(grid.axes, index, strict=True))
        place = position if grid.ndim == 1 else f"({position})"
        bound = "positive and finite" if positive else "finite and not negative" if nonnegative else "finite"
        raise ValueError(f"{name} must be {bound}; at x = {place} it is {float(values[index]):.4g}.")
