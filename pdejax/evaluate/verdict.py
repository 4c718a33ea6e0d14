"""The outcome in plain words."""

import textwrap
from typing import Any

import numpy as np

from pdejax.evaluate.contestants import PERSISTENCE
from pdejax.evaluate.frontier import Comparison, is_smaller
from pdejax.evaluate.report import Report

# A classical solver of the right equation is rarely as wrong as this at the stated time, whatever its resolution.
FAR_OFF = 0.5


def verdict(report: Report) -> list[str]:
    """One paragraph per surrogate: what it costs, what it reaches, and whether a classical solver does better."""
    found = [_compared(comparison, report) for comparison in report.comparisons]
    if not report.comparisons:
        why = "no classical solver stayed finite and could be timed"
        if report.equation is None:
            why = "no equation was given, so no classical solver was run"
        elif not report.of_kind("rival"):
            why = "every resolution of the classical solvers was left out, so none was run"
        found = [
            f"{name}: {_against_persistence(result.error, report)}"
            f"{_error_in_words(result.error, result.failed_at, report)}; {why}."
            for name, result in report.of_kind("surrogate").items()
        ]
    return found


def caveats(report: Report) -> list[str]:
    """What a reader has to know before trusting the figures."""
    found = []
    if report.of_kind("rival") and report.truth_shape is None:
        found.append(
            "The data does not say on how many points the truth was solved, so it is not known to be twice as fine as "
            "the finest rival; rivals near the data's own resolution may look worse than they are. Say it: "
            "--truth-points on the command line, the argument `truth_shape` in Python."
        )
    found += [f"Rival left out: {reason}." for reason in report.left_out]
    if report.of_kind("rival") and report.unmatched:
        found.append(
            f"The data states {', '.join(report.unmatched)}, and the equation has no coefficient of that name. "
            "If the data was solved with it, the rivals solve another problem: name the coefficients alike."
        )
    floor = report.provenance.get("solver_error_by_frame")
    best = min((r.error for r in report.results.values() if np.isfinite(r.error)), default=np.nan)
    if isinstance(floor, list) and len(floor) > report.stated and best < 3 * floor[report.stated]:
        part = report.provenance.get("solver_error_part", "")
        found.append(
            f"The truth itself is uncertain to {floor[report.stated]:.1e} at this lead time, as measured by its own "
            f"refinement{part and f' {part}'}; the least error here, {best:.1e}, is not far above it."
        )
    reached = [report.results[name].error for name in report.frontier]
    if reached and min(reached) > FAR_OFF:
        found.append(
            f"The classical solvers do not come near the data (least error {min(reached):.2g}). Is this the equation, "
            "and are these its coefficients? If so, the data are too coarse or too far ahead for any of the family; "
            "either way the comparison decides nothing."
        )
    for name, result in report.of_kind("surrogate").items():
        everywhere = float(result.mean("relative_l2")[report.stated])
        if report.common_shape is not None and everywhere > 2 * result.error:
            found.append(
                f"{name} is compared on the common modes alone, and is worse beyond them: on all points its "
                f"error is {everywhere:.3g}, not {result.error:.3g}. Rivals on the data's own points alone compare it "
                "on all: --rival-fractions 1 on the command line, RivalFamily(fractions=(1.0,)) in Python."
            )
        if result.failed_at is not None:
            found.append(
                f"{name} does not stay finite: {result.num_failed} of {len(result.finite)} rollouts have failed by the "
                f"end, the first at lead time {result.failed_at:g}. Its means end there."
            )
    return found


def blown_up(report: Report) -> list[str]:
    """The rivals that are none because they blew up, in a sentence that names them; nothing where all stood."""
    rivals = report.of_kind("rival")
    failed = [name for name, result in rivals.items() if result.failed_at is not None]
    if not failed:
        return []
    return [
        f"{len(failed)} of {len(rivals)} rivals blew up by lead time {report.lead_times[-1]:g}, the end of the data, "
        f"and are not compared with, whatever their error before: {'; '.join(failed)}."
    ]


def summary(report: Report) -> str:
    """The report for a terminal."""
    data = report.data
    lines = [
        f"{data['trajectories']} test trajectories, {data['frames'] - 1} steps of {data['interval']:g}, "
        f"{'x'.join(map(str, data['grid']))} points, {data['dtype']}, {report.circumstances['device']}",
        "",
    ]
    for paragraph in verdict(report):
        lines += [*_wrapped(paragraph), ""]
    everywhere = ["on all points"] if report.common_shape else []
    heads = ["", "error", *everywhere, "correlation below 0.8 from", "below 0.95 from", "cost [ms]"]
    rows: list[list[str]] = [heads]
    shown = [*report.of_kind("surrogate"), *report.of_kind("baseline"), *report.frontier]
    for name in shown:
        result = report.results[name]
        errors = [result.error, *(float(result.mean("relative_l2")[report.stated]) for _ in everywhere)]
        shown_errors = [f"{error:.3g}" if np.isfinite(error) else "failed" for error in errors]
        cost = f"{1e3 * result.cost:.3g}" if np.isfinite(result.cost) else "-"
        rows.append([name, *shown_errors, *(below_from(report, name, threshold) for threshold in (0.8, 0.95)), cost])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells))
    lines += ["", *_wrapped(_legend(report))]
    for sentence in blown_up(report):
        lines += _wrapped(sentence)
    for caveat in caveats(report):
        lines += _wrapped("Note: " + caveat)
    return "\n".join(lines)


