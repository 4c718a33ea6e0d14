"""The same solutions on one device, on many simulated ones and in two processes."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Outflow

pytestmark = pytest.mark.first

ROOT = Path(__file__).resolve().parents[2]
SETTING = """
import json, sys
import diffrax, jax, jax.numpy as jnp, numpy as np
import pdejax as pj
from pdejax.boundary import Outflow, Robin
from pdejax.volumes import HLL, MUSCL, WENO

rng = np.random.default_rng(0)
plane = pj.Grid((32, 18), (3.0, 2 * np.pi))
vorticity = np.asarray(pj.initial.BandLimited(peak=3)(plane, key=jax.random.key(0)))
box = pj.Grid((16, 6, 5), 2 * np.pi)
x, y, z = box.coordinates()
vortex = np.stack([jnp.sin(x) * jnp.cos(y) * jnp.cos(z), -jnp.cos(x) * jnp.sin(y) * jnp.cos(z), 0.1 * jnp.sin(z)])
channel = pj.Grid((64, 9), (1.0, 2.0), periodic=(False, True), points=("nodes", "nodes"), origin=(0.5, 0.0))
walls = {"x-": lambda x, t: jnp.sin(3 * x[1] + t), "x+": Robin(1.0, 0.3, 0.5)}
basin = pj.Grid((64, 6), (1.0, 0.2), periodic=False)
ring = pj.Grid(64, 1.0, origin=0.2)
slope = np.sin(2 * np.pi * np.asarray(ring.coordinates())) + 0.3
slopes = slope[:, :, None] * np.linspace(0.5, 1.0, 6)
jump = pj.Grid((64, 9), (1.0, 2.0), origin=(0.2, 0.0))
layers = lambda x: jnp.where(x[0] > 0.9, 0.02, 0.01)

# Equation, discretisation of devices, initial state, step, solver, how many steps.
CASES = {
    "plane": (pj.equations.KolmogorovFlow(1e-2), lambda d: pj.Spectral(plane, devices=d), vorticity, 0.05, None, 40),
    "box": (pj.equations.Burgers(0.05), lambda d: pj.Spectral(box, devices=d), vortex, 0.05, pj.solvers.ETDRK2(), 20),
    "channel": (
        pj.equations.Burgers(0.05),
        lambda d: pj.FiniteDifference(channel, 4, walls, devices=d),
        0.1 * rng.normal(size=(2, 64, 9)), 5e-4, diffrax.Heun(), 20,
    ),
    "basin": (
        pj.equations.InviscidBurgers(),
        lambda d: pj.FiniteVolume(basin, MUSCL(), HLL(), {"x-": 0.5, "*": Outflow()}, devices=d),
        slopes, 2e-3, None, 20,
    ),
    "ring": (
        pj.equations.InviscidBurgers(), lambda d: pj.FiniteVolume(ring, WENO(5), HLL(), devices=d),
        slope, 2e-3, None, 40,
    ),
}

def stepper(name, devices):
    equation, reading, _, dt, solver, _ = CASES[name]
    return pj.TimeStepper(equation, reading(devices), dt, solver=solver)

def frames(name, devices):
    # The last of many, as a program and its result.
    many, steps = stepper(name, devices), CASES[name][5]
    u = CASES[name][2] if devices is None else devices.placed(CASES[name][2])
    program = jax.jit(lambda u: pj.rollout(many, u, steps)[-1]).lower(u).compile()
    return program, program(u)

def drawn(devices):
    law, reading = pj.equations.InviscidBurgers(), pj.FiniteVolume(ring, MUSCL(), HLL(), devices=devices)
    return pj.generate(
        pj.TimeStepper(law, reading, 2e-3), pj.initial.BandLimited(peak=3), num_samples=3, num_steps=4, chunk_size=2,
        key=jax.random.key(1), progress=False, dtype="float64", measure_error=0, store=ring.with_shape(16),
    ).u
