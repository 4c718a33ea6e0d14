"""Results as curves: scores against time, spectra, error against cost, training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pdejax.metrics import bootstrap_interval
from pdejax.plotting.labels import Label, place_labels
from pdejax.plotting.style import COLOURS, DASHES, MARKERS, greys, house_style, label_decades, labelled, new_figure

# Of surrogates; families of solvers have the others.
STARS = ("*", "X", "P", "D", "v", "o")


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
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """A score against time: surrogates in solid lines, classical rivals in dashed grey ones.

    A curve is a mean `(time,)` or scores `(sample, time)`, of which the mean is drawn in a band, its bootstrap interval
    at `confidence`. `threshold` is drawn as a dotted line. Where a curve is not finite it ends. `colours` are those of
    curves by name; others follow the house's palette. Surrogates of one colour are told apart by what marks their
    curves.
    """
    times = np.asarray(times)
    with house_style():
        figure = new_figure(6.4, 3.8)
        panel = figure.subplots()
        rivals = rivals or {}
        own = {**dict(zip(rivals, greys(len(rivals)), strict=True)), **(colours or {})}
        curves = [
            (label, values, "-", own.get(label, COLOURS[i % 6])) for i, (label, values) in enumerate(surrogates.items())
        ]
        curves += [(label, values, DASHES[i % 4], own[label]) for i, (label, values) in enumerate(rivals.items())]
        marks = dict(
            zip(surrogates, _earlier_of_colour([colour for *_, colour in curves[: len(surrogates)]]), strict=True)
        )
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
            marker = ("", *MARKERS)[marks.get(label, 0) % (1 + len(MARKERS))]
            every = max(1, times.size // 12)
            panel.plot(
                times, mean, linestyle=line, color=colour, marker=marker, markersize=5, markevery=every, label=label
            )
        if threshold is not None:
            panel.axhline(threshold, color="black", linewidth=1.0, linestyle=":")
            panel.annotate(
                f"{threshold:g}",
                (0.0, threshold),
                xycoords=panel.get_yaxis_transform(),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=9,
            )
        if logarithmic:
            panel.set_yscale("log")
            label_decades(panel.yaxis)
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
    colours: Mapping[str, str] | None = None,
    dashed: Sequence[str] = (),
) -> Figure:
    """Power spectra (`metrics.energy_spectrum` of one channel) against the shell number, both logarithmic.

    The curve called `truth` is black, those in `dashed` are dashed. The mean (shell 0) is left out, and so is what lies
    more than `decades` below the largest value. `colours` are those of curves by name.
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
            style: dict[str, Any] = {"color": (colours or {}).get(label)}
            if label == truth:
                style = {"color": "black", "linewidth": 2.4}
            elif style["color"] is None:
                style = {"color": next(colour)}
            if label in dashed:
                style["linestyle"] = DASHES[list(dashed).index(label) % 4]
            panel.loglog(np.arange(1, values.size + 1), positive, label=label, **style)
        if highest > 0:
            bottom, top = panel.get_ylim()
            panel.set_ylim(max(bottom, highest * 10.0**-decades), max(top, 2 * highest))
        panel.set_xlabel("shell |n| (waves per side)")
        panel.set_ylabel(labelled(name, unit))
        panel.grid(True, which="major")
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_error_against_cost(
    families: Mapping[str, Sequence[CostPoint]],
    surrogates: Mapping[str, CostPoint],
    *,
    error_name: str = "relative L2 error",
    cost_name: str = "wall time per unit of simulated time [s]",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Error against cost, both logarithmic: a line for each family of classical solvers, a star for each surrogate.

    Down and to the left is better. The points of a family are joined in the order of their cost. Points whose error or
    cost is not finite and positive (diverged runs) are left out. Labels are placed where they cover nothing. `colours`
    are those of surrogates, and of labelled points, by name; surrogates of one colour have other marks than a star.
    Each axis spans a decade or more, so that small differences look small.
    """
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(surrogates)} | dict(colours or {})
    marks = dict(zip(surrogates, _earlier_of_colour([colours[name] for name in surrogates]), strict=True))
    labels: list[Label] = []
    with house_style():
        rows = (len(families) + len(surrogates) + 1) // 2
        figure = new_figure(6.8, 4.4 + 0.2 * rows)
        panel = figure.subplots()
        for i, ((name, points), shade) in enumerate(zip(families.items(), greys(len(families)), strict=True)):
            drawn = sorted(point for point in points if _drawable(point))
            x, y = [point.cost for point in drawn], [point.error for point in drawn]
            marker = MARKERS[i % len(MARKERS)]
            panel.loglog(x, y, color=shade, marker=marker, markersize=5, linewidth=1.2, label=name)
            for point in drawn:
                own = colours.get(point.label)
                if own is not None:
                    panel.loglog([point.cost], [point.error], color=own, marker=marker, markersize=8)
                if point.label:
                    labels.append(Label(point.label, point.cost, point.error, own or shade))
        for name, point in surrogates.items():
            if not _drawable(point):
                continue
            colour, mark = colours[name], STARS[marks[name] % len(STARS)]
            size = 15 if mark == "*" else 9
            panel.loglog(
                [point.cost], [point.error], color=colour, marker=mark, markersize=size, linestyle="", label=name
            )
            if point.label:
                labels.append(Label(point.label, point.cost, point.error, colour))
        panel.set_xlabel(cost_name)
        panel.set_ylabel(error_name)
        panel.margins(0.12)
        panel.set_xlim(_decade(panel.get_xlim()))
        panel.set_ylim(_decade(panel.get_ylim()))
        label_decades(panel.xaxis)
        label_decades(panel.yaxis)
        panel.grid(True, which="major")
        # Below: beside the panel it would take the room of the labels.
        figure.legend(loc="outside lower center", ncols=2)
        place_labels(panel, labels)
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


def _earlier_of_colour(colours: Sequence[str]) -> list[int]:
    """How many before each have its colour."""
    return [colours[:i].count(colour) for i, colour in enumerate(colours)]


def _drawable(point: CostPoint) -> bool:
    return bool(np.isfinite([point.cost, point.error]).all() and point.cost > 0 and point.error > 0)


def _decade(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits of a logarithmic axis, widened about their middle to a little more than a decade."""
    low, high = np.log10(limits)
    missing = max(0.0, 1.1 - (high - low)) / 2
    return float(10 ** (low - missing)), float(10 ** (high + missing))
