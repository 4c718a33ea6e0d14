"""The same affine map of the channels at every point."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.drawn import normal
from pdejax.nn.per_sample import per_sample
from pdejax.nn.products import product_precision


class ChannelMap(eqx.Module):
    r"""`y_o(x) = sum_i weight_oi u_i(x) + bias_o` at every point x, in any number of dimensions: a 1x1 convolution.

    Shapes `(in_channels, *space) -> (out_channels, *space)`. Starts with normal weights of variance `1 / in_channels`,
    which keeps the size of a field, and with a bias of zero; `use_bias=False` has none, `bias` is then None. With
    `weight_norm` the rows are `gain_o weight_oi / |weight_o|`: their direction and their length are learned apart
    (Salimans & Kingma, Weight Normalization, NeurIPS 2016), and start as without.

    Raises `ValueError` for a seed in place of a key.
    """

    weight: Float[Array, "out_channels in_channels"]
    bias: Float[Array, " out_channels"] | None
    gain: Float[Array, " out_channels"] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        use_bias: bool = True,
        weight_norm: bool = False,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        key = checked_key(key, "ChannelMap")
        self.weight = normal(key, (out_channels, in_channels), dtype, in_channels**0.5)
        self.bias = jnp.zeros(out_channels, dtype) if use_bias else None
        self.gain = jnp.linalg.norm(self.weight, axis=1) if weight_norm else None

    def __call__(self, u: Float[Array, "in_channels *space"]) -> Float[Array, "out_channels *space"]:
        # A plain matrix product over all points: on a CPU its gradient is five times faster than that of a convolution.
        weight = self._scaled()
        # For a few points the copies cost more than they save: the samples are then the columns of one product.
        weight = per_sample(weight, u) if u[0].size >= 32 else weight
        mapped = jnp.matmul(weight, u.reshape(u.shape[0], -1), precision=product_precision())
        mapped = mapped if self.bias is None else mapped + self.bias[:, None]
        return mapped.reshape(-1, *u.shape[1:])

    def last(self, u: Float[Array, "*space in_channels"]) -> Float[Array, "*space out_channels"]:
        """The same of features whose channels lie behind the axes of space (`pdejax.nn.channels`)."""
        mapped = jnp.matmul(u, self._scaled().T, precision=product_precision())
        return mapped if self.bias is None else mapped + self.bias

    def _scaled(self) -> Array:
        if self.gain is None:
            return self.weight
        # A row of zeros has no direction, and stays one.
        square = jnp.sum(self.weight**2, axis=1)
        lengths = jax.lax.rsqrt(jnp.where(square > 0, square, 1))
        return self.weight * (self.gain * lengths)[:, None]
