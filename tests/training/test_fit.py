import csv
import json
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pdejax.data import Trajectories
from pdejax.grid import Grid
from pdejax.models import FNO, Normalised, Statistics
from pdejax.nn import ChannelMap
from pdejax.training import (
    QUICK_COMPILATION,
    QUICKEST_COMPILATION,
    OneStep,
    RelativeL2,
    Supervised,
    TrainingDiverged,
    fit,
)


class Gain(eqx.Module):
    """`u -> gain u`: one parameter, so that every step can be written down."""

    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.gain * u


class Advance(eqx.Module):
    """A state that needs the right trajectory's parameter: `u -> gain * rate * u`."""

    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.gain * parameters["rate"].astype(u.dtype) * u


def decaying(num_samples=6, num_frames=5, dtype=np.float32):
    """`u_{j+1} = rate u_j` on 8 points, another rate and amplitude for every trajectory."""
    rate = np.linspace(0.5, 0.9, num_samples)
    shape = 1 + 0.5 * np.sin(2 * np.pi * np.arange(8) / 8)
    times = np.arange(num_frames)
    u = (
        (1 + np.arange(num_samples))[:, None, None, None]
        * rate[:, None, None, None] ** times[None, :, None, None]
        * shape
    )
    grid = Grid(8, 1.0, dtype=jnp.float32)
    return SimpleNamespace(u=u.astype(dtype), grid=grid, parameters={"rate": rate.astype(np.float32)})


def pairs(num_samples=12, dtype=np.float32):
    inputs = np.random.default_rng(0).normal(size=(num_samples, 2, 16)).astype(dtype)
    return inputs, np.concatenate([inputs, inputs[:, :1] ** 2], axis=1)


class Mix(eqx.Module):
    """A matrix of channels at every point: weights of a shape, and quick to compile."""

    layer: ChannelMap
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.layer(u)


def small(key=0, in_channels=2, out_channels=3):
    return Mix(ChannelMap(in_channels, out_channels, key=jax.random.key(key)), in_channels, out_channels)


def options(**given):
    return {
        "optimiser": optax.adam(1e-2),
        "num_steps": 6,
        "batch_size": 4,
        "key": jax.random.key(1),
        "progress": False,
    } | given


def test_plain_descent_follows_its_own_recursion():
    data = decaying()
    inputs = data.u[:, :-1].reshape(-1, 1, 8)
    targets = data.u[:, 1:].reshape(-1, 1, 8)
    # The whole set in every batch: the loss is a known parabola in the gain, whatever the order of the samples.
    fitted = fit(
        Gain(jnp.float32(2.0)),
        Supervised(),
        (inputs, targets),
        **options(optimiser=optax.sgd(0.01), batch_size=len(inputs), normalise=False, ema_decay=0.8),
    )
    gain, average, losses = 2.0, 0.0, []
    for _ in range(6):
        losses.append(np.mean((gain * inputs - targets) ** 2))
        gain -= 0.01 * np.mean(2 * (gain * inputs - targets) * inputs)
        average = 0.8 * average + 0.2 * gain
    np.testing.assert_allclose(fitted.log["loss"], losses, rtol=1e-5)
    assert float(fitted.state.model.gain) == pytest.approx(gain, rel=1e-5)
    assert float(fitted.model.gain) == pytest.approx(average / (1 - 0.8**6), rel=1e-5)
    assert list(fitted.log["step"]) == [1, 2, 3, 4, 5, 6]


