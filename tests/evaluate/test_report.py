"""What a report says and shows, from results that are made up here: nothing is solved."""

import dataclasses
import re

import numpy as np
import pytest

from pdejax.evaluate.figures import BLEW_UP, colours, figures
from pdejax.evaluate.frontier import Comparison
from pdejax.evaluate.html import page
from pdejax.evaluate.report import Report, Result
from pdejax.evaluate.rivals import RivalFamily
from pdejax.evaluate.verdict import summary
from pdejax.grid import Grid

FAST, GOOD = "8x8 ETDRK2 h=0.2 dealiased", "16x16 ETDRK4 h=0.1 not dealiased"


@pytest.fixture(scope="module")
def report() -> Report:
    times, grid = np.linspace(0.0, 1.0, 6), Grid((16, 12), 2.0, dtype=np.float32)
    truth = np.random.default_rng(0).normal(size=(6, 1, 16, 12)).astype(np.float32)

    def result(kind, size, cost=None):
        error = size * times[None, :, None] * np.ones((2, 6, 1))
        scores = {"relative_l2": 2 * error, "nrmse": 2 * error, "common_relative_l2": error}
        scores |= {"correlation": 1 - error / 4, "spectrum_error": error / 3}
        spectra = {frame: size * np.arange(1.0, 7.0)[None] for frame in (3, 5)}
        example = None if kind == "rival" else (1 + size) * truth
        costs = None if cost is None else np.full(3, cost)
        made = Result(kind, scores, np.ones((2, 6), bool), example, spectra, costs)
        made.judge(3, times, 10.0)
        return made

    results = {"persistence": result("baseline", 2.0), "FNO": result("surrogate", 0.5, 2e-3)}
    results |= {"U-Net": result("surrogate", 0.6, 4e-3)}
    results |= {FAST: result("rival", 0.4, 1e-3), GOOD: result("rival", 0.1, 3e-3)}
    behind = (0.5, 0.4, 0.6, "at most", (FAST,), 0.15, "", (FAST, GOOD))
    compared = [Comparison(n, 0.6, results[n].error, results[n].cost, *behind) for n in ("FNO", "U-Net")]
    data = {"trajectories": 2, "frames": 6, "interval": 0.2, "grid": [16, 12], "extent": [2.0, 2.0]}
    data |= {"dtype": "float32", "batch": 2, "parameters": {}}
    return Report(
        data=data,
        lead_times=times,
        stated=3,
        names=("vorticity",),
        units=("",),
        grid=grid,
        results=results,
        comparisons=compared,
        truth=truth,
        truth_spectra={frame: np.arange(1.0, 7.0)[None] for frame in (3, 5)},
        truth_shape=(32, 24),
        common_shape=(8, 8),
        left_out=[],
        equation="KolmogorovFlow(viscosity=0.1)",
        provenance={},
        circumstances={"device": "cpu"},
        rivals={},
        rivals_described="pseudo-spectral solvers",
        rivals_named=RivalFamily().named,
    )


@pytest.fixture(scope="module")
def text(report) -> str:
    return re.sub(r"<[^>]+>", "|", page(report, []))


def test_the_two_relative_errors_have_two_names(report, text):
    # 0.5 * 0.6 on the common modes, twice that everywhere.
    assert "|0.3||relative L2 error, common modes, at lead time 0.6|" in text
    assert "||error, common modes||error, all points||correlation||spectrum error|" in text
    assert "|FNO||0.3||0.6||" in text
    assert "nRMSE" not in text
    assert "relative L2 error 0.3 on the common modes at lead time 0.6" in report.summary()


def test_every_column_of_the_table_is_explained(text):
    head, terms = text.index("error, common modes||error, all points"), text.index("|error, common modes||relative")
    assert head < terms
    for term in ("error, all points", "correlation", "spectrum error", "corr. below 0.8 from", "cost", "persistence"):
        assert text.count(f"|{term}|") >= 1, term
    assert "|names of classical solvers|" in text


def test_a_spectrum_is_named_by_what_is_plotted(report):
    found = figures(report)
    assert found["spectra"].axes[0].get_ylabel() == "mean square of vorticity per shell, lead time 0.6"
    with_picture = page(report, [])
    assert "nergy" not in with_picture


