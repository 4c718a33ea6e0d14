"""Poisson and Darcy solves of pdejax beside SciPy and PyAMG: same matrix and right-hand side, in turn, in one process.

    python benchmarks/elliptic.py             # all sizes; writes benchmarks/results/elliptic.{json,md}
    python benchmarks/elliptic.py --sizes 65  # printed only

u = 0 on the walls of the unit square, nodes, float64, a random right-hand side (all modes at once), residual 1e-10.
`constant`: a = 1. `disc`: a = 1e3 in a disc. `blocks`: a in {1, 1e3} on 7 x 7 blocks that lie on no coarse grid.
Compilation, and the assembly of the sparse matrix, are apart; each solver's own set-up (coarse grids, factorisation) is
within its time. `spsolve` is left out at 513^2, where it is slowest. The error is relative, to the same discrete
problem solved to 1e-13: the solvers' own.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyamg
import scipy.fft
import scipy.sparse as sparse
from _measuring import machine, spread
from scipy.sparse.linalg import spsolve

import pdejax as pj
from pdejax.elliptic import EllipticOperator, solve_elliptic

RESULTS = Path(__file__).parent / "results"


def permeability(name: str, grid: pj.Grid) -> np.ndarray:
    x, y = np.asarray(grid.coordinates())
    if name == "constant":
        return np.ones_like(x)
    if name == "disc":
        return np.where((x - 0.45) ** 2 + (y - 0.55) ** 2 < 0.04, 1e3, 1.0)
    blocks = np.random.default_rng(3).choice([1.0, 1e3], size=(7, 7))
    return blocks[tuple(np.minimum((7 * i).astype(int), 6) for i in (x, y))]


def assembled(operator: EllipticOperator) -> sparse.csr_matrix:
    matrix = operator.matrix()
    shape = matrix.shape
    index = np.arange(np.prod(shape)).reshape(shape)
    rows, columns, values = [], [], []
    for weight, offset in zip(np.asarray(matrix.weights), matrix.offsets, strict=True):
        here = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, shape, strict=True))
        there = tuple(slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, shape, strict=True))
        rows.append(index[here].ravel())
        columns.append(index[there].ravel())
        values.append(weight[here].ravel())
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(data)


def sine_transform(b: np.ndarray) -> np.ndarray:
    n = b.shape[0]
    values = (2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))) * (n + 1) ** 2
    return scipy.fft.idstn(scipy.fft.dstn(b, type=1) / (values[:, None] + values), type=1)


def measure(name: str, n: int, repeats: int) -> list[dict]:
    grid = pj.Grid((n, n), 1.0, periodic=False, points="nodes", dtype=jnp.float64)
    operator = EllipticOperator(grid, 0.0, permeability(name, grid))
    f = jnp.asarray(np.random.default_rng(1).normal(size=grid.shape))
    b, matrix = np.asarray(operator.right_hand_side(f)), assembled(operator)

    def ours(method: str, rtol: float = 1e-10):
        # An array of ones for the iterations: one program serves all three problems.
        problem = EllipticOperator(grid, 0.0) if method == "direct" else operator
        u, statistics = solve_elliptic(problem, f, method=method, rtol=rtol)  # type: ignore[arg-type]
        return np.asarray(operator.restrict(u)), int(statistics.iterations)

    def amg():
        residuals: list[float] = []
        solver = pyamg.ruge_stuben_solver(matrix)
        u = solver.solve(b.ravel(), tol=1e-10, accel="cg", residuals=residuals)
        return u.reshape(b.shape), len(residuals) - 1

    solvers = {"pdejax V-cycles": lambda: ours("multigrid"), "pdejax cg": lambda: ours("cg"), "pyamg cg": amg}
    if n < 500:
        solvers["scipy spsolve"] = lambda: (spsolve(matrix.tocsc(), b.ravel()).reshape(b.shape), 0)
    if name == "constant":
        solvers |= {"pdejax direct": lambda: ours("direct"), "scipy DST": lambda: (sine_transform(b), 0)}
    exact = sine_transform(b) if name == "constant" else ours("cg", 1e-13)[0]
    start = time.perf_counter()
    ours("multigrid")
    first = time.perf_counter() - start
    steps, errors, seconds = {}, {}, {solver: [] for solver in solvers}
    for solver, solve in solvers.items():
        u, steps[solver] = solve()
        errors[solver] = float(np.linalg.norm(u - exact) / np.linalg.norm(exact))
    for repeat in range(repeats):
        for solver in list(solvers)[:: 1 if repeat % 2 == 0 else -1]:
            start = time.perf_counter()
            solvers[solver]()
            seconds[solver].append(time.perf_counter() - start)
    rows = []
    for solver, values in seconds.items():
        rows.append(
            {
                "problem": name,
                "points": n,
                "solver": solver,
                "iterations": steps[solver],
                "error": errors[solver],
                "seconds": spread(np.asarray(values)),
                "first_call_of_V_cycles": first,
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    lines = ["| problem | points | solver | iterations | error | ms (10 % - 90 %) |", "|---|---|---|---|---|---|"]
    for row in rows:
        low, median, high = (1e3 * row["seconds"][part] for part in ("low", "median", "high"))
        lines.append(
            f"| {row['problem']} | {row['points']}^2 | {row['solver']} | {row['iterations'] or ''} | "
            f"{row['error']:.1e} | {median:.3g} ({low:.3g} - {high:.3g}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, help="points per axis; default 33 to 513, written to results/")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for n in options.sizes or (33, 65, 129, 257, 513):
        for name in ("constant", "disc", "blocks"):
            some = measure(name, n, options.repeats)
            rows += some
            print("\n".join(table(some).splitlines()[2:]), flush=True)
    if not options.sizes:
        about = machine("scipy", "pyamg")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "elliptic.json").write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
        header = ", ".join(f"{key} {value}" for key, value in about.items())
        first = ", ".join(
            f"{r['points']}^2 {r['first_call_of_V_cycles']:.1f} s"
            for r in rows
            if r["problem"] == "constant" and r["solver"] == "pdejax cg"
        )
        text = f"# Elliptic solvers beside SciPy and PyAMG\n\n`python benchmarks/elliptic.py`, float64; {header}.\n\n"
        text += f"First call of V-cycles, with compilation: {first}.\n\n{table(rows)}\n"
        (RESULTS / "elliptic.md").write_text(text)


if __name__ == "__main__":
    main()
