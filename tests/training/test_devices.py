"""The same fit on one device, on eight simulated ones and in two processes."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import optax
import pytest

from pdejax.models import FNO
from pdejax.training import Devices, Supervised, fit

pytestmark = pytest.mark.first

SETTING = """
import json, re, sys
import equinox as eqx, jax, numpy as np, optax
import pdejax as pj

rng = np.random.default_rng(0)
rate = np.linspace(0.5, 0.9, 6)[:, None, None, None, None]
u = (rate ** np.arange(7)[:, None, None, None] * rng.normal(size=(6, 1, 2, 8, 9))).astype(np.float32)
data = pj.Trajectories.from_arrays(u, pj.Grid((8, 9), 1.0, dtype="float32"), ("u", "v"), np.arange(7.0))
model = pj.models.FNO(2, 2, 2, 3, 8, num_layers=2, key=jax.random.key(1))

def run(devices, num_steps=24, **given):
    return pj.fit(
        model, pj.objectives.OneStep(), data, valid=data, keep_best=True, ema_decay=0.9, batch_size=8,
        optimiser=optax.adam(1e-3), num_steps=num_steps, key=jax.random.key(2), progress=False, devices=devices, **given
    )

def weights(fitted):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(fitted.model, eqx.is_array))]
"""
ON_ONE = SETTING + "np.savez(sys.argv[1], *weights(f := run(None)), loss=f.log['loss'], valid=f.log['valid_loss'])"
ON_EIGHT = (
    SETTING
    + """
from pdejax.training.dataset import device_data
from pdejax.training.normalising import normalised
from pdejax.training.state import initial_state, optimised
from pdejax.training.steps import Carry, compiled_steps

def program(devices):
    whole, adam = normalised(model, data, 2), optax.with_extra_args_support(optax.adam(1e-3))
    flags = optimised(whole, None, lambda tree: tree)
    parameters, rest = eqx.partition(whole, flags)
    state = initial_state(whole, flags, adam, 0.9, False)
    carry = devices.kept(Carry(parameters, state.optimiser_state, state.average, state.average_weight))
    placed = devices.whole(device_data("data", data, 2, 8, whole))
    steps = compiled_steps(pj.objectives.OneStep(), adam, rest, 8, 0.9, 10, devices)
    return steps.lower(carry, placed, devices.whole(jax.random.key(0))).compile().compiled.as_text()

# On eight devices first, then on with the checkpoint of these on four, and on one.
folder = sys.argv[1] + ".checkpoints"
for steps, devices in ((8, pj.Devices(8, shard_weights=True)), (16, pj.Devices(4)), (24, None)):
    restored = run(devices, steps, checkpoints=pj.Checkpoints(folder, every=8), valid_every=3)
np.savez(sys.argv[1] + "restored.npz", *weights(restored), loss=restored.log["loss"], valid=restored.log["valid_loss"])
cases = {"two": pj.Devices(2), "data": pj.Devices()}
cases |= {"weights": pj.Devices(8, shard_weights=True), "space": pj.Devices(2, 4)}
programs = {}
for name, devices in cases.items():
    fitted = run(devices)
    np.savez(sys.argv[1] + name + ".npz", *weights(fitted), loss=fitted.log["loss"], valid=fitted.log["valid_loss"])
    programs[name] = program(devices)
with open(sys.argv[1] + "programs.json", "w") as file:
    json.dump(programs, file)
"""
)
IN_TWO_PROCESSES = (
    """
import sys, jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
# Programs of a CPU that start side by side meet in another order in the other process.
jax.config.update("jax_cpu_enable_async_dispatch", False)
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
"""
    + SETTING
    + """
assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
fitted = run(pj.Devices(shard_weights=True))
np.savez(sys.argv[1] + sys.argv[3], *weights(fitted), loss=fitted.log["loss"], valid=fitted.log["valid_loss"])
"""
)


def started(script: str, *arguments: object, devices: int = 1) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "0", "PYTHONPATH": root, "JAX_PLATFORMS": "cpu"}
    environment.pop("NPROC", None)  # devices that share one thread wait for each other
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], env=environment)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("devices")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    one = started(ON_ONE, out / "one.npz")
    assert one.wait(100) == 0
    two = [started(IN_TWO_PROCESSES, out / "process", address, each, devices=2) for each in range(2)]
    try:
        assert [each.wait(100) for each in two] == [0, 0]
    finally:
        for each in two:  # one waits for ever for another that failed
            each.kill()
            each.wait()
    assert started(ON_EIGHT, out / "eight", devices=8).wait(100) == 0
    return out


def same_to_rounding(found_in: Path, expected_in: Path) -> None:
    with np.load(found_in) as found, np.load(expected_in) as expected:
        assert set(found) == set(expected)
        for name in set(expected) - {"valid"}:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
        # Scored at other steps, perhaps, but after the last one in any case.
        np.testing.assert_allclose(found["valid"][-1], expected["valid"][-1], rtol=1e-4)


@pytest.mark.either
@pytest.mark.parametrize(
    "case", ["eighttwo", "eightdata", "eightweights", "eightspace", "eightrestored", "process0", "process1"]
)
def test_any_number_of_devices_gives_the_same_weights_and_losses(results, case):
    same_to_rounding(results / f"{case}.npz", results / "one.npz")


@pytest.mark.either
def test_a_step_holds_only_the_collectives_that_are_planned(results):
    def collectives(program: str) -> Counter:
        kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
        return Counter(re.findall(rf"\b({kinds})(?:-start)?\(", program))

    found = {name: collectives(each) for name, each in json.loads((results / "eightprograms.json").read_text()).items()}
    # One of the gradient's real arrays with the loss, one of its complex ones.
    assert found["data"] == {"all-reduce": 2}
    # Fourteen arrays of weights, of which each but the last bias, of two numbers, is gathered; whether all are finite
    # is one more sum.
    assert found["weights"] == {"all-gather": 13, "all-reduce": 3}
    # The sums of the gradient, of which that of the axis `space` is its own, and the kept coefficients of two layers,
    # forwards and backwards.
    assert found["space"] == {"all-reduce": 3 + 4}


@pytest.mark.either
def test_they_sum_and_gather_as_many_bytes_as_are_planned(results):
    spec = importlib.util.spec_from_file_location("scaling", Path(__file__).parents[2] / "scripts" / "scaling.py")
    scaling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scaling)
    programs = json.loads((results / "eightprograms.json").read_text())

    def operands(program: str, kind: str) -> list[int]:
        sizes = {"f32": 4, "c64": 8}
        found = []
        for result in re.findall(rf"= (.*?) {kind}(?:-start)?\(", program):
            arrays = re.findall(r"(f32|c64)\[([\d,]*)\]", result)
            found.append(sum(sizes[d] * int(np.prod([int(n) for n in shape.split(",") if n])) for d, shape in arrays))
        return found

    model = FNO(2, 2, 2, 3, 8, num_layers=2, key=jax.random.key(1))
    weights = 4 * sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    assert sum(operands(programs["data"], "all-reduce")) == scaling.gradient_operand(weights)
    assert sum(operands(programs["weights"], "all-gather")) == weights - 2 * 4  # all but the last bias
    # Width 8, 3 modes per axis, batches of 8 over two.
    coefficients = [scaling.kept_modes_operand(8, (3, 3), 8 // 2, 4)] * 4
    sent = operands(programs["space"], "all-reduce")
    assert sent[:2] == coefficients[:2]
    # Backwards XLA may send them together with sums of the gradient.
    assert all(found >= expected for found, expected in zip(sent[2:4], coefficients[2:], strict=True))


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.gain * u


def test_what_cannot_be_cut_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"Devices\(data=1000, space=1\) are 1000 devices but there are \d+"):
        Devices(1000)
    monkeypatch.setattr(jax, "devices", lambda: [None] * 8)
    inputs = np.ones((12, 2, 10), np.float32)
    options = {"optimiser": optax.sgd(0.1), "num_steps": 1, "key": jax.random.key(0), "progress": False}
    for devices, message in (
        (Devices(), "batch_size is 6, which 8 devices along `data` do not divide: use 8,"),
        (Devices(4), "use 4 or 8,"),
        (Devices(2, 4), "first axis of space has 10 points, which 4 devices along `space` do not divide"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(Gain(1.0), Supervised(), (inputs, inputs), batch_size=6, devices=devices, **options)
