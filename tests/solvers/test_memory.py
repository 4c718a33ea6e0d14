"""Memory that is known before the run."""

import ctypes
import gc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Burgers
from pdejax.solvers import ETDRK2
from pdejax.solvers import memory as memory_of
from pdejax.solvers.memory_use import free_memory, readable, solve_bytes


def peak(run):
    """Bytes by which the process grows at most while `run()` goes on, by the kernel; None where that does not say."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    # What earlier tests have freed and the allocator keeps would be used again, and nothing grow.
    gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    read = lambda name: next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if name in line)  # noqa: E731
    try:
        reset.write_text("5")
        before = read("VmRSS")
    except OSError:
        return None
    run()
    return read("VmHWM") - before


@pytest.mark.either
def test_the_estimate_is_within_a_factor_of_two_of_what_is_measured():
    grid = pj.Grid((256, 192), (2 * np.pi, 5.0), dtype=jnp.float32)
    times = np.linspace(0, 0.1, 61)
    reading = pj.Spectral(grid)
    solve = jax.jit(lambda u: pj.solve(Burgers(0.1), reading, u, times, dt=1.0, solver=ETDRK2()).u)
    u0 = jnp.zeros((2, *grid.shape), jnp.float32).at[:, 3:30].set(0.1)
    estimate = memory_of(solve, u0)
    jax.block_until_ready(solve(u0))  # compiled here, so that the compiler's own memory is not counted
    measured = peak(lambda: jax.block_until_ready(solve(u0)))
    frames, working = solve_bytes(Burgers(0.1), reading, ETDRK2(), 61)
    assert estimate.results == u0.nbytes * 61
    assert frames + working < 2 * estimate.total and estimate.total < 3 * (frames + working)
    assert measured is None or estimate.total / 2 < measured < 2 * estimate.total, (str(estimate), readable(measured))


def test_what_cannot_fit_is_refused_with_the_figure_and_the_fix(monkeypatch):
    assert free_memory() is None or free_memory() > 1e6
    grid = pj.Grid(64, 1.0, dtype=jnp.float32)
    u0, times = jnp.zeros((1, 64), jnp.float32), np.linspace(0, 1, 1001)
    monkeypatch.setattr("pdejax.solvers.memory_use.free_memory", lambda: 400_000)
    # 1001 frames of 64 values of 4 bytes, and of 33 coefficients of 8.
    with pytest.raises(MemoryError, match=r"1001 frames \(521 kB\).*400 kB are free. Save fewer times"):
        pj.solve(Burgers(0.1), pj.Spectral(grid), u0, times)
    stepper = pj.TimeStepper(Burgers(0.1), pj.Spectral(grid), 0.1)
    options = {"num_samples": 20, "num_steps": 99, "key": jax.random.key(0), "measure_error": 0, "progress": False}
    with pytest.raises(MemoryError, match=r"20 trajectories of 100 frames \(512 kB\).*path="):
        pj.generate(stepper, pj.initial.SumOfSines(), **options)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1_234_000, "1.23 MB"), (5 * 10**15, "5e+03 TB")]
)
def test_bytes_are_readable(count, text):
    assert readable(count) == text
