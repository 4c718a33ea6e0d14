"""Waves that are carried and waves that break: error against time, beside jax-cfd, exponax and our own Fourier modes.

    python benchmarks/shocks.py                   # all rows; writes benchmarks/results/shocks.{json,md}
    python benchmarks/shocks.py --rows square     # those whose name contains the word, printed only

Carried once around a periodic box (`u_t + u_x = 0`, in the plane `u_t + u_x + u_y = 0`): a smooth wave, or a square
beside a Gaussian. Finite volumes (MUSCL with van Leer's limiter and SSPRK2, WENO 5 and SSPRK3) beside jax-cfd's
`advect_van_leer`, stepped as its own tests do: explicit Euler in a scan (the scheme has its second order in time within
the flux). Breaking (inviscid Burgers, u = 1/2 + sin(2 pi x)): finite volumes beside Fourier modes, ours and exponax's
of fourth order, before the shock and after it.

All in double precision, jitted and compiled before they are timed, in turn, in one process. The error is the mean of
the absolute difference from exact averages over cells (for Fourier modes: from exact values at points).

jax-cfd and exponax are extras: `pip install '.[peers,dev]'`. jax-cfd is in maintenance and pins nothing that matters
here; where its dependencies cannot be installed, `pip install --no-deps jax-cfd==0.2.1 tree-math` does.
"""

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)

import exponax as ex
import jax.numpy as jnp
import numpy as np
from _measuring import machine, spread
from jax_cfd.base import advection, boundaries, grids
from scipy.special import erf

import pdejax as pj
from pdejax.equations import Advection, InviscidBurgers
from pdejax.solvers import SSPRK2, SSPRK3, Hancock
from pdejax.volumes import HLL, MUSCL, WENO, superbee

RESULTS = Path(__file__).parent / "results"
COURANT = (0.5, 0.9)
SCHEMES = {
    "MUSCL": (MUSCL(), SSPRK2()),
    "Hancock": (MUSCL(), Hancock()),
    "Hancock, superbee": (MUSCL(superbee), Hancock()),
    "WENO 5": (WENO(5), SSPRK3()),
}


def primitive_of_wave(x: np.ndarray) -> np.ndarray:
    """Of `sin(2 pi x) + cos(4 pi x + 1) / 2`."""
    return -np.cos(2 * np.pi * x) / (2 * np.pi) + np.sin(4 * np.pi * x + 1) / (8 * np.pi)


def primitive_of_square(x: np.ndarray) -> np.ndarray:
    """Of 1 on (0.1, 0.35) and a Gaussian of width 0.05 about 0.65, on the unit interval."""
    return np.clip(x, 0.1, 0.35) + 0.05 * math.sqrt(np.pi) / 2 * erf((x - 0.65) / 0.05)


PROFILES = {"smooth": primitive_of_wave, "square": primitive_of_square}


@dataclasses.dataclass(frozen=True)
class Run:
    """One solver at one resolution, with its error."""

    solver: str
    size: int
    advance: Callable[[], Any]
    error: Callable[[Any], float]


def carried(profile: str, ndim: int, sizes: tuple[int, ...]) -> list[Run]:
    """Once around; in the plane the product of the profile with itself."""
    runs: list[Run] = []
    for size in sizes:
        along = np.diff(PROFILES[profile](np.arange(size + 1) / size)) * size
        exact = along if ndim == 1 else along[:, None] * along
        error = eqx.Partial(_difference, exact)
        for courant in COURANT:
            # The CFL numbers of all axes add up in finite volumes that are not split, ours as theirs.
            steps = math.ceil(ndim * size / courant)
            for name, (reconstruction, solver) in SCHEMES.items():
                grid = pj.Grid((size,) * ndim, 1.0, points="centres")
                volumes = pj.FiniteVolume(grid, reconstruction, HLL())
                stepper = pj.TimeStepper(Advection(1.0), volumes, 1.0, steps, solver)
                advance = eqx.filter_jit(lambda u, stepper=stepper: stepper(u))
                run = eqx.Partial(advance, jnp.asarray(exact[None]))
                runs.append(Run(f"{name}, CFL {courant}", size, run, error))
            runs.append(Run(f"jax-cfd, CFL {courant}", size, theirs(exact, steps), error))
    return runs


def theirs(u0: np.ndarray, num_steps: int) -> Callable[[], Any]:
    ndim, dt = u0.ndim, 1.0 / num_steps
    grid = grids.Grid(u0.shape, domain=((0.0, 1.0),) * ndim)
    conditions = boundaries.periodic_boundary_conditions(ndim)
    at = lambda offset, values: grids.GridVariable(grids.GridArray(values, offset, grid), conditions)  # noqa: E731
    centre = (0.5,) * ndim
    faces = [tuple(1.0 if a == axis else 0.5 for a in range(ndim)) for axis in range(ndim)]
    velocity = tuple(at(face, jnp.ones(u0.shape)) for face in faces)

    @jax.jit
    def advance(values):
        def step(c, _):
            change = advection.advect_van_leer(at(centre, c), velocity, dt)
            return c + dt * change.data, None

        return jax.lax.scan(step, values, None, length=num_steps)[0]

    start = jnp.asarray(u0)
    return lambda: advance(start)


