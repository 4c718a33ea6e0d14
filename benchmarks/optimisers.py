"""Adam, SOAP, Muon, L-BFGS and Levenberg-Marquardt at equal wall time, on three problems.

    python benchmarks/optimisers.py

writes benchmarks/results/optimisers.{json,md}; about ten minutes on one free core. With `--case NAME` it measures one,
and keeps what the file says of the others.

Every optimiser gets the same seconds, compilation apart: the time of a step is the least of nine measurements, and the
number of steps, over which the learning rate falls to zero as a cosine, is what fits. Learning rates are those with the
lowest loss on held-out data on a grid (factors of 3, one seed); with it other seeds follow, of weights and batches.
Losses are mean squares of the error in units of the standard deviation of what the network predicts (of increments: 1
is a model that changes nothing), over all training and all test data.
"""

import argparse
import dataclasses
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One core, so that what else runs on the machine changes the times least.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix
from _measuring import machine

import pdejax as pj
from pdejax.nn import ChannelMap
from pdejax.training.full_batch import full_batch

RESULTS = Path(__file__).parent / "results"


@dataclasses.dataclass
class Case:
    """What every optimiser of one comparison gets; `second_order` where every batch holds all data."""

    split: dict[str, Any]
    objective: Any
    model: Callable[[int], Any]
    batch_size: int
    seconds: float
    second_order: bool

    def losses(self, model: Any) -> dict[str, float]:
        return {part: float(score(self.objective, model, data)) for part, data in self.batches.items()}

    @functools.cached_property
    def batches(self) -> dict[str, Any]:
        wholes = {
            part: full_batch(self.model(0), self.objective, data, True, None) for part, data in self.split.items()
        }
        return {part: whole.batch(whole.arrays) for part, whole in wholes.items()}

    @property
    def num_windows(self) -> int:
        return len(self.batches["train"][0])

    def fit(self, model: Any, optimiser: Any, num_steps: int, seed: int, **given: Any) -> Any:
        options = {"batch_size": self.batch_size, "progress": False, "steps_per_call": 200} | given
        key = jax.random.key(seed)
        return pj.fit(
            model, self.objective, self.split["train"], optimiser=optimiser, num_steps=num_steps, key=key, **options
        )

    def seconds_per_step(self, optimiser: Any, **given: Any) -> float:
        """The least of nine calls, of which that which compiles is none."""
        log = self.fit(self.model(0), optimiser, 150, 0, steps_per_call=15, **given).log
        return float(np.min(np.diff(log["seconds"][14::15]))) / 15


@eqx.filter_jit
def score(objective: Any, model: Any, batch: Any) -> Any:
    return objective(model, batch, jax.random.key(0))[0]


def kuramoto_sivashinsky() -> Case:
    grid = pj.Grid(64, extent=32.0)
    stepper = pj.TimeStepper(pj.equations.KuramotoSivashinsky(), pj.Spectral(grid), dt=0.5, substeps=5)
    law, key = pj.initial.BandLimited(peak=3), jax.random.key(0)
    data = pj.generate(stepper, law, num_samples=48, num_steps=40, burn_in=100, key=key, progress=False)

    def model(seed: int) -> Any:
        return pj.models.FNO(1, 1, 1, modes=16, width=24, num_layers=4, key=jax.random.key(100 + seed))

    split = vars(data.split(train=32, valid=8, test=8))
    return Case(split, pj.objectives.OneStep(), model, batch_size=16, seconds=5.0, second_order=False)


def burgers() -> Case:
    grid = pj.Grid(48, extent=2 * np.pi)
    stepper = pj.TimeStepper(pj.equations.Burgers(viscosity=0.1), pj.Spectral(grid), dt=0.1, substeps=10)
    law, key = pj.initial.BandLimited(peak=2), jax.random.key(0)
    data = pj.generate(stepper, law, num_samples=18, num_steps=12, key=key, progress=False)

    def model(seed: int) -> Any:
        return pj.models.FNO(1, 1, 1, modes=6, width=4, num_layers=2, key=jax.random.key(100 + seed))

    split = vars(data.split(train=6, valid=6, test=6))
    return Case(split, pj.objectives.OneStep(), model, batch_size=72, seconds=5.0, second_order=True)