def test_a_contestant_has_one_colour_in_all_figures(report):
    found, expected = figures(report), colours(report)
    assert len(set(expected.values())) == len(expected) == 5
    for name in ("relative_l2_against_time", "correlation_against_time", "spectrum_error_against_time", "spectra"):
        lines = {line.get_label(): line.get_color() for line in found[name].axes[0].get_lines()}
        assert {who: lines[who] for who in expected if who in lines} == {
            who: expected[who] for who in lines if who in expected
        }
        assert set(expected) - {"persistence"} <= set(lines)
    panel = found["error_against_cost"].axes[0]
    stars = {line.get_label(): line.get_color() for line in panel.get_lines() if line.get_marker() == "*"}
    assert stars == {name: expected[name] for name in ("FNO", "U-Net")}
    assert {text.get_text(): text.get_color() for text in panel.texts} == {
        FAST: expected[FAST],
        GOOD: expected[GOOD],
    }


DOOMED = "16x16 ETDRK4 h=0.2 not dealiased"


@pytest.fixture(scope="module")
def with_doomed(report) -> Report:
    """One more rival: cheap, of the least error at the stated time, and infinite at the last one."""
    good = report.results[GOOD]
    finite = good.finite.copy()
    finite[0, -1] = False
    doomed = dataclasses.replace(good, scores={m: 0.1 * v for m, v in good.scores.items()}, finite=finite)
    doomed.judge(report.stated, report.lead_times, 10.0)
    return dataclasses.replace(report, results=report.results | {DOOMED: doomed})


def test_a_rival_that_blew_up_is_marked_wherever_it_is_shown(with_doomed):
    assert with_doomed.results[DOOMED].error < with_doomed.results[GOOD].error
    said, markup = " ".join(summary(with_doomed).split()), page(with_doomed, [])
    note = (
        "1 of 3 rivals blew up by lead time 1, the end of the data, and are not compared with, whatever their error "
        f"before: {DOOMED}."
    )
    assert note in said and note in markup
    (row,) = re.findall(f'<tr class="failed"><td>{DOOMED}</td>(.*?)</tr>', markup)
    assert row.endswith("<td>1</td>")
    (row,) = re.findall(f'<tr class="frontier"><td>{GOOD}</td>(.*?)</tr>', markup)
    assert row.endswith("<td>–</td>")


def test_a_rival_that_blew_up_is_crossed_out(report, with_doomed):
    panel = figures(with_doomed)["error_against_cost"].axes[0]
    (crossed,) = [line for line in panel.get_lines() if line.get_label() == BLEW_UP]
    point = with_doomed.points[DOOMED]
    assert (crossed.get_xdata().tolist(), crossed.get_ydata().tolist()) == ([1e3 * point.cost], [point.error])
    assert (crossed.get_marker(), crossed.get_linestyle()) == ("x", "None")
    assert sum(point.error in line.get_ydata() for line in panel.get_lines()) == 1
    (legend,) = panel.get_figure().legends
    keys = {text.get_text(): key for key, text in zip(legend.get_lines(), legend.get_texts(), strict=True)}
    assert {name for name, key in keys.items() if key.get_marker() == "x"} == {BLEW_UP}
    without = figures(report)["error_against_cost"].axes[0]
    assert BLEW_UP not in {line.get_label() for line in without.get_lines()}


def test_the_words_for_dealiasing_are_explained(report, text):
    for said in (text, " ".join(summary(report).split())):
        for wanted in (
            "2 / (degree + 1)",
            "2/3 where the equation is quadratic",
            "dealiased 0.9",
            "not dealiased: all",
        ):
            assert wanted in said


def test_a_lead_time_that_was_chosen_says_why(report):
    chosen = dataclasses.replace(report, stated_because="the first of some kind")
    assert "at lead time 0.6 (the first of some kind) on the common modes" in " ".join(summary(chosen).split())
    assert "0.6, the first of some kind" in page(chosen, []) and "of some kind" not in summary(report)


