"""Error and time of an FNO on the Burgers set of 16 points: `pdejax.fit` beside neuraloperator (torch).

    python benchmarks/operators.py --data burgers_16.hdf5     # both tasks; writes results/operators.{json,md}
    python benchmarks/operators.py --data burgers_16.hdf5 --tasks step --steps 500 --seeds 0 --rates 3e-3   # a minute

Data: 1200 trajectories of Burgers' equation at viscosity 0.01 on 16 points of a periodic box, 17 frames 1/16 apart,
made by neuraloperator 0.3.0: x `(1200, 16)`, y `(1200, 17, 16)`; 0 to 799 are trained on, 800 to 1199 tested. Error:
relative L2 over the 16 frames that follow the first and all points, mean over the test trajectories.

Two tasks. "field": the first frame, repeated along time, to the whole field of time and space, as neuraloperator's own
recipe for this set has it (`Burgers1dTimeDataset`). "step": a frame to the next one, rolled out sixteen times.

In each both are FNOs of four layers with the same frequencies and the same width, neuraloperator's with its defaults,
ours with its own; ours has never more numbers, and at most a tenth fewer. Both are trained by as many steps of Adam on
batches of as many samples, on relative L2, with a cosine to zero, inputs and outputs standardised; for each the rate is
the best of `--rates` on the last hundred training trajectories, tried with one seed. A third row is ours trained by
half as many steps, at the same rate: who has the smaller error may have reached the other's much sooner.
neuraloperator runs in a plain loop of torch, less work than its `Trainer`; ours is `fit` itself. Times are of the
training from the call to the last weights, our compilation included, on one core; contestants take turns, seed by seed,
in one process.

The peer is an extra: `pip install torch==2.13.0 neuraloperator==2.0.0`.
"""

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

# One core for either of them, so that what else runs on the machine changes the times least.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _measuring import machine, spread
from _training_peers import Batches, absent, count

import pdejax as pj
from pdejax.nn import Conditioning, Modes

RESULTS = Path(__file__).parent / "results"
TRAINED_ON, HELD_OUT, BATCH = 800, 100, 32
TASKS = ("step", "field")