class Layers(eqx.Module):
    """Affine, tanh, affine, at every point."""

    first: ChannelMap
    last: ChannelMap

    def __call__(self, u: Any, parameters: Any = None, *, domain: Any = None, key: Any = None) -> Any:
        return self.last(jnp.tanh(self.first(u)))


def function() -> Case:
    def pairs(seed: int, num_samples: int) -> tuple[Any, Any]:
        x = jax.random.uniform(jax.random.key(seed), (num_samples, 2, 125), jnp.float32, -2, 2)
        return x, jnp.sin(2 * x[:, :1]) * x[:, 1:]

    def model(seed: int) -> Any:
        first, last = jax.random.split(jax.random.key(100 + seed))
        return Layers(ChannelMap(2, 32, key=first), ChannelMap(32, 1, key=last))

    split = {"train": pairs(0, 8), "valid": pairs(1, 4), "test": pairs(2, 4)}
    return Case(split, pj.objectives.Supervised(), model, batch_size=8, seconds=2.0, second_order=True)


CASES = {"KS, mini-batches": kuramoto_sivashinsky, "Burgers, small": burgers, "a function": function}
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
# At the learning rate 1.
FIRST_ORDER = {
    "Adam": lambda: optax.adam(1.0),
    "SOAP": lambda: pj.soap(1.0),
    "SOAP, channels only": lambda: pj.soap(1.0, axes=lambda w: (-2, -1)),
    "Muon": lambda: optax.contrib.muon(1.0, muon_weight_dimension_numbers=pj.muon_axes),
}


def scheduled(optimiser: Any, rate: float, steps: int) -> Any:
    """With a learning rate that falls to zero as a cosine, a number of the state, so that all share one program."""
    cosine = optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, steps))
    return optax.chain(optimiser, cosine, optax.inject_hyperparams(optax.scale)(rate))


def first_order(case: Case, name: str, seeds: int) -> dict[str, Any]:
    make = FIRST_ORDER[name]
    per_step = case.seconds_per_step(scheduled(make(), 1e-3, 60))
    steps = int(case.seconds / per_step)

    def run(rate: float, seed: int) -> dict[str, float]:
        return case.losses(case.fit(case.model(seed), scheduled(make(), rate, steps), steps, seed).model)

    by_rate = {rate: run(rate, 0) for rate in RATES}
    best = min(RATES, key=lambda rate: by_rate[rate]["valid"])
    runs = [by_rate[best], *(run(best, seed) for seed in range(1, seeds))]
    grid = {str(rate): losses["valid"] for rate, losses in by_rate.items()}
    return {"rate": best, "steps": steps, "seconds_per_step": per_step, "runs": runs, "grid": grid}


