"""What a network makes of being told the viscosity: Burgers' equation with another one in every trajectory.

The same FNO is told the viscosity of a trajectory in four ways, as a constant channel, added to what every layer makes
(`Addition`), as a factor and a shift there (`FiLM`), and as the weight of further terms there (`ChannelAttention`,
after Takamoto et al., ICML 2023); and not at all. Hypotheses; the script says for how many seeds each of them held:

1. On viscosities between those that were trained on, but none of these, the network with `ChannelAttention` has a
   smaller error at lead time 1 than the one that is told nothing.
2. So it has beyond them: from a third of the smallest, and up to three times the largest.
3. On those between, at equal error, a spectral solver is cheaper than it.

Data: `u_t + u u_x = nu u_xx` in a periodic box of length 1 on 128 points, frames 0.125 apart, solved by our own
exponential integrator on 512 points in double precision; nu is drawn uniformly in its logarithm from 0.004 to 0.04, a
new one for each trajectory. All networks have as many layers and channels; what follows the number comes on top, and
the page says how many weights there are. The seeds decide first weights and batches, and are trained side by side.

    python experiments/conditioning_viscosities.py                     # some minutes on two cores
    python experiments/conditioning_viscosities.py --preset gpu        # a larger network for longer
    python experiments/conditioning_viscosities.py --preset tiny       # a minute; learns nothing

Writes RESULTS/conditioning_viscosities.json, .md and .png, and to OUT the report and what it is made of.
"""

import dataclasses
import sys
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _experiment import Experiment, Outcome, in_single_precision, scored, seeds_of, settings_of, speed_up, spread

import pdejax as pj
from pdejax import plotting
from pdejax.cli import run_script
from pdejax.evaluate import Report, RivalFamily, Variant, evaluate
from pdejax.models import FNO, Ensemble, members
from pdejax.nn import Addition, ChannelAttention, Conditioning, Embedding, FiLM
from pdejax.progress import is_watched
from pdejax.training import OneStep, RelativeL2, fit

NAME = "conditioning_viscosities"
POINTS, SOLVED_ON, INTERVAL = 128, 512, 0.125
SEEN = (0.004, 0.04)
BEYOND = (SEEN[0] / 3, SEEN[1] * 3)
VISCOSITY = "viscosity"
ARMS = {
    "not told": None,
    "constant channel": Conditioning(VISCOSITY, periodic=True),
    "addition": Conditioning(VISCOSITY, modulation=Addition(), embedding=Embedding(32), periodic=True),
    "FiLM": Conditioning(VISCOSITY, modulation=FiLM(), embedding=Embedding(32), periodic=True),
    "channel attention": Conditioning(VISCOSITY, modulation=ChannelAttention(), embedding=Embedding(32), periodic=True),
}
ASKED, WITHOUT = "channel attention", "not told"
FAMILY = RivalFamily(fractions=(1.0, 0.5, 0.25), variants=(Variant(), Variant(order=4, dealiasing=None)))
TINY_FAMILY = RivalFamily(fractions=(0.5,), variants=(Variant(),))


@dataclasses.dataclass(frozen=True)
class Preset:
    """Data, network and training."""

    trajectories: int
    held_out: int
    modes: int
    width: int
    layers: int
    steps: int
    batch: int
    frames: int = 8
    at: float = 1.0
    learning_rate: float = 3e-3
    timing_seconds: float = 3.0
    arms: tuple[str, ...] = tuple(ARMS)


