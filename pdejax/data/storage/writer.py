"""Writing The Well's HDF5 layout, block by block; the layout itself is described in `pdejax.data.storage.well`."""

import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from pdejax.data.storage.coordinates import grid_to_json
from pdejax.data.storage.stored import HDF5
from pdejax.data.trajectories import as_names, axis_names
from pdejax.grid import Grid

Vectors = Mapping[str, Sequence[str]]

_ATTRIBUTES = (
    "dataset_name",
    "grid_type",
    "n_spatial_dims",
    "n_trajectories",
    "simulation_parameters",
    "equation",
    "provenance",
    "pdejax",
)


class WellWriter:
    """Writes trajectories block by block; the file gets its name when it is whole.

    with WellWriter("data/train/flow.hdf5", grid, names, times, num_samples=64) as writer:
        for start, block in blocks:                 # (some samples, time, channel, *grid.shape)
            writer.write(start, block)
        writer.finish(parameters=..., provenance=...)

    Until `finish` has returned, the samples lie in a hidden file beside it, which an error removes. A file that had the
    name before stays as it was until then.

    Raises `ValueError` for a suffix that `the_well` does not look for, points stretched by a function of your own, and
    for a `finish` before all is written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        names: Sequence[str],
        times: Float[np.ndarray, " time"],
        *,
        num_samples: int,
        dtype: Any = np.float32,
        units: Sequence[str] | None = None,
        vectors: Vectors | None = None,
        dataset_name: str | None = None,
    ):
        self.path = Path(path)
        if self.path.suffix not in (".hdf5", ".h5"):
            raise ValueError(f"{self.path.name}: name the file *.hdf5 or *.h5, readers of The Well look for these.")
        grid_to_json(grid)  # what cannot be described should be refused before anything is solved
        self.grid, self.names, self.times = grid, as_names(names), np.asarray(times, np.float64)
        self.units = ("",) * len(self.names) if units is None else as_names(units)
        self.num_samples, self.num_written = num_samples, 0
        self.dataset_name = self.path.stem if dataset_name is None else dataset_name
        self.fields = _fields_of(self.names, grid.ndim, vectors)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._file: HDF5 = h5py.File(self._partial, "w")
        try:
            for field in self.fields:
                shape = (num_samples, len(self.times), *grid.shape, *(grid.ndim,) * field.order)
                # Contiguous and uncompressed: it is read fastest, and smooth float32 fields hardly compress.
                dataset = self._file.require_group(f"t{field.order}_fields").create_dataset(field.name, shape, dtype)
                dataset.attrs.update(sample_varying=True, time_varying=True, dim_varying=[True] * grid.ndim)
                if unit := self.units[field.channels[0]]:
                    dataset.attrs["units"] = unit
        except BaseException:
            self.discard()
            raise

    def write(self, start: int, block: Float[np.ndarray, "sample time channel *space"]) -> None:
        """Stores samples `start, start + 1, ...`; blocks come in order and without gaps."""
        expected = (len(self.times), len(self.names), *self.grid.shape)
        if start != self.num_written or start + len(block) > self.num_samples or block.shape[1:] != expected:
            raise ValueError(
                f"{self.path.name} holds {self.num_samples} samples of shape {expected}, of which {self.num_written} "
                f"are written; it cannot take {block.shape} at sample {start}."
            )
        for field in self.fields:
            dataset = self._file[field.dataset]
            components = block[:, :, field.channels]
            if field.order == 0:
                dataset[start : start + len(block)] = components[:, :, 0]
            else:
                inner = np.moveaxis(components, 2, -1)
                dataset[start : start + len(block)] = inner.reshape(*inner.shape[:-1], *(self.grid.ndim,) * field.order)
        self.num_written += len(block)

    def finish(
        self, parameters: Mapping[str, np.ndarray] | None = None, provenance: Mapping[str, Any] | None = None
    ) -> None:
        """Writes all that is no field, and gives the file its name."""
        if self.num_written != self.num_samples:
            raise ValueError(f"{self.path.name}: {self.num_written} of {self.num_samples} samples are written.")
        parameters, provenance = dict(parameters or {}), dict(provenance or {})
        attributes: dict[str, Any] = {
            "dataset_name": self.dataset_name,
            "grid_type": "cartesian",
            "n_spatial_dims": self.grid.ndim,
            "n_trajectories": self.num_samples,
            "equation": str(provenance.get("equation", "")),
            "provenance": _as_json(provenance),
            "pdejax": json.dumps(
                {
                    "grid": grid_to_json(self.grid),
                    "times": self.times.tolist(),
                    "channels": {self.names[c]: stored for field in self.fields for c, stored in field.components()},
                    "names": self.names,
                    "units": self.units,
                }
            ),
        }
        self._write_parameters(parameters, attributes)
        self._write_dimensions(parameters)
        self._write_boundaries()
        for order in range(3):
            group = self._file.require_group(f"t{order}_fields")
            group.attrs["field_names"] = _strings(field.name for field in self.fields if field.order == order)
        self._file.attrs.update(attributes)
        self._file.flush()
        self._file.close()
        _to_disk(self._partial)
        os.replace(self._partial, self.path)

    def discard(self) -> None:
        """Removes what is not finished."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> "WellWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()  # after `finish` there is nothing left under this name

    def _write_parameters(self, parameters: Mapping[str, np.ndarray], attributes: dict[str, Any]) -> None:
        check_parameter_names(parameters)
        group = self._file.create_group("scalars")
        group.attrs["field_names"] = _strings(parameters)
        attributes["simulation_parameters"] = _strings(parameters)
        for name, values in parameters.items():
            values = np.asarray(values)
            if values.shape != (self.num_samples,) or values.dtype.kind not in "biuf":
                raise ValueError(
                    f"Parameter {name!r} has shape {values.shape} and type {values.dtype}; a file of "
                    f"{self.num_samples} trajectories takes ({self.num_samples},) real numbers."
                )
            varies = len(values) == 0 or bool(np.any(values != values[0]))
            dataset = group.create_dataset(name, data=values if varies else values[0])
            dataset.attrs.update(sample_varying=varies, time_varying=False)
            # An attribute holds 64 kB; the values of more trajectories are in /scalars alone.
            attributes[name] = (values if values.nbytes < 32768 else values[:1]) if varies else values[0]

    def _write_dimensions(self, parameters: Mapping[str, np.ndarray]) -> None:
        group = self._file.create_group("dimensions")
        axes = axis_names(self.grid.ndim)
        group.attrs["spatial_dims"] = _strings(axes)
        times = self.times
        if varies := "output_interval" in parameters and len(times) > 1:
            times = times * (np.asarray(parameters["output_interval"])[:, None] / (times[1] - times[0]))
        # Float32 is what readers of The Well expect to stack with fields; the exact numbers are in `pdejax`.
        time = group.create_dataset("time", data=times.astype(np.float32))
        time.attrs.update(sample_varying=varies, time_varying=True)
        for a, name in enumerate(axes):
            points = np.asarray(self.grid.axes[a])
            if varies := f"extent_{name}" in parameters:
                fraction = (points - float(self.grid.origin[a])) / float(self.grid.extent[a])
                points = float(self.grid.origin[a]) + fraction * np.asarray(parameters[f"extent_{name}"])[:, None]
            dataset = group.create_dataset(name, data=points.astype(np.float32))
            dataset.attrs.update(sample_varying=varies, time_varying=False)

    def _write_boundaries(self) -> None:
        group = self._file.create_group("boundary_conditions")
        for a, name in enumerate(axis_names(self.grid.ndim)):
            kind = "periodic" if self.grid.periodic[a] else "wall"
            boundary = group.create_group(f"{name}_{kind}")
            boundary.attrs.update(
                bc_type=kind.upper(),
                associated_dims=_strings([name]),
                associated_fields=_strings([]),
                sample_varying=False,
                time_varying=False,
            )
            mask = np.zeros(self.grid.shape[a], bool)
            mask[[0, -1]] = True
            boundary.create_dataset("mask", data=mask)


