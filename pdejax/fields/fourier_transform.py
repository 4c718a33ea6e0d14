r"""The transform between the points and the modes of a periodic grid, on one device or cut over many.

Cut, values lie in slabs across the first axis and modes in slabs across the second. On P devices:

    values (N_0 / P, N_1, ...)  -- rfft, fft of all axes but the first, each device by itself
           (N_0 / P, M_1, ...)  -- all-to-all: every device sends to every other the part that goes there
           (N_0, M_1 / P, ...)  -- fft of the first axis
    modes  (N_0, M_1 / P, ...)

M_1 is the number of modes along the second axis, filled up with zeros to a multiple of P. A transform costs one
exchange of the spectrum, and modes stay where it leaves them: whatever acts on each mode by itself needs no word from
another device. (The compiler's own way with an array that is cut is to gather it whole on every device.)

Source: the slab decomposition, e.g. Pekurovsky, SIAM J. Sci. Comput. 34 (2012) C192, section 2.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import PartitionSpec

from pdejax.devices import Devices


@dataclasses.dataclass(frozen=True)
class FourierTransform:
    """Real values `(..., *shape)` to modes `(..., *modes)`, unscaled and in the order of `jnp.fft.rfftn`, and back.

    Under `jax.vmap` what is cut over the axis `data` too stays so with `spmd_axis_name="data"`.

    Raises `ValueError` for a single axis, which cannot be cut, and a first one that does not fit.
    """

    shape: tuple[int, ...]
    devices: Devices | None = None

    def __post_init__(self):
        if self.devices is None or self.devices.space == 1:
            return
        if len(self.shape) == 1:
            raise ValueError(
                f"Fourier transforms are cut across two axes, and a grid of shape {self.shape} has one: use "
                "Devices(data, space=1), or FiniteDifference or FiniteVolume, which need their neighbours alone."
            )
        self.devices.check_points(self.shape[0])

    @property
    def modes(self) -> tuple[int, ...]:
        """How many there are along each axis, with those that fill it up."""
        own = _plain(self.shape)
        if not self.is_cut:
            return own
        assert self.devices is not None
        return (own[0], own[1] + -own[1] % self.devices.space, *own[2:])

    @property
    def is_cut(self) -> bool:
        return self.devices is not None and self.devices.space > 1

    def forward(self, values: Any) -> Any:
        if self.devices is None:
            return jnp.fft.rfftn(values, axes=self._axes)
        return self._on_each(self._to_modes, self._cut(-len(self.shape)), self._cut(1 - len(self.shape)))(values)

    def backward(self, modes: Any) -> Any:
        if self.devices is None:
            return jnp.fft.irfftn(modes, s=self.shape, axes=self._axes)
        return self._on_each(self._to_values, self._cut(1 - len(self.shape)), self._cut(-len(self.shape)))(modes)

    def filled(self, modes: Any) -> Any:
        """`modes` of the plain transform, with zeros where others fill up the second axis."""
        more = self.modes[1] - modes.shape[1 - len(self.shape)] if self.is_cut else 0
        if not more:
            return modes
        widths = [(0, 0)] * modes.ndim
        widths[1 - len(self.shape)] = (0, more)
        return jnp.pad(modes, widths)

    def held(self, modes: Any) -> Any:
        """An array of one number per mode, lying as the modes do."""
        if self.devices is None:
            return modes
        axes = self._cut(1 - len(self.shape))(modes)
        return jax.lax.with_sharding_constraint(modes, jax.sharding.NamedSharding(self.devices.mesh, axes))

    def _to_modes(self, values: Any) -> Any:
        if not self.is_cut:
            return self._straight(lambda u: jnp.fft.rfftn(u, axes=self._axes), values)
        first, second = self._axes[:2]
        modes = self.filled(self._straight(lambda u: jnp.fft.rfftn(u, axes=self._axes[1:]), values))
        modes = jax.lax.all_to_all(modes, "space", modes.ndim + second, modes.ndim + first, tiled=True)
        return jnp.moveaxis(self._straight(jnp.fft.fft, jnp.moveaxis(modes, first, -1)), -1, first)

    def _to_values(self, modes: Any) -> Any:
        if not self.is_cut:
            return self._straight(lambda y: jnp.fft.irfftn(y, s=self.shape, axes=self._axes), modes)
        first, second = self._axes[:2]
        modes = jnp.moveaxis(self._straight(jnp.fft.ifft, jnp.moveaxis(modes, first, -1)), -1, first)
        modes = jax.lax.all_to_all(modes, "space", modes.ndim + first, modes.ndim + second, tiled=True)
        modes = jax.lax.slice_in_dim(modes, 0, _plain(self.shape)[1], axis=modes.ndim + second)
        return self._straight(lambda y: jnp.fft.irfftn(y, s=self.shape[1:], axes=self._axes[1:]), modes)

    def _straight(self, transform: Callable[[Any], Any], array: Any) -> Any:
        """A transform of the last axes whose numbers lie in their order: what gathers its result may want another one,
        which XLA's transform on CPUs then takes over, and fails."""
        if jax.default_backend() != "cpu":
            return transform(array)
        pinned = lambda x: with_layout_constraint(x, Layout(tuple(range(x.ndim))))  # noqa: E731
        return pinned(transform(pinned(array)))

    def _on_each(self, function: Callable[[Any], Any], cut_in: Any, cut_out: Any) -> Callable[[Any], Any]:
        assert self.devices is not None
        mesh = self.devices.mesh
        return lambda array: jax.shard_map(function, mesh=mesh, in_specs=cut_in(array), out_specs=cut_out(array))(array)

    def _cut(self, axis: int) -> Callable[[Any], PartitionSpec]:
        """How an array lies that is cut along this of its last axes."""
        return lambda array: PartitionSpec(*(None,) * (array.ndim + axis), "space") if self.is_cut else PartitionSpec()

    @functools.cached_property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The modes of the plain transform."""
    return (*shape[:-1], shape[-1] // 2 + 1)
