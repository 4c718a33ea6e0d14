"""What a logger is."""

import math
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Logger(Protocol):
    """A function that `fit` calls with the rows of the log since its last call, as columns of equal length.

    The columns are those of `TrainingLog`: `step` is one of them, and a quantity that was not measured at a step is NaN
    there. It is called after every compiled call, in the first process alone, and what it raises ends the fit.
    """

    def __call__(self, rows: Mapping[str, np.ndarray]) -> None: ...


def scalars(rows: Mapping[str, np.ndarray]) -> Iterator[tuple[int, dict[str, float]]]:
    """`(step, {name: value})` of every row, without `step` itself and what was not measured."""
    others = {name: np.asarray(values, np.float64) for name, values in rows.items() if name != "step"}
    for row, step in enumerate(rows["step"]):
        yield int(step), {name: float(v[row]) for name, v in others.items() if not math.isnan(v[row])}
