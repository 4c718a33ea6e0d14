"""What happened in every step of a fit."""

import csv
import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass
class TrainingLog:
    """One column per quantity, one entry per optimiser step; NaN where a quantity was not measured.

    `step` counts from 1 and goes on where a resumed run left off; `loss` and `gradient_norm` are those before the
    update of that step, `valid_loss` is that after it; `seconds` is the time since the fit began.
    """

    columns: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns.get("step", ()))

    def append(self, rows: dict[str, Any]) -> None:
        """Adds as many steps as `rows["step"]` has entries."""
        count, before = len(rows["step"]), len(self)
        for name in rows.keys() | self.columns.keys():
            new = np.broadcast_to(np.asarray(rows.get(name, np.nan)), (count,))
            old = [self.columns.get(name, np.full(before, np.nan))] if before else []
            self.columns[name] = np.concatenate([*old, new])

    def write(self, path: str | os.PathLike) -> None:
        """As comma-separated values or, for a name that ends in .jsonl, as one JSON object per line.

        The file appears under its name only when it is whole.
        """
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        names = sorted(self.columns, key=lambda name: (name != "step", name != "loss", name))
        rows = ([_plain(self.columns[name][i]) for name in names] for i in range(len(self)))
        with open(partial, "w", newline="") as file:
            if path.suffix == ".jsonl":
                for row in rows:
                    entries = {name: value for name, value in zip(names, row, strict=True) if value is not None}
                    file.write(json.dumps(entries) + "\n")
            else:
                writer = csv.writer(file)
                writer.writerow(names)
                writer.writerows(rows)
        os.replace(partial, path)


def _plain(value: Any) -> int | float | None:
    """A number that every reader of CSV and JSON knows; None for one that is not there."""
    number = value.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number