def _legend(report: Report) -> str:
    points = "x".join(map(str, report.common_shape or ()))
    common = f" on the common modes, those that {points} points hold" if report.common_shape else ""
    because = f" ({report.stated_because})" if report.stated_because else ""
    text = f"error: relative L2 at lead time {report.lead_time:g}{because}{common}; mean over trajectories."
    if report.common_shape:
        text += " A coarse solver has none of the finer modes, so its error on all points is larger."
    text += f" cost: wall time per unit of simulated time and trajectory, in a batch of {report.data['batch']}."
    if rivals := report.of_kind("rival"):
        text += f" Classical solvers: the {len(report.frontier)} of {len(rivals)} worth their price. "
        text += f"Their names: {report.rivals_named}."
    return text


def _compared(c: Comparison, report: Report) -> str:
    if c.outcome == "failed":
        return f"{c.surrogate} FAILS: {_error_in_words(c.error, report.results[c.surrogate].failed_at, report)}."
    fast, better = _named(c.faster_rivals), _named(c.better_rivals)
    own = f"{_error_in_words(c.error, None, report)} for {1e3 * c.cost:.3g} ms per unit of time"
    ratio = factor(c.speed_up)
    spread = f" ({factor(c.speed_up_low)} to {factor(c.speed_up_high)} in 8 of 10 repeats)"
    bound = {"": "", "at most": "at most ", "at least": "at least "}[c.speed_up_bound]
    neutral = f"Speed-up at equal error {bound}{ratio}{spread} against {fast}"
    if not c.beats_persistence:
        return (
            f"{c.surrogate} LOSES: {_against_persistence(c.error, report)}{own}. {neutral}. {_at_equal_cost(c, better)}"
        )
    if c.outcome == "wins":
        least = "at least " if c.speed_up_bound == "at least" else ""
        reach = (
            f"No rival reaches its error; the most accurate one worth its price, {fast}, costs {ratio} times as much"
            if least
            else f"To be as accurate, the classical solver ({fast}) takes {ratio} times as long"
        )
        figure = f"speed-up at equal error {least}{ratio}{spread}"
        return f"{c.surrogate} WINS: {own}. {reach}: {figure}. {_at_equal_cost(c, better)}"
    if c.outcome == "loses":
        if c.speed_up_bound == "at most":
            reach = (
                f"Even the cheapest classical solver ({fast}) is more accurate (error "
                f"{report.results[c.faster_rivals[0]].error:.3g}), in 1/{factor(1 / c.speed_up)} of the time: speed-up "
                f"at equal error at most {ratio}{spread}"
            )
        else:
            reach = (
                f"The classical solver ({fast}) is as accurate in 1/{factor(1 / c.speed_up)} of the time: speed-up at "
                f"equal error {ratio}{spread}"
            )
        return f"{c.surrogate} LOSES: {own}. {reach}. {_at_equal_cost(c, better)}"
    why = ": the repeats lie on both sides of 1, so the timing decides nothing" if c.undecided else ""
    return f"{c.surrogate} neither wins nor loses: {own}. {neutral}{why}. {_at_equal_cost(c, better)}"


def _against_persistence(error: float, report: Report) -> str:
    """What has to be said before anything else of a surrogate that predicts no better than no prediction."""
    held = report.results[PERSISTENCE].error
    if not np.isfinite(error) or is_smaller(error, held):
        return ""
    return f"no better than holding the initial state (error {held:.3g}, at no cost); "


def _at_equal_cost(c: Comparison, rivals: str) -> str:
    if c.rival_error_bound == "at least":
        return f"At its cost there is no classical solver in the family: the cheapest is {rivals}."
    ratio = c.rival_error / c.error
    compared = f"{factor(ratio)} times larger" if ratio > 1 else f"{factor(1 / ratio)} times smaller"
    if 0.95 < ratio < 1.05:
        compared = "equal"
    within = "less than " if c.rival_error_bound == "at most" else ""
    return f"At {within}its cost the classical solver ({rivals}) has an error of {c.rival_error:.3g}, {compared}."


def _error_in_words(error: float, failed_at: float | None, report: Report) -> str:
    if np.isfinite(error):
        common = " on the common modes" if report.common_shape else ""
        return f"relative L2 error {error:.3g}{common} at lead time {report.lead_time:g}"
    when = "" if failed_at is None else f" from lead time {failed_at:g} on"
    return f"its rollouts are not finite{when}, before the stated lead time {report.lead_time:g}"


def _named(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else "between " + " and ".join(names)


def below_from(report: Report, name: str, threshold: float) -> str:
    """The first lead time at which the mean correlation is below the threshold."""
    time, fell = report.correlation_time(name, threshold)
    return f"{time:g}" if fell else f"never ({time:g})"


def factor(value: float) -> str:
    """A ratio with as many digits as timing supports."""
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _wrapped(text: Any, width: int = 100) -> list[str]:
    return textwrap.wrap(str(text), width)
