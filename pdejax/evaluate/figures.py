"""The figures of a report."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pdejax import plotting
from pdejax.evaluate.report import Report
from pdejax.evaluate.scores import over_channels
from pdejax.evaluate.terms import decisive, labels
from pdejax.plotting import Animation, CostPoint
from pdejax.plotting.style import COLOURS, greys

# A contestant has its colour in every figure. One of the palette, unlike the first ones, is the baseline's; rivals are
# grey.
PALETTE, BASELINE = (*COLOURS[:3], *COLOURS[4:]), COLOURS[3]

BLEW_UP = "blew up: not compared"


def figures(report: Report) -> dict[str, Figure | Animation]:
    """By name; `pdejax.plotting.save` writes each. Curves, error against cost, spectra, fields, animation."""
    found: dict[str, Figure | Animation] = {}
    for metric, logarithmic, threshold in (
        ("relative_l2", True, None),
        ("correlation", False, 0.8),
        ("spectrum_error", True, None),
    ):
        if all(metric in result.scores for result in report.results.values()):
            found[f"{metric}_against_time"] = _curves(report, metric, logarithmic, threshold)
    if report.of_kind("rival"):
        found["error_against_cost"] = _error_against_cost(report)
    if report.truth_spectra:
        found["spectra"] = _spectra(report)
    if report.grid.ndim <= 3:
        for i, name in enumerate(report.of_kind("surrogate")):
            ending = "" if i == 0 else f"_{i + 1}"
            animation = _animation(report, name)
            found[f"fields{ending}"] = _stills(animation, _frames_to_show(report))
            found[f"animation{ending}"] = animation
    return found


def colours(report: Report) -> dict[str, str]:
    """The colour of every contestant that a curve shows."""
    found = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(report.of_kind("surrogate"))}
    rivals = cited(report)
    return (
        found | dict.fromkeys(report.of_kind("baseline"), BASELINE) | dict(zip(rivals, greys(len(rivals)), strict=True))
    )


def cited(report: Report) -> list[str]:
    """The rivals that curves show: those behind the verdicts, or the ends of the frontier."""
    named = [name for c in report.comparisons for name in (*c.faster_rivals, *c.better_rivals)]
    frontier = report.frontier
    return list(dict.fromkeys(named or [frontier[i] for i in (0, -1) if frontier]))[:4]


def _curves(report: Report, metric: str, logarithmic: bool, threshold: float | None) -> Figure:
    def drawn(name: str) -> np.ndarray:
        scores = over_channels(report.results[name].scores[metric])
        # A mean over the samples that did not fail would flatter; the curve ends where the first one does.
        whole = np.isfinite(scores).all(axis=0)
        if (failed_at := report.results[name].failed_at) is not None:
            whole &= report.lead_times < failed_at
        scores = np.where(whole, scores, np.nan)
        return np.where(scores > 0, scores, np.nan) if logarithmic else scores

    solid = [*report.of_kind("surrogate"), *report.of_kind("baseline")]
    return plotting.plot_metric(
        report.lead_times,
        {name: drawn(name) for name in solid},
        {name: drawn(name) for name in cited(report)},
        name=labels(report)[metric],
        logarithmic=logarithmic,
        threshold=threshold,
        colours=colours(report),
    )


def _error_against_cost(report: Report) -> Figure:
    def point(name: str, label: str = "") -> CostPoint:
        cost, error = report.points[name]
        return CostPoint(1e3 * cost, error, label)

    frontier, named = report.frontier, cited(report)
    families = {"worth their price": [point(name, name if name in named else "") for name in frontier]}
    failed = {name for name, result in report.of_kind("rival").items() if result.failed_at is not None}
    for name in report.of_kind("rival"):
        if name not in frontier and name not in failed:
            _, scheme, _, rule = name.split(" ", 3)
            families.setdefault(f"other {scheme}, {rule}", []).append(point(name, name if name in named else ""))
    # Last, so that the other families keep their looks. One that had failed by the stated time has no error to draw.
    if crossed := [point(name) for name in sorted(failed) if np.isfinite(report.points[name]).all()]:
        families[BLEW_UP] = crossed
    figure = plotting.plot_error_against_cost(
        families,
        {name: point(name) for name in report.of_kind("surrogate")},
        error_name=f"{decisive(report)}, at lead time {report.lead_time:g}",
        cost_name="wall time per unit of simulated time and trajectory [ms]",
        colours=colours(report),
    )
    _cross_out(figure, BLEW_UP)
    return figure


def _cross_out(figure: Figure, label: str) -> None:
    """Turns the line of this label into crosses, in the panel and in the legend."""
    (panel,), (legend,) = figure.axes, figure.legends
    keys = zip(legend.get_lines(), legend.get_texts(), strict=True)
    lines = [line for line in panel.get_lines() if line.get_label() == label]
    for line in [*lines, *(key for key, text in keys if text.get_text() == label)]:
        line.set(linestyle="none", marker="x", markersize=7, markeredgewidth=1.6, color="0.35")


def _spectra(report: Report) -> Figure:
    rivals = cited(report)
    curves = {"truth": report.truth_spectra[report.stated][0]}
    for name in [*report.of_kind("surrogate"), *rivals]:
        if report.stated in report.results[name].spectra:
            curves[name] = report.results[name].spectra[report.stated][0]
    return plotting.plot_spectra(
        curves,
        name=f"mean square of {report.names[0]} per shell, lead time {report.lead_time:g}",
        unit=f"({report.units[0]})²" if report.units[0] else "",
        colours=colours(report),
        dashed=rivals,
    )


def _animation(report: Report, name: str) -> Animation:
    example = report.results[name].example
    assert example is not None
    return plotting.animate_triptych(
        example[:, 0],
        report.truth[:, 0],
        report.grid,
        report.lead_times,
        name=report.names[0],
        unit=report.units[0],
        prediction_title=name,
        prediction_colour=colours(report)[name],
    )


def _frames_to_show(report: Report) -> list[int]:
    last = len(report.lead_times) - 1
    return sorted({max(1, report.stated // 2), report.stated, (report.stated + last) // 2})


def _stills(animation: Animation, frames: list[int]) -> Figure:
    """Frames of the animation one below the other: the same colours at every time."""
    pixels = np.concatenate([animation.frame(i) for i in frames], axis=0)
    # As many inches as the pixels need at the resolution that figures are saved with.
    figure = Figure(figsize=(pixels.shape[1] / 150, pixels.shape[0] / 150), dpi=150)
    FigureCanvasAgg(figure)
    panel = figure.add_axes((0, 0, 1, 1))
    panel.imshow(pixels, interpolation="nearest", aspect="auto")
    panel.axis("off")
    return figure
