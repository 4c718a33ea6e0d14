"""One deep U-Net or several in a row: what the waves of SineNet are worth, and what padding around the box is.

A U-Net hands features of the state across to where features of the next state are made, though by then the flow has
carried them on. SineNet's waves are small U-Nets in a row, each with a part of the way to go; Zhang et al. (ICLR 2024)
report that more of them have smaller errors at equal numbers of weights, and that zeros around a periodic box in place
of its other end make the error of a rollout 4.19 % where it was 1.78 % (a table of theirs: shallow water, eight waves).
Hypotheses, asked of two flows; the script says for how many seeds each of them held:

1. Two waves have a smaller error than one, and four than two, all with about as many weights.
2. Four waves have a smaller error than the modern U-Net with about as many weights.
3. With zeros around the box four waves have at least 1.5 times the error (published: 2.35 times).

Flows, on a periodic box of side one: vorticity, `w_t + u . grad w = nu Lap w`, nu = 5e-4, from random fields, by our
own exponential integrator on twice as many points per axis; and shallow water with gravity 1, depths about one, by
finite volumes (MUSCL, HLL) on twice as many cells. In an interval both move by some points. The error is the VRMSE of
a rollout of `frames` steps from held-out states, the mean over its steps, channels and trajectories.
More waves on the finest grid cost more time at equal weights: the time of a step is printed beside the error.

    python experiments/sinenet_waves.py                     # two hours on one core
    python experiments/sinenet_waves.py --preset gpu        # nearer to the published size
    python experiments/sinenet_waves.py --preset tiny       # a minute; learns nothing

Writes RESULTS/sinenet_waves.json and .md.
"""

import dataclasses
import itertools
import sys
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _experiment import Experiment, Outcome, in_single_precision, seeds_of, settings_of, spread, told

import pdejax as pj
from pdejax import metrics
from pdejax.cli import run_script
from pdejax.evaluate.circumstances import circumstances
from pdejax.models import NeuralStepper, SineNet, UNet
from pdejax.nn import Conditioning
from pdejax.progress import is_watched
from pdejax.training import OneStep, fit
from pdejax.volumes import HLL, MUSCL

NAME = "sinenet_waves"
FLOWS = ("vorticity", "shallow water")
WAVES = (1, 2, 4)
ZEROS, MODERN = f"{WAVES[-1]} waves, zeros around", "U-Net"
ARMS = (*(f"{count} waves" if count > 1 else "1 wave" for count in WAVES), ZEROS, MODERN)
SHARE = 1.5


@dataclasses.dataclass(frozen=True)
class Preset:
    """Data, networks and training; `weights` is how many every network has, to some per cent."""

    points: int
    trajectories: int
    held_out: int
    frames: int
    weights: int
    width: int
    levels: int
    optimiser_steps: int
    batch: int
    substeps: int
    learning_rate: float = 1e-3


