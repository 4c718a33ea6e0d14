import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Diffusion


class Recorder(eqx.Module):
    """A stepper whose state shows what it was told: channel 0 the time, channel 1 a draw of its key."""

    dt: float = 0.5

    def __call__(self, u, *, t=0.0, key=None):
        return jnp.stack([jnp.full(u.shape[1:], t), jnp.full(u.shape[1:], jax.random.uniform(key))])


def test_time_and_keys_are_passed_on():
    key = jax.random.key(3)
    states = pj.rollout(Recorder(), jnp.zeros((2, 4)), 5, t0=2.0, key=key)
    np.testing.assert_allclose(states[:, 0, 0], 2.0 + 0.5 * np.arange(5))
    expected = [float(jax.random.uniform(jax.random.fold_in(key, n))) for n in range(5)]
    np.testing.assert_allclose(states[:, 1, 0], expected, rtol=1e-6)


def test_the_initial_state_comes_first_when_asked_for():
    u0 = jnp.ones((2, 4))
    states = pj.rollout(Recorder(), u0, 2, key=jax.random.key(0), include_initial=True)
    assert states.shape == (3, 2, 4)
    np.testing.assert_array_equal(states[0], u0)


class Halving(eqx.Module):
    dt: float = 1.0

    def __call__(self, u, *, t=0.0, key=None):
        return 0.5 * u


def test_a_state_of_whole_numbers_is_no_reason_to_round(without_shape_checks):
    states = pj.rollout(Halving(), jnp.ones((1, 3), int), 3)
    np.testing.assert_allclose(states[:, 0, 0], [0.5, 0.25, 0.125])


class Growing(eqx.Module):
    dt: float = 1.0

    def __call__(self, u, *, t=0.0, key=None):
        return jnp.concatenate([u, u])


def test_bad_rollouts_are_named(without_shape_checks):
    with pytest.raises(ValueError, match=r"shape \(1, 4\) into \(2, 4\)"):
        pj.rollout(Growing(), jnp.zeros((1, 4)), 2)
    with pytest.raises(ValueError, match="num_steps must be >= 1, got 0"):
        pj.rollout(Growing(), jnp.zeros((1, 4)), 0)
    with pytest.raises(ValueError, match="num_steps must be a whole number, got 2.5"):
        pj.rollout(Growing(), jnp.zeros((1, 4)), 2.5)
    with pytest.raises(ValueError, match="has no `dt`.*NeuralStepper"):
        pj.rollout(lambda u, t, key: u, jnp.zeros((1, 4)), 2)
    with pytest.raises(ValueError, match=r"got the class Halving: make one, Halving\(...\)"):
        pj.rollout(Halving, jnp.zeros((1, 4)), 2)
    with pytest.raises(ValueError, match=r"the state second, got an array of shape \(1, 4\) first"):
        pj.rollout(jnp.zeros((1, 4)), Halving(), 2)


@pytest.mark.parametrize("whole", [np.int64, jnp.int32])
def test_any_whole_number_counts_steps(whole, without_shape_checks):
    states = pj.rollout(Halving(), np.ones((1, 3)), whole(2))
    np.testing.assert_allclose(states[:, 0, 0], [0.5, 0.25])


@pytest.mark.float64
@pytest.mark.parametrize(
    ("given", "grid", "returned"),
    [
        (jnp.float32, jnp.float64, jnp.float64),
        (jnp.float64, jnp.float32, jnp.float64),
        (jnp.float32, jnp.float32, jnp.float32),
        (jnp.float16, jnp.float64, jnp.float64),
    ],
)
def test_a_rollout_is_as_precise_as_its_stepper(given, grid, returned):
    grid = pj.Grid(8, 2 * jnp.pi, dtype=grid)
    u0 = np.cos(np.asarray(grid.axes[0]))[None].astype(given)

    @jax.jit
    def both(u):
        stepper = pj.TimeStepper(Diffusion(0.1), pj.Spectral(grid), 0.1)
        return pj.rollout(stepper, u, 3, include_initial=True), stepper(stepper(stepper(u)))

    states, one_by_one = both(u0)
    assert states.dtype == returned
    np.testing.assert_array_equal(states[0], u0.astype(returned))
    eps = float(jnp.finfo(grid.dtype).eps)
    np.testing.assert_allclose(states[-1], one_by_one, atol=4 * eps, rtol=0)


@pytest.mark.float64
def test_a_state_that_is_finer_at_every_call_settles_before_the_loop():
    class Finer(eqx.Module):
        dt: float = 1.0

        def __call__(self, u, *, t=0.0, key=None):
            return u.astype({"float16": jnp.float32}.get(u.dtype.name, jnp.float64)) / 3

    states = pj.rollout(Finer(), jnp.ones((1, 4), jnp.float16), 2)
    assert states.dtype == jnp.float64
    np.testing.assert_allclose(states[-1], 1 / 9, rtol=1e-15)


def test_a_state_that_is_lost_is_named():
    grid = pj.Grid(16, 1.0)
    stepper = pj.TimeStepper(Diffusion(1.0), pj.FiniteDifference(grid, 2), 3.0)
    u = (-1.0) ** jnp.arange(16.0)[None]
    with pytest.warns(RuntimeWarning, match=r"TimeStepper is not finite after step \d+, .*check_step"):
        states = pj.rollout(stepper, u, 30, include_initial=True)
    lost = int(np.argmax(~np.isfinite(np.asarray(states)).all(axis=(1, 2))))
    with pytest.warns(RuntimeWarning, match=f"after step {lost}, nor"):
        pj.rollout(stepper, u, 30)
    with pytest.warns(RuntimeWarning, match=f"after step {lost}: "):
        pj.rollout(stepper, u, lost)
    with pytest.warns(RuntimeWarning, match="to begin with"):
        pj.rollout(stepper, jnp.full((1, 16), jnp.nan), 1, include_initial=True)
    # A compiled program says nothing.
    jax.jit(lambda v: pj.rollout(stepper, v, 30))(u)
