"""Transform once: a network of Fourier coefficients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import Conditioning, Modes, ParameterEmbedding
from pdejax.nn.checks import (
    check_activation,
    check_sizes,
    check_transformable,
    checked_conditioning,
    checked_dtype,
    checked_modes,
    checked_state,
)
from pdejax.nn.modulation import modulated
from pdejax.nn.products import at_least_single, product_precision
from pdejax.nn.truncated_transform import analyse, synthesise


class T1(eqx.Module):
    r"""Transform once: the field is transformed to its kept Fourier coefficients, a network acts on these alone, and
    one inverse transform gives the result.

        z_k = L_k u^_k;    z <- z + B_k a(M sqrt(W) z) / sqrt(W)    num_layers times;    result^_k = Q_k z_k + D_k u^_k

    L, B, Q and D are complex matrices of channels, one for every frequency k; the activation a acts on real and
    imaginary parts; M mixes the frequencies of each channel, a complex matrix along each axis after the other; W is how
    many waves are kept, so that a sees numbers of order one. An FNO transforms back and forth in every layer. A linear
    equation with constant coefficients multiplies every u^_k, which is D alone; products of fields have to be learned
    as convolutions of coefficients, and nothing above the kept frequencies is ever in the result. Translations are not
    commuted with.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`.

    - `modes`: kept frequencies, as of `FNO`.
    - `points`: None, the default, starts with matrices that keep the variance of fields which the kept frequencies
      hold, at every resolution. A number of points (one or one per axis) starts with ones that keep the variance of
      white noise on such a grid, of which truncation takes most: the variance-preserving law of the reference.
    - `conditioning`: a `pdejax.nn.Conditioning`; appended channels are transformed with the state, a modulation acts
      on real and imaginary parts of M z in every layer.
    - `dtype`: of the weights and of the computation.

    At first the variance of the result is about that of the input, half of it by D, half by the network; a little less
    where few frequencies are kept, for the imaginary part of a mean is dropped.

    Raises `ValueError` for sizes that make no sense; at trace time for a wrong number of channels or axes and
    frequencies that the grid does not resolve.
    Source: Poli et al., Transform Once: Efficient Operator Learning in Frequency Domain (NeurIPS 2022), sections 3 and
    4. Departures: complex exponentials of a periodic box in place of cosines, and B and M in place of a network of
    one's choice.
    """

    lift: tuple[Array, Array]
    blocks: tuple[tuple[Array, Array], ...]
    mixings: tuple[tuple[tuple[Array, Array], ...], ...]
    projection: tuple[Array, Array]
    diagonal: tuple[Array, Array]
    embedding: ParameterEmbedding | None
    modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    modes: Modes = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    points: int | tuple[int, ...] | None = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        modes: int | Sequence[int] | Modes,
        width: int,
        *,
        num_layers: int = 2,
        points: int | Sequence[int] | None = None,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes("T1", **sizes, num_layers=num_layers)
        check_activation(activation, "T1")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.modes = checked_modes(modes, ndim, "T1")
        self.num_layers, self.activation = num_layers, activation
        self.points = points if points is None or isinstance(points, int) else tuple(points)
        if (isinstance(self.points, tuple) and len(self.points) != ndim) or np.min(
            np.asarray(1 if points is None else points)
        ) < 1:
            raise ValueError(f"T1 needs `points` >= 1, one number or {ndim}, one per axis, got {points}.")
        self.conditioning = checked_conditioning(conditioning or Conditioning(), ndim, "T1")
        self.dtype = checked_dtype(dtype, "T1")
        keys = jax.random.split(checked_key(key, "T1"), 5 + num_layers)
        appended = in_channels + self.conditioning.num_channels(ndim)
        gain = 1.0 if self.points is None else _share_kept(self.points, self.modes) ** -0.5

        def per_frequency(into: int, out: int, scale: Any, key: PRNGKeyArray) -> tuple[Array, Array]:
            return _complex_normal((*self.modes.shape, into, out), scale / into**0.5, dtype, key)

        self.lift = per_frequency(appended, width, 1.0, keys[0])
        self.projection = per_frequency(width, out_channels, 0.5 * gain, keys[1])
        self.diagonal = per_frequency(in_channels, out_channels, 0.5**0.5 * gain, keys[2])
        self.embedding = self.conditioning.make_embedding(dtype=dtype, key=keys[3])
        each = [jax.random.split(k, 2 + ndim) for k in keys[5:]]
        # All layers together double the square of z.
        kept = _square_behind(activation)
        self.blocks = tuple(per_frequency(width, width, (num_layers * kept) ** -0.5, k) for k, *_ in each)
        self.mixings = tuple(
            tuple(_complex_normal((n, n), n**-0.5, dtype, k) for n, k in zip(self.modes.shape, of[2:], strict=True))
            for of in each
        )
        self.modulations = tuple(
            self.conditioning.make_modulation(2 * width, ndim, dtype=dtype, key=k) for _, k, *_ in each
        )

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self.dtype, "T1")
        check_transformable(domain, "T1")
        space = u.shape[1:]
        self.modes.check_resolved(space, "T1")
        told, dtype = self.conditioning, at_least_single(self.lift[0].dtype)
        channels = [u.astype(dtype), *told.channels(space, parameters, domain, dtype, "T1")]
        given = jax.lax.complex(*analyse(jnp.concatenate(channels), self.modes))
        embedded = told.embedded(self.embedding, parameters, dtype, "T1")
        told.periodic_axes_if_told(self.ndim, domain, "T1")
        # Coefficients of a field of size one, spread over so many waves, are this much smaller.
        waves = _number_of_waves(self.modes)
        z = _per_frequency(self.lift, given)
        for block, mixing, modulation in zip(self.blocks, self.mixings, self.modulations, strict=True):
            mixed = self._modulated(modulation, _mixed(mixing, waves**0.5 * z), embedded)
            z = z + _per_frequency(block, _activated(mixed, self.activation) / waves**0.5)
        result = _per_frequency(self.projection, z) + _per_frequency(self.diagonal, given[: self.in_channels])
        parts = jnp.stack([result.real, result.imag], axis=1)
        return synthesise(parts, self.modes, space).astype(u.dtype)

    def _modulated(self, modulation: Any, z: Array, embedded: Array | None) -> Array:
        if modulation is None:
            return z
        parts = modulated(modulation, jnp.concatenate([z.real, z.imag]), embedded, (True,) * self.ndim)
        return jax.lax.complex(parts[: self.width], parts[self.width :])


def _number_of_waves(modes: Modes) -> int:
    """Of both signs: half of them stand for their conjugates as well."""
    return int(np.prod(modes.shape[:-1])) * (2 * modes.shape[-1] - 1)


def _square_behind(activation: Callable) -> Float[Array, ""]:
    """The mean square modulus of a complex normal number of modulus one behind an activation of both its parts."""
    places, weights = np.polynomial.hermite.hermgauss(40)
    # The parts have variance 1/2, which is what the weight exp(-x^2) is the law of.
    values = activation(jnp.asarray(places, jnp.float32))
    return jnp.sum(jnp.asarray(2 / np.pi**0.5 * weights, jnp.float32) * values**2)


def _share_kept(points: int | tuple[int, ...], modes: Modes) -> float:
    total = points**modes.ndim if isinstance(points, int) else int(np.prod(points))
    return min(1.0, _number_of_waves(modes) / total)


def _complex_normal(shape: tuple[int, ...], deviation: Any, dtype: Any, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Real and imaginary parts of centred numbers of that standard deviation."""
    deviation = jnp.asarray(deviation / 2**0.5, dtype)
    flat = jax.random.normal(key, (2, int(np.prod(shape))), dtype) * deviation
    return flat[0].reshape(shape), flat[1].reshape(shape)


def _as_complex(pair: tuple[Array, Array], dtype: Any) -> Array:
    return jax.lax.complex(pair[0].astype(dtype), pair[1].astype(dtype))


def _per_frequency(matrices: tuple[Array, Array], z: Complex[Array, "i *kept"]) -> Complex[Array, "o *kept"]:
    return jnp.einsum("i...,...io->o...", z, _as_complex(matrices, z.real.dtype), precision=product_precision())


def _mixed(matrices: tuple[tuple[Array, Array], ...], z: Complex[Array, "i *kept"]) -> Complex[Array, "i *kept"]:
    for axis, matrix in enumerate(matrices, start=1):
        product = jnp.tensordot(z, _as_complex(matrix, z.real.dtype), axes=(axis, 0), precision=product_precision())
        z = jnp.moveaxis(product, -1, axis)
    return z


def _activated(z: Complex[Array, "..."], activation: Callable) -> Complex[Array, "..."]:
    return jax.lax.complex(activation(z.real), activation(z.imag))
