"""What a fit refuses because solver, held-out data and data contradict each other, or because its kind is wrong."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import (
    FNO,
    Corrected,
    Ensemble,
    ImplicitFNO,
    InPrecision,
    Integrated,
    Normalised,
    Statistics,
    bundles,
)
from pdejax.nn import ChannelMap, Conditioning, Embedding, FiLM
from pdejax.training import fit
from pdejax.training.objectives import AllPairs, Curriculum, DivertedChain, OneStep, Supervised, Unrolled

GRID = pj.Grid((8,), 2.0, dtype=np.float32)
KEY = jax.random.key(0)


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.gain * u


def gain():
    return Gain(jnp.float32(0.9))


def stepper(dt=0.1, diffusivity=0.3, grid=GRID):
    return pj.TimeStepper(pj.equations.Diffusion(diffusivity), pj.Spectral(grid), dt)


def data(dt=0.1, grid=GRID, diffusivity=(0.3, 0.3, 0.3)):
    u = np.random.default_rng(0).normal(size=(3, 5, 1, *grid.shape)).astype(np.float32)
    return pj.Trajectories(u, grid, dt * np.arange(5), ("u",), ("",), {"diffusivity": np.asarray(diffusivity)}, {})


def run(model=None, objective=None, trained_on=None, **given):
    options = {"optimiser": optax.sgd(0.0), "num_steps": 1, "batch_size": 2, "key": KEY, "progress": False} | given
    model, objective = gain() if model is None else model, OneStep() if objective is None else objective
    return fit(model, objective, data() if trained_on is None else trained_on, **options)


OTHER_BOX = dataclasses.replace(GRID, extent=3.0) if dataclasses.is_dataclass(GRID) else pj.Grid((8,), 3.0)
SLOW = optax.MultiSteps(optax.sgd(0.1), 2)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": DivertedChain(stepper(dt=0.2), 1)}, "0.1 apart, and the stepper of DivertedChain takes a step"),
        ({"objective": DivertedChain(stepper(diffusivity=0.4), 1)}, "diffusivity=0.3, and .* has diffusivity=0.4"),
        (
            {"objective": DivertedChain(stepper(), 1), "trained_on": data(diffusivity=(0.2, 0.3, 0.4))},
            "diffusivity=0.2 to 0.4",
        ),
        ({"model": Corrected(stepper(dt=0.2), gain())}, "0.1 apart, and the solver of Corrected takes a step of 0.2"),
        ({"model": Corrected(stepper(), gain(), substeps=2)}, "takes 2 steps of 0.1"),
        ({"model": Corrected(stepper(grid=OTHER_BOX), gain())}, "box of extent"),
        ({"model": Corrected(stepper(grid=pj.Grid((9,), 2.0)), gain())}, r"shape=\(8,\), and the solver of Corrected"),
        ({"objective": AllPairs(2), "model": FNO(1, 1, 1, 2, 4, key=KEY)}, r"takes the parameters \(\): build it with"),
        ({"objective": AllPairs(2), "model": ImplicitFNO(1, 1, 1, 2, 4, key=KEY)}, "and this ImplicitFNO takes the"),
        ({"valid": data(dt=0.2)}, "`valid` are 0.2 apart and those of `data` 0.1"),
        ({"valid": data(grid=OTHER_BOX)}, "box of `valid`"),
        (
            {"objective": OneStep(pj.losses.SpectralBands((0, 4, 16, 64)))},
            "No wavenumber of the grid lies in the band from 16 to 64",
        ),
        ({"num_steps": 6.5}, "num_steps must be a whole number, got 6.5"),
        ({"valid_every": 0}, "valid_every must be >= 1"),
        ({"key": 0}, "key=jax.random.key"),
        ({"resume": run()}, "resume of Fitted: pass its `state`"),
        ({"devices": 4}, r"devices=pdejax.Devices\(4\)"),
        ({"checkpoints": "folder"}, "checkpoints=Checkpoints"),
        ({"loggers": print}, "a list of loggers"),
        ({"loggers": "tensorboard"}, "a list of loggers, .* got 'tensorboard'"),
        ({"optimiser": SLOW}, r"pass its .gradient_transformation\(\)"),
        ({"log_path": "log.txt"}, "ends in .csv or .jsonl, and log.txt is neither"),
        ({"model": InPrecision(Corrected(stepper(), gain()))}, "put Corrected outside"),
        ({"model": bundles.LastFrames(Corrected(stepper(), gain()), 1)}, "put Corrected outside"),
        ({"model": InPrecision(Integrated(gain(), 0.1))}, "belong to the rate that Integrated steps"),
        ({"model": Ensemble(Integrated(gain(), 0.1), 2)}, "belong to the rate that Integrated steps"),
    ],
)
def test_what_contradicts_itself_is_refused_before_any_step(given, message):
    with pytest.raises(ValueError, match=message):
        run(**given)


def test_solvers_that_agree_are_taken_and_a_hybrid_may_solve_another_equation():
    run(objective=DivertedChain(stepper(), 1))
    run(model=Corrected(stepper(dt=0.05, diffusivity=9.0), gain(), substeps=2))
    run(objective=AllPairs(2), model=FNO(1, 1, 1, 2, 4, parameters=("lead_time",), num_layers=1, key=KEY))


def test_trajectories_of_several_intervals_and_boxes_are_held_out_from_each_other():
    def varied(dt, extent):
        own = data(dt=dt, grid=pj.Grid((8,), extent, dtype=np.float32))
        several = {"output_interval": dt * np.ones(3), "extent_x": extent * np.ones(3)}
        return dataclasses.replace(own, parameters=own.parameters | several)

    run(trained_on=varied(0.1, 2.0), valid=varied(0.2, 3.0))


def test_a_stage_that_a_run_does_not_reach_is_said():
    stages = Curriculum({0: OneStep(), 3: Unrolled(2)})
    with pytest.warns(UserWarning, match="begins at step 3 and the run ends at 3"):
        run(objective=stages, num_steps=3)
    run(objective=stages, num_steps=4)


def test_a_fitted_model_is_not_normalised_again():
    first = run(num_steps=3, optimiser=optax.sgd(0.1))
    again = run(model=first.model)
    assert jax.tree.structure(again.model) == jax.tree.structure(first.model)
    physical = run(model=first.model, normalise=False)
    assert again.log["loss"][0] == physical.log["loss"][0] != run().log["loss"][0]


def test_folders_of_logs_are_made_before_the_run_and_a_file_is_no_folder_of_checkpoints(tmp_path):
    run(log_path=tmp_path / "new" / "log.csv")
    assert (tmp_path / "new" / "log.csv").exists()
    with pytest.raises(ValueError, match="is a folder"):
        run(log_path=tmp_path / "new")
    with pytest.raises(ValueError, match="is a file"):
        pj.Checkpoints(tmp_path / "new" / "log.csv", every=3)


class Complex(eqx.Module):
    """Multiplies every Fourier coefficient by a complex number."""

    weight: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jnp.fft.irfft(self.weight * jnp.fft.rfft(u), u.shape[-1]).astype(u.dtype)


@pytest.mark.parametrize("optimiser", [optax.sgd(0.1), optax.adam(0.05)])
def test_complex_weights_descend(optimiser):
    u = np.random.default_rng(1).normal(size=(6, 1, 9)).astype(np.float32)
    target = np.fft.irfft((0.3 + 0.7j) * np.fft.rfft(u), 9).astype(np.float32)
    model = Complex(jnp.asarray(0.1 - 0.2j, jnp.complex64))
    options = {"normalise": False, "num_steps": 400, "batch_size": 6, "key": KEY, "progress": False}
    fitted = fit(model, Supervised(), (u, target), optimiser=optimiser, **options)
    assert complex(fitted.model.weight) == pytest.approx(0.3 + 0.7j, abs=1e-3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_average_of_half_precision_weights_is_summed_in_single(dtype):
    u = np.ones((4, 1, 6), np.float32)
    model = Gain(jnp.ones((), dtype))
    fitted = fit(
        model,
        Supervised(),
        (u, u),
        optimiser=optax.sgd(0.0),
        normalise=False,
        ema_decay=0.999,
        num_steps=2000,
        batch_size=2,
        key=KEY,
        progress=False,
    )
    assert fitted.model.gain.dtype == dtype
    assert float(fitted.model.gain) == 1.0


@pytest.mark.parametrize("normalise", [True, False])
def test_whole_numbers_are_trained_on_as_the_numbers_they_are(normalise):
    rng = np.random.default_rng(2)
    u = rng.integers(0, 5, (8, 2, 6))
    target = 1.5 * u[:, :1].astype(np.float32)
    model = ChannelMap(2, 1, key=KEY)

    class Mix(eqx.Module):
        layer: ChannelMap

        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return self.layer(u)

    def losses(inputs):
        options = {"num_steps": 5, "batch_size": 4, "key": KEY, "progress": False, "normalise": normalise}
        return fit(Mix(model), Supervised(), (inputs, target), optimiser=optax.sgd(0.05), **options).log["loss"]

    floats = losses(u.astype(jnp.result_type(float)))
    np.testing.assert_array_equal(losses(u), floats)
    np.testing.assert_array_equal(losses(u.astype(np.uint8)), floats)


@pytest.mark.usefixtures("without_shape_checks")
def test_statistics_are_not_rounded_to_the_whole_numbers_of_a_state():
    statistics = Statistics(jnp.asarray([2.5]), jnp.asarray([0.5]))
    inside = Normalised(lambda z, *_, **__: z, statistics, statistics)
    np.testing.assert_allclose(inside(jnp.asarray([[1, 2]])), [[1.0, 2.0]], rtol=1e-6)


def test_a_number_too_large_for_the_device_is_found():
    usual = data()
    large = dataclasses.replace(usual, u=np.where(np.arange(5)[:, None, None] == 3, 1e39, usual.u.astype(np.float64)))
    with jax.enable_x64(False), pytest.raises(ValueError, match="not finite in sample 0, frame 3"):
        run(valid=large)


def test_a_lead_time_may_be_told_by_a_conditioning():
    told = Conditioning(("lead_time",), modulation=FiLM(), embedding=Embedding(4))
    model = FNO(1, 1, 1, 2, 4, num_layers=1, conditioning=told, key=KEY)
    assert np.all(np.isfinite(run(model, AllPairs(2)).log["loss"]))
