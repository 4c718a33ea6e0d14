"""Five networks, three ways to train them, one flow, one budget: errors and costs beside the classical solvers'.

FNO, U-Net, dilated ResNet, SineNet and PDE-Refiner are trained on one set of Kolmogorov flow for the same time on the
same machine, compilation apart: on single steps; on single steps and then by pushforward; on single steps and then
unrolled. The refiner has an objective of its own and is trained on that alone. Hypotheses:

1. Of the networks that are trained on single steps, one of convolutions follows longer than the FNO.
2. Pushforward and unrolling make a network follow longer than single steps alone (for how many of the networks).
3. At equal error a spectral solver is cheaper than every one of them.

The number of optimiser steps is what fits into the time: a step is measured in short runs first. In the two curricula
half of the steps are single ones, and the others are what they are named after. Learning rates are given per network
and fall along a cosine; they were chosen in short runs. Everything is scored by `pdejax.evaluate`: how long the mean
correlation stays above 0.8, the error at lead time 1, the cost, and what the cheapest solver of that error costs.

Data: vorticity, frames 0.2 apart, viscosity 0.005, drag 0.1, force sin(4 y); any file in The Well's layout that holds
this flow, e.g. those of datasets/kolmogorov_flow.py. It is truncated to `points` points per axis, and what has the
symmetries of the flow, turned by 180 degrees or mirrored and shifted, is added to the training data.

    python experiments/kolmogorov_models.py --data TRAIN.hdf5 --valid VALID.hdf5    # an hour and a half
    python experiments/kolmogorov_models.py --data ... --valid ... --preset tiny    # minutes; learns nothing

Writes RESULTS/kolmogorov_models.json, .md, .png and _correlation.png, and to OUT the report and what it is made of.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
import optax
from _experiment import Experiment, Outcome, scored, settings_of, speed_up, spread

import pdejax as pj
from pdejax import nn, plotting
from pdejax.cli import equation as equation_named
from pdejax.cli import run_script
from pdejax.cli.command import existing_file, require
from pdejax.cli.train import read
from pdejax.evaluate import Report, RivalFamily
from pdejax.models import FNO, DilatedResNet, PDERefiner, SineNet, UNet
from pdejax.plotting import CostPoint
from pdejax.plotting.style import COLOURS
from pdejax.progress import is_watched
from pdejax.resample import resample
from pdejax.training import Curriculum, OneStep, Pushforward, Unrolled, fit

NAME = "kolmogorov_models"
OBJECTIVES = ("one step", "pushforward", "unrolled")
# The force depends on the second coordinate.
PLACE = nn.Conditioning(coordinates=(0, 4))
TOLD = nn.Conditioning("refinement", coordinates=(0, 4), modulation=nn.FiLM(), embedding=nn.Embedding(64, sinusoids=32))


@dataclasses.dataclass(frozen=True)
class Preset:
    """Points of the data, frequencies and channels of the networks, seconds of every training, and the solvers."""

    points: int
    modes: int
    width: int
    seconds: float
    batch: int
    unrolled_steps: int
    at: float
    family: RivalFamily
    most_steps: int | None = None
    timing_seconds: float = 6.0


# The data are truncated, and solvers with more points start from the same states.
FAMILY = RivalFamily(fractions=(2.0, 1.5, 1.0, 0.75, 0.5, 0.375))
PRESETS = {
    "cpu": Preset(32, 16, 24, seconds=300.0, batch=16, unrolled_steps=4, at=1.0, family=FAMILY),
    "gpu": Preset(64, 20, 48, seconds=1200.0, batch=32, unrolled_steps=8, at=1.0, family=FAMILY),
    "tiny": Preset(16, 4, 4, 0.0, 2, 2, 0.4, RivalFamily(fractions=(0.5,)), most_steps=2, timing_seconds=0.1),
}


@dataclasses.dataclass(frozen=True)
class Network:
    """How one is made for a preset with a key, and its learning rate."""

    make: Callable[[Preset, Any], Any]
    learning_rate: float


NETWORKS = {
    "FNO": Network(lambda p, key: FNO(1, 1, 2, p.modes, p.width, num_layers=4, conditioning=PLACE, key=key), 4e-3),
    "U-Net": Network(
        lambda p, key: UNet(1, 1, 2, p.width, multipliers=(1, 2, 2), depth=1, conditioning=PLACE, key=key), 2e-3
    ),
    "dilated ResNet": Network(
        lambda p, key: DilatedResNet(1, 1, 2, p.width, num_blocks=2, conditioning=PLACE, key=key), 2e-3
    ),
    "SineNet": Network(
        lambda p, key: SineNet(
            1, 1, 2, p.width, num_waves=2, multiplier=1.5, num_levels=3, conditioning=PLACE, key=key
        ),
        2e-3,
    ),
    "refiner": Network(
        lambda p, key: PDERefiner(
            UNet(2, 1, 2, p.width, multipliers=(1, 2, 2), depth=1, conditioning=TOLD, key=key),
            1,
            nn.RefinementSchedule(2, 5e-2),
        ),
        2e-3,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelsOnKolmogorovFlow(Experiment):
    """Train networks by objectives for the same time on Kolmogorov flow, and score them beside classical solvers."""

    name = NAME

    data: Path
    """File of trajectories to train on."""
    valid: Path
    """File of held-out trajectories, which the models are scored on."""
    truth_points: tuple[int, ...] | None = None
    """Points per axis that the data were solved on, where the file does not say."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the first weights and of the order of the data: one model of every kind for each."""
    preset: Literal["cpu", "gpu", "tiny"] = "cpu"
    """How large all of it is."""

    def outcome(self) -> Outcome:
        preset = PRESETS[self.preset]
        train, valid = read(existing_file(self.data, "--data")), read(existing_file(self.valid, "--valid"))
        require(not self.valid.samefile(self.data), "--valid", self.valid, "another file than --data: held-out ones")
        names_it = valid.provenance.get("equation") == "KolmogorovFlow"
        equation = equation_named.of_data(valid, "KolmogorovFlow", {} if names_it else {"wavenumber": 4.0})
        assert isinstance(equation, pj.equations.KolmogorovFlow)  # `of_data` refuses others
        train, valid = (on_points(each, preset.points) for each in (train, valid))
        train = with_symmetric(train, int(equation.wavenumber))
        models: dict[str, Any] = {}
        trainings: dict[str, dict[str, Any]] = {}
        for network in NETWORKS:
            for objective in OBJECTIVES if network != "refiner" else ("refined",):
                for seed in self.seeds:
                    name = f"{network}, {objective}, seed {seed}"
                    models[name], trainings[name] = trained(network, objective, train, preset, seed)
        report = scored(models, valid, equation, preset, preset.family, key=jax.random.key(7), truth=self.truth_points)
        found = rows_and_verdicts(report, trainings)
        found["settings"] = settings_of(self, preset)
        return Outcome(found, in_markdown(found), figures_of(found), report)


