"""Every surrogate against the frontier of the rivals, at equal error and at equal cost."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pdejax.evaluate.contestants import PERSISTENCE
from pdejax.evaluate.cost import time_in_turn
from pdejax.evaluate.frontier import EQUAL, Comparison, Point, cost_at_error, error_at_cost, pareto_frontier
from pdejax.evaluate.report import Result


def compare(
    results: Mapping[str, Result],
    runs: Mapping[str, Any],
    lead_time: float,
    seconds: float,
) -> list[Comparison]:
    """One entry per surrogate; what decides is timed once more, in turn with the surrogate.

    - `runs`: what is timed, by name; each call covers the same simulated time, all trajectories of a batch together.
    - `seconds`: spent on each surrogate.
    """
    points = {name: Point(result.cost, result.error) for name, result in results.items() if result.stands}
    found = []
    for name, result in results.items():
        if result.kind != "surrogate" or not points:
            continue
        if not (np.isfinite(result.error) and np.isfinite(result.cost)):
            nothing = (np.nan, np.nan, np.nan, "", (), np.nan, "", ())
            found.append(Comparison(name, lead_time, result.error, result.cost, *nothing))
            continue
        paired = time_in_turn(
            {n: runs[n] for n in (name, *_deciding(result.error, result.cost, points))},
            seconds=seconds,
            least_rounds=9,
            most_rounds=400,
        )
        per_round = {n: values / paired[name] for n, values in paired.items() if n != name}
        # The same rivals at the costs that they have in the surrogate's company. Its own cost stays that of the first
        # timing, which the tables show: one report, one figure. Only ratios decide.
        own_cost = result.cost
        nearby = {n: Point(own_cost * float(np.median(ratio)), points[n].error) for n, ratio in per_round.items()}
        by_error, by_cost = cost_at_error(result.error, nearby), error_at_cost(own_cost, nearby)
        ratios = np.exp(sum(w * np.log(per_round[n]) for n, w in by_error.weights.items()))
        found.append(
            Comparison(
                surrogate=name,
                lead_time=lead_time,
                error=result.error,
                cost=own_cost,
                speed_up=float(np.median(ratios)),
                speed_up_low=float(np.quantile(ratios, 0.1)),
                speed_up_high=float(np.quantile(ratios, 0.9)),
                speed_up_bound=by_error.bound,
                faster_rivals=tuple(by_error.weights),
                rival_error=by_cost.value,
                rival_error_bound=by_cost.bound,
                better_rivals=tuple(by_cost.weights),
                persistence_error=results[PERSISTENCE].error,
            )
        )
    return found


def _deciding(error: float, cost: float, points: Mapping[str, Point]) -> list[str]:
    """The rivals that can set either figure, given what noise does to a first timing.

    Those that set it by that timing, the ends of the frontier (they say whether a figure is only a bound), and up to
    four more that are as accurate at less than half as much again.
    """
    by_error, by_cost = cost_at_error(error, points), error_at_cost(cost, points)
    frontier = pareto_frontier(points)
    as_good = [
        name
        for name in sorted(points, key=lambda name: points[name].cost)
        if points[name].error <= error * (1 + EQUAL) and points[name].cost <= 1.5 * by_error.value
    ]
    return list(dict.fromkeys([*by_error.weights, *by_cost.weights, frontier[0], frontier[-1], *as_good[:4]]))