def breaking(is_late: bool, sizes: tuple[int, ...]) -> list[Run]:
    """Before the shock at t = 1 / (2 pi) = 0.159, and after it."""
    end = 0.4 if is_late else 0.12
    runs = []
    for size in sizes:
        edges = np.arange(size + 1) / size
        points = edges[:-1]
        values = 0.5 + np.sin(2 * np.pi * points)
        averages = 0.5 - np.diff(np.cos(2 * np.pi * edges)) / (2 * np.pi) * size
        exact_averages, exact_values = burgers_averages(edges, end), burgers(points, end)
        # The fastest wave is that of u = 3/2.
        steps = math.ceil(1.5 * size * end / 0.5)
        volumes = pj.FiniteVolume(pj.Grid(size, 1.0, points="centres"), WENO(5), HLL())
        candidates = [("WENO 5", volumes, SSPRK3(), averages, exact_averages)]
        candidates.append(("Fourier", pj.Spectral(pj.Grid(size, 1.0)), pj.solvers.ETDRK4(), values, exact_values))
        for name, reading, solver, u0, exact in candidates:
            stepper = pj.TimeStepper(InviscidBurgers(), reading, end, steps, solver)
            advance = eqx.filter_jit(lambda u, stepper=stepper: stepper(u))
            runs.append(Run(name, size, eqx.Partial(advance, jnp.asarray(u0[None])), eqx.Partial(_difference, exact)))
        single = ex.stepper.Burgers(1, 1.0, size, end / steps, diffusivity=0.0, order=4, conservative=True)
        repeated = eqx.filter_jit(ex.repeat(single, steps))
        start = jnp.asarray(values[None])
        runs.append(Run("exponax", size, eqx.Partial(repeated, start), eqx.Partial(_difference, exact_values)))
    return runs


def _difference(exact: np.ndarray, u: Any) -> float:
    return float(np.mean(np.abs(np.asarray(u).reshape(exact.shape) - exact)))


def burgers(x: np.ndarray, t: float) -> np.ndarray:
    """The solution from 1/2 + sin(2 pi x), by bisection along characteristics.

    In a frame that moves with 1/2, w = sin(2 pi s) where x = s + w t: odd about 0, with a shock that stands at 1/2. On
    the way from 0 to it the characteristics that have not run into it are those before the first fold of s + w t.
    """
    moved = (x - t / 2 + 0.5) % 1 - 0.5
    place = np.abs(moved)
    fold = np.arccos(max(-1.0, -1 / (2 * np.pi * t))) / (2 * np.pi)
    low, high = np.zeros_like(place), np.full_like(place, fold)
    for _ in range(60):
        middle = (low + high) / 2
        is_below = middle + np.sin(2 * np.pi * middle) * t < place
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return 0.5 + np.sign(moved) * np.sin(np.pi * (low + high))


