"""How one layer of a Fourier neural operator is put together, as a value; its weights are kept by the model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.nn.channel_mlp import ChannelMLP
from pdejax.nn.shortcuts import GatedShortcut, LinearShortcut
from pdejax.nn.spectral_convolution import SpectralConvolution


@dataclass(frozen=True)
class LayerMLP:
    """The second half of a layer: a `ChannelMLP` of `width` channels inside, beside a shortcut from the layer's input.

    `shortcut` is a kind of `pdejax.nn` (`GatedShortcut()`, `LinearShortcut()`, `IdentityShortcut()`) or None.
    """

    width: int
    activation: Callable = jax.nn.gelu
    shortcut: Any = field(default_factory=GatedShortcut)

    def __post_init__(self):
        _check_kind("LayerMLP", "shortcut", self.shortcut)


class Additions(eqx.Module):
    """The weights of one layer beyond those of its convolution and its shortcut; None where there are none."""

    spectral_bias: Float[Array, " channel"] | None
    first_norm: Any
    second_norm: Any
    mlp: ChannelMLP | None
    mlp_shortcut: Any


@dataclass(frozen=True)
class FourierLayer:
    r"""A layer `v -> w` of a Fourier neural operator, K its `SpectralConvolution`, S its shortcut, a the activation:

        w = a(norm(K s(v) + bias) + S v)

    and with a second half, M its `ChannelMLP` and G the shortcut around all of it:

        h = a(norm(K s(v) + bias) + S v),     w = a(norm(M h + G v))

    No activation `a` of the last layer of a model is applied. With `preactivation` both come first:

        v' = norm(a(v)),     h = norm(a(K s(v') + bias + S v')),     w = M h + G v'     (or h)

    where in the last layer the activation in the middle is left out.

    - `shortcut`: the kind of S, `LinearShortcut()` (its matrix has a bias), `GatedShortcut()`, `IdentityShortcut()`, or
      None.
    - `spectral_bias`: whether there is a bias, one number per channel, beside K.
    - `norm`: the kind of norm, `InstanceNorm()` or `GroupNorm()`, or None.
    - `mlp`: the second half, a `LayerMLP`, or None.
    - `stabiliser`: a function s, e.g. `jax.numpy.tanh`, or None.
    - `second_activation`: without `mlp`, M h + G v is h itself: `w = a(norm(h))`.
    - `shift_odd_axes`: where an axis other than the last has an odd number of points, K's spectrum comes out shifted
      by one frequency, `exp(i k x) -> exp(i (k - 1) x)`. This is what neuraloperator 2.0.0 computes; on even numbers of
      points it changes nothing. Only for weights that were trained so.

    Raises `ValueError` for a shortcut, a norm or a second half that is no kind of these, and a stabiliser that is no
    function.
    Sources: Li et al. (ICLR 2021), section 4, for the first equation; Kossaifi et al., Multi-Grid Tensorized Fourier
    Neural Operator for High-Resolution PDEs (TMLR 2024), for the second one.
    """

    shortcut: Any = field(default_factory=LinearShortcut)
    spectral_bias: bool = False
    norm: Any = None
    mlp: LayerMLP | None = None
    preactivation: bool = False
    stabiliser: Callable | None = None
    second_activation: bool = False
    shift_odd_axes: bool = False

    def __post_init__(self):
        _check_kind("FourierLayer", "shortcut", self.shortcut)
        _check_kind("FourierLayer", "norm", self.norm)
        if self.mlp is not None and not isinstance(self.mlp, LayerMLP):
            raise ValueError(f"FourierLayer takes mlp=pdejax.nn.LayerMLP(...) or None, got {self.mlp!r}.")
        if self.stabiliser is not None and (isinstance(self.stabiliser, type) or not callable(self.stabiliser)):
            raise ValueError(
                f"FourierLayer takes as stabiliser a function of arrays, e.g. jax.numpy.tanh, got {self.stabiliser!r}."
            )

    def additions(self, channels: int, *, dtype: Any, key: PRNGKeyArray) -> Additions:
        """New weights of one layer, but for those of its convolution and its shortcut.

        They take the keys behind the two of `jax.random.split(key)`, which are left to those.
        """
        norms = [None, None] if self.norm is None else [self.norm.make(channels, dtype=dtype) for _ in range(2)]
        has_second_norm = self.mlp is not None or self.second_activation or self.preactivation
        mlp, beside = None, None
        if self.mlp is not None:
            mlp_key, shortcut_key = jax.random.fold_in(key, 2), jax.random.fold_in(key, 3)
            inside = {"activation": self.mlp.activation, "dtype": dtype}
            mlp = ChannelMLP(channels, self.mlp.width, channels, **inside, key=mlp_key)
            beside = self.mlp.shortcut and self.mlp.shortcut.make(channels, dtype=dtype, key=shortcut_key)
        return Additions(
            spectral_bias=jnp.zeros(channels, dtype) if self.spectral_bias else None,
            first_norm=norms[0],
            second_norm=norms[1] if has_second_norm else None,
            mlp=mlp,
            mlp_shortcut=beside,
        )

    def __call__(
        self,
        v: Float[Array, "channel *space"],
        convolution: SpectralConvolution,
        shortcut: Any,
        additions: Additions,
        activation: Callable,
        *,
        last: bool,
        modulated: Callable | None = None,
    ) -> Float[Array, "channel *space"]:
        """The layer with these weights; `last` says whether it is the last one of its model.

        `modulated` acts on what K makes, behind the norm.
        """
        after = _unchanged if last else activation
        follow = _unchanged if modulated is None else modulated
        first_norm, second_norm = (
            _unchanged if n is None else n for n in (additions.first_norm, additions.second_norm)
        )
        if self.preactivation:
            v = first_norm(activation(v))
            h = second_norm(after(_sum(follow(self._convolved(v, convolution, additions)), shortcut, v)))
            return h if additions.mlp is None else _sum(additions.mlp(h), additions.mlp_shortcut, v)
        h = after(_sum(follow(first_norm(self._convolved(v, convolution, additions))), shortcut, v))
        if additions.mlp is not None:
            return after(second_norm(_sum(additions.mlp(h), additions.mlp_shortcut, v)))
        return after(second_norm(h)) if self.second_activation else h

    def _convolved(self, v: Array, convolution: SpectralConvolution, additions: Additions) -> Array:
        v = v if self.stabiliser is None else self.stabiliser(v)
        result = _shifted(convolution, v) if self.shift_odd_axes else convolution(v)
        if additions.spectral_bias is None:
            return result
        return result + additions.spectral_bias.reshape(-1, *(1,) * (v.ndim - 1))


def _unchanged(v: Array) -> Array:
    return v


def _sum(h: Array, shortcut: Any, v: Array) -> Array:
    return h if shortcut is None else h + shortcut(v)


def _shifted(convolution: SpectralConvolution, v: Array) -> Array:
    """`convolution(v)` with every frequency lowered by one along each axis of odd size that is not the last."""
    space = v.shape[1:]
    odd = [axis for axis, points in enumerate(space[:-1]) if points % 2]
    if not odd:
        return convolution(v)
    # Half of the spectrum stands for a complex field A whose real part is the result. Its shifted real part is
    # Re(exp(-i phase) A) = cos(phase) Re A + sin(phase) Im A, and Im A = Re(-i A) is the result for the weights -i W.
    turned = convolution.turned()
    places = [np.arange(points).reshape(-1, *(1,) * (len(space) - 1 - axis)) for axis, points in enumerate(space)]
    phase = 2 * np.pi * sum(places[axis] / space[axis] for axis in odd)
    cos, sin = (jnp.asarray(part, v.dtype) for part in (np.cos(phase), np.sin(phase)))
    return cos * convolution(v) + sin * turned(v)


def _check_kind(owner: str, name: str, kind: Any) -> None:
    if kind is not None and (isinstance(kind, type) or not hasattr(kind, "make")):
        raise ValueError(
            f"{owner} takes as {name} a kind of pdejax.nn that is built, e.g. GatedShortcut() or InstanceNorm(), or "
            f"None, got {kind!r}."
        )
