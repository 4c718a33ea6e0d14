"""Parameters of a law: array leaves, checked where they are concrete."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


def positive(law: str, name: str, value: Any) -> Float[Array, ""]:
    """`value` as a scalar leaf; `ValueError` unless it is positive and finite (values traced by jit are not seen)."""
    leaf = jnp.asarray(value, float)
    if not isinstance(leaf, Tracer) and not (np.ndim(value) == 0 and np.isfinite(leaf) and leaf > 0):
        raise ValueError(f"{law} needs a positive finite {name}, got {value}.")
    return leaf


def count(law: str, name: str, value: Any) -> int:
    """`value` as a static integer; `ValueError` unless it is at least one."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{law} needs an integer {name} of at least 1, got {value!r}.")
    return int(value)


def cutoff_of(law: str, cutoff: int | None, peak: Any, factor: int) -> int:
    """`cutoff` as a static integer; by default `ceil(factor * peak)`.

    Raises `ValueError` unless it is at least one, and for a peak that is traced, from which no number of modes follows.
    """
    if cutoff is None:
        if isinstance(peak, Tracer):
            raise ValueError(
                f"{law} takes its cutoff, which decides shapes, from `peak`, and under jit, vmap or grad a peak has no "
                f"value: pass cutoff=, e.g. {law}(peak, cutoff=8)."
            )
        cutoff = int(np.ceil(factor * peak))
    return count(law, "cutoff", cutoff)
