"""The implicit factorised transformer with parallel axial attention."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import AxialAttention, ChannelMap, ChannelMLP, Conditioning, ParameterEmbedding
from pdejax.nn.checks import check_activation, check_sizes, checked_conditioning, checked_dtype, checked_state
from pdejax.nn.modulation import modulated
from pdejax.nn.quadrature import points_of, standardised

NAME = "IFactFormer"


class IFactFormer(eqx.Module):
    r"""The implicit factorised transformer with parallel axial attention (IFactFormer-m), in one, two or three
    dimensions:

        v = P(u, coordinates, parameters);   v <- v + F(S(A(S(v)))) / num_layers  num_layers times;   Q(v)

    A is one `pdejax.nn.AxialAttention`: along each axis an integral with a kernel that is made of the state. S takes
    from every channel its mean over the box and divides it by its standard deviation; F is affine, activation,
    affine, from the channels of all axes to `width`. All of the num_layers passes are through the same weights: steps
    of an Euler method of length 1. P is affine, Q affine, activation, affine. Without coordinates it commutes with
    every translation along periodic axes, and the same weights give the same function on every grid that resolves it.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`. It has to
    be told which axes are periodic, by the `domain` of the call or by `Conditioning(periodic=...)`.

    - `width`: channels between P and Q; `heads` kernels along each axis, each of so many of them: `width / heads`.
    - `rank`: channels of the queries and keys of a head, an even number, whose pairs are turned by the harmonics of the
      position up to `harmonics`, in turn: half of `rank` should be more than `harmonics`, and `harmonics` at most half
      of the points of an axis. Higher ones a kernel cannot tell apart; they pass from point to point through v.
    - `projection_width`: channels inside Q, `2 * width` by default.
    - `conditioning`: a `pdejax.nn.Conditioning`; its modulation acts on what F makes.
    - `dtype`: of the weights and of the computation. Input of another precision is cast on entry and on return.

    Departures from the references: axes are put side by side in front of F; the first S is there a norm of the channels
    of each point, which of a single channel leaves its sign alone, and another one is behind the means over the other
    axes; queries and keys have biases; positions are harmonics of the box.

    Raises `ValueError` for sizes that make no sense and a seed in place of the key; at trace time for a wrong number
    of channels or axes, a missing parameter, where nothing says which axes are periodic, and for coordinates on points
    that are not at equal distances.
    Sources: Yang, Wang & Wang, Implicit factorized transformer approach to fast prediction of turbulent channel flows
    (2024), for parallel axes and shared weights; Li, Shu & Barati Farimani, Scalable Transformer for PDE Surrogate
    Modeling (NeurIPS 2023), for the layer.
    """

    lift: ChannelMap
    attention: AxialAttention
    feed_forward: ChannelMLP
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    modulation: Any
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    heads: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        width: int,
        *,
        num_layers: int = 4,
        heads: int = 4,
        rank: int = 32,
        harmonics: int = 12,
        projection_width: int | None = None,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes(NAME, **sizes, num_layers=num_layers, heads=heads)
        check_activation(activation, NAME)
        if width % heads:
            raise ValueError(f"IFactFormer needs heads that divide its width of {width}, got {heads}.")
        if rank < 2 or rank % 2:
            raise ValueError(f"IFactFormer turns pairs of channels and needs an even rank >= 2, got {rank}.")
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        self.num_layers, self.heads, self.rank, self.harmonics = num_layers, heads, rank, harmonics
        self.projection_width = 2 * width if projection_width is None else projection_width
        self.activation, self.dtype = activation, checked_dtype(dtype, NAME)
        self.conditioning = checked_conditioning(conditioning, ndim, NAME)
        keys = jax.random.split(checked_key(key, NAME), 6)
        inside = {"activation": activation, "dtype": dtype}
        told = self._told
        self.lift = ChannelMap(in_channels + told.num_channels(ndim), width, dtype=dtype, key=keys[0])
        per_head = {"heads": heads, "head_channels": width // heads, "rank": rank, "harmonics": harmonics}
        self.attention = AxialAttention(width, ndim, **per_head, **inside, key=keys[1])
        self.feed_forward = ChannelMLP(ndim * width, width, width, **inside, key=keys[2])
        self.projection = ChannelMLP(width, self.projection_width, out_channels, **inside, key=keys[3])
        self.embedding = told.make_embedding(dtype=dtype, key=keys[4])
        self.modulation = told.make_modulation(width, ndim, dtype=dtype, key=keys[5])

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        # `InPrecision` hands on other weights than the model was made with.
        told, computing = self._told, self.lift.weight.dtype
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, computing, NAME)
        space, periodic = u.shape[1:], told.periodic_axes(self.ndim, domain, NAME)
        channels = told.channels(space, parameters, domain, computing, NAME)
        embedded = told.embedded(self.embedding, parameters, computing, NAME)
        points = points_of(space, periodic, domain)

        def passed(v: Array, _: None) -> tuple[Array, None]:
            made = self.feed_forward(standardised(self.attention(standardised(v, points), points), points))
            return v + modulated(self.modulation, made, embedded, periodic) / self.num_layers, None

        v = self.lift(jnp.concatenate([u.astype(computing), *channels]))
        # A loop of the program, which is compiled once for all passes.
        v, _ = jax.lax.scan(passed, v, None, length=self.num_layers)
        return self.projection(v).astype(u.dtype)

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning
