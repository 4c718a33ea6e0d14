"""Trajectories: fields on a grid through time, with what is needed to trust and to use them."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.grid import Grid

if TYPE_CHECKING:
    import xarray


@runtime_checkable
class StoredArray(Protocol):
    """What `Trajectories` asks of a lazily read `u`: the shape now, the values when indexed."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, index: Any, /) -> np.ndarray: ...
    def take(self, samples: Any, /) -> "StoredArray": ...
    def take_channels(self, channels: Sequence[int], /) -> "StoredArray": ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trajectories:
    r"""Fields on a grid through time: `u[sample, time, channel, *space]`.

    - `u`: `(sample, time, channel, *grid.shape)`, a NumPy array, or a file that is read when indexed with integers and
      slices (`u[3, 10:20]`; an array of integers may index the samples). `load()` brings a stored `u` into memory.
    - `grid`: where the values live.
    - `times`: `(time,)`, absolute: a frame at `times[j]` goes on from `t0=times[j]`, and a forcing that depends on time
      is met at the right phase. After a burn-in `times[0]` is not zero; lead times are `times - times[0]`.
    - `names`, `units`: one per channel; a unit may be the empty string.
    - `parameters`: `{name: (sample,)}`, e.g. the viscosity of every trajectory.
    - `provenance`: a JSON-able dict; where the data came from and the measured solver error.

    Where box or time step vary from trajectory to trajectory, `parameters` holds `extent_x`, ... or
    `output_interval`, `grid` and `times` are those of a reference trajectory, and `grid_of(i)` and `times_of(i)` are
    those of trajectory `i`.

    `data[2:5]`, `data[[1, 4]]` and `data[3]` are again `Trajectories`; a stored `u` stays in its file.
    """

    u: np.ndarray | StoredArray
    grid: Grid
    times: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    parameters: dict[str, np.ndarray]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        shape = tuple(self.u.shape)
        if len(shape) != 3 + self.grid.ndim or shape[3:] != self.grid.shape:
            raise ValueError(
                f"Trajectories need u of shape (sample, time, channel, *{self.grid.shape}), got {shape}; one channel "
                "still has a channel axis, u[:, :, None]."
            )
        if not np.issubdtype(self.u.dtype, np.floating):
            raise ValueError(
                f"Trajectories need real floating-point values, got {self.u.dtype}; cast them, and store a complex "
                "field as two real channels."
            )
        if len(self.names) != shape[2] or len(set(self.names)) != shape[2]:
            raise ValueError(f"u has {shape[2]} channels and needs as many distinct names, got {self.names}.")
        if len(self.units) != shape[2]:
            raise ValueError(f"u has {shape[2]} channels and needs as many units, got {self.units}.")
        if self.times.shape != (shape[1],):
            raise ValueError(f"u has {shape[1]} frames but `times` has shape {self.times.shape}.")
        if shape[1] == 0 or not (np.all(np.isfinite(self.times)) and np.all(np.diff(self.times) > 0)):
            raise ValueError("`times` must be finite and increasing, with at least one frame.")
        for name, values in self.parameters.items():
            if not isinstance(name, str):
                raise ValueError(f"A parameter is called by a text, got {name!r}.")
            if values.dtype.kind not in "biuf":
                raise ValueError(
                    f"Parameter {name!r} holds {values.dtype}, e.g. {values.ravel()[:1].tolist()}; a parameter is one "
                    "real number per trajectory, and words go into `provenance`."
                )
            if values.shape != (shape[0],):
                raise ValueError(
                    f"Parameter {name!r} has shape {values.shape}; {shape[0]} trajectories need shape ({shape[0]},)."
                )

    @classmethod
    def from_arrays(
        cls,
        u: Float[Array | np.ndarray, "sample time channel *space"],
        grid: Grid,
        names: Sequence[str],
        times: Any = None,
        *,
        units: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> "Trajectories":
        """Trajectories of one's own.

        - `names`, `units`: one per channel; a single text serves one channel.
        - `times`: `(time,)`, increasing; may be left out when there is one frame.
        - `parameters`: one real number, or one per trajectory, by name.

        Raises `ValueError` for shapes that do not fit together and for values that are not finite.
        """
        if not isinstance(grid, Grid):
            raise TypeError(f"The grid must be a pdejax.Grid(shape, extent), got {grid!r}.")
        u = np.asarray(u)
        if times is None:
            if u.ndim > 1 and u.shape[1] != 1:
                raise ValueError(f"u has {u.shape[1]} frames: say when they were taken, times=(time,).")
            times = [0.0]
        num_samples = u.shape[0] if u.ndim else 0
        names = as_names(names)
        data = cls(
            u=u,
            grid=grid,
            times=np.asarray(times, np.float64),
            names=names,
            units=("",) * len(names) if units is None else as_names(units),
            parameters={
                name: np.array(np.broadcast_to(value, (num_samples,)) if np.ndim(value) == 0 else value)
                for name, value in (parameters or {}).items()
            },
            provenance=dict(provenance or {}),
        )
        for i in range(num_samples):
            frames_are_finite = np.isfinite(u[i]).all(axis=tuple(range(1, u.ndim - 1)))
            if not frames_are_finite.all():
                j = int(np.argmin(frames_are_finite))
                raise ValueError(
                    f"u[{i}] is not finite from frame {j} (t = {data.times[j]:g}) on: leave this trajectory out."
                )
        return data

    def __len__(self) -> int:
        return self.u.shape[0]

    @property
    def num_frames(self) -> int:
        return self.u.shape[1]

    @property
    def num_channels(self) -> int:
        return self.u.shape[2]

    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | np.ndarray) -> "Trajectories":
        """The chosen trajectories. One integer keeps the sample axis, with one entry."""
        if isinstance(index, tuple):
            raise IndexError("Trajectories are indexed by sample alone; frames and channels are those of data.u[...].")
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"trajectory {index} of {len(self)}")
            index = np.asarray([int(index)])
        samples = np.arange(len(self))[index]
        u = self.u[samples] if isinstance(self.u, np.ndarray) else self.u.take(samples)
        chosen = {name: values[samples] for name, values in self.parameters.items()}
        return dataclasses.replace(self, u=u, parameters=chosen)

    def __iter__(self) -> Iterator["Trajectories"]:
        return (self[i] for i in range(len(self)))

    def load(self) -> "Trajectories":
        """The same with `u` in memory."""
        return dataclasses.replace(self, u=np.asarray(self.u[:]))

    def select(self, *names: str) -> "Trajectories":
        """Only the named channels, in the order given."""
        unknown = [name for name in names if name not in self.names]
        if unknown or not names:
            raise ValueError(f"There is no channel {unknown or 'named'}; the channels are {list(self.names)}.")
        channels = [self.names.index(name) for name in names]
        u = self.u[:, :, channels] if isinstance(self.u, np.ndarray) else self.u.take_channels(channels)
        return dataclasses.replace(self, u=u, names=names, units=tuple(self.units[c] for c in channels))

    def rename(self, *names: str) -> "Trajectories":
        """The same channels, in the same order, under other names."""
        return dataclasses.replace(self, names=names)

    def bundled(self, frames: int) -> "Trajectories":
        """Every `frames` consecutive frames as the channels of one, `u@0`, `u@1`, ..., the oldest first.

        For `evaluate`, which then scores a model of such bundles (`pdejax.objectives.Bundled`) at every inner frame.
        The time of a bundle is that of its last frame; frames that fill no bundle at the end are left out.

        Raises `ValueError` for a number below one, and where there are not as many frames.
        """
        frames = count_of("frames", frames)
        count = self.num_frames // frames
        if count == 0:
            raise ValueError(f"A bundle of {frames} frames needs as many, and the trajectories have {self.num_frames}.")
        u = np.asarray(self.u[:])[:, : count * frames]
        parameters = dict(self.parameters)
        if "output_interval" in parameters:
            parameters["output_interval"] = frames * parameters["output_interval"]
        return dataclasses.replace(
            self,
            u=u.reshape(len(self), count, frames * self.num_channels, *self.grid.shape),
            times=self.times[frames - 1 : count * frames : frames],
            names=tuple(f"{name}@{frame}" for frame in range(frames) for name in self.names),
            units=self.units * frames,
            parameters=parameters,
        )

    def grid_of(self, sample: int) -> Grid:
        """The grid of one trajectory; differs from `grid` where `parameters` holds `extent_x`, ... ."""
        extent = list(np.asarray(self.grid.extent))
        for a, name in enumerate(axis_names(self.grid.ndim)):
            if f"extent_{name}" in self.parameters:
                extent[a] = self.parameters[f"extent_{name}"][sample]
        grid = self.grid
        return Grid(grid.shape, np.asarray(extent), grid.periodic, grid.origin, grid.points, grid.dtype)

    def times_of(self, sample: int) -> Float[np.ndarray, " time"]:
        """The times of one trajectory; differ from `times` where `parameters` holds `output_interval`."""
        if "output_interval" not in self.parameters or self.num_frames < 2:
            return self.times
        interval = float(self.parameters["output_interval"][sample])
        # Frames are whole numbers of steps after t = 0, the burn-in included, so all times scale with the step.
        return self.times * (interval / (self.times[1] - self.times[0]))

    def split(
        self, train: int | float, valid: int | float = 0, test: int | float = 0, *, key: PRNGKeyArray | None = None
    ) -> "Split":
        """Whole trajectories for training, validation and testing: no frame of one is ever seen by another.

        Counts (`train=48, valid=8, test=8`) or fractions (`0.8, 0.1, 0.1`). In file order, or shuffled with `key`.

        Raises `ValueError` when they ask for more than there is, or when a fraction comes to no trajectory at all.
        """
        asked = {"train": train, "valid": valid, "test": test}
        counts = _counts(asked, len(self))
        order = np.arange(len(self)) if key is None else np.asarray(jax.random.permutation(key, len(self)))
        ends = np.cumsum(list(counts.values()))
        parts = [order[end - count : end] for end, count in zip(ends, counts.values(), strict=True)]
        return Split(*(self[part] for part in parts))

    def split_by_parameter(
        self,
        name: str,
        *,
        train: tuple[float, float],
        valid: tuple[float, float] | None = None,
        test: tuple[float, float] | None = None,
    ) -> "Split":
        """Trajectories whose parameter lies in closed intervals, e.g. train on some viscosities and test on others.

        `data.split_by_parameter("viscosity", train=(1e-3, 5e-3), test=(6e-3, 1e-2))`. Trajectories in no interval are
        left out.

        Raises `ValueError` for an unknown parameter, an interval without trajectories, and one trajectory in two parts.
        """
        if name not in self.parameters:
            raise ValueError(f"There is no parameter {name!r}; the parameters are {sorted(self.parameters)}.")
        values = self.parameters[name]
        masks = []
        for part, interval in {"train": train, "valid": valid, "test": test}.items():
            mask = np.zeros(len(self), bool) if interval is None else (values >= interval[0]) & (values <= interval[1])
            if interval is not None and not mask.any():
                raise ValueError(
                    f"No trajectory has {name} in {part}={interval}; the values run from {values.min():g} to "
                    f"{values.max():g}."
                )
            masks.append(mask)
        if (shared := np.sum(masks, axis=0) > 1).any():
            raise ValueError(f"{name} = {values[shared][0]:g} lies in two parts of the split: the intervals overlap.")
        return Split(*(self[np.flatnonzero(mask)] for mask in masks))

    def to_xarray(self) -> "xarray.Dataset":
        """An `xarray.Dataset`: one variable per channel, (sample, time, x, ...), and one per parameter."""
        import xarray  # it takes half a second to import, and few runs need it

        axes = axis_names(self.grid.ndim)
        u = np.asarray(self.u[:])
        variables: dict[str, Any] = {
            name: (("sample", "time", *axes), u[:, :, c], {"units": self.units[c]}) for c, name in enumerate(self.names)
        }
        variables |= {name: (("sample",), values) for name, values in self.parameters.items()}
        coordinates = {"time": self.times}
        coordinates |= {name: np.asarray(axis) for name, axis in zip(axes, self.grid.axes, strict=True)}
        return xarray.Dataset(variables, coords=coordinates, attrs={"provenance": json.dumps(self.provenance)})

    def __repr__(self) -> str:
        channels = [f"{n} [{unit}]" if unit else n for n, unit in zip(self.names, self.units, strict=True)]
        where = "in memory" if isinstance(self.u, np.ndarray) else f"in {self.u}"
        lines = [
            f"Trajectories: {len(self)} x {self.num_frames} frames, t = {self.times[0]:g} .. {self.times[-1]:g}",
            f"  channels    {', '.join(channels)}",
            f"  grid        {self.grid.shape}, extent {tuple(float(f'{x:.6g}') for x in self.grid.extent)}, "
            f"periodic {self.grid.periodic}",
            f"  values      {np.dtype(self.u.dtype).name} {tuple(self.u.shape)}, {where}",
        ]
        for name, values in self.parameters.items():
            spread = "" if len(self) == 0 else f"{values.min():g}"
            if len(self) and values.min() != values.max():
                spread += f" .. {values.max():g}"
            lines.append(f"  {name:<11} {spread}")
        error = self.provenance.get("solver_error_one_interval")
        if error is not None:
            part = self.provenance.get("solver_error_part")
            lines.append(
                f"  solver      relative error {error:.1e} after one output interval{f', {part}' if part else ''}"
            )
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Split:
    """Three disjoint sets of trajectories."""

    train: Trajectories
    valid: Trajectories
    test: Trajectories

    def __iter__(self) -> Iterator[Trajectories]:
        return iter((self.train, self.valid, self.test))

    def __repr__(self) -> str:
        return f"Split(train={len(self.train)}, valid={len(self.valid)}, test={len(self.test)} trajectories)"


