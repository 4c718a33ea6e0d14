"""Freed memory is kept: a step that was taken before asks the system for no page again."""

import os
import platform
import subprocess
import sys

COUNTED = """
import os, resource, sys
import pdejax as pj
import jax, jax.numpy as jnp
print(pj.keep_freed_memory() if sys.argv[1] == "kept" else None)

@jax.jit
def step(u):
    spread = jnp.stack([jnp.fft.fft(u * factor) for factor in range(1, 9)])
    return jnp.abs(jnp.fft.fft(spread, axis=-2)).sum(0)

u = jnp.ones((640, 640))
for _ in range(3):
    jax.block_until_ready(step(u))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    jax.block_until_ready(step(u))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 4)
"""


def told(how: str, **environment: str) -> tuple[str, float]:
    """What the function said in a process of its own, and how many pages a step was then given anew."""
    clean = {name: value for name, value in os.environ.items() if "MALLOC_" not in name and name != "GLIBC_TUNABLES"}
    clean |= {"JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run([sys.executable, "-c", COUNTED, how], env=clean, capture_output=True, text=True, check=True)
    said, pages = done.stdout.split()
    return said, float(pages)


def test_a_repeated_step_gets_its_memory_back():
    _, before = told("left")
    said, after = told("kept")
    assert said == str(platform.libc_ver()[0] == "glibc")
    if said == "True":
        # 50 MB of intermediate arrays are some 13000 pages.
        assert before > 5000 and after < before / 10


def test_a_process_with_settings_of_its_own_is_left_alone():
    said, _ = told("kept", MALLOC_ARENA_MAX="4")
    assert said == "False"