def then_lbfgs(case: Case, adam: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Half the time Adam, at its best rate, and half L-BFGS on all windows at once."""
    whole = {"batch_size": case.num_windows}
    per_step = case.seconds_per_step(optax.lbfgs(), **whole)
    half, steps, runs = adam["steps"] // 2, max(1, int(case.seconds / 2 / per_step)), []
    for seed in range(seeds):
        first = case.fit(case.model(seed), scheduled(optax.adam(1.0), adam["rate"], half), half, seed)
        runs.append(case.losses(case.fit(first.model, optax.lbfgs(), steps, seed, normalise=False, **whole).model))
    return {"rate": adam["rate"], "steps": f"{half} + {steps}", "seconds_per_step": per_step, "runs": runs}


def lbfgs(case: Case, seeds: int) -> dict[str, Any]:
    per_step = case.seconds_per_step(optax.lbfgs())
    steps = int(case.seconds / per_step)
    runs = [case.losses(case.fit(case.model(seed), optax.lbfgs(), steps, seed).model) for seed in range(seeds)]
    return {"steps": steps, "seconds_per_step": per_step, "runs": runs}


def levenberg_marquardt(case: Case, seeds: int) -> dict[str, Any]:
    def run(seed: int, max_steps: int) -> Any:
        solver = optimistix.LevenbergMarquardt(1e-9, 1e-9, norm=optimistix.rms_norm)
        return pj.fit_least_squares(
            case.model(seed),
            case.objective,
            case.split["train"],
            key=jax.random.key(seed),
            solver=solver,
            max_steps=max_steps,
            progress=False,
        )

    per_step = float(np.min(np.diff(run(0, 12).log["seconds"])[1:]))
    steps = int(case.seconds / per_step)
    fits = [run(seed, steps) for seed in range(seeds)]
    runs = [case.losses(fitted.model) for fitted in fits]
    return {"steps": max(len(fitted.log) - 1 for fitted in fits), "seconds_per_step": per_step, "runs": runs}


def measure(name: str, seeds: int, path: Path | None) -> None:
    case, rows = CASES[name](), []
    earlier = json.loads(path.read_text())["rows"] if path is not None and path.exists() else []
    earlier = [row for row in earlier if row["case"] != name]

    def add(optimiser: str, found: dict[str, Any]) -> None:
        rows.append({"case": name, "seconds": case.seconds, "optimiser": optimiser} | found)
        print(line(rows[-1]), f" at {time.perf_counter() - START:.0f} s", flush=True)
        if path is not None:
            write(path, rows + earlier, seeds)

    for optimiser in FIRST_ORDER:
        if optimiser == "SOAP, channels only" and all(np.ndim(leaf) < 3 for leaf in jax.tree.leaves(case.model(0))):
            continue  # the same as SOAP
        add(optimiser, first_order(case, optimiser, seeds))
    if case.second_order:
        add("Adam, then L-BFGS", then_lbfgs(case, rows[0], seeds))
        add("L-BFGS", lbfgs(case, seeds))
        add("Levenberg-Marquardt", levenberg_marquardt(case, seeds))


def line(row: dict[str, Any]) -> str:
    def over_seeds(part: str) -> str:
        values = sorted(run[part] for run in row["runs"])
        return f"{np.median(values):.3g} ({values[0]:.3g} to {values[-1]:.3g})"

    cells = [row["case"], row["optimiser"], row.get("rate", ""), row["steps"], f"{1e3 * row['seconds_per_step']:.2f}"]
    return "| " + " | ".join(map(str, [*cells, over_seeds("train"), over_seeds("test")])) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--case", choices=[*CASES], help="one of them")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # The same program is compiled once and not for every seed.
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        for name in [options.case] if options.case else CASES:
            measure(name, options.seeds, None if options.dry else RESULTS / "optimisers.json")


def write(path: Path, rows: list[dict[str, Any]], seeds: int) -> None:
    about = machine("optax", "optimistix", "lineax")
    rows.sort(key=lambda row: list(CASES).index(row["case"]))
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    path.with_suffix(".md").write_text(HEADER.format(header=header, seeds=seeds) + "\n".join(map(line, rows)) + "\n")


HEADER = """# Optimisers at equal wall time

`python benchmarks/optimisers.py`, single precision, one core; {header}.

All of a case get the same seconds, compilation apart (so many steps, of so many ms). Learning rates fall to zero as a
cosine, from the value of 0.001, 0.003, 0.01 and 0.03 that is best on held-out data with the first seed; then {seeds}
seeds, of weights and batches. Losses: mean squares in units of the standard deviation of what the network predicts,
median (lowest to highest). Where the machine is shared, times of a step vary by factors: compare losses beside the
numbers of steps.

- KS: the Kuramoto-Sivashinsky equation, one step of 0.5, an FNO of 77 425 weights, batches of 16 of 1280 windows. 5 s.
- Burgers: one step of 0.1, an FNO of 481 weights, all 72 windows in every batch. 5 s.
- a function: sin(2 x) y from 1000 points, a network with one hidden layer, 129 weights, all points in every batch. 2 s.

| case | optimiser | learning rate | steps | ms per step | training loss | test loss |
|---|---|---|---|---|---|---|
"""
START = time.perf_counter()

if __name__ == "__main__":
    main()
