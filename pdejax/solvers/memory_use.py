"""How much memory a program takes, before it runs."""

import dataclasses
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.equations import Equation
from pdejax.solvers.semilinear import AbstractSemilinearSolver
from pdejax.solvers.terms import Space, encoded, terms_for

_TOLD_IN = ("/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a compiled program, by the compiler's own account.

    - `arguments`: what it is given, and what is built into it; `results`: what it returns; `working`: what it needs
      beside them while it runs: solver stages, coefficients, checkpoints of an adjoint.
    """

    arguments: int
    results: int
    working: int

    @property
    def total(self) -> int:
        return self.arguments + self.results + self.working

    def __str__(self) -> str:
        parts = ", ".join(f"{readable(getattr(self, name))} {name}" for name in ("arguments", "results", "working"))
        return f"{readable(self.total)} ({parts})"


def memory(program: Any, *args: Any) -> Memory:
    """What `program(*args)` takes once compiled: nothing is run, and of the arguments only shapes count.

        memory(lambda u: pj.solve(equation, reading, u, times).u, u0)           # a solve, whatever its options
        memory(jax.grad(lambda u: loss(pj.solve(equation, reading, u, times).u)), u0)      # checkpoints included
        memory(lambda u: pj.rollout(stepper, u, 100), u0)                       # a stepper

    Raises `TypeError` for a value in the place of the function.

    Arrays that `program` closes over are counted among the arguments. Compiling takes as long as it does before the
    first run; the compiler's account leaves out its own memory and what the transforms of a library set aside.
    """
    if not callable(program):
        raise TypeError(f"memory(program, *args) takes a function first, got a {type(program).__name__}.")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), args)
    analysis: Any = jax.jit(program).lower(*shapes).compile().memory_analysis()
    constants = getattr(analysis, "generated_code_size_in_bytes", 0)
    return Memory(
        analysis.argument_size_in_bytes + constants,
        analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        analysis.temp_size_in_bytes,
    )


def free_memory() -> int | None:
    """Bytes that the default device has left, or None where it does not say."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        statistics = device.memory_stats() or {}
        limit = statistics.get("bytes_limit")
        return None if limit is None else int(limit - statistics.get("bytes_in_use", 0))
    # What is there is asked: Linux has the first, control groups that limit a process the others.
    available, limit, used = map(Path, _TOLD_IN)
    found = []
    if available.is_file():
        lines = available.read_text().splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()).isdigit():
        found.append(int(most) - int(used.read_text()))
    return max(0, min(found)) if found else None


def check_memory(equation: Equation, space: Space, solver: diffrax.AbstractSolver, num_frames: int) -> None:
    """Raises `MemoryError` where the frames of a solve, and what its steps work on, exceed the free memory.

    From shapes alone, and as little as it can be: what is refused could not have run.
    """
    # To ask for the shapes of what the steps work on takes a trace, longer than many a small solve: not where there is
    # room for any. Factors of banded lines take about a hundred states, coupled linear parts one per component.
    num_components, free = len(equation.components(space.grid.ndim)), free_memory()
    state = num_components * int(np.prod(space.grid.shape)) * space.grid.dtype.itemsize
    if free is None or (3 * num_frames + 1000 * num_components) * state < free:
        return
    frames, working = solve_bytes(equation, space, solver, num_frames)
    refuse_more_than_free(
        frames + working,
        f"This solve holds {num_frames} frames ({readable(frames)}) and {readable(working)} for its steps",
        "Save fewer times, solve piece by piece (resume=), or take a coarser grid or a float32 one.",
    )


def solve_bytes(equation: Equation, space: Space, solver: diffrax.AbstractSolver, num_frames: int) -> tuple[int, int]:
    """Bytes of the frames of a solve, as stepped and as returned, and of what its steps work on: on one device."""
    grid = space.grid
    u = jax.ShapeDtypeStruct((len(equation.components(grid.ndim)), *grid.shape), grid.dtype)
    scalar = jax.ShapeDtypeStruct((), grid.dtype)
    y = eqx.filter_eval_shape(lambda t, u: encoded(space, equation, t, u), scalar, u)
    if isinstance(solver, AbstractSemilinearSolver):

        def working(t: Any, y: Any) -> Any:
            terms = terms_for(solver, equation, space, t)
            return solver.coefficients(terms.linear, t), solver.start(terms, t, y)

        held = num_bytes(eqx.filter_eval_shape(working, scalar, y)) + 2 * num_bytes(y)
    else:
        tableau: Any = getattr(solver, "tableau", None)
        stages = len(tableau.b_sol) if isinstance(solver, diffrax.AbstractERK) else 1
        held = (stages + 2) * num_bytes(y)
    devices = getattr(space, "devices", None)
    parts = 1 if devices is None else devices.space
    return num_frames * (num_bytes(u) + num_bytes(y)) // parts, held // parts


def refuse_more_than_free(needed: int, what: str, fix: str) -> None:
    """Raises `MemoryError` where `needed` bytes are more than there are."""
    free = free_memory()
    if free is not None and needed > free:
        raise MemoryError(f"{what}: {readable(needed)} in all, and {readable(free)} are free. {fix}")


def num_bytes(tree: Any) -> int:
    """Of all arrays in a pytree, or of their shapes."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in leaves)


def readable(count: int) -> str:
    """A number of bytes in units of two or three digits."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