def layout_names(ndim: int) -> tuple[str, ...]:
    """The parameters that say where and when a trajectory lives, where that differs: interval and extents."""
    return ("output_interval", *(f"extent_{name}" for name in axis_names(ndim)))


def as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name, or several: a single text is one, and not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def axis_names(ndim: int) -> tuple[str, ...]:
    """The names of the axes of a box: x, y, z, and x1, x2, ... beyond three dimensions."""
    return ("x", "y", "z")[:ndim] if ndim <= 3 else tuple(f"x{a + 1}" for a in range(ndim))


def _counts(asked: Mapping[str, int | float], total: int) -> dict[str, int]:
    whole = {name: isinstance(value, int | np.integer) for name, value in asked.items()}
    given = {name: value for name, value in asked.items() if value != 0}
    if any(value < 0 for value in asked.values()) or "train" not in given:
        raise ValueError(f"split needs train > 0 and no negative part, got {dict(asked)}.")
    if all(whole[name] for name in given):
        counts = {name: int(value) for name, value in asked.items()}
    elif any(whole[name] for name in given):
        raise ValueError(f"split takes counts (48, 8, 8) or fractions (0.8, 0.1, 0.1), not a mixture: {dict(asked)}.")
    else:
        # Rounding the running sum, not each part, makes 0.8 + 0.1 + 0.1 use every trajectory exactly once.
        ends = [round(end * total) for end in np.cumsum(list(asked.values()))]
        counts = dict(zip(asked, np.diff([0, *ends]).tolist(), strict=True))
        if empty := [name for name in given if counts[name] == 0]:
            raise ValueError(
                f"{empty[0]}={asked[empty[0]]} of {total} trajectories is not even one: ask for a count instead."
            )
    if sum(counts.values()) > total:
        raise ValueError(f"split asks for {counts}, {sum(counts.values())} trajectories in all; there are {total}.")
    return counts
