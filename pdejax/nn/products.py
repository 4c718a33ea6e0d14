"""How exactly layers multiply."""

from typing import Any

import jax
import jax.numpy as jnp


def product_precision() -> Any:
    """Of matrix products: those of float32 are of float32, unless `jax.default_matmul_precision` says otherwise.

    Left alone, an accelerator would take TF32 or bfloat16 for them: a model would then lose its symmetries to three
    digits, and would give on a GPU what it does not give on a CPU.
    """
    return jax.config.jax_default_matmul_precision or "highest"  # type: ignore[attr-defined]


def at_least_single(dtype: Any) -> Any:
    """Of Fourier transforms and of means over points: single precision or more, whatever is around them."""
    return jnp.promote_types(dtype, jnp.float32)
