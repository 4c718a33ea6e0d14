"""The native file: HDF5 in the layout of The Well, which `the_well` reads and whose files are read here.

    attributes            dataset_name, grid_type, n_spatial_dims, n_trajectories, simulation_parameters, equation,
                          provenance (JSON), pdejax (JSON: what the layout has no place for, so that reading is exact)
    dimensions/           time, x, y, ...
    boundary_conditions/  x_periodic, y_wall, ...
    scalars/              one per parameter, () or (sample,)
    t0_fields/            scalar fields  (sample, time, *space)
    t1_fields/            vector fields  (sample, time, *space, ndim)
    t2_fields/            tensor fields  (sample, time, *space, ndim, ndim)

A vector field is a set of channels. Which channels form one is said by `vectors={"velocity": ("u", "v")}`, or by their
names: on a plane, `velocity_x` and `velocity_y` are the vector `velocity`. Everything else is a scalar field.
"""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pdejax.data.storage.coordinates import read_grid, read_times, text_attribute
from pdejax.data.storage.stored import HDF5, StoredChannel, StoredFields, open_hdf5
from pdejax.data.storage.writer import Vectors, WellWriter, component_names, refuse_existing
from pdejax.data.trajectories import Trajectories
from pdejax.grid import Grid


def write_well(
    data: Trajectories,
    path: str | os.PathLike[str],
    *,
    vectors: Vectors | None = None,
    dataset_name: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes `data` to one file in The Well's layout; returns its path. See `WellWriter` for what can fail.

    Raises `ValueError` for a file that exists, unless `overwrite` is set: then it stays as it is until the new one is
    whole.

    For `the_well.data.WellDataset(path=base)` put it under `base/data/train/`, `base/data/valid/` or `base/data/test/`.
    """
    refuse_existing(Path(path), overwrite)
    with WellWriter(
        path,
        data.grid,
        data.names,
        data.times,
        num_samples=len(data),
        dtype=data.u.dtype,
        units=data.units,
        vectors=vectors,
        dataset_name=dataset_name,
    ) as writer:
        for i in range(len(data)):  # one at a time: `data` may be a file larger than memory
            writer.write(i, np.asarray(data.u[i : i + 1]))
        writer.finish(data.parameters, data.provenance)
    return Path(path)


def read_well(
    path: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    *,
    grid: Grid | None = None,
    lazy: bool = True,
) -> Trajectories:
    """Reads a file in The Well's layout, one's own or another's.

    - `names`: the channels wanted, in this order; a vector field stands for its components. Default: all, in the order
      of writing, or scalars, vectors, tensors in files of others. Components are called `velocity_x`, ...
    - `grid`: where the values live, for files whose coordinates are not those of a uniform box.
    - `lazy`: `u` stays in the file until it is indexed; otherwise it is read at once.

    Fields that do not vary in sample, time or along an axis are repeated. Scalars become `parameters`; scalars that
    vary in time are named in the provenance and not read. In files of others, the extent of a periodic axis is N h, an
    axis with walls has its points on nodes or centres, whichever puts the walls at rounder numbers, and coordinates in
    float32 are taken as the rounder number or fraction of pi that they stand for.

    Raises `ValueError` for a file that is missing, truncated, or not of this layout, for unknown names, and for
    coordinates that no uniform box has; `OSError` is never passed on.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        _check_layout(path, file)
        layout = json.loads(file.attrs["pdejax"]) if "pdejax" in file.attrs else {}
        channels = _channels(path, file, layout)
        chosen = _choose(path, channels, names)
        num_samples = int(file.attrs["n_trajectories"])
        parameters, varying = _read_parameters(path, file, num_samples)
        times, intervals = read_times(path, file, layout)
        if grid is None:
            grid, extents = read_grid(path, file, layout)
            parameters = {**{name: v for name, v in extents.items() if name not in parameters}, **parameters}
        if intervals is not None and "output_interval" not in parameters:
            parameters["output_interval"] = intervals
        u = StoredFields(
            path=path.resolve(),
            channels=tuple(channels[name] for name in chosen),
            samples=np.arange(num_samples),
            num_frames=len(times),
            space=_space(file),
            dtype=np.result_type(*(file[channels[name].dataset].dtype for name in chosen)),
        )
        if u.space != grid.shape:
            raise ValueError(f"{path}: the fields have {u.space} points but the grid has {grid.shape}.")
        provenance = _read_provenance(file, varying)
    units = dict(zip(layout.get("names", ()), layout.get("units", ()), strict=True))
    data = Trajectories(
        u=u,
        grid=grid,
        times=times,
        names=chosen,
        units=tuple(units.get(name, "") for name in chosen),
        parameters=parameters,
        provenance=provenance,
    )
    return data if lazy else data.load()


def _check_layout(path: Path, file: HDF5) -> None:
    missing = [f"attribute {name}" for name in ("n_spatial_dims", "n_trajectories") if name not in file.attrs]
    groups = ("dimensions", "boundary_conditions", "scalars", "t0_fields", "t1_fields", "t2_fields")
    missing += [f"group {name}" for name in groups if not isinstance(file.get(name), h5py.Group)]
    if not missing:
        listed = [("dimensions", "spatial_dims"), *((name, "field_names") for name in groups[2:])]
        missing += [f"attribute {name} of {group}" for group, name in listed if name not in file[group].attrs]
    if not missing:
        inside = [
            "dimensions/time",
            *(f"dimensions/{axis}" for axis in text_attribute(file["dimensions"], "spatial_dims")),
        ]
        boundaries = [f"boundary_conditions/{name}" for name in file["boundary_conditions"]]
        needed = [(name, attribute) for name in boundaries for attribute in ("bc_type", "associated_dims")]
        missing += [
            f"attribute {attribute} of {name}" for name, attribute in needed if attribute not in file[name].attrs
        ]
        inside += [f"{group}/{name}" for group in groups[2:] for name in text_attribute(file[group], "field_names")]
        missing += [f"dataset {name}" for name in inside if not isinstance(file.get(name), h5py.Dataset)]
        flagged = [("sample_varying", name) for name in inside if not missing]
        flagged += [("time_varying", name) for name in inside[1:] if not missing]
        flagged += [("dim_varying", name) for name in inside if not missing and name[0] == "t"]
        missing += [f"attribute {flag} of {name}" for flag, name in flagged if flag not in file[name].attrs]
    if missing:
        raise ValueError(
            f"{path} is HDF5 but not in The Well's layout: it lacks {', '.join(missing)}. Read its arrays with h5py "
            "and hand them to Trajectories.from_arrays."
        )


def _channels(path: Path, file: HDF5, layout: Mapping[str, Any]) -> dict[str, StoredChannel]:
    axes = text_attribute(file["dimensions"], "spatial_dims")
    stored: dict[str, StoredChannel] = {}
    for order in range(3):
        for name in text_attribute(file[f"t{order}_fields"], "field_names"):
            dataset = file[f"t{order}_fields/{name}"]
            _check_shape(path, file, dataset, _space(file), order)
            for ending, component in zip(
                component_names(axes, order), itertools.product(range(len(axes)), repeat=order), strict=True
            ):
                stored[f"{name}_{ending}" if order else name] = StoredChannel(dataset.name, component)
    if not stored:
        raise ValueError(f"{path} holds no field: t0_fields, t1_fields and t2_fields are empty.")
    if "channels" not in layout:
        return stored
    return {name: stored[layout["channels"][name]] for name in layout["names"]}


def _space(file: HDF5) -> tuple[int, ...]:
    axes = text_attribute(file["dimensions"], "spatial_dims")
    return tuple(int(file[f"dimensions/{axis}"].shape[-1]) for axis in axes)


def _check_shape(path: Path, file: HDF5, dataset: HDF5, space: tuple[int, ...], order: int) -> None:
    flags = dataset.attrs
    lead = (int(file.attrs["n_trajectories"]),) if flags["sample_varying"] else ()
    lead += (file["dimensions/time"].shape[-1],) if flags["time_varying"] else ()
    varying = [bool(flag) for flag in flags["dim_varying"]]
    tail = (len(space),) * order
    omitted = (*lead, *(n for n, varies in zip(space, varying, strict=True) if varies), *tail)
    kept = (*lead, *(n if varies else 1 for n, varies in zip(space, varying, strict=True)), *tail)
    if dataset.shape not in (omitted, kept):
        raise ValueError(f"{path}: {dataset.name} has shape {dataset.shape}, its attributes say {omitted}.")


def _choose(path: Path, channels: Mapping[str, StoredChannel], names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(channels)
    chosen: list[str] = []
    for name in (names,) if isinstance(names, str) else names:
        components = [key for key, channel in channels.items() if channel.dataset.rpartition("/")[2] == name]
        if name not in channels and not components:
            raise ValueError(f"{path} has no field {name!r}; it has {', '.join(channels)}.")
        chosen += [name] if name in channels else components
    return tuple(chosen)


def _read_parameters(path: Path, file: HDF5, num_samples: int) -> tuple[dict[str, np.ndarray], list[str]]:
    parameters, varying = {}, []
    for name in text_attribute(file["scalars"], "field_names"):
        dataset = file[f"scalars/{name}"]
        if dataset.attrs["time_varying"]:
            varying.append(name)
            continue
        expected = (num_samples,) if dataset.attrs["sample_varying"] else ()
        if dataset.shape != expected:
            raise ValueError(f"{path}: {dataset.name} has shape {dataset.shape}, its attributes say {expected}.")
        parameters[name] = np.array(np.broadcast_to(dataset[()], (num_samples,)))
    return parameters, varying


def _read_provenance(file: HDF5, varying: list[str]) -> dict[str, Any]:
    if "pdejax" in file.attrs:
        return json.loads(file.attrs["provenance"])
    known = {"n_spatial_dims", "n_trajectories", "grid_type", "simulation_parameters"}
    known |= set(text_attribute(file["scalars"], "field_names"))
    found = {name: _plain(value) for name, value in file.attrs.items() if name not in known}
    return {**found, "scalars_varying_in_time": varying} if varying else found


def _plain(value: Any) -> Any:
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value if isinstance(value, str | int | float | bool | list) else str(value)
