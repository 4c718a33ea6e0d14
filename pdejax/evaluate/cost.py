"""Wall time that can be compared: everything in turn, again and again, compilation apart.

On a shared machine the speed drifts by more than the differences of interest. What is compared is therefore run
alternately, and a ratio is the median of the ratios within one round.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

# Shorter runs are repeated within one measurement, or the clock and the dispatch would be measured.
SHORTEST = 4e-3


def time_in_turn(
    runs: Mapping[str, Callable[[], Any]],
    *,
    seconds: float,
    least_rounds: int = 3,
    most_rounds: int = 25,
) -> dict[str, Float[np.ndarray, " round"]]:
    """Wall time of each run in seconds, one number per round; entry r of all of them was measured in the same round.

    Each run is called once to warm up, then all in turn, in an order that rotates from round to round, until `seconds`
    are used up: at least `least_rounds` and at most `most_rounds`. Results are waited for.
    """
    repeats = {}
    for name, run in runs.items():
        jax.block_until_ready(run())
        start = time.perf_counter()
        jax.block_until_ready(run())
        repeats[name] = max(1, math.ceil(SHORTEST / max(time.perf_counter() - start, 1e-9)))
    names = list(runs)
    measured: dict[str, list[float]] = {name: [] for name in names}
    begin = time.perf_counter()
    for turn in range(most_rounds):
        if turn >= least_rounds and time.perf_counter() - begin > seconds:
            break
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            for _ in range(repeats[name]):
                jax.block_until_ready(runs[name]())
            measured[name].append((time.perf_counter() - start) / repeats[name])
    return {name: np.asarray(values) for name, values in measured.items()}
