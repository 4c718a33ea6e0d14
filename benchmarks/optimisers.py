"""Adam, SOAP, Muon, L-BFGS and Levenberg-Marquardt at equal wall time, on two Fourier neural operators.

    python benchmarks/optimisers.py

writes benchmarks/results/optimisers.{json,md}; about eight minutes on one free core. With `--case NAME` it measures one
of the two, and keeps what the file says of the other.

Every optimiser gets the same seconds, compilation apart: the time of a step is the least of three measurements, and the
number of steps, over which the learning rate falls to zero as a cosine, is what fits. Learning rates are those with the
lowest loss on held-out data on a grid (factors of 3, one seed); with it other seeds follow, of weights and batches.
Losses are mean squares of the one-step error in units of the standard deviation of the increments (1: a model that
changes nothing), over all windows of the training and of the test trajectories.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import lineax
import numpy as np
import optax
import optimistix
from _measuring import machine

import pdejax as pj
from pdejax.training.full_batch import full_batch

RESULTS = Path(__file__).parent / "results"
OBJECTIVE = pj.objectives.OneStep()


def kuramoto_sivashinsky() -> tuple[Any, dict[str, Any], float]:
    """48 trajectories of chaos on 64 points, batches of 16, 80 000 weights."""
    grid = pj.Grid(64, extent=32.0)
    stepper = pj.TimeStepper(pj.equations.KuramotoSivashinsky(), pj.Spectral(grid), dt=0.5, substeps=5)
    data = pj.generate(
        stepper,
        pj.initial.BandLimited(peak=3),
        num_samples=48,
        num_steps=40,
        burn_in=100,
        key=jax.random.key(0),
        progress=False,
    )
    sizes = {"modes": 16, "width": 24, "num_layers": 4, "batch_size": 16}
    return data.split(train=32, valid=8, test=8), sizes, 6.0


def burgers() -> tuple[Any, dict[str, Any], float]:
    """All 72 windows of 6 trajectories in every batch, 500 weights."""
    grid = pj.Grid(48, extent=2 * np.pi)
    stepper = pj.TimeStepper(pj.equations.Burgers(viscosity=0.1), pj.Spectral(grid), dt=0.1, substeps=10)
    data = pj.generate(
        stepper, pj.initial.BandLimited(peak=2), num_samples=18, num_steps=12, key=jax.random.key(0), progress=False
    )
    sizes = {"modes": 6, "width": 4, "num_layers": 2, "batch_size": 72}
    return data.split(train=6, valid=6, test=6), sizes, 5.0


CASES = {"KS, mini-batches": kuramoto_sivashinsky, "Burgers, small": burgers}
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


class Case:
    """The data, the model and the seconds of one comparison."""

    def __init__(self, make: Callable[[], tuple[Any, dict[str, Any], float]]):
        self.data, self.sizes, self.seconds = make()
        self.windows = {part: self._whole(getattr(self.data, part)) for part in ("train", "valid", "test")}

    def model(self, seed: int) -> Any:
        sizes = {name: self.sizes[name] for name in ("modes", "width", "num_layers")}
        return pj.models.FNO(1, 1, 1, **sizes, key=jax.random.key(100 + seed))

    def _whole(self, part: Any) -> Any:
        return full_batch(self.model(0), OBJECTIVE, part, True, None)

    def losses(self, model: Any) -> dict[str, float]:
        found = {}
        for part, whole in self.windows.items():
            batch = whole.batch(whole.arrays)
            found[part] = float(
                jax.jit(lambda u, b=batch: OBJECTIVE(model, b._replace(u=u), jax.random.key(0))[0])(batch.u)
            )
        return found

    def fit(self, model: Any, optimiser: Any, num_steps: int, seed: int, **given: Any) -> Any:
        options = {"batch_size": self.sizes["batch_size"], "progress": False, "steps_per_call": 200} | given
        key = jax.random.key(seed)
        return pj.fit(model, OBJECTIVE, self.data.train, optimiser=optimiser, num_steps=num_steps, key=key, **options)

    def seconds_per_step(self, optimiser: Any, **given: Any) -> float:
        """The least of some calls, of which the first, which compiles, is none."""
        log = self.fit(self.model(0), optimiser, 60, 0, steps_per_call=15, **given).log
        return float(np.min(np.diff(log["seconds"][14::15]))) / 15


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
    whole = {"batch_size": case.windows["train"].arrays.u.shape[0]}
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


def levenberg_marquardt(case: Case, linear_solver: Any, seeds: int) -> dict[str, Any]:
    def run(seed: int, max_steps: int) -> Any:
        solver = optimistix.LevenbergMarquardt(1e-9, 1e-9, norm=optimistix.rms_norm, linear_solver=linear_solver)
        return pj.fit_least_squares(
            case.model(seed),
            OBJECTIVE,
            case.data.train,
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


def measure(name: str, seeds: int) -> list[dict[str, Any]]:
    case, rows = Case(CASES[name]), []

    def add(optimiser: str, found: dict[str, Any]) -> None:
        rows.append({"case": name, "seconds": case.seconds, "optimiser": optimiser} | found)
        print(line(rows[-1]), f" at {time.perf_counter() - START:.0f} s", flush=True)

    for optimiser in FIRST_ORDER:
        add(optimiser, first_order(case, optimiser, seeds))
    add("Adam, then L-BFGS", then_lbfgs(case, rows[0], seeds))
    if CASES[name] is burgers:
        add("L-BFGS", lbfgs(case, seeds))
        add("Levenberg-Marquardt, QR", levenberg_marquardt(case, lineax.QR(), seeds))
        add("Levenberg-Marquardt, CG", levenberg_marquardt(case, lineax.Normal(lineax.CG(1e-3, 1e-3)), seeds))
    return rows


def line(row: dict[str, Any]) -> str:
    def over_seeds(part: str) -> str:
        values = sorted(run[part] for run in row["runs"])
        return f"{np.median(values):.3g} ({values[0]:.3g} to {values[-1]:.3g})"

    cells = [row["case"], row["optimiser"], row.get("rate", ""), row["steps"], f"{1e3 * row['seconds_per_step']:.2f}"]
    return "| " + " | ".join(map(str, [*cells, over_seeds("train"), over_seeds("test")])) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--case", choices=[*CASES], help="one of the two")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    chosen = [options.case] if options.case else list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        # The same program is compiled once and not for every seed.
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        rows = [row for name in chosen for row in measure(name, options.seeds)]
    if options.dry:
        return
    about, path = machine("optax", "optimistix", "lineax"), RESULTS / "optimisers.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    rows += [row for row in earlier if row["case"] not in chosen]
    rows.sort(key=lambda row: list(CASES).index(row["case"]))
    (RESULTS / "optimisers.json").write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    text = HEADER.format(header=header, seeds=options.seeds) + "\n".join(map(line, rows)) + "\n"
    (RESULTS / "optimisers.md").write_text(text)


HEADER = ""
START = time.perf_counter()

if __name__ == "__main__":
    main()
