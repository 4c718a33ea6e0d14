"""The Fourier neural operator on steady flow through a medium of two materials: from the permeability to the pressure.

Hypotheses; the script says for how many seeds each of them held:

1. The relative L2 error is at most 2 %.
2. On twice as many points per axis as it was trained on the same network errs at most 1.2 times as much.
3. At equal error a multigrid solver on no more points is cheaper.

Problem (Li et al., ICLR 2021, section 5.2): `-div(a grad u) = 1` in the unit square, u = 0 at its walls; a is 12 where
a Gaussian random field with the covariance `(-Laplacian + 9)^(-2)` and normal derivatives of zero at the walls is
positive, and 3 elsewhere. It is solved by our own finite volumes in double precision on four times as many points per
axis as are trained on; what is stored of a and u are means over cells. The solvers that it is compared with get what
the network gets, the means of a, on as many cells or fewer, and give means on the cells of the data; where cells are
joined, a is averaged in three ways. Departures: other samples of that law, and cells in place of nodes.

    python experiments/fno_darcy.py                     # 32 x 32 cells, some minutes on two cores
    python experiments/fno_darcy.py --preset gpu        # 96 x 96 cells
    python experiments/fno_darcy.py --preset tiny       # a minute; learns nothing

Writes RESULTS/fno_darcy.json, .md and .png.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _experiment import Experiment, Outcome, settings_of
from _fourier_operator import FINER, Training, page, trained, verdicts

import pdejax as pj
from pdejax.cli import run_script
from pdejax.evaluate.circumstances import circumstances
from pdejax.evaluate.cost import time_in_turn
from pdejax.evaluate.frontier import Point, cost_at_error
from pdejax.models import FNO
from pdejax.training import RelativeL2, Supervised

NAME = "fno_darcy"
HIGH, LOW, LIMIT = 12.0, 3.0, 0.02
SOLVED, TIMES_FINER = 4, 2
BATCH = 16  # samples that networks and solvers take at once where they are timed
CLAIMS = {
    "accurate": f"an error of at most {100 * LIMIT:g} %",
    "same_on_finer": f"on twice as many points per axis at most {FINER:g} times the error",
    "solver_is_cheaper": "at equal error a multigrid solver is cheaper",
}
# Of two materials in a cell: how conductive it is as a whole, if they lie beside, in between, or behind each other.
MEANS: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda share: share * HIGH + (1 - share) * LOW,
    "geometric": lambda share: HIGH**share * LOW ** (1 - share),
    "harmonic": lambda share: 1 / (share / HIGH + (1 - share) / LOW),
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """Data and training; solvers on the data's cells, and on cells that join 2 or 4 per axis."""

    samples: int
    held_out: int
    points: int
    training: Training
    joined: tuple[int, ...] = (1, 2, 4)
    tolerances: tuple[float, ...] = (1e-4, 3e-2)
    timing_seconds: float = 20.0


