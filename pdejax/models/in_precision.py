"""A model that computes in another precision than that of its weights."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


class InPrecision(eqx.Module):
    """`model`, computed in `dtype`: mixed precision, asked for at one place.

        fit(InPrecision(FNO(...), jnp.bfloat16), ...)

    The weights stay as they are (those of float32 are trained in float32) and are rounded where they are used; the
    input is rounded on entry, and the result has the precision of the input again. Fourier transforms are of float32
    inside as well. The statistics of `Normalised` belong outside, where `fit` puts them.

    `jnp.bfloat16` halves the memory of activations, and on GPUs and TPUs the time of matrix products; on a CPU it is
    slower than float32. Its three digits are few for a small residual: measure the error that it costs.

    Raises `ValueError` for a dtype that is not floating-point.
    """

    model: Any
    dtype: np.dtype = eqx.field(static=True)

    def __init__(self, model: Any, dtype: Any = jnp.bfloat16):
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"InPrecision computes in a floating-point dtype, e.g. jnp.bfloat16, got {dtype}.")
        self.model, self.dtype = model, np.dtype(dtype)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        # Whole numbers would come back as whole numbers.
        u = u if jnp.issubdtype(u.dtype, jnp.inexact) else u.astype(jnp.result_type(float))

        def rounded(leaf: Any) -> Any:
            return leaf.astype(self.dtype) if eqx.is_inexact_array(leaf) else leaf

        model = jax.tree.map(rounded, self.model)
        return model(rounded(u), parameters, domain=domain, key=key).astype(u.dtype)
