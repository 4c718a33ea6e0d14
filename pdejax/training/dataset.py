"""Small data sets on the device: windows of trajectories or pairs, drawn inside a compiled step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from pdejax.data import Split
from pdejax.data.pairs import pair_arrays
from pdejax.models import Normalised
from pdejax.training.objectives import Pairs, Windows


class DeviceData(eqx.Module):
    """Trajectories `u (sample, time, channel, *space)`, or pairs; window i of trajectories starts at frame
    `i % starts` of sample `i // starts`, where `starts` is the number of windows that one trajectory holds.

    `interval` is the time from frame to frame; None where it is not the same for all or not known. `times` are those of
    the frames; None for pairs."""

    arrays: tuple[Array, ...]
    parameters: dict[str, Array]
    domain: Any
    frames: int | None = eqx.field(static=True)
    interval: float | None = eqx.field(static=True, default=1.0)
    times: Any = None

    @property
    def starts(self) -> int:
        return 1 if self.frames is None else self.arrays[0].shape[1] - self.frames + 1

    @property
    def points(self) -> int | None:
        """Of the first axis of space, where there is one."""
        array = self.arrays[0]
        leading = 2 if self.frames is None else 3
        return array.shape[leading] if array.ndim > leading else None

    @property
    def num_windows(self) -> int:
        return self.arrays[0].shape[0] * self.starts


def sample_batch(data: DeviceData, size: int, key: PRNGKeyArray) -> Windows | Pairs:
    """One window at random from each of `size` stretches of equal length that begin at a random offset.

    The stretches differ by one in length when `size` does not divide the number of windows; the offset makes every
    window equally likely all the same. A batch of all windows holds them in their order, the same in every step.
    """
    total = data.num_windows
    if size == total:
        # Line searches and quasi-Newton methods compare one step with the next: not even the rounding should differ.
        return batch_at(data, jnp.arange(total, dtype=jnp.int32))
    offset_key, window_key = jax.random.split(key)
    bounds = jnp.asarray([j * total // size for j in range(size + 1)], jnp.int32)
    chosen = jax.random.randint(window_key, (size,), bounds[:-1], bounds[1:])
    return batch_at(data, (chosen + jax.random.randint(offset_key, (), 0, total)) % total)


def batch_at(data: DeviceData, index: Int[Array, " batch"]) -> Windows | Pairs:
    """The windows (or pairs) of the given numbers."""
    if data.frames is None:
        inputs, targets = data.arrays
        return Pairs(inputs[index], targets[index], {name: values[index] for name, values in data.parameters.items()})
    sample, start = index // data.starts, index % data.starts
    (u,) = data.arrays
    frames = start[:, None] + jnp.arange(data.frames)
    parameters = {name: values[sample] for name, values in data.parameters.items()}
    time = jnp.zeros(()) if data.times is None else data.times[start]
    if "output_interval" in parameters and data.interval:
        # The times are those of a reference trajectory; all times of another one scale with its interval.
        time = time * (parameters["output_interval"] / data.interval)
    return Windows(u[sample[:, None], frames], parameters, data.domain, interval=data.interval, time=time)


def device_data(what: str, data: Any, frames: int | None, batch_size: int, model: Any, bundle: int = 1) -> DeviceData:
    """Checks `data` against the objective, the batch and the model, and puts it on the device.

    `bundle` is how many frames one state of the model holds.

    Raises `ValueError` naming what does not fit, and how to mend it.
    """
    if isinstance(data, tuple | list):
        placed = _pairs(what, data, frames)
        channels = {"in_channels": placed.arrays[0].shape[1], "out_channels": placed.arrays[1].shape[1]}
    else:
        placed = _trajectories(what, data, frames)
        channels = dict.fromkeys(("in_channels", "out_channels"), bundle * placed.arrays[0].shape[2])
    network = model.model if isinstance(model, Normalised) else model
    _check_axes(what, placed, network)
    for name, count in channels.items():
        expected = getattr(network, name, count)
        if expected != count:
            raise ValueError(
                f"The model has {name}={expected} but `{what}` has {count} channels"
                f"{f', those of {bundle} frames' if bundle > 1 else ''}: build it with {count}."
            )
    if batch_size > placed.num_windows:
        kind = "pairs" if frames is None else f"windows of {frames} frames"
        raise ValueError(
            f"batch_size is {batch_size} but `{what}` holds {placed.num_windows} {kind}; use batch_size <= "
            f"{placed.num_windows}."
        )
    return placed


def _check_axes(what: str, data: DeviceData, network: Any) -> None:
    """Asked before the channels: an axis of points in the place of the channels is no wrong number of channels."""
    if (ndim := getattr(network, "ndim", None)) is None:
        return
    leading = "(sample, channel, *space)" if data.frames is None else "(sample, time, channel, *space)"
    for array in data.arrays:
        axes = array.ndim - leading.count(",")
        if axes == ndim:
            continue
        fix = "add the channel axis, x[:, None]" if axes == ndim - 1 and data.frames is None else f"build it for {axes}"
        raise ValueError(
            f"The model has ndim={ndim} but `{what}`, {leading}, has shape {array.shape}: {fix}, or pass other data."
        )


def _pairs(what: str, data: Any, frames: int | None) -> DeviceData:
    if frames is not None:
        raise ValueError(f"This objective needs trajectories but `{what}` is a pair of arrays; use Supervised().")
    given = pair_arrays(what, data)
    arrays = tuple(_as_floats(each) for each in given[:2])
    parameters = {name: _as_floats(values) for name, values in given.parameters.items()}
    for name, array in zip(("inputs", "targets"), arrays, strict=True):
        _check_finite(f"The {name} of `{what}`", array, 1)
    for name, values in parameters.items():
        _check_finite(f"The parameter {name!r} of `{what}`", values, 1)
    return DeviceData(arrays, parameters, None, None)


def _trajectories(what: str, data: Any, frames: int | None) -> DeviceData:
    if isinstance(data, Split):
        part = "valid" if what == "valid" else "train"
        raise ValueError(f"`{what}` is a Split, all three parts of the data: pass split.{part} (Trajectories).")
    if not hasattr(data, "u"):
        raise ValueError(
            f"`{what}` is a {type(data).__name__}: pass Trajectories, e.g. split.train or "
            "Trajectories.from_arrays(u, grid, names), or for Supervised() a pair of arrays (inputs, targets)."
        )
    if frames is None:
        raise ValueError(f"Supervised() needs a pair of arrays but `{what}` is {type(data).__name__}; use OneStep().")
    # A stored array is read here, whole.
    u = np.asarray(data.u[:])
    if u.shape[1] < frames:
        raise ValueError(
            f"The objective needs {frames} consecutive frames but the trajectories of `{what}` have {u.shape[1]}; use "
            "a shorter horizon or longer trajectories."
        )
    # As the device holds them: in single precision a number may be too large.
    with np.errstate(over="ignore"):
        states = jnp.asarray(u)
    _check_finite(f"The states of `{what}`", states, 2)
    parameters = {name: jnp.asarray(values) for name, values in data.parameters.items()}
    times = np.asarray(getattr(data, "times", np.arange(u.shape[1])), float)
    return DeviceData((states,), parameters, data.grid, frames, _interval(data), jnp.asarray(times))


def _as_floats(array: Any) -> Array:
    """Whole numbers and truth values, too: a network that was given them would return them."""
    array = jnp.asarray(array)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def _interval(data: Any) -> float | None:
    """The time from frame to frame, where it is the same for all to 1e-4; 1 for data that state no times, None where
    there is one frame alone."""
    if not hasattr(data, "times"):
        return 1.0
    times = np.asarray(data.times, np.float64)
    if len(times) < 2:
        return None
    steps = np.diff(times)
    mean = float(steps.mean())
    # Times that were stored in single precision are rounded, and late ones more than the steps between them.
    tolerance = 1e-4 * mean + 4 * float(np.finfo(np.float32).eps) * float(np.max(np.abs(times)))
    # Where rounding hides the steps themselves, nobody knows.
    tolerance = min(tolerance, 0.1 * mean)
    return mean if np.all(np.abs(steps - mean) <= tolerance) else None


def _check_finite(what: str, array: Any, leading: int) -> None:
    for sample, values in enumerate(np.asarray(array)):
        finite = np.isfinite(values).reshape(*values.shape[: leading - 1], -1).all(axis=-1)
        if not finite.all():
            frame = f", frame {int(np.argmin(finite))}" if leading == 2 else ""
            raise ValueError(f"{what} have a value that is not finite in sample {sample}{frame}: leave it out.")
