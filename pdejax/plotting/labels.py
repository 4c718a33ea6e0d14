"""Labels beside points, placed so that they cover neither points, lines nor each other."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox, BboxBase

FONT_SIZE = 8.0
# How far a marker reaches from its point, in points of the page.
MARKER = 4.0
DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))


class Label(NamedTuple):
    """A text for the point (x, y), in the coordinates of the data."""

    text: str
    x: float
    y: float
    colour: str


def place_labels(panel: Axes, labels: Sequence[Label]) -> None:
    """Writes every label at the nearest place around its point where it covers nothing; a far one gets a thin line.

    Where there is no such place, it is written beside its point all the same. Everything else has to be drawn already
    and the limits final: this lays the figure out.
    """
    figure = panel.get_figure(root=True)
    assert figure is not None and isinstance(figure.canvas, FigureCanvasAgg)
    figure.draw_without_rendering()
    pixel = figure.dpi / 72
    taken = [_around(place, (MARKER * pixel,) * 2) for place in _drawn(panel)]
    for label in labels:
        size = _half_size(panel, label.text)
        point = panel.transData.transform((label.x, label.y))
        places = list(_places(point, size, pixel))
        free = [place for place in places if _inside(_around(place, size), panel.bbox, taken)]
        place = free[0] if free else places[0]
        taken.append(_around(place, size))
        offset = (place - point) / pixel
        gap = np.hypot(*np.maximum(np.abs(place - point) - size, 0)) / pixel
        line = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.6, "shrinkA": 0, "shrinkB": MARKER}
        text = panel.annotate(
            label.text,
            (label.x, label.y),
            xytext=(float(offset[0]), float(offset[1])),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=FONT_SIZE,
            color=label.colour,
            arrowprops=line if gap > 3 * MARKER else None,
        )
        # The layout is that of axes and legend; a label may not push them.
        text.set_in_layout(False)


def _places(point: np.ndarray, size: np.ndarray, pixel: float) -> Iterator[np.ndarray]:
    """Centres of a box of half the size `size` around a point, in pixels, nearest first."""
    for distance in (6, 14, 24, 36, 50, 66):
        for direction in DIRECTIONS:
            # Off the corners the box touches the circle with its corner, on the axes with its side.
            reach = distance * pixel / np.hypot(*direction)
            yield point + np.asarray(direction) * (size + reach)


def _drawn(panel: Axes) -> list[np.ndarray]:
    """Pixels on every line of the panel: its points, and between them close enough that no label fits."""
    found: list[np.ndarray] = []
    for line in panel.get_lines():
        corners = panel.transData.transform(np.asarray(line.get_xydata(), float).reshape(-1, 2))
        corners = corners[np.isfinite(corners).all(axis=1)]
        found += list(corners)
        if line.get_linestyle() != "None":
            for start, end in pairwise(corners):
                found += list(np.linspace(start, end, 40)[1:-1])
    return found


def _half_size(panel: Axes, text: str) -> np.ndarray:
    figure = panel.get_figure(root=True)
    assert figure is not None and isinstance(figure.canvas, FigureCanvasAgg)
    written = panel.text(0.5, 0.5, text, fontsize=FONT_SIZE, transform=panel.transAxes)
    extent = written.get_window_extent(figure.canvas.get_renderer())
    written.remove()
    return np.array([extent.width, extent.height]) / 2


def _around(centre: np.ndarray, size: Sequence[float] | np.ndarray) -> Bbox:
    return Bbox.from_extents(centre[0] - size[0], centre[1] - size[1], centre[0] + size[0], centre[1] + size[1])


def _inside(box: Bbox, frame: BboxBase, taken: Sequence[Bbox]) -> bool:
    within = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    return bool(within) and not any(box.overlaps(other) for other in taken)
