"""Grids and times from the coordinates of a file in The Well's layout, and grids as plain numbers."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from pdejax.data.storage.stored import HDF5
from pdejax.grid import Grid
from pdejax.stretching import Sine, Stretched, TowardsPoint, TowardsWall, TowardsWalls

# The maps that numbers and words describe: a function of the user's own is neither.
_MAPS = {kind.__name__: kind for kind in (TowardsWalls, TowardsWall, TowardsPoint, Sine)}


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """A grid as plain numbers and words; `grid_from_json` of it is the same grid.

    Raises `ValueError` for points stretched by a function of the user's own.
    """
    return {
        "shape": list(grid.shape),
        "extent": np.asarray(grid.extent).tolist(),
        "periodic": list(grid.periodic),
        "origin": np.asarray(grid.origin).tolist(),
        "points": [_points_to_json(points) for points in grid.points],
        "dtype": grid.dtype.name,
    }


def grid_from_json(given: Mapping[str, Any]) -> Grid:
    return Grid(**{**given, "points": [_points_from_json(points) for points in given["points"]]})


def _points_to_json(points: Any) -> Any:
    if not isinstance(points, Stretched):
        return points
    mapping: Any = points.map
    if type(points.map) is not _MAPS.get(type(points.map).__name__):
        raise ValueError(
            f"A file holds grids in numbers and words, and {points} is stretched by a function of yours: use one of "
            f"{', '.join(_MAPS)}, or store the arrays by themselves."
        )
    return {"map": type(points.map).__name__, **dataclasses.asdict(mapping), "kind": points.kind}


def _points_from_json(given: Any) -> Any:
    if isinstance(given, str):
        return given
    numbers = {name: value for name, value in given.items() if name not in ("map", "kind")}
    return Stretched(_MAPS[given["map"]](**numbers), given["kind"])


def read_grid(path: Path, file: HDF5, layout: Mapping[str, Any]) -> tuple[Grid, dict[str, np.ndarray]]:
    """The grid, and the extents of every trajectory where they differ."""
    if "grid" in layout:
        given = dict(layout["grid"])
        if given["dtype"] == "float64" and not jax.config.read("jax_enable_x64"):
            given["dtype"] = "float32"  # reading data must not need double precision
        return grid_from_json(given), {}
    if (kind := file.attrs.get("grid_type", "cartesian")) != "cartesian":
        _no_grid(path, f"its grid is {kind}")
    axes = text_attribute(file["dimensions"], "spatial_dims")
    wrapped = {
        axis
        for boundary in file["boundary_conditions"].values()
        if _word(boundary.attrs["bc_type"]).upper() == "PERIODIC"
        for axis in text_attribute(boundary, "associated_dims")
    }
    boxes, extents = [], {}
    for axis in axes:
        dataset = file[f"dimensions/{axis}"]
        rows = np.asarray(dataset[()], np.float64)
        if dataset.attrs["time_varying"] or rows.ndim > 2:
            _no_grid(path, f"its axis {axis} moves in time")
        rounding = float(np.finfo(dataset.dtype).eps) if np.issubdtype(dataset.dtype, np.floating) else 0.0
        found = [_axis_of(path, axis, row, axis in wrapped, rounding) for row in np.atleast_2d(rows)]
        if any(box[1:] != found[0][1:] for box in found):
            _no_grid(path, f"its axis {axis} starts at another place in every trajectory")
        if any(box[0] != found[0][0] for box in found):
            extents[f"extent_{axis}"] = np.asarray([box[0] for box in found])
        boxes.append((*found[0], rows.shape[-1]))
    periodic = tuple(axis in wrapped for axis in axes)
    extent, origin, points, shape = zip(*boxes, strict=True)
    return Grid(shape, jnp.asarray(extent), periodic, jnp.asarray(origin), points), extents


def _axis_of(path: Path, axis: str, x: np.ndarray, wraps: bool, rounding: float) -> tuple[float, float, str]:
    """Extent, origin and placement of the points `x` of a uniform axis."""
    spacing = (x[-1] - x[0]) / (len(x) - 1)
    # Coordinates far from the origin carry the rounding of their own size.
    slack = 4 * rounding * float(np.abs(x).max()) + 4 * rounding * abs(spacing) * len(x)
    if spacing <= 0 or np.any(np.abs(np.diff(x) - spacing) > 1e-4 * spacing + slack):
        _no_grid(path, f"its axis {axis} is not uniform")
    ends = {
        "nodes": (x[0], x[-1] + spacing if wraps else x[-1]),
        "centres": (x[0] - spacing / 2, x[-1] + spacing / 2),
    }
    read = {kind: [_rounded(float(end), max(slack, 1e-12)) for end in pair] for kind, pair in ends.items()}
    # The first of equals: nodes, unless the walls are at rounder numbers when the points are centres.
    points = min(read, key=lambda kind: sum(digits for digits, _ in read[kind]))
    low, high = (value for _, value in read[points])
    return high - low, low, points


def _rounded(x: float, slack: float) -> tuple[int, float]:
    """The roundest number within `slack` of x, and how many digits it takes; a twelfth of pi counts as one digit."""
    if abs((nearest := round(x / np.pi * 12) * np.pi / 12) - x) <= slack < abs(x):
        return 1, float(nearest)
    return next(((digits, round(x, digits)) for digits in range(5) if abs(round(x, digits) - x) <= slack), (9, x))


def read_times(path: Path, file: HDF5, layout: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    stored = np.asarray(file["dimensions/time"][()], np.float64)
    if "times" in layout:
        return np.asarray(layout["times"], np.float64), None
    if stored.ndim == 1 or np.all(stored == stored[:1]):
        return stored if stored.ndim == 1 else stored[0], None
    intervals = stored[:, 1] - stored[:, 0] if stored.shape[1] > 1 else np.ones(len(stored))
    scaled = stored[0] * (intervals / intervals[0])[:, None]
    if not np.allclose(stored, scaled, rtol=1e-5, atol=1e-5 * float(np.abs(intervals).min())):
        raise ValueError(f"{path}: the trajectories were stored at unrelated times; read them with h5py one by one.")
    return stored[0], intervals


def text_attribute(group: HDF5, attribute: str) -> tuple[str, ...]:
    return tuple(_word(name) for name in group.attrs[attribute])


def _word(value: Any) -> str:
    """A text as HDF5 may hold it: as such, as bytes, or as an array of one of them."""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _no_grid(path: Path, why: str) -> NoReturn:
    raise ValueError(
        f"{path} is no uniform cartesian box: {why}. Say where its values live with read_well(..., grid=)."
    )
