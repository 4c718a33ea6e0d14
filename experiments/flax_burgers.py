"""A network written in flax, and the same one in Equinox, on the Burgers set of 16 points.

Who brings a module of flax should lose nothing by it. The same MLP-mixer (Tolstikhin et al., MLP-Mixer: An all-MLP
Architecture for Vision, NeurIPS 2021; without norms) is written three times as a user of each package would, and
trained by one call of `fit` that is the same for all. Hypothesis:

1. The mean error over the seeds of each flax version is within 10 % of that of the Equinox version whose first weights
   follow the same law: flax's, normal of variance 1 / inputs and without biases.

The packages' own laws differ, Equinox' is uniform of a third of that variance, biases too. What that alone does is in
the table as well: in the first run of this experiment, where every version had its own law, both of flax had more than
twice the error of Equinox.

Error: relative L2 of rollouts from the first frame, mean over the 16 frames that follow and over the test trajectories.
Data: `burgers_16.hdf5`, 1200 trajectories of Burgers' equation at viscosity 0.01 on 16 points of a periodic box of
length one, 17 frames 1/16 apart, made by neuraloperator 0.3.0: x `(1200, 16)`, y `(1200, 17, 16)`; 0 to 799 are trained
on, 800 to 1199 are tested on.

    python experiments/flax_burgers.py --data burgers_16.hdf5      # a few minutes on two cores
    python experiments/flax_burgers.py --preset tiny               # seconds, on data of our own; learns nothing

Writes RESULTS/flax_burgers.json and .md.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

import pdejax as pj
from pdejax.cli import run_script
from pdejax.cli.command import Command, existing_file, refuse_existing, require
from pdejax.evaluate.circumstances import circumstances
from pdejax.evaluate.writing import plain, write_text
from pdejax.interop.linen import LinenModel
from pdejax.interop.nnx import NnxModel
from pdejax.models import Ensemble, NeuralStepper, members
from pdejax.progress import is_watched
from pdejax.training import OneStep, fit

NAME = "flax_burgers"
POINTS, TRAINED_ON = 16, 800
MARGIN = 0.1
SAME_LAW = "equinox, flax's law"


@dataclasses.dataclass(frozen=True)
class Preset:
    """The network and its training."""

    width: int
    blocks: int
    steps: int
    batch: int


PRESETS = {"cpu": Preset(32, 2, steps=4000, batch=64), "tiny": Preset(4, 1, steps=4, batch=4)}


class LinenMixer(linen.Module):
    width: int
    blocks: int

    @linen.compact
    def __call__(self, u):
        v = linen.Dense(self.width)(u)  # (batch, point, channel)
        for _ in range(self.blocks):
            along = jnp.swapaxes(v, 1, 2)
            along = linen.Dense(v.shape[1])(linen.gelu(linen.Dense(2 * v.shape[1])(along)))
            v = v + jnp.swapaxes(along, 1, 2)
            v = v + linen.Dense(self.width)(linen.gelu(linen.Dense(2 * self.width)(v)))
        return linen.Dense(u.shape[-1])(v)


class NnxMixer(nnx.Module):
    def __init__(self, width: int, blocks: int, *, rngs: nnx.Rngs):
        def pair(size: int) -> nnx.Sequential:
            return nnx.Sequential(
                nnx.Linear(size, 2 * size, rngs=rngs), nnx.gelu, nnx.Linear(2 * size, size, rngs=rngs)
            )

        self.lift, self.out = nnx.Linear(1, width, rngs=rngs), nnx.Linear(width, 1, rngs=rngs)
        self.points = nnx.List([pair(POINTS) for _ in range(blocks)])
        self.channels = nnx.List([pair(width) for _ in range(blocks)])

    def __call__(self, u):
        v = self.lift(u)
        for along, across in zip(self.points, self.channels, strict=True):
            v = v + jnp.swapaxes(along(jnp.swapaxes(v, 1, 2)), 1, 2)
            v = v + across(v)
        return self.out(v)


class EquinoxMixer(eqx.Module):
    lift: eqx.nn.Linear
    out: eqx.nn.Linear
    points: list[tuple[eqx.nn.Linear, eqx.nn.Linear]]
    channels: list[tuple[eqx.nn.Linear, eqx.nn.Linear]]

    def __init__(self, width: int, blocks: int, *, key: Any):
        keys = iter(jax.random.split(key, 2 + 4 * blocks))

        def pair(size: int) -> tuple[eqx.nn.Linear, eqx.nn.Linear]:
            return eqx.nn.Linear(size, 2 * size, key=next(keys)), eqx.nn.Linear(2 * size, size, key=next(keys))

        self.lift, self.out = eqx.nn.Linear(1, width, key=next(keys)), eqx.nn.Linear(width, 1, key=next(keys))
        self.points = [pair(POINTS) for _ in range(blocks)]
        self.channels = [pair(width) for _ in range(blocks)]

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        def through(pair, v):  # along the last axis
            first, second = pair
            return jax.vmap(lambda each: second(jax.nn.gelu(first(each))))(v)

        v = jax.vmap(self.lift)(u.T)  # (point, channel)
        for along, across in zip(self.points, self.channels, strict=True):
            v = v + through(along, v.T).T
            v = v + through(across, v)
        return jax.vmap(self.out)(v).T


def network(package: str, preset: Preset, seed: int) -> Any:
    key = jax.random.key(seed)
    if package == "linen":
        return LinenModel.init(LinenMixer(preset.width, preset.blocks), jnp.zeros((1, POINTS)), key=key)
    if package == "nnx":
        return NnxModel(NnxMixer(preset.width, preset.blocks, rngs=nnx.Rngs(seed)))
    mixer = EquinoxMixer(preset.width, preset.blocks, key=key)
    return with_law_of_flax(mixer, jax.random.fold_in(key, 1)) if package == SAME_LAW else mixer


def with_law_of_flax(model: EquinoxMixer, key: Any) -> EquinoxMixer:
    """The network with first weights as flax draws them."""

    def is_linear(node: Any) -> bool:
        return isinstance(node, eqx.nn.Linear)

    def redrawn(layer: Any, key: Any) -> Any:
        weight = jax.nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)(key, layer.weight.shape)
        return eqx.tree_at(lambda one: (one.weight, one.bias), layer, (weight, jnp.zeros_like(layer.bias)))

    layers, structure = jax.tree.flatten(model, is_leaf=is_linear)
    keys = jax.random.split(key, len(layers))
    return jax.tree.unflatten(structure, [redrawn(*each) for each in zip(layers, keys, strict=True)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlaxOnBurgers(Command):
    """Train one network as written in flax.linen, flax.nnx and Equinox, and compare its errors."""

    data: Path | None = None
    """The file of the Burgers set; the tiny preset makes data of its own."""
    out: Path = Path(f"out/experiments/{NAME}")
    """Folder for the results, unless --results names another."""
    results: Path | None = None
    """Folder for the results: a JSON file and a page in Markdown; default OUT."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the first weights and of the batches."""
    preset: Literal["cpu", "tiny"] = "cpu"
    """How large all of it is."""
    overwrite: bool = False
    """Replace the results of an earlier run."""

    def run(self) -> None:
        results = self.out if self.results is None else self.results
        refuse_existing([results / f"{NAME}.json"], self.overwrite)
        distinct = len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds)
        require(distinct, "--seeds", self.seeds, "at least one number, each once")
        require(self.data is not None or self.preset == "tiny", "--data", "", "the file of the set, burgers_16.hdf5")
        preset = PRESETS[self.preset]
        with jax.enable_x64(False):
            train, test = made_here() if self.data is None else read(existing_file(self.data, "--data"))
            rows = [
                compared(package, train, test, preset, self.seeds) for package in (SAME_LAW, "linen", "nnx", "equinox")
            ]
        reference = float(np.mean(rows[0]["errors"]))
        for row in rows:
            row["over_equinox"] = float(np.mean(row["errors"])) / reference - 1
            row["within_margin"] = abs(row["over_equinox"]) <= MARGIN
        found = {"rows": rows, "circumstances": circumstances(), "settings": dataclasses.asdict(preset)}
        write_text(results / f"{NAME}.json", json.dumps(plain(found), indent=1, allow_nan=False) + "\n")
        text = in_markdown(found, self.seeds)
        write_text(results / f"{NAME}.md", text)
        print(text)


