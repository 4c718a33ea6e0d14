"""Many devices as one mesh: batches are cut, space is cut, or weights are."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pdejax.counts import count_of


@dataclasses.dataclass(frozen=True)
class Devices:
    """A mesh of devices with the axes `data` and `space`, of all processes (see `pdejax.join_processes`).

    - `data`: into how many parts every batch is cut; by default as many as there are devices left.
    - `space`: into how many parts the first axis of space is cut, of batches in a fit and of states in a solver
      (`Spectral(grid, devices=...)`, and so finite differences and finite volumes).
    - `shard_weights`: keeps one part of every weight array, its average and what the optimiser knows of it on each
      device of the axis `data`, and gathers it where it is used (fully sharded data parallelism). An array none of
      whose axes `data` divides stays whole.

    What a step of a fit communicates (docs/scaling.md has the volumes, and those of solvers). Data alone: the gradient
    and the loss are summed, one all-reduce each or fewer. Sharded weights: they are gathered besides (all-gather).
    Space: partial sums of the kept Fourier coefficients of a spectral convolution (all-reduce). The data set is held
    whole by every device, and every device draws the same numbers, so the batches are those of a fit on one device, and
    results agree to rounding.

    Raises `ValueError` for more devices than there are, and for numbers below one.
    """

    data: int
    space: int
    shard_weights: bool

    def __init__(self, data: int | None = None, space: int = 1, shard_weights: bool = False):
        space, available = count_of("space", space), len(jax.devices())
        data = max(1, available // space) if data is None else count_of("data", data)
        for name, value in {"data": data, "space": space, "shard_weights": shard_weights}.items():
            object.__setattr__(self, name, value)
        if data * space > available:
            raise ValueError(
                f"Devices(data={data}, space={space}) are {data * space} devices but there are {available}; ask for "
                "fewer, or simulate them on a CPU by XLA_FLAGS=--xla_force_host_platform_device_count="
                f"{data * space}."
            )

    @functools.cached_property
    def mesh(self) -> Mesh:
        count = self.data * self.space
        return Mesh(np.array(jax.devices()[:count]).reshape(self.data, self.space), ("data", "space"))

    def check(self, batch_size: int, points: int | None) -> None:
        """Raises `ValueError` for a batch, or a first axis of space, that cannot be cut into equal parts."""
        if batch_size % self.data:
            below, above = batch_size // self.data * self.data, (batch_size // self.data + 1) * self.data
            fix = f"{below} or {above}" if below else str(above)
            raise ValueError(
                f"batch_size is {batch_size}, which {self.data} devices along `data` do not divide: use {fix}, or "
                "other Devices."
            )
        if points is not None:
            self.check_points(points)

    def check_points(self, points: int) -> None:
        """Raises `ValueError` for a first axis of space that cannot be cut into equal parts."""
        if points % self.space:
            below, above = points // self.space * self.space, (points // self.space + 1) * self.space
            fix = f"{below} or {above}" if below else str(above)
            raise ValueError(
                f"The first axis of space has {points} points, which {self.space} devices along `space` do not "
                f"divide: use {fix} points, or other Devices."
            )

    def placed(self, states: Any, *, batched: bool = False) -> jax.Array:
        """A state `(channel, *space)` with the first axis of space cut over `space`; `batched`: states `(sample,
        channel, *space)`, their first axis cut over `data` besides.

        Every process gives the same array, whole. What no process can hold is made in parts, by
        `jax.jit(function, out_shardings=devices.sharding)`. Raises `ValueError` for sizes that cannot be cut.
        """
        shape = np.shape(states)
        leading = 1 + batched
        if len(shape) <= leading:
            expected = "(sample, channel, *space)" if batched else "(channel, *space)"
            raise ValueError(f"Devices place states of shape {expected}, got {shape}.")
        if batched:
            self.check(shape[0], None)
        self.check_points(shape[leading])
        spec = PartitionSpec("data", None, "space") if batched else PartitionSpec(None, "space")
        return jax.device_put(states, NamedSharding(self.mesh, spec))

    @property
    def sharding(self) -> NamedSharding:
        """How a state `(channel, *space)` lies that is cut over `space`."""
        return NamedSharding(self.mesh, PartitionSpec(None, "space"))

    def alone(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of arrays, computed by every device for itself: of whole states, and with `jax.vmap(...,
        spmd_axis_name="data")` of its own samples. (Fourier transforms of what is cut the compiler would gather.)"""
        whole = PartitionSpec()
        return jax.shard_map(function, mesh=self.mesh, in_specs=whole, out_specs=whole, check_vma=False)

    def whole(self, tree: Any) -> Any:
        """`tree` with every array on every device."""
        sharding = NamedSharding(self.mesh, PartitionSpec())

        def one(leaf: Any) -> Any:
            if not eqx.is_array(leaf):
                return leaf
            if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.device_put(leaf, sharding)
            # Keys themselves are not put on devices of other processes, but their data are.
            data = jax.device_put(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))

        return jax.tree.map(one, tree)

    def gathered(self, tree: Any) -> Any:
        """What is held between the steps, whole on every device, as copies that no later step donates."""
        # One program, waited for: many small ones start in another order in every process, and those of a CPU then
        # wait for each other for ever.
        return jax.block_until_ready(self._gather(tree))

    @functools.cached_property
    def _gather(self) -> Any:
        return jax.jit(
            lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=NamedSharding(self.mesh, PartitionSpec())
        )

    def kept(self, tree: Any) -> Any:
        """`tree` of weights, and of what belongs to them, as it is held between the steps."""
        return jax.tree.map(lambda leaf: jax.device_put(leaf, self._held(leaf)), tree)

    def constrain_kept(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, self._held(leaf)), tree)

    def constrain_whole(self, tree: Any) -> Any:
        sharding = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree)

    def cut(self, arrays: Any, channel_axis: int) -> Any:
        """A batch, its first axis over `data` and that after the channels over `space`."""

        def one(array: jax.Array) -> jax.Array:
            axes = ["data", *(None,) * (array.ndim - 1)]
            if array.ndim > channel_axis + 1:
                axes[channel_axis + 1] = "space"
            return jax.lax.with_sharding_constraint(array, NamedSharding(self.mesh, PartitionSpec(*axes)))

        return jax.tree.map(one, arrays)

    def _held(self, leaf: Any) -> NamedSharding:
        axes: list[str | None] = [None] * jnp.ndim(leaf)
        divisible = [a for a, size in enumerate(jnp.shape(leaf)) if size % self.data == 0 and size >= self.data]
        if self.shard_weights and divisible:
            axes[max(divisible, key=lambda a: jnp.shape(leaf)[a])] = "data"
        return NamedSharding(self.mesh, PartitionSpec(*axes))
