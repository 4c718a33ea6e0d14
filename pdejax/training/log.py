"""What happened in every step of a fit."""

import csv
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass
class TrainingLog:
    """One column per quantity, one entry per optimiser step; NaN where a quantity was not measured.

    `step` counts from 1 and goes on where a resumed run left off; `loss` and `gradient_norm` are those before the
    update of that step, `valid_loss` is that after it; `seconds` is the time since the fit began. Of an ensemble a
    column is the mean over its members, `loss_spread` their standard deviation, and `loss_0`, `loss_1`, ... their own.
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

    def amend(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets what was measured after the last step."""
        for name, value in values.items():
            self.columns.setdefault(name, np.full(len(self), np.nan))[-1] = value[0]

    def since(self, row: int) -> dict[str, np.ndarray]:
        """The columns without their first `row` entries."""
        return {name: values[row:] for name, values in self.columns.items()}

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


def check_log_path(path: str | os.PathLike) -> None:
    """Raises `ValueError` for a name that no log can be written under, before hours of work; makes its folder."""
    path = Path(path)
    if path.is_dir() or path.suffix not in (".csv", ".jsonl"):
        what = "a folder" if path.is_dir() else "neither"
        raise ValueError(f"log_path names a file that ends in .csv or .jsonl, and {path} is {what}.")
    path.parent.mkdir(parents=True, exist_ok=True)


def by_member(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of one number each, from columns that may have an axis of members last."""
    columns = {}
    for name, values in rows.items():
        if values.ndim == 1:
            columns[name] = values
            continue
        columns[name] = values.mean(axis=1)
        # Of a sample: what another seed would differ by. One member says nothing about that, nor does an infinite one.
        with np.errstate(invalid="ignore"):
            spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.full(len(values), np.nan)
        columns[f"{name}_spread"] = spread
        columns |= {f"{name}_{member}": values[:, member] for member in range(values.shape[1])}
    return columns


def _plain(value: Any) -> int | float | None:
    """A number that every reader of CSV and JSON knows; None for one that is not there."""
    number = value.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number
