"""Losses that weigh the scales of an error, by its Fourier coefficients on periodic grids.

e(x) = sum over k of e_k exp(i k . (x - origin)),   k_a = 2 pi n_a / extent_a,   mean of e^2 = sum over k of |e_k|^2
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.fields.fourier_space import FourierSpace
from pdejax.grid import Grid, check_uniform
from pdejax.sizes import size
from pdejax.training.losses.loss import AbstractLoss, per_channel, where_positive

# Squares of a band below this part of the mean square of the target are noise; that of `metrics.spectrum_error`.
_FLOOR = 1e-10
# Of wavenumbers, so that those on an edge but for rounding belong to the band above.
_ROUNDED_UP = 1 + 1e-6


class Sobolev(AbstractLoss):
    r"""The norm of the error in the Sobolev space H^s, over that of the target:

        |e|_s = sqrt( sum over k of (1 + |k|^2)^s |e_k|^2 ),   mean over the channels of |e|_s / |target|_s

    Positive orders count the small scales more, negative ones less; s = 0 is `RelativeL2`.

    - `order`: s, any real number; `Sobolev(1)` is H^1, `Sobolev(-1)` its dual.
    - `relative`: if not, the norm of `error / scale`. It is a mean over the box, not an integral: that of s = 0 is the
      root mean square. The size of a channel whose target is zero is that of the whole state.

    Raises `ValueError` for an order that is not finite; at trace time without a grid, and for one that is not periodic
    or not uniform.
    Source: Czarnecki et al., Sobolev Training for Neural Networks (NeurIPS 2017); Li et al., Learning Chaotic Dynamics
    in Dissipative Systems (NeurIPS 2022).
    """

    order: float = eqx.field(static=True)
    relative: bool = eqx.field(static=True)

    def __init__(self, order: float | int, relative: bool = True):
        if not np.isfinite(order):
            raise ValueError(f"Sobolev needs an order that is a finite number, e.g. 1, got {order}.")
        self.order, self.relative = float(order), relative

    def __call__(
        self,
        prediction: Float[Array, "channel *space"],
        target: Float[Array, "channel *space"],
        domain: Any,
        scale: Any,
    ) -> Float[Array, ""]:
        squares = _squared_wavenumbers("Sobolev", target, domain)
        weights = (1 + squares) ** (self.order / 2)
        norms = where_positive(_norms(_coefficients(target) * weights)) if self.relative else scale
        return jnp.mean(_norms(_coefficients((prediction - target) / per_channel(norms, target)) * weights))


class SpectralBands(AbstractLoss):
    r"""The relative error within each band of wavenumbers, averaged over the bands and the channels:

        sum over bands b of weights_b sqrt( sum over k in b of |e_k|^2 / sum over k in b of |target_k|^2 )

    So the small scales, which hold little energy, count as much as the large ones.

    - `edges`: of the bands, increasing: band b holds `edges[b] <= |k| < edges[b + 1]`, |k| physical (2 pi / extent is
      the lowest of a box). A wavenumber within 1e-6 below an edge belongs to the band above. What lies outside all
      bands does not count; begin with 0 to count the mean.
    - `weights`: of the bands, scaled to the sum 1; equal ones by default.

    Where the target is empty (its amplitude in the band is below 1e-5 of that of the channel), the error of the band is
    taken in units of the whole channel; where the channel is zero, of the whole state.

    Raises `ValueError` for edges that do not increase and for other weights than one per band, none negative; at trace
    time without a grid, and for one that is not periodic or not uniform.
    Source: Chakraborty, Mohan & Maulik, Binned Spectral Power Loss for Improved Prediction of Chaotic Systems (2025),
    of which this compares coefficients, phases included, and not powers.
    """

    edges: tuple[float, ...] = eqx.field(static=True)
    weights: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, edges: Sequence[float | int] | np.ndarray, weights: Any = None):
        bounds = np.asarray(edges, float)
        if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] < 0 or not np.all(np.diff(bounds) > 0):
            raise ValueError(f"SpectralBands needs two or more edges from 0 on that increase, got {edges}.")
        count = len(bounds) - 1
        given = np.ones(count) if weights is None else np.asarray(weights, float)
        if given.shape != (count,) or not np.all(given >= 0) or not 0 < given.sum() < np.inf:
            raise ValueError(
                f"SpectralBands of {count} bands needs {count} weights, none negative and not all zero, got {weights}."
            )
        self.edges = tuple(float(edge) for edge in bounds)
        self.weights = tuple(float(weight) for weight in given / given.sum())

    def check_domain(self, domain: Any) -> None:
        if not isinstance(domain, Grid) or not all(domain.periodic):
            return  # the call says what is missing
        radius = np.sqrt(np.asarray(FourierSpace(domain, None, False).squared_wavenumber())) * _ROUNDED_UP
        for low, high in zip(self.edges[:-1], self.edges[1:], strict=True):
            if not np.any((radius >= low) & (radius < high)):
                raise ValueError(
                    f"No wavenumber of the grid lies in the band from {low:g} to {high:g} of SpectralBands: they go up "
                    f"to {radius.max():.4g}, in steps of {2 * np.pi / float(np.max(np.asarray(domain.extent))):.4g}."
                )

    def __call__(
        self,
        prediction: Float[Array, "channel *space"],
        target: Float[Array, "channel *space"],
        domain: Any,
        scale: Any,
    ) -> Float[Array, ""]:
        radius = jnp.sqrt(_squared_wavenumbers("SpectralBands", target, domain)) * _ROUNDED_UP
        true = _coefficients(target)
        whole = where_positive(_norms(true))
        # In units of order one from here on.
        true = true / per_channel(whole, target)
        error = _coefficients((prediction - target) / per_channel(whole, target))
        total = jnp.zeros((), target.dtype)
        for low, high, weight in zip(self.edges[:-1], self.edges[1:], self.weights, strict=True):
            inside = (radius >= low) & (radius < high)
            held = _norms(jnp.where(inside, true, 0))
            empty = held <= np.sqrt(_FLOOR)
            ratios = _norms(jnp.where(inside, error, 0)) / jnp.where(empty, 1.0, held)
            total = total + weight * jnp.mean(ratios)
        return total


def _coefficients(u: Array) -> Array:
    """Those of the real transform, times the root of how often each counts: the sum of their squares is the mean square
    of u."""
    space = tuple(range(1, u.ndim))
    # A stored mode stands for its conjugate too, but for k = 0 and, where N is even, k = N/2 on the halved axis.
    counts = np.full(u.shape[-1] // 2 + 1, 2.0)
    counts[0] = 1.0
    if u.shape[-1] % 2 == 0:
        counts[-1] = 1.0
    u = jnp.asarray(u, jnp.promote_types(u.dtype, jnp.float32))
    return jnp.fft.rfftn(u, axes=space, norm="forward") * jnp.asarray(np.sqrt(counts), u.dtype)


def _norms(coefficients: Array) -> Array:
    modes = tuple(range(1, coefficients.ndim))
    return size(coefficients, lambda squares: jnp.sum(squares, axis=modes), modes)


def _squared_wavenumbers(taker: str, u: Array, domain: Any) -> Array:
    """`|k|^2` of the modes that `_coefficients` holds."""
    if not isinstance(domain, Grid):
        raise ValueError(
            f"{taker} needs the grid that the states live on, got {domain!r}: train on Trajectories, or for pairs pass "
            "Supervised(loss, domain=grid)."
        )
    if not all(domain.periodic):
        raise ValueError(f"{taker} needs a periodic grid, got periodic={domain.periodic}: use RelativeL2().")
    check_uniform(domain, taker, "of which it takes a Fourier transform", "use RelativeL2()")
    domain.check_state(u, u.shape[0], "The target")
    return FourierSpace(domain, None, False).squared_wavenumber().astype(jnp.promote_types(u.dtype, jnp.float32))
