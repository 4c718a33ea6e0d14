"""A coarse solver of Kolmogorov flow and a network that corrects it, against finer solvers of the same price.

The published claim is that a correction learned with the solver in the loop makes a coarse solver as good as one that
is many times finer. What it is held against there is rarely the strongest solver: here it is every pseudo-spectral one
that costs no more. Hypotheses; the script says for how many seeds each of them held:

1. The hybrid follows held-out trajectories longer (until their mean correlation falls below 0.8) than the solver that
   it corrects.
2. So it does against the same network without a solver, trained in the same way.
3. It follows longer than the best classical solver that costs no more on the same machine.

Flow: vorticity at viscosity 0.01, drag 0.1, force sin(4 y), frames 0.2 apart, solved on four times the points per axis
of the hybrid and stored on twice. The network sees the hybrid's grid alone: training data are the truth, truncated to
it. States go in and come out on the stored points for all, so the hybrid pays for truncation and padding as its rivals
do. Seeds decide the first weights and the batches, and are trained side by side: single steps first, unrolled after.

    python experiments/learned_correction.py                     # some minutes on two cores
    python experiments/learned_correction.py --preset gpu        # a finer hybrid and more of everything, on a GPU
    python experiments/learned_correction.py --preset tiny       # a minute; learns nothing

Writes RESULTS/learned_correction.json, .md and .png, and to OUT the report and what it is made of.
"""

import dataclasses
import math
import sys
import time
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
import optax
from _experiment import Experiment, Outcome, scored, seeds_of, settings_of

import pdejax as pj
from pdejax import plotting
from pdejax.cli import run_script
from pdejax.evaluate import Report, RivalFamily, Variant
from pdejax.models import FNO, Corrected, Ensemble, members
from pdejax.progress import is_watched
from pdejax.training import Curriculum, OneStep, Unrolled, fit

NAME = "learned_correction"
BARE, HYBRID, ALONE = "coarse solver", "hybrid", "network alone"


@dataclasses.dataclass(frozen=True)
class Preset:
    """`points` per axis of the hybrid, data, network and training."""

    points: int
    substeps: int
    trajectories: int
    frames: int
    held_out: int
    held_out_frames: int
    modes: int
    width: int
    layers: int
    optimiser_steps: int
    unrolled_steps: int
    batch: int
    at: float
    interval: float = 0.2
    learning_rate: float = 2e-3
    timing_seconds: float = 4.0


PRESETS = {
    "cpu": Preset(24, 3, 24, 40, 8, 60, 6, 16, 3, optimiser_steps=900, unrolled_steps=4, batch=16, at=2.0),
    "gpu": Preset(32, 4, 128, 60, 32, 75, 12, 32, 4, optimiser_steps=6000, unrolled_steps=4, batch=32, at=4.0),
    "tiny": Preset(
        12, 2, 3, 5, 2, 4, 2, 4, 1, optimiser_steps=4, unrolled_steps=2, batch=4, at=0.4, timing_seconds=0.1
    ),
}
# Finer than the hybrid by up to two, its own points and coarser ones.
FAMILY = RivalFamily(
    fractions=(1.0, 0.75, 0.625, 0.5, 0.375),
    variants=(Variant(), Variant(order=4, dealiasing=0.9), Variant(order=4, dealiasing=None)),
)
TINY_FAMILY = RivalFamily(fractions=(0.5,), variants=(Variant(),))


class OnStoredPoints(eqx.Module):
    """A map of states on the hybrid's grid as one of states on the stored points, as the classical rivals are."""

    model: Any
    grid: Any
    stored: Any

    def __call__(self, u: Any, parameters: Any = None, *, domain: Any = None, key: Any = None) -> Any:
        following = self.model(pj.resample(u, self.stored, self.grid), parameters, domain=self.grid, key=key)
        return pj.resample(following, self.grid, self.stored)


