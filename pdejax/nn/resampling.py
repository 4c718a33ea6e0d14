"""The same features on another number of points of the same box."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.nn.products import at_least_single
from pdejax.resample import fourier_factors

Resampling = Literal["fourier", "bicubic"]
"""How values between the points are found; `resampled` says what each is."""

# A matrix is what accelerators are best at, and on a CPU no slower than two transforms; but it is a constant of the
# compiled program, 4 MB at this size, and grows with the square of it.
_LARGEST_MATRIX = 1024


def resampled(
    u: Float[Array, "channel *space"],
    space: Sequence[int],
    periodic: Sequence[bool],
    placement: Sequence[str],
    method: Resampling = "fourier",
    *,
    drop_highest: bool = False,
) -> Float[Array, "channel *new"]:
    r"""The function that `u` stands for, at `space` points of the same box: "nodes" or "centres" per axis, as before.

    Nodes of a periodic axis of length L are at x_i = i L / N, nodes between walls at i L / (N - 1), which has both
    ends, and centres at (i + 1/2) L / N. Nothing is shifted: what stands at x comes back at x.

    - "fourier": the trigonometric interpolant, without the frequencies that the new points do not hold. Periodic axes
      as in `pdejax.resample`; behind walls the function goes on as its mirror image, so that its series is one of
      cosines. Exact for functions of the frequencies that both hold.
    - "bicubic": the cubic convolution kernel of Keys with a = -1/2, of third order between smooth values, wider by the
      ratio of the distances where there are fewer points. Around a periodic axis, and with the weights of the points
      there are, scaled to the sum one, next to walls.

    `drop_highest`: leaves out also the frequency N/2 of an even number of new points of a periodic axis, of which they
    see the cosine only. What is left commutes with every translation, and not only with those by whole points. Then
    axes that keep their points are filtered, too.

    Shapes `(channel, *space) -> (channel, *new)`; each axis is one matrix product, or from 1024 points on two Fourier
    transforms.

    Raises `ValueError` for other numbers of axes, and for fewer than two nodes between walls.
    """
    if not len(space) == len(periodic) == len(placement) == u.ndim - 1:
        raise ValueError(
            f"Features of {u.ndim - 1} axes need as many sizes, flags and placements, got {space}, {periodic} and "
            f"{placement}."
        )
    dtype, out = at_least_single(u.dtype), u
    for axis, (target, around, kind) in enumerate(zip(space, periodic, placement, strict=True), start=1):
        source = u.shape[axis]
        cut = drop_highest and around and target % 2 == 0 and method == "fourier"
        if source == target and not cut:
            continue
        if not around and kind == "nodes" and min(source, target) < 2:
            raise ValueError(f"Nodes between walls are at both ends of axis {axis - 1}, got {source} and {target}.")
        out = out.astype(dtype)
        if method == "bicubic":
            out = _multiplied(_bicubic_matrix(source, target, around, kind), out, axis)
        elif max(source, target) <= _LARGEST_MATRIX:
            out = _multiplied(_fourier_matrix(source, target, around, kind, cut), out, axis)
        else:
            out = _transformed(out, axis, target, around, kind, cut)
    return out.astype(u.dtype)


def scaled_space(
    space: Sequence[int], factors: Sequence[float | int], periodic: Sequence[bool], placement: Sequence[str]
) -> tuple[int, ...]:
    """How many points `factors` as many intervals have, per axis and rounded; nodes between walls are one more."""
    ends = [int(not around and kind == "nodes") for around, kind in zip(periodic, placement, strict=True)]
    return tuple(max(1, round((n - e) * f)) + e for n, f, e in zip(space, factors, ends, strict=True))


def placement_of(domain: Grid | None, ndim: int) -> tuple[str, ...]:
    """Where points of an axis stand; nodes where nothing says so."""
    return ("nodes",) * ndim if domain is None else tuple(domain.placement)


def _multiplied(matrix: np.ndarray, u: Array, axis: int) -> Array:
    before, behind = u.shape[:axis], u.shape[axis + 1 :]
    flat = u.reshape(int(np.prod(before)), u.shape[axis], -1)
    product = jnp.einsum("mn,anb->amb", jnp.asarray(matrix, u.dtype), flat, precision="highest")
    return product.reshape(*before, matrix.shape[0], *behind)


def _series(source: int, target: int, periodic: bool, kind: str, cut: bool) -> tuple[np.ndarray, int]:
    """The factors of the Fourier coefficients, and how many points the inverse transform has.

    Between walls both are those of the function with its mirror image, which is periodic.
    """
    if periodic:
        periods = (source, target)
    else:
        periods = (2 * source, 2 * target) if kind == "centres" else (2 * (source - 1), 2 * (target - 1))
    shift = 0.5 / periods[1] - 0.5 / periods[0] if kind == "centres" else 0.0
    factors = fourier_factors(*periods, shift)
    if cut:
        factors[2 * np.arange(factors.size) >= target] = 0.0
    return factors, periods[1]


@lru_cache(maxsize=128)
def _fourier_matrix(source: int, target: int, periodic: bool, kind: str, cut: bool) -> np.ndarray:
    factors, points = _series(source, target, periodic, kind, cut)
    identity = np.eye(source)
    with_image = identity if periodic else np.concatenate([identity, _image(identity, kind)])
    return np.fft.irfft(factors[:, None] * np.fft.rfft(with_image, axis=0), n=points, axis=0)[:target]


def _transformed(u: Array, axis: int, target: int, periodic: bool, kind: str, cut: bool) -> Array:
    factors, points = _series(u.shape[axis], target, periodic, kind, cut)
    u = jnp.moveaxis(u, axis, 0)
    with_image = u if periodic else jnp.concatenate([u, _image(u, kind)])
    coefficients = jnp.fft.rfft(with_image, axis=0)
    coefficients = coefficients * factors.astype(coefficients.dtype).reshape(-1, *(1,) * (u.ndim - 1))
    return jnp.moveaxis(jnp.fft.irfft(coefficients, n=points, axis=0)[:target], 0, axis)


def _image(u, kind: str):
    """What follows behind the far wall until the period ends; a node that is on the wall has no image of its own."""
    return u[::-1] if kind == "centres" else u[-2:0:-1]


@lru_cache(maxsize=128)
def _bicubic_matrix(source: int, target: int, periodic: bool, kind: str) -> np.ndarray:
    ends = not periodic and kind == "nodes"
    step = (source - ends) / max(1, target - ends)  # from one new point to the next, counted in old points
    offset = 0.5 if kind == "centres" else 0.0
    places = (np.arange(target) + offset) * step - offset
    width = max(1.0, step)
    reach = int(np.ceil(2 * width)) + 1
    near = np.floor(places).astype(int)[:, None] + np.arange(-reach, reach + 1)
    weights = _keys((near - places[:, None]) / width)
    if not periodic:
        weights = np.where((near >= 0) & (near < source), weights, 0.0)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], near % source), weights)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _keys(distance: np.ndarray) -> np.ndarray:
    """Keys, Cubic convolution interpolation for digital image processing (1981), equation 15, which is a = -1/2."""
    s = np.abs(distance)
    inner = 1.5 * s**3 - 2.5 * s**2 + 1
    outer = -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2
    return np.where(s < 1, inner, np.where(s < 2, outer, 0.0))
