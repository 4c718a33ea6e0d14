"""Several frames per call: the order of the frames, exact answers of linear maps, the units of every frame."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.equations import Advection, Diffusion
from pdejax.models import LastFrames, NeuralStepper, bundled, unbundled
from pdejax.testing import Manufactured
from pdejax.training import (
    AllPairs,
    Bundled,
    Curriculum,
    DirectMultiStep,
    InputNoise,
    OneStep,
    PhysicsResidual,
    Pushforward,
    Supervised,
    Unrolled,
    Windows,
    fit,
)
from pdejax.training.normalising import normalised

KEY = jax.random.key(0)
# Two channels, decaying at rates of their own from frame to frame: frame n of channel c is RATES[c]^n u_0.
RATES = np.array([0.9, -0.7])
FRAMES = 12
FIRST = np.random.default_rng(0).normal(size=(3, 1, 2, 5))
U = FIRST * RATES[:, None] ** np.arange(FRAMES)[:, None, None]


class Exact(eqx.Module):
    """The next `frames` frames of both channels, from the last frame alone; `gain` is 1 where it is right."""

    gain: jax.Array
    frames: int = eqx.field(static=True)

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        powers = jnp.asarray(RATES[:, None] ** np.arange(1, self.frames + 1)[:, None, None], u.dtype)
        return self.gain.astype(u.dtype) * (powers * u[-2:]).reshape(-1, *u.shape[1:])


def exact(frames, gain=1.0):
    return Exact(jnp.asarray(gain), frames)


def windows(objective, u=U, **fields):
    return Windows(jnp.asarray(u[:, : objective.frames]), {}, None, **fields)


def test_bundles_hold_the_oldest_frame_first_and_come_apart_again():
    u = np.arange(6 * 2 * 3).reshape(6, 2, 3)
    states = bundled(u.astype(float), 3)
    assert states.shape == (2, 6, 3)
    np.testing.assert_array_equal(states[1], np.concatenate([u[3], u[4], u[5]]))
    np.testing.assert_array_equal(unbundled(states, 3), u)


@pytest.mark.float64
@pytest.mark.parametrize("inputs", [None, 1, 2])
@pytest.mark.parametrize(
    ("objective", "states"),
    [(OneStep(), 2), (Unrolled(3), 4), (Pushforward(2, random=False), 4), (DirectMultiStep(1), 2)],
    ids=lambda case: str(case)[:12],
)
def test_every_objective_sees_the_frames_in_their_order(objective, states, inputs):
    whole = Bundled(objective, 3, inputs)
    assert whole.frames == (3 if inputs is None else inputs) + 3 * (states - 1) and whole.bundle == 3
    batch = windows(whole)
    assert float(whole(exact(3), batch, KEY)[0]) == pytest.approx(0, abs=1e-25)
    assert float(whole(exact(3, 1.01), batch, KEY)[0]) > 1e-6
    # A model with the two channels of a frame, or the frames, in another order is not right.
    for order in ([1, 0, 3, 2, 5, 4], [2, 3, 0, 1, 4, 5]):
        swapped = eqx.Partial(lambda order, u, *_, **__: exact(3)(u)[jnp.array(order)], order)
        assert float(whole(swapped, batch, KEY)[0]) > 1e-3


@pytest.mark.float64
def test_the_loss_is_that_of_all_frames_one_by_one():
    objective = Bundled(Unrolled(2), 3)
    loss, logs = objective(exact(3, 1.1), windows(objective), KEY)
    frames = U[:, 3:9] * (np.repeat([1.1, 1.1**2], 3)[:, None, None])
    errors = np.mean((frames - U[:, 3:9]) ** 2, axis=(0, 2, 3)).reshape(2, 3).mean(axis=1)
    assert float(loss) == pytest.approx(errors.mean(), rel=1e-12)
    np.testing.assert_allclose([logs["loss_step_1"], logs["loss_step_2"]], errors, rtol=1e-12)


@pytest.mark.float64
def test_gradients_are_those_of_differences_with_the_pushed_state_held_still():
    objective = Bundled(Pushforward(1, random=False), 2, inputs=1)
    batch = windows(objective)
    gradient = jax.grad(lambda gain: objective(exact(2, gain), batch, KEY)[0])(1.05)

    def by_hand(gain, held=1.05):
        total = 0.0
        for u in U:
            pushed = exact(2, held)(jnp.asarray(np.concatenate([u[0], u[0]])))
            total += np.mean((np.asarray(exact(2, gain)(pushed)) - u[3:5].reshape(4, 5)) ** 2) / 3
        return total

    assert float(gradient) == pytest.approx((by_hand(1.05 + 1e-6) - by_hand(1.05 - 1e-6)) / 2e-6, rel=1e-6)
    through = Bundled(Unrolled(2, weights=(0, 1)), 2, inputs=1)
    at = lambda gain: through(exact(2, gain), batch, KEY)[0]  # noqa: E731
    assert float(jax.grad(at)(1.05)) == pytest.approx(float(at(1.05 + 1e-6) - at(1.05 - 1e-6)) / 2e-6, rel=1e-6)


@pytest.mark.float64
def test_a_bundle_is_as_many_intervals_away():
    def told(u, parameters=None, *, domain=None, key=None):
        return jnp.full_like(u, parameters["lead_time"])

    objective = Bundled(AllPairs(1, loss=lambda prediction, target: jnp.mean(prediction)), 3)
    assert float(objective(told, windows(objective, interval=0.5), KEY)[0]) == pytest.approx(1.5)


def moving(num_samples=4, num_frames=9):
    grid = pj.Grid((16,), 2.0, dtype="float32")
    x, t = np.asarray(grid.axes[0]), 0.05 * np.arange(num_frames)
    phase = np.linspace(0, 2, num_samples)[:, None, None]
    u = 3 + np.sin(np.pi * (x - 0.7 * t[:, None]) + phase)
    return pj.Trajectories.from_arrays(u[:, :, None].astype(np.float32), grid, ("u",), t)


def test_fit_measures_the_increments_of_every_lead_from_the_last_frame():
    data = moving()
    model = normalised(lambda u, *_, **__: jnp.zeros_like(u), data, 6, 3)
    assert model.frames == 3 and model.residual
    for lead in (1, 2, 3):
        changes = data.u[:, lead:] - data.u[:, :-lead]
        assert float(model.output.std[lead - 1]) == pytest.approx(changes.std(), rel=1e-4)
    np.testing.assert_allclose(model.input.std, [data.u.std()] * 3, rtol=1e-5)
    state = bundled(data.u[0, :3], 3)[0]
    np.testing.assert_allclose(model(state) - state[-1:], model.output.mean[:, None] * np.ones(16), atol=1e-6)
    # With a network that says nothing every frame is off by one in its own units.
    loss, _ = Bundled(OneStep(), 3)(model, Windows(jnp.asarray(data.u[:, :6]), {}, data.grid), KEY)
    assert float(loss) == pytest.approx(1, rel=0.05)


class Phases(eqx.Module):
    """A network that can be exact for one wave: every frame a turned copy of the last one."""

    weights: jax.Array
    in_channels: int = eqx.field(static=True, default=1)
    out_channels: int = eqx.field(static=True, default=4)

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.weights[:, :1] * u + self.weights[:, 1:] * jnp.roll(u, 1, axis=-1)


def test_a_bundled_model_is_fitted_rolled_out_and_judged_at_every_frame():
    data = moving(6, 13)
    fitted = fit(
        LastFrames(Phases(jnp.zeros((4, 2), jnp.float32)), 1),
        Bundled(Unrolled(2), 4, inputs=1),
        data,
        optimiser=optax.adam(optax.cosine_decay_schedule(0.3, 300)),
        num_steps=300,
        batch_size=6,
        key=KEY,
        progress=False,
    )
    first = jnp.tile(jnp.asarray(data.u[1, 0]), (4, 1))
    states = pj.rollout(NeuralStepper(fitted.model, 4 * 0.05, data.grid), first, 3)
    frames = unbundled(states, 4)
    assert frames.shape == (12, 1, 16)
    errors = np.sqrt(np.mean((frames - data.u[1, 1:]) ** 2, axis=(1, 2)))
    assert errors.max() < 0.02, errors
    # The same by `evaluate`, in which every inner frame is a channel, from the second bundle on.
    bundles = data.bundled(4)
    assert bundles.u.shape == (6, 3, 4, 16) and bundles.names == ("u@0", "u@1", "u@2", "u@3")
    np.testing.assert_allclose(bundles.times, 0.05 * np.array([3, 7, 11]))
    np.testing.assert_array_equal(bundles.u[:, 1, 2], data.u[:, 6, 0])
    report = pj.evaluate({"bundled": fitted.model}, bundles, timing_seconds=0.05, progress=False)
    scored = report.results["bundled"].scores["relative_l2"]
    assert scored.shape == (6, 3, 4) and np.nanmax(scored) < 0.01


@pytest.mark.float64
def test_the_residual_of_an_equation_reads_every_frame_of_a_bundle():
    grid = pj.Grid((16,), 2.0, dtype=jnp.float64)
    x, dt, count = grid.axes[0], 0.01, 3

    class Wave(eqx.Module):
        speed: jax.Array

        def __call__(self, u, parameters=None, *, domain=None, key=None):
            last = jnp.fft.rfft(u[-1])
            turn = jnp.exp(-1j * np.pi * jnp.arange(9) * self.speed * dt)
            return jnp.stack([jnp.fft.irfft(last * turn**n, n=16) for n in range(1, count + 1)])

    u = jnp.sin(np.pi * x)[None, None, None] * jnp.ones((2, 1, 1, 1))
    residual = PhysicsResidual(Advection(0.7), pj.Spectral(grid), 2, order=4, dt=dt)
    objective = Bundled(residual, count, inputs=1)
    batch = Windows(u, {}, grid)
    loss, logs = objective(Wave(jnp.asarray(0.7)), batch, KEY)
    assert objective.frames == 1 and len(logs) == 6 and float(loss) < 1e-15
    wrong, _ = objective(Wave(jnp.asarray(0.8)), batch, KEY)
    assert float(wrong) == pytest.approx((0.1 * np.pi * dt) ** 2 / 2, rel=1e-2)


@pytest.mark.float64
def test_a_bundle_is_at_the_time_of_its_last_input():
    grid, dt, starts = pj.Grid((8,), 2.0, dtype=jnp.float64), 0.01, jnp.array([0.0, 0.4])

    def exact(x, t):
        return jnp.sin(np.pi * x) * jnp.cos(3 * t)

    def following(u, parameters, *, domain=None, key=None):
        # From the last of two inputs, one interval after the start.
        return jnp.stack([exact(grid.axes[0], parameters["start"] + n * dt) for n in (2, 3)])

    u = jnp.stack([exact(grid.axes[0], starts[:, None] + n * dt) for n in (0, 1)], axis=1)
    residual = PhysicsResidual(Manufactured(Diffusion(0.4), exact), pj.Spectral(grid), dt=dt)
    batch = Windows(u[:, :, None], {"start": starts}, grid, time=starts, interval=dt)
    loss, _ = Bundled(residual, 2, inputs=2)(following, batch, KEY)
    # The trapezoidal rule errs by dt^3, a force that is an interval late by dt^2.
    assert float(loss) < dt**5


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bundled(Supervised(), 2), "Bundled takes an objective in time"),
        (lambda: Bundled(OneStep(), 0), "num_frames must be >= 1"),
        (lambda: Bundled(OneStep(), 2, inputs=3), "A bundle of 2 frames has no 3 inputs"),
        (lambda: Bundled(Bundled(OneStep(), 2), 2), "Bundled surrounds all others"),
        (lambda: InputNoise(Bundled(OneStep(), 2), 0.1), r"Bundled\(InputNoise\(...\), frames\)"),
        (lambda: Curriculum(((0, Bundled(OneStep(), 2)),)), r"Bundled\(Curriculum\(...\), frames\)"),
        (lambda: bundled(np.zeros((5, 1, 4)), 2), "5 frames are no whole number of bundles of 2"),
        (lambda: unbundled(np.zeros((2, 5, 4)), 2), "5 channels is no bundle of 2"),
        (lambda: LastFrames(Phases(jnp.zeros((4, 2))), 3)(jnp.zeros((2, 8))), "takes 3 channels of a state that has 2"),
        (lambda: moving().bundled(10), "the trajectories have 9"),
        (
            lambda: normalised(Phases(jnp.zeros((4, 2))), moving(num_frames=3), 3, 3),
            "4 frames or more, and these have 3",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_model_of_single_frames_is_told_how_many_channels_a_bundle_has():
    model = pj.models.FNO(1, 1, 1, 3, 4, key=KEY)
    with pytest.raises(ValueError, match="has in_channels=1 but `data` has 4 channels, those of 4 frames"):
        fit(model, Bundled(OneStep(), 4), moving(), optimiser=optax.adam(1e-3), num_steps=1, batch_size=2, key=KEY)
