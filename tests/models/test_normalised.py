import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.models import FNO, NeuralStepper, Normalised, Statistics, output_scale, trainable


def doubled(z, parameters=None, *, domain=None, key=None):
    return 2 * z


def test_the_two_formulas():
    u = jnp.asarray([[1.0, 3.0], [10.0, 30.0]])
    into, out = Statistics([1.0, 10.0], [2.0, 5.0]), Statistics([0.5, -1.0], [3.0, 7.0])
    z = np.array([[0.0, 1.0], [0.0, 4.0]])
    change = np.array([[0.5], [-1.0]]) + np.array([[3.0], [7.0]]) * 2 * z
    np.testing.assert_allclose(Normalised(doubled, into, out)(u), change, rtol=1e-6)
    np.testing.assert_allclose(Normalised(doubled, into, out, residual=True)(u), u + change, rtol=1e-6)
    np.testing.assert_array_equal(output_scale(Normalised(doubled, into, out)), [3.0, 7.0])


def test_parameters_are_standardised_by_name():
    seen = {}

    def model(z, parameters=None, *, domain=None, key=None):
        seen.update(parameters)
        return z

    identity = Statistics([0.0], [1.0])
    wrapped = Normalised(model, identity, identity, parameters={"viscosity": Statistics(0.1, 0.05)})
    wrapped(jnp.ones((1, 4)), {"viscosity": 0.2, "drag": 3.0})
    assert float(seen["viscosity"]) == pytest.approx(2, rel=1e-5)
    assert seen["drag"] == 3.0


def test_statistics_are_not_trainable_and_have_no_gradient():
    network = FNO(1, 1, 1, 2, 3, num_layers=1, key=jax.random.key(0))
    model = Normalised(network, Statistics([1.0], [2.0]), Statistics([0.0], [3.0]))
    flags = trainable(model)
    assert jax.tree.leaves((flags.input, flags.output)) == [False] * 4
    weights = jax.tree.leaves(flags.model)
    assert weights and all(weights)
    gradient = jax.grad(lambda statistics: jnp.sum(Normalised(network, *statistics)(jnp.ones((1, 8)))))(
        (model.input, model.output)
    )
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.usefixtures("without_shape_checks")
def test_what_does_not_fit_is_refused():
    one = Statistics([0.0], [1.0])
    with pytest.raises(ValueError, match="for 1 channels but the state has 2"):
        Normalised(doubled, one, one)(jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="residual model returns the shape of its input"):
        Normalised(
            FNO(1, 2, 1, 2, 3, num_layers=1, key=jax.random.key(0)), one, Statistics([0.0] * 2, [1.0] * 2), True
        )(jnp.ones((1, 8)))
    with pytest.raises(ValueError, match="that is built.*got the class FNO"):
        Normalised(FNO, one, one)
    with pytest.raises(ValueError, match="Statistics.*for 'output', got a list"):
        Normalised(doubled, one, [1.0])
    with pytest.raises(ValueError, match="must be positive"):
        Statistics([0.0], [0.0])
    for mean, std in (([np.nan], [1.0]), ([0.0], [np.inf])):
        with pytest.raises(ValueError, match="Statistics are finite numbers"):
            Statistics(mean, std)
    with pytest.raises(ValueError, match=r"as many means as deviations, got the shapes \(1,\) and \(2,\)"):
        Statistics([0.0], [1.0, 2.0])


def test_a_stepper_passes_on_what_it_was_given():
    seen = {}

    def model(u, parameters=None, *, domain=None, key=None):
        seen.update(parameters=parameters, domain=domain, key=key)
        return 3 * u

    key = jax.random.key(4)
    stepper = NeuralStepper(model, 0.2, "a domain", {"viscosity": 0.1})
    np.testing.assert_array_equal(stepper(jnp.ones((1, 4)), t=5.0, key=key), 3 * np.ones((1, 4)))
    assert seen == {"parameters": {"viscosity": 0.1}, "domain": "a domain", "key": key}
    assert stepper.dt == 0.2
    with pytest.raises(ValueError, match="dt > 0, got -1"):
        NeuralStepper(model, -1.0)
    with pytest.raises(ValueError, match="that is built.*got the class FNO"):
        NeuralStepper(FNO, 0.2)


def test_one_predicted_channel_is_not_taken_for_all():
    model = Normalised(
        lambda u, *_, **__: u[:1], Statistics([0.0] * 2, [1.0] * 2), Statistics([0.0] * 2, [1.0] * 2), True
    )
    with pytest.raises(ValueError, match=r"returns shape \(1, 8\) but has to predict 2 channels"):
        model(jnp.ones((2, 8)))


@pytest.mark.either
def test_units_are_changed_in_single_precision_whatever_the_state_is_in(without_shape_checks):
    """A deviation of 1e-9 is none in half precision, 1e5 infinite, and 1000.5 the number 1000."""
    zero = jnp.zeros((1, 8), jnp.float16)
    tiny, large = Statistics([0.0], [1e-9]), Statistics([1e5], [1e5])
    for statistics in (tiny, large):
        removed = statistics.remove(zero)
        assert removed.dtype == jnp.float16 and jnp.all(jnp.isfinite(removed))
    np.testing.assert_allclose(large.remove(zero), -1, rtol=1e-3)
    seen = {}

    def model(u, parameters=None, *, domain=None, key=None):
        seen.update(parameters)
        return u

    told = Normalised(model, Statistics([0.0], [1.0]), Statistics([0.0], [1.0]), parameters={"a": Statistics(1e3, 1.0)})
    for state in (jnp.zeros((1, 8), jnp.bfloat16), jnp.arange(8)[None]):
        told(state, {"a": 1000.5})
        np.testing.assert_allclose(seen["a"], 0.5, rtol=1e-3)
    whole = Statistics([0.5], [2.0]).remove(jnp.arange(8)[None])
    np.testing.assert_allclose(whole, (np.arange(8)[None] - 0.5) / 2)
