"""A reading by points or cells over many devices: each computes its own part, in a block that reaches beyond it.

The first axis is cut into equal parts. For a rate that depends on `reach` points to either side, a device takes these
from its neighbours (its halo), reads its part and the halo like a box of its own, and drops the rates of the halo: one
exchange for each rate, and not one for each derivative. At the ends of a block something is read as if a wall were
there, or the other end; that goes no further than the halo. Beside a wall a block begins or ends there, and its other
side is filled up, with the halo once more, to the size of all blocks; nothing that is kept depends on the filling.
Conditions are read at the ends of all blocks, and kept where they hold.

(Left to the compiler, periodic stencils move halos too, in many small messages, but next to walls the whole array.)
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from pdejax.boundary import AntiPeriodic
from pdejax.devices import Devices
from pdejax.grid import Grid
from pdejax.sides import Walls


class BlockGrid(Grid):
    """`num_points` points in a row of the first axis of `box`, from `start` on; around a periodic axis they go on from
    its other end. Spacing and coordinates are those of the box, to the last digit."""

    whole: Grid
    start: Int[Array, ""]

    def __init__(self, box: Grid, start: Int[Array, ""], num_points: int):
        self.whole, self.start = box, start
        self.shape = (num_points, *box.shape[1:])
        self.extent, self.origin, self.dtype = box.extent, box.origin, box.dtype
        self.periodic, self.points = box.periodic, box.points

    @property
    def box(self) -> Grid:
        return self.whole

    def mean_spacing(self, axis: int) -> Float[Array, ""]:
        return self.box.mean_spacing(axis)

    @property
    def axes(self) -> tuple[Float[Array, " points"], ...]:
        first, *others = self.box.axes
        # Around a periodic axis from the end on to the start; between walls what is beyond is filling.
        return (first[(self.start + jnp.arange(self.shape[0])) % self.box.shape[0]], *others)


def check_blocks(grid: Grid, walls: Walls, devices: Devices | None) -> None:
    """Raises `ValueError` where a reading of points or cells cannot be cut over these devices."""
    if devices is None or devices.space == 1:
        return
    devices.check_points(grid.shape[0])
    if not grid.is_uniform[0]:
        raise ValueError(
            "Over many devices the points of the first axis, which is cut, are equally far apart: stretch another "
            "axis, or use Devices(data, space=1)."
        )
    if any(isinstance(sides[0], AntiPeriodic) for sides in walls.by_component.values()):
        raise ValueError(
            "Over many devices the first axis, which is cut, has walls or is periodic, and here it is anti-periodic: "
            "let another axis be, or use Devices(data, space=1)."
        )
    if not walls.fit_every_resolution:
        raise ValueError(
            "Over many devices the data of a wall are numbers or functions of (x, t): an array has an entry for each "
            "point, and a device sees its own points alone."
        )


def is_whole(reading: Any) -> bool:
    """Whether a reading computes on one device, or is that of a block already."""
    return reading.devices is None or reading.devices.space == 1 or isinstance(reading.grid, BlockGrid)


def on_blocks(
    reading: Any, function: Callable[[Any, Array], Array], u: Float[Array, "channel *space"], reach: int
) -> Array:
    """`function(reading, u)`, of which each value depends on no point more than `reach` away along the first axis; its
    last axes are those of space.

    Raises `ValueError` for parts that are shorter than what is taken from one of them.
    """
    devices, grid = reading.devices, reading.grid
    part, has_walls = grid.shape[0] // devices.space, not grid.periodic[0]
    if part < reach:
        most = grid.shape[0] // reach
        raise ValueError(
            f"{devices.space} devices along `space` have {part} of the {grid.shape[0]} points of the first axis each, "
            f"and their neighbours need {reach} of these: use no more than {most} devices, or more points."
        )

    def one(u: Array) -> Array:
        index = jax.lax.axis_index("space")
        block, offset = _with_halo(u, u.ndim - grid.ndim, index, reach, devices.space, has_walls)
        start = index * part - offset
        rates = function(_of_block(reading, start, part + 2 * reach), block)
        return jax.lax.dynamic_slice_in_dim(rates, offset, part, axis=rates.ndim - grid.ndim)

    cut = lambda ndim: PartitionSpec(*(None,) * (ndim - grid.ndim), "space")  # noqa: E731
    shape = jax.ShapeDtypeStruct((*u.shape[: -grid.ndim], part + 2 * reach, *grid.shape[1:]), u.dtype)
    start = jnp.zeros((), int)
    ndim = jax.eval_shape(lambda v: function(_of_block(reading, start, v.shape[-grid.ndim]), v), shape).ndim
    return jax.shard_map(one, mesh=devices.mesh, in_specs=cut(u.ndim), out_specs=cut(ndim))(u)


def _of_block(reading: Any, start: Int[Array, ""], num_points: int) -> Any:
    return eqx.tree_at(lambda r: r.grid, reading, BlockGrid(reading.grid, start, num_points))


def _with_halo(
    u: Array, along: int, index: Int[Array, ""], reach: int, count: int, has_walls: bool
) -> tuple[Array, Int[Array, ""]]:
    """The block of one device, and where its own part starts in there."""
    part = u.shape[along]
    taken = lambda start: jax.lax.slice_in_dim(u, start, start + reach, axis=along)  # noqa: E731
    sent = lambda start, pairs: jax.lax.ppermute(taken(start), "space", pairs)  # noqa: E731
    ring = [(i, (i + 1) % count) for i in range(count)]
    if not has_walls:
        below = sent(part - reach, ring)
        above = sent(0, [(b, a) for a, b in ring])
        return jnp.concatenate([below, u, above], along), jnp.asarray(reach, index.dtype)
    upwards = ring[:-1]
    below = sent(part - reach, upwards)
    above = sent(0, [(b, a) for a, b in upwards])
    is_first, is_last = index == 0, index == count - 1
    inside = jnp.concatenate([below, u, above], along)
    first = jnp.concatenate([u, above, above], along)
    last = jnp.concatenate([below, below, u], along)
    block = jnp.where(is_first, first, jnp.where(is_last, last, inside))
    return block, jnp.where(is_first, 0, jnp.where(is_last, 2 * reach, reach)).astype(index.dtype)
