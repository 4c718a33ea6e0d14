"""What a report says and shows, from results that are made up here: nothing is solved."""

import re

import numpy as np
import pytest

from pdejax.evaluate.figures import colours, figures
from pdejax.evaluate.frontier import Comparison
from pdejax.evaluate.html import page
from pdejax.evaluate.report import Report, Result
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
    for term in ("error, all points", "correlation", "spectrum error", "corr. > 0.8 until", "cost", "persistence"):
        assert text.replace("&gt;", ">").count(f"|{term}|") >= 1, term
    assert "|names of classical solvers|" in text


def test_a_spectrum_is_named_by_what_is_plotted(report):
    found = figures(report)
    assert found["spectra"].axes[0].get_ylabel() == "mean square of vorticity per shell"
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
        "8x8 ETDRK2 h=0.2": expected[FAST],
        GOOD: expected[GOOD],
    }
