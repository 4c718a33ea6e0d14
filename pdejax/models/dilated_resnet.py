"""The dilated residual network: convolutions that look further and further and back, all on the finest grid."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import ChannelMLP, Conditioning, Convolution, ParameterEmbedding
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
    checked_sizes,
)
from pdejax.nn.interior import interior
from pdejax.nn.modulation import modulated_last
from pdejax.nn.padding import Walls, check_walls

NAME = "DilatedResNet"


class Layer(eqx.Module):
    """A norm or None, a convolution, and what follows numbers or None."""

    norm: Any
    convolution: Convolution
    modulation: Any


class DilatedResNet(eqx.Module):
    r"""A residual network of dilated convolutions, in one, two or three dimensions.

        v = a(P u);   v <- v + B v, `num_blocks` times, with
        B = L_n ... L_1,   L_i v = a(modulation(C_i norm(v)));   the result = Q v

    C_i is a convolution with `points` along each axis, `dilations[i]` points apart, P and Q are perceptrons of one
    hidden layer, a the activation. By default a block looks 1, 2, 4, 8, 4, 2, 1 points far; `dilations=(1, 1)` is a
    plain residual network.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`, on any
    number of points. It commutes with all translations around periodic axes, and has to know which these are, by the
    `domain` of the call or by `conditioning`. It looks at neighbouring points: it is another function at another
    resolution.

    - `norm`: a kind of `pdejax.nn` in front of every convolution, e.g. `GroupNorm()`, or None.
    - `walls`: what the convolutions see behind walls, "zeros", "edge" or "reflect".
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts behind every convolution.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number of
    channels or axes, a missing parameter, points at unequal distances, and where nothing says which axes are periodic.
    Source: Stachenfeld et al., Learned Coarse Models for Efficient Turbulence Simulation (ICLR 2022), section 4.1, with
    the sizes of Gupta & Brandstetter, Towards Multi-spatiotemporal-scale Generalized PDE Modeling (TMLR 2023), whose
    code adds nine rows of zeros behind two ends of every box, which ours does not.
    """

    lift: ChannelMLP
    blocks: tuple[tuple[Layer, ...], ...]
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_blocks: int = eqx.field(static=True)
    dilations: tuple[int, ...] = eqx.field(static=True)
    points: int = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    walls: Walls = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        width: int = 128,
        *,
        num_blocks: int = 4,
        dilations: Sequence[int] = (1, 2, 4, 8, 4, 2, 1),
        points: int = 3,
        norm: Any = None,
        activation: Callable = jax.nn.gelu,
        walls: Walls = "zeros",
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, num_blocks=num_blocks, points=points)
        check_activation(activation, NAME)
        check_norm(norm, NAME)
        check_walls(walls, NAME)
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_blocks, self.dilations = num_blocks, checked_sizes(NAME, "dilations", dilations)
        check_sizes(NAME, **{"len(dilations)": len(self.dilations)})
        self.points, self.norm, self.activation, self.walls = points, norm, activation, walls
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        self.dtype = checked_dtype(dtype, NAME)

        lift_key, projection_key, embedding_key, *keys = jax.random.split(checked_key(key, NAME), 3 + num_blocks)
        inside = {"activation": activation, "dtype": dtype}
        self.lift = ChannelMLP(in_channels + self._told.num_channels(ndim), width, width, **inside, key=lift_key)
        self.blocks = tuple(
            tuple(map(self._layer, self.dilations, jax.random.split(each, len(self.dilations)))) for each in keys
        )
        self.projection = ChannelMLP(width, width, out_channels, **inside, key=projection_key)
        self.embedding = self._told.make_embedding(dtype=dtype, key=embedding_key)

    def _layer(self, dilation: int, key: PRNGKeyArray) -> Layer:
        of_weights, of_modulation = jax.random.split(key)
        options = {"dilation": dilation, "walls": self.walls, "dtype": self.dtype}
        return Layer(
            norm=None if self.norm is None else self.norm.make(self.width, dtype=self.dtype),
            convolution=Convolution(self.width, self.width, self.ndim, self.points, **options, key=of_weights),
            modulation=self._told.make_modulation(self.width, self.ndim, dtype=self.dtype, key=of_modulation),
        )

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        v, periodic, embedded, leave = interior(self, u, parameters, domain, computing=self.projection.out.weight.dtype)
        v = self.activation(self.lift.last(v))
        for block in self.blocks:
            w = v
            for layer in block:
                w = layer.convolution.last(w if layer.norm is None else layer.norm.last(w), periodic)
                w = self.activation(modulated_last(layer.modulation, w, embedded, periodic))
            v = v + w
        return leave(self.projection.last(v))

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
