"""Random keys as arguments."""

from typing import Any

import jax
import numpy as np


def checked_key(key: Any, what: str) -> Any:
    """The key as it is; raises `ValueError` for a seed or anything else that is no key of `jax.random`."""
    if not isinstance(key, jax.Array | np.ndarray):
        seed = key if isinstance(key, int | np.integer) else 0
        raise ValueError(f"{what} draws random numbers with key=jax.random.key({seed}), got key={key!r}.")
    return key
