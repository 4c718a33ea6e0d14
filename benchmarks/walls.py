"""Heat and advection-diffusion between walls: pdejax beside py-pde, error and time, in turn, in one process.

    python benchmarks/walls.py               # all rows; writes benchmarks/results/walls.{json,md}
    python benchmarks/walls.py --rows heat   # those whose name contains the word, printed only

Both solve on the same cell centres in double precision, from the same initial state to the same time; both have
compiled before they are timed. The error is relative L2 against the exact solution at the centres. py-pde is of second
order in space and steps explicitly: by its adaptive Runge-Kutta method (backend numba, tolerance 1e-4, its default).
pdejax is shown with the same stencil and with one of fourth order, stepped by KenCarp4 with step control (rtol 1e-6),
and by ETDRK4 at fixed steps.

py-pde is a dev extra: `pip install '.[peers]'`.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import pde
from _measuring import machine, spread

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann
from pdejax.equations import Diffusion, Equation
from pdejax.solvers import ETDRK4, KenCarp4

RESULTS = Path(__file__).parent / "results"
DIFFUSIVITY, VELOCITY, EXTENT, TIME = 0.1, 1.0, (1.0, 1.3), 0.5


class Carried(Equation):
    """u_t = D Lap u - c u_x, transport explicit."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return DIFFUSIVITY * u.laplacian()

    def nonlinear(self, t, u):
        return -VELOCITY * u.derivative(0)


@dataclasses.dataclass(frozen=True)
class Row:
    """Held at u = 0 for x = 0 and 1, insulated in y."""

    name: str
    label: str
    equation: Equation
    velocity: float
    shape: tuple[int, int]

    def exact(self, t: float) -> np.ndarray:
        """One mode, damped: `exp(c x / 2 D - (c^2 / 4 D + D |k|^2) t) sin(pi x) cos(2 pi y / 1.3)`."""
        x, y = np.meshgrid(
            *((np.arange(n) + 0.5) * L / n for n, L in zip(self.shape, EXTENT, strict=True)), indexing="ij"
        )
        k = 2 * np.pi / EXTENT[1]
        rate = self.velocity**2 / (4 * DIFFUSIVITY) + DIFFUSIVITY * (np.pi**2 + k**2)
        return np.exp(self.velocity * x / (2 * DIFFUSIVITY) - rate * t) * np.sin(np.pi * x) * np.cos(k * y)


def rows() -> list[Row]:
    return [
        Row(f"{name}-{shape[0]}", f"{label}, {shape[0]} x {shape[1]}", equation, velocity, shape)
        for name, label, equation, velocity in (
            ("heat", "heat", Diffusion(DIFFUSIVITY), 0.0),
            ("advection", "advection-diffusion", Carried(), VELOCITY),
        )
        for shape in ((32, 40), (64, 80), (128, 160))
    ]


def ours(row: Row, order: int, num_steps: int | None) -> Callable[[], np.ndarray]:
    """Adaptive KenCarp4 or, with `num_steps`, so many of ETDRK4."""
    grid = pj.Grid(row.shape, EXTENT, periodic=False)
    reading = pj.FiniteDifference(grid, order, {"x": Dirichlet(), "y": Neumann()})
    u0 = jnp.asarray(row.exact(0.0))[None]
    if num_steps is None:
        return lambda: np.asarray(
            pj.solve(row.equation, reading, u0, [0.0, TIME], solver=KenCarp4(), rtol=1e-6).u[-1, 0]
        )
    stepper = pj.TimeStepper(row.equation, reading, TIME, num_steps, ETDRK4())
    advance = eqx.filter_jit(lambda s, u: s(u))
    return lambda: np.asarray(advance(stepper, u0)[0])


def theirs(row: Row) -> Callable[[], np.ndarray]:
    grid = pde.CartesianGrid([[0, L] for L in EXTENT], row.shape, periodic=False)
    text = f"{DIFFUSIVITY} * laplace(u)" + (f" - {row.velocity} * d_dx(u)" if row.velocity else "")
    equation = pde.PDE({"u": text}, bc={"x": {"value": 0}, "y": {"derivative": 0}})
    state = pde.ScalarField(grid, row.exact(0.0))
    solver = pde.RungeKuttaSolver(equation, adaptive=True, backend="numba")
    # What `Controller.run` does, without compiling again at every call.
    step = solver.make_stepper(state, dt=1e-5)
    return lambda: _run(step, state)


def _run(step: Callable, state: pde.ScalarField) -> np.ndarray:
    current = state.copy()
    step(current, 0.0, TIME)
    return current.data


def measure(row: Row, repeats: int) -> dict:
    exact = row.exact(TIME)
    solvers = {
        "py-pde, order 2": theirs(row),
        "KenCarp4, order 2": ours(row, 2, None),
        "KenCarp4, order 4": ours(row, 4, None),
        "ETDRK4 x 32, order 4": ours(row, 4, 32),
    }
    errors = {name: float(np.linalg.norm(run() - exact) / np.linalg.norm(exact)) for name, run in solvers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in solvers}
    for repeat in range(repeats):
        for name in list(solvers)[:: 1 if repeat % 2 == 0 else -1]:
            start = time.perf_counter()
            solvers[name]()
            seconds[name].append(time.perf_counter() - start)
    peer = np.asarray(seconds["py-pde, order 2"])
    return {
        "row": row.label,
        "solvers": {
            name: {
                "error": errors[name],
                "milliseconds": spread(1e3 * np.asarray(values)),
                "times faster than py-pde": spread(peer / np.asarray(values)),
            }
            for name, values in seconds.items()
        },
    }


def table(results: list[dict]) -> str:
    lines = ["| row | solver | error | ms | times faster than py-pde (10 % - 90 %) |", "|---|---|---|---|---|"]
    for result in results:
        for name, found in result["solvers"].items():
            ratio = found["times faster than py-pde"]
            lines.append(
                f"| {result['row']} | {name} | {found['error']:.1e} | {found['milliseconds']['median']:.2f} | "
                f"{ratio['median']:.2f} ({ratio['low']:.2f} - {ratio['high']:.2f}) |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", help="a word in the names of the rows to run; default all, written to results/")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    chosen = [row for row in rows() if options.rows is None or options.rows in row.name]
    if not chosen:
        parser.error(f"no row has {options.rows!r} in its name; there are {[row.name for row in rows()]}")
    results = []
    for row in chosen:
        results.append(measure(row, options.repeats))
        print(table(results[-1:]).split("\n", 2)[2], flush=True)
    if options.rows is None:
        about = machine("py-pde", "numba", "diffrax")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "walls.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
        header = ", ".join(f"{key} {value}" for key, value in about.items())
        text = f"# Between walls, beside py-pde\n\n`python benchmarks/walls.py`, double precision; {header}.\n\n"
        (RESULTS / "walls.md").write_text(text + table(results) + "\n")


if __name__ == "__main__":
    main()