def read(path: Path) -> tuple[pj.Trajectories, pj.Trajectories]:
    with h5py.File(path) as file:
        u = np.asarray(file["y"], np.float32)[:, :, None]
    return trajectories(u[:TRAINED_ON]), trajectories(u[TRAINED_ON:])


def made_here() -> tuple[pj.Trajectories, pj.Trajectories]:
    """A few trajectories of the same equation, box and frames."""
    fine, coarse = (pj.Grid(n, 1.0, dtype="float32") for n in (8 * POINTS, POINTS))
    stepper = pj.TimeStepper(pj.equations.Burgers(0.01), pj.Spectral(fine), dt=1 / 16, substeps=10)
    law, key = pj.initial.BandLimited(peak=2), jax.random.key(0)
    data = pj.generate(stepper, law, num_samples=6, num_steps=4, store=coarse, key=key, progress=False)
    u = np.asarray(data.u)
    return trajectories(u[:4]), trajectories(u[4:])


def trajectories(u: np.ndarray) -> pj.Trajectories:
    return pj.Trajectories.from_arrays(u, pj.Grid(POINTS, 1.0, dtype="float32"), ("u",), np.arange(u.shape[1]) / 16)


def compared(package: str, train: Any, test: Any, preset: Preset, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The errors of the rollouts of every seed."""
    networks = [network(package, preset, seed) for seed in seeds]
    count = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(networks[0], eqx.is_inexact_array)))
    started = time.perf_counter()
    fitted = fit(
        Ensemble.of(networks),
        OneStep(),
        train,
        optimiser=optax.adam(optax.cosine_decay_schedule(2e-3, preset.steps)),
        num_steps=preset.steps,
        batch_size=preset.batch,
        key=jax.random.key(100),
        progress=is_watched(),
    )
    seconds = time.perf_counter() - started
    truth = jnp.asarray(test.u[:])

    @eqx.filter_jit
    def error(model: Any) -> Any:
        stepper = NeuralStepper(model, 1 / 16, test.grid)
        rolled = jax.vmap(lambda u0: pj.rollout(stepper, u0, truth.shape[1] - 1))(truth[:, 0])
        missed = jnp.linalg.norm(rolled - truth[:, 1:], axis=(-2, -1))
        return jnp.mean(missed / jnp.linalg.norm(truth[:, 1:], axis=(-2, -1)))

    errors = [float(error(model)) for model in members(fitted.model)]
    return {"package": package, "parameters": count, "errors": errors, "seconds_of_all_seeds": seconds}


def in_markdown(found: dict[str, Any], seeds: tuple[int, ...]) -> str:
    """The results as a page: what was claimed, what came out, on what."""
    lines = [
        "# A network of flax on the Burgers set of 16 points",
        "",
        f"Written by `experiments/{NAME}.py`, which says what was asked and how.",
        "",
        "| written in | parameters | error, mean | error of each seed | over the first | within 10 % | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        each = ", ".join(f"{error:.4f}" for error in row["errors"])
        within, seconds = "yes" if row["within_margin"] else "no", row["seconds_of_all_seeds"]
        lines.append(
            f"| {row['package']} | {row['parameters']} | {np.mean(row['errors']):.4f} | {each} | "
            f"{row['over_equinox']:+.1%} | {within} | {seconds:.0f} |"
        )
    lines += [
        "",
        f"Means over {len(seeds)} seeds, which are trained side by side; the seconds are those of all.",
        "",
        *(f"- {name}: {value}" for name, value in found["circumstances"].items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in found['settings'].items())}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(FlaxOnBurgers))
