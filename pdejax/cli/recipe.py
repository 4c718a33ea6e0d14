"""How a data set is made: equation, grid, initial law, solver, splits and seed, in one value that can be run."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from pdejax.cli import equation as equation_named
from pdejax.cli.command import new_folder, require
from pdejax.cli.wording import said_as
from pdejax.data import Trajectories, generate, write_well
from pdejax.fields import Spectral
from pdejax.grid import Grid
from pdejax.initial import BandLimited
from pdejax.solvers import TimeStepper

# What the functions behind a recipe call its options. Most mistakes are found before, by `check`; what only solving
# finds, e.g. a solution that does not stay finite, is said in these words.
WORDS = {
    "dt": "--interval",
    "substeps": "--substeps",
    "burn_in": "--burn-in",
    "num_steps": "--frames",
    "measure_error": "--measure-error",
    "a finer grid": "more --solve-points",
    "a smoother initial state": "a smaller --initial-rms or --initial-peak",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set on a periodic box, solved by Fourier. The defaults are a two-dimensional Kolmogorov flow."""

    equation: str = "KolmogorovFlow"
    """What is solved: the name of an equation of pdejax, e.g. Burgers or KuramotoSivashinsky."""
    coefficients: tuple[tuple[str, float], ...] = (("viscosity", 5e-3), ("drag", 0.1), ("wavenumber", 4.0))
    """Coefficients of the equation by name, e.g. `--coefficients viscosity 0.005 drag 0.1`. Another equation
    starts from its own defaults, not from these."""
    solve_points: tuple[int, ...] = (128, 128)
    """Points per axis where the equation is solved."""
    store_points: tuple[int, ...] = (64, 64)
    """Points per axis of the stored fields, at most those solved on. With more than half of these, `evaluate` leaves
    out the classical solvers that are more than half as fine as the data's own. The measured error is the same."""
    extent: tuple[float, ...] = (2 * math.pi,)
    """Side lengths of the box; one number for all axes, or one per axis."""
    initial_peak: float = 4.0
    """The random initial fields have their energy around so many waves per side."""
    initial_rms: float = 4.0
    """Root mean square of the initial fields."""
    initial_mean: float = 0.0
    """Mean of the initial fields."""
    interval: float = 0.2
    """Time between two stored frames."""
    substeps: int = 16
    """Solver steps per interval."""
    burn_in: int = 40
    """Intervals before the first stored frame, in which the flow forgets how it began."""
    frames: int = 60
    """Stored frames after the first one."""
    train: int = 40
    """Trajectories to train on."""
    valid: int = 8
    """Trajectories to watch the training with."""
    test: int = 8
    """Trajectories that are kept for the evaluation."""
    seed: int = 0
    """Of the random initial fields."""
    chunk_size: int = 4
    """Trajectories solved at once. It changes the speed, and the results within rounding."""
    measure_error: int = 1
    """Trajectories whose solver error is measured, by solving them again twice as fine."""

    @property
    def splits(self) -> dict[str, int]:
        """Trajectories per split. The test set comes first: it stays the same when more is made for training."""
        counts = {"test": self.test, "valid": self.valid, "train": self.train}
        return {name: count for name, count in counts.items() if count != 0}

    def check(self, default: "Recipe | None" = None) -> None:
        """Raises `ValueError` naming the option whose value makes no sense, before anything is computed.

        `default`: what held where the user gave nothing. The points to store may be from there alone, and no mistake
        of the user's.
        """
        solved, stored = self.solve_points, self.store_points
        require(len(solved) > 0 and min(solved) >= 2, "--solve-points", solved, "numbers of at least 2, one per axis")
        left = default is not None and stored == default.store_points and solved != default.solve_points
        option = f"--store-points{' (by default)' if left else ''}"
        require(
            len(stored) == len(solved) and min(stored) >= 2,
            option,
            stored,
            f"numbers of at least 2 for as many axes as --solve-points {' '.join(map(str, solved))}",
        )
        if any(kept > all_ for kept, all_ in zip(stored, solved, strict=True)):
            shown = [" ".join(map(str, points)) for points in (stored, solved)]
            raise ValueError(f"{option} {shown[0]} are more than were solved, --solve-points {shown[1]}.")
        require(
            len(self.extent) in (1, len(solved)) and all(0 < side < math.inf for side in self.extent),
            "--extent",
            self.extent,
            f"positive: one number, or one per axis of {len(solved)}",
        )
        # A field of `peak` has modes up to twice as high, and a grid of n points holds (n - 1) // 2 of them.
        highest = (min(solved) - 1) // 2 / 2
        require(
            0 < self.initial_peak <= highest,
            "--initial-peak",
            self.initial_peak,
            f"positive and at most {highest:g} on --solve-points {' '.join(map(str, solved))}",
        )
        require(0 < self.initial_rms < math.inf, "--initial-rms", self.initial_rms, "positive")
        require(math.isfinite(self.initial_mean), "--initial-mean", self.initial_mean, "finite")
        require(0 < self.interval < math.inf, "--interval", self.interval, "positive")
        for name, least in {"substeps": 1, "burn_in": 0, "frames": 1, "chunk_size": 1, "measure_error": 0}.items():
            value = getattr(self, name)
            require(value >= least, f"--{name.replace('_', '-')}", value, f"at least {least}")
        require(0 <= self.seed < 2**31, "--seed", self.seed, "at least 0 and below 2^31")
        if min(self.train, self.valid, self.test) < 0 or not self.splits:
            raise ValueError(
                f"--train {self.train}, --valid {self.valid}, --test {self.test} must not be negative, and not all 0."
            )
        with jax.enable_x64(True), said_as(WORDS):
            self.stepper()

    def stepper(self) -> TimeStepper:
        """In double precision; raises `ValueError` for an unknown equation, coefficients that are not its own, and
        points and a box that it does not fit."""
        extent = self.extent[0] if len(self.extent) == 1 else np.asarray(self.extent)
        grid = Grid(self.solve_points, extent, dtype=np.float64)
        # The default coefficients are those of the default equation, and say nothing about another.
        untouched = self.coefficients in (Recipe.coefficients, TINY.coefficients)
        given = {} if untouched and self.equation != Recipe.equation else dict(self.coefficients)
        equation = equation_named.from_name(self.equation, given)
        points = " ".join(map(str, self.solve_points))
        try:
            equation.components(grid.ndim)
        except ValueError as error:
            raise ValueError(f"--solve-points {points} does not fit --equation: {error}") from error
        try:
            return TimeStepper(equation, Spectral(grid), self.interval, self.substeps)
        except ValueError as error:
            sides = " ".join(f"{side:g}" for side in self.extent)
            raise ValueError(
                f"--coefficients, --extent {sides} and --solve-points {points} do not fit together: {error}"
            ) from error

    def paths(self, out: Path, name: str) -> dict[str, Path]:
        """Where each split goes: the folders that readers of The Well expect."""
        return {split: out / "data" / split / f"{name}.hdf5" for split in self.splits}

    def write(self, out: Path, name: str) -> Mapping[str, Path]:
        """Solves all trajectories, in double precision, and writes one file per split; returns their paths.

        Files of these names are replaced: the command decides before whether they may be.

        Raises `ValueError` for options that make no sense, and `FloatingPointError` when a solution does not stay
        finite; then nothing is written.
        """
        self.check()
        paths = self.paths(out, name)
        with jax.enable_x64(True), said_as(WORDS):
            stepper = self.stepper()
            num_channels = len(stepper.equation.components(stepper.grid.ndim))
            law = BandLimited(
                self.initial_peak, rms=self.initial_rms, mean=self.initial_mean, num_channels=num_channels
            )
            # Never all in memory: the trajectories are streamed to one file, and from there to one per split.
            unfinished = out / f".{name}.unfinished.hdf5"
            with new_folder(out):
                try:
                    data = generate(
                        stepper,
                        law,
                        num_samples=sum(self.splits.values()),
                        num_steps=self.frames,
                        burn_in=self.burn_in,
                        store=stepper.grid.with_shape(self.store_points),
                        key=jax.random.key(self.seed),
                        chunk_size=min(self.chunk_size, sum(self.splits.values())),
                        measure_error=self.measure_error,
                        path=unfinished,
                        overwrite=True,
                    )
                    first = 0
                    for split, count in self.splits.items():
                        part = data[first : first + count]
                        notes = {"split": split, "seed": self.seed, "first_sample": first}
                        part = dataclasses.replace(part, provenance=part.provenance | notes)
                        write_well(part, paths[split], dataset_name=name, overwrite=True)
                        first += count
                finally:
                    unfinished.unlink(missing_ok=True)
        return paths


