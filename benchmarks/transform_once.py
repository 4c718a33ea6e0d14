"""T1 beside an FNO on the problem that T1 is made for: a linear equation, whose every wave is multiplied by a number.

    python benchmarks/transform_once.py               # writes benchmarks/results/transform_once.{json,md}
    python benchmarks/transform_once.py --rounds 3    # fewer turns of the clock

The solution operator of `u_t + c . grad u = nu lap u` in a periodic box, over a time of 0.2, is diagonal in Fourier
space. A T1 and an FNO that keep the same frequencies learn it from pairs of random fields, by Adam on the relative L2
error, until the error of held-out fields is below the same `TARGET`; how many steps that takes is counted in blocks of
`BLOCK`. What is compared: seconds of training until then, compilation apart, and seconds of one prediction of a batch,
in turn. Both on one core. The FNO is the default of this package, of the least width and the first rate of those tried
that reach the target; the T1 has the smallest network beside its diagonal part.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

# One core, so that what else runs on the machine changes the times least.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _measuring import machine, spread

import pdejax as pj

RESULTS = Path(__file__).parent / "results"
TARGET, BLOCK, MOST, BATCH, SAMPLES = 1e-2, 50, 4000, 16, 256
VISCOSITY, TIME = 0.02, 0.2
ROWS = {"line": ((128,), 16, (0.7,)), "plane": ((32, 32), 8, (0.7, -0.4))}
WIDTHS, RATES = (16, 32), (3e-3, 1e-3)


def pairs(space: tuple[int, ...], modes: int, speed: tuple[float, ...]) -> tuple[Any, Any]:
    """Random fields on the kept frequencies, and what becomes of them, exactly."""
    grid = pj.Grid(space, 2 * jnp.pi, dtype=jnp.float32)
    law = pj.initial.BandLimited(peak=3, cutoff=modes - 1)
    u = np.asarray(jax.vmap(lambda key: law(grid, key=key))(jax.random.split(jax.random.key(0), SAMPLES + 64)))
    waves = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in space), indexing="ij")
    symbol = -VISCOSITY * sum(k**2 for k in waves) - 1j * sum(c * k for c, k in zip(speed, waves, strict=True))
    axes = tuple(range(2, 2 + len(space)))
    later = np.fft.ifftn(np.fft.fftn(u, axes=axes) * np.exp(symbol * TIME), axes=axes).real
    return jnp.asarray(u), jnp.asarray(later, jnp.float32)


def relative(predicted: Any, truth: Any) -> Any:
    flat = lambda a: a.reshape(len(a), -1)  # noqa: E731
    return jnp.mean(jnp.linalg.norm(flat(predicted - truth), axis=1) / jnp.linalg.norm(flat(truth), axis=1))


def trained(model: Any, rate: float, data: tuple[Any, Any]) -> dict[str, Any]:
    """Steps and seconds until held-out fields are below the target, in blocks; None where they never are."""
    u, later = data
    optimiser = optax.adam(rate)
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays: Any, index: Any) -> Any:
        return relative(jax.vmap(eqx.combine(arrays, rest))(u[index]), later[index])

    @jax.jit
    def block(arrays: Any, state: Any, key: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            arrays, state = carry
            index = jax.random.choice(key, SAMPLES, (BATCH,), replace=False)
            updates, state = optimiser.update(jax.grad(loss)(arrays, index), state)
            return (optax.apply_updates(arrays, updates), state), None

        (arrays, state), _ = jax.lax.scan(step, (arrays, state), jax.random.split(key, BLOCK))
        return arrays, state, relative(jax.vmap(eqx.combine(arrays, rest))(u[SAMPLES:]), later[SAMPLES:])

    state = optimiser.init(arrays)
    jax.block_until_ready(block(arrays, state, jax.random.key(0)))  # compiles
    began, error = time.perf_counter(), 1.0
    for number in range(MOST // BLOCK):
        arrays, state, error = block(arrays, state, jax.random.fold_in(jax.random.key(1), number))
        if error < TARGET:
            break
    took = time.perf_counter() - began
    reached = bool(error < TARGET)
    found = {"error": float(error), "steps": (number + 1) * BLOCK, "reached": reached, "seconds": took}
    return found | {"model": eqx.combine(arrays, rest)}


def in_turn(models: dict[str, Any], u: Any, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of a prediction of one batch, the models in turn."""
    calls = {name: jax.jit(jax.vmap(lambda v, model=model: model(v))) for name, model in models.items()}
    for call in calls.values():
        jax.block_until_ready(call(u))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(20):
                jax.block_until_ready(call(u))
            taken[name].append((time.perf_counter() - began) / 20)
    return {name: np.array(each) for name, each in taken.items()}


def measure(name: str, rounds: int) -> dict[str, Any]:
    space, modes, speed = ROWS[name]
    data = pairs(space, modes, speed)
    ndim, key = len(space), jax.random.key(0)
    runs = {"T1": trained(pj.models.T1(1, 1, ndim, modes, 4, num_layers=1, key=key), RATES[0], data)}
    tried = {}
    for width, rate in itertools.product(WIDTHS, RATES):
        runs["FNO"] = trained(pj.models.FNO(1, 1, ndim, modes, width, key=key), rate, data)
        tried[f"{width}, {rate:g}"] = runs["FNO"]["error"]
        if runs["FNO"]["reached"]:
            break
    taken = in_turn({each: run.pop("model") for each, run in runs.items()}, data[0][:BATCH], rounds)
    ratio = spread(taken["FNO"] / taken["T1"])
    return {
        "row": name,
        "space": space,
        "modes": modes,
        "width": width,
        "fno_errors": tried,
        "runs": runs,
        "ratio": ratio,
    }


def table(results: list[dict]) -> str:
    lines = [
        "| problem | network | error, held out | steps | training, s | a prediction: FNO takes so many times as long |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        for name, run in result["runs"].items():
            label = f"{' x '.join(map(str, result['space']))}, {result['modes']} modes" if name == "T1" else ""
            network = name if name == "T1" else f"FNO of width {result['width']}"
            r = result["ratio"]
            faster = f"{r['median']:.1f} ({r['low']:.1f} - {r['high']:.1f})" if name == "T1" else ""
            until = str(run["steps"]) if run["reached"] else f"not in {run['steps']}"
            lines.append(f"| {label} | {network} | {run['error']:.1e} | {until} | {run['seconds']:.1f} | {faster} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of the clock")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    results = []
    for name in ROWS:
        results.append(measure(name, options.rounds))
        print(table(results[-1:]), flush=True)
    if options.dry:
        return
    about = machine("equinox", "optax")
    (RESULTS / "transform_once.json").write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    text = "# T1 beside an FNO on a diagonal problem\n\n"
    text += f"`python benchmarks/transform_once.py`, float32, one core, until {TARGET:g}; {header}.\n\n"
    (RESULTS / "transform_once.md").write_text(text + table(results) + "\n")


if __name__ == "__main__":
    main()
