"""Objectives that choose: a pair of frames, the reference on the model's own path, a stage by the step."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.training import AllPairs, Curriculum, DivertedChain, InputNoise, OneStep, Supervised, Unrolled, Windows, fit
from pdejax.training.dataset import batch_at, device_data
from pdejax.training.normalising import normalised


class Curved(eqx.Module):
    """Two channels that act on each other, three weights, one parameter and the time to go."""

    weights: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        a, b, c = self.weights.astype(u.dtype)
        time = parameters.get("lead_time", 1.0)
        mixed = jnp.stack([u[1], u[0] ** 2])
        return a * u + time * b * jnp.tanh(mixed) + c * parameters["rate"] * jnp.roll(u, 1, axis=-1)


WEIGHTS = (0.8, -0.3, 0.2)
RNG = np.random.default_rng(1)
U = RNG.normal(size=(3, 5, 2, 5, 7))
RATE = np.array([0.5, -1.0, 2.0])
KEY = jax.random.key(0)


def model_of(weights):
    return Curved(jnp.asarray(weights))


def windows(frames, **fields):
    return Windows(jnp.asarray(U[:, :frames]), {"rate": jnp.asarray(RATE)}, None, **fields)


def mean_square(a, b):
    return jnp.mean((a - b) ** 2)


def differences(function, step=1e-6):
    unit = np.eye(3) * step
    return np.array([(function(WEIGHTS + e) - function(WEIGHTS - e)) / (2 * step) for e in unit])


def check_gradient(objective, batch, by_hand):
    """Value and gradient against a loss by hand, which holds still what is stopped."""
    at = jax.jit(jax.value_and_grad(lambda weights: objective(model_of(weights), batch, KEY)[0]))
    value, gradient = at(jnp.array(WEIGHTS))
    by_hand = jax.jit(by_hand)
    assert float(value) == pytest.approx(float(by_hand(jnp.array(WEIGHTS))), rel=1e-12)
    np.testing.assert_allclose(gradient, differences(by_hand), rtol=1e-6, atol=1e-8)


def one_pair(weights, i, j, interval):
    losses = []
    for sample in range(3):
        told = {"rate": RATE[sample], "lead_time": (j - i) * interval[sample]}
        losses.append(mean_square(model_of(weights)(jnp.asarray(U[sample, i]), told), U[sample, j]))
    return jnp.stack(losses)


@pytest.mark.float64
def test_every_pair_is_drawn_alike_and_told_its_lead_time():
    objective, batch = AllPairs(2), windows(3, interval=0.25)
    assert objective.frames == 3
    pairs = [(0, 1), (0, 2), (1, 2)]
    # Of the first sample alone the loss says which pair it was.
    first = Windows(batch.u[:1], {"rate": batch.parameters["rate"][:1]}, None, 0, 0.25)
    expected = np.array([one_pair(WEIGHTS, i, j, [0.25] * 3)[0] for i, j in pairs])
    found = jax.jit(jax.vmap(lambda key: objective(model_of(WEIGHTS), first, key)[0]))(jax.random.split(KEY, 600))
    chosen = np.argmin(np.abs(np.asarray(found)[:, None] - expected), axis=1)
    np.testing.assert_allclose(found, expected[chosen], rtol=1e-12)
    # Five standard deviations of a binomial count.
    assert np.all(np.abs(np.bincount(chosen, minlength=3) - 200) < 5 * np.sqrt(600 * 2 / 9))


def test_what_a_model_draws_is_not_the_pair():
    def guessed(u, parameters, *, domain=None, key=None):
        pair = 2 * u[0] + parameters["lead_time"] - 1  # of frames 0 1, 0 2 and 1 2, each of which holds its number
        return (jax.random.randint(key, (), 0, 3) == pair)[None].astype(u.dtype)

    batch = Windows(jnp.tile(jnp.arange(3.0)[:, None, None], (300, 1, 1, 1)), {}, None)
    right, _ = AllPairs(2, loss=lambda prediction, target: jnp.mean(prediction))(guessed, batch, KEY)
    assert float(right) == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / 9 / 300))


@pytest.mark.float64
def test_the_gradient_of_a_pair():
    # Two frames have one pair; the interval of the trajectory goes before that of the data.
    check_gradient(
        AllPairs(1), windows(2, interval=0.25), lambda weights: jnp.mean(one_pair(weights, 0, 1, [0.25] * 3))
    )
    varying = np.array([0.5, 1.0, 3.0])
    batch = windows(2, interval=None)
    batch = batch._replace(parameters=batch.parameters | {"output_interval": jnp.asarray(varying)})
    check_gradient(AllPairs(1), batch, lambda weights: jnp.mean(one_pair(weights, 0, 1, varying)))


def test_the_interval_is_that_of_the_times():
    u = np.ones((2, 4, 1, 8), np.float32)

    def interval_of(**fields):
        data = SimpleNamespace(u=u, grid=None, parameters={}, **fields)
        return batch_at(device_data("data", data, 3, 1, lambda u: u), jnp.arange(1)).interval

    assert interval_of() == 1.0
    assert interval_of(times=7 + 0.25 * np.arange(4)) == pytest.approx(0.25)
    # Late times in single precision are rounded.
    assert interval_of(times=np.float32(5000) + np.float32(0.1) * np.arange(4, dtype=np.float32)) == pytest.approx(
        0.1, rel=1e-2
    )
    assert interval_of(times=np.array([0.0, 1.0, 2.0, 4.0])) is None
    with pytest.raises(ValueError, match="equally far apart in time"):
        AllPairs(1)(model_of(WEIGHTS), windows(2, interval=None), KEY)


def stepper(u, *, t):
    return 0.7 * u + 0.1 * jnp.sin(3 * u)


@pytest.mark.float64
@pytest.mark.parametrize("through", [True, False])
def test_the_gradient_of_a_diverted_chain(through):
    def by_hand(weights):
        losses = []
        for sample in range(3):
            state = held = jnp.asarray(U[sample, 0])
            for _ in range(3):
                target = stepper(state if through else held, t=0.0)
                state = model_of(weights)(state, {"rate": RATE[sample]})
                held = model_of(WEIGHTS)(held, {"rate": RATE[sample]})
                losses.append(mean_square(state, target))
        return jnp.mean(jnp.stack(losses))

    objective = DivertedChain(stepper, 3, through_stepper=through)
    assert objective.frames == 1
    check_gradient(objective, windows(1), by_hand)
    loss, logs = objective(model_of(WEIGHTS), windows(1), KEY)
    assert float(loss) == pytest.approx(np.mean([float(logs[f"loss_step_{n}"]) for n in (1, 2, 3)]), rel=1e-12)


def test_a_solver_is_without_error_on_its_own_chain():
    grid = pj.Grid((8,), 2.0)
    solver = pj.TimeStepper(pj.equations.Burgers(viscosity=0.1), pj.Spectral(grid), dt=0.05)
    batch = Windows(jnp.sin(np.pi * grid.axes[0])[None, None, None], {}, grid)

    def model(u, parameters=None, *, domain=None, key=None):
        return solver(u)

    loss, _ = jax.jit(lambda: DivertedChain(solver, 2)(model, batch, KEY))()
    assert float(loss) == 0


@pytest.mark.float64
def test_a_stage_is_its_objective_and_the_others_do_not_run():
    stages = ((0, OneStep()), (10, Unrolled(3)), (20, InputNoise(Unrolled(2), 0.1)))
    curriculum = Curriculum(stages)
    assert curriculum.frames == 4
    at = jax.jit(
        jax.value_and_grad(
            lambda weights, step: curriculum(model_of(weights), windows(5, step=step), KEY), has_aux=True
        )
    )
    for step, stage in ((0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (2**30, 2)):
        objective = stages[stage][1]
        (loss, logs), gradient = at(jnp.array(WEIGHTS), jnp.int32(step))
        alone = jax.value_and_grad(
            lambda weights, objective=objective: objective(model_of(weights), windows(objective.frames), KEY)[0]
        )
        expected, slope = alone(jnp.array(WEIGHTS))
        assert float(loss) == pytest.approx(float(expected), rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-10)
        given = [name for name, value in sorted(logs.items()) if not np.isnan(value)]
        assert given == [f"loss_step_{n + 1}" for n in range((0, 3, 2)[stage])]
        assert sorted(logs) == ["loss_step_1", "loss_step_2", "loss_step_3"]
    # One conditional, and not all branches and a choice among them.
    assert "cond[" in str(jax.make_jaxpr(lambda step: curriculum(model_of(WEIGHTS), windows(4, step=step), KEY))(3))


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.gain * u


def test_fit_goes_through_the_stages_and_scores_by_the_last():
    u = np.ones((4, 3, 1, 8), np.float32)
    data = SimpleNamespace(u=u, grid=None, parameters={})
    fitted = fit(
        Gain(jnp.float32(2.0)),
        Curriculum(((0, OneStep()), (2, Unrolled(2, weights=(0, 1))))),
        data,
        valid=data,
        valid_every=1,
        optimiser=optax.sgd(0.0),
        num_steps=4,
        batch_size=4,
        normalise=False,
        key=KEY,
        progress=False,
    )
    np.testing.assert_allclose(fitted.log["loss"], [1, 1, 9, 9])
    np.testing.assert_allclose(fitted.log["valid_loss"], [9, 9, 9, 9])
    np.testing.assert_allclose(fitted.log["loss_step_2"], [np.nan, np.nan, 9, 9])


def test_fit_needs_one_frame_for_a_diverted_chain():
    data = SimpleNamespace(u=np.ones((4, 1, 1, 8), np.float32), grid=None, parameters={})
    objective = DivertedChain(lambda u, t: 0.5 * u, 2)
    options = dict(optimiser=optax.sgd(0.1), num_steps=40, batch_size=4, key=KEY, progress=False)
    fitted = fit(Gain(jnp.float32(1.0)), objective, data, normalise=False, **options)
    assert float(fitted.model.gain) == pytest.approx(0.5, abs=1e-2)
    with pytest.raises(ValueError, match="2 frames or more"):
        normalised(Gain(jnp.float32(1.0)), data, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AllPairs(0), "max_lead must be >= 1, got 0"),
        (lambda: DivertedChain(stepper, 0), "num_steps must be >= 1"),
        (lambda: DivertedChain(pj.TimeStepper, 1), "a stepper that is built"),
        (lambda: Curriculum(()), r"begin at step 0 .* got \[\]"),
        (lambda: Curriculum(((5, OneStep()),)), r"begin at step 0 .* got \[5\]"),
        (lambda: Curriculum(((0, OneStep()), (0, OneStep()))), r"ever later whole numbers, got \[0, 0\]"),
        (lambda: Curriculum(((0, OneStep()), (1.5, OneStep()))), "ever later whole numbers"),
        (lambda: Curriculum(((0, Supervised()),)), "an objective in time"),
        (lambda: Curriculum((OneStep(),)), r"takes stages \(first_step, objective\)"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