PRESETS = {
    "cpu": Preset(512, 64, 20, 20, 4, steps=3000, batch=32),
    "gpu": Preset(4096, 128, 32, 64, 4, steps=20_000, batch=64),
    "tiny": Preset(4, 2, 4, 4, 2, steps=6, batch=4, timing_seconds=0.1, arms=(WITHOUT, ASKED)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditioningOnViscosity(Experiment):
    """Train the same FNO, told the viscosity in four ways and not at all, and test three hypotheses."""

    name = NAME

    preset: Literal["cpu", "gpu", "tiny"] = "cpu"
    """How large all of it is."""

    def outcome(self) -> Outcome:
        preset = PRESETS[self.preset]
        train = data_of(preset.trajectories, SEEN, preset.frames, seed=0)
        between = data_of(preset.held_out, SEEN, preset.frames, seed=1)
        beyond = data_of(preset.held_out, BEYOND, preset.frames, seed=2, without=SEEN)
        models: dict[str, Any] = {}
        trainings: dict[str, Any] = {}
        for arm in preset.arms:
            trained, trainings[arm] = trained_with(arm, train, preset, self.seeds)
            models |= {f"{arm}, seed {seed}": model for seed, model in zip(self.seeds, trained, strict=True)}
        equation = pj.equations.Burgers(SEEN[0])
        family = TINY_FAMILY if self.preset == "tiny" else FAMILY
        report = scored(models, between, equation, preset, family)
        # Of these only the errors are asked: no solver has to be timed beside.
        outside = evaluate(models, beyond, at=preset.at, timing_seconds=0.1, progress=is_watched())
        assert isinstance(outside, Report)
        found = rows_and_verdicts(report, outside, preset.arms, self.seeds)
        found["trainings"] = trainings
        found["settings"] = settings_of(self, preset)
        return Outcome(found, in_markdown(found), {"": figure(report, preset.arms, self.seeds)}, report)


def data_of(
    count: int, viscosities: tuple[float, float], frames: int, *, seed: int, without: tuple[float, float] | None = None
) -> pj.Trajectories:
    """Trajectories with a viscosity of their own each, none from the range `without`."""
    lowest, highest = np.log(viscosities)

    def drawn(key: Any) -> Any:
        # Where a middle part is left out, its two neighbours are as likely for each unit of the logarithm.
        if without is None:
            return jnp.exp(jax.random.uniform(key, minval=lowest, maxval=highest))
        first, last = np.log(without)
        place = jax.random.uniform(key, maxval=(first - lowest) + (highest - last))
        return jnp.exp(jnp.where(place < first - lowest, lowest + place, last + place - (first - lowest)))

    with jax.enable_x64(True):
        solved, stored = (pj.Grid((n,), 1.0, dtype="float64") for n in (SOLVED_ON, POINTS))

        def stepper(key: Any) -> pj.TimeStepper:
            return pj.TimeStepper(pj.equations.Burgers(drawn(key)), pj.Spectral(solved), dt=INTERVAL, substeps=100)

        made = pj.generate(
            stepper,
            pj.initial.BandLimited(peak=2, cutoff=5),
            num_samples=count,
            num_steps=frames,
            store=stored,
            chunk_size=min(count, 64),
            key=jax.random.key(seed),
            progress=is_watched(),
        )
    return in_single_precision(made)


def trained_with(arm: str, train: Any, preset: Preset, seeds: tuple[int, ...]) -> tuple[list[Any], dict[str, Any]]:
    """The models of one arm, one for each seed, and what their training took."""
    made = [
        FNO(
            1,
            1,
            1,
            preset.modes,
            preset.width,
            num_layers=preset.layers,
            conditioning=ARMS[arm],
            key=jax.random.key(seed),
        )
        for seed in seeds
    ]
    optimiser = optax.adam(optax.cosine_decay_schedule(preset.learning_rate, preset.steps))
    started = time.perf_counter()
    fitted = fit(
        Ensemble.of(made),
        OneStep(RelativeL2()),
        train,
        optimiser=optimiser,
        num_steps=preset.steps,
        batch_size=preset.batch,
        key=jax.random.key(100),
        progress=is_watched(),
    )
    took = {"seconds_of_all_seeds": time.perf_counter() - started}
    weights = sum(leaf.size for leaf in jax.tree.leaves(made[0]) if hasattr(leaf, "size"))
    return members(fitted.model), took | {"parameters": weights}


def rows_and_verdicts(report: Report, outside: Report, arms: tuple[str, ...], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Errors of every arm, seed by seed, and for how many seeds the hypotheses held."""
    compared = {comparison.surrogate: comparison for comparison in report.comparisons}
    rows = []
    for arm in arms:
        for seed in seeds:
            name = f"{arm}, seed {seed}"
            row: dict[str, Any] = {"arm": arm, "seed": seed}
            row["between"] = float(report.results[name].mean("relative_l2")[report.stated])
            row["beyond"] = float(outside.results[name].mean("relative_l2")[outside.stated])
            row |= speed_up(compared.get(name))
            rows.append(row)
    of = {(row["arm"], row["seed"]): row for row in rows}
    held = {
        where: seeds_of([of[ASKED, seed][where] < of[WITHOUT, seed][where] for seed in seeds])
        for where in ("between", "beyond")
    }
    held["solver_is_cheaper"] = seeds_of([bool(of[ASKED, seed].get("solver_is_cheaper")) for seed in seeds])
    return {"rows": rows, "lead_time": report.lead_time, "held": held, "circumstances": report.circumstances}


def figure(report: Report, arms: tuple[str, ...], seeds: tuple[int, ...]) -> Any:
    """Mean error against time on the viscosities between: every arm in a band of its seeds."""
    curves = {
        arm: np.stack([report.results[f"{arm}, seed {seed}"].mean("relative_l2") for seed in seeds]) for arm in arms
    }
    return plotting.plot_metric(report.lead_times, curves, name="relative L2 error")


def in_markdown(found: dict[str, Any]) -> str:
    """The results as a page: what was claimed, what came out, on what."""
    rows, held, settings = found["rows"], found["held"], found["settings"]
    low, high = SEEN
    lines = [
        "# Told the viscosity: Burgers' equation",
        "",
        f"Written by `experiments/{NAME}.py`, which says what was asked and how.",
        "",
        "| hypothesis | held for |",
        "|---|---|",
        f"| channel attention errs less than what is told nothing, on new viscosities in between | {held['between']} |",
        f"| so it does on those beyond | {held['beyond']} |",
        f"| at equal error a spectral solver is cheaper than it | {held['solver_is_cheaper']} |",
        "",
        f"| told by | error at {found['lead_time']:g}, between | beyond | speed-up over a solver at that error | "
        "parameters | seconds, all seeds |",
        "|---|---|---|---|---|---|",
    ]
    for arm in settings["arms"]:
        own = [row for row in rows if row["arm"] == arm]
        columns = [spread([row[name] for row in own]) for name in ("between", "beyond")]
        speed_ups = [row["speed_up"] for row in own if row.get("speed_up") is not None]
        columns.append(spread(speed_ups) if len(speed_ups) == len(own) else "not compared")
        took = found["trainings"][arm]
        lines.append(f"| {arm} | {' | '.join(columns)} | {took['parameters']} | {took['seconds_of_all_seeds']:.0f} |")
    lines += [
        "",
        f"![error against time]({NAME}.png)",
        "",
        f"Means over {len(settings['seeds'])} seeds, and from the least to the largest. Errors are relative L2, means "
        f"over {settings['held_out']} held-out trajectories. Trained on viscosities from {low:g} to {high:g}; those "
        f"beyond are from {BEYOND[0]:.2g} to {low:g} and from {high:g} to {BEYOND[1]:.2g}.",
        "",
        *(f"- {name}: {value}" for name, value in found["circumstances"].items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in settings.items())}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(ConditioningOnViscosity))
