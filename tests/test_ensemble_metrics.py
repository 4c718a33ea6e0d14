"""Scores of ensembles against sums over pairs, and against the laws of what is drawn."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid, metrics

TOLERANCE = 1e-10 if jax.config.jax_enable_x64 else 3e-6


def drawn(members=5, channels=2, shape=(9, 8), **options):
    grid = Grid(shape, (2.0, 3.0)[: len(shape)], **options)
    u = np.random.default_rng(3).normal(1.0, 2.0, (members, channels, *shape))
    return u.astype(grid.dtype), grid


@pytest.mark.parametrize("periodic", [True, (True, False)])
def test_agreement_and_score_are_means_over_pairs(periodic):
    u, grid = drawn(periodic=periodic)
    pairs = [metrics.correlation(u[i], u[j], grid) for i, j in combinations(range(5), 2)]
    np.testing.assert_allclose(metrics.agreement(u, grid), np.mean(pairs, axis=0), rtol=0, atol=TOLERANCE)
    truth = u[0] + 0.5
    volume = float(np.prod(grid.extent))
    of_pairs = sum(np.asarray(grid.integrate(jnp.abs(u[i] - u[j]))) for i, j in combinations(range(5), 2)) / 20
    expected = (np.mean([np.asarray(grid.integrate(jnp.abs(v - truth))) for v in u], axis=0) - of_pairs) / volume
    np.testing.assert_allclose(metrics.crps(u, truth, grid), expected, rtol=10 * TOLERANCE)


def test_spread_is_the_deviation_of_the_members_in_any_units():
    u, grid = drawn()
    expected = np.sqrt(np.mean(np.var(u.astype(np.float64), axis=0, ddof=1), axis=(1, 2)))
    for unit in (1.0, 1e-25, 1e25):
        # Squares of these are not numbers of single precision.
        np.testing.assert_allclose(metrics.spread(u * np.asarray(unit, u.dtype), grid) / unit, expected, rtol=1e-5)
    assert np.all(metrics.spread(np.repeat(u[:1], 3, axis=0), grid) == 0)


def test_the_score_of_fields_with_a_large_mean_and_of_huge_ones_is_that_of_their_differences():
    grid = Grid(8, 1.0, dtype=np.float32)
    u = np.random.default_rng(0).normal(size=(5, 2, 8))
    for offset, size in ((1e6, 50.0), (0.0, 3e37), (0.0, 1e-30)):
        members = (offset + size * u).astype(np.float32)
        truth = members[0] * np.float32(1 + 1e-6 if offset else 0.5)
        exact = members.astype(np.float64), truth.astype(np.float64)
        distance = np.mean(np.abs(exact[0] - exact[1]), axis=(0, 2))
        between = sum(np.mean(np.abs(exact[0][i] - exact[0][j]), axis=-1) for i, j in combinations(range(5), 2)) / 20
        found = np.asarray(metrics.crps(members, truth, grid), float)
        np.testing.assert_allclose(found / size, (distance - between) / size, rtol=1e-5)


@pytest.mark.usefixtures("without_shape_checks")
def test_whole_numbers_and_half_precision_are_scored_in_single_precision():
    grid = Grid(8, 1.0, dtype=np.float32)
    u = np.random.default_rng(0).integers(-9, 9, (4, 1, 8))
    for dtype in (np.int32, np.float16):
        members = u.astype(dtype)
        for score in (metrics.agreement, metrics.spread, lambda v, g: metrics.crps(v, v[0] + v.dtype.type(1), g)):
            found = score(members, grid)
            assert found.dtype == np.float32 or jax.config.jax_enable_x64
            np.testing.assert_allclose(found, score(u.astype(grid.dtype), grid), rtol=1e-5)


def test_members_of_the_truths_own_law_are_as_far_from_it_as_from_each_other():
    grid = Grid((400, 500), (1.0, 1.0))
    members, truth = (jax.random.normal(jax.random.key(k), (n, 1, *grid.shape)) for k, n in ((0, 4), (1, 1)))
    spread = float(metrics.spread(members, grid)[0])
    np.testing.assert_allclose(spread, 1, rtol=0.01)
    np.testing.assert_allclose(metrics.mse(members[0], truth[0], grid), 2 * spread**2, rtol=0.02)
    np.testing.assert_allclose(metrics.mse(members.mean(axis=0), truth[0], grid), 1.25 * spread**2, rtol=0.02)
    # The fair score of a normal law is 1 / sqrt(pi) for any number of members.
    for count in (2, 4):
        np.testing.assert_allclose(metrics.crps(members[:count], truth[0], grid), 1 / np.sqrt(np.pi), rtol=0.02)


def test_members_that_part_agree_until_then():
    grid = Grid((64,), 1.0)
    x, shifts = grid.coordinates()[0], np.linspace(-1, 1, 5)
    times = np.linspace(0, 0.2, 21)
    # Two waves a phase d apart have the correlation cos(d).
    rollouts = jnp.stack([jnp.stack([jnp.sin(2 * np.pi * (x - s * t))[None] for t in times]) for s in shifts])
    found = jax.vmap(metrics.agreement, in_axes=(1, None))(rollouts, grid)[:, 0]
    apart = [abs(a - b) for a, b in combinations(shifts, 2)]
    expected = [np.mean([np.cos(2 * np.pi * d * t) for d in apart]) for t in times]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    trusted = metrics.correlation_time(found, times, 0.8)
    assert trusted.fell and trusted.time == times[np.argmax(np.asarray(expected) < 0.8)]


def test_a_member_that_is_not_a_number_and_one_that_is_constant_are_not_silent():
    u, grid = drawn(members=3)
    constant = u.copy()
    constant[2] = 0.3
    alone = metrics.correlation(u[0], u[1], grid) / 3
    np.testing.assert_allclose(metrics.agreement(constant, grid), alone, atol=TOLERANCE)
    lost = u.copy()
    lost[1, 0, 2, 2] = np.nan
    for found in (metrics.agreement(lost, grid), metrics.spread(lost, grid), metrics.crps(lost, u[0], grid)):
        assert np.isnan(found[0]) and np.isfinite(found[1])


@pytest.mark.usefixtures("without_shape_checks")
def test_refuses_what_is_no_ensemble():
    u, grid = drawn()
    for score in (metrics.agreement, metrics.spread, lambda v, g: metrics.crps(v, u[0], g)):
        with pytest.raises(ValueError, match="two or more states"):
            score(u[:1], grid)
        with pytest.raises(ValueError, match="two or more states"):
            score(u[0], grid)
        with pytest.raises(ValueError, match="A member"):
            score(u[:, :, :-1], grid)
    with pytest.raises(ValueError, match="truth"):
        metrics.crps(u, u[0, :1], grid)
