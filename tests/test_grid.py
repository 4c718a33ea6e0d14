import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.grid import same_box


def test_points_of_each_kind():
    grid = pj.Grid((4, 5, 3), (2.0, 8.0, 3.0), periodic=(True, False, False), origin=(1.0, 0.0, -1.0),
                   points=("nodes", "nodes", "centres"))  # fmt: skip
    np.testing.assert_allclose(grid.axes[0], [1.0, 1.5, 2.0, 2.5])
    np.testing.assert_allclose(grid.axes[1], [0.0, 2.0, 4.0, 6.0, 8.0])
    np.testing.assert_allclose(grid.axes[2], [-0.5, 0.5, 1.5])
    coordinates = np.asarray(grid.coordinates())
    assert coordinates.shape == (3, 4, 5, 3)
    np.testing.assert_allclose(coordinates[1, 2, :, 1], grid.axes[1])


def test_nodes_are_the_default_where_the_axis_wraps_and_centres_elsewhere():
    assert pj.Grid((4, 5), 1.0, periodic=(True, False)).points == ("nodes", "centres")


@pytest.mark.parametrize("shape", [(24, 33), (40, 17)])
def test_norms_do_not_depend_on_the_resolution(shape):
    grid = pj.Grid(shape, (2.0, 3.0))
    x, y = np.asarray(grid.coordinates())
    u = np.stack([np.sin(2 * np.pi * x / 2) * np.cos(4 * np.pi * y / 3), np.full(shape, 2.0, grid.dtype)])
    np.testing.assert_allclose(jax.jit(lambda u: grid.norm(u))(u), [np.sqrt(6 / 4), 2 * np.sqrt(6)], rtol=1e-5)


def test_trapezoidal_rule_on_nodes_and_midpoint_rule_on_centres():
    nodes = pj.Grid(11, 2.0, periodic=False, points="nodes")
    centres = pj.Grid(11, 2.0, periodic=False)
    # One row per function: 3 x + 1 and x^2.
    (line_on_nodes, square_on_nodes), (line_on_centres, square_on_centres) = (
        jax.jit(lambda u, grid=grid: grid.integrate(u))(np.stack([3 * x + 1, x**2]))
        for grid in (nodes, centres)
        for x in [np.asarray(grid.axes[0])]
    )
    np.testing.assert_allclose(line_on_nodes, 8.0, rtol=1e-6)
    np.testing.assert_allclose(line_on_centres, 8.0, rtol=1e-6)
    # x^2: the trapezoidal rule is off by h^2 L / 6, the midpoint rule by -h^2 L / 12.
    np.testing.assert_allclose(square_on_nodes - 8 / 3, 0.2**2 * 2 / 6, rtol=1e-3)
    np.testing.assert_allclose(square_on_centres - 8 / 3, -((2 / 11) ** 2) * 2 / 12, rtol=1e-3)


@pytest.mark.float64
@pytest.mark.parametrize("n", [2, 5, 8])
def test_chebyshev_points_and_their_quadrature(n):
    grid = pj.Grid((n, 4), (3.0, 2.0), periodic=(False, True), origin=(-1.0, 0.5), points=("chebyshev", "nodes"))
    x = np.asarray(grid.axes[0])
    np.testing.assert_allclose(x, -1 + 3 * (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2, atol=1e-15)
    assert (x[0], x[-1]) == (-1.0, 2.0)
    integrate = jax.jit(lambda u: grid.integrate(u))
    integral = lambda p: integrate(np.broadcast_to(x[:, None] ** p, (3, n, 4)))  # noqa: E731
    for degree in range(n):
        exact = 2 * (2.0 ** (degree + 1) - (-1.0) ** (degree + 1)) / (degree + 1)
        np.testing.assert_allclose(integral(degree), [exact] * 3, rtol=1e-14)
    # T_n - T_(n-2) vanishes at all points, and its integral does not where n is even.
    if n % 2 == 0:
        assert abs(float(integral(n)[0]) - 2 * (2.0 ** (n + 1) + 1) / (n + 1)) > 1e-3
    finer = grid.with_shape((2 * n, 6))
    assert finer.points == grid.points and finer.axes[0].shape == (2 * n,)
    assert same_box(grid, finer)
    assert not same_box(grid, pj.Grid((n, 4), (3.0, 2.5), (False, True), (-1.0, 0.5), ("chebyshev", "nodes")))


def test_chebyshev_points_have_no_spacing_and_no_periodic_axis():
    with pytest.raises(ValueError, match=r"along axis 1, have no one spacing: use jnp.diff"):
        _ = pj.Grid((8, 9), 1.0, periodic=(True, False), points=("nodes", "chebyshev")).spacing
    with pytest.raises(ValueError, match=r"axis 1 is periodic.*points=\"nodes\""):
        pj.Grid((8, 9), 1.0, periodic=(False, True), points="chebyshev")


def test_whole_numbers_are_integrated_as_numbers():
    grid = pj.Grid(64, 0.5)
    for dtype in (int, bool):
        np.testing.assert_allclose(grid.integrate(jnp.ones(64, dtype)), 0.5, rtol=1e-6)


def test_the_extent_is_a_leaf():
    lengths = jnp.asarray([1.0, 2.0, 5.0])
    means = jax.vmap(lambda length: pj.Grid(8, length).integrate(jnp.ones(8)))(lengths)
    np.testing.assert_allclose(means, lengths, rtol=1e-6)


def test_same_box_ignores_the_resolution_only():
    grid = pj.Grid((8, 9), (1.0, 2.0))
    assert same_box(grid, grid.with_shape((16, 5)))
    assert not same_box(grid, pj.Grid((8, 9), (1.0, 2.5)))
    assert not same_box(grid, pj.Grid((8, 9), (1.0, 2.0), periodic=(True, False)))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: pj.Grid((), 1.0), "at least one axis"),
        (lambda: pj.Grid((8, 1), 1.0), "two points per axis"),
        (lambda: pj.Grid(8, -1.0), r"extent must be positive.*-1.0"),
        (lambda: pj.Grid((8, 8), (1.0, float("inf"))), "positive and finite"),
        (lambda: pj.Grid((8, 8), (1.0, 1.0, 1.0)), r"2 axes but `extent` has shape \(3,\)"),
        (lambda: pj.Grid(8, 1.0, periodic=1), "True, False, or one of them per axis, got 1"),
        (lambda: pj.Grid((8, 8), 1.0, periodic=(True,)), "2 axes but `periodic` has 1"),
        (lambda: pj.Grid(8, 1.0, dtype=jnp.int32), "must be float32 or float64, got int32"),
    ],
)
def test_bad_grids_are_named(build, match, without_shape_checks):
    with pytest.raises(ValueError, match=match):
        build()