def on_points(data: pj.Trajectories, points: int) -> pj.Trajectories:
    """In memory and in single precision, truncated to the modes of so many points per axis."""
    grid = data.grid.with_dtype(np.float32)
    coarse = grid.with_shape((points,) * grid.ndim)
    truncated = jax.jit(jax.vmap(lambda u: resample(u, grid, coarse)))
    u = np.stack([np.asarray(truncated(np.asarray(each, np.float32))) for each in data.u[:]])
    return dataclasses.replace(data, u=u, grid=coarse)


def with_symmetric(data: pj.Trajectories, wavenumber: int) -> pj.Trajectories:
    """Four times as many: with u also its image turned by 180 degrees, and both mirrored in x.

    A mirror image changes the sign of the vorticity; half a wavelength further along y so has the force.
    """
    u = np.asarray(data.u[:])
    u = np.concatenate([u, np.roll(u[..., ::-1, ::-1], (1, 1), axis=(-2, -1))])
    half = data.grid.shape[-1] // (2 * wavenumber)
    u = np.concatenate([u, -np.roll(u[..., ::-1, :], (1, half), axis=(-2, -1))])
    return pj.Trajectories.from_arrays(u, data.grid, data.names, np.asarray(data.times))


def objectives_of(name: str, preset: Preset) -> tuple[Any, Any]:
    """What the first half of the steps is trained on, and the second."""
    if name == "refined":
        return pj.objectives.Refined(), pj.objectives.Refined()
    later = {"one step": OneStep(), "pushforward": Pushforward(1), "unrolled": Unrolled(preset.unrolled_steps)}
    return OneStep(), later[name]


