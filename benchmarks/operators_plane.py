"""A Fourier neural operator and three transformers at equal training time, on two-dimensional Kolmogorov flow.

    python benchmarks/operators_plane.py --data TRAIN.hdf5 --valid VALID.hdf5 [--seconds 120] [--seeds 3]

writes benchmarks/results/operators_plane.{json,md}. With the defaults three quarters of an hour on one free core;
`--dry` only prints.

Claim to be tested: at least one transformer is competitive with the Fourier neural operator at equal cost, i.e. the
median over the seeds of its error at lead time 1 is at most 1.1 times that of the FNO.

Every model predicts the next frame and gets the same seconds of training on one core, compilation apart: the time of a
step is the least of nine measurements, and the number of steps, over which the learning rate falls to zero as a cosine,
is what fits. Sizes were chosen such that one forward pass costs about as much; the numbers of heads and the range of
learning rates were changed once, after a run of one minute for each model. The learning rate of each is the best of
`--rates` in a quarter of the time with a seed of its own, on trajectories that are cut off the end of TRAIN and never
trained on; VALID is looked at once, with the last weights.

Data: any file in The Well's layout that holds one periodic field in the plane; the flow of datasets/kolmogorov_flow.py,
frames 0.2 apart. It is truncated to `--points` points per axis.
"""

import argparse
import dataclasses
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
from _measuring import machine, spread

import pdejax as pj
from pdejax.data import Trajectories, read_well
from pdejax.nn import Conditioning
from pdejax.resample import resample

RESULTS = Path(__file__).parent / "results"
BATCH = 8
HELD_OUT = 4  # trajectories of TRAIN on which the learning rate is chosen
COMPETITIVE = 1.1
# The force depends on the second coordinate.
TOLD = Conditioning(coordinates=(0, 4))
Make = Callable[[int, Any], Any]
MODELS: dict[str, Make] = {
    "FNO": lambda c, key: pj.models.FNO(c, c, 2, 12, 32, num_layers=4, conditioning=TOLD, key=key),
    "IFactFormer": lambda c, key: pj.models.IFactFormer(
        c, c, 2, 32, num_layers=4, heads=16, rank=32, harmonics=12, conditioning=TOLD, key=key
    ),
    "GalerkinTransformer": lambda c, key: pj.models.GalerkinTransformer(
        c, c, 2, 32, num_layers=4, heads=2, harmonics=4, conditioning=TOLD, key=key
    ),
    "SwinUNet": lambda c, key: pj.models.SwinUNet(
        c, c, 2, 24, patch=2, window=4, num_levels=2, depth=2, heads=2, conditioning=TOLD, key=key
    ),
}


@dataclasses.dataclass
class Data:
    """What is trained on, what learning rates are chosen on, and what is scored on."""

    train: Trajectories
    chosen_on: Trajectories
    valid: Trajectories


def read(path: Path, points: int) -> Trajectories:
    """A file in memory, in single precision, truncated to `points` points per axis."""
    data = read_well(path)
    grid = data.grid.with_dtype(np.float32)
    coarse = grid.with_shape((points,) * grid.ndim)
    u = np.concatenate([np.asarray(resample(np.asarray(each, np.float32)[None], grid, coarse)) for each in data.u[:]])
    return dataclasses.replace(data, u=u, grid=coarse)


def schedule(rate: float, steps: int) -> Any:
    """Adam; the learning rate is a number of the state, so that one program serves all of them."""
    cosine = optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, max(1, steps)))
    return optax.chain(optax.adam(1.0), cosine, optax.inject_hyperparams(optax.scale)(rate))


def fitted(model: Any, train: Trajectories, rate: float, steps: int, seed: int, **options: Any) -> Any:
    return pj.fit(
        model,
        pj.objectives.OneStep(),
        train,
        optimiser=schedule(rate, steps),
        num_steps=steps,
        batch_size=BATCH,
        key=jax.random.key(seed),
        progress=False,
        **({"steps_per_call": 10} | options),
    )


