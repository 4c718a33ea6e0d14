"""`pdejax train`: a Fourier neural operator that steps from frame to frame, from any file in The Well's layout."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import optax
import tyro

from pdejax import models, plotting
from pdejax.cli.command import Command, about, existing_file, refuse_existing, require
from pdejax.cli.wording import said_as
from pdejax.data import Trajectories, read_well
from pdejax.data.trajectories import layout_names
from pdejax.evaluate import Report, evaluate
from pdejax.nn import Modes
from pdejax.progress import is_watched
from pdejax.training import Fitted, TrainingDiverged, fit, objectives

MODEL = "model.pdejax"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """The network and how it is trained."""

    modes: tuple[int, ...] = (16,)
    """Frequencies kept, the mean among them: one number, or one per axis. At most half of an axis' points, and one more
    along the last axis (17 of 32 points on a line)."""
    width: int = 24
    """Channels inside the network."""
    layers: int = 4
    """Fourier layers."""
    coordinates: tuple[int, ...] = (4,)
    """Harmonics of the position that the network is told, one number or one per axis. 0: it is told nothing, and
    treats every place alike; right where no force or coefficient depends on the place."""
    steps: int = 1200
    """Updates of the weights."""
    batch: int = 8
    """Pairs of frames per update."""
    learning_rate: float = 5e-3
    """Peak of the learning rate; it rises for a twentieth of the steps and then falls to zero along a cosine."""
    weight_decay: float = 0.0
    """Of AdamW."""
    seed: int = 0
    """Of the first weights and of the order of the data."""

    def check(self, points: tuple[int, ...]) -> None:
        """Raises `ValueError` naming the option that makes no sense for fields on so many points."""
        ndim = len(points)
        for name, least in {"width": 1, "layers": 1, "steps": 1, "batch": 1}.items():
            require(getattr(self, name) >= least, f"--{name}", getattr(self, name), f"at least {least}")
        for name, least in {"modes": 1, "coordinates": 0}.items():
            values = getattr(self, name)
            require(len(values) in (1, ndim), f"--{name}", values, f"one number, or one for each of {ndim} axes")
            require(min(values) >= least, f"--{name}", values, f"at least {least}")
        Modes.classic(_per_axis(self.modes, ndim), ndim).check_resolved(
            points, f"--modes {_spaced(self.modes)}: the FNO"
        )
        require(0 < self.learning_rate < np.inf, "--learning-rate", self.learning_rate, "positive")
        require(0 <= self.weight_decay < np.inf, "--weight-decay", self.weight_decay, "at least 0")
        require(0 <= self.seed < 2**31, "--seed", self.seed, "at least 0 and below 2^31")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a surrogate on a data file: the next frame from the present one.

    Any HDF5 file in the layout of The Well will do. Writes OUT/model.pdejax, the log and the curve of the loss; with
    --valid also how far rollouts of the model follow those held-out trajectories.
    """

    data: Path
    """File of trajectories to train on."""
    out: Path
    """Folder to write to."""
    valid: Path | None = None
    """File of trajectories that are not trained on, to watch the training and to score the result."""
    fields: tuple[str, ...] = ()
    """Names of the fields to learn; default all."""
    training: Annotated[Training, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Training)
    overwrite: bool = False
    """Replace files that exist."""

    def run(self) -> None:
        refuse_existing([self.out / MODEL], self.overwrite)
        # Single precision whatever the process was started with: a network gains nothing from more.
        with jax.enable_x64(False):
            train = read_option("--data", self.data, self.fields)
            valid = None if self.valid is None else read_option("--valid", self.valid, self.fields)
            started = time.perf_counter()
            fitted = train_fno(train, valid, self.training, self.out)
            print(f"trained for {time.perf_counter() - started:.0f} s; the model is {self.out / MODEL}")
            if valid is not None:
                report = evaluate({"FNO": fitted.model}, valid, timing_seconds=1.0, progress=is_watched())
                assert isinstance(report, Report)  # trajectories give no PairReport
                print(in_words(report, "FNO"))
                report.to_csv(self.out)
                print(f"scores against time are in {self.out / 'curves.csv'}; `pdejax evaluate` compares with solvers")


def read_option(option: str, path: Path, fields: tuple[str, ...]) -> Trajectories:
    """The file that an option names, as `read` gives it; where it is none, the error begins with the option."""
    existing_file(path, option)
    with about(option):
        return read(path, fields)


def read(path: Path, fields: tuple[str, ...] = ()) -> Trajectories:
    """A file in memory, in single precision."""
    data = read_well(path, fields or None)
    return dataclasses.replace(data, u=np.asarray(data.u[:], np.float32), grid=data.grid.with_dtype(np.float32))


