"""What every model asks of its arguments and of a state, in the same words."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from pdejax.grid import Grid, check_uniform
from pdejax.nn.conditioning import Conditioning


def check_at_least_one(what: str, **sizes: int) -> None:
    """Raises `ValueError` naming the first of `sizes` that is below one."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{what} needs {name} >= 1, got {size}.")


def checked_dtype(dtype: Any, what: str) -> np.dtype:
    """`dtype` as numpy's; raises `ValueError` for float64 while JAX has it switched off."""
    dtype = np.dtype(dtype)
    if dtype == np.float64 and jnp.result_type(float) != np.float64:
        raise ValueError(f"A float64 {what} needs jax.config.update('jax_enable_x64', True); or use dtype=jnp.float32.")
    return dtype


def checked_state(
    u: Shaped[Array, "..."], channels: int, ndim: int, computing: Any, what: str
) -> Shaped[Array, "channel *space"]:
    """`u`, made one of real numbers where it holds whole ones, which would come back as whole ones.

    Raises `ValueError` for another number of channels or axes.
    """
    if u.ndim != ndim + 1 or u.shape[0] != channels:
        raise ValueError(
            f"{what} takes a state of {channels} channels and {ndim} axes, (channel, *space), but got shape {u.shape}; "
            "batches go through jax.vmap."
        )
    return u if jnp.issubdtype(u.dtype, jnp.inexact) else u.astype(computing)


def check_coordinates(conditioning: Conditioning, domain: Grid | None, what: str) -> None:
    """Raises `ValueError` where positions are to be appended that would be those of points at equal distances."""
    counts = conditioning.coordinates
    if domain is not None and (counts if isinstance(counts, int) else not isinstance(counts, tuple) or any(counts)):
        check_uniform(domain, what, "whose coordinates count points", "leave the `coordinates` of the Conditioning out")
