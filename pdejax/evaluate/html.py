"""The report as one page that holds everything it shows."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from pdejax.evaluate.frontier import EQUAL
from pdejax.evaluate.report import THRESHOLDS, Report, Result
from pdejax.evaluate.terms import decisive, legend
from pdejax.evaluate.verdict import below_from, blown_up, caveats, factor, verdict

# A page should open at once, and pass through mail.
LARGEST_ANIMATION = 3_000_000

COST_CAPTION = (
    "Down and to the left is better. A surrogate is worth it when its star lies below the line of the classical "
    "solvers that are worth their price: no cheaper one is as accurate."
)
CROSSES_CAPTION = " Crosses blew up within the data, and are not compared with, however small their error here."

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1c1c1c;
       background: #f4f4f2; margin: 0; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 2rem 3rem; background: #fff; }
h1 { font-size: 1.7rem; margin: .2rem 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.lead { color: #555; margin: 0 0 1.2rem; }
.verdict { border-left: 6px solid #888; background: #f6f6f4; padding: .8rem 1.1rem; margin: .8rem 0; }
.verdict.wins { border-color: #009e73; } .verdict.loses, .verdict.failed { border-color: #d55e00; }
.verdict strong { font-size: 1.15rem; }
.figures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 1.5rem; margin: .7rem 0 .5rem; }
.figures b { display: block; font-size: 1.5rem; line-height: 1.2; }
.figures span { color: #555; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-size: .8rem; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; border-bottom: 2px solid #999; padding: .3rem .5rem; vertical-align: bottom; }
td { text-align: right; border-bottom: 1px solid #e3e3e0; padding: .25rem .5rem; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.surrogate td { background: #fdf1e8; font-weight: 600; } tr.frontier td { background: #f1f5f9; }
tr.minor td { color: #777; } tr.failed td { color: #a33; }
.card th, .card td { text-align: left; vertical-align: top; border-bottom: 1px solid #e3e3e0; font-weight: 400;
                      white-space: normal; }
.card th { width: 13rem; color: #555; } .card td { overflow-wrap: anywhere; }
img { max-width: min(100%, 52rem); height: auto; display: block; margin: .4rem auto; }
figure { margin: 0; } figcaption, .note { color: #555; font-size: .86rem; }
.note li { margin: .2rem 0; }
dl.note { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dl.note dd { margin: 0; }
"""


def page(report: Report, pictures_saved: Sequence[Path]) -> str:
    """HTML with inline styles and images; it refers to nothing outside itself.

    `pictures_saved`: the files of `report.save_plots`, which are read.
    """
    pictures = {path.stem: _source(path) for path in pictures_saved}
    title = "Is the surrogate worth it?" if report.comparisons else "How good is the surrogate?"
    curves = [name for name in pictures if name.endswith("_against_time")]
    body = [
        f"<h1>{title}</h1>",
        f'<p class="lead">{_text(_subtitle(report))}</p>',
        *_verdicts(report),
        _notes(caveats(report)),
    ]
    if "error_against_cost" in pictures:
        body += [
            "<h2>Error against cost</h2>",
            _figure(pictures["error_against_cost"], COST_CAPTION + (CROSSES_CAPTION if blown_up(report) else "")),
        ]
    body += ["<h2>Table</h2>", _table(report), _notes(blown_up(report))]
    body += ["<h2>Against time</h2>", *(_figure(pictures[name]) for name in curves)]
    body.append(
        '<p class="note">Scores on all points of the data: means over test trajectories with their 95 % bootstrap '
        "interval. A curve ends where the first trajectory fails.</p>"
    )
    if "spectra" in pictures:
        caption = f"Mean square of {report.names[0]} by wavenumber, mean over trajectories at lead time "
        heading = f"<h2>Power spectrum of {_text(report.names[0])}</h2>"
        body += [heading, _figure(pictures["spectra"], f"{caption}{report.lead_time:g}.")]
    fields = [name for name in pictures if name.startswith("fields")]
    if fields:
        body += ["<h2>Example fields</h2>"]
        body += [
            _figure(pictures[name], "The first test trajectory, all panels in the colours of the truth.")
            for name in fields
        ]
    animations = [name for name in pictures if name.startswith("animation")]
    if animations:
        body += ["<h2>Animation</h2>", *(_figure(pictures[name]) for name in animations)]
    body += ["<h2>Data</h2>", _card(_data_card(report)), "<h2>How it was measured</h2>", _card(_method(report))]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _subtitle(report: Report) -> str:
    names = " and ".join(report.of_kind("surrogate"))
    equation = f" of {report.equation.split('(')[0]}" if report.equation else ""
    return (
        f"{names} on {report.data['trajectories']} test trajectories{equation}, "
        f"{'x'.join(map(str, report.data['grid']))} points, {report.data['frames'] - 1} steps of "
        f"{report.data['interval']:g}."
    )