PRESETS = {
    "cpu": Preset(32, 128, 32, 10, weights=250_000, width=12, levels=3, optimiser_steps=1500, batch=16, substeps=8),
    "gpu": Preset(128, 1024, 64, 10, 35_000_000, width=64, levels=4, optimiser_steps=50_000, batch=32, substeps=16),
    "tiny": Preset(16, 3, 2, 2, weights=5000, width=4, levels=1, optimiser_steps=4, batch=2, substeps=4),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SineNetWaves(Experiment):
    """Train networks of one, two and four waves with as many weights on two flows, and test three hypotheses."""

    name = NAME

    preset: Literal["cpu", "gpu", "tiny"] = "cpu"
    """How large all of it is."""

    def outcome(self) -> Outcome:
        preset = PRESETS[self.preset]
        data = {flow: data_of(flow, preset) for flow in FLOWS}
        rows = []
        for seed, flow, arm in itertools.product(self.seeds, FLOWS, ARMS):
            rows.append({"flow": flow, "arm": arm, "seed": seed} | scored(arm, *data[flow], preset, seed))
            told(rows[-1])
        found = {"rows": rows, "held": verdicts(rows, self.seeds), "circumstances": circumstances()}
        found["settings"] = settings_of(self, preset)
        return Outcome(found, in_markdown(found))


def vorticity(grid: Any, substeps: int) -> tuple[Any, Any, int]:
    """The stepper, the initial states, and steps before the first frame."""
    equation = pj.equations.NavierStokesVorticity(viscosity=5e-4)
    stepper = pj.TimeStepper(equation, pj.Spectral(grid), dt=0.3, substeps=4 * substeps)
    return stepper, pj.initial.BandLimited(peak=4, rms=12.0), 1


def shallow_water(grid: Any, substeps: int) -> tuple[Any, Any, int]:
    """The same of waves on water that flows."""
    smooth = pj.initial.BandLimited(peak=3, rms=1.0)

    def states(grid: Any, *, key: Any) -> Any:
        fields = jnp.concatenate([smooth(grid, key=each) for each in jax.random.split(key, 3)])
        depth = 1 + 0.1 * fields[:1]
        return jnp.concatenate([depth, 0.2 * depth * fields[1:]])

    stepper = pj.TimeStepper(
        pj.equations.ShallowWater(1.0), pj.FiniteVolume(grid, MUSCL(), HLL()), dt=0.1, substeps=3 * substeps
    )
    return stepper, states, 0


def data_of(flow: str, preset: Preset) -> tuple[pj.Trajectories, pj.Trajectories]:
    """Trajectories to train on, and held-out ones from other initial states."""
    with jax.enable_x64(True):
        stored = pj.Grid((preset.points,) * 2, 1.0, points="centres", dtype="float64")
        make = {"vorticity": vorticity, "shallow water": shallow_water}[flow]
        stepper, initial, burn_in = make(stored.with_shape((2 * preset.points,) * 2), preset.substeps)
        made = [
            pj.generate(
                stepper,
                initial,
                num_samples=count,
                num_steps=preset.frames,
                burn_in=burn_in,
                store=stored,
                chunk_size=min(count, 16),
                key=jax.random.key(seed),
                measure_error=0,
                progress=is_watched(),
            )
            for count, seed in ((preset.trajectories, 0), (preset.held_out, 1))
        ]
    train, held_out = (in_single_precision(each) for each in made)
    return train, held_out


class ZerosAround(eqx.Module):
    """A model that is never told that its box is periodic."""

    model: Any

    def __call__(self, u: Any, parameters: Any = None, *, domain: Any = None, key: Any = None) -> Any:
        return self.model(u, parameters, key=key)


def weights_of(make: Any, size: Any) -> int:
    """How many `make(size)` has, which is not built for it."""
    shapes = eqx.filter_eval_shape(lambda: make(size))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes) if hasattr(leaf, "size"))


def nearest(make: Any, low: float, high: float, wanted: int, whole: bool) -> Any:
    """The size of `make(size)`, a number of weights that rises with it, that comes nearest to the one wanted."""
    sizes = np.arange(int(low), int(high) + 1) if whole else np.linspace(low, high, 401)
    left, right = 0, len(sizes) - 1
    while right - left > 1:
        middle = (left + right) // 2
        left, right = (middle, right) if weights_of(make, sizes[middle]) < wanted else (left, middle)
    return min((sizes[left], sizes[right]), key=lambda size: abs(weights_of(make, size) - wanted)).item()


def network(arm: str, channels: int, preset: Preset, key: Any) -> Any:
    """One model of an arm; all arms have about as many weights."""
    if arm == MODERN:

        def modern(width: int) -> Any:
            return UNet(channels, channels, 2, int(width), multipliers=(1, 2, 2)[: preset.levels + 1], depth=1, key=key)

        return modern(nearest(modern, 1, 64, preset.weights, whole=True))

    waves = WAVES[-1] if arm == ZEROS else int(arm.split()[0])
    told = Conditioning(periodic=False) if arm == ZEROS else None

    def sine(multiplier: float) -> Any:
        sizes = {"num_waves": waves, "multiplier": float(multiplier), "num_levels": preset.levels}
        return SineNet(channels, channels, 2, preset.width, **sizes, conditioning=told, key=key)

    model = sine(nearest(sine, 1.0, 4.0, preset.weights, whole=False))
    return ZerosAround(model) if arm == ZEROS else model