def test_windows_go_with_the_parameters_of_their_trajectory():
    fitted = fit(
        Advance(jnp.float32(0.3)),
        OneStep(loss=RelativeL2()),
        decaying(),
        **options(optimiser=optax.adam(optax.linear_schedule(0.05, 0.0, 150)), num_steps=150, normalise=False),
    )
    assert float(fitted.model.gain) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(ema_decay):
    data = pairs()
    whole = fit(small(), Supervised(), data, **options(num_steps=10, ema_decay=ema_decay, steps_per_call=3))
    begun = fit(small(), Supervised(), data, **options(num_steps=5, ema_decay=ema_decay, steps_per_call=3))
    resumed = fit(
        small(key=9),
        Supervised(),
        data,
        **options(num_steps=5, ema_decay=ema_decay, steps_per_call=3, resume=begun.state),
    )
    assert eqx.tree_equal(whole.state, resumed.state)
    assert eqx.tree_equal(whole.model, resumed.model)
    np.testing.assert_array_equal(whole.log["loss"][5:], resumed.log["loss"])
    assert list(resumed.log["step"]) == [6, 7, 8, 9, 10]


def test_another_key_draws_other_batches():
    first = fit(small(), Supervised(), pairs(), **options(num_steps=3))
    second = fit(small(), Supervised(), pairs(), **options(num_steps=3, key=jax.random.key(2)))
    assert not np.array_equal(first.log["loss"], second.log["loss"])


def test_the_normalisation_is_that_of_the_data_and_no_optimiser_moves_it():
    data = pairs()
    strong = optax.adamw(1e-2, weight_decay=10.0)
    model = fit(small(), Supervised(), data, **options(optimiser=strong, ema_decay=0.9)).model
    for statistics, values in ((model.input, data[0]), (model.output, data[1])):
        np.testing.assert_allclose(statistics.mean, values.mean((0, 2)), atol=1e-6)
        np.testing.assert_allclose(statistics.std, values.std((0, 2)), rtol=1e-5)
    assert not model.residual


def test_an_objective_in_time_predicts_standardised_increments():
    data = decaying()
    model = fit(small(0, 1, 1), OneStep(), data, **options(num_steps=1)).model
    assert model.residual
    np.testing.assert_allclose(model.output.mean, np.mean(np.diff(data.u, axis=1)), rtol=1e-5)
    np.testing.assert_allclose(model.output.std, np.std(np.diff(data.u, axis=1)), rtol=1e-5)
    assert float(model.parameters["rate"].std) == pytest.approx(np.std(data.parameters["rate"]), rel=1e-5)


def test_persistence_has_a_mean_square_loss_near_one():
    data = decaying()
    increments = np.diff(data.u, axis=1)
    model = Normalised(Gain(jnp.float32(0.0)), Statistics([0.0], [1.0]), Statistics([0.0], [increments.std()]), True)
    expected = np.mean(increments**2) / increments.std() ** 2
    log = fit(model, OneStep(), data, **options(num_steps=1, batch_size=24, normalise=False)).log
    assert log["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.float64
def test_data_in_double_precision_and_a_model_in_single():
    fitted = fit(
        FNO(2, 3, 1, 3, 4, num_layers=1, key=jax.random.key(0)), Supervised(), pairs(dtype=np.float64), **options()
    )
    leaves = jax.tree.leaves(eqx.filter(fitted.model.model, eqx.is_array))
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}
    assert fitted.model(jnp.zeros((2, 16))).dtype == jnp.float64


def test_optimisers_that_look_at_the_loss_are_served():
    lbfgs = fit(small(), Supervised(), pairs(), **options(optimiser=optax.lbfgs(), num_steps=5, batch_size=12))
    assert lbfgs.log["loss"][-1] < 0.8 * lbfgs.log["loss"][0]


def test_a_diverging_run_names_the_step_and_keeps_the_last_finite_model(tmp_path):
    data = decaying()
    inputs, targets = data.u[:, 0], data.u[:, 1]

    def loss(prediction, target):  # finite while the gain is positive; the third step makes it negative
        return jnp.sqrt(jnp.mean(prediction / target))

    rising = optax.sgd(lambda count: jnp.where(count == 2, 10.0, 0.01))
    with pytest.raises(TrainingDiverged, match="Step 4: the loss is nan") as error:
        fit(
            Gain(jnp.float32(2.0)),
            Supervised(loss=loss),
            (inputs, targets),
            **options(optimiser=rising, num_steps=20, batch_size=6, normalise=False, log_path=tmp_path / "log.csv"),
        )
    fitted = error.value.fitted
    assert np.isfinite(fitted.model.gain) and float(fitted.model.gain) < 0
    assert fitted.state.step == 3
    assert (tmp_path / "log.csv").read_text().count("\n") == 5