def _verdicts(report: Report) -> list[str]:
    paragraphs = verdict(report)
    if not report.comparisons:
        return [f'<div class="verdict">{_text(paragraph)}</div>' for paragraph in paragraphs]
    parts = []
    for c, paragraph in zip(report.comparisons, paragraphs, strict=True):
        numbers = ""
        if c.outcome != "failed":
            bound = {"": "", "at most": "≤ ", "at least": "≥ "}
            numbers = (
                '<div class="figures">'
                + "".join(
                    f"<div><b>{_text(value)}</b><span>{_text(label)}</span></div>"
                    for value, label in (
                        (f"{bound[c.speed_up_bound]}{factor(c.speed_up)}×", "speed-up at equal error"),
                        (f"{c.error:.3g}", f"{decisive(report)}, at lead time {c.lead_time:g}"),
                        (
                            f"{bound[c.rival_error_bound]}{c.rival_error:.3g}",
                            "the same error of the best classical solver at equal cost",
                        ),
                        (
                            below_from(report, c.surrogate, 0.8),
                            "lead time from which the correlation is below 0.8 (persistence: "
                            f"{below_from(report, 'persistence', 0.8)})",
                        ),
                    )
                )
                + "</div>"
            )
        headline = {
            "wins": f"{c.surrogate} wins",
            "loses": f"{c.surrogate} loses",
            "draws": f"{c.surrogate} neither wins nor loses",
            "failed": f"{c.surrogate} fails",
        }[c.outcome]
        sentence = paragraph.split(": ", 1)[1]
        parts.append(
            f'<div class="verdict {c.outcome}"><strong>{_text(headline)}</strong>{numbers}'
            f"{_text(sentence[0].upper() + sentence[1:])}</div>"
        )
    return parts