class Solver(eqx.Module):
    """The coarse solver with the call of a model."""

    stepper: Any

    def __call__(self, u: Any, parameters: Any = None, *, domain: Any = None, key: Any = None) -> Any:
        return self.stepper(u)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnedCorrection(Experiment):
    """Train corrections of a coarse solver, and test three hypotheses against classical solvers."""

    name = NAME

    preset: Literal["cpu", "gpu", "tiny"] = "cpu"
    """How large all of it is."""

    def outcome(self) -> Outcome:
        preset = PRESETS[self.preset]
        # Networks, solvers and truth in single precision: its rounding is far below the error of any of them.
        equation = pj.equations.KolmogorovFlow(viscosity=0.01)
        grid = pj.Grid((preset.points,) * 2, 2 * math.pi, dtype="float32")
        train, held_out = data_of(equation, grid, preset)
        coarse = pj.TimeStepper(equation, pj.Spectral(grid), preset.interval, preset.substeps)
        models: dict[str, Any] = {BARE: Solver(coarse)}
        seconds: dict[str, float] = {}
        for kind in (HYBRID, ALONE):
            trained, seconds[kind] = trained_as(kind, coarse, train, preset, self.seeds)
            models |= {f"{kind}, seed {seed}": model for seed, model in zip(self.seeds, trained, strict=True)}
        family = TINY_FAMILY if self.preset == "tiny" else FAMILY
        models = {name: OnStoredPoints(model, grid, held_out.grid) for name, model in models.items()}
        report = scored(models, held_out, equation, preset, family)
        found = rows_and_verdicts(report, self.seeds)
        found |= {"training_seconds_of_all_seeds": seconds}
        found["settings"] = settings_of(self, preset)
        found["solver_error_one_interval"] = held_out.provenance["solver_error_one_interval"]
        drawn = figure(report, self.seeds, found["equal_cost_rival"])
        return Outcome(found, in_markdown(found), {"": drawn}, report)


def data_of(equation: Any, grid: pj.Grid, preset: Preset) -> tuple[pj.Trajectories, pj.Trajectories]:
    """Trajectories on the hybrid's grid to train on, and held-out ones on twice its points per axis."""
    solved, stored = (grid.with_shape((factor * preset.points,) * 2) for factor in (4, 2))
    stepper = pj.TimeStepper(equation, pj.Spectral(solved), preset.interval, 5 * preset.substeps)
    splits = ((preset.trajectories, preset.frames, grid, 0), (preset.held_out, preset.held_out_frames, stored, 1))
    train, held_out = (
        pj.generate(
            stepper,
            pj.initial.BandLimited(peak=4, rms=4.0),
            num_samples=count,
            num_steps=frames,
            burn_in=40,
            store=on,
            chunk_size=min(count, 16),
            key=jax.random.key(seed),
            progress=is_watched(),
        )
        for count, frames, on, seed in splits
    )
    return train, held_out


