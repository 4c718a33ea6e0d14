"""Objectives of several steps: values by hand, gradients against differences with what is stopped held still."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pdejax.models import Normalised, Statistics
from pdejax.training import (
    DirectMultiStep,
    DivertedChain,
    InputNoise,
    OneStep,
    Pushforward,
    Supervised,
    Unrolled,
    Windows,
    fit,
)


class Curved(eqx.Module):
    """Two channels that act on each other, three weights and one parameter."""

    weights: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        a, b, c = self.weights.astype(u.dtype)
        mixed = jnp.stack([u[1], u[0] ** 2])
        return a * u + b * jnp.tanh(mixed) + c * parameters["rate"] * jnp.roll(u, 1, axis=-1)


def model_of(weights):
    return Curved(jnp.asarray(weights))


WEIGHTS = (0.8, -0.3, 0.2)
RNG = np.random.default_rng(0)
U = RNG.normal(size=(3, 6, 2, 5, 7))
RATE = np.array([0.5, -1.0, 2.0])


def windows(frames, step=0):
    return Windows(jnp.asarray(U[:, :frames]), {"rate": jnp.asarray(RATE)}, None, step)


def value(objective, model, step=0, key=0):
    return objective(model, windows(objective.frames, step), jax.random.key(key))[0]


def mean_square(a, b):
    return jnp.mean((a - b) ** 2)


def by_hand(weights, num_steps, stopped, loss_weights, held=WEIGHTS):
    """The unrolled loss by a plain loop; what is stopped after the steps in `stopped` comes from the weights `held`."""
    total = 0.0
    for sample in range(3):
        state, held_state = U[sample, 0], U[sample, 0]
        for n in range(num_steps):
            if n in stopped:
                state = held_state
            state = model_of(weights)(jnp.asarray(state), {"rate": RATE[sample]})
            held_state = model_of(held)(jnp.asarray(held_state), {"rate": RATE[sample]})
            total += loss_weights[n] * mean_square(state, U[sample, n + 1]) / 3
    return total


def differences(function, step=1e-6):
    """Central differences in the three weights."""
    unit = np.eye(3) * step
    return np.array([(function(WEIGHTS + e) - function(WEIGHTS - e)) / (2 * step) for e in unit])


CASES = [
    (Unrolled(4), 4, (), [0.25] * 4),
    (Unrolled(4, gradient_steps=1), 4, (1, 2, 3), [0.25] * 4),
    (Unrolled(5, gradient_steps=2, weights=(1, 2, 0, 1, 4)), 5, (2, 4), [1 / 8, 2 / 8, 0, 1 / 8, 4 / 8]),
    (Unrolled(4, remat=True, weights=(0, 0, 0, 3)), 4, (), [0, 0, 0, 1]),
    (Pushforward(3, random=False), 4, (3,), [0, 0, 0, 1]),
    (OneStep(), 1, (), [1]),
]


@pytest.mark.float64
@pytest.mark.parametrize(("objective", "num_steps", "stopped", "loss_weights"), CASES, ids=lambda case: repr(case)[:40])
def test_gradients_are_those_of_differences_with_the_stopped_states_held_still(
    objective, num_steps, stopped, loss_weights
):
    gradient = jax.jit(jax.grad(lambda weights: value(objective, model_of(weights))))(jnp.array(WEIGHTS))
    hand = jax.jit(lambda weights: by_hand(weights, num_steps, stopped, loss_weights))
    assert float(value(objective, model_of(WEIGHTS))) == pytest.approx(float(hand(jnp.array(WEIGHTS))), rel=1e-12)
    np.testing.assert_allclose(gradient, differences(hand), rtol=1e-6, atol=1e-8)


@pytest.mark.float64
@pytest.mark.parametrize(
    "objective", [DirectMultiStep(3), InputNoise(Unrolled(2), 0.3), Unrolled(3, teacher_forcing=0.5)]
)
def test_gradients_of_what_draws_at_random_or_skips_frames(objective):
    at = jax.jit(lambda weights: value(objective, model_of(weights), key=3))
    np.testing.assert_allclose(jax.jit(jax.grad(at))(jnp.array(WEIGHTS)), differences(at), rtol=1e-6, atol=1e-8)


class Early(eqx.Module):
    """`early` acts on large states alone, and leads to small ones; `late` acts on these."""

    early: jax.Array
    late: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jnp.where(jnp.abs(u) > 10, 0.01 * self.early * u, self.late * u)


def test_no_gradient_flows_through_the_push():
    model = Early(jnp.asarray(1.0), jnp.asarray(0.5))
    u = np.ones((2, 3, 1, 4))
    u[:, 0] = 100.0
    batch = Windows(jnp.asarray(u), {}, None)

    def gradient(objective):
        return jax.grad(lambda model: objective(model, batch, jax.random.key(0))[0])(model)

    pushed, through = gradient(Pushforward(1, random=False)), gradient(Unrolled(2, weights=(0, 1)))
    assert float(pushed.early) == 0 and float(pushed.late) == pytest.approx(2 * (0.5 - 1))
    assert float(through.late) == pytest.approx(float(pushed.late)) and float(through.early) == pytest.approx(-0.5)


@pytest.mark.float64
def test_a_random_push_is_of_every_length_alike():
    objective = Pushforward(2)
    losses = [float(by_hand(WEIGHTS, m + 1, (), [0.0] * m + [1.0])) for m in range(3)]
    keys = jax.random.split(jax.random.key(0), 600)
    found = jax.jit(jax.vmap(lambda key: objective(model_of(WEIGHTS), windows(4), key)[0]))(keys)
    chosen = np.argmin(np.abs(np.asarray(found)[:, None] - losses), axis=1)
    np.testing.assert_allclose(found, np.array(losses)[chosen], rtol=1e-12)
    # Five standard deviations of a binomial count.
    assert np.all(np.abs(np.bincount(chosen, minlength=3) - 200) < 5 * np.sqrt(600 * 2 / 9))


@pytest.mark.float64
def test_teacher_forcing_leads_from_true_frames_to_own_states():
    each = [by_hand(WEIGHTS, 1, (), [1]) for _ in range(1)]
    forced = np.mean(
        [
            mean_square(model_of(WEIGHTS)(jnp.asarray(U[i, n]), {"rate": RATE[i]}), U[i, n + 1])
            for i in range(3)
            for n in range(3)
        ]
    )
    schedule = Unrolled(3, teacher_forcing=optax.linear_schedule(1.0, 0.0, 10))
    assert float(value(Unrolled(1), model_of(WEIGHTS))) == pytest.approx(float(each[0]))
    assert float(value(schedule, model_of(WEIGHTS), step=0)) == pytest.approx(forced, rel=1e-12)
    own = float(value(Unrolled(3), model_of(WEIGHTS)))
    assert float(value(schedule, model_of(WEIGHTS), step=10)) == pytest.approx(own, rel=1e-12)
    between = [float(value(schedule, model_of(WEIGHTS), step=5, key=key)) for key in range(4)]
    assert len({round(each, 12) for each in between}) > 1


@pytest.mark.float64
def test_the_loss_of_every_step_is_logged():
    _, logs = Unrolled(3)(model_of(WEIGHTS), windows(4), jax.random.key(0))
    for n in range(3):
        expected = by_hand(WEIGHTS, 3, (), np.eye(3)[n])
        assert float(logs[f"loss_step_{n + 1}"]) == pytest.approx(float(expected), rel=1e-12)


def test_noise_is_on_the_first_frame_alone_and_in_units_of_the_model():
    seen = []

    class Watch(OneStep):
        def __call__(self, model, batch, key):
            seen.append(batch.u)
            return jnp.mean(batch.u), {}

    model = Normalised(model_of(WEIGHTS), Statistics([0, 0], [1.0, 30.0]), Statistics([0, 0], [1, 1]))
    u = jnp.zeros((40, 3, 2, 25))
    InputNoise(Watch(), 0.2)(model, Windows(u, {}, None), jax.random.key(0))
    (noisy,) = seen
    np.testing.assert_array_equal(noisy[:, 1:], u[:, 1:])
    np.testing.assert_allclose(np.std(noisy[:, 0], axis=(0, 2)), [0.2, 6.0], rtol=0.1)


@pytest.mark.parametrize(
    "objective",
    [Unrolled(2), Pushforward(1, random=False), DivertedChain(lambda u, t: 0 * u, 2)],
    ids=lambda objective: type(objective).__name__,
)
def test_every_step_draws_numbers_of_its_own(objective):
    def drawn_less_state(u, parameters=None, *, domain=None, key=None):
        return jax.random.normal(key, u.shape, u.dtype) - u

    batch = Windows(jnp.zeros((3, objective.frames, 1, 20)), {}, None)
    loss, logs = objective(drawn_less_state, batch, jax.random.key(0))
    # The difference of two draws of unit variance; zero where the second is the first.
    assert float(logs.get("loss_step_2", loss)) == pytest.approx(2, rel=0.5)


def test_every_step_is_forced_by_a_choice_of_its_own():
    objective = Unrolled(3, loss=lambda prediction, target: jnp.mean(prediction), teacher_forcing=0.5)
    batch = Windows(jnp.zeros((2000, 4, 1, 1)), {}, None)
    _, logs = objective(lambda u, *_, **__: u + 1, batch, jax.random.key(0))
    # From zero to one, or one further: both steps are free for a quarter of the samples, not for half of them. Five
    # standard deviations of the mean.
    assert float(logs["loss_step_3"]) == pytest.approx(0.5 * 1 + 0.25 * 2 + 0.25 * 3, abs=0.1)


def test_noise_on_the_first_frame_is_not_drawn_again_by_the_objective():
    class Again(OneStep):
        def __call__(self, model, batch, key):
            first = batch.u[:, 0]
            return jnp.mean((first - jax.random.normal(key, first.shape, first.dtype)) ** 2), {}

    batch = Windows(jnp.zeros((3, 2, 1, 20)), {}, None)
    loss, _ = InputNoise(Again(), 1.0)(model_of(WEIGHTS), batch, jax.random.key(0))
    assert float(loss) == pytest.approx(2, rel=0.5)


def test_less_is_kept_for_the_backward_pass_with_remat():
    def temporary(objective):
        class Deep(eqx.Module):
            gain: jax.Array

            def __call__(self, u, parameters=None, *, domain=None, key=None):
                for _ in range(8):
                    u = jnp.sin(self.gain * u)
                return u

        shapes = Windows(jnp.zeros((4, 17, 1, 512), jnp.float32), {}, None)
        loss = jax.jit(jax.grad(lambda gain, batch: objective(Deep(gain), batch, jax.random.key(0))[0]))
        return loss.lower(jnp.float32(1.0), shapes).compile().memory_analysis().temp_size_in_bytes

    assert temporary(Unrolled(16, remat=True)) < 0.4 * temporary(Unrolled(16))


def test_fit_tells_the_objective_which_step_it_is():
    seen = {}

    def forcing(step):
        seen["is traced"] = isinstance(step, jax.core.Tracer)
        return jnp.where(step < 2, 1.0, 0.0)

    class Double(eqx.Module):
        gain: jax.Array

        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return self.gain * u

    from types import SimpleNamespace

    u = np.ones((4, 3, 1, 8), np.float32)
    data = SimpleNamespace(u=u, grid=None, parameters={})
    still = optax.sgd(0.0)
    fitted = fit(
        Double(jnp.float32(2.0)),
        Unrolled(2, teacher_forcing=forcing),
        data,
        optimiser=still,
        num_steps=4,
        batch_size=4,
        normalise=False,
        key=jax.random.key(0),
        progress=False,
    )
    # Forced: (2 - 1)^2 twice. Free: the second step makes 4, and (4 - 1)^2.
    np.testing.assert_allclose(fitted.log["loss"], [1, 1, 5, 5])
    np.testing.assert_allclose(fitted.log["loss_step_2"], [1, 1, 9, 9])
    assert seen["is traced"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unrolled(0), "num_steps must be >= 1, got 0"),
        (lambda: Unrolled(3, weights=(1, 2)), r"Unrolled\(3\) needs 3 weights"),
        (lambda: Unrolled(2, weights=(1, -1)), "none negative"),
        (lambda: Unrolled(2, gradient_steps=0), "gradient_steps must be >= 1, got 0"),
        (lambda: Unrolled(2, teacher_forcing=1.5), "probability, from 0 to 1, got 1.5"),
        (lambda: Pushforward(0), "num_steps must be >= 1"),
        (lambda: DirectMultiStep(0), "num_steps must be >= 1"),
        (lambda: InputNoise(Supervised(), 0.1), "disturbs an objective in time"),
        (lambda: InputNoise(OneStep(), 0.0), "std > 0"),
        (lambda: Unrolled(2, loss=lambda a, b: a) and Pushforward(1, loss="l3"), "A loss is"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        make()
