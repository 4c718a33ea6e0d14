"""The log of a fit in TensorBoard."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pdejax.training.loggers.logger import scalars


class TensorBoard:
    """Writes the rows to `writer`, anything with `add_scalar(tag, value, step)`: `tensorboardX.SummaryWriter` (extra
    `tensorboard`), `torch.utils.tensorboard.SummaryWriter`.

    - `prefix`: comes before every name, e.g. "train/".

    Raises `ValueError` for a writer without `add_scalar`.
    """

    def __init__(self, writer: Any, prefix: str = ""):
        if not callable(getattr(writer, "add_scalar", None)):
            raise ValueError(
                f"TensorBoard needs a writer with add_scalar(tag, value, step), got a {type(writer).__name__}: pass "
                "tensorboardX.SummaryWriter(folder)."
            )
        self.writer, self.prefix = writer, prefix

    def __call__(self, rows: Mapping[str, np.ndarray]) -> None:
        for step, values in scalars(rows):
            for name, value in values.items():
                self.writer.add_scalar(self.prefix + name, value, step)
        if callable(flush := getattr(self.writer, "flush", None)):
            flush()
