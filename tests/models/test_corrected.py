"""A solver and what a network adds to it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import Corrected, Ensemble, LearnedSolver, Normalised, input_scale, members, output_scale, trainable
from pdejax.nn import ChannelMap
from pdejax.testing import check_lowering
from pdejax.training.normalising import normalised


class Gain(eqx.Module):
    """`u -> gain u`: as a solver, and as a correction."""

    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None, t=0.0):
        return self.gain * u


class Map(eqx.Module):
    layer: ChannelMap

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.layer(u)


def gains(*values):
    return [Gain(jnp.float32(value)) for value in values]


def decaying(rate=0.8, samples=5, frames=6):
    """`u_{n+1} = rate u_n`, two channels of other sizes."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(samples, 1, 2, 7)) * np.array([1.0, 5.0])[:, None]
    u = (start * rate ** np.arange(frames)[:, None, None]).astype(np.float32)
    return pj.Trajectories.from_arrays(u, pj.Grid(7, 1.0, dtype="float32"), ("a", "b"), np.arange(frames) * 0.5)


def fitted(model, objective=None, data=None, **given):
    given = {"optimiser": optax.adam(1e-2), "num_steps": 3, "batch_size": 4, "progress": False} | given
    objective = pj.objectives.Unrolled(2) if objective is None else objective
    return pj.fit(model, objective, data or decaying(), key=jax.random.key(0), **given)


def test_every_substep_is_a_solve_and_its_correction():
    stepper, network = gains(0.5, -0.25)
    u = jnp.arange(6.0, dtype=jnp.float32).reshape(2, 3)
    np.testing.assert_allclose(Corrected(stepper, network)(u), 0.5 * u - 0.25 * 0.5 * u)
    np.testing.assert_allclose(Corrected(stepper, network, substeps=3)(u), 0.375**3 * u, rtol=1e-6)


def test_every_substep_and_every_call_draws_numbers_of_its_own():
    def drawn_less_twice_the_state(u, parameters=None, *, domain=None, key=None):
        return jax.random.normal(key, u.shape, u.dtype) - 2 * u

    model = Corrected(Gain(jnp.float32(1.0)), drawn_less_twice_the_state, substeps=2)
    # The first substep leads to its draw, the second to the difference of the two.
    one, other = (model(jnp.zeros((1, 50)), key=jax.random.key(seed)) for seed in range(2))
    assert float(jnp.mean(one**2)) == pytest.approx(2, rel=0.5)
    assert float(jnp.mean((one - other) ** 2)) == pytest.approx(4, rel=0.5)


def test_the_gradient_passes_through_the_solver_and_not_into_it():
    """Two steps by hand: u2 = (s (1 + g))^2 u0 with s held, so that d u2 / d g = 2 s^2 (1 + g) u0."""
    stepper, network = gains(0.5, 0.2)
    u = jnp.ones((1, 4), jnp.float32)

    def twice(model):
        return jnp.sum(model(model(u)))

    found = jax.grad(twice)(Corrected(stepper, network))
    assert float(found.model.gain) == pytest.approx(4 * 2 * 0.25 * 1.2)
    assert float(found.held.inside.gain) == 0
    flags = trainable(Corrected(stepper, network))
    assert flags.model.gain and not flags.held.inside.gain
    by_state = jax.grad(lambda u: jnp.sum(Corrected(stepper, network)(u)))(u)
    np.testing.assert_allclose(by_state, 0.6, rtol=1e-6)


