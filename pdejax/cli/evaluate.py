"""`pdejax evaluate`: trained models beside classical solvers, on held-out trajectories."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pdejax import models
from pdejax.cli import equation as equation_named
from pdejax.cli.command import Command, about, existing_file, refuse_existing, require
from pdejax.cli.train import MODEL
from pdejax.cli.wording import said_as
from pdejax.data import Trajectories, read_well
from pdejax.data.trajectories import layout_names
from pdejax.equations import Equation
from pdejax.evaluate import RivalFamily, evaluate
from pdejax.progress import is_watched

# What `pdejax.evaluate` calls the options.
WORDS = {
    "leave `equation` out": "say --equation none",
    "truth_shape": "--truth-points",
    "The equation has": "--coefficients: the equation has",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Roll models out on held-out trajectories, and compare them with classical solvers.

    Writes OUT/report.html, tables (CSV, JSON), plots and an animation. The classical solvers run where the equation is
    known: files made by pdejax state it; for others name it with --equation and --coefficients.
    """

    model: tuple[Path, ...]
    """Model files, or the folders that `pdejax train` wrote."""
    data: Path
    """File of trajectories that the models were not trained on."""
    out: Path
    """Folder to write to."""
    equation: str | None = None
    """What the data solve, e.g. KolmogorovFlow; default: what the file says. `none`: no classical solver is run."""
    coefficients: tuple[tuple[str, float], ...] = ()
    """Coefficients that the file does not say, e.g. `--coefficients wavenumber 4`."""
    truth_points: tuple[int, ...] | None = None
    """Points per axis that the data were solved on, where the file does not say. Solvers that are not at least twice
    as coarse are left out of the comparison."""
    at: float | None = None
    """Lead time of the comparison; default: when holding the initial state still has lost the solution."""
    steps: int | None = None
    """Length of the rollouts, in frames; default all."""
    rival_fractions: tuple[float, ...] = RivalFamily().fractions
    """Resolutions of the classical solvers, as fractions of that of the data; above 1 for data that were truncated."""
    seconds: float = 6.0
    """Time spent on measuring the cost of models and solvers."""
    overwrite: bool = False
    """Replace files that exist."""

    def run(self) -> None:
        refuse_existing([self.out / "report.html"], self.overwrite)
        require(self.seconds > 0, "--seconds", self.seconds, "positive")
        check_fractions(self.rival_fractions)
        existing_file(self.data, "--data")
        with about("--data"):
            stored = read_well(self.data).u.dtype
        # The precision of the data is that of the comparison, for models and solvers alike.
        with jax.enable_x64(stored == np.float64):
            saved = load_models(self.model)
            data, surrogates = fit_together(read_well(self.data).load(), saved)
            for name, each in saved.items():
                if trained_on(each, data):
                    print(f"{name}: these are the data that the model was trained on, not held-out ones.")
            if self.steps is not None:
                data = first_frames(data, self.steps)
            equation = equation_named.of_data(data, self.equation, dict(self.coefficients))
            if equation is None and self.equation is None:
                print("no classical solver is run: the file names no equation; name it with --equation")
            if equation is not None:
                name = type(equation).__name__
                if left := equation_named.left_to_defaults(equation, data, dict(self.coefficients)):
                    print(f"the data does not state {left}: {name}'s own default; state others with --coefficients")
                data = with_components(data, equation, explicit=self.equation is not None)
            interval = float(data.times[1] - data.times[0])
            if self.at is not None:
                check_lead_time(self.at, interval, data.num_frames - 1)
            truth, ndim = self.truth_points, data.grid.ndim
            require(truth is None or len(truth) == ndim, "--truth-points", truth, f"{ndim} numbers, one per axis")
            with said_as(WORDS):
                report = evaluate(
                    surrogates,
                    data,
                    equation,
                    at=self.at,
                    family=RivalFamily(fractions=self.rival_fractions),
                    truth_shape=truth,
                    timing_seconds=self.seconds,
                    progress=is_watched(),
                )
            report.save(self.out)
            print(report.summary())
        print(f"\nthe report is {self.out / 'report.html'}")


def load_models(paths: tuple[Path, ...]) -> dict[str, models.SavedModel]:
    """The models by name: that of the architecture, and where two are alike that of the folder or file too."""
    if not paths:
        raise ValueError("--model names no file.")
    found = {}
    for path in paths:
        file = path / MODEL if path.is_dir() else path
        existing_file(file, "--model")
        with about("--model"):
            saved = models.load(file)
        network = saved.model.model if isinstance(saved.model, models.Normalised) else saved.model
        name = type(network).__name__
        if len(paths) > 1:
            name = f"{name} {file.parent.name if file.name == MODEL else file.stem}"
        if name in found:
            raise ValueError(f"--model names {path} twice, or two models called {name!r}: rename a folder.")
        found[name] = saved
    return found


