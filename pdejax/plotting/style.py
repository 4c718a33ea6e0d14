"""One look for all figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe & Ito: told apart by colour-blind readers too. Black is kept for the truth.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# What is compared with, in greys and dashes.
DASHES: tuple[Any, ...] = ((0, (5, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")

_SETTINGS: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "savefig.dpi": 150.0,
    "figure.facecolor": "white",
}


def greys(count: int) -> list[str]:
    """Shades that differ, from dark to light."""
    return [f"{shade:.3g}" for shade in np.linspace(0.15, 0.55, max(2, count))[:count]]


def label_decades(axis: Axis) -> None:
    """Labels a logarithmic axis that spans few decades at 1, 2 and 5, as plain numbers that do not run together."""
    low, high = axis.get_view_interval()
    if high < 300 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


@contextmanager
def house_style() -> Iterator[None]:
    """The settings inside, those of the user outside."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that pyplot does not know."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def labelled(name: str, unit: str = "") -> str:
    return f"{name} [{unit}]" if unit else name


def colour_limits(*fields: np.ndarray) -> tuple[float, float, str]:
    """Lowest value, highest value and colour map: symmetric about zero and diverging where both signs occur.

    A sign that reaches less than a hundredth as far as the other, as undershoots of a concentration do, does not count.
    Values that are not finite are left out, so a diverged frame does not hide the others.
    """
    finite = np.concatenate([values[np.isfinite(values)].ravel() for values in map(np.asarray, fields)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    most = max(-low, high)
    if min(-low, high) > 0.01 * most:
        return -most, most, "RdBu_r"
    if low == high:
        return low - 0.5, high + 0.5, "viridis"
    return low, high, "viridis"


def colour_map(name: str) -> Colormap:
    """With grey for values that are not finite."""
    return matplotlib.colormaps[name].with_extremes(bad="0.6")
