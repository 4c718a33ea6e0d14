"""Functions that data are made of, by proper orthogonal decomposition: no weights, and no place but their grid."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid, check_is_grid
from pdejax.nn.held import Held
from pdejax.nn.products import at_least_single, product_precision
from pdejax.resample import resample


class PODBasis(eqx.Module):
    r"""A mean field and `rank` others, `v(x) = mean(x) + sum_i a_i functions_i(x)`, for all channels at once.

    `pod_basis` makes one of data, with functions that are orthogonal and so large that the a_i of these data have a
    mean square of one. Newly made by itself it is zero, of the right shapes. No optimiser moves it.

    - `channels`, `space`: of the fields. `periodic`, `points`: of their grid, one per axis, as in `pdejax.Grid`.

    Off their grid the functions are trigonometric interpolants, on boxes that are periodic along all axes.
    """

    held: Held
    rank: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    space: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)
    points: tuple[Any, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        rank: int,
        channels: int,
        space: Sequence[int],
        periodic: Sequence[bool],
        points: Sequence[Any],
        dtype: Any = jnp.float32,
    ):
        self.rank, self.channels, self.space = rank, channels, tuple(space)
        self.periodic, self.points, self.dtype = tuple(periodic), tuple(points), np.dtype(dtype)
        self.held = Held((jnp.zeros((channels, *space), dtype), jnp.zeros((rank, channels, *space), dtype)))

    @property
    def mean(self) -> Float[Array, "channel *space"]:
        return self.held.values[0]

    @property
    def functions(self) -> Float[Array, "rank channel *space"]:
        return self.held.values[1]

    def on(self, domain: Grid) -> tuple[Float[Array, "channel *space"], Float[Array, "rank channel *space"]]:
        """The mean and the functions at the points of a grid. Raises `ValueError` where there are no values of them."""
        if (domain.shape, domain.periodic, domain.points) == (self.space, self.periodic, self.points):
            return self.mean, self.functions
        own, asked = (
            Grid(space, 1.0, periodic, points=points, dtype=jnp.float32)
            for space, periodic, points in (
                (self.space, self.periodic, self.points),
                (domain.shape, domain.periodic, domain.points),
            )
        )
        placed = f"a grid of {domain.shape} points, periodic={domain.periodic}, {domain.points}"
        self._check_periodic(placed)
        if not all(domain.periodic) or not set(domain.points) <= {"nodes", "centres"}:
            raise ValueError(
                f"This POD basis is of a box that is periodic along all axes, {self.space} points, and it cannot be "
                f"evaluated on {placed}: call the model on equally spaced points of that box, or make a basis of "
                "fields on this grid, pdejax.nn.pod_basis(fields, rank, grid)."
            )
        return resample(self.mean, own, asked), resample(self.functions, own, asked)

    def at(
        self, fractions: Float[Array, "axis *points"]
    ) -> tuple[Float[Array, "channel *points"], Float[Array, "rank channel *points"]]:
        """The mean and the functions at any places, each a fraction of the box along every axis."""
        self._check_periodic("points of your own")
        # Phases of a coarser precision would move the places by more than a node.
        dtype = at_least_single(self.functions.dtype)
        values = jnp.concatenate([self.mean[None], self.functions]).astype(dtype)
        places = fractions.reshape(fractions.shape[0], -1)
        last = len(self.space) - 1
        for axis in range(last, -1, -1):
            count, first = self.space[axis], 0.5 if self.points[axis] == "centres" else 0.0
            weights = _interpolation(places[axis].astype(dtype) * count - first, count)
            contracted = "...n,nq->...q" if axis == last else "...nq,nq->...q"
            values = jnp.einsum(contracted, values, weights, precision=product_precision())
        values = values.reshape(*values.shape[:2], *fractions.shape[1:])
        values = values.astype(self.functions.dtype)
        return values[0], values[1:]

    def _check_periodic(self, asked: str) -> None:
        if not all(self.periodic) or not set(self.points) <= {"nodes", "centres"}:
            raise ValueError(
                f"This POD basis lives on {self.space} points, periodic={self.periodic}, and between them it has no "
                f"values unless they are equally spaced around a box that is periodic along all axes: it cannot be "
                f"evaluated on {asked}."
            )


def pod_basis(u: Float[Array | np.ndarray, "sample channel *space"], rank: int, domain: Grid) -> PODBasis:
    r"""The proper orthogonal decomposition of fields: of all bases of `rank` functions the one that is closest to them.

        mean = mean of the samples,     u - mean = sum_i a_i functions_i + what is left,

    with functions that are orthogonal in L2 of the domain (summed over the channels) and a_i of mean square one. What
    is left has the least mean square; it is zero to rounding where `rank` is that of the data. Channels of different
    units have to be standardised before.

    Raises `ValueError` for fields on another grid, complex or not finite, and for a rank that the samples do not have.
    Source: Lu et al., A comprehensive and fair comparison of two neural operators, CMAME 393 (2022), section 3.1.3.
    """
    check_is_grid(domain, "pod_basis")
    if not isinstance(u, Array | np.ndarray):
        raise ValueError(
            f"pod_basis takes an array of fields (sample, channel, *space), got a {type(u).__name__}: of Trajectories "
            "pass all frames as samples, numpy.concatenate(trajectories.u)."
        )
    if not isinstance(rank, int | np.integer) or isinstance(rank, bool) or rank < 1:
        raise ValueError(f"pod_basis takes as rank a number of functions, a whole number >= 1, got {rank!r}.")
    rank = int(rank)
    if np.issubdtype(u.dtype, np.complexfloating):
        raise ValueError(f"pod_basis takes real fields, got {u.dtype}: give real and imaginary part as two channels.")
    samples = np.asarray(u, np.float64)
    if not np.all(np.isfinite(samples)):
        bad = np.flatnonzero(~np.all(np.isfinite(samples), axis=tuple(range(1, samples.ndim))))
        raise ValueError(
            f"pod_basis takes finite fields, and {bad.size} of {len(samples)} samples are not, the first of them "
            f"number {bad[0]}: leave these out."
        )
    if samples.shape[2:] != domain.shape:
        raise ValueError(
            f"pod_basis takes fields (sample, channel, *space) on the domain's {domain.shape} points, got {u.shape}."
        )
    mean = samples.mean(axis=0)
    # In double precision on the host, for the smallest of the functions are differences of large numbers.
    cells = np.asarray(_weights(domain), np.float64)
    weighted = ((samples - mean) * np.sqrt(cells)).reshape(len(samples), -1)
    _, sizes, rows = np.linalg.svd(weighted, full_matrices=False)
    # What the rounding of the samples adds to the sizes is that of one of them, times the root of how many there are.
    held = jnp.promote_types(u.dtype, jnp.float32)
    found = int(np.sum(sizes > sizes[0] * float(jnp.finfo(held).eps) * len(samples) ** 0.5))
    if not 1 <= rank <= found:
        raise ValueError(f"pod_basis: rank={rank}, but {len(samples)} samples have the rank {found} about their mean.")
    functions = (rows[:rank] * sizes[:rank, None] / len(samples) ** 0.5).reshape(rank, *mean.shape) / np.sqrt(cells)
    dtype = jnp.promote_types(u.dtype, jnp.float32)
    empty = PODBasis(rank, mean.shape[0], domain.shape, domain.periodic, domain.points, dtype)
    return eqx.tree_at(lambda b: b.held.inside, empty, (jnp.asarray(mean, dtype), jnp.asarray(functions, dtype)))


def _weights(domain: Grid) -> np.ndarray:
    """Those of the quadrature over the box, as a part of it."""
    weights = np.ones(())
    for points, periodic, kind in zip(domain.shape, domain.periodic, domain.points, strict=True):
        line = Grid(points, 1.0, periodic, points=(kind,), dtype=jnp.float32)
        weights = weights[..., None] * np.asarray(line.integrate(jnp.eye(points, dtype=jnp.float32)), np.float64)
    return weights


def _interpolation(place: Float[Array, " point"], count: int) -> Float[Array, "node point"]:
    """What each of `count` nodes has in the trigonometric interpolant at a place, counted in nodes."""
    modes = np.arange(count // 2 + 1)
    # The highest mode of an even number of nodes is seen as a cosine alone, and stands for itself.
    share = np.where((modes == 0) | (2 * modes == count), 1.0, 2.0) / count
    phases = 2 * np.pi / count * modes[:, None, None] * (place[None] - np.arange(count)[:, None])
    return jnp.einsum("m,mnq->nq", jnp.asarray(share, place.dtype), jnp.cos(phases))
