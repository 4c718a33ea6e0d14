"""What every experiment shares: options, and the files that its results are written to."""

import abc
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from pdejax import plotting
from pdejax.cli.command import Command, refuse_existing, require
from pdejax.data import Trajectories
from pdejax.evaluate import Report, RivalFamily, evaluate
from pdejax.evaluate.writing import plain, write_text
from pdejax.progress import is_watched


class Outcome(NamedTuple):
    """`found` for a program to read, the page for people, and what is drawn and scored where there is such.

    `figures` are by what their files' names have behind that of the script.
    """

    found: dict[str, Any]
    page: str
    figures: Mapping[str, Any] = {}
    report: Report | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(Command):
    """Hypotheses, put to the test: `run` writes what `outcome` finds out, and nothing of it when that fails."""

    name: ClassVar[str]

    out: Path | None = None
    """Folder for models and reports; default out/experiments/ and the name of the script."""
    results: Path | None = None
    """Folder for the results: a JSON file, a page in Markdown, and figures where there are such; default OUT."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the first weights and of the order of the data: one model of every kind for each."""
    overwrite: bool = False
    """Replace the results of an earlier run."""

    @property
    def folder(self) -> Path:
        return Path("out/experiments") / self.name if self.out is None else self.out

    @abc.abstractmethod
    def outcome(self) -> Outcome:
        """Trains, scores and compares, in single precision."""

    def run(self) -> None:
        path = (self.folder if self.results is None else self.results) / self.name
        refuse_existing([path.with_suffix(".json")], self.overwrite)
        distinct = len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds)
        require(distinct, "--seeds", self.seeds, "at least one number, each once")
        # Models and solvers are timed in the same precision, whatever the environment says.
        with jax.enable_x64(False):
            outcome = self.outcome()
        written = [".md", ".json"]
        if outcome.report is not None:
            outcome.report.save(self.folder)
        for behind, figure in outcome.figures.items():
            plotting.save(figure, path.with_name(f"{self.name}{behind}.png"))
            written.append(f"{behind}.png")
        write_text(path.with_suffix(".md"), outcome.page)
        # Last, for it is what a later run takes as the sign that there are results.
        write_text(path.with_suffix(".json"), json.dumps(plain(outcome.found), indent=1, allow_nan=False) + "\n")
        print(outcome.page)
        print(f"the results are {path}{', '.join(written)}")
        if outcome.report is not None:
            print(f"the report is {self.folder / 'report.html'}")


def scored(
    models: dict[str, Any],
    held_out: Any,
    equation: Any,
    preset: Any,
    family: RivalFamily,
    *,
    key: Any = None,
    truth: tuple[int, ...] | None = None,
) -> Report:
    """The report on trajectories, at the lead time `preset.at`, with `preset.timing_seconds` for every cost.

    `key` is for models that draw; `truth`, the points per axis that the data were solved on, where they do not say it.
    """
    report = evaluate(
        models,
        held_out,
        equation,
        at=preset.at,
        family=family,
        truth_shape=truth,
        timing_seconds=preset.timing_seconds,
        key=key,
        progress=is_watched(),
    )
    assert isinstance(report, Report)  # trajectories give no PairReport
    return report


def in_single_precision(made: Trajectories) -> Trajectories:
    """Data as networks and rivals take them: both compute in single precision, and so do their grids."""
    return dataclasses.replace(made, grid=made.grid.with_dtype(np.float32))


def told(row: dict[str, Any]) -> None:
    """Says on the standard error output what has come out so far, for whoever waits."""
    print(
        ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
        ),
        file=sys.stderr,
        flush=True,
    )


def settings_of(experiment: Any, preset: Any) -> dict[str, Any]:
    """What the results say of how they were made."""
    return dataclasses.asdict(preset) | {"seeds": list(experiment.seeds), "preset": experiment.preset}


def speed_up(comparison: Any | None) -> dict[str, Any]:
    """What a row says of a surrogate beside the solver of its error; nothing where they were not compared."""
    if comparison is None:
        return {}
    c = comparison
    found = {"speed_up": c.speed_up, "speed_up_high": c.speed_up_high, "speed_up_bound": c.speed_up_bound}
    # In nine of ten repeats; and a bound from below decides nothing.
    return found | {"solver_is_cheaper": c.speed_up_high < 1 and c.speed_up_bound != "at least"}


def spread(values: list[float]) -> str:
    """The mean, and from the least to the largest."""
    return f"{sum(values) / len(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def seeds_of(held: list[bool]) -> str:
    """`2 of 3`: for how many seeds a hypothesis held."""
    return f"{sum(held)} of {len(held)}"