@dataclasses.dataclass(frozen=True)
class Data:
    """Trajectories `(sample, 17, 16)`, in physical units."""

    train: np.ndarray
    held_out: np.ndarray

    def pairs(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """What a network is trained on, `(sample, 1, *space)`."""
        if task == "step":
            return self.train[:, :-1].reshape(-1, 1, 16), self.train[:, 1:].reshape(-1, 1, 16)
        return repeated(self.train[:, 0]), self.train[:, None]


def repeated(first: np.ndarray) -> np.ndarray:
    """First frames `(sample, 16)`, the same at all of 17 times."""
    return np.broadcast_to(first[:, None, None], (len(first), 1, 17, first.shape[-1])).copy()


def relative_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Of the frames behind the first, `(sample, 16, 16)`."""
    over = lambda a: np.sqrt(np.sum(np.square(a, dtype=np.float64), axis=(1, 2)))  # noqa: E731
    return float(np.mean(over(predicted - truth) / over(truth)))


def scored(task: str, model: Callable[[np.ndarray], np.ndarray], truth: np.ndarray) -> float:
    """The error of a network that maps batches `(sample, 1, *space)`."""
    if task == "field":
        return relative_error(model(repeated(truth[:, 0]))[:, 0, 1:], truth[:, 1:])
    frames = [truth[:, None, 0]]
    for _ in range(truth.shape[1] - 1):
        frames.append(model(frames[-1]))
    return relative_error(np.stack([frame[:, 0] for frame in frames[1:]], axis=1), truth[:, 1:])


class Ours:
    """pdejax: an FNO of its defaults, trained by `fit`."""

    def __init__(self, task: str, share: float = 1.0):
        self.task, self.share = task, share
        self.name = "pdejax" if share == 1 else f"pdejax, {share:g} of the steps"

    def network(self, key: Any) -> pj.models.FNO:
        if self.task == "step":
            return pj.models.FNO(1, 1, 1, Modes.neuraloperator((16,)), 64, key=key)
        # Time is no periodic axis, but rows of points between its ends gain less than they cost.
        told = Conditioning(coordinates=(3, 0), periodic=(False, True))
        return pj.models.FNO(1, 1, 2, Modes.neuraloperator((16, 16)), 32, conditioning=told, key=key)

    def train(self, data: Data, steps: int, rate: float, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        model, steps = self.network(jax.random.key(seed)), round(self.share * steps)
        options = {"optimiser": optax.adam(optax.cosine_decay_schedule(rate, steps)), "num_steps": steps}
        options |= {"batch_size": BATCH, "key": jax.random.key(100 + seed), "progress": False}
        if self.task == "step":
            grid = pj.Grid(16, 1.0, dtype=jnp.float32)
            whole = pj.Trajectories.from_arrays(data.train[:, :, None], grid, ("u",), times=np.arange(17) / 16)
            fitted = pj.fit(model, pj.objectives.OneStep(pj.losses.RelativeL2()), whole, **options)
        else:
            fitted = pj.fit(model, pj.objectives.Supervised(pj.losses.RelativeL2()), data.pairs("field"), **options)
        jax.block_until_ready(jax.tree.leaves(fitted.model)[0])
        call = jax.jit(jax.vmap(fitted.model))
        return lambda inputs: np.asarray(call(jnp.asarray(inputs)))


class Theirs:
    """neuraloperator: an FNO of its defaults in a plain loop of torch."""

    name = "neuraloperator"

    def __init__(self, task: str):
        self.task = task

    def network(self) -> Any:
        from neuralop.models import FNO

        if self.task == "step":
            return FNO(n_modes=(16,), in_channels=1, out_channels=1, hidden_channels=64)
        return FNO(n_modes=(16, 16), in_channels=1, out_channels=1, hidden_channels=32)

    def train(self, data: Data, steps: int, rate: float, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = self.network()
        inputs, targets = (torch.tensor(a) for a in data.pairs(self.task))
        units = [(a.mean(), a.std()) for a in (inputs, targets)]
        batches = Batches(len(inputs), BATCH)
        optimiser = torch.optim.Adam(model.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

        def physical(u: Any) -> Any:
            return units[1][0] + units[1][1] * model((u - units[0][0]) / units[0][1])

        for _ in range(steps):
            index = torch.as_tensor(batches.next())
            u, truth = inputs[index], targets[index]
            optimiser.zero_grad()
            missed = (physical(u) - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)
            missed.mean().backward()
            optimiser.step()
            schedule.step()

        def call(u: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return physical(torch.tensor(np.asarray(u))).numpy()

        return call


def measure(task: str, data: Data, steps: int, seeds: list[int], rates: list[float]) -> dict:
    ours, theirs, half = Ours(task), Theirs(task), Ours(task, 0.5)
    contestants = [ours, theirs, half]
    sizes = {ours.name: count(ours.network(jax.random.key(0))), theirs.name: count(theirs.network())}
    if not 0.9 * sizes[theirs.name] <= sizes[ours.name] <= sizes[theirs.name]:
        raise SystemExit(f"The networks are not of the same size: {sizes}.")
    # The rate, on training trajectories that are not trained on here.
    fewer = Data(data.train[:-HELD_OUT], data.train[-HELD_OUT:])
    tried: dict[str, dict[str, float]] = {each.name: {} for each in (ours, theirs)}
    for each in (ours, theirs):
        for rate in rates if len(rates) > 1 else []:
            model = each.train(fewer, steps, rate, seed=1000)
            tried[each.name][str(rate)] = scored(task, model, fewer.held_out)
            print(f"{task}: {each.name} at rate {rate}: {tried[each.name][str(rate)]:.4f} held out", flush=True)
    best = {name: float(min(of, key=of.__getitem__)) if of else rates[0] for name, of in tried.items()}
    best[half.name], sizes[half.name] = best[ours.name], sizes[ours.name]
    errors: dict[str, list[float]] = {each.name: [] for each in contestants}
    seconds: dict[str, list[float]] = {each.name: [] for each in contestants}
    for seed in seeds:
        for each in contestants:
            began = time.perf_counter()
            model = each.train(data, steps, best[each.name], seed)
            seconds[each.name].append(time.perf_counter() - began)
            errors[each.name].append(scored(task, model, data.held_out))
            print(
                f"{task}: {each.name} seed {seed}: {errors[each.name][-1]:.4f}, {seconds[each.name][-1]:.0f} s",
                flush=True,
            )
    return {
        "task": task,
        "steps": steps,
        "seeds": seeds,
        "parameters": sizes,
        "tried": tried,
        "rate": best,
        "errors": errors,
        "seconds": seconds,
        "share_of_their_time": {
            each.name: spread(np.array(seconds[each.name]) / np.array(seconds[theirs.name])) for each in (ours, half)
        },
    }


def table(results: list[dict]) -> str:
    lines = [
        "| task | contestant | numbers | rate | relative L2 over 16 steps, by seed | training, s | of their time |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for name, errors in result["errors"].items():
            share = result["share_of_their_time"].get(name)
            of_time = f"{share['median']:.2f}" if share else ""
            lines.append(
                f"| {result['task']}, {result['steps']} steps | {name} | {result['parameters'][name]} | "
                f"{result['rate'][name]:g} | {np.mean(errors):.4f} ({', '.join(f'{e:.4f}' for e in errors)}) | "
                f"{np.median(result['seconds'][name]):.0f} | {of_time} |"
            )
    return "\n".join(lines)


def write(results: list[dict], folder: Path, options: argparse.Namespace) -> None:
    about = machine("equinox", "optax", "torch", "neuraloperator") | {"cores": str(os.cpu_count())}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "operators.json").write_text(json.dumps({"machine": about, "tasks": results}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    text = "# An FNO on the Burgers set beside neuraloperator\n\n"
    text += (
        f"`python benchmarks/operators.py --data burgers_16.hdf5`, float32, one core, batches of {BATCH}; {header}.\n\n"
    )
    (folder / "operators.md").write_text(text + table(results) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="burgers_16.hdf5")
    parser.add_argument("--tasks", nargs="*", choices=TASKS, help="default both, written to results/")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="*", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument(
        "--results", type=Path, help="folder for the results; default benchmarks/results for both tasks"
    )
    options = parser.parse_args()
    if absent("neuralop"):
        parser.error("neuraloperator is not installed: pip install torch==2.13.0 neuraloperator==2.0.0")
    if not options.data.is_file():
        parser.error(f"--data {options.data}: there is no such file")
    jax.config.update("jax_platforms", "cpu")
    with h5py.File(options.data) as file:
        y = file["y"][:].astype(np.float32)
    data = Data(y[:TRAINED_ON], y[TRAINED_ON:])
    folder = options.results or (None if options.tasks else RESULTS)
    results = []
    for task in options.tasks or TASKS:
        results.append(measure(task, data, options.steps, options.seeds, options.rates))
        print(table(results[-1:]), flush=True)
        if folder is not None:
            write(results, folder, options)


if __name__ == "__main__":
    main()
