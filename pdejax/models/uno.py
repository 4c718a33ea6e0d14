"""The U-shaped neural operator."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import ChannelMap, ChannelMLP, Conditioning, InstanceNorm, LinearShortcut, Modes, SpectralConvolution
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    check_transformable,
    checked_conditioning,
    checked_dtype,
    checked_modes,
    checked_sizes,
    checked_state,
)
from pdejax.nn.modulation import modulated
from pdejax.nn.parameter_embedding import ParameterEmbedding
from pdejax.nn.resampling import Resampling, placement_of, resampled, scaled_space
from pdejax.nn.shortcuts import IdentityShortcut


class UNO(eqx.Module):
    r"""A neural operator whose layers go down to coarser grids and up again, in one, two or three dimensions:

        v_0 = a(P(u));   v_(i+1) = a(norm(R_i (K_i w_i + W_i w_i)));   w_i = v_i, or (v_i, R S_j v_(j+1));   Q(v_n)

    K_i is a `pdejax.nn.SpectralConvolution`, W_i a matrix of channels at every point with a bias, R_i changes the
    points, S_j is what layer j hands across to a later one. P is affine, a, affine; Q the same; a the activation.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`. On a
    periodic box, and with `resampling="fourier"`, this is a map of functions, as an FNO is one, as far as the coarsest
    layer resolves what the layers before make.

    - `layer_channels`, `layer_modes`, `scalings`: for each layer its channels out, the frequencies it keeps (a number,
      one per axis, or a `pdejax.nn.Modes`; a number counts them in the classic convention) and by what the number of
      points is multiplied (a number or one per axis). All `scalings` together are 1.
    - `skips`: `{i: j}`, layer i sees also what layer j made, one per layer. `{n - 1 - i: i}` by default.
    - `skip`: the kind of S, `LinearShortcut()` or `IdentityShortcut()`.
    - `lift_skip`: whether Q sees v_0 beside the last layer's result.
    - `norm`: `InstanceNorm()`, `GroupNorm()` or None.
    - `resampling`: "fourier" or "bicubic", as `pdejax.nn.resampled` has them; K is resampled exactly in both.
    - `lifting_width`, `projection_width`: channels inside P and Q, `2 * width` by default.
    - `conditioning`: a `pdejax.nn.Conditioning`: what is appended to the input, and numbers that change what every
      layer makes, behind its norm. Resampling has to know which axes are periodic: by the `domain` of the call or by
      `conditioning`.
    - `dtype`: of the weights and of the computation; input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense, numbers of layers that differ, skips from a layer that is not
    there yet; at trace time for a wrong number of channels or axes, an unknown kind of axes, points at unequal
    distances, and grids that do not resolve what a layer keeps.
    Source: Rahman, Ross & Azizzadenesheli, U-NO: U-shaped Neural Operators (TMLR 2023). One departure: points of
    periodic axes and of centres are resampled where they are, not as if the first and the last one were the ends.
    """

    lift: ChannelMLP
    convolutions: tuple[SpectralConvolution, ...]
    shortcuts: tuple[ChannelMap, ...]
    norms: tuple[Any, ...]
    across: tuple[Any, ...]
    projection: ChannelMLP
    embedding: ParameterEmbedding | None
    modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    layer_channels: tuple[int, ...] = eqx.field(static=True)
    layer_modes: tuple[Modes, ...] = eqx.field(static=True)
    scalings: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    skips: tuple[tuple[int, int], ...] = eqx.field(static=True)
    skip: Any = eqx.field(static=True)
    lift_skip: bool = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    resampling: Resampling = eqx.field(static=True)
    lifting_width: int = eqx.field(static=True)
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
        layer_channels: Sequence[int],
        layer_modes: Sequence[int | Sequence[int] | Modes],
        scalings: Sequence[float | int | Sequence[float | int]],
        skips: Mapping[int, int] | Sequence[Sequence[int]] | None = None,
        skip: Any = None,
        lift_skip: bool = False,
        norm: Any = None,
        resampling: Resampling = "fourier",
        lifting_width: int | None = None,
        projection_width: int | None = None,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        self.in_channels, self.out_channels, self.ndim, self.width = in_channels, out_channels, ndim, width
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "ndim": ndim, "width": width}
        check_sizes("UNO", **sizes)
        check_activation(activation, "UNO")
        check_norm(norm, "UNO")
        self.layer_channels = checked_sizes("UNO", "layer_channels", layer_channels)
        for name, given in (("layer_modes", layer_modes), ("scalings", scalings)):
            if not isinstance(given, Sequence):
                raise ValueError(f"UNO needs `{name}`: a sequence of one entry per layer, got {given!r}.")
        count = len(self.layer_channels)
        check_sizes("UNO", **{"len(layer_channels)": count})
        if not len(layer_modes) == len(scalings) == count:
            raise ValueError(
                f"UNO needs one entry per layer in each of layer_channels, layer_modes and scalings, got {count}, "
                f"{len(layer_modes)} and {len(scalings)}."
            )
        self.layer_modes = tuple(checked_modes(m, ndim, f"Layer {i} of UNO") for i, m in enumerate(layer_modes))
        self.scalings = tuple(_per_axis(scaling, ndim) for scaling in scalings)
        whole = [math.prod(each) for each in zip(*self.scalings, strict=True)]
        if not np.allclose(whole, 1.0):
            raise ValueError(
                f"UNO gives a state on the points it gets, but its scalings multiply to {whole}, not to 1."
            )
        told_pairs = skips.items() if isinstance(skips, Mapping) else skips
        pairs = {count - 1 - i: i for i in range(count // 2)} if told_pairs is None else {t: f for t, f in told_pairs}
        self.skips = tuple(sorted((int(to), int(of)) for to, of in pairs.items()))
        if any(not 0 <= of < to < count for to, of in self.skips):
            raise ValueError(f"UNO has {count} layers, and skips {{to: from}} lead to later ones, got {dict(pairs)}.")
        self.skip = LinearShortcut() if skip is None else skip
        if not isinstance(self.skip, LinearShortcut | IdentityShortcut):
            raise ValueError(f"UNO takes skip=LinearShortcut() or IdentityShortcut() of pdejax.nn, got {skip!r}.")
        if resampling not in ("fourier", "bicubic"):
            raise ValueError(f'UNO takes resampling="fourier" or "bicubic", got {resampling!r}.')
        self.lift_skip, self.norm, self.resampling, self.activation = lift_skip, norm, resampling, activation
        self.lifting_width = 2 * width if lifting_width is None else lifting_width
        self.projection_width = 2 * width if projection_width is None else projection_width
        self.conditioning = checked_conditioning(conditioning, ndim, "UNO")
        self.dtype = checked_dtype(dtype, "UNO")

        lift_key, projection_key, *keys = jax.random.split(checked_key(key, "UNO"), 2 + count)
        told, sources = self._told, dict(self.skips)
        inside = {"activation": activation, "dtype": dtype}
        lifted = in_channels + told.num_channels(ndim)
        self.lift = ChannelMLP(lifted, self.lifting_width, width, **inside, key=lift_key)
        convolutions, shortcuts, norms, across, modulations = [], [], [], [], []
        behind = width
        for i, (channels, modes, k) in enumerate(zip(self.layer_channels, self.layer_modes, keys, strict=True)):
            parts = jax.random.split(k, 4)
            seen = behind + (self.layer_channels[sources[i]] if i in sources else 0)
            convolutions.append(SpectralConvolution(seen, channels, modes, scale=0.25, dtype=dtype, key=parts[0]))
            shortcuts.append(ChannelMap(seen, channels, dtype=dtype, key=parts[1]))
            norms.append(None if norm is None else norm.make(channels, dtype=dtype))
            handed = i in sources.values()
            across.append(self.skip.make(channels, dtype=dtype, key=parts[2]) if handed else None)
            modulations.append(told.make_modulation(channels, ndim, dtype=dtype, key=parts[3]))
            behind = channels
        self.convolutions, self.shortcuts, self.norms = tuple(convolutions), tuple(shortcuts), tuple(norms)
        self.across, self.modulations = tuple(across), tuple(modulations)
        projected = behind + (width if lift_skip else 0)
        self.projection = ChannelMLP(projected, self.projection_width, out_channels, **inside, key=projection_key)
        self.embedding = told.make_embedding(dtype=dtype, key=jax.random.fold_in(lift_key, 0))

    @classmethod
    def of_pdearena(
        cls, in_channels: int, out_channels: int, width: int = 64, *, key: PRNGKeyArray, **options: Any
    ) -> "UNO":
        """The two-dimensional UNO-`width` of PDEArena: seven layers between all, 3/4, 1/2 and 1/4 of the points.

        Takes grids of 64 points per axis and more (its second and its last layers keep 14 and 18 frequencies at 1/2
        and 3/4 of the points). `options` are those of `UNO`, e.g. `conditioning`.

        Source: Gupta & Brandstetter, Towards Multi-spatiotemporal-scale Generalized PDE Modeling (TMLR 2023).
        """
        if width % 2:
            raise ValueError(f"UNO.of_pdearena has layers of 3/2 of the width: it needs an even width, got {width}.")
        layout: dict[str, Any] = {
            "layer_channels": (3 * width // 2, 3 * width, 6 * width, 6 * width, 3 * width, 3 * width // 2, width),
            "layer_modes": (18, 14, 6, 6, 6, 14, 18),
            "scalings": (3 / 4, 2 / 3, 1 / 2, 1, 2, 3 / 2, 4 / 3),
            "skips": {5: 1, 6: 0},
            "skip": IdentityShortcut(),
            "lift_skip": True,
            "norm": InstanceNorm(affine=True),
            "resampling": "bicubic",
            "lifting_width": width // 2,
            "projection_width": 4 * width,
        }
        return cls(in_channels, out_channels, 2, width, **(layout | options), key=key)

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, self.ndim, self._computing, "UNO")
        check_transformable(domain, "UNO")
        told, computing, space = self._told, self._computing, u.shape[1:]
        periodic, placement = told.periodic_axes(self.ndim, domain, "UNO"), placement_of(domain, self.ndim)
        appended = told.channels(space, parameters, domain, computing, "UNO")
        lifted = v = self.activation(self.lift(jnp.concatenate([u.astype(computing), *appended])))
        embedded = told.embedded(self.embedding, parameters, computing, "UNO")
        sources, made, whole = dict(self.skips), [], np.ones(self.ndim)
        for i, scaling in enumerate(self.scalings):
            if i in sources:
                handed = self.across[sources[i]](made[sources[i]])
                v = jnp.concatenate([v, resampled(handed, v.shape[1:], periodic, placement, self.resampling)])
            # From the points of the input, so that roundings do not add up.
            whole = whole * scaling
            target = scaled_space(space, [float(each) for each in whole], periodic, placement)
            v = self._layer(i, v, target, periodic, placement)
            v = v if self.norms[i] is None else self.norms[i](v)
            v = self.activation(modulated(self.modulations[i], v, embedded, periodic))
            made.append(v)
        v = jnp.concatenate([v, lifted]) if self.lift_skip else v
        return self.projection(v).astype(u.dtype)

    def _layer(
        self, i: int, v: Array, target: tuple[int, ...], periodic: tuple[bool, ...], placement: tuple[str, ...]
    ) -> Array:
        """`R (K v + W v)`. Both commute with R, as long as the points resolve what K keeps: they act on the fewer."""

        def moved(w: Array, method: Resampling) -> Array:
            return resampled(w, target, periodic, placement, method)

        convolution, shortcut = self.convolutions[i], self.shortcuts[i]
        for points in (v.shape[1:], target):
            self.layer_modes[i].check_resolved(points, f"Layer {i} of UNO")
        finer = math.prod(target) > math.prod(v.shape[1:])
        if self.resampling == "fourier":
            if finer:
                return moved(convolution(v) + shortcut(v), "fourier")
            v = moved(v, "fourier")
            return convolution(v) + shortcut(v)
        if finer:
            return moved(convolution(v), "fourier") + moved(shortcut(v), self.resampling)
        return convolution(moved(v, "fourier")) + shortcut(moved(v, self.resampling))

    @property
    def _computing(self) -> np.dtype:
        """That of the weights as they are now: `InPrecision` hands on others than the model was made with."""
        return self.convolutions[0].real.dtype

    @property
    def _told(self) -> Conditioning:
        return Conditioning() if self.conditioning is None else self.conditioning


def _per_axis(scaling: Any, ndim: int) -> tuple[float, ...]:
    each = (scaling,) * ndim if isinstance(scaling, int | float) else tuple(scaling)
    if len(each) != ndim or not all(0 < value < np.inf for value in each):
        raise ValueError(f"UNO needs positive scalings, one number or {ndim} per layer, got {scaling}.")
    return tuple(float(value) for value in each)