def scored(arm: str, train: Any, held_out: Any, preset: Preset, seed: int) -> dict[str, Any]:
    """The errors of one network after its training, and what it is and took."""
    model = network(arm, train.num_channels, preset, jax.random.key(seed))
    schedule = optax.cosine_decay_schedule(preset.learning_rate, preset.optimiser_steps, 0.01)
    fitted = fit(
        model,
        OneStep(),
        train,
        optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        num_steps=preset.optimiser_steps,
        batch_size=preset.batch,
        key=jax.random.fold_in(jax.random.key(100), seed),
        progress=is_watched(),
    )
    truth, grid = jnp.asarray(held_out.u[:]), held_out.grid
    stepper = NeuralStepper(fitted.model, float(np.diff(held_out.times)[0]), grid)

    @jax.jit
    def errors(u: Any) -> Any:
        rollout = pj.rollout(stepper, u[0], preset.frames)
        return jnp.mean(jax.vmap(metrics.vrmse, (0, 0, None))(rollout, u[1:], grid), axis=1)

    of_steps = np.mean([np.asarray(errors(u)) for u in truth], axis=0)
    count = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    return {"error": float(of_steps.mean()), "error_of_one_step": float(of_steps[0])} | {
        "weights": count,
        "seconds_per_step": seconds_per_step(fitted.log),
    }


def seconds_per_step(log: Any) -> float:
    """The median over the calls of what a step took, without the first, which compiles, where there are others."""
    ends, steps = np.unique(log["seconds"], return_counts=True)
    return float(np.median(np.diff(ends) / steps[1:]) if len(ends) > 1 else ends[0] / steps[0])


def verdicts(rows: list[dict[str, Any]], seeds: tuple[int, ...]) -> dict[str, dict[str, str]]:
    """For how many seeds the hypotheses held, flow by flow."""
    error = {(row["flow"], row["arm"], row["seed"]): row["error"] for row in rows}
    held = {}
    for flow in FLOWS:
        one, two, four = ([error[flow, arm, seed] for seed in seeds] for arm in ARMS[:3])
        zeros, modern = ([error[flow, arm, seed] for seed in seeds] for arm in (ZEROS, MODERN))
        asked = {
            "two waves less than one": [b < a for a, b in zip(one, two, strict=True)],
            "four waves less than two": [b < a for a, b in zip(two, four, strict=True)],
            "four waves less than the U-Net": [b < a for a, b in zip(modern, four, strict=True)],
            f"zeros around at least {SHARE} times": [b >= SHARE * a for a, b in zip(four, zeros, strict=True)],
        }
        held[flow] = {name: seeds_of(each) for name, each in asked.items()}
    return held


def in_markdown(found: dict[str, Any]) -> str:
    """The results as a page: what was claimed, what came out, on what."""
    rows, held, settings = found["rows"], found["held"], found["settings"]
    lines = [
        "# Waves of SineNet",
        "",
        f"Written by `experiments/{NAME}.py`, which says what was asked and how.",
        "",
        f"| hypothesis | {' | '.join(FLOWS)} |",
        f"|---|{'---|' * len(FLOWS)}",
        *(f"| {name} | {' | '.join(held[flow][name] for flow in FLOWS)} |" for name in held[FLOWS[0]]),
    ]
    for flow in FLOWS:
        lines += ["", f"| {flow} | error | error of one step | weights | ms per training step |"]
        lines.append("|---|---|---|---|---|")
        for arm in ARMS:
            own = [row for row in rows if row["flow"] == flow and row["arm"] == arm]
            columns = [spread([row[name] for row in own]) for name in ("error", "error_of_one_step")]
            columns += [str(own[0]["weights"]), spread([1e3 * row["seconds_per_step"] for row in own])]
            lines.append(f"| {arm} | {' | '.join(columns)} |")
    lines += [
        "",
        f"Means over {len(settings['seeds'])} seeds, and from the least to the largest. Errors are VRMSE, "
        "the root mean square error over the standard deviation of the truth, means "
        f"over the channels and {settings['held_out']} held-out trajectories, and the first over {settings['frames']} "
        "steps.",
        "",
        *(f"- {name}: {value}" for name, value in found["circumstances"].items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in settings.items())}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(SineNetWaves))