def check_parameter_names(names: Iterable[str]) -> None:
    """Raises `ValueError` for what is no text, and for one that would take the place of another entry of the file."""
    for name in names:
        if not isinstance(name, str) or name in _ATTRIBUTES or not name or "/" in name or name == ".":
            raise ValueError(
                f"A parameter cannot be called {name!r} in a file, which uses some names itself and the slash for "
                "folders: rename it."
            )


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises `ValueError` when there is such a file, unless it may be replaced."""
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already: choose another path, or replace it with overwrite=True.")


def component_names(axes: Sequence[str], order: int) -> list[str]:
    """`x, y` for vectors, `xx, xy, yx, yy` for tensors."""
    return ["".join(letters) for letters in itertools.product(axes, repeat=order)]


@dataclasses.dataclass(frozen=True)
class _Field:
    """A field of the file: a scalar, vector or tensor made of the channels `channels`."""

    name: str
    order: int
    channels: tuple[int, ...]
    stored_names: tuple[str, ...]

    @property
    def dataset(self) -> str:
        return f"t{self.order}_fields/{self.name}"

    def components(self) -> list[tuple[int, str]]:
        """Each channel with the name that readers of The Well give it."""
        return list(zip(self.channels, self.stored_names, strict=True))


def _fields_of(names: tuple[str, ...], ndim: int, vectors: Vectors | None) -> list[_Field]:
    """Groups channels into fields: by `vectors` where it is given, otherwise by the endings `_x`, `_y`, ..."""
    for name in names:
        if not name or "/" in name or name == ".":
            raise ValueError(f"{name!r} cannot be the name of a field in a file; use letters, digits and underscores.")
    fields, grouped = [], set()
    for order in (2, 1):
        endings = component_names(axis_names(ndim), order)
        if vectors is None and ndim == 1:
            groups = {}  # on a line `u_x` is a scalar, or a derivative
        elif vectors is None:
            found = {name[: -len(endings[0]) - 1] for name in names if name.endswith(f"_{endings[0]}")}
            groups = {stem: tuple(f"{stem}_{ending}" for ending in endings) for stem in sorted(found) if stem}
            groups = {stem: g for stem, g in groups.items() if grouped.isdisjoint(g) and set(g) <= set(names)}
        else:
            groups = {stem: tuple(group) for stem, group in vectors.items() if len(group) == len(endings)}
        for stem, group in groups.items():
            if missing := [name for name in group if name not in names]:
                raise ValueError(f"vectors: {stem!r} names the channel {missing[0]!r}; the channels are {list(names)}.")
            stored = tuple(f"{stem}_{ending}" for ending in endings)
            fields.append(_Field(stem, order, tuple(names.index(name) for name in group), stored))
            grouped.update(group)
        if vectors is not None and ndim == 1:
            break  # one component is a vector on a line, not a tensor
    for stem, group in (vectors or {}).items():
        if len(group) not in (ndim, ndim * ndim):
            raise ValueError(f"vectors: {stem!r} has {len(group)} components; a vector here has {ndim}.")
    fields += [_Field(name, 0, (c,), (name,)) for c, name in enumerate(names) if name not in grouped]
    stored = [name for field in fields for name in field.stored_names]
    if len(set(stored)) != len(names):
        raise ValueError(f"The fields {sorted(field.name for field in fields)} use a channel or a name twice.")
    return fields


def _as_json(provenance: Mapping[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise ValueError(
            f"The provenance holds a {type(value).__name__}, {value!r}; a file stores numbers, texts, lists and dicts."
        )

    return json.dumps(provenance, default=plain)


def _strings(names: Iterable[str]) -> np.ndarray:
    return np.asarray(list(names), dtype=h5py.string_dtype())


def _to_disk(path: Path) -> None:
    # Renaming before the bytes are on disk could leave an empty file under the final name after a power cut.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