PRESETS = {
    "cpu": Preset(1000, 96, 32, Training(12, 20, steps=4000, batch=16)),
    "gpu": Preset(1000, 200, 96, Training(12, 32, steps=25_000, batch=20, learning_rate=1e-3)),
    "tiny": Preset(4, 3, 8, Training(3, 4, layers=2, steps=6, batch=4), (1, 2), (1e-4,), timing_seconds=0.1),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FNOOnDarcy(Experiment):
    """Train an FNO from the permeability of a medium to the pressure in it, and test three hypotheses."""

    name = NAME

    preset: Literal["cpu", "gpu", "tiny"] = "cpu"
    """How large all of it is."""

    def outcome(self) -> Outcome:
        preset, began = PRESETS[self.preset], time.perf_counter()
        a, u = data_of(preset, preset.samples, seed=0)
        held_out, finer = (data_of(preset, preset.held_out, seed=1, times=times) for times in (1, TIMES_FINER))
        grid, t = box(preset.points), preset.training

        def network(key: Any) -> FNO:
            options = {"num_layers": t.layers, "coordinates": 2, "periodic": False, "padding": 0.125}
            return FNO(1, 1, 2, t.modes, t.width, **options, key=key)

        models, took = trained(network, Supervised(RelativeL2(), domain=grid), (a, u), t, self.seeds)
        calls = {
            f"FNO seed {seed}": jax.jit(jax.vmap(lambda a, model=model: model(a, domain=grid)))
            for seed, model in zip(self.seeds, models, strict=True)
        }
        solvers = solvers_of(preset)
        errors = {name: error_of(call, held_out) for name, call in {**calls, **solvers}.items()}
        compared = compared_costs(list(calls), {**calls, **solvers}, errors, held_out[0], preset.timing_seconds)
        rows = []
        for seed, (name, model) in zip(self.seeds, zip(calls, models, strict=True), strict=True):
            on_finer = jax.jit(jax.vmap(lambda a, m=model: m(a, domain=box(TIMES_FINER * preset.points))))
            row = {"seed": seed, "error": errors[name], "error_finer": error_of(on_finer, finer), **compared[name]}
            rows.append(row)
        found = {"rows": rows, "held": verdicts(rows, LIMIT), "training": took}
        found["solvers"] = {name: {"error": errors[name]} for name in solvers}
        found |= {"minutes": (time.perf_counter() - began) / 60, "circumstances": circumstances()}
        found["settings"] = settings_of(self, preset)
        best = min(errors[name] for name in solvers)
        remark = (
            f"Relative L2, means over {preset.held_out} held-out media. The least error of a solver on the network's "
            f"cells is {best:.3g}. ![pressures]({NAME}.png)"
        )
        text = page("An FNO on steady flow through a medium of two materials", NAME, CLAIMS, found, remark)
        return Outcome(found, text, {"": figure(next(iter(calls.values())), held_out)})


def box(points: int, dtype: Any = np.float32) -> pj.Grid:
    return pj.Grid((points, points), 1.0, periodic=False, dtype=dtype)


def medium(points: int, key: Any) -> Any:
    """The permeability at the centres of cells: the sign of a random field whose normal derivatives are zero."""
    # The even part of a periodic field on a box of twice the side is a series of cosines, with the same law.
    doubled = pj.Grid((2 * points, 2 * points), 2.0, points="centres", dtype="float64")
    field = pj.initial.GaussianRandomField(alpha=2.0, tau=3.0)(doubled, key=key)[0]
    for axis in (0, 1):
        field = field + jnp.flip(field, axis)
    return jnp.where(field[:points, :points] >= 0, HIGH, LOW)


def joined(u: Any, times: int) -> Any:
    """Means over `times` cells along each of the last two axes."""
    m, n = (size // times for size in u.shape[-2:])
    return u.reshape(*u.shape[:-2], m, times, n, times).mean((-3, -1))


def data_of(preset: Preset, count: int, *, seed: int, times: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Permeabilities and pressures `(sample, 1, n, n)`, on `times` as many cells per axis as are trained on."""
    with jax.enable_x64(True):
        solved = box(SOLVED * preset.points, "float64")

        @jax.jit
        def one(key: Any) -> Any:
            a = medium(solved.shape[0], key)
            u, _ = pj.elliptic.darcy(solved, a, 1.0, 0.0, rtol=1e-8)
            return jnp.stack([joined(each, SOLVED // times) for each in (a, u)]).astype(jnp.float32)

        made = np.stack([np.asarray(one(key)) for key in jax.random.split(jax.random.key(seed), count)])
    return made[:, :1], made[:, 1:]


def solvers_of(preset: Preset) -> dict[str, Callable[[Any], Any]]:
    """What maps permeabilities on the data's cells to pressures there, by name."""

    def solver(times: int, mean: Callable[[Any], Any], tolerance: float) -> Callable[[Any], Any]:
        grid = box(preset.points // times)

        def one(a: Any) -> Any:
            share = joined((a[0] - LOW) / (HIGH - LOW), times)
            u, _ = pj.elliptic.darcy(grid, mean(share), 1.0, 0.0, rtol=tolerance)
            return spread_out(u, times)[None]

        return jax.jit(jax.vmap(one))

    return {
        f"{preset.points // times} x {preset.points // times}, {name} mean, to {tolerance:g}": solver(
            times, mean, tolerance
        )
        for times in preset.joined
        for name, mean in MEANS.items()
        for tolerance in preset.tolerances
    }


def spread_out(u: Any, times: int) -> Any:
    """Values in cells, linearly between their centres on `times` as many per axis; odd about the walls, where u = 0."""
    if times == 1:
        return u
    for axis in (0, 1):
        ends = jnp.take(u, jnp.array([0, -1]), axis)
        first, last = jnp.split(-ends, 2, axis)
        u = jnp.concatenate([first, u, last], axis)
    size = tuple(times * n for n in u.shape)
    return jax.image.resize(u, size, "linear")[times:-times, times:-times]


def error_of(call: Callable[[Any], Any], pairs: tuple[np.ndarray, np.ndarray]) -> float:
    """Relative L2, the mean over the samples."""
    inputs, truth = pairs
    found = np.concatenate([np.asarray(call(inputs[i : i + BATCH])) for i in range(0, len(inputs), BATCH)])
    norm = lambda v: np.sqrt(np.sum(np.square(v, dtype=np.float64), axis=(1, 2, 3)))  # noqa: E731
    return float(np.mean(norm(found - truth) / norm(truth)))


def compared_costs(
    networks: list[str], calls: dict[str, Any], errors: dict[str, float], inputs: np.ndarray, seconds: float
) -> dict[str, dict[str, Any]]:
    """What every network is worth beside the solvers: cost of the best of its error over its own, in turn."""
    batch = jnp.asarray(inputs[:BATCH])
    costs = time_in_turn({name: lambda c=call: c(batch) for name, call in calls.items()}, seconds=seconds)
    found = {}
    for name in networks:
        ratios = {n: costs[n] / costs[name] for n in calls if n not in networks}
        points = {n: Point(float(np.median(each)), errors[n]) for n, each in ratios.items()}
        match = cost_at_error(errors[name], points)
        rounds = np.exp(sum(weight * np.log(ratios[n]) for n, weight in match.weights.items()))
        high = float(np.quantile(rounds, 0.9))
        found[name] = {"speed_up": float(np.median(rounds)), "speed_up_high": high, "speed_up_bound": match.bound}
        # In nine of ten repeats; and a bound from below decides nothing.
        found[name] |= {"solver_is_cheaper": high < 1 and match.bound != "at least", "rivals": list(match.weights)}
        found[name] |= {"milliseconds_per_sample": 1e3 * float(np.median(costs[name])) / len(batch)}
    return found


def figure(call: Callable[[Any], Any], held_out: tuple[np.ndarray, np.ndarray]) -> Any:
    """Two media: permeability, pressure, that of the network, and their difference."""
    a, u = (each[:2] for each in held_out)
    found = np.asarray(call(a))
    drawn, axes = plt.subplots(2, 4, figsize=(9.6, 4.6), layout="constrained")
    for row, panels in enumerate(axes):
        highest = u[row].max()
        shown = {"permeability": a, "pressure": u, "network": found, "difference": found - u}
        for panel, (title, values) in zip(panels, shown.items(), strict=True):
            limits = {"vmin": 0, "vmax": highest} if title in ("pressure", "network") else {}
            image = panel.imshow(values[row, 0].T, origin="lower", extent=(0, 1, 0, 1), **limits)
            drawn.colorbar(image, ax=panel, shrink=0.8)
            panel.set(title=title if row == 0 else "", xticks=[0, 1], yticks=[0, 1])
    return drawn


if __name__ == "__main__":
    sys.exit(run_script(FNOOnDarcy))
