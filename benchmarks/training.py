"""Optimiser steps per second of an FNO: `pdejax.fit` beside neuraloperator (torch) and PDEquinox with Trainax (JAX).

    python benchmarks/training.py                          # all rows; writes benchmarks/results/training.{json,md}
    python benchmarks/training.py --rows plane-64          # one of them, printed only
    python benchmarks/training.py --device cuda --longer 5 --repeats 5 --results out   # on a GPU, with shorter steps

One network, the same function with the same weights in all three (`_training_peers.py`; the script stops where they
disagree), the same pairs of fields, batches of 16, mean square, Adam, float32. Each is trained in its own way: ours by
`fit` itself, PDEquinox by the steps of `trainax.trainer.SupervisedTrainer`, neuraloperator by a plain loop of torch,
eager or, if named among the peers, through `torch.compile`, which takes a minute or more a row. All data lie on the
device. The first slice of every contestant compiles: it gives the time of compilation and the losses from the same
start, so that one sees that a step is the same work. Then they take turns, slice after slice, in one process; the
ratios are taken turn by turn. With `--memory kept` what is freed stays with the process, whoever freed it
(`pj.keep_freed_memory`), and the results have a file of their own. On a GPU our products are of float32; those of the
peers' convolutions are what their users get, TF32.

The peers are extras: `pip install torch==2.13.0 '.[peers]'`. A peer that is not installed is left out, and said to be.
"""

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Two frameworks share one device: neither may take all of its memory at the start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _measuring import machine, spread
from _training_peers import LEARNING_RATE, NeuralOperator, PDEquinox, absent, count, parameters_of_fno

import pdejax as pj

RESULTS = Path(__file__).parent / "results"
BATCH, SAMPLES, LAYERS = 16, 64, 4
PEERS = {
    "neuraloperator": ("torch", "neuralop"),
    "neuraloperator compiled": ("torch", "neuralop"),
    "PDEquinox + Trainax": ("pdequinox", "trainax"),
}
# Of the function of a peer and ours, relative to its largest value: float32, and TF32 on a GPU.
AGREEMENT = {"cpu": 1e-4, "cuda": 2e-2}


class Slice(NamedTuple):
    """Some optimiser steps of one contestant, and the loss of each."""

    seconds: float
    losses: list[float]


@dataclasses.dataclass(frozen=True)
class Row:
    """One size; `steps` are those of a slice, `torch_steps` those of a slice of torch but its first."""

    name: str
    shape: tuple[int, ...]
    modes: int
    width: int
    steps: int
    torch_steps: int

    @property
    def label(self) -> str:
        return f"{' x '.join(map(str, self.shape))}, {self.modes} modes, width {self.width}"


ROWS = (
    Row("line-256", (256,), 16, 33, 80, 20),
    Row("line-1024", (1024,), 16, 64, 16, 4),
    Row("plane-64", (64, 64), 12, 32, 8, 2),
    Row("plane-128", (128, 128), 12, 21, 4, 2),
)


