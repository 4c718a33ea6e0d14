"""Resampling is exact on functions both grids hold, whatever the sizes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.resample import resample

EXTENT = (2.0, 5.0)


def turns(grid):
    """Position along each axis as a fraction of the period."""
    offsets = [0.5 if kind == "centres" else 0.0 for kind in grid.points]
    axes = [(np.arange(n) + offset) / n for n, offset in zip(grid.shape, offsets, strict=True)]
    return 2 * np.pi * np.stack(np.meshgrid(*axes, indexing="ij"))


def series(grid):
    """Modes up to 3 along the first axis and 5 along the second."""
    s, t = turns(grid)
    field = 0.3 + np.sin(3 * s + 2 * t) - 0.7 * np.cos(s - 5 * t) + 0.2 * np.cos(5 * t)
    return np.stack([field, np.cos(2 * s) * np.sin(4 * t)]).astype(grid.dtype)


def compiled(*grids):
    """From each grid to the next."""

    def through(u):
        for grid, target in itertools.pairwise(grids):
            u = resample(u, grid, target)
        return u

    return jax.jit(through)


@pytest.mark.parametrize(
    ("source", "target", "points"),
    [
        ((8, 11), (9, 12), ("nodes", "nodes")),
        ((40, 50), (24, 33), ("centres", "centres")),
        ((7, 33), (24, 11), ("nodes", "centres")),
        ((9, 12), (8, 12), ("centres", "nodes")),
    ],
)
def test_exact_on_functions_both_grids_hold(source, target, points):
    grid = Grid(source, EXTENT, points=points[0])
    finer = Grid(target, EXTENT, points=points[1])
    tolerance = 2e-5 if grid.dtype == np.float32 else 1e-13
    result = compiled(grid, finer)(series(grid))
    assert result.shape == (2, *target) and result.dtype == grid.dtype
    np.testing.assert_allclose(result, series(finer), atol=tolerance)


def test_highest_mode_of_an_even_grid_becomes_a_cosine_of_full_amplitude():
    grid = Grid(6, 1.0)
    target = Grid(15, 1.0)
    alternating = np.asarray([1.0, -1.0] * 3, grid.dtype)
    np.testing.assert_allclose(compiled(grid, target)(alternating), np.cos(3 * turns(target)[0]), atol=3e-6)
    # Back on six points +3 and -3 fall together again.
    np.testing.assert_allclose(compiled(grid, target, grid)(alternating), alternating, atol=3e-6)


@pytest.mark.parametrize(("coarse", "fine", "points"), [((6, 9), (10, 14), "nodes"), ((7, 8), (8, 9), "centres")])
def test_finer_and_back_is_the_identity_and_coarser_and_back_a_projection(coarse, fine, points):
    small, large = Grid(coarse, EXTENT, points=points), Grid(fine, EXTENT, points=points)
    tolerance = 1e-5 if small.dtype == np.float32 else 1e-13
    rng = np.random.default_rng(0)
    u = rng.normal(size=(3, *coarse)).astype(small.dtype)
    np.testing.assert_allclose(compiled(small, large, small)(u), u, atol=tolerance)

    v = rng.normal(size=fine).astype(large.dtype)
    down_and_up = compiled(large, small, large)
    once = np.asarray(down_and_up(v))
    np.testing.assert_allclose(down_and_up(once), once, atol=tolerance)
    # Orthogonal: what was removed has no part in what was kept.
    assert abs(np.mean((v - once) * once)) < tolerance * np.mean(v**2)
    np.testing.assert_allclose(once.mean(), v.mean(), atol=tolerance)


def test_three_dimensions_and_half_precision():
    grid = Grid((4, 7, 6), (1.0, 2.0, 3.0))
    target = grid.with_shape((9, 5, 8))
    u, expected = (np.cos(x) * np.sin(2 * y - 2 * z) for x, y, z in (turns(grid), turns(target)))
    result = compiled(grid, target)(u.astype(grid.dtype))
    np.testing.assert_allclose(result, expected, atol=1e-5 if grid.dtype == np.float32 else 1e-13)
    half = compiled(grid, target)(jnp.asarray(u, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(half, np.float32), expected, atol=0.03)


@pytest.mark.usefixtures("without_shape_checks")
def test_refuses_what_it_cannot_do():
    grid = Grid((8, 9), EXTENT)
    u = jnp.zeros((1, 8, 9))
    with pytest.raises(ValueError, match="periodic"):
        resample(u, grid, Grid((16, 18), EXTENT, periodic=(True, False)))
    with pytest.raises(ValueError, match="same box"):
        resample(u, grid, Grid((16, 18), (2.0, 4.0)))
    with pytest.raises(ValueError, match="same box"):
        resample(u, grid, Grid((16, 18), EXTENT, origin=0.5))
    with pytest.raises(ValueError, match=r"\(8, 9\)"):
        resample(u[:, :, 1:], grid, grid.with_shape((16, 18)))
    with pytest.raises(ValueError, match="real"):
        resample(u.astype(complex), grid, grid.with_shape((16, 18)))