def train_fno(train: Trajectories, valid: Trajectories | None, settings: Training, out: Path) -> Fitted:
    """Fits an FNO, and writes the model, the log and the curve of the loss to `out`.

    The data are in single precision. Coefficients that vary from trajectory to trajectory are inputs of the network.

    Raises `ValueError` for settings that do not fit the data, before anything is computed.
    """
    if train.num_frames < 2 or not np.allclose(np.diff(train.times), train.times[1] - train.times[0], rtol=1e-3):
        raise ValueError("A surrogate is trained for one interval: the data need two or more equally spaced frames.")
    if valid is not None:
        check_valid(train, valid)
    grid = train.grid
    settings.check(grid.shape)
    model_key, fit_key = jax.random.split(jax.random.key(settings.seed))
    model = models.FNO(
        train.num_channels,
        train.num_channels,
        grid.ndim,
        _per_axis(settings.modes, grid.ndim),
        settings.width,
        num_layers=settings.layers,
        coordinates=_per_axis(settings.coordinates, grid.ndim),
        parameters=varying(train),
        key=model_key,
    )
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, max(1, settings.steps // 20), max(2, settings.steps)
    )
    started = time.perf_counter()
    with said_as({"batch_size": "--batch", "num_steps": "--steps", "`data`": "--data", "`valid`": "--valid"}):
        try:
            fitted = fit(
                model,
                objectives.OneStep(),
                train,
                valid=valid,
                optimiser=optax.adamw(schedule, weight_decay=settings.weight_decay),
                num_steps=settings.steps,
                batch_size=settings.batch,
                key=fit_key,
            )
        except TrainingDiverged as error:
            where = str(error).partition(". ")[0]
            raise FloatingPointError(f"{where}. Choose a lower --learning-rate, or check the data.") from error
    provenance = {
        "training": dataclasses.asdict(settings),
        "seconds": round(time.perf_counter() - started, 1),
        "trajectories": len(train),
        "frames": train.num_frames,
        "data": train.provenance,
        "final_loss": float(fitted.log["loss"][-50:].mean()),
    }
    out.mkdir(parents=True, exist_ok=True)
    interval = float(train.times[1] - train.times[0])
    models.save(
        out / MODEL,
        fitted.model,
        names=train.names,
        units=train.units,
        grid=grid,
        dt=interval,
        provenance=provenance,
    )
    fitted.log.write(out / "training.csv")
    losses: dict[str, Any] = {"training": (fitted.log["step"], fitted.log["loss"])}
    if valid is not None:
        measured = np.isfinite(fitted.log["valid_loss"])
        losses["validation"] = (fitted.log["step"][measured], fitted.log["valid_loss"][measured])
    label = "one-step loss (persistence = 1)"
    plotting.save(plotting.plot_training(losses, name=label), out / "training.png")
    return fitted


def check_valid(train: Trajectories, valid: Trajectories) -> None:
    """Raises `ValueError` where a model of the training data cannot step, or be scored on, the validation data."""
    if valid.num_frames < 2:
        raise ValueError("--valid has one frame per trajectory: a step is scored on two or more.")
    stated = {
        "dimensions": [each.grid.ndim for each in (valid, train)],
        "fields": [", ".join(each.names) for each in (valid, train)],
        "interval": [f"{float(each.times[1] - each.times[0]):.4g}" for each in (valid, train)],
    }
    # Where the box differs from trajectory to trajectory, that of the grid stands for none of them.
    if not set(layout_names(train.grid.ndim)) & {*train.parameters, *valid.parameters}:
        stated["extent"] = [
            " x ".join(f"{side:.4g}" for side in np.asarray(each.grid.extent)) for each in (valid, train)
        ]
    for what, (held_out, own) in stated.items():
        if held_out != own:
            raise ValueError(
                f"--valid has {what} {held_out} but --data {own}: name a file of the same kind, e.g. the valid split "
                "of one `pdejax generate`."
            )
    if missing := [name for name in varying(train) if name not in valid.parameters]:
        raise ValueError(f"--valid does not state {missing[0]!r}, which varies in --data: the model has to be told it.")


def varying(data: Trajectories) -> list[str]:
    """The parameters that differ from trajectory to trajectory, which are inputs of the network."""
    return [name for name, values in data.parameters.items() if np.ptp(values) > 0]


def _per_axis(values: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return values * ndim if len(values) == 1 else values


def _spaced(values: tuple[int, ...]) -> str:
    return " ".join(map(str, values))


def in_words(report: Report, name: str) -> str:
    """How far rollouts follow the truth, beside holding the initial state still."""
    lines = []
    model, still = report.results[name], report.results["persistence"]
    for who, label in ((name, name), ("persistence", "Holding the initial state")):
        until, fell = report.correlation_time(who)
        when = f"falls below 0.8 at lead time {until:g}" if fell else f"stays above 0.8 to the end, lead time {until:g}"
        lines.append(f"{label}: the correlation with the truth {when}.")
    at_one = 1 + int(np.argmin(np.abs(report.lead_times[1:] - 1.0)))
    own, other = float(model.mean("relative_l2")[at_one]), float(still.mean("relative_l2")[at_one])
    lines.append(
        f"At lead time {report.lead_times[at_one]:g} the relative L2 error on all points is {own:.3f}; "
        + (f"that is {own / other:.2f} times the {other:.3f}" if other > 0 else "it is 0")
        + " of holding the initial state."
    )
    return "\n".join(lines)