def test_the_log_is_written_with_its_validations(tmp_path):
    path, other = tmp_path / "log.csv", tmp_path / "log.jsonl"
    fitted = fit(small(), Supervised(), pairs(), **options(num_steps=5, valid=pairs(7), valid_every=2, log_path=path))
    assert list(np.isfinite(fitted.log["valid_loss"])) == [False, True, False, True, True]
    fitted.log.write(other)
    with open(path) as file, open(other) as lines:
        written = [list(csv.DictReader(file)), [json.loads(line) for line in lines]]
    for rows in written:
        assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5]
        np.testing.assert_allclose([float(row["loss"]) for row in rows], fitted.log["loss"])
        assert [row.get("valid_loss") not in (None, "") for row in rows] == [False, True, False, True, True]


def test_the_validation_is_the_loss_of_the_model_that_is_returned():
    valid = pairs(8)
    fitted = fit(small(), Supervised(), pairs(), **options(valid=valid, ema_decay=0.7))
    prediction = np.asarray(jax.jit(jax.vmap(lambda u: fitted.model(u)))(valid[0]))
    scale = np.asarray(fitted.model.output.std)[:, None]
    expected = np.mean(((prediction - valid[1]) / scale) ** 2)
    assert fitted.log["valid_loss"][-1] == pytest.approx(expected, rel=1e-5)


def test_the_callers_model_survives_the_donated_buffers():
    model = small()
    before = jax.tree.map(np.array, eqx.filter(model, eqx.is_array))
    begun = fit(model, Supervised(), pairs(), **options(num_steps=2))
    fit(model, Supervised(), pairs(), **options(num_steps=2, resume=begun.state))
    assert eqx.tree_equal(before, jax.tree.map(np.array, eqx.filter(model, eqx.is_array)))
    assert jax.tree.all(jax.tree.map(lambda a: np.all(np.isfinite(a)), eqx.filter(begun.state.model, eqx.is_array)))