def trained(network: str, objective: str, train: Any, preset: Preset, seed: int) -> tuple[Any, dict[str, Any]]:
    """A model, after as many steps as fit into the time, and what its training was."""
    first, later = objectives_of(objective, preset)
    given = NETWORKS[network]
    model = given.make(preset, jax.random.key(seed))

    def run(objective: Any, steps: int, **options: Any) -> Any:
        cosine = optax.cosine_decay_schedule(given.learning_rate, steps, 1e-3)
        return fit(
            model,
            objective,
            train,
            optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(cosine)),
            num_steps=steps,
            batch_size=preset.batch,
            key=jax.random.fold_in(jax.random.key(100), seed),
            progress=is_watched(),
            **options,
        )

    steps = preset.most_steps
    if steps is None:
        per_step = [seconds_per_step(run, each) for each in ((first,) if later == first else (first, later))]
        steps = max(2, round(preset.seconds / np.mean(per_step)))
    started = time.perf_counter()
    whole = first if later == first else Curriculum(((0, first), (steps // 2, later)))
    fitted = run(whole, steps)
    count = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    took = {"network": network, "objective": objective, "seed": seed, "weights": count, "optimiser_steps": steps}
    return fitted.model, took | {"seconds": time.perf_counter() - started}


def seconds_per_step(run: Callable[..., Any], objective: Any) -> float:
    """The least of four calls of five steps, of which that which compiles is none."""
    log = run(objective, 25, steps_per_call=5).log
    return float(np.min(np.diff(log["seconds"][4::5]))) / 5


def rows_and_verdicts(report: Report, trainings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A row for every model, and what became of the hypotheses."""
    compared = {comparison.surrogate: comparison for comparison in report.comparisons}
    rows = []
    for name, training in trainings.items():
        until, fell = report.correlation_time(name, 0.8)
        result = report.results[name]
        row = training | {"until": until, "fell": fell, "error": result.error, "cost": cost_of(report, name)}
        row["correlation"] = correlation_of(report, name)
        rows.append(row | speed_up(compared.get(name)))
    return {
        "rows": rows,
        "held": verdicts(rows),
        "number_of_seeds": len({row["seed"] for row in rows}),
        "lead_time": report.lead_time,
        "times": np.asarray(report.lead_times, float).tolist(),
        "rivals": solvers(report),
        "circumstances": report.circumstances,
    }


def verdicts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of the hypotheses: the networks that they held for, and the number of models."""

    def longest(network: str, objective: str) -> float:
        """The mean over the seeds."""
        own = [row["until"] for row in rows if (row["network"], row["objective"]) == (network, objective)]
        return sum(own) / len(own)

    of_convolutions = [name for name in NETWORKS if name not in ("FNO", "refiner")]
    single = {name: longest(name, "one step") for name in (*of_convolutions, "FNO")}
    held: dict[str, Any] = {
        "convolutions": [name for name in of_convolutions if single[name] > single["FNO"]],
        "solver_is_cheaper": f"{sum(bool(row.get('solver_is_cheaper')) for row in rows)} of {len(rows)}",
    }
    for objective in OBJECTIVES[1:]:
        held[objective] = [name for name in single if longest(name, objective) > single[name]]
    return held


def cost_of(report: Report, name: str) -> float:
    """Seconds per unit of time and trajectory; NaN where the rollout did not stay finite and was not timed."""
    costs = report.results[name].costs
    return float("nan") if costs is None else float(np.median(costs))


def solvers(report: Report) -> list[dict[str, Any]]:
    """Those that no other one of less error costs less than."""
    return [
        {
            "name": name,
            "until": report.correlation_time(name, 0.8).time,
            "error": report.results[name].error,
            "cost": cost_of(report, name),
            "correlation": correlation_of(report, name),
        }
        for name in report.frontier
    ]


def correlation_of(report: Report, name: str) -> list[float]:
    """With the truth, at every time: the mean over the trajectories."""
    return np.mean(report.results[name].scores["correlation"], axis=(0, 2)).tolist()


def figures_of(found: dict[str, Any]) -> dict[str, Any]:
    """Error against cost, and correlation against time: a colour for every network, and a mark for every objective."""
    means: dict[str, dict[str, Any]] = {}
    colours = {}
    for network, objective in dict.fromkeys((row["network"], row["objective"]) for row in found["rows"]):
        own = [row for row in found["rows"] if (row["network"], row["objective"]) == (network, objective)]
        label = f"{network}, {objective}"
        means[label] = {name: np.mean([row[name] for row in own], axis=0) for name in ("cost", "error", "correlation")}
        colours[label] = COLOURS[list(NETWORKS).index(network)]
    solvers = found["rivals"]
    # None is compared with on the few points of the toy size.
    points = [CostPoint(1e3 * each["cost"], each["error"], each["name"].split()[0]) for each in solvers]
    best = min(solvers, key=lambda each: each["error"], default=None)
    return {
        "": plotting.plot_error_against_cost(
            {"classical solvers": points} if points else {},
            {label: CostPoint(1e3 * float(mean["cost"]), float(mean["error"])) for label, mean in means.items()},
            error_name=f"relative L2 error at lead time {found['lead_time']:g}",
            cost_name="ms per unit of time and trajectory",
            colours=colours,
        ),
        "_correlation": plotting.plot_metric(
            np.asarray(found["times"]),
            {label: mean["correlation"] for label, mean in means.items()},
            {} if best is None else {best["name"]: np.asarray(best["correlation"])},
            name="correlation with the truth",
            threshold=0.8,
            colours=colours,
        ),
    }


def in_markdown(found: dict[str, Any]) -> str:
    """The results as a page: what was claimed, what came out, on what."""
    rows, held, settings = found["rows"], found["held"], found["settings"]
    lines = [
        "# Networks and objectives on Kolmogorov flow",
        "",
        f"Written by `experiments/{NAME}.py`, which says what was asked and how.",
        "",
        "| hypothesis | held for |",
        "|---|---|",
        f"| on single steps convolutions follow longer than the FNO | {listed(held['convolutions'])} |",
        *(f"| {each} makes it follow longer | {listed(held[each])} |" for each in OBJECTIVES[1:]),
        f"| at equal error a spectral solver is cheaper | {held['solver_is_cheaper']} models |",
        "",
        f"| network | trained by | correlation above 0.8 until | error at {found['lead_time']:g} | "
        "ms per unit of time | speed-up over a solver at that error | weights | optimiser steps | training, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, objective in dict.fromkeys((row["network"], row["objective"]) for row in rows):
        own = [row for row in rows if (row["network"], row["objective"]) == (network, objective)]
        columns = [spread([row[name] for row in own]) for name in ("until", "error")]
        columns.append(spread([1e3 * row["cost"] for row in own]))
        speed_ups = [row["speed_up"] for row in own if row.get("speed_up") is not None]
        bounds = "".join({f"{row['speed_up_bound']} " for row in own if row.get("speed_up_bound")})
        columns.append(bounds + spread(speed_ups) if len(speed_ups) == len(own) else "not compared")
        columns += [f"{own[0]['weights']:,}", str(own[0]["optimiser_steps"]), spread([row["seconds"] for row in own])]
        lines.append(f"| {network} | {objective} | {' | '.join(columns)} |")
    for rival in found["rivals"]:
        lines.append(
            f"| {rival['name']} | no training | {rival['until']:.3g} | {rival['error']:.3g} | "
            f"{1e3 * rival['cost']:.3g} | | | | |"
        )
    lines += [
        "",
        f"![error against cost]({NAME}.png)",
        "",
        f"![correlation against time]({NAME}_correlation.png)",
        "",
        f"Means over {found['number_of_seeds']} seeds, and from the least to the largest. Errors are relative L2 at "
        f"lead time {found['lead_time']:g} on the modes that all solvers hold, means over held-out trajectories; the "
        "last rows are the solvers that none of less error is cheaper than. `At least`: no solver has so small an "
        "error, and the speed-up is that over the one of least error.",
        "",
        *(f"- {name}: {value}" for name, value in found["circumstances"].items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in settings.items() if name != 'family')}",
    ]
    return "\n".join(lines) + "\n"


def listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


if __name__ == "__main__":
    sys.exit(run_script(ModelsOnKolmogorovFlow))
