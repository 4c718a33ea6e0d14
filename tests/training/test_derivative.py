"""Rates as targets: their formulas, their scale, and the steppers that they make."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import Integrated, NeuralStepper, Normalised, Statistics, output_scale
from pdejax.testing import observed_orders
from pdejax.training import Bundled, Derivative, InputNoise, Sum, Unrolled, Windows, fit
from pdejax.training.normalising import normalised

KEY = jax.random.key(0)


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jnp.asarray(self.gain, u.dtype) * u


def decaying(dt, num_frames=9, rate=-0.8):
    """u = exp(rate t) u_0, intervals of their own for every trajectory."""
    dt = np.asarray(dt)
    start = np.random.default_rng(0).normal(size=(len(dt), 1, 2, 6))
    return start * np.exp(rate * dt[:, None, None, None] * np.arange(num_frames)[:, None, None])


@pytest.mark.float64
@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_the_target_is_the_derivative_to_its_order(order):
    steps, losses = [0.2, 0.1], []
    objective = Derivative(order)
    for dt in steps:
        batch = Windows(jnp.asarray(decaying([dt])[:, : objective.frames]), {}, None, interval=dt)
        error = float(objective(Gain(jnp.asarray(-0.8)), batch, KEY)[0]) ** 0.5
        losses.append(error / np.exp(-0.8 * dt * (order // 2)))  # relative to the frame that it is the rate of
    np.testing.assert_allclose(observed_orders(losses, steps), order, atol=0.15)


@pytest.mark.float64
def test_increments_over_their_own_interval_are_added_again_by_euler():
    intervals = np.array([0.1, 0.3, 0.5])
    u = decaying(intervals)
    rates = (np.exp(-0.8 * intervals) - 1) / intervals

    class Own(eqx.Module):
        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return parameters["rate"] * u

    parameters = {"output_interval": jnp.asarray(intervals), "rate": jnp.asarray(rates)}
    loss, _ = Derivative()(Own(), Windows(jnp.asarray(u[:, :2]), parameters, None), KEY)
    assert float(loss) == pytest.approx(0, abs=1e-28)
    for i in range(3):
        own = {name: values[i] for name, values in parameters.items()}
        stepped = Integrated(Own(), method="euler")(jnp.asarray(u[i, 0]), own)
        np.testing.assert_allclose(stepped, u[i, 1], rtol=1e-12)


@pytest.mark.float64
def test_gradients_are_those_of_differences():
    batch = Windows(jnp.asarray(decaying([0.1, 0.2])[:, :5]), {}, None, interval=0.1)
    at = lambda gain: Derivative(4)(Gain(gain), batch, KEY)[0]  # noqa: E731
    assert float(jax.grad(at)(0.3)) == pytest.approx(float(at(0.3 + 1e-6) - at(0.3 - 1e-6)) / 2e-6, rel=1e-6)
    rolled = Windows(batch.u[:, :3], {}, None, interval=0.1)
    at = lambda gain: Unrolled(2)(Integrated(Gain(gain), 0.1, 2), rolled, KEY)[0]  # noqa: E731
    assert float(jax.grad(at)(0.3)) == pytest.approx(float(at(0.3 + 1e-6) - at(0.3 - 1e-6)) / 2e-6, rel=1e-6)


@pytest.mark.float64
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("rk4", 4)])
def test_a_rate_is_integrated_with_the_order_of_the_method(method, order):
    errors, u = [], jnp.ones((1, 4))
    for substeps in (4, 8):
        stepped = Integrated(Gain(jnp.asarray(-0.8)), 1.0, substeps, method)(u)
        errors.append(float(jnp.max(jnp.abs(stepped - np.exp(-0.8)))))
    np.testing.assert_allclose(observed_orders(errors, [0.25, 0.125]), order, atol=0.2)


def test_every_substep_draws_numbers_of_its_own():
    def drawn_less_twice_the_state(u, parameters=None, *, domain=None, key=None):
        return jax.random.normal(key, u.shape, u.dtype) - 2 * u

    # By unit steps: the first leads to its draw, the second to the difference of the two.
    stepped = Integrated(drawn_less_twice_the_state, 2.0, 2, "euler")(jnp.zeros((1, 50)), key=KEY)
    assert float(jnp.mean(stepped**2)) == pytest.approx(2, rel=0.5)


def test_an_increment_is_that_of_the_rate_times_the_interval():
    unit = Statistics([0.0, 0.0], [1.0, 1.0])
    rate = Normalised(Gain(jnp.ones(())), unit, Statistics([0.0, 0.0], [3.0, 8.0]))
    np.testing.assert_allclose(output_scale(Integrated(rate, 0.25)), [0.75, 2.0])
    np.testing.assert_allclose(output_scale(Integrated(rate)), [3.0, 8.0])


def test_fit_measures_the_rates_and_the_rate_is_learned_and_stepped():
    grid = pj.Grid((6,), 1.0, dtype="float32")
    u = 1e-3 * decaying([0.1] * 8)
    data = pj.Trajectories.from_arrays(u.astype(np.float32), grid, ("u", "v"), 2 + 0.1 * np.arange(9))
    objective = Derivative(4)
    model = normalised(Gain(jnp.zeros(())), data, 5, 1, lambda u, parameters: objective.targets(u, 0.1, parameters))
    np.testing.assert_allclose(model.output.std, 0.8 * data.u[:, 2:-2].std(axis=(0, 1, 3)), rtol=1e-3)
    fitted = fit(
        Gain(jnp.zeros((), jnp.float32)),
        objective,
        data,
        optimiser=optax.adam(0.1),
        num_steps=150,
        batch_size=8,
        key=KEY,
        progress=False,
    )
    assert not fitted.model.residual and fitted.log["loss"][0] == pytest.approx(1, rel=0.5)
    stepper = NeuralStepper(Integrated(fitted.model, 0.25), 0.25)
    states = pj.rollout(stepper, jnp.asarray(data.u[3, 0]), 4)
    np.testing.assert_allclose(states[-1], np.exp(-0.8) * data.u[3, 0], atol=2e-2 * np.abs(data.u[3, 0]).max())


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Derivative(3), r"orders \(1, 2, 4, 6\), got 3"),
        (lambda: Derivative().check_data(None, None, {}), "equally far apart"),
        (lambda: Sum({"rate": Derivative()}), "no part of Sum"),
        (lambda: Bundled(Derivative(), 2), "no part of Bundled"),
        (lambda: InputNoise(Derivative(), 0.1), "no part of InputNoise"),
        (lambda: Integrated(Gain), "got the class Gain"),
        (lambda: Integrated(Gain(1.0), 0.0), "interval > 0, got 0"),
        (lambda: Integrated(Gain(1.0), 1.0, 0), "substeps must be >= 1"),
        (lambda: Integrated(Gain(1.0), 1.0, method="heun"), "methods .*, got 'heun'"),
        (lambda: Integrated(Gain(jnp.ones(())))(jnp.ones((1, 4))), "needs the time between states"),
        (lambda: Integrated(lambda u, *_, **__: u[:1], 1.0)(jnp.ones((2, 4))), r"not \(1, 4\)"),
        (
            lambda: Integrated(Gain(jnp.ones(())))(jnp.ones((1, 4)), {"output_interval": jnp.ones(3)}),
            r"`output_interval` is one number for a state, got the shape \(3,\)",
        ),
        (
            lambda: normalised(
                Integrated(Gain(jnp.ones(()))),
                pj.Trajectories.from_arrays(np.ones((1, 2, 1, 4)), pj.Grid(4, 1.0), ("u",), [0, 1]),
                2,
            ),
            "statistics belong to the rate",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