def seconds_per_step(make: Make, train: Trajectories) -> float:
    """The least of nine calls, of which that which compiles is none."""
    log = fitted(make(train.num_channels, jax.random.key(0)), train, 1e-3, 100, 0).log
    return float(np.min(np.diff(log["seconds"][9::10]))) / 10


@eqx.filter_jit
def rolled_out(model: Any, starts: Any, grid: Any, steps: int) -> Any:
    def step(u: Any, _: None) -> tuple[Any, Any]:
        u = jax.vmap(lambda each: model(each, domain=grid))(u)
        return u, u

    return jax.lax.scan(step, starts, None, length=steps)[1]


def errors(model: Any | None, data: Trajectories) -> dict[str, float]:
    """Relative L2 after one frame and at lead time 1, means over trajectories and starts; None holds the state."""
    last = round(1.0 / float(data.times[1] - data.times[0]))
    starts = np.arange(0, data.num_frames - last, last)
    u = np.asarray(data.u)
    first = u[:, starts].reshape(-1, *u.shape[2:])
    steps = np.broadcast_to(first, (last, *first.shape)) if model is None else None
    steps = np.asarray(rolled_out(model, jnp.asarray(first), data.grid, last)) if steps is None else steps

    def relative(lead: int) -> float:
        true = u[:, starts + lead].reshape(first.shape)
        flat = lambda v: v.reshape(len(v), -1)  # noqa: E731
        gap = np.linalg.norm(flat(steps[lead - 1] - true), axis=1) / np.linalg.norm(flat(true), axis=1)
        return float(np.mean(gap))

    return {"one_step": relative(1), "lead_1": relative(last)}


def forward_times(data: Trajectories, rounds: int = 15) -> dict[str, Any]:
    """Seconds of one forward pass of a batch, and their ratio to the FNO's of the same round, the models in turn."""
    u = jnp.asarray(np.asarray(data.u)[:1, :BATCH].reshape(-1, *data.u.shape[2:]))
    compiled = {}
    for name, make in MODELS.items():
        model = make(data.num_channels, jax.random.key(0))
        call = jax.jit(jax.vmap(lambda v, model=model: model(v, domain=data.grid)))
        jax.block_until_ready(call(u))
        compiled[name] = call
    taken: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(rounds):
        for name, call in compiled.items():
            started = time.perf_counter()
            for _ in range(5):
                jax.block_until_ready(call(u))
            taken[name].append((time.perf_counter() - started) / 5)
    reference = np.asarray(taken["FNO"])
    return {
        name: {"seconds": spread(np.asarray(each)), "ratio": spread(np.asarray(each) / reference)}
        for name, each in taken.items()
    }


def measure(name: str, data: Data, seconds: float, rates: list[float], seeds: int) -> dict[str, Any]:
    make, channels = MODELS[name], data.train.num_channels
    per_step = seconds_per_step(make, data.train)
    steps = max(10, int(seconds / per_step))
    grid = {}
    if len(rates) > 1:
        for rate in rates:
            model = fitted(make(channels, jax.random.key(1000)), data.train, rate, max(10, steps // 4), 1000).model
            grid[rate] = errors(model, data.chosen_on)["one_step"]
    # What diverged is no number, and no choice.
    best = min(rates, key=lambda rate: np.nan_to_num(grid.get(rate, 0.0), nan=np.inf))
    runs = []
    for seed in range(seeds):
        started = time.perf_counter()
        model = fitted(make(channels, jax.random.key(seed)), data.train, best, steps, seed).model
        taken = time.perf_counter() - started
        runs.append(errors(model, data.valid) | {"seconds_with_compilation": round(taken, 1)})
    weights = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(make(channels, jax.random.key(0)), eqx.is_array)))
    found = {"model": name, "parameters": weights, "steps": steps, "seconds_per_step": per_step, "rate": best}
    return found | {"errors_by_rate": {str(rate): error for rate, error in grid.items()}, "runs": runs}


