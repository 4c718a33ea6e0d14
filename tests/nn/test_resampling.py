"""Resampled features are the same function on the new points: wherever those stand, and whatever the sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.nn import resampled
from pdejax.nn.resampling import scaled_space
from pdejax.resample import resample

SIZES = [(16, 32), (33, 16), (15, 40), (24, 17), (12, 12)]
AXES = [(True, "nodes"), (True, "centres"), (False, "nodes"), (False, "centres")]


def places(points, periodic, kind):
    """In units of the length of the axis."""
    if kind == "centres":
        return (np.arange(points) + 0.5) / points
    return np.arange(points) / (points if periodic else points - 1)


def tolerance(double, single):
    return double if jax.config.jax_enable_x64 else single


def along_one_axis(values, target, periodic, kind, *arguments, **options):
    u = jnp.asarray(values)[None]
    return np.asarray(resampled(u, (target,), (periodic,), (kind,), *arguments, **options))[0]


@pytest.mark.parametrize(("periodic", "kind"), AXES)
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_band_limited_functions_come_back_exactly(source, target, periodic, kind):
    def function(x):
        if periodic:
            return 0.3 + np.sin(2 * np.pi * 5 * x + 0.4) - 0.5 * np.cos(2 * np.pi * 2 * x)
        return 0.3 + np.cos(np.pi * 11 * x) - 0.5 * np.cos(np.pi * 4 * x)  # their slope vanishes at both walls

    result = along_one_axis(function(places(source, periodic, kind)), target, periodic, kind)
    np.testing.assert_allclose(result, function(places(target, periodic, kind)), atol=tolerance(1e-13, 2e-6))


def test_unequal_axes_of_every_kind_in_three_dimensions():
    def field(space):
        x, y, z = np.meshgrid(*(places(n, *axis) for n, axis in zip(space, AXES[1:], strict=True)), indexing="ij")
        one = np.sin(2 * np.pi * (2 * x + 0.1)) * np.cos(np.pi * 3 * y) + np.cos(np.pi * 4 * z)
        return np.stack([one, np.cos(2 * np.pi * x) * np.cos(np.pi * z)])

    flags, kinds = zip(*AXES[1:], strict=True)
    moved = jax.jit(lambda u: resampled(u, (9, 7, 10), flags, kinds))(jnp.asarray(field((6, 8, 7))))
    np.testing.assert_allclose(moved, field((9, 7, 10)), atol=tolerance(1e-13, 2e-6))


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_periodic_axes_agree_with_resample_on_any_values(kind):
    u = np.random.default_rng(0).normal(size=(2, 12, 15))
    for space in ((24, 10), (7, 20)):
        grid, target = (Grid(n, (2.0, 3.0), points=kind) for n in ((12, 15), space))
        ours = resampled(jnp.asarray(u), space, (True, True), (kind, kind))
        np.testing.assert_allclose(ours, resample(jnp.asarray(u), grid, target), atol=tolerance(1e-13, 2e-6))


@pytest.mark.parametrize(("periodic", "kind"), AXES)
def test_transforms_of_long_axes_compute_what_the_matrices_do(periodic, kind, monkeypatch):
    from pdejax.nn import resampling

    u = np.random.default_rng(1).normal(size=12)
    for target, options in ((20, {}), (8, {"drop_highest": True})):
        by_matrix = along_one_axis(u, target, periodic, kind, **options)
        with monkeypatch.context() as patch:
            patch.setattr(resampling, "_LARGEST_MATRIX", 4)
            by_transform = along_one_axis(u, target, periodic, kind, **options)
        np.testing.assert_allclose(by_transform, by_matrix, atol=tolerance(1e-13, 2e-6))


@pytest.mark.parametrize(("periodic", "kind"), AXES)
@pytest.mark.parametrize("ratio", [2, 0.5, 0.75])
def test_bicubic_is_of_third_order_where_no_wall_is_near(periodic, kind, ratio):
    def error(points):
        new = scaled_space((points,), (ratio,), (periodic,), (kind,))[0]
        function = lambda x: np.sin(2 * np.pi * x + 0.3)  # noqa: E731
        values = function(places(points, periodic, kind))
        x = places(new, periodic, kind)
        gap = along_one_axis(values, new, periodic, kind, "bicubic") - function(x)
        return np.max(np.abs(gap[(x > 0.2) & (x < 0.8)]))

    # Wider kernels are of second order: their second moment does not vanish.
    order = np.log2(error(48) / error(96))
    if ratio == 2 and jax.config.jax_enable_x64:
        assert 2.7 < order < 4.2
    assert error(96) < (2e-4 if ratio == 2 else 4e-3)


def test_bicubic_between_walls_is_that_of_jax_image_and_wraps_around_periodic_axes():
    u = jnp.asarray(np.random.default_rng(2).normal(size=(2, 12, 9)))
    for space in ((24, 18), (5, 4), (16, 7)):
        ours = resampled(u, space, (False, False), ("centres", "centres"), "bicubic")
        theirs = jax.image.resize(u, (2, *space), "cubic", antialias=True, precision="highest")
        np.testing.assert_allclose(ours, theirs, atol=tolerance(1e-7, 2e-6))
    half = lambda v: resampled(v, (6, 18), (True, True), ("nodes", "centres"), "bicubic")  # noqa: E731
    moved = half(jnp.roll(u, (2, 1), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(half(u), (1, 2), (1, 2)), atol=tolerance(1e-13, 2e-6))


@pytest.mark.parametrize("method", ["fourier", "bicubic"])
@pytest.mark.parametrize(("periodic", "kind"), AXES)
def test_constants_stay(periodic, kind, method):
    for target in (7, 13, 40):
        same = along_one_axis(np.full(16, 2.5), target, periodic, kind, method)
        np.testing.assert_allclose(same, 2.5, atol=tolerance(1e-13, 2e-6))


def test_what_is_left_without_the_highest_frequency_commutes_with_translations_by_parts_of_a_point():
    n, m = 24, 12
    x = np.arange(n) / n
    u = lambda shift: np.cos(2 * np.pi * 6 * (x - shift)) + np.sin(2 * np.pi * 5 * (x - shift))  # noqa: E731
    for drop, largest in ((True, tolerance(1e-13, 2e-6)), (False, np.inf)):
        here, there = (along_one_axis(u(s), m, True, "nodes", drop_highest=drop) for s in (0.0, 0.3 / m))
        # The frequency 6 of 12 points is seen as its cosine there alone.
        kept = np.sin(2 * np.pi * 5 * (np.arange(m) / m - 0.3 / m))
        gap = np.max(np.abs(there - kept))
        assert gap <= largest and (drop or gap > 0.3)
        assert np.all(np.isfinite(here))


def test_axes_that_keep_their_points_are_filtered_when_asked():
    wave = np.cos(np.pi * np.arange(12)) + 1
    np.testing.assert_array_equal(along_one_axis(wave, 12, True, "nodes"), wave.astype(jnp.zeros(()).dtype))
    filtered = along_one_axis(wave, 12, True, "nodes", drop_highest=True)
    np.testing.assert_allclose(filtered, 1.0, atol=tolerance(1e-13, 2e-6))


def test_precision_and_sizes():
    u = jnp.ones((1, 8), jnp.bfloat16)
    assert resampled(u, (16,), (True,), ("nodes",)).dtype == jnp.bfloat16
    assert scaled_space((9, 16, 16), (0.5, 0.5, 0.75), (False, False, True), ("nodes", "centres", "nodes")) == (
        5,
        8,
        12,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4), (True,), ("nodes",)), "Features of 1 axes need as many"),
        (((1,), (False,), ("nodes",)), "at both ends of axis 0, got 8 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        resampled(jnp.ones((1, 8)), *arguments)
