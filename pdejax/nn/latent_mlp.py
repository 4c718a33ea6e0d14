"""How fast a latent vector changes: a perceptron that may be told numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn.channel_map import ChannelMap
from pdejax.nn.checks import (
    check_activation,
    check_sizes,
    check_told,
    checked_conditioning,
    checked_dtype,
    checked_sizes,
)
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.modulation import Addition, FiLM, modulated
from pdejax.nn.parameter_embedding import ParameterEmbedding
from pdejax.nn.strided_decoder import check_numbers_alone

NAME = "LatentMLP"


class LatentMLP(eqx.Module):
    r"""A perceptron of a vector, for the dynamics of `pdejax.models.LatentEvolution`:

        h_0 = z,   h_i = activation(W_i h_(i-1) + b_i),   W h_n + b

    `mlp(z, parameters=None, *, domain=None, key=None)`: `(latent,) -> (latent,)`. W starts with a tenth of the usual
    size, so that a step at first changes little.

    - `widths`: of the layers inside, e.g. `(128, 128)`; none for an affine map.
    - `conditioning`: a `pdejax.nn.Conditioning` of numbers, the coefficients of the equation: further entries of h_0,
      or with `Addition()` or `FiLM()` a modulation in front of each activation.
    - `dtype`: of the weights and of the computation.

    Raises `ValueError` for sizes that make no sense and for a conditioning that needs points; at trace time for another
    latent state than a vector of `latent` numbers.
    """

    layers: tuple[ChannelMap, ...]
    modulations: tuple[Any, ...]
    embedding: ParameterEmbedding | None
    latent: int = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        latent: int,
        widths: Sequence[int] = (128, 128),
        *,
        activation: Callable = jax.nn.elu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        check_sizes(NAME, latent=latent)
        check_activation(activation, NAME)
        self.latent, self.widths, self.activation = latent, checked_sizes(NAME, "widths", widths), activation
        # A vector has no axes that could be periodic.
        self.conditioning = checked_conditioning(conditioning, 1, NAME)
        check_numbers_alone(self._told, 1, NAME)
        if not isinstance(self._told.modulation, Addition | FiLM | None):
            raise ValueError(
                f"The layers of a {NAME} have channels and no points: it takes as modulation Addition() or FiLM(), "
                f"got {self._told.modulation!r}."
            )
        self.dtype = checked_dtype(dtype, NAME)

        embedding_key, *keys = jax.random.split(checked_key(key, NAME), 2 + len(self.widths))
        sizes = (latent + self._told.num_channels(1), *self.widths, latent)
        *inner, last = (
            ChannelMap(c, w, dtype=dtype, key=k) for c, w, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.layers = (*inner, eqx.tree_at(lambda m: m.weight, last, 0.1 * last.weight))
        self.modulations = tuple(
            self._told.make_modulation(w, 0, dtype=dtype, key=jax.random.fold_in(k, 0))
            for w, k in zip(self.widths, keys[:-1], strict=True)
        )
        self.embedding = self._told.make_embedding(dtype=dtype, key=embedding_key)

    def __call__(
        self,
        z: Float[Array, " latent"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, " latent"]:
        check_told(parameters, None, NAME)
        if z.shape != (self.latent,):
            raise ValueError(
                f"{NAME} takes a latent vector, ({self.latent},), got shape {z.shape}: give the encoder the `space` of "
                "the states, or use a network of the coarse grid, e.g. FNO(...), as dynamics."
            )
        told, computing = self._told, self.layers[-1].weight.dtype
        embedded = told.embedded(self.embedding, parameters, computing, NAME)
        h = jnp.concatenate([z.astype(computing), *told.channels((), parameters, None, computing, NAME)])
        for layer, modulation in zip(self.layers[:-1], self.modulations, strict=True):
            h = self.activation(modulated(modulation, layer(h), embedded, None))
        return self.layers[-1](h).astype(z.dtype)

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
