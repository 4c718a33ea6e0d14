"""E1, E2 and E3 of the message-passing PDE solvers: waves that steepen, spread and disperse; see message_passing.md.

python datasets/message_passing.py --out out/datasets/message_passing
python datasets/message_passing.py --tasks E1 --train 0 --valid 0 --test 4 --cells 400 --out out/datasets/tiny
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np

import pdejax as pj
from pdejax.cli import run_script
from pdejax.cli.command import Command, new_folder, refuse_existing
from pdejax.equations import ForcedKortewegDeVriesBurgers, random_sines
from pdejax.progress import ProgressBar
from pdejax.volumes import HLL, WENO

EXTENT, FRAMES, SIZES = 16.0, 250, (200, 100, 50, 40)
# Cells that all of the sizes divide.
MULTIPLE = 200
# Each split has keys of its own, however many trajectories the others have and whether they are made at all.
SPLITS = {"train": 0, "valid": 1, "test": 2}
# How long, and from the three numbers of a trajectory, uniform in (0, 1), alpha, beta and gamma.
TASKS: dict[str, tuple[float, Callable[[Any], tuple[Any, Any, Any]]]] = {
    "E1": (4.0, lambda z: (0.5, 0.0, 0.0)),
    "E2": (4.0, lambda z: (0.5, 0.2 * z[1], 0.0)),
    "E3": (2.0, lambda z: (3.0 * z[0], 0.1 + 0.3 * z[1], z[2])),
}


def equation_of(task: str, key: Any) -> ForcedKortewegDeVriesBurgers:
    """A random equation of a task; its force at t = 0 is the initial state."""
    for_sines, for_coefficients = jax.random.split(key)
    draws = np.asarray(jax.random.uniform(for_coefficients, (3,), jnp.float32), float)
    return ForcedKortewegDeVriesBurgers(*TASKS[task][1](draws), **random_sines(for_sines, EXTENT))


def key_of(seed: int, split: str, sample: int) -> Any:
    """What a trajectory is drawn from."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), SPLITS[split]), sample)


def averaged(u: Any) -> np.ndarray:
    """The averages over cells of a trigonometric polynomial with these values in their middles."""
    u = np.asarray(u)
    n = u.shape[-1]
    return np.fft.irfft(np.fft.rfft(u) * np.sinc(np.fft.rfftfreq(n)), n)


def solved(equation: ForcedKortewegDeVriesBurgers, times: np.ndarray, num_cells: int) -> np.ndarray:
    """Averages over so many cells, `(time, cell)`.

    By Fourier modes where diffusion makes fronts as wide as some cells, and by finite volumes where it does not.
    """
    grid = pj.Grid(num_cells, EXTENT, points="centres")
    u0 = equation.force(0.0, grid.axes[0])[None]
    if float(equation.diffusivity) >= 2 * float(equation.advection) * EXTENT / num_cells:
        return averaged(pj.solve(equation, pj.Spectral(grid), u0, times).u[:, 0])
    volumes = pj.FiniteVolume(grid, WENO(5), HLL())
    return np.asarray(pj.solve(equation, volumes, jnp.asarray(averaged(u0)), times).u[:, 0])


def coarser(u: np.ndarray, size: int) -> np.ndarray:
    """The averages over larger cells, exactly."""
    return u.reshape(*u.shape[:-1], size, -1).mean(axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakeMessagePassing(Command):
    """Make the data sets E1, E2 and E3."""

    out: Path
    """Folder to write to; the files are OUT/CE_{train,valid,test}_{task}.h5."""
    tasks: tuple[str, ...] = ("E1", "E2", "E3")
    """Which of them."""
    train: int = 2048
    """Trajectories to train on."""
    valid: int = 128
    """Trajectories to choose a model by."""
    test: int = 128
    """Trajectories to judge it by."""
    cells: int = 1600
    """Of the grid that is solved on: a multiple of 200."""
    seed: int = 0
    """Of everything random; sample i of split s (train 0, valid 1, test 2) draws from
    fold_in(fold_in(key(seed), s), i)."""
    overwrite: bool = False
    """Replace files that exist."""

    def run(self) -> None:
        jax.config.update("jax_enable_x64", True)
        if unknown := set(self.tasks) - set(TASKS):
            raise ValueError(f"--tasks are {', '.join(TASKS)}, got {', '.join(sorted(unknown))}.")
        if self.cells < MULTIPLE or self.cells % MULTIPLE:
            raise ValueError(f"--cells is a multiple of {MULTIPLE}, so that averages are exact; got {self.cells}.")
        counts = {name: getattr(self, name) for name in SPLITS}
        if negative := [name for name, count in counts.items() if count < 0]:
            raise ValueError(f"--{negative[0]} is a number of trajectories, got {counts[negative[0]]}.")
        counts = {name: count for name, count in counts.items() if count}
        if not counts:
            raise ValueError("Nothing to make: give --train, --valid or --test a number of trajectories.")
        paths = {(task, name): self.out / f"CE_{name}_{task}.h5" for task in self.tasks for name in counts}
        refuse_existing(list(paths.values()), self.overwrite)
        with new_folder(self.out):
            for (task, name), path in paths.items():
                self._write(path, task, name, counts[name])

    def _write(self, path: Path, task: str, name: str, count: int) -> None:
        end = TASKS[task][0]
        times = np.linspace(0.0, end, FRAMES)
        leaves: dict[str, list[Any]] = {}
        states: dict[int, list[np.ndarray]] = {size: [] for size in SIZES}
        with ProgressBar(count, unit="traj", description=f"{task} {name}") as bar:
            for sample in range(count):
                equation = equation_of(task, key_of(self.seed, name, sample))
                u = solved(equation, times, self.cells)
                for size in SIZES:
                    states[size].append(coarser(u, size))
                for leaf, value in equation.coefficients().items():
                    leaves.setdefault(leaf, []).append(value)
                bar.update(1)
        with h5py.File(path, "w") as file:
            group = file.create_group(name)
            for size, values in states.items():
                data = group.create_dataset(f"pde_{FRAMES}-{size}", data=np.stack(values))
                x = (np.arange(size) + 0.5) * EXTENT / size
                about = {"nt": FRAMES, "nx": size, "dt": times[1], "dx": EXTENT / size, "tmin": 0.0, "tmax": end}
                data.attrs.update({**about, "x": x})
            # The names of the original files, whose flux is alpha u^2 / 2.
            original = {"alpha": 2 * np.asarray(leaves.pop("advection"))}
            original |= {"beta": leaves.pop("diffusivity"), "gamma": leaves.pop("dispersion")}
            for leaf, value in {**original, **leaves}.items():
                group.create_dataset(leaf, data=np.asarray(value, float))


if __name__ == "__main__":
    sys.exit(run_script(MakeMessagePassing))