def test_the_network_works_in_units_of_what_the_solver_misses():
    data = decaying()
    result = fitted(Corrected(Gain(jnp.float32(0.7)), Map(ChannelMap(2, 2, key=jax.random.key(1))), 1)).model
    assert isinstance(result, Corrected) and isinstance(result.model, Normalised) and not result.model.residual
    missed = 0.1 * data.u[:, :-1]
    np.testing.assert_allclose(output_scale(result), missed.std((0, 1, 3)), rtol=1e-4)
    np.testing.assert_allclose(input_scale(result), data.u.std((0, 1, 3)), rtol=1e-4)
    halves = fitted(Corrected(Gain(jnp.float32(0.7**0.5)), Map(ChannelMap(2, 2, key=jax.random.key(1))), 2)).model
    np.testing.assert_allclose(output_scale(halves), missed.std((0, 1, 3)) / 2, rtol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        Corrected(Gain(jnp.float32(0.8)), Gain(jnp.float32(0.0))),
        LearnedSolver(Gain(jnp.float32(0.8)), lambda stepper: stepper.gain),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_a_solver_misses_by_rounding_is_no_unit(model):
    data = decaying()
    missed = data.u[:, 1:] - np.float32(0.8) * data.u[:, :-1]
    assert np.all(missed.std((0, 1, 3)) > 0)
    np.testing.assert_array_equal(output_scale(normalised(model, data, 2)), 1)


def test_the_loss_of_a_network_that_does_nothing_is_one_and_training_lowers_it():
    layer = ChannelMap(2, 2, key=jax.random.key(1))
    idle = Map(eqx.tree_at(lambda map: map.weight, layer, jnp.zeros((2, 2))))
    run = fitted(Corrected(Gain(jnp.float32(0.7)), idle), pj.objectives.OneStep(), num_steps=600, batch_size=25)
    # Its mean is taken off, so what is left is the variance, which is one.
    assert run.log["loss"][0] == pytest.approx(1, rel=1e-3)
    assert run.log["loss"][-1] < 1e-4
    assert float(run.model.held.inside.gain) == np.float32(0.7)
    u = jnp.asarray(decaying().u[0, 0])
    np.testing.assert_allclose(run.model(u), 0.8 * u, atol=0.01)


def test_weight_decay_and_averages_leave_the_solver_alone():
    strong = optax.adamw(1e-2, weight_decay=10.0)
    run = fitted(Corrected(*gains(0.7, 0.1)), optimiser=strong, ema_decay=0.9, normalise=False)
    assert float(run.model.held.inside.gain) == np.float32(0.7)
    assert float(run.model.model.gain) != np.float32(0.1)


def test_parts_of_the_network_can_be_frozen_and_seeds_share_the_solver():
    maps = [Map(ChannelMap(2, 2, key=jax.random.key(seed))) for seed in range(2)]
    run = fitted(Corrected(Gain(jnp.float32(0.7)), maps[0]), frozen=lambda hybrid: hybrid.model.layer.weight)
    np.testing.assert_array_equal(run.model.model.model.layer.weight, maps[0].layer.weight)
    assert np.any(np.asarray(run.model.model.model.layer.bias) != 0)
    both = fitted(Corrected(Gain(jnp.float32(0.7)), Ensemble.of(maps)))
    first, second = members(both.model)
    assert isinstance(first, Corrected) and first.held.inside.gain.shape == ()
    assert not np.array_equal(first.model.model.layer.weight, second.model.model.layer.weight)
    with pytest.raises(ValueError, match=r"Corrected\(stepper, Ensemble.of\(networks\)\)"):
        fitted(Ensemble.of([Corrected(Gain(jnp.float32(0.7)), each) for each in maps]))


def test_a_spectral_solver_is_corrected_and_lowers_for_every_platform():
    grid = pj.Grid((9, 12), 1.0, dtype="float32")
    stepper = pj.TimeStepper(pj.equations.Diffusion(0.01), pj.Spectral(grid), dt=0.1)
    hybrid = Corrected(stepper, Gain(jnp.float32(0.0)))
    u = jax.random.normal(jax.random.key(0), (1, 9, 12))
    np.testing.assert_array_equal(hybrid(u), stepper(u))
    gradient = jax.grad(lambda gain: jnp.sum(Corrected(stepper, Gain(gain))(u) ** 2))
    check_lowering(gradient, jax.ShapeDtypeStruct((), jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
def test_what_does_not_fit_is_refused():
    stepper, network = gains(0.5, 0.2)
    with pytest.raises(ValueError, match="needs a stepper that is built and can be called, got the class Gain"):
        Corrected(Gain, network)
    with pytest.raises(ValueError, match="needs a model that is built and can be called, got a int"):
        Corrected(stepper, 3)
    with pytest.raises(ValueError, match="substeps must be >= 1, got 0"):
        Corrected(stepper, network, 0)
    widening = Map(ChannelMap(2, 3, key=jax.random.key(1)))
    with pytest.raises(ValueError, match=r"correction of Corrected returns shape \(3, 4\) for a state of \(2, 4\)"):
        Corrected(stepper, widening)(jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="not finite from frame 0 of sample 0: take smaller steps"):
        fitted(Corrected(Gain(jnp.float32(np.nan)), network))
