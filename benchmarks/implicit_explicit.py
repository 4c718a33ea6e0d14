"""What exact stage solves cost: a step of KenCarp3 beside its explicit stages alone, in turn, in one process.

    python benchmarks/implicit_explicit.py                      # all rows; writes results/implicit_explicit.{json,md}
    python benchmarks/implicit_explicit.py --rows kuramoto-sivashinsky

Of periodic rows the explicit stages are those of the same tableau for y' = N(t, y): as many evaluations of N, no linear
part, no solves. What they compute is no solution of the equation; a step small enough keeps it finite, and it is timed
alone. Of rows with walls they are those for the whole tendency at the points, what an explicit method would do in each
step. All advance in float32 by `TimeStepper`; compilation is apart. A repeat times each once, so that a change of the
machine's speed meets both; the ratio of times is taken repeat by repeat.

A second table has the time of one stage solve, `(1 - h L)^-1 r`, along an axis between walls: in eigenmodes, by the
factors of a banded line, by the inverse of the whole matrix made beforehand, and by a dense solve.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _measuring import machine, spread

import pdejax as pj
from pdejax.boundary import Neumann
from pdejax.solvers import KenCarp3
from pdejax.solvers.terms import bases_for, semilinear_term, space_of

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


class ExplicitWhole(diffrax.AbstractERK):
    """The same tableau for the whole tendency."""

    tableau: ClassVar = diffrax.KenCarp3.tableau.tableaus[0]
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        return 3


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
    walls: Callable[[pj.Grid], Any] | None = None
    points: tuple[str, ...] = ()
    leading: bool = False


def rows() -> list[Row]:
    written = [
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
        Row(
            name="heat-chebyshev",
            label="heat, 64 x 64 Chebyshev points",
            equation=pj.equations.Diffusion(1.0),
            shape=(64, 64),
            extent=1.0,
            dt=1e-7,
            num_steps=200,
            walls=lambda grid: pj.Chebyshev(grid, {"x": 0.0, "y": Neumann()}),
            points=("chebyshev", "chebyshev"),
        ),
        Row(
            name="fisher-chebyshev",
            label="Fisher-KPP, 64 x 64 Chebyshev points",
            equation=pj.equations.FisherKPP(1.0, 1.0),
            shape=(64, 64),
            extent=1.0,
            dt=1e-7,
            num_steps=200,
            walls=lambda grid: pj.Chebyshev(grid, {"x": 0.0, "y": Neumann()}),
            points=("chebyshev", "chebyshev"),
        ),
        Row(
            name="advection-diffusion-line",
            label="advection-diffusion, 256 points between walls, banded",
            equation=pj.equations.AdvectionDiffusion(1.0, 0.1),
            shape=(256,),
            extent=1.0,
            dt=1e-6,
            num_steps=1000,
            walls=lambda grid: pj.FiniteDifference(grid, 4, {"x-": 0.0, "x+": Neumann()}),
            points=("nodes",),
        ),
        Row(
            name="advection-diffusion-channel",
            label="advection-diffusion, channel of 128 x 128, banded",
            equation=pj.equations.AdvectionDiffusion(1.0, 0.1),
            shape=(128, 128),
            extent=1.0,
            dt=1e-6,
            num_steps=50,
            walls=lambda grid: pj.FiniteDifference(grid, 4, {"y-": 0.0, "y+": Neumann()}),
            points=("nodes", "centres"),
        ),
    ]
    leading = [
        dataclasses.replace(row, name=name, label=f"the same {word}, its leading part in `linear`", leading=True)
        for row, name, word in zip(written[-2:], ("leading-line", "leading-channel"), ("line", "channel"), strict=True)
    ]
    return [*written, *leading]


def measure(row: Row, repeats: int) -> dict:
    if row.walls is None:
        grid = pj.Grid(row.shape, row.extent, dtype=jnp.float32)
        reading: Any = pj.Spectral(grid)
        u = pj.initial.BandLimited(peak=3, cutoff=5, rms=0.5)(grid, key=jax.random.key(0))
        solvers = (KenCarp3(), ExplicitStages())
    else:
        periodic = tuple(len(row.points) == 2 and kind == "nodes" for kind in row.points)
        grid = pj.Grid(row.shape, row.extent, periodic, points=row.points, dtype=jnp.float32)
        reading = row.walls(grid)
        u = jnp.prod(jnp.sin(np.pi * grid.coordinates()), axis=0, keepdims=True)
        solvers = (KenCarp3(), ExplicitStages() if row.leading else ExplicitWhole())
    equation = pj.equations.LeadingPart(row.equation, grid) if row.leading else row.equation
    advance = eqx.filter_jit(lambda stepper, u: stepper(u))
    steppers = {
        name: pj.TimeStepper(equation, reading, row.dt * row.num_steps, row.num_steps, solver)
        for name, solver in zip(("KenCarp3", "ExplicitStages"), solvers, strict=True)
    }
    for stepper in steppers.values():
        assert bool(jnp.all(jnp.isfinite(advance(stepper, u)))), row.name
    seconds: dict[str, list[float]] = {name: [] for name in steppers}
    for repeat in range(repeats):
        for name in list(steppers)[:: 1 if repeat % 2 == 0 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(advance(steppers[name], u))
            seconds[name].append((time.perf_counter() - start) / row.num_steps)
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


def measure_solves(shape: tuple[int, ...], repeats: int) -> dict:
    """One stage solve along the last axis, of `shape` points, the others periodic; finite differences of order 4."""
    n, num_solves = shape[-1], 100
    grid = pj.Grid(shape, 1.0, (True,) * (len(shape) - 1) + (False,), dtype=jnp.float32)
    side = "xy"[len(shape) - 1]
    reading = pj.FiniteDifference(grid, 4, {f"{side}-": 0.0, f"{side}+": Neumann()})
    u, step = jax.random.normal(jax.random.key(0), (1, *shape)), jnp.float32(1e-3)
    velocity = [0.0] * (len(shape) - 1) + [1.0]

    def part(equation: Any) -> Any:
        space = space_of(reading, bases_for(KenCarp3(), equation, reading))
        return semilinear_term(equation, space).linear, space.encode(u)

    diagonal, y = part(pj.equations.Diffusion(0.1))
    banded, z = part(pj.equations.AdvectionDiffusion(velocity, 0.1))
    along = banded.lines[0].blocks.apply(jnp.eye(n, dtype=jnp.float32))
    symbols = jnp.moveaxis(banded.symbol[0], -1, 0)[n // 2].ravel()
    systems = (1 - step * symbols)[:, None, None] * jnp.eye(n) - step * along
    columns = z[0].reshape(-1, n)[..., None]
    cases: dict[str, tuple[Any, Any]] = {
        "eigenmodes": (lambda r, held: diagonal.multiply(held, r), (y, diagonal.inverse(step))),
        "banded": (lambda r, held: banded.multiply(held, r), (z, banded.inverse(step))),
        "inverse": (lambda r, held: held @ r, (columns, jnp.linalg.inv(systems))),
        "dense": (lambda r, held: jnp.linalg.solve(held, r), (columns, systems)),
    }

    def repeated(solve: Any) -> Any:
        return jax.jit(lambda r, held: jax.lax.fori_loop(0, num_solves, lambda _, x: solve(x, held), r))

    programs = {name: (repeated(solve), given) for name, (solve, given) in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(-1, repeats):
        for name, (program, given) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*given))
            if repeat >= 0:
                seconds[name].append((time.perf_counter() - start) / num_solves)
    return {"shape": shape, "seconds": {name: spread(np.asarray(values)) for name, values in seconds.items()}}


def table_of_solves(results: list[dict]) -> str:
    lines = [
        "| points | eigenmodes, us | banded, us | inverse made beforehand, us | dense solve, us |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        times = " | ".join(f"{1e6 * each['median']:.0f}" for each in result["seconds"].values())
        lines.append(f"| {' x '.join(map(str, result['shape']))} | {times} |")
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
        solves = [measure_solves(shape, options.repeats) for shape in ((64,), (256,), (1024,), (32, 64), (64, 256))]
        print(table_of_solves(solves), flush=True)
        about = machine("equinox", "diffrax")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "implicit_explicit.json").write_text(
            json.dumps({"machine": about, "rows": results, "solves": solves}, indent=1) + "\n"
        )
        header = ", ".join(f"{key} {value}" for key, value in about.items())
        text = f"# What exact stage solves cost\n\n`python benchmarks/implicit_explicit.py`, float32; {header}.\n\n"
        text += table(results) + "\n\nOne stage solve of advection-diffusion along the last axis (in eigenmodes: of "
        text += "diffusion):\n\n" + table_of_solves(solves) + "\n"
        (RESULTS / "implicit_explicit.md").write_text(text)


if __name__ == "__main__":
    main()