def describe_data(data: Trajectories, path: Path) -> str:
    """One line about a data file: what it holds, and how large it is."""
    points = "x".join(map(str, data.grid.shape))
    return (
        f"{path}: {len(data)} trajectories of {data.num_frames} frames, {', '.join(data.names)} on {points} points, "
        f"{path.stat().st_size / 1e6:.1f} MB"
    )


def describe_solver_error(data: Trajectories) -> str:
    """What the provenance says about the error of the solver, in words."""
    one, whole = (data.provenance.get(f"solver_error_{name}") for name in ("one_interval", "whole"))
    if one is None or whole is None:
        return f"solver error: {data.provenance.get('solver_error', 'not stated in the file')}"
    interval = float(data.times[1] - data.times[0])
    part = data.provenance.get("solver_error_part", "")
    return (
        f"solver error, measured by refinement: {one:.1e} after one interval of {interval:g}, {whole:.1e} after all "
        f"{data.num_frames - 1}{f', {part}' if part else ''}"
    )


TINY = Recipe(
    solve_points=(32, 32),
    store_points=(16, 16),
    coefficients=(("viscosity", 2e-2), ("drag", 0.1), ("wavenumber", 2.0)),
    initial_peak=2.0,
    initial_rms=2.0,
    substeps=8,
    burn_in=5,
    frames=10,
    train=4,
    valid=2,
    test=2,
)
"""Seconds of everything: to try out the machinery, not to learn from."""
