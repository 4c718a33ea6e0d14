"""The figures of a report."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pdejax import plotting
from pdejax.evaluate.report import Report
from pdejax.evaluate.scores import LABELS, over_channels
from pdejax.plotting import Animation, CostPoint


def figures(report: Report) -> dict[str, Figure | Animation]:
    """By name; `pdejax.plotting.save` writes each. Curves, error against cost, spectra, fields, animation."""
    found: dict[str, Figure | Animation] = {}
    for metric, logarithmic, threshold in (
        ("relative_l2", True, None),
        ("correlation", False, 0.8),
        ("nrmse", True, None),
        ("spectrum_error", True, None),
    ):
        # For fields of mean zero nRMSE is the relative L2 error, and one figure of it is enough.
        if metric == "nrmse" and all(
            np.allclose(r.scores["nrmse"], r.scores["relative_l2"], rtol=1e-3, equal_nan=True)
            for r in report.of_kind("baseline").values()
        ):
            continue
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
        name=LABELS[metric],
        logarithmic=logarithmic,
        threshold=threshold,
    )


def _error_against_cost(report: Report) -> Figure:
    frontier = report.frontier
    # Neighbours on the frontier lie close together: of each resolution one that the verdict names gets a label.
    labels: dict[str, str] = {}
    for name in cited(report):
        if name.split(" ")[0] not in {label.split(" ")[0] for label in labels.values()}:
            labels[name] = _short(name)
    families = {"worth their price": [CostPoint(*report.points[name], labels.get(name, "")) for name in frontier]}
    for name in report.of_kind("rival"):
        if name not in frontier:
            _, scheme, _, rule = name.split(" ", 3)
            families.setdefault(f"other {scheme}, {rule}", []).append(CostPoint(*report.points[name]))
    return plotting.plot_error_against_cost(
        families,
        {name: CostPoint(*report.points[name]) for name in report.of_kind("surrogate")},
        error_name=f"relative L2 error at lead time {report.lead_time:g}",
        cost_name="wall time per unit of simulated time and trajectory [s]",
    )


def _short(name: str) -> str:
    """Resolution and step: `32x32 h=0.05`."""
    resolution, _, step, _ = name.split(" ", 3)
    return f"{resolution} {step}"


def _spectra(report: Report) -> Figure:
    shown = [*report.of_kind("surrogate"), *cited(report)]
    curves = {"truth": report.truth_spectra[report.stated][0]}
    for name in shown:
        if report.stated in report.results[name].spectra:
            curves[name] = report.results[name].spectra[report.stated][0]
    return plotting.plot_spectra(
        curves,
        name=f"mean square of {report.names[0]} per shell",
        unit=f"({report.units[0]})²" if report.units[0] else "",
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