def test_why_nothing_is_compared_is_true(report):
    surrogates = {name: result for name, result in report.results.items() if result.kind != "rival"}
    alone = dataclasses.replace(report, comparisons=[], results=surrogates, common_shape=None)
    reasons = {
        "no equation was given, so no classical solver was run": dataclasses.replace(alone, equation=None),
        "every resolution of the classical solvers was left out, so none was run": alone,
        "no classical solver stayed finite": dataclasses.replace(report, comparisons=[]),
    }
    for why, reported in reasons.items():
        others = set(reasons) - {why}
        for said in (" ".join(summary(reported).split()), page(reported, [])):
            assert why in said and not any(other in said for other in others)


def test_nothing_is_said_of_failures_where_nothing_failed(report, text):
    assert "blew up" not in text and "blew up" not in summary(report)
    assert "failed at" not in text


def test_correlation_is_below_from_the_first_time_that_is(report, text):
    """1 - t / 2 of persistence is 0.8 at 0.4 and below it at 0.6; 1 - t / 40 of the good rival stays above."""
    said = summary(report)
    assert "correlation below 0.8 from" in said and "below 0.95 from" in said and "until" not in said
    (row,) = [line for line in said.splitlines() if line.strip().startswith("persistence")]
    assert row.split()[1:] == ["1.2", "2.4", "0.6", "0.2", "-"]
    (row,) = [line for line in said.splitlines() if line.strip().startswith(GOOD)]
    assert row.count("never (1)") == 2
    assert "|corr. below 0.8 from||corr. below 0.95 from|" in text and "|never (1)||never (1)|" in text
    assert "until" not in text


def test_what_lies_beyond_the_common_modes_is_said(report):
    """Errors on all points stand in the table; a surrogate that is worse there than on the common modes is named."""
    assert "on all points" in summary(report) and "worse beyond them" not in summary(report)
    fnos = report.results["FNO"]
    worse = dataclasses.replace(fnos, scores=fnos.scores | {"relative_l2": 3 * fnos.scores["relative_l2"]})
    said = " ".join(summary(dataclasses.replace(report, results=report.results | {"FNO": worse})).split())
    assert "FNO is compared on the common modes alone" in said and "its error is 1.8, not 0.3" in said
    assert "U-Net is compared" not in said
    without = dataclasses.replace(report, common_shape=None)
    assert "on all points" not in summary(without)


def compared(report, **changes) -> Report:
    return dataclasses.replace(report, comparisons=[dataclasses.replace(report.comparisons[0], **changes)])


def test_a_speed_up_whose_interval_holds_one_is_no_verdict(report):
    unsure = compared(report, speed_up=1.5, speed_up_low=0.9, speed_up_high=2.0, speed_up_bound="")
    said, markup = " ".join(summary(unsure).split()), page(unsure, [])
    assert "FNO neither wins nor loses" in said and "FNO neither wins nor loses" in markup
    assert "the repeats lie on both sides of 1, so the timing decides nothing" in said


def test_no_better_than_persistence_is_said_first(report):
    results = report.results | {"FNO": dataclasses.replace(report.results["FNO"], error=1.3)}
    fast = {"speed_up": 5.0, "speed_up_low": 4.0, "speed_up_high": 6.0, "speed_up_bound": ""}
    poor = compared(dataclasses.replace(report, results=results), error=1.3, persistence_error=1.2, **fast)
    said = " ".join(summary(poor).split())
    assert "FNO LOSES: no better than holding the initial state (error 1.2, at no cost); relative L2 error 1.3" in said
    assert "Speed-up at equal error 5.00 (4.00 to 6.00 in 8 of 10 repeats)" in said
    assert "<strong>FNO loses</strong>" in page(poor, [])
    alone = dataclasses.replace(poor, comparisons=[], equation=None)
    assert "FNO: no better than holding the initial state (error 1.2" in " ".join(summary(alone).split())
    assert "U-Net: relative L2 error 0.36" in " ".join(summary(alone).split())
    assert "no better" not in summary(report)


def test_nothing_claims_that_the_trajectories_were_never_seen(report, text):
    assert "FNO and U-Net on 2 test trajectories of KolmogorovFlow" in text
    assert "unseen" not in text + summary(report)


def test_costs_say_their_unit_in_the_table(report, tmp_path):
    report.to_csv(tmp_path)
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert [name for name in header if name.startswith("cost")] == [
        "cost_seconds",
        "cost_seconds_low",
        "cost_seconds_high",
    ]
    assert report.table.loc["FNO", "cost_seconds"] == 2e-3
