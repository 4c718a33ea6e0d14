"""The implicit Fourier neural operator: one layer, many times."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import ChannelMap, ChannelMLP, Conditioning, Modes, ParameterEmbedding, SpectralConvolution
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


class ImplicitFNO(eqx.Module):
    r"""The implicit Fourier neural operator:

        v = P(u, ...);    v <- v + activation(K v + W v + c) / num_layers    num_layers times;    Q(v)

    One K, W and c serve all layers, which are steps of the explicit Euler method from 0 to 1 for the differential
    equation dv/ds = activation(K v + W v + c): a network of many layers costs the memory of the weights of one, and one
    of more layers is nearly the same map, so that a trained one can be made deeper (`with_layers`).

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`.

    - `modes`: as of `FNO`. `num_layers`: how many steps are taken.
    - `conditioning`: a `pdejax.nn.Conditioning`; a modulation acts on K v, the same in all steps.
    - `projection_width`: channels inside Q, `2 * width` by default. `dtype`: of the weights and of the computation.

    Raises `ValueError` for sizes that make no sense; at trace time for a wrong number of channels or axes and
    frequencies that the grid does not resolve.
    Source: You et al., Learning deep Implicit Fourier Neural Operators (IFNOs) with applications to heterogeneous
    material modeling (Computer Methods in Applied Mechanics and Engineering 398, 2022), section 3.2.
    """

    lift: ChannelMap
    convolution: SpectralConvolution
    shortcut: ChannelMap
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    modulation: Any
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    modes: Modes = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
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
        num_layers: int = 8,
        projection_width: int | None = None,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes("ImplicitFNO", **sizes, num_layers=num_layers)
        check_activation(activation, "ImplicitFNO")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.modes = checked_modes(modes, ndim, "ImplicitFNO")
        self.num_layers, self.activation = num_layers, activation
        self.projection_width = 2 * width if projection_width is None else projection_width
        self.conditioning = checked_conditioning(conditioning or Conditioning(), ndim, "ImplicitFNO")
        self.dtype = checked_dtype(dtype, "ImplicitFNO")
        keys = jax.random.split(checked_key(key, "ImplicitFNO"), 6)
        self.lift = ChannelMap(in_channels + self.conditioning.num_channels(ndim), width, dtype=dtype, key=keys[0])
        self.convolution = SpectralConvolution(width, width, self.modes, dtype=dtype, key=keys[1])
        self.shortcut = ChannelMap(width, width, dtype=dtype, key=keys[2])
        inside = {"activation": activation, "dtype": dtype}
        self.projection = ChannelMLP(width, self.projection_width, out_channels, **inside, key=keys[3])
        self.embedding = self.conditioning.make_embedding(dtype=dtype, key=keys[4])
        self.modulation = self.conditioning.make_modulation(width, ndim, dtype=dtype, key=keys[5])

    def with_layers(self, num_layers: int) -> "ImplicitFNO":
        """The same weights in another number of steps: to train shallow first, and to see whether depth matters."""
        arguments = {name: getattr(self, name) for name in inspect.signature(ImplicitFNO).parameters if name != "key"}
        arguments["num_layers"] = num_layers
        other = eqx.filter_eval_shape(lambda: ImplicitFNO(**arguments, key=jax.random.key(0)))
        return jax.tree.unflatten(jax.tree.structure(other), jax.tree.leaves(self))

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self.dtype, "ImplicitFNO")
        check_transformable(domain, "ImplicitFNO")
        self.modes.check_resolved(u.shape[1:], "ImplicitFNO")
        told, dtype = self.conditioning, self.lift.weight.dtype
        v = self.lift(
            jnp.concatenate([u.astype(dtype), *told.channels(u.shape[1:], parameters, domain, dtype, "ImplicitFNO")])
        )
        embedded = told.embedded(self.embedding, parameters, dtype, "ImplicitFNO")
        periodic = told.periodic_axes_if_told(self.ndim, domain, "ImplicitFNO")
        follow = partial(modulated, self.modulation, embedding=embedded, periodic=periodic)

        def step(v: Array, _: None) -> tuple[Array, None]:
            rate = self.activation(follow(self.convolution(v)) + self.shortcut(v))
            return v + rate / self.num_layers, None

        v, _ = jax.lax.scan(step, v, None, length=self.num_layers)
        return self.projection(v).astype(u.dtype)
