"""The log of a fit in Weights & Biases."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from pdejax.training.loggers.logger import scalars


class Wandb:
    """Writes the rows to `run`, what `wandb.init(...)` returns: anything with `log(values, step=)`.

    - `prefix`: comes before every name, e.g. "train/".

    Raises `ValueError` for a run without `log`, such as the module itself before `wandb.init`.
    """

    def __init__(self, run: Any, prefix: str = ""):
        if not callable(getattr(run, "log", None)) or isinstance(run, ModuleType):
            raise ValueError(
                f"Wandb needs a run with log(values, step=), got a {type(run).__name__}: pass wandb.init(...)."
            )
        self.run, self.prefix = run, prefix

    def __call__(self, rows: Mapping[str, np.ndarray]) -> None:
        for step, values in scalars(rows):
            self.run.log({self.prefix + name: value for name, value in values.items()}, step=step)
