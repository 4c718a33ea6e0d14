"""Resampling is exact on functions both grids hold, whatever the sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.resample import resample

EXTENT = (2.0, 5.0)


def series(grid):
    """Modes up to 3 along the first axis and 5 along the second, evaluated in double precision."""
    x, y = (np.asarray(axis, np.float64) for axis in grid.coordinates())
    s, t = 2 * np.pi * x / EXTENT[0], 2 * np.pi * y / EXTENT[1]
    field = 0.3 + np.sin(3 * s + 2 * t) - 0.7 * np.cos(s - 5 * t) + 0.2 * np.cos(5 * t)
    return jnp.asarray(np.stack([field, np.cos(2 * s) * np.sin(4 * t)]), grid.dtype)


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
    result = resample(series(grid), grid, finer)
    assert result.shape == (2, *target) and result.dtype == grid.dtype
    np.testing.assert_allclose(result, series(finer), atol=tolerance)


def test_highest_mode_of_an_even_grid_becomes_a_cosine_of_full_amplitude():
    grid = Grid(6, 1.0)
    target = Grid(15, 1.0)
    alternating = jnp.asarray([1.0, -1.0] * 3, grid.dtype)
    np.testing.assert_allclose(
        resample(alternating, grid, target), np.cos(6 * np.pi * np.asarray(target.axes[0])), atol=3e-6
    )
    # Back on six points +3 and -3 fall together again.
    np.testing.assert_allclose(resample(resample(alternating, grid, target), target, grid), alternating, atol=3e-6)


@pytest.mark.parametrize(
    ("coarse", "fine", "points"), [((6, 9), (10, 14), "nodes"), ((7, 8), (8, 9), "centres")]
)
def test_finer_and_back_is_the_identity_and_coarser_and_back_a_projection(coarse, fine, points):
    small, large = Grid(coarse, EXTENT, points=points), Grid(fine, EXTENT, points=points)
    tolerance = 1e-5 if small.dtype == np.float32 else 1e-13
    key_small, key_large = jax.random.split(jax.random.key(0))
    u = jax.random.normal(key_small, (3, *coarse), small.dtype)
    up_and_down = jax.jit(lambda u: resample(resample(u, small, large), large, small))
    np.testing.assert_allclose(up_and_down(u), u, atol=tolerance)

    v = jax.random.normal(key_large, fine, large.dtype)
    down_and_up = jax.jit(lambda v: resample(resample(v, large, small), small, large))
    once = down_and_up(v)
    twice = down_and_up(once)
    np.testing.assert_allclose(twice, once, atol=tolerance)
    # Orthogonal: what was removed has no part in what was kept.
    assert abs(float(large.integrate((v - once) * once))) < tolerance * float(large.integrate(v**2))
    np.testing.assert_allclose(jnp.mean(resample(v, large, small)), jnp.mean(v), atol=tolerance)


def test_three_dimensions_and_half_precision():
    grid = Grid((4, 7, 6), (1.0, 2.0, 3.0))
    target = grid.with_shape((9, 5, 8))
    x, y, z = grid.coordinates()
    u = jnp.cos(2 * jnp.pi * x) * jnp.sin(2 * jnp.pi * (2 * y / 2 - 2 * z / 3))
    x, y, z = target.coordinates()
    expected = jnp.cos(2 * jnp.pi * x) * jnp.sin(2 * jnp.pi * (2 * y / 2 - 2 * z / 3))
    np.testing.assert_allclose(resample(u, grid, target), expected, atol=1e-5 if grid.dtype == np.float32 else 1e-13)
    half = resample(u.astype(jnp.bfloat16), grid, target)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), expected, atol=0.03)


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
