"""What the experiments on a plain Fourier neural operator share: one training, three questions, one page."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import optax
from _experiment import seeds_of, spread

from pdejax.models import Ensemble, members
from pdejax.progress import is_watched
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