def broken_trajectories():
    data = decaying()
    data.u[3, 2, 0, 5] = np.nan
    return data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps must be >= 1, got 0"),
        ({"batch_size": 25}, "batch_size is 25 but `data` holds 24 windows of 2 frames; use batch_size <= 24"),
        ({"data": decaying(num_frames=1)}, "needs 2 consecutive frames but the trajectories of `data` have 1"),
        ({"valid": decaying(num_frames=1)}, "trajectories of `valid` have 1"),
        ({"model": small(0, 2, 1)}, "in_channels=2 but `data` has 1 channels"),
        ({"model": small(0, 1, 2)}, "out_channels=2 but `data` has 1 channels"),
        ({"data": broken_trajectories()}, "The states of `data` have a value that is not finite in sample 3, frame 2"),
        ({"data": pairs()}, r"use Supervised\(\)"),
        ({"objective": Supervised()}, r"use OneStep\(\)"),
        ({"ema_decay": 1.0}, "0 <= ema_decay < 1, got 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    given = {"model": small(0, 1, 1), "objective": OneStep(), "data": decaying()} | options() | arguments
    with pytest.raises(ValueError, match=message):
        fit(given.pop("model"), given.pop("objective"), given.pop("data"), **given)


class Bare(eqx.Module):
    """A model as a newcomer writes it, without the arguments that all models take."""

    gain: jax.Array

    def __call__(self, u):
        return self.gain * u


def split_data():
    data = Trajectories.from_arrays(decaying().u, Grid(8, 1.0, dtype=jnp.float32), ("u",), np.arange(5.0))
    return data.split(train=4, valid=1, test=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": split_data()}, r"`data` is a Split.* pass split.train \(Trajectories\)"),
        ({"valid": split_data()}, r"`valid` is a Split.* pass split.valid \(Trajectories\)"),
        ({"data": np.ones((6, 5, 1, 8))}, r"`data` is a ndarray: pass Trajectories, e.g. split.train"),
        ({"optimiser": "adam"}, r"optimiser=optax.adam\(1e-3\), got 'adam'"),
        ({"optimiser": optax.adam}, r"optimiser=optax.adam\(1e-3\), got adam, which is not called"),
        ({"objective": OneStep}, r"got the class OneStep: pass OneStep\(\)"),
        ({"objective": "mse"}, r"e.g. OneStep\(\) or Supervised\(\), got 'mse'"),
        ({"model": Gain, "normalise": False}, "got the class Gain"),
        (
            {"model": Bare(jnp.ones(()))},
            r"Bare cannot be called as models are, .*: define __call__\(self, u, parameters=",
        ),
        (
            {"objective": Supervised(), "data": (np.ones((20, 16)), np.ones((20, 16)))},
            r"lacks the channel axis: pass x\[:, None\]",
        ),
        (
            {
                "model": FNO(1, 1, 2, 3, 4, num_layers=1, key=jax.random.key(0)),
                "objective": Supervised(),
                "data": (np.ones((20, 16, 11)), np.ones((20, 16, 11))),
            },
            r"ndim=2 but `data`.* has shape \(20, 16, 11\): add the channel axis, x\[:, None\]",
        ),
        (
            {"model": FNO(1, 1, 2, 3, 4, num_layers=1, key=jax.random.key(0))},
            r"ndim=2 but `data`.* has shape \(6, 5, 1, 8\): build it for 1",
        ),
        (
            {"model": Gain(jnp.ones(())), "objective": Supervised(), "data": pairs()},
            r"returns shape \(2, 16\) but has to predict 3 channels",
        ),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_mistakes_of_a_first_hour_are_named_with_their_fix(arguments, message):
    given = {"model": small(0, 1, 1), "objective": OneStep(), "data": decaying()} | options() | arguments
    with pytest.raises(ValueError, match=message):
        fit(given.pop("model"), given.pop("objective"), given.pop("data"), **given)


def test_pairs_in_physical_units_ask_a_model_for_no_more_than_they_pass():
    class Keyed(Gain):
        def __call__(self, u, *, key=None):
            return self.gain * u

    inputs, _ = pairs()
    fitted = fit(Keyed(jnp.float32(2.0)), Supervised(), (inputs, inputs), **options(normalise=False))
    assert float(fitted.model.gain) < 2


def test_a_state_of_another_model_is_refused():
    state = fit(small(), Supervised(), pairs(), **options(num_steps=1)).state
    other = FNO(2, 3, 1, 3, 5, num_layers=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match="belongs to another model"):
        fit(other, Supervised(), pairs(), **options(resume=state))
    with pytest.raises(ValueError, match="had ema_decay off"):
        fit(small(), Supervised(), pairs(), **options(resume=state, ema_decay=0.9))


def test_a_step_that_fails_leaves_everything_as_it_was():
    data = decaying()
    inputs, targets = data.u[:, 0], data.u[:, 1]

    def loss(prediction, target):  # its gradient is finite; what Adam makes of the fourth one is not
        return jnp.mean((prediction - target) ** 2)

    # The update of the fourth step overflows although its loss and its gradient are finite.
    given = options(
        optimiser=optax.adam(lambda count: jnp.where(count == 3, jnp.inf, 0.01)),
        batch_size=6,
        normalise=False,
        ema_decay=0.5,
    )
    start, objective = Gain(jnp.float32(2.0)), Supervised(loss=loss)
    with pytest.raises(TrainingDiverged, match="Step 4: .* the update is not finite") as error:
        fit(start, objective, (inputs, targets), **given | {"num_steps": 20})
    until_then = fit(start, objective, (inputs, targets), **given | {"num_steps": 3})
    assert eqx.tree_equal(error.value.fitted.state, until_then.state)
    assert eqx.tree_equal(error.value.fitted.model, until_then.model)


def test_a_loss_that_fails_leaves_average_and_optimiser_as_they_were():
    data = decaying()
    inputs, targets = data.u[:, 0], data.u[:, 1]

    def loss(prediction, target):  # finite while the gain is positive; the third step makes it negative
        return jnp.sqrt(jnp.mean(prediction / target))

    given = options(
        optimiser=optax.adam(lambda count: jnp.where(count == 2, 10.0, 0.01)),
        batch_size=6,
        normalise=False,
        ema_decay=0.5,
    )
    start = Gain(jnp.float32(2.0))
    with pytest.raises(TrainingDiverged, match="Step 4: the loss is nan") as error:
        fit(start, Supervised(loss=loss), (inputs, targets), **given | {"num_steps": 20})
    until_then = fit(start, Supervised(loss=loss), (inputs, targets), **given | {"num_steps": 3})
    assert eqx.tree_equal(error.value.fitted.state, until_then.state)
    assert eqx.tree_equal(error.value.fitted.model, until_then.model)


def test_an_average_goes_on_with_another_decay():
    data = decaying()
    given = options(optimiser=optax.sgd(0.01), batch_size=6, normalise=False, num_steps=3)
    pair = (data.u[:, 0], data.u[:, 1])
    begun = fit(Gain(jnp.float32(2.0)), Supervised(), pair, **given, ema_decay=0.9)
    resumed = fit(Gain(jnp.float32(2.0)), Supervised(), pair, **given, ema_decay=0.5, resume=begun.state)
    gain, total, weight = 2.0, 0.0, 0.0
    for decay in [0.9] * 3 + [0.5] * 3:
        gain -= 0.01 * np.mean(2 * (gain * pair[0] - pair[1]) * pair[0])
        total, weight = decay * total + (1 - decay) * gain, decay * weight + 1 - decay
    assert float(resumed.model.gain) == pytest.approx(total / weight, rel=1e-5)


def test_a_state_of_another_optimiser_is_refused():
    state = fit(small(), Supervised(), pairs(), **options(num_steps=1)).state
    with pytest.raises(ValueError, match="state to resume belongs to another optimiser.*ScaleByAdamState"):
        fit(small(), Supervised(), pairs(), **options(optimiser=optax.sgd(0.1), resume=state))


def test_a_log_gets_few_lines_of_the_progress(capfd):
    data = pairs()
    given = options(num_steps=20, progress=True, steps_per_call=1)
    fit(small(), Supervised(), data, valid=data, **given)
    said = capfd.readouterr().err
    assert said.count("\r") == 2
    assert "20/20" in said and "valid=" in said


@pytest.mark.parametrize("asked", [QUICK_COMPILATION, QUICKEST_COMPILATION])
def test_options_of_the_compiler_reach_it_and_change_no_more_than_rounding(asked):
    data = pairs()
    as_always = fit(small(), Supervised(), data, **options(num_steps=5))
    quickly = fit(small(), Supervised(), data, valid=data, **options(num_steps=5), compiler_options=asked)
    np.testing.assert_allclose(quickly.log["loss"], as_always.log["loss"], rtol=1e-5)
    assert np.isfinite(quickly.log["valid_loss"][-1])
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_no_such'"):
        fit(small(), Supervised(), data, **options(num_steps=1), compiler_options={"xla_no_such": True})


@pytest.mark.usefixtures("without_shape_checks")
def test_options_of_the_compiler_are_a_mapping():
    with pytest.raises(ValueError, match="`compiler_options` are names of XLA's options and their values, .* got 'x'"):
        fit(small(), Supervised(), pairs(), **options(num_steps=1), compiler_options="x")
