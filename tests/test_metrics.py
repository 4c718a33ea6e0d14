"""Metrics on fields whose scores are known by hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import metrics
from pdejax.grid import Grid

EXTENT = (2.0, 5.0)


def fields(shape):
    """Two channels of truth and prediction on a grid: the same functions of x on every resolution."""
    grid = Grid(shape, EXTENT)
    x, y = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    truth = np.stack([2.0 + np.cos(3 * x + y), np.sin(2 * y)])
    prediction = np.stack([2.0 + np.cos(3 * x + y) + 0.3 * np.sin(x), -0.5 * np.sin(2 * y) + 0.1])
    return jnp.asarray(prediction, grid.dtype), jnp.asarray(truth, grid.dtype), grid


# Mean squares: of the truth 4.5 and 0.5, of its fluctuation 0.5 and 0.5, of the error 0.045 and 1.125 + 0.01.
EXPECTED = {
    metrics.mse: [0.045, 1.135],
    metrics.rmse: [np.sqrt(0.045), np.sqrt(1.135)],
    metrics.relative_l2: [0.1, np.sqrt(2.27)],
    metrics.nrmse: [0.1, np.sqrt(2.27)],
    metrics.vrmse: [0.3, np.sqrt(2.27)],
    metrics.correlation: [np.sqrt(0.5 / 0.545), -1.0],
}


@pytest.mark.parametrize("shape", [(9, 8), (16, 21)])
def test_scores_are_those_of_the_fields_on_every_resolution(shape):
    scores = jax.jit(lambda *fields: [metric(*fields) for metric in EXPECTED])(*fields(shape))
    for score, (metric, expected) in zip(scores, EXPECTED.items(), strict=True):
        np.testing.assert_allclose(score, expected, rtol=1e-5, err_msg=metric.__name__)


def test_correlation_with_the_means_left_in():
    # 4.5 / sqrt(4.545 * 4.5) and -0.25 / sqrt(0.135 * 0.5)
    expected = [np.sqrt(4.5 / 4.545), -0.25 / np.sqrt(0.135 * 0.5)]
    result = jax.jit(lambda *fields: metrics.correlation(*fields, remove_mean=False))(*fields((9, 8)))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_scores_with_walls_use_the_quadrature_of_the_grid():
    grid = Grid(101, 1.0, periodic=False, points="nodes")
    truth, prediction = jnp.ones((1, 101), grid.dtype), 1 + grid.axes[0][None]
    # The error is x, its mean square 1/3; a plain mean over these points would be 0.335.
    np.testing.assert_allclose(metrics.mse(prediction, truth, grid), 1 / 3, rtol=1e-4)


def test_zero_truth_and_nan_are_not_silent():
    grid = Grid((4, 5), EXTENT)
    truth = jnp.zeros((3, 4, 5), grid.dtype)
    prediction = truth.at[1].set(0.5).at[2, 0, 0].set(jnp.nan)
    scores = (metrics.relative_l2, metrics.vrmse, metrics.spectrum_error, metrics.correlation)
    relative, variance, spectrum, correlation = jax.jit(lambda: [score(prediction, truth, grid) for score in scores])()
    np.testing.assert_array_equal(relative, [0, np.inf, np.nan])
    np.testing.assert_array_equal(variance, [0, np.inf, np.nan])
    # All energy of the second prediction is in its mean, of which spectrum_error does not speak.
    np.testing.assert_array_equal(spectrum, [0, 0, np.nan])
    np.testing.assert_array_equal(correlation, [0, 0, np.nan])


@pytest.mark.parametrize("shape", [(16,), (12, 15), (15, 12), (5, 6, 4)])
def test_spectrum_sums_to_the_mean_square(shape):
    grid = Grid(shape, 1.0)
    u = 0.5 + np.random.default_rng(0).normal(size=(2, *shape)).astype(grid.dtype)
    spectrum = np.asarray(jax.jit(metrics.energy_spectrum)(u, grid))
    space = tuple(range(1, u.ndim))
    np.testing.assert_allclose(spectrum.sum(axis=1), np.mean(u**2, axis=space), rtol=1e-5)
    np.testing.assert_allclose(spectrum[:, 0], np.mean(u, axis=space) ** 2, rtol=1e-4)


@pytest.mark.parametrize("shape", [(9, 8), (16, 21)])
def test_spectrum_puts_each_wave_into_its_shell(shape):
    _, truth, grid = fields(shape)
    spectrum = np.asarray(jax.jit(metrics.energy_spectrum)(truth, grid))
    # |(3, 1)| = 3.16 lies in shell 3.
    expected = np.zeros_like(spectrum)
    expected[0, [0, 3]] = 4.0, 0.5
    expected[1, 2] = 0.5
    np.testing.assert_allclose(spectrum, expected, atol=1e-6)


def test_spectrum_error_is_the_log_ratio_of_the_shells():
    grid = Grid((12, 13), 1.0)
    score = jax.jit(metrics.spectrum_error)
    truth = np.random.default_rng(1).normal(size=(2, 12, 13)).astype(grid.dtype)
    factors = np.asarray([1.1, 0.5], grid.dtype)[:, None, None]
    np.testing.assert_allclose(score(truth * factors, truth, grid), [2 * np.log(1.1), 2 * np.log(2)], rtol=1e-4)
    # Phases do not count, and neither do shells in which both hold only noise.
    np.testing.assert_allclose(score(np.roll(truth, 3, axis=1), truth, grid), 0, atol=1e-4)
    x = np.broadcast_to(np.arange(12)[:, None] / 12, (12, 13))
    smooth = np.stack([np.cos(2 * np.pi * x), np.sin(4 * np.pi * x)]).astype(grid.dtype)
    np.testing.assert_allclose(score(smooth + 1e-6 * truth, smooth, grid), 0, atol=0.01)


def test_correlation_time_on_numbers_made_by_hand():
    times = np.array([0.5, 1.0, 2.0, 4.0])
    correlations = np.array([[1.0, 0.9, 0.9, 0.1], [1.0, 0.9, 0.5, 0.3]])  # means 1.0, 0.9, 0.7, 0.2
    assert metrics.correlation_time(correlations, times, 0.8) == (2.0, True)
    assert metrics.correlation_time(correlations, times, 0.7 - 1e-12) == (4.0, True)
    assert metrics.correlation_time(correlations, times, 0.1) == (4.0, False)
    assert metrics.correlation_time(correlations, times, 1.5, interpolate=True) == (0.5, True)
    assert metrics.correlation_time(correlations.mean(axis=0), times, 0.8).time == 2.0
    time, fell = metrics.correlation_time(correlations, times, 0.8, interpolate=True)
    assert fell and time == pytest.approx(1.5)
    # The first fall counts, even when the mean recovers; a diverged sample is a fall.
    assert metrics.correlation_time(np.array([0.9, 0.7, 0.9, 0.9]), times, 0.8).time == 1.0
    diverged = correlations.copy()
    diverged[0, 1] = np.nan
    assert metrics.correlation_time(diverged, times, 0.8, interpolate=True) == (1.0, True)
    with pytest.raises(ValueError, match="increasing"):
        metrics.correlation_time(correlations, times[::-1], 0.8)
    with pytest.raises(ValueError, match=r"\(sample, 4\)"):
        metrics.correlation_time(correlations[:0], times, 0.8)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, (30, 400))
    low, high = metrics.bootstrap_interval(values, confidence=0.9, num_resamples=500)
    # 400 independent sets of 30 samples; the percentile interval is a little narrow for few samples.
    assert 0.83 < np.mean((low < 3.0) & (high > 3.0)) < 0.93
    np.testing.assert_allclose(np.mean(high - low), 2 * 1.645 * 2.0 / np.sqrt(30), rtol=0.05)
    with pytest.raises(ValueError, match="two samples"):
        metrics.bootstrap_interval(values[:1])


@pytest.mark.usefixtures("without_shape_checks")
def test_refuses_states_of_other_shapes():
    prediction, truth, grid = fields((9, 8))
    with pytest.raises(ValueError, match="prediction"):
        metrics.relative_l2(prediction[:, :, :4], truth, grid)
    with pytest.raises(ValueError, match="periodic"):
        metrics.energy_spectrum(truth, Grid((9, 8), EXTENT, periodic=False))


def test_scores_do_not_depend_on_the_units():
    prediction, truth, grid = fields((9, 8))
    prediction, truth = (np.asarray(u, np.float32) for u in (prediction, truth))
    relative = (metrics.relative_l2, metrics.nrmse, metrics.vrmse, metrics.correlation, metrics.spectrum_error)
    scores = jax.jit(lambda p, u: [score(p, u, grid) for score in (*relative, metrics.rmse)])
    expected = scores(prediction, truth)
    for scale in np.float32([1e-30, 1e-10, 1e10, 1e30]):
        *found, rmse = scores(prediction * scale, truth * scale)
        for score, before, after in zip(relative, expected, found, strict=False):
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5, err_msg=f"{score.__name__} {scale}")
        np.testing.assert_allclose(np.asarray(rmse) / scale, expected[-1], rtol=1e-4)


def test_gradients_are_finite_where_prediction_and_truth_agree_or_vanish():
    _, truth, grid = fields((9, 8))
    truth = truth.at[1].set(0.0)
    names = ("rmse", "relative_l2", "nrmse", "vrmse", "correlation", "spectrum_error")

    def total(prediction):
        return sum(jnp.sum(getattr(metrics, name)(prediction, truth, grid)) for name in names)

    gradient = jax.jit(jax.grad(total))
    assert np.all(np.isfinite(gradient(truth)))
    assert np.all(np.isfinite(gradient(truth.at[0].set(0.0))))


@pytest.mark.float64
def test_the_gradient_of_a_size_is_that_of_differences():
    prediction, truth, grid = fields((9, 8))
    direction = jnp.asarray(np.random.default_rng(0).normal(size=truth.shape))

    @jax.jit
    @jax.value_and_grad
    def total(step):
        moved = prediction + step * direction
        scores = [score(moved, truth, grid) for score in (metrics.rmse, metrics.relative_l2, metrics.correlation)]
        return sum(jnp.sum(score) for score in scores)

    np.testing.assert_allclose(total(0.0)[1], (total(1e-6)[0] - total(-1e-6)[0]) / 2e-6, rtol=1e-6)


def test_a_constant_has_no_correlation_though_its_mean_is_rounded():
    grid = Grid((31, 17), EXTENT, dtype=jnp.float32)
    wave = np.sin(2 * np.pi * np.arange(31) / 31)[None, :, None] * np.ones(17)
    constant = np.full((1, 31, 17), 0.1, np.float32)
    found = jax.jit(lambda u, v: metrics.correlation(u, v, grid))(wave.astype(np.float32), constant)
    np.testing.assert_array_equal(found, 0)


@pytest.mark.usefixtures("without_shape_checks")
def test_two_points_have_no_complete_shell():
    grid = Grid((2, 5), EXTENT)
    with pytest.raises(ValueError, match=r"shape \(2, 5\) has none.*three points"):
        metrics.spectrum_error(jnp.ones((1, 2, 5)), jnp.ones((1, 2, 5)), grid)


def test_the_incomplete_shell_at_the_end_is_not_scored():
    """On eight points mode 4 has no sine: its shell is half a shell."""
    grid = Grid((8, 12), 1.0)
    x, y = np.asarray(grid.coordinates())
    truth = (np.cos(2 * np.pi * x) + np.cos(4 * np.pi * x) + np.cos(6 * np.pi * y))[None]
    score = jax.jit(lambda u: metrics.spectrum_error(u, truth, grid)[0])
    assert score(truth + np.cos(8 * np.pi * x)) < 1e-5
    assert score(truth + np.cos(6 * np.pi * x)) > 0.1


def test_the_rounding_of_a_constant_is_no_variation():
    grid = Grid((16, 12), 1.0, dtype=jnp.float32)
    noise = np.random.default_rng(0).normal(size=(1, 16, 12)).astype(np.float32)
    eps = np.finfo(np.float32).eps
    varies = jax.jit(lambda u: metrics.varies(u, grid)[0])
    assert not varies(1 + 2 * eps * noise)
    assert varies(1 + 100 * eps * noise)


def test_a_constant_truth_has_no_deviation_whatever_its_mean_is_rounded_to():
    # What is left of a constant minus its mean is a matter of the order of a sum; eight roundings are none of it.
    grid = Grid((31, 17), EXTENT)
    score = lambda p, u: metrics.vrmse(p, u, grid)  # noqa: E731
    scored = jax.jit(lambda p, u: (score(p, u), jax.grad(lambda p, u: jnp.sum(score(p, u)), (0, 1))(p, u)))
    alternating = np.asarray([0, 1, 0, 0])[:, None, None] * (-1) ** np.arange(31 * 17).reshape(31, 17)
    for constant, dtype in itertools.product((0.1, -3.7, 1e6), (np.float32, np.float64)):
        truth = constant * (1 + np.finfo(dtype).eps * alternating)
        truth[3, 5, 5] *= 1.01
        truth = truth.astype(dtype)
        prediction = truth * np.asarray([1, 1.5, 1, 1.5], dtype)[:, None, None]
        found, gradients = scored(prediction, truth)
        np.testing.assert_array_equal(found[:3], [0, np.inf, 0])
        assert 0 < found[3] < np.inf
        for gradient in map(np.asarray, gradients):
            assert np.all(np.isfinite(gradient))
            np.testing.assert_array_equal(gradient[:3], 0)
            assert np.any(gradient[3] != 0)
        assert np.isnan(scored(prediction * np.nan, truth)[0]).all()


RELATIVE = [metrics.relative_l2, metrics.nrmse, metrics.vrmse, metrics.spectrum_error]


@pytest.mark.either
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_relative_to_nothing_is_infinite_and_adds_no_gradient(dtype):
    """Channel 0 is a common one, channel 1 zero in the truth, channel 2 zero in both."""
    prediction, truth, grid = fields((9, 8))
    prediction, truth = np.asarray(prediction[1], dtype), np.asarray(truth[1], dtype)
    truth, prediction = np.stack([truth, 0 * truth, 0 * truth]), np.stack([prediction, prediction, 0 * prediction])

    def scored(p, u):
        """Of every score the values and the gradients of their sum."""
        score_of = lambda score: lambda p, u: (jnp.sum(score(p, u, grid)), score(p, u, grid))  # noqa: E731
        return [jax.value_and_grad(score_of(score), (0, 1), has_aux=True)(p, u) for score in RELATIVE]

    together = jax.tree.map(np.asarray, jax.jit(jax.vmap(scored))(prediction[None], truth[None]))
    alone = jax.jit(scored)(prediction[:1], truth[:1])
    for score, ((_, values), gradients), (_, (expected, _)) in zip(RELATIVE, together, alone, strict=True):
        assert 0 < values[0, 0] < 10, score.__name__
        np.testing.assert_array_equal(values[0, 1:], [np.inf, 0], err_msg=score.__name__)
        assert np.any(expected[0] != 0), score.__name__
        np.testing.assert_allclose(gradients[0][0, 0], expected[0], rtol=1e-4, atol=1e-6, err_msg=score.__name__)
        for gradient in gradients:
            assert np.all(np.isfinite(gradient)) and gradient.dtype == jnp.asarray(prediction).dtype, score.__name__
            np.testing.assert_array_equal(gradient[0, 1:], 0, err_msg=score.__name__)


@pytest.mark.float64
def test_gradients_do_not_depend_on_the_units():
    """Of the score of s p against s q, in single precision: 1/s of that of p against q."""
    random = np.random.default_rng(0)
    truth = 0.3 + random.normal(size=(2, 8, 9))
    prediction = truth + 0.5 * random.normal(size=truth.shape)
    cosine = functools.partial(metrics.correlation, remove_mean=False)
    scores = [*RELATIVE, metrics.correlation, metrics.rmse, cosine]

    @jax.jit
    def gradients(p, q, grid):
        return [jax.grad(lambda p, q, score=score: jnp.sum(score(p, q, grid)), (0, 1))(p, q) for score in scores]

    exact = gradients(prediction, truth, Grid((8, 9), EXTENT, dtype=np.float64))
    single = Grid((8, 9), EXTENT, dtype=np.float32)
    for scale in (1e-30, 1e-20, 1.0, 1e20, 1e30):
        small = [(scale * u).astype(np.float32) for u in (prediction, truth)]
        for score, pair, expected in zip(scores, gradients(*small, single), exact, strict=True):
            for argument in (0, 1):
                assert pair[argument].dtype == np.float32
                found = np.asarray(pair[argument], np.float64) * (1.0 if score is metrics.rmse else scale)
                size = np.max(np.abs(expected[argument]))
                where = f"{score} {argument} at {scale}"
                np.testing.assert_allclose(found, expected[argument], rtol=0, atol=3e-5 * size, err_msg=where)


@pytest.mark.float64
def test_gradients_where_prediction_and_truth_differ_in_size():
    """A prediction of 1e-20 for a truth of 1e20, and the other way round: what can be stated at all is right."""
    random = np.random.default_rng(1)
    truth, prediction = random.normal(size=(2, 1, 30))
    single, double = (Grid(30, 1.0, dtype=dtype) for dtype in (np.float32, np.float64))
    of = jax.jit(jax.grad(lambda p, q, grid: jnp.sum(metrics.correlation(p, q, grid)), (0, 1)))
    exact = of(prediction, truth, double)
    for scales in ((1e-20, 1e20), (1e20, 1e-20)):
        found = of(*((s * u).astype(np.float32) for s, u in zip(scales, (prediction, truth), strict=True)), single)
        for one, other, scale in zip(found, exact, scales, strict=True):
            np.testing.assert_allclose(np.asarray(one, float) * scale, other, atol=1e-4 * np.max(np.abs(other)))
