"""A rollout beside the truth, moving."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pdejax.grid import Grid
from pdejax.plotting.fields import draw_image, redraw
from pdejax.plotting.style import COLOURS, colour_limits, house_style, labelled, new_figure


@dataclass(frozen=True)
class Animation:
    """A figure whose contents are set frame by frame; `save` writes it as a GIF."""

    figure: Figure
    num_frames: int
    show: Callable[[int], None]

    def frame(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """The pixels of one frame."""
        self.show(index)
        canvas = self.figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def animate_triptych(
    prediction: Float[Array | np.ndarray, "time *space"],
    truth: Float[Array | np.ndarray, "time *space"],
    grid: Grid,
    times: Float[Array | np.ndarray, " time"],
    *,
    name: str = "u",
    unit: str = "",
    time_unit: str = "",
    length_unit: str = "",
    prediction_title: str = "prediction",
    prediction_colour: str = COLOURS[0],
) -> Animation:
    """Truth, prediction and their difference side by side, one frame per time, with the time above.

    One component, `(time, *space)`: pick the channel first. All three panels share the limits of the truth over all
    times, so a pale error is a small one; larger values have the last colour and values that are not finite are grey.
    Where the truth has one sign, the error has a scale of the same width about zero. In 3D the slice through the middle
    of z is shown. In 1D all are lines, the prediction in `prediction_colour`. The error then has an axis of its own
    about zero: up to the largest error, or to the largest value of the truth where the error exceeds that.

    Raises `ValueError` for arrays that do not fit the grid and the times, and for more than three dimensions.
    """
    times = np.asarray(times)
    expected = (times.size, *grid.shape)
    if np.shape(truth) != expected or np.shape(prediction) != expected or grid.ndim > 3:
        raise ValueError(
            f"animate_triptych needs prediction and truth of shape (time, *grid.shape) = {expected} in one to three "
            f"dimensions, got {np.shape(prediction)} and {np.shape(truth)}; pick one channel first."
        )
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    place = ""
    if grid.ndim == 3:
        middle = grid.shape[2] // 2
        truth, prediction = truth[..., middle], prediction[..., middle]
        place = f",  z = {float(grid.axes[2][middle]):.3g}"
    # A diverged prediction overflows on purpose here, and is shown as such.
    with np.errstate(over="ignore", invalid="ignore"):
        panels_values = {"truth": truth, prediction_title: prediction, "error": prediction - truth}
    limits = colour_limits(truth)
    decimals = max(0, int(np.ceil(-np.log10(np.min(np.diff(times)))))) if times.size > 1 else 2

    with house_style():
        if grid.ndim == 1:
            colours = ("black", prediction_colour, "0.4")
            figure, draw = _line_panels(panels_values, grid, limits, labelled(name, unit), length_unit, colours)
        else:
            figure, draw = _image_panels(panels_values, grid, limits, labelled(name, unit), length_unit)
        heading = figure.suptitle(" ")

    def show(index: int) -> None:
        unit_text = f" {time_unit}" if time_unit else ""
        heading.set_text(f"t = {times[index]:.{decimals}f}{unit_text}{place}")
        draw(index)

    show(0)
    # The layout is found once: panels that breathe from frame to frame hide the motion.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return Animation(figure, int(times.size), show)


def _image_panels(
    values: dict[str, np.ndarray], grid: Grid, limits: tuple[float, float, str], label: str, length_unit: str
) -> tuple[Figure, Callable[[int], None]]:
    sides = np.asarray(grid.extent, float)
    height = float(np.clip(2.6 * sides[1] / sides[0], 1.0, 5.0))
    figure = new_figure(9.6, height + 1.2)
    panels = figure.subplots(1, 3, sharey=True)
    low, high, _ = limits
    signed = low == -high
    error_limits = limits if signed else (low - high, high - low, "RdBu_r")
    images = []
    for panel, (title, frames) in zip(panels, values.items(), strict=True):
        panel_limits = error_limits if title == "error" else limits
        images.append(draw_image(panel, frames[0], grid, panel_limits, length_unit=length_unit))
        panel.set_title(title)
        panel.label_outer()
    if signed:
        figure.colorbar(images[0], ax=list(panels), label=label, shrink=0.9)
    else:
        figure.colorbar(images[0], ax=list(panels[:2]), label=label, shrink=0.9)
        figure.colorbar(images[2], ax=panels[2], label=f"error of {label}", shrink=0.9)

    def draw(index: int) -> None:
        for image, frames in zip(images, values.values(), strict=True):
            redraw(image, np.where(np.isfinite(frames[index]), frames[index], np.nan))

    return figure, draw


def _line_panels(
    values: dict[str, np.ndarray],
    grid: Grid,
    limits: tuple[float, float, str],
    label: str,
    length_unit: str,
    colours: tuple[str, str, str],
) -> tuple[Figure, Callable[[int], None]]:
    figure = new_figure(10.4, 3.2)
    panels = figure.subplots(1, 3)
    panels[1].sharey(panels[0])
    panels[1].tick_params(labelleft=False)
    x = np.asarray(grid.axes[0])
    margin = 0.08 * (limits[1] - limits[0])
    lines = []
    for panel, (title, frames), colour in zip(panels, values.items(), colours, strict=True):
        lines.append(panel.plot(x, frames[0], color=colour)[0])
        panel.set_title(title)
        panel.set_xlabel(labelled("x", length_unit))
        panel.grid(True)
    panels[0].set_ylim(limits[0] - margin, limits[1] + margin)
    panels[0].set_ylabel(label)
    # On the axis of the field an error of a few percent is a flat line.
    bound = _error_bound(values["error"], values["truth"])
    panels[2].set_ylim(-bound, bound)
    panels[2].set_ylabel(f"error of {label}")

    def draw(index: int) -> None:
        for line, frames in zip(lines, values.values(), strict=True):
            line.set_ydata(frames[index])

    return figure, draw


def _error_bound(error: np.ndarray, truth: np.ndarray) -> float:
    """Half the width of an axis for the error: the largest one, unless it exceeds the size of the truth (diverged)."""
    largest, size = (float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values))) for values in (error, truth))
    return 1.08 * (min(largest, size or largest) or 1.0)