def burgers_averages(edges: np.ndarray, t: float) -> np.ndarray:
    """By Gauss points within each cell, cut at the shock."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    shock = (t / 2 + 0.5) % 1
    totals = np.zeros(len(edges) - 1)
    for low, high in (
        (edges[:-1], np.clip(shock, edges[:-1], edges[1:])),
        (np.clip(shock, edges[:-1], edges[1:]), edges[1:]),
    ):
        half = (high - low) / 2
        for node, weight in zip(nodes, weights, strict=True):
            totals += weight * half * burgers(low + half * (1 + node), t)
    return totals / np.diff(edges)


def parts(size: int) -> list[Run]:
    """Of the time that a smooth wave takes with WENO 5 at CFL number 1/2: the right-hand sides, what the stepper adds,
    and what `solve` adds with its steps limited by the waves."""
    exact = np.diff(primitive_of_wave(np.arange(size + 1) / size)) * size
    law, volumes = Advection(1.0), pj.FiniteVolume(pj.Grid(size, 1.0, points="centres"), WENO(5), HLL())
    steps, u0 = 2 * size, jnp.asarray(exact[None])
    stepper = pj.TimeStepper(law, volumes, 1.0, steps, SSPRK3())

    @jax.jit
    def tendencies(u):
        step = lambda u, _: (u + 1 / (3 * steps) * volumes.tendency(law, 0.0, u), None)  # noqa: E731
        return jax.lax.scan(step, u, None, length=3 * steps)[0]

    return [
        Run("as many Euler steps as stages", size, eqx.Partial(tendencies, u0), eqx.Partial(_difference, exact)),
        Run(
            "TimeStepper", size, eqx.Partial(eqx.filter_jit(lambda u: stepper(u)), u0), eqx.Partial(_difference, exact)
        ),
        Run("solve", size, lambda: pj.solve(law, volumes, u0, [0.0, 1.0]).u[-1], eqx.Partial(_difference, exact)),
    ]


ROWS: dict[str, tuple[str, Callable[[], list[Run]]]] = {
    "smooth-line": ("smooth wave, line", lambda: carried("smooth", 1, (50, 100, 200, 400, 800))),
    "square-line": ("square and Gaussian, line", lambda: carried("square", 1, (100, 200, 400, 800, 1600))),
    "square-plane": ("square and Gaussian, plane", lambda: carried("square", 2, (48, 96, 192))),
    "parts": ("where the time goes: a smooth wave, WENO 5", lambda: [run for n in (100, 400) for run in parts(n)]),
    "before-shock": ("Burgers before the shock", lambda: breaking(False, (32, 64, 128, 256))),
    "after-shock": ("Burgers after the shock", lambda: breaking(True, (32, 64, 128, 256))),
}


def measure(runs: list[Run], repeats: int) -> list[dict]:
    errors = [run.error(run.advance()) for run in runs]
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats):
        order = range(len(runs))
        for index in order if repeat % 2 == 0 else reversed(order):
            start = time.perf_counter()
            jax.block_until_ready(runs[index].advance())
            seconds[index].append(time.perf_counter() - start)
    return [
        {"solver": run.solver, "size": run.size, "error": error, "milliseconds": spread(1e3 * np.asarray(values))}
        for run, error, values in zip(runs, errors, seconds, strict=True)
    ]


def time_at(results: list[dict], solver: str, error: float) -> float | None:
    """Milliseconds to an error, between measured resolutions along straight lines of logarithms; None outside them."""
    points = sorted((r["error"], r["milliseconds"]["median"]) for r in results if r["solver"] == solver)
    errors, times = np.log(np.asarray(points)).T
    if not errors[0] <= np.log(error) <= errors[-1]:
        return None
    return float(np.exp(np.interp(np.log(error), errors, times)))


def table(label: str, results: list[dict]) -> str:
    lines = [
        f"## {label[0].upper()}{label[1:]}",
        "",
        "| solver | points | error | ms (10 % - 90 %) |",
        "|---|---|---|---|",
    ]
    for r in sorted(results, key=lambda r: (r["solver"], r["size"])):
        ms = r["milliseconds"]
        lines.append(
            f"| {r['solver']} | {r['size']} | {r['error']:.1e} | {ms['median']:.2f} "
            f"({ms['low']:.2f} - {ms['high']:.2f}) |"
        )
    return "\n".join(lines) + "\n"


def at_equal_error(label: str, results: list[dict]) -> str:
    """How much less time than each run of jax-cfd ours take to its error."""
    ours = [solver for solver in dict.fromkeys(r["solver"] for r in results) if "jax-cfd" not in solver]
    lines = [f"| {label}: jax-cfd's error | its ms | " + " | ".join(ours) + " |", "|---" * (2 + len(ours)) + "|"]
    # Runs that blew up have no error to be equal to.
    best = [r for r in results if "jax-cfd" in r["solver"] and r["error"] < 1]
    for r in sorted(best, key=lambda r: -r["error"]):
        ms = r["milliseconds"]["median"]
        cells = [time_at(results, solver, r["error"]) for solver in ours]
        shown = ["" if cell is None else f"{ms / cell:.2f}" for cell in cells]
        lines.append(f"| {r['error']:.1e} ({r['solver'][9:]}, {r['size']}) | {ms:.2f} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", help="a word in the names of the rows to run; default all, written to results/")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    chosen = {name: row for name, row in ROWS.items() if options.rows is None or options.rows in name}
    if not chosen:
        parser.error(f"no row has {options.rows!r} in its name; there are {list(ROWS)}")
    results, texts = {}, []
    for name, (label, runs) in chosen.items():
        results[name] = measure(runs(), options.repeats)
        text = table(label, results[name])
        if any("jax-cfd" in r["solver"] for r in results[name]):
            text += "\nTimes faster than jax-cfd at equal error:\n\n" + at_equal_error(label, results[name])
        texts.append(text)
        print(text, flush=True)
    if options.rows is None:
        about = machine("diffrax", "exponax", "jax-cfd")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "shocks.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
        header = ", ".join(f"{key} {value}" for key, value in about.items())
        (RESULTS / "shocks.md").write_text(HEADER.format(header=header) + "\n".join(texts))


HEADER = """# Waves carried and breaking

`python benchmarks/shocks.py`, double precision; {header}.

How to read it. jax-cfd's scheme evaluates its flux once per step, with the step in it, and is exact for a constant
velocity at CFL number one along a line; so is Hancock's, the very same scheme with van Leer's limiter, at two to three
times the price per step, for it serves any law. With the superbee limiter it is the faster one on jumps, from 400 cells
on, and has the smaller error everywhere; WENO 5 is on smooth waves. MUSCL with SSPRK2 and WENO 5 evaluate the flux two
and three times per step, and lose on jumps along a line. In the plane all of ours are faster at the finest grid. (CFL
numbers are counted over all axes; jax-cfd's scheme, which is not split, blows up in the plane at 0.9, and nothing
between was tried. After the shock the error of WENO 5 depends on where in its cell the shock stands.) Medians of
several runs in turn.

Before the shock Fourier modes win once the front is resolved; after it nothing but the finite volumes comes near.

"""


if __name__ == "__main__":
    main()
