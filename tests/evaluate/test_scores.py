"""Scores of truths that vanish: a channel that is zero is measured by its own size at other times."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.evaluate import evaluate
from pdejax.evaluate.pairs import evaluate_pairs
from pdejax.evaluate.scores import over_channels, scores
from pdejax.evaluate.truth import sizes_of


def still(u, parameters=None, *, domain=None, key=None):
    return u


def drifting(amount):
    """Adds a constant to the second channel at every step."""

    def model(u, parameters=None, *, domain=None, key=None):
        return u.at[1].add(amount)

    return model


def trajectories(second, names=("a", "b")):
    """Channel `a` is a wave of amplitude 4 that turns by an eighth per frame; channel `b` is given frame by frame."""
    grid = pj.Grid((16,), 2 * jnp.pi)
    x, times = np.asarray(grid.axes[0]), np.arange(len(second), dtype=float)
    wave = 4 * np.sin(x - np.pi / 4 * times[:, None])
    u = np.stack([wave, np.asarray(second)[:, None] * np.cos(x)], axis=1)
    return pj.Trajectories.from_arrays(u[None, :, : len(names)].astype(np.float32), grid, names, times)


def test_a_channel_without_motion_is_no_failure():
    # Zero throughout: measured against the size of all channels, sqrt((4^2 / 2 + 0) / 2) = 2.
    data = trajectories([0.0] * 5)
    found = evaluate({"drifting": drifting(0.3), "still": still}, data, at=3.0, progress=False)
    result = found.results["drifting"]
    assert result.failed_at is None and np.isfinite(result.error)
    np.testing.assert_allclose(result.scores["relative_l2"][0, :, 1], 0.3 * np.arange(5) / 2, rtol=1e-5)
    # What has no correlation is left out of the mean, which is that of the wave alone: cos of an eighth turn.
    np.testing.assert_allclose(found.results["still"].mean("correlation")[1], np.cos(np.pi / 4), rtol=1e-5)
    assert np.isnan(found.results["still"].scores["correlation"][0, 1, 1])


def test_a_channel_that_starts_from_rest_is_measured_by_its_later_size():
    data = trajectories([0.0, 1.0, 2.0])
    found = evaluate({"drifting": drifting(0.3)}, data, at=1.0, progress=False)
    errors = found.results["drifting"].scores["relative_l2"][0, :, 1]
    # Zero and right at the first frame; then |cos - 0.3| / |cos|, the mean square of the cosine being one half.
    np.testing.assert_allclose(errors[:2], [0.0, np.sqrt((0.5 + 0.09) / 0.5)], atol=1e-5)
    np.testing.assert_allclose(sizes_of(data), [np.sqrt(8), np.sqrt(2.5 / 3)], rtol=1e-5)


def test_the_stated_time_lies_ahead_though_the_start_has_no_correlation():
    data = trajectories([0.0] * 4, names=("a",))
    data.u[:, 0] = 0
    found = evaluate({"still": still}, data, progress=False)
    assert found.lead_time == 1.0


def test_a_failure_is_not_averaged_away_with_the_channels_that_have_no_score():
    data = trajectories([0.0] * 3)
    found = evaluate({"failing": drifting(np.nan)}, data, at=1.0, progress=False)
    assert np.isnan(found.results["failing"].error)
    assert np.isnan(found.results["failing"].mean("correlation")[1:]).all()


def test_a_truth_of_nothing_is_refused():
    data = trajectories([0.0] * 3)
    data.u[:] = 0
    with pytest.raises(ValueError, match="zero in every channel"):
        evaluate({"still": still}, data, progress=False)


def test_means_over_channels_leave_out_what_has_no_score():
    values = np.asarray([[1.0, 3.0], [1.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(over_channels(values), [2.0, 1.0, np.nan])


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.float64])
def test_pairs_of_every_real_type_are_scored(dtype):
    inputs = np.arange(2 * 1 * 6 * 5).reshape(2, 1, 6, 5).astype(dtype)
    found = evaluate_pairs({"twice": lambda v, *, domain=None, key=None: 2 * v}, (inputs, inputs), None, key=None)
    assert found.table.loc["twice", "relative_l2"] == pytest.approx(1.0, rel=1e-3)


def test_pairs_that_cannot_be_scored_say_why():
    good = np.ones((2, 1, 6, 5), np.float32)
    bad = good.copy()
    bad[1, 0, 2, 3] = np.inf
    with pytest.raises(ValueError, match="targets .* not finite in sample 1"):
        evaluate_pairs({"still": still}, (good, bad), None, key=None)
    with pytest.raises(ValueError, match="two real channels"):
        evaluate_pairs({"still": still}, (good, good.astype(np.complex64)), None, key=None)


def test_every_channel_has_scores_of_its_own_in_every_table(tmp_path):
    """A millionth of the other in size, and as wrong as it is alone: means weigh both the same."""
    data = trajectories([1e-6] * 3)
    found = evaluate({"drifting": drifting(1e-6)}, data, at=1.0, progress=False)
    # Channel b is cos + n of amplitude 1e-6: n over the root of 1/2.
    expected = np.sqrt(2) * np.arange(3)
    np.testing.assert_allclose(found.results["drifting"].mean_by_channel("nrmse")[:, 1], expected, rtol=1e-4)
    written = json.loads(found.to_json(tmp_path / "metrics.json").read_text())
    curves = written["curves_by_channel"]["drifting"]
    np.testing.assert_allclose(curves["relative_l2"]["b"], expected, rtol=1e-4)
    # The wave has turned by an eighth and by a quarter, and was kept.
    wave = 2 * np.sin(np.pi / 8 * np.arange(3))
    np.testing.assert_allclose(curves["relative_l2"]["a"], wave, rtol=1e-4)
    np.testing.assert_allclose(written["curves"]["drifting"]["relative_l2"], (wave + expected) / 2, rtol=1e-4)
    rows = found.curves.query("metric == 'relative_l2' and channel == 'b' and name == 'drifting'")
    np.testing.assert_allclose(rows["mean"], expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_truth_with_nothing_on_the_common_modes_is_measured_by_its_size(dtype):
    """What truncation leaves of mode 6 on eight points is rounding, and nothing to be relative to."""
    grid = pj.Grid((16,), 2 * jnp.pi)
    x = np.asarray(grid.axes[0])
    truth = np.stack([np.cos(6 * x + 0.3) + np.sin(5 * x), np.cos(x)]).astype(dtype)[None, None]
    prediction = truth + np.asarray(0.1 * np.cos(x), dtype)
    sizes = np.asarray([1.0, np.sqrt(0.5)])
    found = scores(jnp.asarray(prediction), jnp.asarray(truth), grid, grid.with_shape((8,)), sizes)
    np.testing.assert_allclose(found["common_relative_l2"][0, 0], [0.1 * np.sqrt(0.5), 0.1], rtol=1e-4)
