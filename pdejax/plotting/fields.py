"""Fields in space, and one-dimensional fields in space and time."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from pdejax.grid import Grid
from pdejax.plotting.style import COLOURS, colour_limits, colour_map, house_style, labelled, new_figure

AXIS_NAMES = ("x", "y", "z")


def plot_field(
    u: Float[Array | np.ndarray, "channel *space"],
    grid: Grid,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    length_unit: str = "",
    title: str = "",
) -> Figure:
    """The channels of one state: lines in 1D, images in 2D, the three slices through the middle in 3D.

    Axes carry the coordinates of the grid in equal aspect. Fields of both signs have a diverging colour map centred at
    zero. `names` and `units` have one entry per channel; channels have colour limits of their own.

    Raises `ValueError` for a state that does not fit the grid, for names or units that do not fit the channels, and for
    more than three dimensions.
    """
    if np.shape(u) == grid.shape:
        raise ValueError(
            f"plot_field needs a state (channel, *space) but u has shape {np.shape(u)}, that of the grid alone: add a "
            f"channel axis, u[None], for {(1, *grid.shape)}."
        )
    grid.check_state(u, np.shape(u)[0] if np.ndim(u) == grid.ndim + 1 else 1)
    if grid.ndim > 3:
        raise ValueError(f"plot_field draws one to three dimensions, the grid has {grid.ndim}.")
    values = np.asarray(u)
    names = _per_channel("names", names, [f"channel {c}" for c in range(len(values))])
    units = _per_channel("units", units, [""] * len(values))
    with house_style():
        if grid.ndim == 1:
            figure = _lines(values, grid, names, units, length_unit)
        else:
            figure = _images(values, grid, names, units, length_unit)
        if title:
            figure.suptitle(title)
    return figure


def plot_space_time(
    fields: Mapping[str, Float[Array | np.ndarray, "time points"]],
    grid: Grid,
    times: Float[Array | np.ndarray, " time"],
    *,
    name: str = "u",
    unit: str = "",
    length_unit: str = "",
    time_unit: str = "",
) -> Figure:
    """One-dimensional rollouts side by side, x to the right and time upwards, with one colour bar for all.

    `fields` maps a title ("truth", "prediction", "error") to `(time, points)`; `times` are equally spaced.

    Raises `ValueError` for no fields, for a grid that is not one-dimensional and for fields of other shapes.
    """
    times = np.asarray(times)
    expected = (times.size, *grid.shape)
    if grid.ndim != 1 or not fields or any(np.shape(values) != expected for values in fields.values()):
        shapes = {title: np.shape(values) for title, values in fields.items()}
        raise ValueError(f"plot_space_time needs fields of shape (time, points) = {expected}, got {shapes}.")
    low, high, map_name = colour_limits(*(np.asarray(values) for values in fields.values()))
    step = (times[-1] - times[0]) / max(1, times.size - 1) or 1.0
    (across,) = _edges(grid)
    between = times[0] + step * (np.arange(times.size + 1) - 0.5)
    with house_style():
        figure = new_figure(0.8 + 2.6 * len(fields), 3.6)
        panels = figure.subplots(1, len(fields), sharey=True, squeeze=False)[0]
        image = None
        for panel, (title, values) in zip(panels, fields.items(), strict=True):
            image = _cells(panel, np.asarray(values), (across, between), (low, high, map_name), "auto")
            panel.set_title(title)
            panel.set_xlabel(labelled("x", length_unit))
        panels[0].set_ylabel(labelled("time", time_unit))
        assert image is not None
        figure.colorbar(image, ax=panels, label=labelled(name, unit), shrink=0.9)
    return figure


def draw_image(
    panel: Axes,
    values: Float[np.ndarray, "first second"],
    grid: Grid,
    limits: tuple[float, float, str],
    *,
    axes: tuple[int, int] = (0, 1),
    length_unit: str = "",
) -> AxesImage | QuadMesh:
    """Values on two axes of the grid, the first to the right and the second upwards, each point a cell of its size."""
    edges = _edges(grid)
    image = _cells(panel, values.T, (edges[axes[0]], edges[axes[1]]), limits, "equal")
    panel.set_xlabel(labelled(AXIS_NAMES[axes[0]], length_unit))
    panel.set_ylabel(labelled(AXIS_NAMES[axes[1]], length_unit))
    return image


def redraw(image: AxesImage | QuadMesh, values: Float[np.ndarray, "first second"]) -> None:
    """Other values in the cells of `draw_image`."""
    image.set_data(values.T) if isinstance(image, AxesImage) else image.set_array(values.T)


def _cells(
    panel: Axes,
    values: Float[np.ndarray, "up right"],
    edges: tuple[np.ndarray, np.ndarray],
    limits: tuple[float, float, str],
    aspect: Literal["auto", "equal"],
) -> AxesImage | QuadMesh:
    """One cell of its own size for each value: an image where all are equally large, which is smaller in a file."""
    low, high, map_name = limits
    colours = {"cmap": colour_map(map_name), "vmin": low, "vmax": high}
    right, up = edges
    if all(np.allclose(np.diff(one), one[1] - one[0], rtol=1e-3, atol=0) for one in edges):
        extent = (right[0], right[-1], up[0], up[-1])
        return panel.imshow(values, origin="lower", extent=extent, aspect=aspect, interpolation="nearest", **colours)
    panel.set_aspect(aspect)
    return panel.pcolormesh(right, up, values, **colours)


def _lines(values: np.ndarray, grid: Grid, names: Sequence[str], units: Sequence[str], length_unit: str) -> Figure:
    figure = new_figure(6.0, 1.2 + 1.8 * len(values))
    panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for c, panel in enumerate(panels):
        panel.plot(np.asarray(grid.axes[0]), values[c], color=COLOURS[1])
        panel.set_ylabel(labelled(names[c], units[c]))
        panel.grid(True)
        panel.set_xlim(*_edges(grid)[0][[0, -1]])
    panels[-1].set_xlabel(labelled("x", length_unit))
    return figure


def _images(values: np.ndarray, grid: Grid, names: Sequence[str], units: Sequence[str], length_unit: str) -> Figure:
    pairs = [(0, 1)] if grid.ndim == 2 else [(0, 1), (0, 2), (1, 2)]
    # One length on paper for one length in the box, with the longest side 3 inches; a thin box keeps some thickness.
    sides = np.asarray(grid.extent, float)
    inches = np.clip(3.0 * sides / sides.max(), 0.8, None)
    widths = [inches[a] for a, _ in pairs]
    height = max(inches[b] for _, b in pairs) + 0.9
    # The channels of a plane field stand side by side, up to four; in space each has a row of three slices.
    columns = min(len(values), 4)
    if grid.ndim == 2:
        rows = -(-len(values) // columns)
        figure = new_figure((widths[0] + 1.6) * columns, height * rows)
        panels = figure.subplots(rows, columns, squeeze=False)
        for spare in panels.ravel()[len(values) :]:
            spare.remove()
    else:
        figure = new_figure(sum(widths) + 3.6, height * len(values))
        panels = figure.subplots(len(values), 3, squeeze=False, gridspec_kw={"width_ratios": widths})
    for c, channel in enumerate(values):
        row = panels.ravel()[c : c + 1] if grid.ndim == 2 else panels[c]
        limits = colour_limits(channel)
        image = None
        for panel, (a, b) in zip(row, pairs, strict=True):
            middle = [n // 2 for n in grid.shape]
            index = tuple(slice(None) if axis in (a, b) else middle[axis] for axis in range(grid.ndim))
            image = draw_image(panel, channel[index], grid, limits, axes=(a, b), length_unit=length_unit)
            if grid.ndim == 3:
                across = 3 - a - b
                place = f"{AXIS_NAMES[across]} = {float(grid.axes[across][middle[across]]):.3g}"
                panel.set_title(place)
        assert image is not None
        figure.colorbar(image, ax=list(row), label=labelled(names[c], units[c]), shrink=0.9)
    return figure


def _edges(grid: Grid) -> list[np.ndarray]:
    """Along each axis where the cells around its points end: halfway between them, and at either end half a distance
    beyond, but not beyond a wall where the points are not equally far apart."""
    edges = []
    for x, uniform, wraps, low, length in zip(
        grid.axes, grid.is_uniform, grid.periodic, np.asarray(grid.origin), np.asarray(grid.extent), strict=True
    ):
        x = np.asarray(x, float)
        halves = np.diff(x) / 2
        ends = [x[0] - halves[0], x[-1] + halves[-1]]
        if not uniform and not wraps:
            ends = [float(low), float(low + length)]
        edges.append(np.r_[ends[0], x[:-1] + halves, ends[1]])
    return edges


def _per_channel(what: str, given: Sequence[str] | None, default: list[str]) -> list[str]:
    if given is not None and (isinstance(given, str) or len(given) != len(default)):
        raise ValueError(f"plot_field needs {what} for {len(default)} channels, one each in a list, got {given!r}.")
    return default if given is None else list(given)
