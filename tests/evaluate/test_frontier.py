"""Equal error and equal cost on numbers that can be checked by hand."""

import numpy as np
import pytest

from pdejax.evaluate.frontier import Comparison, Point, cost_at_error, error_at_cost, pareto_frontier

# A solver of second order: ten times the cost, a hundredth of the error.
SECOND_ORDER = {"coarse": Point(1.0, 1e-1), "middle": Point(10.0, 1e-3), "fine": Point(100.0, 1e-5)}


def test_frontier_leaves_out_what_is_not_worth_its_price():
    points = SECOND_ORDER | {
        "dominated": Point(20.0, 2e-3),
        "smaller step, same error": Point(20.0, 0.999e-3),
        "blown up": Point(0.1, np.nan),
        "never timed": Point(np.nan, 1e-9),
    }
    assert pareto_frontier(points) == ["coarse", "middle", "fine"]


def test_cost_at_equal_error_is_linear_in_logarithms():
    match = cost_at_error(1e-2, SECOND_ORDER)
    assert match.value == pytest.approx(10**0.5)
    assert match.weights == pytest.approx({"coarse": 0.5, "middle": 0.5})
    assert match.bound == ""
    assert cost_at_error(1e-4, SECOND_ORDER).value == pytest.approx(10**1.5)


def test_error_at_equal_cost_is_linear_in_logarithms():
    match = error_at_cost(10**1.25, SECOND_ORDER)
    assert match.value == pytest.approx(10**-3.5)
    assert match.weights == pytest.approx({"middle": 0.75, "fine": 0.25})
    assert match.bound == ""


def test_the_cost_between_two_rivals_is_that_of_a_power_law():
    """Through (2, 0.3) and (50, 0.012), and (800, 0.003): first cost = 0.6 / error, then 0.0072 / error^2."""
    points = {"a": Point(2.0, 0.3), "b": Point(50.0, 0.012), "c": Point(800.0, 0.003)}
    match = cost_at_error(0.1, points)
    assert match.value == pytest.approx(6.0)
    # From a to b it is log(3) / log(25) of the way.
    assert match.weights == pytest.approx({"a": 0.6586969, "b": 0.3413031}, rel=1e-6)
    assert cost_at_error(0.004, points).value == pytest.approx(450.0)
    assert error_at_cost(6.0, points).value == pytest.approx(0.1)
    assert error_at_cost(450.0, points).value == pytest.approx(0.004)


def test_outside_the_range_there_are_only_bounds():
    assert cost_at_error(0.5, SECOND_ORDER) == (1.0, {"coarse": 1.0}, "at most")
    assert cost_at_error(1e-7, SECOND_ORDER) == (100.0, {"fine": 1.0}, "at least")
    assert error_at_cost(0.5, SECOND_ORDER) == (1e-1, {"coarse": 1.0}, "at least")
    assert error_at_cost(500.0, SECOND_ORDER) == (1e-5, {"fine": 1.0}, "at most")


@pytest.mark.parametrize("name", SECOND_ORDER)
@pytest.mark.parametrize("rounding", [-1e-4, 0.0, 1e-4])
def test_a_member_of_the_frontier_is_matched_with_itself(name, rounding):
    cost, error = SECOND_ORDER[name]
    match = cost_at_error(error * (1 + rounding), SECOND_ORDER)
    assert match.value == pytest.approx(cost, rel=1e-3)
    assert match.bound == ""


def test_a_thousandth_less_error_does_not_set_the_price():
    # The steep end of every family: where space limits the error, smaller steps cost more and change nothing.
    points = SECOND_ORDER | {"same error, ten times the cost": Point(1000.0, 0.999e-5)}
    assert cost_at_error(0.999e-5, points).value == pytest.approx(100.0)
    assert cost_at_error(0.999e-5, points).bound == ""


def test_no_finite_rival_is_said():
    with pytest.raises(ValueError, match="No rival stayed finite"):
        cost_at_error(0.1, {"blown up": Point(1.0, np.nan)})


@pytest.mark.parametrize(
    ("speed_up", "bound", "outcome"),
    [
        (3.0, "", "wins"),
        (3.0, "at least", "wins"),
        (3.0, "at most", "draws"),
        (1.05, "", "draws"),
        (0.95, "", "draws"),
        (0.5, "", "loses"),
        (0.5, "at most", "loses"),
        (0.5, "at least", "draws"),
        (np.nan, "", "failed"),
    ],
)
def test_outcome_never_reads_a_bound_as_a_victory(speed_up, bound, outcome):
    found = Comparison("s", 1.0, 0.1, 1.0, speed_up, speed_up, speed_up, bound, ("r",), 0.1, "", ("r",))
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("speed_up", "low", "high", "bound", "outcome"),
    [
        (1.5, 0.9, 2.0, "", "draws"),
        (1.5, 1.2, 2.0, "", "wins"),
        (0.7, 0.5, 1.1, "", "draws"),
        (0.7, 0.5, 0.9, "", "loses"),
        (1.5, 0.9, 2.0, "at least", "wins"),
        (0.7, 0.5, 1.1, "at most", "loses"),
    ],
)
def test_repeats_on_both_sides_of_one_decide_nothing(speed_up, low, high, bound, outcome):
    found = Comparison("s", 1.0, 0.1, 1.0, speed_up, low, high, bound, ("r",), 0.1, "", ("r",))
    assert found.outcome == outcome


@pytest.mark.parametrize(("held", "outcome"), [(0.2, "wins"), (0.101, "loses"), (0.05, "loses"), (np.nan, "wins")])
def test_no_speed_makes_up_for_an_error_like_that_of_persistence(held, outcome):
    found = Comparison("s", 1.0, 0.1, 1.0, 5.0, 4.0, 6.0, "", ("r",), 0.1, "", ("r",), held)
    assert found.outcome == outcome