"""
ON_MANY = (
    SETTING
    + """
CUTS = {"two": (1, 2), "eight": (1, 8), "uneven": (2, 4)}
results, programs = {}, {}
for name in CASES:
    results[name] = np.asarray(frames(name, None)[1])
for cut, name in (
    ("uneven", "plane"), ("eight", "box"), ("eight", "channel"), ("two", "basin"),
    ("eight", "ring"),
):
    program, found = frames(name, pj.Devices(*CUTS[cut]))
    results[f"{name} {cut}"], programs[f"{name} {cut}"] = np.asarray(found), program.as_text()

# A batch over `data`, and the gradient in what varies from sample to sample; by points, with fluxes and walls.
def loss(viscosities, states, devices):
    def one(viscosity, u):
        flow, reading = pj.equations.KolmogorovFlow(viscosity), pj.Spectral(plane, devices=devices)
        return jnp.sum(reading.tendency(flow, 0.0, u) ** 3)
    return jnp.sum(jax.vmap(one, spmd_axis_name=None if devices is None else "data")(viscosities, states))

def point_loss(viscosities, u, devices):
    moved = stepper("channel", devices).discretisation.tendency(pj.equations.Burgers(viscosities[0]), 0.3, u)
    spread = pj.FiniteDifference(jump, 2, devices=devices).tendency(
        pj.equations.HeterogeneousDiffusion(lambda x: jnp.where(x[0] > 0.9, 0.2, 0.1) * viscosities[1]), 0.0, u[:1]
    )
    return jnp.sum(moved**3) + jnp.sum(spread**3)

states = np.stack([vorticity, 2 * vorticity[:, ::-1]])
for name, function, u in (("batch", loss, states), ("points", point_loss, CASES["channel"][2])):
    for cut in (None, pj.Devices(2, 4)):
        placed = u if cut is None else cut.placed(u, batched=name == "batch")
        of = lambda v, u: function(v, u, cut)
        program = jax.jit(jax.value_and_grad(of, (0, 1))).lower(jnp.asarray([1e-2, 3e-2]), placed).compile()
        case = name if cut is None else name + " uneven"
        value, parts = program(jnp.asarray([1e-2, 3e-2]), placed)
        results[case], programs[case] = np.concatenate([np.ravel(x) for x in (value, *parts)]), program.as_text()

results["drawn"] = drawn(None)
np.savez(sys.argv[1] + "many.npz", **results)
with open(sys.argv[1] + "programs.json", "w") as file:
    json.dump(programs, file)
"""
)
IN_TWO_PROCESSES = (
    """
import sys
import jax
import pdejax as pj
pj.join_processes(sys.argv[2], 2, int(sys.argv[3]))
"""
    + SETTING
    + """
assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
devices = pj.Devices(1, 4)
plane = np.asarray(devices.gathered(frames("plane", devices)[1]))
np.savez(sys.argv[1] + sys.argv[3], plane=plane, drawn=drawn(pj.Devices(2, 2)))
"""
)


def started(script: str, *arguments: object, devices: int) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "default"}
    environment.pop("NPROC", None)  # devices that share one thread wait for each other
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], env=environment)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("solvers")
    assert started(ON_MANY, out / "on", devices=8).wait(200) == 0
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    two = [started(IN_TWO_PROCESSES, out / "process", address, each, devices=2) for each in range(2)]
    try:
        assert [each.wait(200) for each in two] == [0, 0]
    finally:
        for each in two:  # one waits for ever for another that failed
            each.kill()
            each.wait()
    with np.load(out / "onmany.npz") as many:
        found = dict(many)
    for each in range(2):
        with np.load(out / f"process{each}.npz") as process:
            found |= {f"{name} process{each}": values for name, values in process.items()}
    return found, json.loads((out / "onprograms.json").read_text())


CASES = [
    "plane uneven", "box eight", "channel eight", "basin two", "ring eight", "batch uneven",
    "points uneven", *(f"{name} process{each}" for name in ("plane", "drawn") for each in range(2)),
]  # fmt: skip


@pytest.mark.either
@pytest.mark.parametrize("case", CASES)
def test_any_number_of_devices_gives_the_same_solution(results, case):
    # Of "batch" and "points" rates, summed, and their gradients.
    found, expected = results[0][case], results[0][case.split()[0]]
    assert np.max(np.abs(expected)) > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.max(np.abs(expected)))


def sent(program: str) -> list[tuple[str, int]]:
    """The collectives of a program that a device sends through, and the bytes of its own operand of each."""
    found = []
    kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
    for result, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", program):
        arrays = re.findall(r"(f64|c128)\[([\d,]*)\]", result)
        sizes = {"f64": 8, "c128": 16}
        found.append(
            (kind, sum(sizes[d] * int(np.prod([int(n) for n in shape.split(",") if n])) for d, shape in arrays))
        )
    return found


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "scripts" / "scaling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.either
@pytest.mark.parametrize(
    ("case", "shape", "devices", "transforms"),
    [
        # The state into modes and back, and the force, once; in each of four stages velocity and gradient products of
        # Basdevant's form, two components each.
        ("plane uneven", (32, 18), 4, {1: 3, 2: 8}),
        # In each of two stages the velocity, its three derivatives and the sum of the products.
        ("box eight", (16, 6, 5), 8, {3: 2 + 2 * 5}),
    ],
)
def test_spectral_steps_hold_the_transforms_that_are_planned_and_nothing_else(
    results, scaling, case, shape, devices, transforms
):
    expected = Counter()
    for components, count in transforms.items():
        whole = scaling.transform_bytes(shape, components, devices, 8) * devices / (devices - 1)
        expected["all-to-all", round(whole)] += count
    assert Counter(sent(results[1][case])) == expected


@pytest.mark.either
@pytest.mark.parametrize(
    ("case", "halo"),
    [
        # A formula of order 4 reaches two points away, one more where the outermost point of a block is held.
        ("channel eight", {"reach": 3, "components": 2, "across": 9}),
        # Slopes of the neighbours, which look at theirs; and five cells for each edge.
        ("basin two", {"reach": 2, "components": 1, "across": 6}),
        ("ring eight", {"reach": 3, "components": 1, "across": 1}),
    ],
)
def test_stencils_exchange_the_halo_that_is_planned_and_nothing_else(results, scaling, case, halo):
    # The stages of a step are one loop, so that a program holds one exchange.
    size = halo["reach"] * halo["components"] * halo["across"] * 8
    assert sent(results[1][case]) == [("collective-permute", size)] * 2
    assert scaling.halo_bytes(halo["reach"], halo["components"], halo["across"], 8) == 2 * size


@pytest.mark.either
def test_no_device_holds_a_whole_state_or_spectrum(results):
    for case, shapes in {
        "plane uneven": ["32,18", "32,10", "32,12"],
        "box eight": ["16,6,5", "16,6,3", "16,8,3"],
        "channel eight": ["64,9"],
    }.items():
        held = re.findall(r"(?:f64|c128)\[(?:\d+,)*?(" + "|".join(shapes) + r")\]", results[1][case])
        # What a program is given may lie whole; coordinates of a box are made once, and are no state.
        assert not held, case


@pytest.mark.either
def test_a_batch_stays_cut_over_data(results):
    found = sent(results[1]["batch uneven"])
    # One sample on each device, and of the gradient in the viscosities numbers alone.
    largest = max(size for kind, size in found if kind == "all-to-all")
    assert largest == 2 * 16 * (32 // 4) * 12
    assert {kind for kind, _ in found} == {"all-to-all", "all-reduce"}
    assert max(size for kind, size in found if kind == "all-reduce") <= 16


def many(data: int, space: int, monkeypatch) -> pj.Devices:
    monkeypatch.setattr(jax, "devices", lambda: [None] * 8)
    return pj.Devices(data, space)


@pytest.mark.either
def test_what_cannot_be_cut_is_refused(monkeypatch):
    four = many(2, 4, monkeypatch)
    periodic, between = pj.Grid((32, 9), 1.0), pj.Grid((32, 9), 1.0, periodic=(False, True))
    for make, message in (
        (lambda: pj.Spectral(pj.Grid((30, 8), 1.0), devices=four), "30 points, which 4 .* do not divide: use 28 or 32"),
        (lambda: pj.Spectral(pj.Grid(32, 1.0), devices=four), "cut across two axes, and a grid of shape .* has one"),
        (lambda: pj.FiniteDifference(pj.Grid((33, 9), 1.0), devices=four), "33 points, which 4"),
        (
            lambda: pj.FiniteDifference(pj.Grid((32, 9), 1.0), 2, {"x": AntiPeriodic()}, devices=four),
            "here it is anti-periodic",
        ),
        (
            lambda: pj.FiniteDifference(
                pj.Grid((32, 9), 1.0, points=(pj.Stretched(pj.stretching.Sine(0.3)), "nodes")), devices=four
            ),
            "are equally far apart",
        ),
        (
            lambda: pj.FiniteDifference(between, 2, {"x-": np.ones(9), "x+": 0.0}, devices=four),
            "numbers or functions of",
        ),
        (
            lambda: pj.FiniteDifference(
                pj.Grid((32, 9), 1.0, periodic=(False, True), points="nodes"),
                2, 0.0, closure="summation by parts", devices=four,
            ),
            "has ghost values at its walls",
        ),
        (
            lambda: pj.TimeStepper(
                pj.equations.Burgers(0.1), pj.FiniteDifference(periodic, devices=four), 0.1, 1, pj.solvers.KenCarp4()
            ),
            "KenCarp4 solves for all points at once",
        ),
        (
            lambda: pj.FiniteDifference(
                pj.Grid((32, 20), 1.0, (False, True), points="nodes"), 8, 0.0, devices=many(1, 8, monkeypatch)
            ).tendency(pj.equations.Burgers(0.1), 0.0, jnp.ones((2, 32, 20))),
            "have 4 of the 32 points of the first axis each, and their neighbours need 5 of these: use no more than 6",
        ),
        (
            lambda: pj.FiniteDifference(periodic, devices=four).tendency(
                pj.equations.NavierStokesVorticity(0.1), 0.0, jnp.ones((1, 32, 9))
            ),
            "'stream_function' of NavierStokesVorticity solves a Poisson equation, which needs all points at once",
        ),
        (
            lambda: pj.FiniteVolume(between, boundary=Outflow(), devices=four).reach(pj.equations.VlasovPoisson()),
            "medium of VlasovPoisson depends on all cells",
        ),
        (
            lambda: pj.generate(
                pj.TimeStepper(pj.equations.Burgers(0.1), pj.Spectral(periodic, devices=four), 0.1),
                pj.initial.BandLimited(peak=2, num_channels=2), num_samples=2, num_steps=1, chunk_size=3,
                key=jax.random.key(0),
            ),
            "chunk_size is 3, which 2 devices along `data` do not divide: use 4",
        ),
        (lambda: four.placed(np.ones((2, 30, 9))), "30 points, which 4"),
        (lambda: four.placed(np.ones((3, 2, 32, 9)), batched=True), "batch_size is 3, which 2"),
        (lambda: four.placed(np.ones(32)), r"states of shape \(channel, \*space\), got \(32,\)"),
        (lambda: pj.join_processes("here:80", 2), "process_id is missing"),
        (lambda: pj.join_processes("here", 2, 0), "coordinator is host:port, .* got 'here'"),
        (lambda: pj.join_processes("here:80", 2, 2), "counts from 0 to num_processes - 1 = 1, got 2"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make()
