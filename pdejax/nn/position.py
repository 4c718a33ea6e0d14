"""Channels that say where a point is."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid


@dataclass(frozen=True)
class GridEmbedding:
    r"""One channel per axis: `lowest + (highest - lowest) i / N` at the i-th of the N points along that axis, i < N.

    On a periodic axis this is the position in the box, as nodes have it, with a seam where the box closes. It counts
    points and asks for no domain, which makes it the embedding that the package neuraloperator calls "grid". Points
    with walls are other places at every N: use harmonics there.

    `lowest`, `highest`: one number or one per axis.
    """

    lowest: float | tuple[float, ...] = 0.0
    highest: float | tuple[float, ...] = 1.0

    def channels(self, space: tuple[int, ...]) -> list[np.ndarray]:
        """What is to be broadcast to `(1, *space)`, per axis."""
        lowest, highest = (np.broadcast_to(np.asarray(end, float), len(space)) for end in (self.lowest, self.highest))
        return [
            along(axis, len(space), (low + (high - low) * np.arange(points) / points)[None])
            for axis, (points, low, high) in enumerate(zip(space, lowest, highest, strict=True))
        ]

    def check(self, ndim: int) -> None:
        """Raises `ValueError` for ends that are neither one number nor one per axis."""
        for name, end in (("lowest", self.lowest), ("highest", self.highest)):
            if np.shape(end) not in ((), (ndim,)):
                raise ValueError(f"GridEmbedding needs `{name}`: one number or {ndim}, one per axis, got {end}.")


def harmonic_channels(
    counts: Sequence[int], space: tuple[int, ...], periodic: tuple[bool, ...], domain: Grid | None
) -> list[np.ndarray]:
    """`counts[a]` harmonics of the position along each axis a, to be broadcast to `(2 counts[a], *space)`.

    They are those of the points of `domain`, or of nodes where it is None.
    """
    channels = []
    for axis, count in enumerate(counts):
        kind = (periodic[axis], "nodes") if domain is None else (domain.periodic[axis], domain.placement[axis])
        channels.append(along(axis, len(space), _harmonics(space[axis], count, *kind)))
    return channels


def spread(channels: np.ndarray, space: tuple[int, ...], dtype: np.dtype) -> Float[Array, "channel *space"]:
    """Channels of one axis at all points."""
    return jnp.broadcast_to(channels.astype(dtype), (channels.shape[0], *space))


def along(axis: int, ndim: int, values: np.ndarray) -> np.ndarray:
    """`(channel, points)` with `points` at the place of `axis` among the space axes."""
    return values.reshape(-1, *(values.shape[1] if a == axis else 1 for a in range(ndim)))


def _harmonics(points: int, count: int, periodic: bool, kind: str) -> np.ndarray:
    """Functions of the position along one axis, `(2 count, points)`."""
    centred = kind == "centres"
    intervals = points if periodic or centred else points - 1
    if intervals < 1:
        raise ValueError("One node between two walls is no place: use centres, or more points.")
    fraction = (np.arange(points) + (0.5 if centred else 0.0)) / intervals
    if not periodic:
        return np.cos(np.pi * 0.5 * np.arange(1, 2 * count + 1)[:, None] * fraction)
    phase = 2 * np.pi * np.arange(1, count + 1)[:, None] * fraction
    return np.concatenate([np.sin(phase), np.cos(phase)])
