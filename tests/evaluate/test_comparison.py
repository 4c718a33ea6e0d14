"""Ratios of times that are given by hand, in place of those that a clock would measure."""

import numpy as np
import pytest

from pdejax.evaluate import comparison
from pdejax.evaluate.comparison import compare
from pdejax.evaluate.report import Result


def result(kind, error, cost):
    made = Result(kind, {}, np.ones((1, 2), bool), None, {}, np.asarray([cost]))
    made.error = error
    return made


def test_the_interval_holds_eight_of_ten_repeats(monkeypatch):
    """Eleven rounds in which the rival needs 2.0, 2.1, ... 3.0 times as long as the surrogate of the same error."""
    surrogate = np.asarray([1.0, 2.0] * 5 + [1.0])
    ratios = np.random.default_rng(0).permutation(2 + np.arange(11) / 10)
    given = {"surrogate": surrogate, "rival": ratios * surrogate}
    monkeypatch.setattr(comparison, "time_in_turn", lambda runs, **options: {name: given[name] for name in runs})
    results = {"persistence": result("baseline", 1.0, np.nan), "surrogate": result("surrogate", 0.1, 1.0)}
    results["rival"] = result("rival", 0.1, 2.2)
    (found,) = compare(results, dict.fromkeys(given), 1.0, 0.0)
    assert found.faster_rivals == ("rival",) and found.persistence_error == 1.0
    figures = (found.speed_up_low, found.speed_up, found.speed_up_high)
    assert figures == pytest.approx((2.1, 2.5, 2.9))


def test_a_speed_up_between_two_rivals_is_their_geometric_mean_in_every_round(monkeypatch):
    """Errors of a tenth and a thousandth at costs of 2 and 32: at a hundredth the cost is 8."""
    rounds = np.asarray([1.0, 2.0, 4.0])
    given = {"surrogate": np.ones(3), "cheap": 2 * rounds, "accurate": 32 / rounds}
    monkeypatch.setattr(comparison, "time_in_turn", lambda runs, **options: {name: given[name] for name in runs})
    results = {"persistence": result("baseline", 1.0, np.nan), "surrogate": result("surrogate", 1e-2, 1.0)}
    results |= {"cheap": result("rival", 1e-1, 2.0), "accurate": result("rival", 1e-3, 32.0)}
    (found,) = compare(results, dict.fromkeys(given), 1.0, 0.0)
    assert found.faster_rivals == ("cheap", "accurate")
    # The product of both costs is the same in every round: 64.
    assert (found.speed_up_low, found.speed_up, found.speed_up_high) == pytest.approx((8.0, 8.0, 8.0))
