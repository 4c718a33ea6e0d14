import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pdejax.data import Trajectories
from pdejax.grid import Grid
from pdejax.nn import ChannelMap
from pdejax.training import Checkpoints, Derivative, OneStep, Supervised, TrainingDiverged, fit

RUN = """
import sys
import jax, numpy as np, optax
import pdejax as pj
from pdejax.nn import Modes

folder, num_steps, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(0)
rate = np.linspace(0.5, 0.9, 6)[:, None, None, None]
u = (rate ** np.arange(7)[:, None, None] * rng.normal(size=(6, 1, 2, 9))).astype(np.float32)
data = pj.Trajectories.from_arrays(u, pj.Grid(9, 1.0, dtype="float32"), ("u", "v"), np.arange(7.0))
model = pj.models.FNO(2, 2, 1, 3, 5, num_layers=2, key=jax.random.key(1))
fitted = pj.fit(
    model, pj.objectives.OneStep(), data, valid=data, valid_every=15, keep_best=True, ema_decay=0.9, batch_size=5,
    optimiser=optax.adamw(1e-3), num_steps=num_steps, key=jax.random.key(2), progress=False,
    checkpoints=pj.Checkpoints(folder, every=20),
)
leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((fitted.state, fitted.model)) if hasattr(leaf, "shape")]
names = ("step", "loss", "gradient_norm", "valid_loss")
np.savez(out, *leaves, **{name: fitted.log[name] for name in names}, devices=len(jax.devices()))
"""


def run(folder: Path, num_steps: int, out: Path, devices: int = 1) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-c", RUN, str(folder), str(num_steps), str(out)]
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(command, env=os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "0", "PYTHONPATH": root})


def finished_steps(folder: Path) -> list[int]:
    return sorted(int(each.name) for each in folder.glob("*") if each.name.isdigit())


@pytest.mark.either
def test_a_run_that_is_killed_goes_on_with_the_bits_of_one_that_was_not(tmp_path):
    killed = run(tmp_path / "killed", 10**7, tmp_path / "never.npz")
    deadline = time.monotonic() + 120
    while len(steps := finished_steps(tmp_path / "killed")) < 1 or steps[-1] < 40:
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    # Wherever it was stopped, in the middle of a write perhaps, one and a half intervals further.
    total = finished_steps(tmp_path / "killed")[-1] + 30
    for resumed in (
        run(tmp_path / "killed", total, tmp_path / "resumed.npz", devices=3),
        run(tmp_path / "whole", total, tmp_path / "whole.npz"),
    ):
        assert resumed.wait() == 0
    with np.load(tmp_path / "resumed.npz") as found, np.load(tmp_path / "whole.npz") as expected:
        assert found["devices"] == 3 and expected["devices"] == 1
        assert set(found) == set(expected) and len(found["step"]) == total
        for name in set(expected) - {"devices"}:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def pairs(num_samples=12, seed=0):
    inputs = np.random.default_rng(seed).normal(size=(num_samples, 2, 16)).astype(np.float32)
    return inputs, np.concatenate([inputs, inputs[:, :1] ** 2], axis=1)


class Mix(eqx.Module):
    layer: ChannelMap
    activation: object = eqx.field(static=True, default=jax.nn.gelu)

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.activation(self.layer(u))


def small(activation=jax.nn.gelu):
    return Mix(ChannelMap(2, 3, key=jax.random.key(0)), activation)


def options(folder, **given):
    return {
        "model": small(),
        "objective": Supervised(),
        "data": pairs(),
        "optimiser": optax.adam(1e-2),
        "num_steps": 6,
        "batch_size": 4,
        "key": jax.random.key(1),
        "progress": False,
        "checkpoints": Checkpoints(folder, every=2),
    } | given


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    fit(**options(folder))
    return folder


def test_the_newest_are_kept_and_a_run_that_is_done_is_returned(folder):
    assert finished_steps(folder) == [4, 6]
    whole = fit(**options(folder, checkpoints=None))
    again = fit(**options(folder, model=Mix(ChannelMap(2, 3, key=jax.random.key(9)))))
    assert again.state.step == 6 and eqx.tree_equal(whole.state, again.state)
    np.testing.assert_array_equal(whole.log["loss"], again.log["loss"])