def fit_together(data: Trajectories, surrogates: dict[str, models.SavedModel]) -> tuple[Trajectories, dict[str, Any]]:
    """The fields that the models step, and the models; raises `ValueError` where one was trained for other data."""
    if data.num_frames < 2:
        raise ValueError("The data have one frame per trajectory: a rollout is compared with later ones.")
    interval = float(data.times[1] - data.times[0])
    names = {saved.names for saved in surrogates.values() if saved.names}
    if len(names) > 1:
        raise ValueError(f"The models step different fields, {sorted(names)}: evaluate them one at a time.")
    for name, saved in surrogates.items():
        if saved.dt is not None and not np.isclose(saved.dt, interval, rtol=1e-3):
            raise ValueError(
                f"{name} makes steps of {saved.dt:g} but the frames of the data are {interval:g} apart: evaluate it "
                "on data of its own interval."
            )
        check_box(name, saved, data)
    if names and set(data.names) != set(next(iter(names))):
        data = data.select(*next(iter(names)))
    return data, {name: saved.model for name, saved in surrogates.items()}


def check_box(name: str, saved: models.SavedModel, data: Trajectories) -> None:
    """Raises `ValueError` for data on a box of another size than that which the model was trained on."""
    # Where the box differs from trajectory to trajectory, that of the grid stands for none of them.
    varies = any(each in data.parameters for each in layout_names(data.grid.ndim))
    if saved.grid is None or varies:
        return
    trained, given = (np.asarray(grid.extent, np.float64) for grid in (saved.grid, data.grid))
    if trained.shape != given.shape:
        raise ValueError(f"{name} was trained in {trained.size} dimensions but the data have {given.size}.")
    if not np.allclose(trained, given, rtol=1e-3, atol=0):
        sides = [" x ".join(f"{side:.6g}" for side in box) for box in (trained, given)]
        raise ValueError(
            f"{name} was trained on a box of extent {sides[0]} but that of the data is {sides[1]}: evaluate it on data "
            "of its own box."
        )


# Not in the identity of a set: two runs of one recipe give the same states at other times, on other machines.
CIRCUMSTANCES = {"date", "versions", "device", "split", "first_sample"}


def trained_on(saved: models.SavedModel, data: Trajectories) -> bool:
    """Whether some of the data are, by what both files state of their origin, those that the model was trained on."""
    seen, given = saved.provenance.get("data", {}), data.provenance
    # The measured error of the solver is a result, and not what the states came from.
    names = {name for name in {*seen, *given} - CIRCUMSTANCES if not name.startswith("solver_error")}
    if not given.get("key") or any(seen.get(name) != given.get(name) for name in names):
        return False
    if "first_sample" in seen and "first_sample" in given:
        first, second = int(seen["first_sample"]), int(given["first_sample"])
        return first < second + len(data) and second < first + int(saved.provenance.get("trajectories", 1))
    return seen.get("split") == given.get("split") == "train"


def with_components(data: Trajectories, equation: Equation, explicit: bool) -> Trajectories:
    """The fields under the names of the equation's components, where the user said which equation they obey.

    Raises `ValueError` for another number of fields, another order, and other names in a file that was not spoken for.
    """
    name = type(equation).__name__
    try:
        components = tuple(equation.components(data.grid.ndim))
    except ValueError as error:
        raise ValueError(f"--equation {name} does not fit the data: {error}") from error
    if components == tuple(data.names):
        return data
    stated = f"{name} has the components {', '.join(components)} but the data the fields {', '.join(data.names)}"
    if len(components) != data.num_channels:
        other = "choose another --equation" if explicit else "name their equation with --equation"
        raise ValueError(f"{stated}: {other}, or say --equation none.")
    if set(components) == set(data.names):
        raise ValueError(f"{stated}: train the model with --fields {' '.join(components)}, or say --equation none.")
    if not explicit:
        raise ValueError(f"{stated}: say --equation {name} if these are its components in this order, or none.")
    print(f"the fields {', '.join(data.names)} are taken as {', '.join(components)}, the components of {name}")
    return data.rename(*components)


def check_lead_time(at: float, interval: float, steps: int) -> None:
    """Raises `ValueError` unless `at` is the lead time of a frame, the first excepted."""
    frame = at / interval
    is_stored = abs(frame - round(frame)) <= 1e-3 and 1 <= round(frame) <= steps
    allowed = f"a lead time of the rollouts: a multiple of {interval:g} from {interval:g} to {steps * interval:g}"
    require(is_stored, "--at", f"{at:g}", allowed)


def check_fractions(fractions: tuple[float, ...]) -> None:
    """Raises `ValueError` for resolutions of rivals that are none."""
    good = len(fractions) > 0 and all(0 < fraction < math.inf for fraction in fractions)
    require(good, "--rival-fractions", fractions, "above 0")


def first_frames(data: Trajectories, steps: int) -> Trajectories:
    """The first `steps` intervals; raises `ValueError` when there are fewer."""
    if not 1 <= steps < data.num_frames:
        raise ValueError(
            f"A rollout of {steps} steps: the data have 1 to {data.num_frames - 1}, choose --steps among these."
        )
    provenance = dict(data.provenance)
    by_frame = provenance.get("solver_error_by_frame")
    if isinstance(by_frame, list) and len(by_frame) == data.num_frames:
        # The error of the truth is that of the frames that are compared, not of the end of the file.
        provenance |= {"solver_error_by_frame": by_frame[: steps + 1], "solver_error_whole": by_frame[steps]}
    frames = {"u": np.asarray(data.u[:, : steps + 1]), "times": data.times[: steps + 1]}
    return dataclasses.replace(data, **frames, provenance=provenance)
