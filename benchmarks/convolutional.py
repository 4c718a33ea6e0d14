"""U-Nets beside those of PDEquinox: until the first training step is done, later steps, and steps within a loop.

    python benchmarks/convolutional.py [--rounds 3]

writes benchmarks/results/convolutional.{json,md}; `--dry` only prints. Some minutes a round on two cores.

Each network is made and trained in a process of its own, because what one compiles another need not, the networks in
turn and round after round: one field on 64 x 64 points, periodic, width 16, batch 8, Adam. "Within a loop" are ten
steps in one `jax.lax.scan`, as `pdejax.fit` has them and rollouts are. The networks are each package's own
of that name and width; they differ in size, and the number of their weights is beside them. `QUICK_COMPILATION` and
`QUICKEST_COMPILATION` are options of the compiler that `pdejax.fit` takes.
"""

import argparse
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _measuring import machine, spread

from pdejax.training import QUICK_COMPILATION, QUICKEST_COMPILATION

RESULTS = Path(__file__).parent / "results"
POINTS, WIDTH, BATCH, IN_LOOP = 64, 16, 8, 10
QUICK, QUICKEST = "pdejax with QUICK_COMPILATION", "pdejax with QUICKEST_COMPILATION"
NETWORKS = (
    "classic, pdejax",
    f"classic, {QUICK}",
    f"classic, {QUICKEST}",
    "classic, PDEquinox",
    "modern, pdejax",
    f"modern, {QUICK}",
    f"modern, {QUICKEST}",
    "modern, PDEquinox",
)
TIMES = ("made", "first_step", "later_step", "first_loop", "step_in_loop")


def network(name: str, key: Any) -> Any:
    kind, package = name.split(", ")
    if package == "PDEquinox":
        import pdequinox as pdeqx

        make = {"classic": pdeqx.arch.ClassicUNet, "modern": pdeqx.arch.ModernUNet}[kind]
        return make(2, 1, 1, hidden_channels=WIDTH, boundary_mode="periodic", key=key)
    from pdejax.models import ClassicUNet, UNet
    from pdejax.nn import Conditioning

    make = {"classic": ClassicUNet, "modern": UNet}[kind]
    return make(1, 1, 2, WIDTH, conditioning=Conditioning(periodic=True), key=key)


def seconds(function: Any, *arguments: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return time.perf_counter() - started, result


def measured(name: str) -> dict[str, float]:
    """One network, in this process, that has done nothing else."""
    key = jax.random.key(0)
    u = jax.block_until_ready(jax.random.normal(key, (BATCH, 1, POINTS, POINTS)))
    made, arrays = seconds(lambda: eqx.partition(network(name, key), eqx.is_inexact_array))
    weights, rest = arrays
    optimiser = optax.adam(1e-3)
    state = optimiser.init(weights)

    def loss(weights: Any) -> Any:
        model = eqx.combine(weights, rest)
        return jnp.mean((jax.vmap(lambda v: model(v))(u) - u) ** 2)

    def step(carry: Any, _: Any = None) -> tuple[Any, Any]:
        weights, state = carry
        value, gradient = jax.value_and_grad(loss)(weights)
        update, state = optimiser.update(gradient, state, weights)
        return (optax.apply_updates(weights, update), state), value

    options = {QUICK: QUICK_COMPILATION, QUICKEST: QUICKEST_COMPILATION}.get(name.split(", ")[1])
    alone = jax.jit(step, compiler_options=options)
    loop = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=IN_LOOP), compiler_options=options)
    first, (carry, _) = seconds(alone, (weights, state))
    later = float(np.median([seconds(alone, carry)[0] for _ in range(7)]))
    first_loop, _ = seconds(loop, carry)
    in_loop = float(np.median([seconds(loop, carry)[0] for _ in range(3)])) / IN_LOOP
    count = sum(leaf.size for leaf in jax.tree.leaves(weights))
    return {"weights": count} | dict(zip(TIMES, (made, first, later, first_loop, in_loop), strict=True))


def table(runs: dict[str, list[dict[str, float]]]) -> str:
    lines = [
        "| network | rounds | weights | made, s | first step, s | a later step, s | first loop, s | "
        "a step within a loop, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in runs.items():
        columns = []
        for each in TIMES:
            s = spread(np.array([run[each] for run in found]))
            columns.append(f"{s['median']:.2g} ({s['low']:.2g} - {s['high']:.2g})")
        lines.append(f"| {name} | {len(found)} | {found[0]['weights']:,} | {' | '.join(columns)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns")
    parser.add_argument("--network", choices=NETWORKS, help="measure this one alone, in this process")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    if options.network:
        print(json.dumps(measured(options.network)))
        return
    there = find_spec("pdequinox") is not None
    if not there:
        print("PDEquinox is not installed: pip install 'pdejax[peers]' for its networks")
    networks = [name for name in NETWORKS if there or "PDEquinox" not in name]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in networks}
    for _ in range(options.rounds):
        for name in networks:
            command = [sys.executable, __file__, "--network", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, runs[name][-1], flush=True)
        print(table(runs), flush=True)
        if not options.dry:
            # After every round: what was measured is not lost with what was not.
            write(runs)


def write(runs: dict[str, list[dict[str, float]]]) -> None:
    about = machine("equinox", "optax", *(("pdequinox",) if find_spec("pdequinox") else ()))
    (RESULTS / "convolutional.json").write_text(json.dumps({"machine": about, "runs": runs}, indent=1) + "\n")
    header = ", ".join(f"{key} {value}" for key, value in about.items())
    text = "# U-Nets beside those of PDEquinox\n\n"
    text += f"`python benchmarks/convolutional.py`, float32, {POINTS} x {POINTS} points, batch {BATCH}; medians "
    text += f"of the rounds, 10 % and 90 % quantiles; {header}.\n\n"
    (RESULTS / "convolutional.md").write_text(text + table(runs) + "\n")


if __name__ == "__main__":
    main()
