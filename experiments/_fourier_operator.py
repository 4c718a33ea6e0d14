"""What the experiments on a plain Fourier neural operator share: one training, three questions, one page."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from _experiment import scored, seeds_of, speed_up, spread

from pdejax.data import Trajectories
from pdejax.evaluate import Report, evaluate
from pdejax.models import Ensemble, members
from pdejax.progress import is_watched
from pdejax.resample import resample
from pdejax.training import fit

# At most so many times the error on the points of the training where there are more of them.
FINER = 1.2


@dataclasses.dataclass(frozen=True)
class Training:
    """The network, and how long it is trained."""

    modes: int
    width: int
    steps: int
    batch: int
    layers: int = 4
    learning_rate: float = 3e-3


def trained(
    network: Callable[[Any], Any], objective: Any, data: Any, training: Training, seeds: tuple[int, ...]
) -> tuple[list[Any], dict[str, Any]]:
    """One model per seed of the first weights, side by side on the same batches, and what they are and took."""
    models = [network(jax.random.key(seed)) for seed in seeds]
    started = time.perf_counter()
    fitted = fit(
        Ensemble.of(models),
        objective,
        data,
        optimiser=optax.adam(optax.cosine_decay_schedule(training.learning_rate, training.steps)),
        num_steps=training.steps,
        batch_size=training.batch,
        key=jax.random.key(100),
        progress=is_watched(),
    )
    seconds = time.perf_counter() - started
    weights = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(models[0], eqx.is_inexact_array)))
    return members(fitted.model), {"parameters": weights, "seconds_of_all_seeds": seconds}


def asked(
    models: list[Any], seeds: tuple[int, ...], finer: Trajectories, times: int, equation: Any, preset: Any, family: Any
) -> tuple[list[dict[str, Any]], Report]:
    """Error on held-out trajectories, on these on `times` as many points per axis, and the best solver: one row per
    seed, and the report."""
    named = {f"FNO seed {seed}": model for seed, model in zip(seeds, models, strict=True)}
    report = scored(named, coarser(finer, times), equation, preset, family)
    on_finer = evaluate(named, finer, at=preset.at, timing_seconds=0.1, progress=is_watched())
    assert isinstance(on_finer, Report)  # trajectories give no PairReport
    compared = {comparison.surrogate: comparison for comparison in report.comparisons}
    rows = []
    for seed, name in zip(seeds, named, strict=True):
        row: dict[str, Any] = {"seed": seed}
        for key, of in (("error", report), ("error_finer", on_finer)):
            row[key] = float(of.results[name].mean("relative_l2")[of.stated])
        row |= speed_up(compared.get(name))
        row["rivals"] = list(compared[name].faster_rivals) if name in compared else []
        rows.append(row)
    return rows, report


def coarser(data: Trajectories, times: int) -> Trajectories:
    """The same on a `times` times coarser grid, whose frequencies alone are kept."""
    grid = data.grid.with_shape(tuple(n // times for n in data.grid.shape))
    cut = jax.jit(jax.vmap(jax.vmap(lambda u: resample(u, data.grid, grid))))
    return dataclasses.replace(data, u=np.asarray(cut(np.asarray(data.u[:]))), grid=grid)


def verdicts(rows: list[dict[str, Any]], limit: float) -> dict[str, str]:
    """For how many seeds each hypothesis held, of rows with `error`, `error_finer` and what `speed_up` says."""
    return {
        "accurate": seeds_of([row["error"] <= limit for row in rows]),
        "same_on_finer": seeds_of([row["error_finer"] <= FINER * row["error"] for row in rows]),
        "solver_is_cheaper": seeds_of([bool(row.get("solver_is_cheaper")) for row in rows]),
    }


def page(title: str, script: str, claims: dict[str, str], found: dict[str, Any], remark: str) -> str:
    """The results in Markdown: what was claimed, in words, what came out, and on what."""
    rows, took = found["rows"], found["training"]
    with_solver = [row for row in rows if row.get("speed_up") is not None]
    lines = [
        f"# {title}",
        "",
        f"Written by `experiments/{script}.py`, which says what was asked and how.",
        "",
        "| hypothesis | held for |",
        "|---|---|",
        *(f"| {claim} | {found['held'][key]} |" for key, claim in claims.items()),
        "",
        "| seed | error | on the finer grid | speed-up over a solver of its error | the solver |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        speed_up = f"{row['speed_up_bound']} {row['speed_up']:.2g}".strip() if row in with_solver else "not compared"
        rivals = ", ".join(row.get("rivals", ()))
        lines.append(f"| {row['seed']} | {row['error']:.3g} | {row['error_finer']:.3g} | {speed_up} | {rivals} |")
    lines += [
        "",
        f"Error, mean over the seeds and from the least to the largest: {spread([row['error'] for row in rows])}; on "
        f"the finer grid {spread([row['error_finer'] for row in rows])}. {remark}",
        "",
        f"{took['parameters']} weights; the training took {took['seconds_of_all_seeds']:.0f} s for all seeds together, "
        f"and all of it {found['minutes']:.1f} minutes.",
        "",
        *(f"- {name}: {value}" for name, value in found["circumstances"].items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in found['settings'].items())}",
    ]
    return "\n".join(lines) + "\n"
