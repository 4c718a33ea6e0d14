from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.training import OneStep
from pdejax.training.dataset import DeviceData, batch_at, sample_batch
from pdejax.training.members import step_keys
from pdejax.training.normalising import normalised
from pdejax.training.steps import compiled_score


def numbered(num_samples=5, num_frames=7, frames=3):
    """Frame j of sample i holds the number 100 i + j."""
    u = 100 * np.arange(num_samples)[:, None] + np.arange(num_frames)
    return DeviceData((jnp.asarray(u[:, :, None, None], jnp.float32),), {"name": jnp.arange(num_samples)}, None, frames)


def test_every_window_is_consecutive_and_within_one_trajectory():
    data = numbered()
    assert data.num_windows == 25
    windows = batch_at(data, jnp.arange(25))
    first = np.asarray(windows.u[:, 0, 0, 0])
    np.testing.assert_array_equal(first, [100 * i + j for i in range(5) for j in range(5)])
    np.testing.assert_array_equal(windows.u[:, :, 0, 0], first[:, None] + np.arange(3))
    np.testing.assert_array_equal(windows.parameters["name"], np.repeat(np.arange(5), 5))


# The last two: one stretch of an even number of windows, and stretches of one window and of two.
@pytest.mark.parametrize(("size", "num_samples"), [(4, 5), (16, 5), (25, 5), (1, 4), (3, 1)])
def test_a_batch_has_no_window_twice_and_all_windows_are_equally_likely(size, num_samples):
    data, draws = numbered(num_samples), 4000
    total = 5 * num_samples
    keys = jax.random.split(jax.random.key(0), draws)
    first = np.asarray(jax.jit(jax.vmap(lambda key: sample_batch(data, size, key).u[:, 0, 0, 0]))(keys))
    assert all(len(np.unique(batch)) == size for batch in first)
    _, counts = np.unique(first, return_counts=True)
    expected = draws * size / total
    assert len(counts) == total
    # Five standard deviations of a binomial count; stretches of unequal length without the offset are off by 30 %.
    assert np.max(np.abs(counts - expected)) <= 5 * np.sqrt(draws * size / total * (1 - size / total))


class FirstNumber(OneStep):
    """The square of what the first frame of every window holds."""

    def __call__(self, model, batch, key):
        return jnp.mean(batch.u[:, 0] ** 2), {}


@pytest.mark.parametrize(("size", "scored"), [(16, 64), (40, 80), (100, 100), (200, 125)])
def test_a_score_is_of_at_least_64_windows_evenly_spread(size, scored):
    data = numbered(25)
    found = compiled_score(FirstNumber(), size)(identity, data, jax.random.key(0))
    index = np.linspace(0, 124, scored).round().astype(int)
    assert float(found) == pytest.approx(np.mean((100.0 * (index // 5) + index % 5) ** 2), rel=1e-5)


def test_a_score_draws_with_the_key_of_no_step():
    class Drawn(OneStep):
        def __call__(self, model, batch, key):
            return jax.random.uniform(key), {}

    key = jax.random.key(0)
    of_steps = jax.vmap(lambda step: jax.random.uniform(step_keys(key, identity, step)))(jnp.arange(1000))
    assert float(compiled_score(Drawn(), 4)(identity, numbered(), key)) not in np.asarray(of_steps)


def identity(u, parameters=None, *, domain=None, key=None):
    return u


def test_what_never_varies_is_not_divided_by_its_rounding():
    # The mean of many equal numbers need not be that number in floating point; its spread is then tiny, not zero.
    inputs = np.full((7, 2, 11), 0.1, np.float32)
    inputs[:, 1] = np.arange(11)
    model = normalised(identity, (inputs, inputs), None)
    assert float(model.input.std[0]) == 1
    assert float(model.input.std[1]) == pytest.approx(np.sqrt(10), rel=1e-5)


def test_a_spread_above_rounding_is_kept_and_one_below_is_not():
    rounding = 4 * float(np.finfo(np.float32).eps)
    alternating = np.where(np.arange(12) % 2, 1.0, -1.0).reshape(1, 1, 12)
    for factor, expected in ((3.0, 3 * rounding), (0.3, 1.0)):
        inputs = (1 + factor * rounding * alternating).astype(np.float32)
        model = normalised(identity, (inputs, inputs), None)
        assert float(model.input.std[0]) == pytest.approx(expected, rel=0.2)


def test_increments_of_a_channel_that_stands_still_are_rounding():
    rng = np.random.default_rng(0)
    space, size = np.sin(np.arange(16)), 50.0
    still = size * space * (1 + 3e-8 * rng.normal(size=(5, 6, 16)))
    slow = size * space * (1 + 1e-4 * np.arange(6)[:, None] * np.ones((5, 1, 1)))
    u = np.stack([still, slow], axis=2).astype(np.float32)
    model = normalised(identity, SimpleNamespace(u=u, parameters={}), 2)
    increments = np.diff(u, axis=1)
    assert 0 < increments[:, :, 0].std() < 1e-5
    assert float(model.output.std[0]) == 1
    assert float(model.output.std[1]) == pytest.approx(increments[:, :, 1].std(), rel=1e-4)
