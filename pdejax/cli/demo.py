"""`pdejax demo`: from an equation to an honestly evaluated surrogate, in a few minutes."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import jax

from pdejax.cli import equation as equation_named
from pdejax.cli.command import Command, require
from pdejax.cli.evaluate import check_fractions, check_lead_time, first_frames
from pdejax.cli.former import begin_anew, refuse_foreign
from pdejax.cli.recipe import TINY, Recipe, describe_data, describe_solver_error
from pdejax.cli.train import MODEL, Training, in_words, read, train_fno
from pdejax.cli.wording import said_as, under
from pdejax.evaluate import Report, RivalFamily, evaluate
from pdejax.progress import is_watched

NAME = "kolmogorov_flow"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Make data, train a surrogate, and compare it with classical solvers: the whole job, on two-dimensional flow.

    Everything is left in OUT: the data, the model, tables, plots, an animation and report.html. What an earlier demo
    left there is replaced, and files of other names stay. A folder that is not empty and that no demo made is refused.
    """

    out: Path = Path("out/demo")
    """Folder to write to."""
    preset: Literal["standard", "tiny"] = "standard"
    """The defaults of all other options: about four minutes on two free cores, or about one (which learns nothing)."""
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    training: Training = dataclasses.field(default_factory=lambda: Training(coordinates=(0, 4)))
    rollout_steps: int = 30
    """Length of the rollouts that are scored, in frames; at most --recipe.frames."""
    at: float = 1.0
    """Lead time at which errors and costs are compared."""
    rival_fractions: tuple[float, ...] = RivalFamily().fractions
    """Resolutions of the classical solvers, as fractions of that of the data."""
    timing_seconds: float = 6.0
    """Time spent on measuring the cost of the model and the solvers."""

    @classmethod
    def presets(cls) -> dict[str, Command]:
        training = Training(modes=(4,), width=4, layers=2, coordinates=(0, 2), steps=20, batch=4)
        tiny = cls(
            preset="tiny", recipe=TINY, training=training, rollout_steps=10, rival_fractions=(0.5,), timing_seconds=0.2
        )
        return {"tiny": tiny}

    def run(self) -> None:
        self.check()
        refuse_foreign(self.out, NAME)
        begin_anew(self.out, NAME, MODEL)
        spent: dict[str, float] = {}
        print(
            f"1/3  Solving {sum(self.recipe.splits.values())} initial value problems of {self.recipe.equation} on "
            f"{'x'.join(map(str, self.recipe.solve_points))} points, in double precision ..."
        )
        with _timed(spent, "data"), said_as(under("recipe", Recipe)):
            paths = self.recipe.write(self.out, NAME)
        # Single precision from here on: the model is trained, and the solvers are timed, in the same.
        with jax.enable_x64(False):
            train, valid, test = (read(paths[split]) for split in ("train", "valid", "test"))
            print(f"     {describe_data(train, paths['train'])}\n     {describe_solver_error(test)}")

            print(f"\n2/3  Training a Fourier neural operator, {self.training.steps} steps ...")
            with _timed(spent, "training"), said_as(under("training", Training)):
                fitted = train_fno(train, valid, self.training, self.out)

            print(f"\n3/3  Rolling out from {len(test)} held-out initial states, beside classical solvers ...")
            with _timed(spent, "evaluation"):
                test = first_frames(test, self.rollout_steps)
                report = evaluate(
                    {"FNO": fitted.model},
                    test,
                    equation_named.of_data(test, None, {}),
                    at=self.at,
                    family=RivalFamily(fractions=self.rival_fractions),
                    timing_seconds=self.timing_seconds,
                    progress=is_watched(),
                )
                assert isinstance(report, Report)  # trajectories give no PairReport
                report.save(self.out)
        print("\n" + summary(report, self.out, describe_solver_error(test)))
        total = sum(spent.values())
        print(
            "\n" + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in spent.items()) + f": {total:.0f} s in all"
        )

    def check(self) -> None:
        """Raises `ValueError` for options that make no sense: now, and not after minutes of solving."""
        with jax.enable_x64(True), said_as(under("recipe", Recipe)):
            self.recipe.check(TINY if self.preset == "tiny" else Recipe())
            self._check_stored()
        with said_as(under("training", Training)):
            self.training.check(self.recipe.store_points)
        pairs = self.recipe.train * self.recipe.frames
        batch = self.training.batch
        require(batch <= pairs, "--training.batch", batch, f"at most {pairs}, the pairs of frames in the training data")
        frames = self.recipe.frames
        steps = self.rollout_steps
        require(1 <= steps <= frames, "--rollout-steps", steps, f"between 1 and --recipe.frames {frames}")
        check_lead_time(self.at, self.recipe.interval, steps)
        check_fractions(self.rival_fractions)
        require(self.timing_seconds > 0, "--timing-seconds", self.timing_seconds, "positive")
        for split in ("train", "valid", "test"):
            require(getattr(self.recipe, split) > 0, f"--recipe.{split}", 0, "at least 1: the demo uses all three")

    def _check_stored(self) -> None:
        """Raises `ValueError` where the classical solvers could not solve the equation on the points of the data."""
        stepper = self.recipe.stepper()
        try:
            stepper.equation.check_grid(stepper.grid.with_shape(self.recipe.store_points))
        except ValueError as error:
            points = " ".join(map(str, self.recipe.store_points))
            raise ValueError(f"--store-points {points} are too few for the classical solvers: {error}") from error


@contextmanager
def _timed(spent: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent[name] = time.perf_counter() - started


def summary(report: Report, out: Path, solver_error: str) -> str:
    """What a person wants to know at the end."""
    files = {
        "report.html": "all of this with figures, in one file: open it in a browser",
        "animation.gif": "truth, prediction and error",
        "metrics.csv, metrics.json": "scores, costs, comparison; curves.csv: scores against time",
        MODEL: "the trained model, for `pdejax evaluate --model` and pdejax.models.load",
        "data/": "the trajectories, in the layout of The Well",
    }
    lines = [
        "HOW FAR DOES THE SURROGATE FOLLOW THE FLOW?",
        in_words(report, "FNO"),
        f"The truth has a {solver_error}",
        "",
    ]
    lines += ["IS IT WORTH ITS PRICE?", report.summary(), "", f"IN {out}:"]
    lines += [f"  {name:<26} {what}" for name, what in files.items()]
    return "\n".join(lines)
