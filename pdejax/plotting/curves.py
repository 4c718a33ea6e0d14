"""Results as curves: scores against time, spectra, error against cost, training."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pdejax.metrics import bootstrap_interval
from pdejax.plotting.style import COLOURS, MARKERS, house_style, labelled, new_figure


class CostPoint(NamedTuple):
    """One solver or model: seconds of computing per unit of simulated time, its error, and a short label."""

    cost: float | int
    error: float | int
    label: str = ""


def plot_metric(
    times: Float[Array | np.ndarray, " time"],
    surrogates: Mapping[str, Float[Array | np.ndarray, "... time"]],
    rivals: Mapping[str, Float[Array | np.ndarray, "... time"]] | None = None,
    *,
    name: str = "relative L2 error",
    time_unit: str = "",
    threshold: float | int | None = None,
    logarithmic: bool = False,
    confidence: float | int = 0.95,
) -> Figure:
    """A score against time: surrogates in solid lines, classical rivals in dashed grey ones.

    A curve is a mean `(time,)` or scores `(sample, time)`, of which the mean is drawn in a band, its bootstrap interval
    at `confidence`. `threshold` is drawn as a dotted line. Where a curve is not finite it ends.
    """
    times = np.asarray(times)
    with house_style():
        figure = new_figure(6.4, 3.8)
        panel = figure.subplots()
        rivals = rivals or {}
        greys = np.linspace(0.25, 0.65, max(2, len(rivals)))
        dashes = ((0, (5, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1, 1)))
        curves = [(label, values, "-", COLOURS[i % 6]) for i, (label, values) in enumerate(surrogates.items())]
        curves += [(label, values, dashes[i % 4], str(greys[i])) for i, (label, values) in enumerate(rivals.items())]
        for label, values, line, colour in curves:
            values = np.asarray(values, np.float64)
            if values.shape[-1] != times.size or values.ndim not in (1, 2):
                raise ValueError(
                    f"A curve of plot_metric needs shape (sample, {times.size}) or ({times.size},) for {times.size} "
                    f"times; {label!r} has {values.shape}."
                )
            if values.ndim == 2 and values.shape[0] > 1:
                low, high = bootstrap_interval(values, confidence=confidence)
                panel.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)
            mean = values.mean(axis=0) if values.ndim == 2 else values
            panel.plot(times, mean, linestyle=line, color=colour, label=label)
        if threshold is not None:
            panel.axhline(threshold, color="black", linewidth=1.0, linestyle=":")
            panel.annotate(
                f"{threshold:g}",
                (1.0, threshold),
                xycoords=panel.get_yaxis_transform(),
                xytext=(-2, 3),
                textcoords="offset points",
                ha="right",
                fontsize=9,
            )
        if logarithmic:
            panel.set_yscale("log")
        panel.set_xlabel(labelled("time", time_unit))
        panel.set_ylabel(name)
        panel.set_xlim(min(0.0, float(times[0])), float(times[-1]))
        panel.grid(True)
        # Beside the curves, where it never covers one.
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_spectra(
    spectra: Mapping[str, Float[Array | np.ndarray, " _"]],
    *,
    truth: str | None = "truth",
    name: str = "mean square per shell",
    unit: str = "",
    decades: float | int = 12.0,
) -> Figure:
    """Energy spectra (`metrics.energy_spectrum` of one channel) against the shell number, both logarithmic.

    The curve called `truth` is black. The mean (shell 0) is left out, and so is what lies more than `decades` below the
    largest value.
    """
    with house_style():
        figure = new_figure(6.4, 3.8)
        panel = figure.subplots()
        highest = 0.0
        colour = iter(COLOURS * (1 + len(spectra) // len(COLOURS)))
        for label, values in spectra.items():
            values = np.asarray(values, np.float64)[1:]
            highest = max(highest, float(np.max(values, initial=0.0, where=np.isfinite(values))))
            positive = np.where(values > 0, values, np.nan)
            style = {"color": "black", "linewidth": 2.4} if label == truth else {"color": next(colour)}
            panel.loglog(np.arange(1, values.size + 1), positive, label=label, **style)
        if highest > 0:
            bottom, top = panel.get_ylim()
            panel.set_ylim(max(bottom, highest * 10.0**-decades), max(top, 2 * highest))
        panel.set_xlabel("shell |n| (waves per side)")
        panel.set_ylabel(labelled(name, unit))
        panel.grid(True, which="major")
        panel.legend()
    return figure


def plot_error_against_cost(
    families: Mapping[str, Sequence[CostPoint]],
    surrogates: Mapping[str, CostPoint],
    *,
    error_name: str = "relative L2 error",
    cost_name: str = "wall time per unit of simulated time [s]",
) -> Figure:
    """Error against cost, both logarithmic: a line for each family of classical solvers, a star for each surrogate.

    Down and to the left is better. The points of a family are joined in the order of their cost. Points whose error or
    cost is not finite and positive (diverged runs) are left out.
    """
    with house_style():
        figure = new_figure(6.8, 4.4)
        panel = figure.subplots()
        greys = np.linspace(0.15, 0.6, max(2, len(families)))
        for i, (label, points) in enumerate(families.items()):
            drawn = sorted(point for point in points if _drawable(point))
            panel.loglog(
                [point.cost for point in drawn],
                [point.error for point in drawn],
                color=str(greys[i]),
                marker=MARKERS[i % len(MARKERS)],
                markersize=5,
                linewidth=1.2,
                label=label,
            )
            for point in drawn:
                _annotate(panel, point, str(greys[i]), (6, 5))
        for i, (label, point) in enumerate(surrogates.items()):
            if not _drawable(point):
                continue
            colour = COLOURS[i % len(COLOURS)]
            panel.loglog(
                [point.cost], [point.error], color=colour, marker="*", markersize=15, linestyle="", label=label
            )
            _annotate(panel, point, colour, (9, -10))
        panel.set_xlabel(cost_name)
        panel.set_ylabel(error_name)
        panel.margins(0.12)
        panel.grid(True, which="major")
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_training(
    losses: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]],
    *,
    name: str = "loss",
) -> Figure:
    """Losses against the update step, on a logarithmic scale: `{label: (steps, values)}`.

    A curve of more than 200 values is drawn pale, with its running median over 2 % of its length on top.
    """
    with house_style():
        figure = new_figure(6.4, 3.6)
        panel = figure.subplots()
        for i, (label, (steps, values)) in enumerate(losses.items()):
            steps, values = np.asarray(steps), np.asarray(values, np.float64)
            colour = COLOURS[(i + 1) % len(COLOURS)]
            if values.size > 200:
                panel.semilogy(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                window = values.size // 100 * 2 + 1
                steps = steps[window // 2 : values.size - window // 2]
                values = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
            panel.semilogy(
                steps, values, color=colour, label=label, marker="o" if values.size < 30 else "", markersize=4
            )
        panel.set_xlabel("update step")
        panel.set_ylabel(name)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(True, which="major")
        panel.legend()
    return figure


def _drawable(point: CostPoint) -> bool:
    return bool(np.isfinite([point.cost, point.error]).all() and point.cost > 0 and point.error > 0)


def _annotate(panel: Axes, point: CostPoint, colour: str, offset: tuple[int, int]) -> None:
    place = (point.cost, point.error)
    panel.annotate(point.label, place, xytext=offset, textcoords="offset points", fontsize=8, color=colour)
