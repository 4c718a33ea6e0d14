"""Equal error and equal cost: what the best classical solver of a family needs, and what it reaches.

A rival is a point (cost, error). The frontier holds the rivals that are worth their price: no cheaper one has nearly
the same error. Between two neighbours on it the logarithm of the cost is taken as linear in the logarithm of the error,
as it is for a method of fixed order.

Errors within `EQUAL` of each other count as equal. They are means over a few trajectories and differ by more than that
from one test set to the next, while refining the time step of a solver that is limited by its resolution buys a
thousandth of its error for twice its cost: without a tolerance that thousandth would set the price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

EQUAL = 0.02

Bound = Literal["", "at most", "at least"]


class Point(NamedTuple):
    """One solver: seconds per unit of simulated time and sample, and its error at the stated time."""

    cost: float
    error: float


class Match(NamedTuple):
    """What the rivals need or reach: the value, between which of them, and whether it is only a bound.

    `weights` are those of a geometric mean over rivals; one rival alone has the weight 1.
    """

    value: float
    weights: dict[str, float]
    bound: Bound


@dataclass(frozen=True)
class Comparison:
    """One surrogate against the frontier at one stated time.

    - `error`, `cost`: of the surrogate; relative L2 on the common modes, seconds per unit of simulated time and sample.
    - `speed_up`: cost of the frontier at the surrogate's error over the surrogate's cost, the median over repeats that
      timed both in turn; `speed_up_low`, `speed_up_high`: eight of ten repeats lie between them. Above 1 the surrogate
      is faster. `speed_up_bound` is "at most" where even the cheapest rival is more accurate, "at least" where no rival
      reaches the surrogate's error.
    - `rival_error`: the frontier's error at the surrogate's cost; `rival_error_bound` is "at most" where the surrogate
      costs more than every rival on the frontier, "at least" where no rival is as cheap as the surrogate.
    - `faster_rivals`, `better_rivals`: the names behind the two figures.
    - `persistence_error`: of the initial state held fixed, which costs nothing.
    """

    surrogate: str
    lead_time: float
    error: float
    cost: float
    speed_up: float
    speed_up_low: float
    speed_up_high: float
    speed_up_bound: Bound
    faster_rivals: tuple[str, ...]
    rival_error: float
    rival_error_bound: Bound
    better_rivals: tuple[str, ...]
    persistence_error: float = float("nan")

    @property
    def beats_persistence(self) -> bool:
        """Whether the error is below that of holding the initial state, by more than counts as equal."""
        return bool(np.isnan(self.persistence_error)) or is_smaller(self.error, self.persistence_error)

    @property
    def undecided(self) -> bool:
        """Whether the repeats disagree on which of the two is faster. A bound leans to its side whatever they say."""
        return not self.speed_up_bound and bool(self.speed_up_low <= 1 <= self.speed_up_high)

    @property
    def outcome(self) -> Literal["wins", "draws", "loses", "failed"]:
        """By the speed-up at equal error; within 10 % of 1, the precision of the timing, is a draw.

        So is an interval that holds 1. What is no better than holding the initial state loses at any speed.
        """
        if not np.isfinite(self.error) or not np.isfinite(self.speed_up):
            return "failed"
        if not self.beats_persistence:
            return "loses"
        if self.undecided:
            return "draws"
        if self.speed_up > 1.1 and self.speed_up_bound != "at most":
            return "wins"
        return "loses" if self.speed_up < 0.9 and self.speed_up_bound != "at least" else "draws"


def is_smaller(error: float, other: float, equal: float = EQUAL) -> bool:
    """Whether an error is below another by more than counts as equal."""
    return bool(error * (1 + equal) < other)


def pareto_frontier(points: Mapping[str, Point], equal: float = EQUAL) -> list[str]:
    """The names of the rivals worth their price, from the cheapest to the most accurate.

    A rival is on the frontier when every cheaper one has an error more than `equal` larger. Points that are not finite
    are never on it.
    """
    frontier: list[str] = []
    least = np.inf
    for name in sorted(_finite(points), key=lambda name: (points[name].cost, points[name].error)):
        if is_smaller(points[name].error, least, equal):
            frontier.append(name)
        least = min(least, points[name].error)
    return frontier


def cost_at_error(error: float, points: Mapping[str, Point], equal: float = EQUAL) -> Match:
    """The least cost at which the rivals have this error, equal within the tolerance or better.

    Raises `ValueError` when no rival is finite.
    """
    points = _finite(points)
    frontier = _nonempty_frontier(points, equal)
    good_enough = [name for name in points if points[name].error <= error * (1 + equal)]
    if not good_enough:
        best = frontier[-1]
        return Match(points[best].cost, {best: 1.0}, "at least")
    cheapest = min(good_enough, key=lambda name: points[name].cost)
    # Better than asked for, and nothing cheaper to interpolate with: what less accuracy costs is not known.
    strictly_better = cheapest == frontier[0] and points[cheapest].error * (1 + equal) < error
    found = Match(points[cheapest].cost, {cheapest: 1.0}, "at most" if strictly_better else "")
    for cheap, accurate in pairwise(frontier):
        if points[accurate].error <= error <= points[cheap].error:
            interpolated = _between(error, cheap, accurate, points, "error", "cost")
            found = min(found, interpolated, key=lambda match: match.value)
    return found


def error_at_cost(cost: float, points: Mapping[str, Point], equal: float = EQUAL) -> Match:
    """The least error of the rivals at this cost, equal within the tolerance or lower.

    Raises `ValueError` when no rival is finite.
    """
    points = _finite(points)
    frontier = _nonempty_frontier(points, equal)
    affordable = [name for name in points if points[name].cost <= cost * (1 + equal)]
    if not affordable:
        cheapest = frontier[0]
        return Match(points[cheapest].error, {cheapest: 1.0}, "at least")
    best = min(affordable, key=lambda name: points[name].error)
    costs_more_than_all = points[frontier[-1]].cost * (1 + equal) < cost
    found = Match(points[best].error, {best: 1.0}, "at most" if costs_more_than_all else "")
    for cheap, accurate in pairwise(frontier):
        if points[cheap].cost <= cost <= points[accurate].cost:
            interpolated = _between(cost, cheap, accurate, points, "cost", "error")
            found = min(found, interpolated, key=lambda match: match.value)
    return found


def _between(value: float, cheap: str, accurate: str, points: Mapping[str, Point], known: str, asked: str) -> Match:
    ends = np.log([getattr(points[cheap], known), getattr(points[accurate], known)])
    weight = float((np.log(value) - ends[0]) / (ends[1] - ends[0])) if ends[0] != ends[1] else 1.0
    weights = {name: w for name, w in ((cheap, 1 - weight), (accurate, weight)) if w > 0}
    logarithm = sum(w * np.log(getattr(points[name], asked)) for name, w in weights.items())
    return Match(float(np.exp(logarithm)), weights, "")


def _finite(points: Mapping[str, Point]) -> dict[str, Point]:
    """Exact agreement (an error of zero) has no logarithm and counts as the smallest number."""
    tiny = float(np.finfo(float).tiny)
    return {
        name: Point(point.cost, max(point.error, tiny)) for name, point in points.items() if np.all(np.isfinite(point))
    }


def _nonempty_frontier(points: Mapping[str, Point], equal: float) -> list[str]:
    frontier = pareto_frontier(points, equal)
    if not frontier:
        raise ValueError("No rival stayed finite, so there is nothing to compare with: widen the family of rivals.")
    return frontier
