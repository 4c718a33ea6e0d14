"""What an evaluation found: tables, a text, figures and one page."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from pdejax.evaluate.contestants import Kind
from pdejax.evaluate.frontier import Comparison, Point, pareto_frontier
from pdejax.evaluate.on_data_grid import OnDataGrid
from pdejax.evaluate.scores import LABELS, over_channels
from pdejax.evaluate.writing import plain, write_text
from pdejax.grid import Grid
from pdejax.metrics import CorrelationTime, bootstrap_interval, correlation_time

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from pdejax.plotting import Animation

THRESHOLDS = (0.8, 0.95)


@dataclasses.dataclass
class Result:
    """What one contestant did.

    - `scores`: `{metric: (sample, time, channel)}`, time 0 included.
    - `finite`: `(sample, time)`, whether the state was finite.
    - `example`: the rollout of the first trajectory, `(time, channel, *space)`; None for rivals.
    - `spectra`: `{frame: (channel, shell)}`, means over samples.
    - `costs`: seconds per unit of simulated time and sample, one per timing round.
    - `error`: at the stated time, on the common modes; NaN if it had failed by then.
    - `failed_at`: the lead time at which the first sample failed, or None; `num_failed`: how many did at last.
    """

    kind: Kind
    scores: dict[str, np.ndarray]
    finite: np.ndarray
    example: np.ndarray | None
    spectra: dict[int, np.ndarray]
    costs: np.ndarray | None = None
    error: float = float("nan")
    failed_at: float | None = None
    num_failed: int = 0

    def judge(self, stated: int, lead_times: np.ndarray, blown_up: float) -> None:
        """Sets error and failure. A rival has failed, too, when its error says that it is about to overflow."""
        errors = over_channels(self.scores.get("common_relative_l2", self.scores["relative_l2"]))
        good = self.finite.copy()
        if self.kind == "rival":
            good &= np.nan_to_num(errors, nan=np.inf) < blown_up
        failed = ~np.logical_and.accumulate(good, axis=1)
        self.num_failed = int(failed[:, -1].sum())
        if failed.any():
            self.failed_at = float(lead_times[int(np.argmax(failed.any(axis=0)))])
        self.error = float("nan") if failed[:, stated].any() else float(errors[:, stated].mean())

    @property
    def stands(self) -> bool:
        """Whether this is a rival to compare with. One that blows up within the data's window is none.

        Not even at earlier times: there its error on the common modes may still be small while its highest modes, which
        those leave out, already run away.
        """
        return (
            self.kind == "rival" and self.failed_at is None and bool(np.isfinite(self.cost) and np.isfinite(self.error))
        )

    def failed_before(self, lead_time: float) -> bool:
        return self.failed_at is not None and self.failed_at <= lead_time

    @property
    def cost(self) -> float:
        return float("nan") if self.costs is None or self.costs.size == 0 else float(np.median(self.costs))

    def mean(self, metric: str) -> Float[np.ndarray, " time"]:
        """Mean over samples and channels. NaN where any sample is: a failure is not averaged away."""
        return over_channels(self.scores[metric]).mean(axis=0)

    def mean_by_channel(self, metric: str) -> Float[np.ndarray, "time channel"]:
        """Mean over samples. NaN where any sample is: a channel that is zero in one of them has no correlation."""
        return self.scores[metric].mean(axis=0)


@dataclasses.dataclass
class Report:
    """The outcome of `evaluate`. `print(report)` says who wins, by how much, and against what.

    - `table`: one row per surrogate, baseline and rival; `curves`: every score against time, in long form;
      `comparisons`: one entry per surrogate with the speed-up at equal error and the error at equal cost.
    - `save(folder)`: everything: the tables (CSV, JSON), the figures, the animation and `report.html`, one file that
      needs no other. Every file is written whole or not at all.
    - `unmatched`: the parameters of the data that are, as far as is known, coefficients, but not of this equation.
    - `stated_because`: why the stated time was chosen, where the caller left it open.
    - `frontier`: the names of the rivals worth their price, cheapest first; `rivals[name]` is the stepper itself.
    """

    data: dict[str, Any]
    lead_times: np.ndarray
    stated: int
    names: tuple[str, ...]
    units: tuple[str, ...]
    grid: Grid
    results: dict[str, Result]
    comparisons: list[Comparison]
    truth: np.ndarray
    truth_spectra: dict[int, np.ndarray]
    truth_shape: tuple[int, ...] | None
    common_shape: tuple[int, ...] | None
    left_out: list[str]
    equation: str | None
    provenance: dict[str, Any]
    circumstances: dict[str, str]
    rivals: dict[str, OnDataGrid]
    rivals_described: str
    rivals_named: str
    unmatched: tuple[str, ...] = ()
    stated_because: str = ""

    @property
    def lead_time(self) -> float:
        """The stated time: how far ahead errors are compared."""
        return float(self.lead_times[self.stated])

    def of_kind(self, kind: Kind) -> dict[str, Result]:
        return {name: result for name, result in self.results.items() if result.kind == kind}

    @property
    def points(self) -> dict[str, Point]:
        return {name: Point(result.cost, result.error) for name, result in self.results.items()}

    @property
    def frontier(self) -> list[str]:
        return pareto_frontier({name: self.points[name] for name, result in self.results.items() if result.stands})

    def correlation_time(self, name: str, threshold: float = 0.8) -> CorrelationTime:
        """The first lead time at which the mean correlation over samples (and channels) is below the threshold."""
        return correlation_time(over_channels(self.results[name].scores["correlation"]), self.lead_times, threshold)

    @property
    def table(self) -> "pandas.DataFrame":
        """One row per contestant: scores at the stated time, correlation times, cost, failure, comparison."""
        import pandas  # it takes half a second to import, and training needs none

        frontier, compared = set(self.frontier), {c.surrogate: c for c in self.comparisons}
        rows = []
        for name, result in self.results.items():
            row: dict[str, Any] = {
                "name": name,
                "kind": result.kind,
                "lead_time": self.lead_time,
                "error": result.error,
            }
            for metric in result.scores:
                at_stated = over_channels(result.scores[metric])[:, self.stated]
                row |= {metric: float(at_stated.mean()), f"{metric}_std": float(at_stated.std())}
            for threshold in THRESHOLDS:
                time, fell = self.correlation_time(name, threshold)
                row |= {f"correlation_time_{threshold}": time, f"correlation_fell_{threshold}": fell}
            costs = np.asarray([np.nan]) if result.costs is None else result.costs
            row |= {"cost_seconds": result.cost}
            row |= {"cost_seconds_low": float(costs.min()), "cost_seconds_high": float(costs.max())}
            row |= {"failed_at": result.failed_at, "num_failed": result.num_failed, "on_frontier": name in frontier}
            if name in compared:
                found = dataclasses.asdict(compared[name])
                found |= {"outcome": compared[name].outcome}
                found |= {key: " | ".join(found[key]) for key in ("faster_rivals", "better_rivals")}
                row |= {key: v for key, v in found.items() if key not in ("surrogate", "lead_time", "error", "cost")}
            rows.append(row)
        return pandas.DataFrame(rows).set_index("name")

    @property
    def curves(self) -> "pandas.DataFrame":
        """Every score against lead time: mean over samples, standard deviation, bootstrap interval, per channel.

        The channel `all` is the mean over channels. Where a sample has failed, the mean is NaN and `num_finite` says
        how many samples were left.
        """
        import pandas

        parts = []
        for name, result in self.results.items():
            for metric, values in result.scores.items():
                channels = {"all": over_channels(values)}
                if len(self.names) > 1:
                    channels |= {channel: values[..., c] for c, channel in enumerate(self.names)}
                for channel, scores in channels.items():
                    with np.errstate(invalid="ignore", over="ignore"):
                        low, high = bootstrap_interval(scores) if len(scores) > 1 else (scores[0], scores[0])
                        columns = {"mean": scores.mean(axis=0), "std": scores.std(axis=0), "low": low, "high": high}
                    columns |= {"num_finite": result.finite.sum(axis=0), "lead_time": self.lead_times}
                    labels = {"name": name, "kind": result.kind, "metric": metric, "channel": channel}
                    parts.append(pandas.DataFrame(columns).assign(**labels))
        columns = ["name", "kind", "metric", "channel", "lead_time", "mean", "std", "low", "high", "num_finite"]
        return pandas.concat(parts, ignore_index=True).reindex(columns=columns)

    def summary(self) -> str:
        """Who wins, by how much, against what: for a terminal."""
        from pdejax.evaluate.verdict import summary

        return summary(self)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.of_kind(kind))} {kind}s" for kind in ("surrogate", "rival"))
        return f"Report({counts}, {self.data['trajectories']} trajectories, lead time {self.lead_time:g})"

    def to_csv(self, folder: str | Path) -> list[Path]:
        """Writes `metrics.csv` (the table) and `curves.csv`."""
        folder = Path(folder)
        texts = {"metrics.csv": self.table.to_csv(), "curves.csv": self.curves.to_csv(index=False)}
        return [write_text(folder / name, text) for name, text in texts.items()]

    def to_json(self, path: str | Path) -> Path:
        """Writes everything but fields and figures; what is not finite becomes null."""
        curves = {
            name: {metric: result.mean(metric) for metric in result.scores} | {"num_finite": result.finite.sum(axis=0)}
            for name, result in self.results.items()
        }
        by_channel = {
            name: {
                metric: dict(zip(self.names, result.mean_by_channel(metric).T, strict=True)) for metric in result.scores
            }
            for name, result in self.results.items()
        }
        content = {
            "lead_time": self.lead_time,
            "contestants": self.table.reset_index().to_dict("records"),
            "comparisons": [dataclasses.asdict(c) | {"outcome": c.outcome} for c in self.comparisons],
            "frontier": self.frontier,
            "lead_times": self.lead_times,
            "curves": curves,
            "curves_by_channel": by_channel,
            "common_modes_of": self.common_shape,
            "truth_solved_on": self.truth_shape,
            "left_out": self.left_out,
            "unmatched": self.unmatched,
            "equation": self.equation,
            "data": self.data,
            "provenance": self.provenance,
            "circumstances": self.circumstances,
            "labels": LABELS,
        }
        return write_text(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")

    def plots(self) -> "Mapping[str, Figure | Animation]":
        """The figures by name; `pdejax.plotting.save` writes one."""
        from pdejax.evaluate.figures import figures

        return figures(self)

    def save_plots(self, folder: str | Path) -> list[Path]:
        """Writes every figure as PNG, and the animation as GIF."""
        from pdejax.plotting import Animation, save

        folder = Path(folder)
        return [
            save(figure, folder / f"{name}{'.gif' if isinstance(figure, Animation) else '.png'}")
            for name, figure in self.plots().items()
        ]

    def to_html(self, path: str | Path) -> Path:
        """Writes one page that holds its images and styles and needs no other file."""
        from pdejax.evaluate.html import page

        with tempfile.TemporaryDirectory() as folder:
            return write_text(path, page(self, self.save_plots(folder)))

    def save(self, folder: str | Path) -> list[Path]:
        """Writes `report.html`, `metrics.csv`, `metrics.json`, `curves.csv`, `summary.txt`, figures and animation."""
        from pdejax.evaluate.html import page

        folder = Path(folder)
        pictures = self.save_plots(folder)
        return [
            write_text(folder / "report.html", page(self, pictures)),
            *self.to_csv(folder),
            self.to_json(folder / "metrics.json"),
            write_text(folder / "summary.txt", self.summary() + "\n"),
            *pictures,
        ]