def test_unknown_points_are_named(without_shape_checks):
    with pytest.raises(ValueError, match="got 'corners'"):
        pj.Grid(8, 1.0, points=("corners",))


def test_double_precision_needs_its_switch():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        pj.Grid(8, 1.0, dtype=jnp.float64)


def test_states_of_another_shape_are_named():
    grid = pj.Grid((8, 9), 1.0)
    with pytest.raises(ValueError, match=r"shape \(8, 9\) but \(2, 8, 9\)"):
        grid.check_state(jnp.zeros((8, 9)), 2)
    with pytest.raises(ValueError, match="two real channels"):
        grid.check_state(jnp.zeros((2, 8, 9), complex), 2)


def test_sizes_in_single_precision_at_every_scale_and_their_derivative_at_zero():
    """Squares of 1e25 overflow in float32 and those of 1e-25 vanish; the norms of step control are these too."""
    grid = pj.Grid((6, 9), (2.0, 3.0), dtype=jnp.float32)
    wave = np.cos(2 * np.pi * np.asarray(grid.coordinates())[:1] / 2.0)
    spectral, stencil = pj.Spectral(grid), pj.FiniteDifference(pj.Grid((9, 11), 1.0, dtype=jnp.float32), 2)

    @jax.jit
    def sizes(u, other):
        """And their derivatives."""
        encoded = lambda reading: lambda v: reading.norm(reading.encode(v))  # noqa: E731
        norms = ((lambda v: grid.norm(v)[0], u), (encoded(spectral), u), (encoded(stencil), other))
        return [jax.value_and_grad(norm)(v) for norm, v in norms]

    for scale in (0.0, 1e-25, 1.0, 1e25):
        u = (scale * wave).astype(np.float32)
        fields = (u, np.resize(u, (1, 9, 11)))
        (size, slope), *others = sizes(*fields)
        np.testing.assert_allclose(size, scale * np.sqrt(3.0), rtol=1e-5)
        assert np.all(np.isfinite(slope))
        for field, (size, slope) in zip(fields, others, strict=True):
            expected = scale * np.sqrt(np.mean(np.square(np.asarray(field, float) / max(scale, 1e-30))))
            np.testing.assert_allclose(size, expected, rtol=1e-5)
            assert np.all(np.isfinite(slope))


def test_boxes_that_differ_by_a_hundredth_are_not_the_same():
    grid = pj.Grid((8, 9), (1.0, 2.0))
    assert same_box(grid, pj.Grid((5, 7), (1.0, 2.0)))
    assert not same_box(grid, pj.Grid((8, 9), (1.0, 2.02)))
    assert not same_box(grid, pj.Grid((8, 9), (1.0, 2.0), origin=(0.0, 0.02)))


def test_tiny_boxes_are_told_apart():
    assert not same_box(pj.Grid(16, 1e-9), pj.Grid(32, 6e-9))