def verdict(rows: list[dict[str, Any]]) -> str:
    medians = {row["model"]: float(np.median([run["lead_1"] for run in row["runs"]])) for row in rows}
    fno = medians.pop("FNO")
    best = min(medians, key=lambda name: medians[name])
    held = "holds" if medians[best] <= COMPETITIVE * fno else "does not hold"
    return (
        f"The claim {held} here: the best transformer, {best}, has {medians[best] / fno:.2f} times the error of the "
        f"FNO at lead time 1 (at most {COMPETITIVE:g} was asked)."
    )


def line(row: dict[str, Any]) -> str:
    def over_seeds(name: str) -> str:
        values = sorted(run[name] for run in row["runs"])
        text = f"{np.median(values):.3f}"
        return text if len(values) == 1 else f"{text} ({values[0]:.3f} to {values[-1]:.3f})"

    cells = [row["model"], f"{row['parameters']:,}".replace(",", " "), f"{row['forward']['ratio']['median']:.2f}"]
    cells += [f"{1e3 * row['seconds_per_step']:.1f}", str(row["steps"]), f"{row['rate']:g}"]
    return "| " + " | ".join([*cells, over_seeds("one_step"), over_seeds("lead_1")]) + " |"


def page(found: dict[str, Any]) -> str:
    header = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    still, rates = found["persistence"], ", ".join(f"{rate:g}" for rate in found["rates"])
    chosen = f"the best of {rates} in a quarter of the time" if len(found["rates"]) > 1 else rates
    return "\n".join(
        [
            "# A Fourier neural operator and three transformers at equal training time",
            "",
            f"`python benchmarks/operators_plane.py`, single precision, one core; {header}.",
            "",
            f"Kolmogorov flow on {found['points']} x {found['points']} points, {found['trajectories']} trajectories to "
            f"train on, one step of {found['interval']:g} predicted, batches of {BATCH}. Each model gets "
            f"{found['seconds']:g} s of training, compilation apart (so many steps, of so many ms); learning rate: "
            f"{chosen}, on held-out trajectories; {found['seeds']} seed(s). Errors: relative L2 on "
            f"{found['valid_trajectories']} other trajectories, mean; median over the seeds (lowest to highest). "
            "Where the machine is shared, times of a step vary by factors: compare errors beside the numbers of steps.",
            "",
            "| model | weights | forward, over FNO's | ms per step | steps | learning rate | error of one step | "
            "error at lead time 1 |",
            "|---|---|---|---|---|---|---|---|",
            *(line(row) for row in found["rows"]),
            f"| holding the state | 0 | | | | | {still['one_step']:.3f} | {still['lead_1']:.3f} |",
            "",
            verdict(found["rows"]) if any(row["model"] == "FNO" for row in found["rows"]) else "",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="file of trajectories to train on")
    parser.add_argument("--valid", type=Path, required=True, help="file of others, to score on")
    parser.add_argument("--seconds", type=float, default=120.0, help="of training, for each model and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2, 3e-2], help="learning rates to try"
    )
    parser.add_argument("--points", type=int, default=32, help="per axis")
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS])
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    whole, valid = read(options.data, options.points), read(options.valid, options.points)
    data = Data(whole[:-HELD_OUT], whole[-HELD_OUT:], valid)
    found: dict[str, Any] = {
        "machine": machine("optax"),
        "points": options.points,
        "trajectories": len(data.train),
        "valid_trajectories": len(valid),
        "interval": float(valid.times[1] - valid.times[0]),
        "seconds": options.seconds,
        "seeds": options.seeds,
        "rates": options.rates,
        "persistence": errors(None, valid),
    }
    forward = forward_times(valid)
    with tempfile.TemporaryDirectory() as folder:
        # The same program is compiled once and not for every seed.
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        rows = []
        for name in options.models:
            row = measure(name, data, options.seconds, options.rates, options.seeds)
            rows.append(row | {"forward": forward[name]})
            print(line(rows[-1]), flush=True)
    found["rows"] = rows
    print(page(found))
    if not options.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "operators_plane.json").write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "operators_plane.md").write_text(page(found))


if __name__ == "__main__":
    main()
