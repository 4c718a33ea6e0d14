"""The numbers of a Riemann problem: arrays of one precision, whose values make sense."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


def numbers(owner: str, bounds: dict[str, str], **given: Any) -> list[Float[Array, "..."]]:
    """The given values as arrays of their common precision: that of Python numbers is JAX's default. `bounds` are
    texts such as `"> 0"` or `">= 0"`, by name.

    Raises `ValueError` where one is not a real number, not finite, out of bounds or of a wrong rank (a transverse
    velocity is a vector). Traced values pass unchecked.
    """
    # Python numbers follow the precision of arrays, also those in a list.
    dtype = jnp.result_type(1.0, *(v for value in given.values() for v in _entries(value)))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{owner} is of real numbers, got {given}.")
    arrays = {name: jnp.asarray(value, dtype) for name, value in given.items()}
    for name, array in arrays.items():
        rank = 1 if name == "transverse_velocity" else 0
        if array.ndim != rank:
            raise ValueError(
                f"{owner} needs {name} {'with one entry per direction' if rank else 'to be one number'}, got shape "
                f"{array.shape}: `jax.vmap` goes over many states."
            )
        if isinstance(array, Tracer):
            continue
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{owner} needs {name} to be finite, got {given[name]}.")
        sign, _, bound = bounds.get(name, ">= -inf").partition(" ")
        if not np.all(array > float(bound) if sign == ">" else array >= float(bound)):
            raise ValueError(f"{owner} needs {name} {sign} {bound}, got {given[name]}.")
    return list(arrays.values())


def _entries(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def check_cells(edges: Array, time: Array) -> None:
    """Raises `ValueError` for edges that do not increase or a time that is negative; traced ones pass unchecked."""
    if edges.ndim != 1 or len(edges) < 2:
        raise ValueError(f"Cells have edges of shape (cells + 1,), at least two of them, got shape {edges.shape}.")
    if time.ndim != 0:
        raise ValueError(f"Cells are averaged at one time, got shape {time.shape}: use `jax.vmap`.")
    if not isinstance(edges, Tracer) and not (np.all(np.isfinite(edges)) and np.all(np.diff(edges) > 0)):
        raise ValueError(f"The edges of cells must be finite and increase, got {np.asarray(edges)}.")
    if not isinstance(time, Tracer) and not (np.isfinite(time) and time >= 0):
        raise ValueError(f"A Riemann problem is solved for time >= 0, got {time}.")


def check_states(owner: str, kind: type, *states: Any) -> None:
    """Raises `TypeError` for what is no state, an array of numbers say."""
    for state in states:
        if not isinstance(state, kind):
            raise TypeError(f"{owner} takes two states {kind.__name__}(...), got {state!r}: name its numbers.")


def check_alike(owner: str, left: Array, right: Array) -> None:
    """Raises `ValueError` unless two states have equally many transverse velocities."""
    if left.shape != right.shape:
        raise ValueError(
            f"{owner} has {left.size} transverse velocities on the left and {right.size} on the right: give both "
            "states equally many."
        )
