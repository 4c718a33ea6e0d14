"""PDEBench's set-ups with shocks: gas in a tube and in the plane, and a round dam; see pdebench_shocks.md.

python datasets/pdebench_shocks.py --setup tube-random --out out/datasets/pdebench
python datasets/pdebench_shocks.py --setup dam --samples 2 --cells 32 --out out/datasets/tiny
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import h5py
import jax
import jax.numpy as jnp
import numpy as np

import pdejax as pj
from pdejax.boundary import Outflow
from pdejax.cli import run_script
from pdejax.cli.command import Command, new_folder, refuse_existing, require
from pdejax.equations import Euler, ShallowWater
from pdejax.progress import ProgressBar
from pdejax.solvers import CourantLimited
from pdejax.volumes import HLLC, MUSCL, Roe, monotonized_central

GAMMA, GRAVITY = 5 / 3, 1.0
# A tanh this wide ends what is cut out of a state.
EDGE = 0.01
# Of the mean density and pressure, what a random one keeps everywhere.
LEAST = 0.05


def between(key: Any, x: Any) -> Any:
    """One between two random places, and nothing beyond."""
    for_left, for_right = jax.random.split(key)
    left = jax.random.uniform(for_left, minval=0.1, maxval=0.45)
    right = jax.random.uniform(for_right, minval=0.55, maxval=0.9)
    return (jnp.tanh((x - left) / EDGE) - jnp.tanh((x - right) / EDGE)) / 2


def two_sines(key: Any, x: Any, extent: Any) -> Any:
    """Of modes 1 to 3, of random amplitude in (0, 1), phase and sign; in a tenth of the cases its modulus, and in half
    of them between two random places alone."""
    keys = jax.random.split(key, 7)
    modes = jax.random.randint(keys[0], (2, 1), 1, 4)
    amplitudes = jax.random.uniform(keys[1], (2, 1))
    phases = 2 * jnp.pi * jax.random.uniform(keys[2], (2, 1))
    total = jnp.sum(amplitudes * jnp.sin(2 * jnp.pi * modes * x / extent + phases), axis=0)
    total = jnp.where(jax.random.bernoulli(keys[3], 0.1), jnp.abs(total), total)
    share = jnp.where(jax.random.bernoulli(keys[5]), between(keys[6], x), 1.0)
    return total * jnp.where(jax.random.bernoulli(keys[4]), 1.0, -1.0) * share


def log_uniform(key: Any, low: float, high: float, shape: tuple[int, ...] = ()) -> Any:
    return jnp.exp(jax.random.uniform(key, shape, minval=jnp.log(low), maxval=jnp.log(high)))


def raised(key: Any, values: Any, low: float, high: float) -> Any:
    """The values brought to (0, 1), times a number and plus a number, log-uniform both."""
    for_scale, for_least = jax.random.split(key)
    values = values - jnp.min(values)
    return values / jnp.max(values) * log_uniform(for_scale, low, high) + log_uniform(for_least, low, high)


def random_tube(grid: pj.Grid, key: Any) -> Any:
    """Density, velocity and pressure of smooth waves, some cut out; density from 1 to 20, pressure from 10 to 200."""
    keys = jax.random.split(key, 5)
    x, extent = grid.axes[0], grid.extent[0]
    waves = [two_sines(one, x, extent) for one in keys[:3]]
    return jnp.stack([raised(keys[3], waves[0], 1.0, 10.0), waves[1], raised(keys[4], waves[2], 10.0, 100.0)])


def shock_tube(grid: pj.Grid, key: Any) -> Any:
    """Two values each of density (1 to 10), velocity (exp of -1/2 to 1/2) and pressure (10 to 100), log-uniform; each
    jumps at a place of its own in the middle half."""
    x = (grid.axes[0] - grid.origin[0]) / grid.extent[0]
    states = []
    ranges = ((1.0, 10.0), (np.exp(-0.5), np.exp(0.5)), (10.0, 100.0))
    for one, (low, high) in zip(jax.random.split(key, 3), ranges, strict=True):
        for_values, for_place = jax.random.split(one)
        left, right = log_uniform(for_values, low, high, (2,))
        states.append(jnp.where(x < jax.random.uniform(for_place, minval=0.25, maxval=0.75), left, right))
    return jnp.stack(states)


def random_plane(grid: pj.Grid, key: Any, mach: float) -> Any:
    """Density, velocities and pressure about a random gas, all modes up to 4 with amplitudes `|k|^(-1/2)`; in half of
    the cases in a random rectangle alone. The mean speed is `mach` times that of sound."""
    keys = jax.random.split(key, 6)
    mean_density, temperature = jax.random.uniform(keys[0], (2,), minval=0.1, maxval=10.0)
    changes = jax.random.uniform(keys[1], (2,), minval=0.01, maxval=0.2)
    numbers = np.array([(i, j) for i in range(-4, 5) for j in range(-4, 5) if i * j])
    k = 2 * np.pi * numbers / np.asarray(grid.extent)
    phases = 2 * jnp.pi * jax.random.uniform(keys[2], (len(k), 4))
    x, y = grid.axes

    def added(total: Any, mode: Any) -> tuple[Any, None]:
        (k_x, k_y), phase = mode
        turns = k_x * x[:, None] + k_y * y + phase[:, None, None]
        return total + jnp.hypot(k_x, k_y) ** -0.5 * jnp.sin(turns), None

    total, _ = jax.lax.scan(added, jnp.zeros((4, *grid.shape)), (jnp.asarray(k), phases))
    velocity = total[:2] / jnp.mean(jnp.hypot(*total[:2])) * mach * jnp.sqrt(GAMMA * temperature)
    # As large as it was drawn, where that leaves something everywhere.
    waves = total[2:] / jnp.mean(jnp.abs(total[2:]), axis=(1, 2), keepdims=True)
    largest = (1 - LEAST) / jnp.max(-waves, axis=(1, 2))
    changed = jnp.minimum(changes, largest)[:, None, None] * waves
    rectangle = between(keys[3], x)[:, None] * between(keys[4], y)
    share = jnp.where(jax.random.bernoulli(keys[5]), rectangle, 1.0)
    density, pressure = 1 + share * changed
    scale = mean_density * temperature
    return jnp.concatenate([(mean_density * density)[None], share * velocity, (scale * pressure)[None]])


def round_dam(grid: pj.Grid, key: Any) -> Any:
    """Water at rest, 2 deep within a radius from 0.3 to 0.7 of the middle, and 1 outside; depth and velocities."""
    x, y = grid.coordinates()
    radius = jax.random.uniform(key, minval=0.3, maxval=0.7)
    still = jnp.zeros(grid.shape)
    return jnp.stack([jnp.where(jnp.hypot(x, y) <= radius, 2.0, 1.0), still, still])


@dataclasses.dataclass(frozen=True)
class Setup:
    """`initial(grid, key)` gives primitive variables, which `names` name in the order that the file stores them in."""

    law: Any
    initial: Callable[[pj.Grid, Any], Any]
    cells: tuple[int, ...]
    extent: float
    origin: float
    periodic: bool
    end: float
    num_frames: int
    volumes: dict[str, Any]
    samples: int
    file: str


GAS = {"reconstruction": MUSCL(), "riemann": HLLC(), "variables": "primitive", "positivity": True}
WATER = {"reconstruction": MUSCL(monotonized_central), "riemann": Roe()}
TUBE = {"law": Euler(GAMMA), "cells": (1024,), "extent": 2.0, "origin": -1.0, "volumes": GAS, "samples": 10_000}
PLANE = {"law": Euler(GAMMA), "cells": (512, 512), "extent": 1.0, "origin": 0.0, "volumes": GAS, "samples": 1000}
RANDOM_TUBE = {**TUBE, "initial": random_tube, "end": 1.0, "num_frames": 101}
SETUPS = {
    "tube-random": Setup(**RANDOM_TUBE, periodic=True, file="1D_CFD_Rand_{eta}_periodic_Train.hdf5"),
    "tube-random-outflow": Setup(**RANDOM_TUBE, periodic=False, file="1D_CFD_Rand_{eta}_trans_Train.hdf5"),
    "tube-shocks": Setup(
        **TUBE, initial=shock_tube, periodic=False, end=0.4, num_frames=81, file="1D_CFD_Shock_{eta}_trans_Train.hdf5"
    ),
    "plane-random": Setup(
        **PLANE,
        initial=random_plane,
        periodic=True,
        end=1.0,
        num_frames=21,
        file="2D_CFD_Rand_M{mach}_{eta}_periodic_{cells}_Train.hdf5",
    ),
    "dam": Setup(
        law=ShallowWater(GRAVITY),
        initial=round_dam,
        cells=(128, 128),
        extent=5.0,
        origin=-2.5,
        periodic=False,
        end=1.0,
        num_frames=101,
        volumes=WATER,
        samples=1000,
        file="2D_rdb_NA_NA.h5",
    ),
}


def solved(setup: Setup, grid: pj.Grid, w0: Any, times: np.ndarray) -> np.ndarray:
    """Primitive variables, `(time, component, *space)`."""
    boundary = None if setup.periodic else Outflow()
    volumes = pj.FiniteVolume(grid, boundary=boundary, **setup.volumes)
    u = pj.solve(setup.law, volumes, setup.law.conserved(w0), times, dt=CourantLimited(0.4)).u
    return np.asarray(jax.vmap(setup.law.primitive)(u), np.float32)


def write_stacked(path: Path, grid: pj.Grid, times: np.ndarray, blocks: Any, count: int, mach: float | None) -> None:
    """One array per quantity, `(sample, time, *space)`; one time more than there are frames, as in the original."""
    velocities = [f"V{name}" for name in "xyz"[: grid.ndim]]
    with h5py.File(path, "w") as file:
        shape = (count, len(times), *grid.shape)
        names = ("density", *velocities, "pressure")
        data = [file.create_dataset(name, shape, np.float32) for name in names]
        for sample, w in enumerate(blocks):
            for component, of_one in enumerate(data):
                of_one[sample] = w[:, component]
        for axis, positions in zip("xyz", grid.axes, strict=False):
            file[f"{axis}-coordinate"] = np.asarray(positions, np.float32)
        file["t-coordinate"] = np.append(times, 2 * times[-1] - times[-2]).astype(np.float32)
        file.attrs.update({"eta": 1e-8, "zeta": 1e-8} | ({} if mach is None else {"M": mach}))


def write_grouped(path: Path, grid: pj.Grid, times: np.ndarray, blocks: Any, radii: list[float], seed: int) -> None:
    """One group per sample with the depth, `(time, x, y, 1)`, its grid, and its parameters as YAML."""
    with h5py.File(path, "w") as file:
        for sample, (w, radius) in enumerate(zip(blocks, radii, strict=True)):
            group = file.create_group(f"{sample:04d}")
            group["data"] = w[:, 0, :, :, None]
            for name, values in (("x", grid.axes[0]), ("y", grid.axes[1]), ("t", times)):
                group[f"grid/{name}"] = np.asarray(values, np.float32)
            known = {"T_end": times[-1], "n_time_steps": len(times) - 1, "xdim": grid.shape[0], "ydim": grid.shape[1]}
            known |= {"gravity": GRAVITY, "dam_radius": radius, "seed": seed}
            group.attrs["config"] = "sim:\n" + "".join(f"  {name}: {value}\n" for name, value in known.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakePDEBenchShocks(Command):
    """Make one of PDEBench's data sets with shocks."""

    setup: Literal["tube-random", "tube-random-outflow", "tube-shocks", "plane-random", "dam"]
    """Which of them."""
    out: Path
    """Folder to write to."""
    samples: int | None = None
    """Trajectories; by default as many as were published."""
    cells: int | None = None
    """Cells per axis; by default as many as were published."""
    mach: float = 0.1
    """Of plane-random."""
    seed: int = 0
    """Sample i draws from fold_in(key(seed), i)."""
    overwrite: bool = False
    """Replace a file that exists."""

    def run(self) -> None:
        jax.config.update("jax_enable_x64", True)
        setup, is_plane = SETUPS[self.setup], self.setup == "plane-random"
        count = setup.samples if self.samples is None else self.samples
        require(count >= 1, "--samples", count, "at least 1")
        shape = setup.cells if self.cells is None else (self.cells,) * len(setup.cells)
        grid = pj.Grid(shape, setup.extent, setup.periodic, setup.origin, "centres")
        times = np.linspace(0.0, setup.end, setup.num_frames)
        names = {"eta": "Eta1e-08_Zeta1e-08", "mach": self.mach, "cells": shape[0]}
        path = self.out / setup.file.format(**names)
        refuse_existing([path], self.overwrite)
        keys = [jax.random.fold_in(jax.random.key(self.seed), sample) for sample in range(count)]
        more = {"mach": self.mach} if is_plane else {}

        def blocks(bar: Any) -> Any:
            for key in keys:
                yield solved(setup, grid, setup.initial(grid, key, **more), times)
                bar.update(1)

        with new_folder(self.out), ProgressBar(count, unit="traj", description=self.setup) as bar:
            if self.setup == "dam":
                radii = [float(jax.random.uniform(key, minval=0.3, maxval=0.7)) for key in keys]
                write_grouped(path, grid, times, blocks(bar), radii, self.seed)
            else:
                write_stacked(path, grid, times, blocks(bar), count, self.mach if is_plane else None)
        cells = " x ".join(str(n) for n in shape)
        print(f"{path}: {count} trajectories of {self.setup}, {cells} cells, {len(times)} frames to t = {setup.end:g}.")


if __name__ == "__main__":
    sys.exit(run_script(MakePDEBenchShocks))