def test_a_longer_run_goes_on_from_the_newest(folder):
    whole = fit(**options(folder, checkpoints=None, num_steps=9))
    # Two intervals apart from those of the run before; the folder stays as it is for the other tests.
    longer = fit(**options(folder, checkpoints=Checkpoints(folder, every=100, keep=3), num_steps=9))
    assert finished_steps(folder) == [4, 6, 9]
    assert eqx.tree_equal(whole.state, longer.state)
    assert list(longer.log["step"]) == list(range(1, 10))
    assert np.all(np.diff(longer.log["seconds"]) >= 0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": Mix(ChannelMap(2, 3, key=jax.random.key(0)), jnp.tanh)}, "another model: pass the model and `norm"),
        ({"normalise": False}, "another model"),
        ({"optimiser": optax.sgd(1e-2, momentum=0.9)}, "another optimiser: pass the optimiser of that run"),
        ({"key": jax.random.key(2)}, "another key: pass the key of that run, which decides the order of the data"),
        ({"data": pairs(seed=1)}, "another set of data: pass the data"),
        ({"frozen": lambda model: model.layer.bias}, "another choice of frozen parts: pass the `frozen`"),
        ({"keep_best": True, "valid": pairs(seed=2)}, "another choice of keeping the best: pass `keep_best`"),
        ({"num_steps": 5}, "holds a run that took 9 steps, beyond num_steps=5"),
        ({"batch_size": 5}, r"another batch_size \(4, and not 5\)"),
        ({"ema_decay": 0.5}, r"another ema_decay \(None, and not 0.5\)"),
        ({"objective": Supervised(loss=lambda a, b: jnp.mean((a - b) ** 2))}, "another objective"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(folder, other, message):
    with pytest.raises(ValueError, match=message):
        fit(**options(folder, **other))


@pytest.mark.parametrize(("written", "message"), [(1, "finish it with the pdejax that began it"), (3, "update pdejax")])
def test_a_checkpoint_of_another_format_is_refused(tmp_path, monkeypatch, written, message):
    with monkeypatch.context() as patched:
        patched.setattr("pdejax.training.checkpoints._FORMAT_VERSION", written)
        fit(**options(tmp_path, num_steps=2))
    with pytest.raises(ValueError, match=message):
        fit(**options(tmp_path, num_steps=4))


def test_other_parameters_of_the_trajectories_are_other_data(tmp_path):
    def run(rate):
        parameters = {"rate": np.array([0.5, rate], np.float32)}
        data = SimpleNamespace(u=np.ones((2, 4, 2, 8), np.float32), grid=None, parameters=parameters)
        model = Mix(ChannelMap(2, 2, key=jax.random.key(0)))
        return fit(**options(tmp_path, model=model, objective=OneStep(), data=data, num_steps=1, normalise=False))

    assert run(0.3).state.step == run(0.3).state.step == 1
    with pytest.raises(ValueError, match="another set of data: pass the data"):
        run(0.4)


@pytest.mark.parametrize("changed", [{"interval": 0.7}, {"extent": 3.0}])
def test_other_times_or_another_box_are_other_data(tmp_path, changed):
    def run(interval=0.1, extent=2.0):
        u = np.random.default_rng(0).normal(size=(2, 5, 2, 8)).astype(np.float32)
        grid, times = Grid((8,), extent, dtype=np.float32), interval * np.arange(5)
        data = Trajectories(u, grid, times, ("u", "v"), ("", ""), {}, {})
        model = Mix(ChannelMap(2, 2, key=jax.random.key(0)))
        return fit(**options(tmp_path, model=model, objective=Derivative(2), data=data, num_steps=1))

    run()
    with pytest.raises(ValueError, match="another set of data"):
        run(**changed)


def test_a_finished_run_returns_again_what_it_returned(tmp_path):
    """Its last score belongs to its end alone: no multiple of `valid_every`, and the best of all."""
    given = {"valid": pairs(seed=2), "valid_every": 4, "keep_best": True, "num_steps": 6}
    first = fit(**options(tmp_path, **given))
    assert first.log["valid_loss"][5] < first.log["valid_loss"][3] and int(first.state.best.step) == 4
    again = fit(**options(tmp_path, **given))
    assert eqx.tree_equal(first.model, again.model) and eqx.tree_equal(first.state, again.state)


def test_a_run_that_diverges_names_its_last_checkpoint(tmp_path):
    rising = optax.sgd(lambda count: jnp.where(count == 4, jnp.inf, 1e-3))
    with pytest.raises(TrainingDiverged, match="Step 5: .*the last checkpoint in .* is that of step 4"):
        fit(**options(tmp_path, optimiser=rising, num_steps=20))
    assert finished_steps(tmp_path) == [2, 4]


def test_a_state_and_a_folder_are_not_both_resumed(folder):
    with pytest.raises(ValueError, match="`resume` or `checkpoints`, and not both"):
        fit(**options(folder, resume=fit(**options(folder, num_steps=9)).state))
    with pytest.raises(ValueError, match="every must be >= 1, got 0"):
        Checkpoints(folder, every=0)
