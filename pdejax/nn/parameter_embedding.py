"""A vector that stands for a handful of numbers, for layers that follow them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn.channel_mlp import ChannelMLP


@dataclass(frozen=True)
class Embedding:
    """How a vector of `width` numbers is made of n numbers p.

    - `sinusoids=0`, the default: `A a(B p + c) + d`, one perceptron of all of them, a the `activation`.
    - `sinusoids=s`: `sum_i A_i a(B_i w(p_i) + c_i) + d_i`, one perceptron for each, of
      `w(p) = (cos(f_0 p), ..., cos(f_(h-1) p), sin(f_0 p), ..., sin(f_(h-1) p))`, h = s / 2, f_j = 10000^(-j / h).

    Between numbers that were seen, and beyond them, the first is the smoother one.

    Raises `ValueError` for a width below one and an odd number of sinusoids.
    Source of the second: Vaswani et al., Attention Is All You Need (NeurIPS 2017), section 3.5, with all cosines first.
    """

    width: int = 64
    sinusoids: int = 0
    activation: Callable = jax.nn.gelu

    def __post_init__(self):
        if self.width < 1 or self.sinusoids < 0 or self.sinusoids % 2:
            raise ValueError(
                f"Embedding needs width >= 1 and an even number of sinusoids, got {self.width} and {self.sinusoids}."
            )

    def make(self, numbers: int, *, dtype: Any, key: PRNGKeyArray) -> "ParameterEmbedding":
        return ParameterEmbedding(self, numbers, dtype=dtype, key=key)


class ParameterEmbedding(eqx.Module):
    """The vector that an `Embedding` describes, `(numbers,) -> (width,)`."""

    perceptrons: tuple[ChannelMLP, ...]
    kind: Embedding = eqx.field(static=True)

    def __init__(self, kind: Embedding, numbers: int, *, dtype: Any = jnp.float32, key: PRNGKeyArray):
        self.kind = kind
        count, size = (numbers, kind.sinusoids) if kind.sinusoids else (1, numbers)
        keys = jax.random.split(checked_key(key, "ParameterEmbedding"), count)
        inside = {"activation": kind.activation, "dtype": dtype}
        self.perceptrons = tuple(ChannelMLP(size, kind.width, kind.width, **inside, key=each) for each in keys)

    def __call__(self, numbers: Float[Array, " number"]) -> Float[Array, " embedding"]:
        computing = self.perceptrons[0].hidden.weight.dtype
        if not self.kind.sinusoids:
            return self.perceptrons[0](numbers.astype(computing))
        # Phases in the precision of the numbers: rounded to three digits first, 1000 would be four numbers away.
        read = [waves(p, self.kind.sinusoids).astype(computing) for p in numbers]
        parts = [each(w) for each, w in zip(self.perceptrons, read, strict=True)]
        return sum(parts[1:], parts[0])


def waves(number: Float[Array, ""], count: int) -> Float[Array, " count"]:
    """Cosines and then sines of `number`, `count / 2` of each, with frequencies from 1 down to almost 1e-4."""
    frequencies = np.exp(-np.log(1e4) * np.arange(count // 2) / (count // 2))
    phases = jnp.asarray(frequencies, number.dtype) * number
    return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)])