def pairs(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """States of Burgers' equation or of a flow in the plane, and those a moment later; of size one."""
    equation = pj.equations.Burgers(1e-2) if len(row.shape) == 1 else pj.equations.NavierStokesVorticity(1e-3)
    grid = pj.Grid(row.shape, 1.0, dtype=jnp.float32)
    stepper = pj.TimeStepper(equation, pj.Spectral(grid), dt=0.05, substeps=20)
    law = pj.initial.BandLimited(peak=3, cutoff=6)
    keys = jax.random.split(jax.random.key(0), SAMPLES)
    inputs = jax.vmap(lambda key: law(grid, key=key))(keys)
    targets = jax.jit(jax.vmap(stepper))(inputs)
    return np.asarray(inputs), np.asarray(targets)


def contestants(
    row: Row, fno: pj.models.FNO, data: tuple, peers: list[str], device: str, repeats: int
) -> dict[str, Any]:
    """The peers, each checked to be the same function of as many parameters."""
    expected = np.asarray(jax.jit(jax.vmap(fno))(data[0]))
    made = {}
    for name in peers:
        if name.startswith("neuraloperator"):
            peer = NeuralOperator(fno, *data, BATCH, device, compiled=name.endswith("compiled"))
        else:
            peer = PDEquinox(fno, *map(jnp.asarray, data), BATCH, row.steps * (repeats + 1))
        if count(peer.model) != count(fno):
            raise SystemExit(f"{name} has {count(peer.model)} parameters, pdejax {count(fno)}.")
        difference = np.max(np.abs(peer(data[0]) - expected)) / np.max(np.abs(expected))
        print(f"{row.name}: {name} has {count(peer.model)} parameters, ours; relative difference {difference:.1e}")
        if not difference < AGREEMENT[device]:
            raise SystemExit(f"{name} is another function: the outputs differ by {difference:.1e} of the largest.")
        made[name] = peer
    return made


class Turns:
    """A logger of `fit`, at the end of whose slices the peers take their turns.

    So `fit` runs as it always does, once, and its slices of steps come in turn with those of the others.
    """

    def __init__(self, peers: Mapping[str, Any], row: Row):
        self.peers, self.row = peers, row
        self.slices: dict[str, list[Slice]] = {name: [] for name in ("pdejax", *peers)}
        self.losses: list[float] = []
        self.began = time.perf_counter()

    def steps(self, name: str) -> int:
        """In their first slice all take the same number, and their losses are compared."""
        return self.row.torch_steps if name.startswith("neuraloperator") and self.slices[name] else self.row.steps

    def __call__(self, rows: Mapping[str, np.ndarray]) -> None:
        self.losses.extend(float(loss) for loss in rows["loss"])
        if len(self.losses) < self.row.steps:
            return
        self._note("pdejax", self.losses)
        self.losses = []
        for name, peer in self.peers.items():
            self._note(name, peer.run(self.steps(name)))

    def _note(self, name: str, losses: list[float]) -> None:
        self.slices[name].append(Slice(time.perf_counter() - self.began, losses))
        self.began = time.perf_counter()


def measure(row: Row, peers: list[str], device: str, repeats: int) -> dict:
    ndim = len(row.shape)
    fno = pj.models.FNO(1, 1, ndim, row.modes, row.width, num_layers=LAYERS, key=jax.random.key(0))
    assert count(fno) == parameters_of_fno(fno.modes, row.width, LAYERS)
    data = pairs(row)
    turns = Turns(contestants(row, fno, data, peers, device, repeats), row)
    turns.began = time.perf_counter()
    pj.fit(
        fno,
        pj.objectives.Supervised(),
        data,
        optimiser=optax.adam(LEARNING_RATE),
        num_steps=row.steps * (repeats + 1),
        valid_every=row.steps,
        batch_size=BATCH,
        normalise=False,
        key=jax.random.key(1),
        progress=False,
        loggers=[turns],
    )
    # Seconds per step, the first slice apart.
    timed = {name: np.array([s.seconds / len(s.losses) for s in slices[1:]]) for name, slices in turns.slices.items()}
    first = {name: slices[0] for name, slices in turns.slices.items()}
    return {
        "row": row.label,
        "parameters": count(fno),
        "steps_per_second": {name: spread(1 / values) for name, values in timed.items()},
        "ratio": {name: spread(timed[name] / timed["pdejax"]) for name in turns.peers},
        "compile_seconds": {name: first[name].seconds - row.steps * float(np.median(timed[name])) for name in first},
        "steps": row.steps,
        "loss": {name: [s.losses[0], float(np.mean(s.losses[-row.steps // 4 :]))] for name, s in first.items()},
    }


def table(results: list[dict]) -> str:
    lines = [
        "| row | contestant | steps/s (10 % - 90 %) | pdejax is so many times as fast | compilation, s | loss at first "
        "| after so many steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for name, rate in result["steps_per_second"].items():
            own = name == "pdejax"
            label = f"{result['row']}; {result['parameters']} parameters" if own else ""
            ratio = None if own else result["ratio"][name]
            beside = "" if ratio is None else f"{ratio['median']:.2f} ({ratio['low']:.2f} - {ratio['high']:.2f})"
            start, end = result["loss"][name]
            lines.append(
                f"| {label} | {name} | {rate['median']:.3g} ({rate['low']:.3g} - {rate['high']:.3g}) | {beside} | "
                f"{max(0.0, result['compile_seconds'][name]):.1f} | {start:.3g} | {end:.3g} ({result['steps']}) |"
            )
    return "\n".join(lines)


def write(results: list[dict], folder: Path, options: argparse.Namespace) -> None:
    packages = {"torch": "torch", "neuralop": "neuraloperator", "pdequinox": "pdequinox", "trainax": "trainax"}
    present = [name for module, name in packages.items() if not absent(module)]
    about = machine("equinox", "optax", *present) | {"cores": str(os.cpu_count())}
    folder.mkdir(parents=True, exist_ok=True)
    stem = "training" if options.device == "cpu" else "training_gpu"
    stem += "_memory_kept" if options.memory == "kept" else ""
    (folder / f"{stem}.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    arguments = f"--device {options.device} --longer {options.longer} --repeats {options.repeats}"
    arguments += " --memory kept" if options.memory == "kept" else ""
    text = "# Training an FNO beside neuraloperator and PDEquinox with Trainax\n\n"
    text += f"`python benchmarks/training.py {arguments}`, float32, batches of {BATCH}, {LAYERS} layers, Adam, mean "
    text += f"square; {header}.\n\n"
    (folder / f"{stem}.md").write_text(text + table(results) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", help="names of the rows to run; default all, written to results/")
    parser.add_argument(
        "--peers", nargs="*", default=list(PEERS)[::2], help=f"of {list(PEERS)}; the compiled one if named"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--longer", type=int, default=1, help="so many times as many steps per slice, for fast devices")
    parser.add_argument(
        "--memory", choices=("returned", "kept"), default="returned", help="what becomes of freed memory"
    )
    parser.add_argument("--results", type=Path, help="folder for the results; default benchmarks/results for all rows")
    options = parser.parse_args()
    if unknown := set(options.rows or ()) - {row.name for row in ROWS}:
        parser.error(f"no row {sorted(unknown)}; there are {[row.name for row in ROWS]}")
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no peer {sorted(unknown)}; there are {list(PEERS)}")
    if options.memory == "kept" and not pj.keep_freed_memory():
        print("this process returns freed memory: it has a C library, or settings, of its own.")
    missing = {name: [p for p in PEERS[name] if absent(p)] for name in options.peers}
    for name, packages in missing.items():
        if packages:
            print(f"{name} is left out: {', '.join(packages)} cannot be imported here.")
    peers = [name for name in options.peers if not missing[name]]
    if options.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif jax.default_backend() != "gpu":
        parser.error(f"--device cuda, but JAX has {jax.default_backend()}: install jax[cuda12].")
    folder = options.results or (None if options.rows else RESULTS)
    results = []
    for row in ROWS:
        if not options.rows or row.name in options.rows:
            row = dataclasses.replace(
                row, steps=row.steps * options.longer, torch_steps=row.torch_steps * options.longer
            )
            results.append(measure(row, peers, options.device, options.repeats))
            print(table(results[-1:]), flush=True)
            # After every row: a run that is stopped has shown what it had.
            if folder is not None:
                write(results, folder, options)


if __name__ == "__main__":
    main()