def _table(report: Report) -> str:
    # nRMSE is the relative L2 error by another name, so only the files have it.
    metrics = {"relative_l2": "error, all points", "correlation": "correlation", "spectrum_error": "spectrum error"}
    if not report.common_shape:
        del metrics["relative_l2"]
    metrics = {name: label for name, label in metrics.items() if any(name in r.scores for r in report.results.values())}
    own = "error, common modes" if report.common_shape else "error"
    columns = ["", own, *metrics.values(), *(f"corr. below {threshold:g} from" for threshold in THRESHOLDS)]
    columns += ["cost [ms]", "min – max"]
    any_failed = any(result.failed_at is not None for result in report.results.values())
    columns += ["failed at"] if any_failed else []
    frontier = report.frontier
    rivals = sorted(report.of_kind("rival"), key=lambda name: np.nan_to_num(report.results[name].cost, nan=np.inf))
    rows = []
    for name in [*report.of_kind("surrogate"), *report.of_kind("baseline"), *rivals]:
        result = report.results[name]
        style = _row_style(result, name in frontier)
        cells = [_text(name)]
        if np.isfinite(result.error):
            cells.append(f"{result.error:.3g}")
            cells += [
                f"{result.mean(metric)[report.stated]:.3g}" if metric in result.scores else "–" for metric in metrics
            ]
        else:
            cells += ["failed", *["–"] * len(metrics)]
        cells += [below_from(report, name, threshold) for threshold in THRESHOLDS]
        if result.costs is None:
            cells += ["–", "–"]
        else:
            cells += [f"{1e3 * result.cost:.3g}", f"{1e3 * result.costs.min():.3g} – {1e3 * result.costs.max():.3g}"]
        if any_failed:
            cells.append("–" if result.failed_at is None else f"{result.failed_at:g}")
        rows.append(f'<tr class="{style}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    shaded = " Shaded classical solvers are worth their price: no cheaper one is as accurate." if frontier else ""
    note = f"Scores at lead time {report.lead_time:g}, means over trajectories and components.{shaded}"
    terms = "".join(f"<dt>{_text(term)}</dt><dd>{_text(meaning)}.</dd>" for term, meaning in legend(report).items())
    return (
        f'<table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table><p class="note">{_text(note)}</p>'
        f'<dl class="note">{terms}</dl>'
    )


def _row_style(result: Result, on_frontier: bool) -> str:
    if result.kind != "rival":
        return result.kind
    if result.failed_at is not None:
        return "failed"
    return "frontier" if on_frontier else "minor"


def _data_card(report: Report) -> dict[str, Any]:
    data, provenance = report.data, dict(report.provenance)
    card: dict[str, Any] = {
        "trajectories": f"{data['trajectories']} with {data['frames']} frames, {data['interval']:g} apart",
        "fields": ", ".join(f"{n} [{u}]" if u else n for n, u in zip(report.names, report.units, strict=True)),
        "grid": f"{'x'.join(map(str, data['grid']))} points on {' x '.join(f'{side:g}' for side in data['extent'])}",
        "parameters": ", ".join(
            f"{name} {low:g}" if low == high else f"{name} {low:g} to {high:g}"
            for name, (low, high) in data["parameters"].items()
        )
        or "none",
        "truth solved on": "x".join(map(str, report.truth_shape)) + " points" if report.truth_shape else "unknown",
    }
    one, whole = provenance.pop("solver_error_one_interval", None), provenance.pop("solver_error_whole", None)
    by_frame = provenance.pop("solver_error_by_frame", None)
    if one is not None:
        at_stated = (
            f", {by_frame[report.stated]:.1e} at lead time {report.lead_time:g}" if _reaches(by_frame, report) else ""
        )
        end = f", {whole:.1e} at the end" if whole is not None else ""
        part = provenance.pop("solver_error_part", None)
        card["measured solver error"] = f"{one:.1e} after one interval{at_stated}{end}{f', {part}' if part else ''}"
    else:
        card["measured solver error"] = "unknown"
    return card | {name.replace("_", " "): value for name, value in provenance.items()}


def _reaches(by_frame: Any, report: Report) -> bool:
    return isinstance(by_frame, list) and len(by_frame) > report.stated


def _method(report: Report) -> dict[str, Any]:
    method: dict[str, Any] = {
        "error": f"{decisive(report)}, at lead time {report.lead_time:g}; mean over trajectories and components",
    }
    if report.stated_because:
        method["lead time"] = f"{report.lead_time:g}, {report.stated_because}"
    if report.of_kind("rival"):
        method |= {
            "cost": "wall time per unit of simulated time and trajectory, from states on the points of the data to "
            f"states on the points of the data, jitted, in {report.data['dtype']}, in a batch of {report.data['batch']}"
            ", compilation apart; everything timed in turn, median over rounds",
            "speed-up at equal error": "cost of the classical solvers that are worth their price at the surrogate's "
            f"error (interpolated between neighbours in logarithms; errors within {EQUAL:.0%} count as equal) over the "
            "surrogate's cost; median over rounds that timed them in turn",
            "classical solvers": f"{report.equation}; {len(report.of_kind('rival'))} "
            f"{report.rivals_described} as in their names",
        }
    return method | report.circumstances


def _card(entries: dict[str, Any]) -> str:
    rows = []
    for name, value in entries.items():
        value = value if isinstance(value, str) else json.dumps(value, default=str)
        rows.append(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>")
    return f'<table class="card">{"".join(rows)}</table>'


def _notes(notes: list[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<ul class="note">{items}</ul>' if items else ""


def _figure(source: str, caption: str = "") -> str:
    text = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{_text(caption or "figure")}" src="{source}">{text}</figure>'


def _source(path: Path) -> str:
    """The picture as a data address."""
    content = path.read_bytes()
    kind = path.suffix.removeprefix(".")
    if kind == "gif" and len(content) > LARGEST_ANIMATION:
        content = _smaller(content)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _smaller(content: bytes) -> bytes:
    """With every other frame, shown twice as long, until it is small enough; with few frames left, smaller ones."""
    while len(content) > LARGEST_ANIMATION:
        movie = Image.open(io.BytesIO(content))
        frames = [frame.copy() for frame in ImageSequence.Iterator(movie)]
        step = 2 if len(frames) >= 20 else 1
        if step == 1:
            size = (movie.width * 3 // 4, movie.height * 3 // 4)
            frames = [frame.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(256) for frame in frames]
        frames = frames[::step]
        smaller = io.BytesIO()
        duration = step * movie.info.get("duration", 100)
        frames[0].save(smaller, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
        content = smaller.getvalue()
    return content


def _text(value: Any) -> str:
    return html.escape(str(value))
