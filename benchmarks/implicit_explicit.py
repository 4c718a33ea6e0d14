"""What exact stage solves cost: a step of KenCarp3 beside its explicit stages alone, in turn, in one process.

    python benchmarks/implicit_explicit.py                      # all rows; writes results/implicit_explicit.{json,md}
    python benchmarks/implicit_explicit.py --rows kuramoto-sivashinsky

The explicit stages are those of the same tableau for y' = N(t, y): as many evaluations of N, no linear part, no solves.
What they compute is no solution of the equation; a step small enough keeps it finite, and it is timed alone. Both
advance in float32 by `TimeStepper`, with the state kept in Fourier space; compilation is apart. A repeat times each
once, so that a change of the machine's speed meets both; the ratio of times is taken repeat by repeat.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _measuring import machine, spread

import pdejax as pj
from pdejax.solvers import KenCarp3

RESULTS = Path(__file__).parent / "results"


class ExplicitStages(KenCarp3):
    """The stages of KenCarp3 for N alone."""

    def coefficients(self, linear: Any, h: Any) -> dict[Any, Any]:
        return {}

    def advance(self, term: Any, coefficients: Any, t: Any, h: Any, y: Any, memory: Any) -> tuple[Any, Any, Any]:
        sources = [h * memory]
        for row, node in zip(self.tableau.explicit[1:], self.tableau.nodes[1:], strict=True):
            stage = y + sum(float(a) * source for a, source in zip(row, sources, strict=True))
            sources.append(h * term.nonlinear(t + float(node) * h, stage))
        y1 = y + sum(float(b) * source for b, source in zip(self.tableau.weights, sources, strict=True))
        return y1, term.nonlinear(t + h, y1), None


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    label: str
    equation: pj.equations.Equation
    shape: tuple[int, ...]
    extent: float
    dt: float
    num_steps: int


def rows() -> list[Row]:
    return [
        Row(
            name="navier-stokes-128",
            label="Navier-Stokes vorticity, 128 x 128",
            equation=pj.equations.NavierStokesVorticity(1e-4),
            shape=(128, 128),
            extent=1.0,
            dt=1e-4,
            num_steps=100,
        ),
        Row(
            name="kuramoto-sivashinsky",
            label="Kuramoto-Sivashinsky, 256 points",
            equation=pj.equations.KuramotoSivashinsky(),
            shape=(256,),
            extent=64.0,
            dt=1e-4,
            num_steps=2000,
        ),
    ]


def measure(row: Row, repeats: int) -> dict:
    grid = pj.Grid(row.shape, row.extent, dtype=jnp.float32)
    u = pj.initial.BandLimited(peak=3, cutoff=5, rms=0.5)(grid, key=jax.random.key(0))
    advance = eqx.filter_jit(lambda stepper, u: stepper(u))
    steppers = {
        solver: pj.TimeStepper(row.equation, pj.Spectral(grid), row.dt * row.num_steps, row.num_steps, solver)
        for solver in (KenCarp3(), ExplicitStages())
    }
    for stepper in steppers.values():
        assert bool(jnp.all(jnp.isfinite(advance(stepper, u)))), row.name
    seconds: dict[str, list[float]] = {type(solver).__name__: [] for solver in steppers}
    for repeat in range(repeats):
        for solver in list(steppers)[:: 1 if repeat % 2 == 0 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(advance(steppers[solver], u))
            seconds[type(solver).__name__].append((time.perf_counter() - start) / row.num_steps)
    ratios = np.asarray(seconds["KenCarp3"]) / np.asarray(seconds["ExplicitStages"])
    return {
        "row": row.label,
        "seconds_per_step": {name: spread(np.asarray(values)) for name, values in seconds.items()},
        "ratio": spread(ratios),
    }


def table(results: list[dict]) -> str:
    lines = [
        "| row | KenCarp3, us per step | explicit stages alone, us per step | ratio (10 % - 90 %) |",
        "|---|---|---|---|",
    ]
    for result in results:
        whole, explicit = (1e6 * result["seconds_per_step"][name]["median"] for name in ("KenCarp3", "ExplicitStages"))
        ratio = result["ratio"]
        lines.append(
            f"| {result['row']} | {whole:.0f} | {explicit:.0f} | {ratio['median']:.2f} ({ratio['low']:.2f} - "
            f"{ratio['high']:.2f}) |"
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
        about = machine("equinox", "diffrax")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "implicit_explicit.json").write_text(
            json.dumps({"machine": about, "rows": results}, indent=1) + "\n"
        )
        header = ", ".join(f"{key} {value}" for key, value in about.items())
        text = f"# What exact stage solves cost\n\n`python benchmarks/implicit_explicit.py`, float32; {header}.\n\n"
        text += table(results) + "\n"
        (RESULTS / "implicit_explicit.md").write_text(text)


if __name__ == "__main__":
    main()
