"""E1, E2 and E3 of the message-passing PDE solvers on coarse grids: accumulated error and time of classical solvers.

    python datasets/message_passing.py --train 0 --valid 0 --test 32 --out out/datasets/message_passing
    python benchmarks/message_passing.py --data out/datasets/message_passing

The second writes benchmarks/results/message_passing.{json,md}.

The accumulated error is the sum over the last 200 of 250 frames of the mean square error over the box, averaged over
trajectories. Every solver starts at t = 0 (the published network is given the first 50 frames), from the true averages
over cells at its own resolution, and is compared with the true averages there. The truth is that of the data set,
solved on 1600 cells. Times are of one trajectory of 250 frames, compiled before; the median over trajectories.
"""

import argparse
import json
import time
from pathlib import Path

import h5py
import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
from _measuring import machine, spread

import pdejax as pj
from pdejax.equations import ForcedKortewegDeVriesBurgers
from pdejax.volumes import HLL, WENO

RESULTS = Path(__file__).parent / "results"
SINES = ("amplitudes", "frequencies", "wavenumbers", "phases")
GIVEN_FRAMES = 50
# Brandstetter, Worrall & Welling (2022), the table of E1-E3: accumulated error and seconds of their WENO5 solver, and
# of the message-passing network.
PUBLISHED = {
    ("E1", 100): (2.02, 1.9, 1.55),
    ("E1", 50): (6.23, 1.8, 1.67),
    ("E1", 40): (9.63, 1.7, 1.47),
    ("E2", 100): (1.19, 1.9, 1.58),
    ("E2", 50): (5.35, 1.8, 1.63),
    ("E2", 40): (8.05, 1.7, 1.45),
    ("E3", 100): (4.71, 4.8, 4.26),
    ("E3", 50): (11.71, 4.5, 3.74),
    ("E3", 40): (15.97, 4.4, 3.70),
}


def read(path: Path, size: int) -> tuple[list[ForcedKortewegDeVriesBurgers], np.ndarray, np.ndarray, float]:
    """Equations, times, true averages `(trajectory, time, cell)` and the extent."""
    with h5py.File(path, "r") as file:
        group = file["test"]
        data = group[f"pde_250-{size}"]
        times = np.linspace(data.attrs["tmin"], data.attrs["tmax"], data.attrs["nt"])
        leaves = [np.asarray(group["alpha"]) / 2, *(np.asarray(group[name]) for name in ("beta", "gamma", *SINES))]
        equations = [ForcedKortewegDeVriesBurgers(*values) for values in zip(*leaves, strict=True)]
        return equations, times, np.asarray(data), size * float(data.attrs["dx"])


def of_averages(u: np.ndarray, power: int) -> np.ndarray:
    """From the values of a trigonometric polynomial in the middles of cells to its averages over them, or back."""
    n = u.shape[-1]
    return np.fft.irfft(np.fft.rfft(u) * np.sinc(np.fft.rfftfreq(n)) ** power, n)


def finite_volumes(equation: ForcedKortewegDeVriesBurgers, grid: pj.Grid, u0: np.ndarray, times: np.ndarray):
    return np.asarray(pj.solve(equation, pj.FiniteVolume(grid, WENO(5), HLL()), jnp.asarray(u0[None]), times).u[:, 0])


def fourier(equation: ForcedKortewegDeVriesBurgers, grid: pj.Grid, u0: np.ndarray, times: np.ndarray):
    start = jnp.asarray(of_averages(u0, -1)[None])
    return of_averages(np.asarray(pj.solve(equation, pj.Spectral(grid), start, times).u[:, 0]), 1)


SOLVERS = {"WENO 5": finite_volumes, "Fourier": fourier}


def measure(data: Path, task: str, size: int) -> dict:
    equations, times, truth, extent = read(data / f"CE_test_{task}.h5", size)
    grid = pj.Grid(size, extent, points="centres")
    found = {}
    for name, solver in SOLVERS.items():
        solver(equations[0], grid, truth[0, 0], times)
        errors, seconds = [], []
        for equation, exact in zip(equations, truth, strict=True):
            start = time.perf_counter()
            u = solver(equation, grid, exact[0], times)
            seconds.append(time.perf_counter() - start)
            errors.append(np.sum(np.mean((u - exact)[GIVEN_FRAMES:] ** 2, axis=-1)))
        found[name] = {"error": float(np.mean(errors)), "seconds": spread(np.asarray(seconds))}
    return {"task": task, "size": size, "trajectories": len(equations), "solvers": found}


def table(results: list[dict]) -> str:
    lines = [
        "| task | cells | WENO 5 here | s | Fourier here | s | WENO 5 published | s | MP-PDE published |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        ours = " | ".join(
            f"{found['error']:.3g} | {found['seconds']['median']:.3f}" for found in result["solvers"].values()
        )
        error, seconds, network = PUBLISHED[result["task"], result["size"]]
        lines.append(f"| {result['task']} | {result['size']} | {ours} | {error} | {seconds} | {network} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that datasets/message_passing.py wrote")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    results = []
    for task, size in PUBLISHED:
        results.append(measure(options.data, task, size))
        print(table(results[-1:]).split("\n", 2)[2], flush=True)
    if options.dry:
        return
    about = machine("diffrax")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "message_passing.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    count = results[0]["trajectories"]
    text = HEADER.format(count=count, header=header) + table(results) + "\n"
    (RESULTS / "message_passing.md").write_text(text)


HEADER = """# E1, E2 and E3 of the message-passing PDE solvers

`python benchmarks/message_passing.py`, {count} trajectories of `datasets/message_passing.py`, double precision;
{header}.

Accumulated error: the sum over frames 50 to 249 of the mean square error over the box, averaged over trajectories;
seconds per trajectory of 250 frames. Published: Brandstetter, Worrall & Welling, Message Passing Neural PDE Solvers
(ICLR 2022), the table of E1-E3; on other hardware, with other draws of the same distributions, and measured against
another truth (their solver on 200 points, smoothed by a box of five, on a grid that holds both ends of the period).
Ours are measured against averages over cells of a solution on 1600 cells, and start at t = 0, where the network
(MP-PDE) is given the first 50 frames.

"""


if __name__ == "__main__":
    main()