def trained_as(kind: str, coarse: Any, train: Any, preset: Preset, seeds: tuple[int, ...]) -> tuple[list[Any], float]:
    """The models of one kind, one for each seed, and the seconds that all of them took."""
    networks = [
        # The force depends on y, and so does what the solver misses of it.
        FNO(
            1,
            1,
            2,
            preset.modes,
            preset.width,
            num_layers=preset.layers,
            coordinates=(0, min(4, preset.points // 4)),
            key=jax.random.key(seed),
        )
        for seed in seeds
    ]
    ensemble = Ensemble.of(networks)
    first = preset.optimiser_steps * 2 // 3
    rate = optax.cosine_decay_schedule(preset.learning_rate, preset.optimiser_steps, 0.01)
    started = time.perf_counter()
    fitted = fit(
        Corrected(coarse, ensemble) if kind == HYBRID else ensemble,
        Curriculum(((0, OneStep()), (first, Unrolled(preset.unrolled_steps)))),
        train,
        optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        num_steps=preset.optimiser_steps,
        batch_size=preset.batch,
        key=jax.random.key(100),
        progress=is_watched(),
    )
    return members(fitted.model), time.perf_counter() - started


def rows_and_verdicts(report: Report, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Correlation times, errors and costs, and for how many seeds the hypotheses held."""

    def row_of(name: str) -> dict[str, Any]:
        until, fell = report.correlation_time(name, 0.8)
        result = report.results[name]
        return {"name": name, "until": until, "fell": fell, "error": result.error, "cost": result.cost}

    def best_rival(cost: float) -> dict[str, Any] | None:
        affordable = [row for row in rivals if row["cost"] <= cost]
        return max(affordable, key=lambda row: (row["until"], -row["error"])) if affordable else None

    rivals = [row_of(name) for name, result in report.results.items() if result.kind == "rival" and result.stands]
    rows = [row_of(BARE)]
    held: dict[str, list[bool]] = {
        "longer_than_the_solver": [],
        "longer_than_the_network": [],
        "longer_at_its_cost": [],
    }
    chosen = None
    for seed in seeds:
        hybrid, alone = row_of(f"{HYBRID}, seed {seed}"), row_of(f"{ALONE}, seed {seed}")
        for row in (hybrid, alone):
            rival = best_rival(row["cost"])
            row["equal_cost_rival"] = None if rival is None else rival
        chosen = hybrid["equal_cost_rival"] or chosen
        rows += [hybrid, alone]
        held["longer_than_the_solver"].append(hybrid["until"] > rows[0]["until"])
        held["longer_than_the_network"].append(hybrid["until"] > alone["until"])
        rival = hybrid["equal_cost_rival"]
        held["longer_at_its_cost"].append(rival is None or hybrid["until"] > rival["until"])
    comparisons = {
        c.surrogate: {"speed_up": c.speed_up, "bound": c.speed_up_bound, "low": c.speed_up_low, "high": c.speed_up_high}
        for c in report.comparisons
    }
    return {
        "rows": rows,
        "rivals": sorted(rivals, key=lambda row: row["cost"]),
        "equal_cost_rival": None if chosen is None else chosen["name"],
        "comparisons": comparisons,
        "lead_time": report.lead_time,
        "held": {name: seeds_of(each) for name, each in held.items()},
        "circumstances": report.circumstances,
    }


def figure(report: Report, seeds: tuple[int, ...], equal_cost_rival: str | None) -> Any:
    """Mean correlation against time: hybrids and networks in a band of their seeds, solvers dashed."""
    curves = {
        kind: np.stack([report.results[f"{kind}, seed {seed}"].mean("correlation") for seed in seeds])
        for kind in (HYBRID, ALONE)
    }
    solvers = {BARE: report.results[BARE].mean("correlation")}
    if equal_cost_rival is not None:
        solvers["solver of that cost"] = report.results[equal_cost_rival].mean("correlation")
    return plotting.plot_metric(report.lead_times, curves, solvers, name="correlation with the truth", threshold=0.8)


def in_markdown(found: dict[str, Any]) -> str:
    """The results as a page: what was claimed, what came out, on what."""
    held, settings, at = found["held"], found["settings"], found["lead_time"]
    lines = [
        "# A learned correction of a coarse solver on Kolmogorov flow",
        "",
        f"Written by `experiments/{NAME}.py`, which says what was asked and how.",
        "",
        "| hypothesis | held for |",
        "|---|---|",
        f"| the hybrid follows longer than the solver that it corrects | {held['longer_than_the_solver']} seeds |",
        f"| it follows longer than the same network without a solver | {held['longer_than_the_network']} seeds |",
        f"| it follows longer than the best solver that costs no more | {held['longer_at_its_cost']} seeds |",
        "",
        f"| | correlation above 0.8 until | error at {at:g} | cost | best solver that costs no more | that one until | "
        "speed-up at equal error |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        rival, compared = row.get("equal_cost_rival"), found["comparisons"].get(row["name"])
        beside = [rival["name"], f"{rival['until']:g}"] if rival else ["", ""]
        speed_up = f"{compared['bound']} {compared['speed_up']:.2g}".strip() if compared else ""
        lines.append(
            f"| {row['name']} | {row['until']:g}{'' if row['fell'] else ' (end of the data)'} | {row['error']:.3f} | "
            f"{row['cost'] * 1e3:.3g} ms | {' | '.join(beside)} | {speed_up} |"
        )
    lines += ["", "| solver | correlation above 0.8 until | error | cost |", "|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['until']:g}{'' if row['fell'] else ' (end of the data)'} | {row['error']:.3f} | "
        f"{row['cost'] * 1e3:.3g} ms |"
        for row in found["rivals"]
    ]
    lines += [
        "",
        f"![correlation against time]({NAME}.png)",
        "",
        "Costs are per unit of simulated time and trajectory. Errors are relative L2 on the modes common to all.",
        "",
        *(f"- {name}: {value}" for name, value in found["circumstances"].items()),
        f"- error of the truth over one interval: {found['solver_error_one_interval']:.1e}",
        *(f"- training of all seeds, {kind}: {t:.0f} s" for kind, t in found["training_seconds_of_all_seeds"].items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in settings.items())}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(LearnedCorrection))
