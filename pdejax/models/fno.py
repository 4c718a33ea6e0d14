"""The Fourier neural operator."""

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
from pdejax.nn import (
    ChannelMap,
    ChannelMLP,
    Conditioning,
    FourierLayer,
    GridEmbedding,
    Modes,
    ParameterEmbedding,
    SpectralConvolution,
)
from pdejax.nn.checks import (
    check_activation,
    check_sizes,
    check_transformable,
    checked_conditioning,
    checked_dtype,
    checked_modes,
    checked_padding,
    checked_state,
    padding_widths,
)
from pdejax.nn.fourier_layer import Additions
from pdejax.nn.modulation import modulated


class FNO(eqx.Module):
    r"""The Fourier neural operator in one, two or three dimensions:

        v = P(u, coordinates, parameters);   v <- activation(K v + W v + b)  num_layers times;   Q(v)

    K is a `pdejax.nn.SpectralConvolution`, W a matrix of channels at every point; no activation follows the last
    layer; the lift P is affine and the projection Q is affine, activation, affine. On a periodic box this is a map of
    functions: the same weights give the same function on every grid with more than twice as many points along each axis
    as the highest frequency that is kept. What else a layer may be is said by `layer`.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`.

    - `modes`: kept frequencies in the classic convention, one number or one per axis, or a `pdejax.nn.Modes`, which
      also knows neuraloperator's convention.
    - `coordinates`: how many harmonics of the position are appended to the input, one number or one per axis. 0, the
      default, makes the model commute with every translation; use it where the problem does. A harmonic k along an
      axis of length L is the pair sin, cos of 2 pi k x / L, which has no seam at the ends of the box; on an axis
      that is not periodic cos of pi k x / L and its odd neighbour pi (k - 1/2) x / L. A model with coordinates takes
      the `domain` in every call, which says where the points are. `pdejax.nn.GridEmbedding()` instead appends the
      position itself, one channel per axis, and needs no domain.
    - `periodic`: of calls without a `domain`, one value or one per axis: the points are then the nodes of such axes.
    - `parameters`: names of physical parameters (or one name), appended as constant channels, looked up in the call's
      `parameters`.
    - `conditioning`: in place of `coordinates`, `periodic` and `parameters`, which are the most usual parts of it, all
      that a `pdejax.nn.Conditioning` says: fields, and numbers that change what every K makes, behind its norm.
    - `projection_width`: channels inside Q, `2 * width` by default.
    - `lifting_width`: channels inside P, which is then affine, activation, affine, too; None, the default, for affine.
    - `layer`: how a layer is put together, a `pdejax.nn.FourierLayer`: its shortcut, norm, second half and their order;
      by default as above.
    - `weights`: what the weights of K are made of, a kind of `pdejax.nn`: `Dense()`, the default, or with fewer numbers
      `Tucker(rank)`, `CP(rank)`, `TensorTrain(rank)`, or one of these that is `separable`. `Tucker(0.1)`, a tenth of
      the numbers, makes it the tensorised operator (TFNO) of Kossaifi et al. (TMLR 2024).
    - `padding`: what part of an axis is added at each of its ends, as zeros, after P and until Q; one number or one per
      axis. It is `round(padding * points)` points, so the part is the same at every resolution. For axes that are not
      periodic, whose ends the Fourier series would otherwise join. Axes that the `domain` of the call or `periodic`
      says are periodic are left as they are; where nothing says so, all are padded.
    - `pad_periodic`: whether those are padded, too, as neuraloperator does. Only for weights that were trained so.
    - `dtype`: of the weights and of the computation. Input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense, a `conditioning` beside what stands for it, and a seed in place of
    the key; at trace time for a wrong number of channels or axes, frequencies that the grid does not resolve, a missing
    parameter, coordinates without a domain, and a domain that contradicts `periodic` or whose points are not at equal
    distances.
    Source: Li et al., Fourier Neural Operator for Parametric Partial Differential Equations (ICLR 2021), section 4.
    Two departures: spectral weights start centred, and coordinates are periodic and off by default.
    """

    lift: ChannelMap | ChannelMLP
    convolutions: tuple[SpectralConvolution, ...]
    shortcuts: tuple[Any, ...]
    projection: ChannelMLP
    # Behind the others, where it was added: model files of the time before keep the arrays in this order.
    additions: tuple[Additions, ...]
    embedding: ParameterEmbedding | None
    modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    modes: Modes = eqx.field(static=True)
    width: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
    lifting_width: int | None = eqx.field(static=True)
    layer: FourierLayer = eqx.field(static=True)
    weights: Any = eqx.field(static=True)
    padding: tuple[float, ...] = eqx.field(static=True)
    pad_periodic: bool = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    coordinates: Any = eqx.field(static=True)
    periodic: Any = eqx.field(static=True)
    parameters: tuple[str, ...] = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ndim: int,
        modes: int | Sequence[int] | Modes,
        width: int,
        *,
        num_layers: int = 4,
        projection_width: int | None = None,
        lifting_width: int | None = None,
        layer: Any = None,
        weights: Any = None,
        padding: float | int | Sequence[float | int] = 0.0,
        pad_periodic: bool = False,
        activation: Callable = jax.nn.gelu,
        coordinates: int | Sequence[int] | GridEmbedding = 0,
        periodic: bool | Sequence[bool] | None = None,
        parameters: str | Sequence[str] = (),
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes("FNO", **sizes, num_layers=num_layers)
        check_activation(activation, "FNO")
        self.in_channels, self.out_channels, self.ndim = in_channels, out_channels, ndim
        self.width, self.num_layers = width, num_layers
        self.projection_width = 2 * width if projection_width is None else projection_width
        self.activation = activation
        self.modes = checked_modes(modes, ndim, "FNO")
        layer = FourierLayer() if layer is None else layer
        if not isinstance(layer, FourierLayer):
            raise ValueError(f"FNO takes layer=pdejax.nn.FourierLayer(...), got {layer!r}.")
        if isinstance(weights, str):
            raise ValueError(f"FNO takes weights=pdejax.nn.Tucker(0.1) or another kind that is built, got {weights!r}.")
        self.lifting_width, self.layer, self.weights = lifting_width, layer, weights
        self.padding, self.pad_periodic = checked_padding(padding, ndim, "FNO"), pad_periodic
        told = Conditioning(parameters=parameters, coordinates=coordinates, periodic=periodic).on(ndim, "FNO")
        if conditioning is not None and told != Conditioning().on(ndim, "FNO"):
            raise ValueError("FNO takes `conditioning` or what stands for it (coordinates, periodic, parameters).")
        self.coordinates, self.periodic, self.parameters = told.coordinates, told.periodic, tuple(told.parameters)
        self.conditioning = checked_conditioning(conditioning, ndim, "FNO")
        appended = self._told.num_channels(ndim)
        self.dtype = checked_dtype(dtype, "FNO")

        lift_key, projection_key, *layer_keys = jax.random.split(checked_key(key, "FNO"), 2 + num_layers)
        lifted = in_channels + appended
        inside = {"activation": activation, "dtype": dtype}
        if lifting_width is None:
            self.lift = ChannelMap(lifted, width, dtype=dtype, key=lift_key)
        else:
            self.lift = ChannelMLP(lifted, lifting_width, width, **inside, key=lift_key)
        convolution_keys, shortcut_keys = zip(*(jax.random.split(k) for k in layer_keys), strict=True)
        # A quarter of the size that the shortcut keeps: the network starts close to one that acts point by point, and
        # on two-dimensional turbulence learns a quarter further in the same number of steps than from the full size.
        self.convolutions = tuple(
            SpectralConvolution(width, width, self.modes, scale=0.25, weights=weights, dtype=dtype, key=k)
            for k in convolution_keys
        )
        self.shortcuts = tuple(
            None if layer.shortcut is None else layer.shortcut.make(width, dtype=dtype, key=k) for k in shortcut_keys
        )
        self.projection = ChannelMLP(width, self.projection_width, out_channels, **inside, key=projection_key)
        self.additions = tuple(layer.additions(width, dtype=dtype, key=k) for k in layer_keys)
        self.embedding = self._told.make_embedding(dtype=dtype, key=jax.random.fold_in(lift_key, 0))
        self.modulations = tuple(
            self._told.make_modulation(width, ndim, dtype=dtype, key=jax.random.fold_in(k, 4)) for k in layer_keys
        )

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self._computing, "FNO")
        check_transformable(domain, "FNO")
        space = u.shape[1:]
        told, computing = self._told, self._computing
        periodic = told.periodic_axes_if_told(self.ndim, domain, "FNO")
        widths = padding_widths(self.padding, space, None if self.pad_periodic else periodic)
        self.modes.check_resolved(tuple(n + 2 * end for n, (end, _) in zip(space, widths, strict=True)), "FNO")
        v = self.lift(
            jnp.concatenate([u.astype(computing), *told.channels(space, parameters, domain, computing, "FNO")])
        )
        embedded = told.embedded(self.embedding, parameters, computing, "FNO")
        padded = any(end for end, _ in widths)
        v = jnp.pad(v, [(0, 0), *widths]) if padded else v
        layers = zip(self.convolutions, self.shortcuts, self.additions, self.modulations, strict=True)
        for index, (convolution, shortcut, additions, modulation) in enumerate(layers):
            follow = partial(modulated, modulation, embedding=embedded, periodic=periodic)
            last = index == self.num_layers - 1
            v = self.layer(v, convolution, shortcut, additions, self.activation, last=last, modulated=follow)
        if padded:
            v = v[:, *(slice(end, end + n) for (end, _), n in zip(widths, space, strict=True))]
        return self.projection(v).astype(u.dtype)

    @property
    def _computing(self) -> np.dtype:
        """That of the weights as they are now: `InPrecision` hands on others than the model was made with."""
        return self.convolutions[0].dtype

    @property
    def _told(self) -> Conditioning:
        if self.conditioning is not None:
            return self.conditioning
        return Conditioning(parameters=self.parameters, coordinates=self.coordinates, periodic=self.periodic)
