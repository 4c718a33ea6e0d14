"""Steps per second and error of pdejax beside exponax: same equation, grid, step and order, in turn, in one process.

    python benchmarks/solvers.py                 # all rows; writes benchmarks/results/solvers.{json,md}
    python benchmarks/solvers.py --rows burgers  # one of them, printed only

Both advance in float32 by ETDRK4 with the state kept in Fourier space (`exponax.RepeatedStepper`, `TimeStepper` with
substeps); compilation is apart. A repeat times each once, so that a change of the machine's speed meets both; the ratio
is taken repeat by repeat. The error is relative L2 at the final time against a float64 solution of twice the resolution
and a quarter of the step, on the modes that both grids hold.

Conventions: exponax's plane vorticity has the opposite sign of ours (its advection is that of w = u_y - v_x), so it is
fed -w. Both dealias by 2/3; the highest kept mode may differ by one.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import exponax
import jax
import jax.numpy as jnp
import numpy as np
from _measuring import machine, spread

import pdejax as pj

RESULTS = Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison; `sign` is the factor between the two conventions of the state."""

    name: str
    label: str
    equation: pj.equations.Equation
    peer: Callable[[], exponax.BaseStepper]
    shape: tuple[int, ...]
    extent: float
    dt: float
    num_steps: int
    batch: int | None = None
    sign: int = 1


def rows() -> list[Row]:
    flow = [
        Row(
            name=f"navier-stokes-{n}",
            label=f"Navier-Stokes vorticity, {n} x {n}",
            equation=pj.equations.NavierStokesVorticity(1e-4),
            peer=lambda n=n: exponax.stepper.NavierStokesVorticity(2, 1.0, n, 1e-3, diffusivity=1e-4, order=4),
            shape=(n, n),
            extent=1.0,
            dt=1e-3,
            num_steps=num_steps,
            sign=-1,
        )
        for n, num_steps in ((64, 400), (128, 150), (256, 50))
    ]
    return [
        *flow,
        Row(
            name="kuramoto-sivashinsky",
            label="Kuramoto-Sivashinsky, 256 points, batch of 64",
            equation=pj.equations.KuramotoSivashinsky(),
            peer=lambda: exponax.stepper.KuramotoSivashinskyConservative(1, 64.0, 256, 0.05, order=4),
            shape=(256,),
            extent=64.0,
            dt=0.05,
            num_steps=200,
            batch=64,
        ),
        Row(
            name="burgers",
            label="Burgers, 1024 points",
            equation=pj.equations.Burgers(1e-3),
            peer=lambda: exponax.stepper.Burgers(1, 1.0, 1024, 1e-4, diffusivity=1e-3, order=4),
            shape=(1024,),
            extent=1.0,
            dt=1e-4,
            num_steps=1500,
        ),
    ]


def initial_states(row: Row) -> np.ndarray:
    law = pj.initial.BandLimited(peak=3, cutoff=5, rms=0.5)
    grid = pj.Grid(row.shape, row.extent, dtype=jnp.float32)
    keys = jax.random.split(jax.random.key(0), row.batch or 1)
    states = jax.vmap(lambda key: law(grid, key=key))(keys)
    return np.asarray(states if row.batch else states[0])


def ours(row: Row, dtype, refinement: int = 1, step_refinement: int = 1) -> Callable:
    grid = pj.Grid(tuple(refinement * n for n in row.shape), row.extent, dtype=dtype)
    stepper = pj.TimeStepper(row.equation, pj.Spectral(grid), row.dt * row.num_steps, row.num_steps * step_refinement)
    advance = eqx.filter_jit(lambda s, u: jax.vmap(s)(u) if row.batch else s(u))
    return lambda u: advance(stepper, u)


def theirs(row: Row) -> Callable:
    stepper = exponax.RepeatedStepper(row.peer(), row.num_steps)
    advance = eqx.filter_jit(lambda s, u: row.sign * (jax.vmap(s) if row.batch else s)(row.sign * u))
    return lambda u: advance(stepper, u)


def reference(row: Row, u0: np.ndarray) -> np.ndarray:
    """The float64 solution at twice the resolution and a quarter of the step, truncated to the row's grid."""
    with jax.enable_x64(True):
        row = dataclasses.replace(
            row, equation=jax.tree_util.tree_map(lambda c: jnp.asarray(c, jnp.float64), row.equation)
        )
        coarse = pj.Grid(row.shape, row.extent, dtype=jnp.float64)
        fine = coarse.with_shape(tuple(2 * n for n in row.shape))
        start = pj.resample(jnp.asarray(u0, jnp.float64), coarse, fine)
        return np.asarray(pj.resample(ours(row, jnp.float64, 2, 4)(start), fine, coarse))


def measure(row: Row, repeats: int) -> dict:
    u0 = initial_states(row)
    u = jnp.asarray(u0)
    solvers = {"pdejax": ours(row, jnp.float32), "exponax": theirs(row)}
    exact = reference(row, u0)
    errors = {
        name: float(np.linalg.norm(np.asarray(advance(u)) - exact) / np.linalg.norm(exact))
        for name, advance in solvers.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in solvers}
    for repeat in range(repeats):
        for name in list(solvers)[:: 1 if repeat % 2 == 0 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(solvers[name](u))
            seconds[name].append(time.perf_counter() - start)
    rates = {name: row.num_steps / np.asarray(values) for name, values in seconds.items()}
    ratios = rates["pdejax"] / rates["exponax"]
    return {
        "row": row.label,
        "steps_per_second": {name: spread(values) for name, values in rates.items()},
        "ratio": spread(ratios),
        "error": errors,
    }


def table(results: list[dict]) -> str:
    lines = [
        "| row | pdejax steps/s | exponax steps/s | ratio (10 % - 90 %) | pdejax error | exponax error |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        mine, peer = (result["steps_per_second"][name]["median"] for name in ("pdejax", "exponax"))
        ratio = result["ratio"]
        lines.append(
            f"| {result['row']} | {mine:.0f} | {peer:.0f} | {ratio['median']:.2f} ({ratio['low']:.2f} - "
            f"{ratio['high']:.2f}) | {result['error']['pdejax']:.1e} | {result['error']['exponax']:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", help="names of the rows to run; default all, written to results/")
    parser.add_argument("--repeats", type=int, default=25)
    options = parser.parse_args()
    everything = rows()
    if unknown := set(options.rows or ()) - {row.name for row in everything}:
        parser.error(f"no row {sorted(unknown)}; there are {[row.name for row in everything]}")
    results = []
    for row in everything:
        if not options.rows or row.name in options.rows:
            results.append(measure(row, options.repeats))
            print(table(results[-1:]).splitlines()[-1], flush=True)
    if not options.rows:
        about = machine("exponax", "equinox", "diffrax")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "solvers.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
        header = ", ".join(f"{key} {value}" for key, value in about.items())
        text = f"# Solvers beside exponax\n\n`python benchmarks/solvers.py`, float32, ETDRK4; {header}.\n\n"
        text += table(results) + "\n"
        (RESULTS / "solvers.md").write_text(text)


if __name__ == "__main__":
    main()
