"""Stretched points: the maps, the grids that they make, and who takes these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.fields.stencil_weights import stretched_weights
from pdejax.grid import same_box
from pdejax.stretching import Sine, Stretched, TowardsPoint, TowardsWall, TowardsWalls, derivatives

MAPS = [TowardsWalls(2.2), TowardsWall(1.3), TowardsWall(1.3, "upper"), TowardsPoint(0.3, 4.0), Sine(-0.6)]


@pytest.mark.float64
def test_maps_are_what_they_say():
    s = np.linspace(0, 1, 41)
    b = 2.2
    formulas = [
        0.5 + np.tanh(b * (2 * s - 1)) / (2 * np.tanh(b)),
        1 + np.tanh(1.3 * (s - 1)) / np.tanh(1.3),
        np.tanh(1.3 * s) / np.tanh(1.3),
        None,
        s - 0.6 * np.sin(2 * np.pi * s) / (2 * np.pi),
    ]
    for map_, formula in zip(MAPS, formulas, strict=True):
        values = derivatives(map_, 0, tuple(s))
        np.testing.assert_allclose(values[[0, -1]], [0, 1], rtol=0, atol=1e-15)
        if formula is not None:
            np.testing.assert_allclose(values, formula, rtol=0, atol=1e-14)
    # Where the distances are smallest, and by how much.
    slope = lambda map_, at: float(derivatives(map_, 1, (at,))[0])  # noqa: E731
    ends = [(TowardsWalls(b), 0.0), (TowardsWalls(b), 1.0), (TowardsWall(b), 0.0), (TowardsWall(b, "upper"), 1.0)]
    for map_, at in ends:
        np.testing.assert_allclose(slope(map_, at), b / (np.sinh(b) * np.cosh(b)), rtol=1e-12)
    np.testing.assert_allclose(slope(TowardsPoint(0.5, b), 0.5), b / 2 / np.sinh(b / 2), rtol=1e-12)
    values, slopes = (derivatives(TowardsPoint(0.3, 4.0), order, tuple(s)) for order in (0, 1))
    assert abs(values[np.argmin(slopes)] - 0.3) < 0.01


@pytest.mark.float64
def test_coefficients_give_the_derivatives_in_x():
    """Of x^5, whose derivatives in s are automatic ones of a composition."""
    map_ = TowardsWalls(1.3)
    stretched, n = Stretched(map_, "centres"), 9
    s, intervals = stretched.numbers(n, False)
    x = derivatives(map_, 0, tuple(s))
    in_s = [derivatives(lambda r: map_(r) ** 5, k, tuple(s)) / intervals**k for k in (1, 2, 3)]
    for order, expected in ((1, 5 * x**4), (2, 20 * x**3), (3, 60 * x**2)):
        coefficients = stretched.coefficients(order, n, False) * intervals**order
        np.testing.assert_allclose(np.einsum("kp,kp->p", coefficients, np.stack(in_s[:order])), expected, atol=1e-11)
    # A map that does nothing leaves the formula alone.
    identity = Stretched(lambda s: s).coefficients(3, n, False)
    np.testing.assert_allclose(identity, [[0.0] * n, [0.0] * n, [1.0] * n], atol=1e-13)
    np.testing.assert_allclose(stretched_weights(identity[2:], 2)[:, 4], [-0.5, 0, 0.5], atol=1e-13)


@pytest.mark.float64
def test_the_quadrature_holds_constants_and_converges():
    f = lambda x: np.exp(np.sin(2 * np.pi * x / 1.7))  # noqa: E731
    for map_, kind, periodic in ((MAPS[0], "nodes", False), (MAPS[3], "centres", False), (MAPS[4], "nodes", True)):
        gaps = []
        for n in (40, 61):
            grid = pj.Grid(n, 1.7, periodic, points=Stretched(map_, kind))
            np.testing.assert_allclose(float(grid.integrate(jnp.ones(n))), 1.7, rtol=1e-14)
            # The integral of exp(sin) over a period is that many Bessel functions I_0(1).
            gaps.append(abs(float(grid.integrate(jnp.asarray(f(grid.axes[0])))) - 1.7 * 1.2660658777520082))
        intervals = [n - (kind == "nodes" and not periodic) for n in (40, 61)]
        if periodic:
            assert max(gaps) < 1e-10
        else:
            assert abs(np.log(gaps[0] / gaps[1]) / np.log(intervals[1] / intervals[0]) - 2) < 0.2


def test_grids_are_static_in_the_map_and_traced_in_the_box():
    make = lambda extent, origin=0.0: pj.Grid(  # noqa: E731
        (12, 9), extent, (True, False), origin, ("nodes", Stretched(TowardsWalls(1.5), "centres")), jnp.float32
    )
    grid = make((2.0, 3.0), (-1.0, 0.5))
    traces = []

    @jax.jit
    def top(grid):
        traces.append(grid)
        return grid.axes[1][-1]

    assert float(top(grid)) == float(grid.axes[1][-1])
    top(make((4.0, 5.0)))
    assert len(traces) == 1
    assert grid.is_uniform == (True, False) and grid.placement == ("nodes", "centres")
    assert grid.with_shape((24, 18)).points == grid.points == grid.with_dtype(jnp.float32).points
    assert same_box(grid, grid.with_shape((24, 18)))
    batched = jax.vmap(lambda e: make((1.0, e)).axes[1])(jnp.asarray([1.0, 3.0]))
    np.testing.assert_allclose(batched[1], grid.axes[1] - 0.5, rtol=1e-6)
    slope = jax.grad(lambda e: make((1.0, e)).axes[1][3])(2.0)
    np.testing.assert_allclose(slope, (grid.axes[1][3] - 0.5) / 3, rtol=1e-6)
    assert np.all(np.diff(np.asarray(grid.axes[1])) > 0) and np.ptp(np.diff(np.asarray(grid.axes[1]))) > 0.1


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: Stretched(lambda s: s**2), ValueError, r"slope 0 at s = 0: it must increase everywhere"),
        (lambda: Stretched(lambda s: s + 0.4 * jnp.sin(2 * np.pi * s)), ValueError, "slope -1.5"),
        (lambda: Stretched(lambda s: 2 * s), ValueError, "1 to 2, and must take them to 0 and 1"),
        (lambda: Stretched(lambda s: s + 0 * jnp.log(s)), ValueError, "not finite at s = 0"),
        (lambda: Stretched(lambda s: np.sin(s * np.pi / 2)), TypeError, "written with jax.numpy"),
        (lambda: Stretched(TowardsWalls), TypeError, r"a map such as TowardsWalls\(2.0\)"),
        (lambda: Stretched(TowardsWalls(1.0), "chebyshev"), ValueError, "'chebyshev'"),
        (lambda: TowardsWalls(0.0), ValueError, "strength, a positive number; got 0.0"),
        (lambda: TowardsPoint(1.2, 3.0), ValueError, "place, a fraction"),
        (lambda: Sine(1.0), ValueError, "between -1 and 1; got 1.0"),
        (lambda: TowardsWall(2.0, "left"), ValueError, "'left'"),
        (lambda: jax.vmap(TowardsWalls)(jnp.ones(2)), TypeError, "not traced"),
        (lambda: pj.Grid(9, 1.0, points=Stretched(TowardsWall(1.0))), ValueError, "of order 1 .*periodic=False"),
        (
            lambda: pj.Grid(64, 1.0, False, points=Stretched(TowardsWalls(12.0)), dtype=jnp.float32),
            ValueError,
            "fall together in float32",
        ),
        (lambda: pj.Grid(9, 1.0, False, points=Stretched(TowardsWall(1.0))).spacing, ValueError, "^Stretched points"),
        (lambda: pj.Grid(9, 1.0, False, points="tanh"), ValueError, r"or Stretched\(...\), got 'tanh'"),
    ],
)
def test_maps_and_grids_that_make_no_sense_are_refused(build, error, match, without_shape_checks):
    with pytest.raises(error, match=match):
        build()


RING = pj.Grid((12, 9), 1.0, points=("nodes", Stretched(Sine(0.4))))
WALLED = pj.Grid((12, 9), 1.0, periodic=(True, False), points=("nodes", Stretched(TowardsWalls(1.0))))
LOBATTO = pj.Grid((12, 9), 1.0, periodic=(True, False), points=("nodes", "chebyshev"))


def _operator(domain):
    model = pj.models.FNO(1, 1, 2, modes=2, width=2, num_layers=1, coordinates=1, key=jax.random.key(0))
    return model(jnp.ones((1, 12, 9)), domain=domain)


@pytest.mark.parametrize(
    ("take", "match"),
    [
        (lambda: pj.Spectral(RING), "Spectral needs points at equal distances.*axis 1 has stretched"),
        (
            lambda: pj.Chebyshev(pj.Grid((12, 9), 1.0, (True, False), points=(RING.points[1], "chebyshev")), 0.0),
            "axis 0 has stretched points",
        ),
        (lambda: pj.Chebyshev(WALLED, 0.0), "axis 1 has Stretched"),
        (lambda: pj.FiniteDifference(LOBATTO, 2, 0.0), "uniform or stretched points, and axis 1"),
        (lambda: pj.elliptic.poisson(WALLED, 1.0, 0.0), "An elliptic problem needs points at equal distances"),
        (lambda: pj.elliptic.poisson(LOBATTO, 1.0, 0.0), "axis 1 has Chebyshev points"),
        (lambda: pj.interpolate(jnp.ones(RING.shape), RING, jnp.zeros((2, 3))), "axis 1 has stretched ones"),
        (lambda: pj.resample(jnp.ones(RING.shape), RING, RING.with_shape((12, 18))), "axis 1 has stretched points"),
        (lambda: pj.metrics.energy_spectrum(jnp.ones((1, 12, 9)), RING), "energy_spectrum needs points at equal"),
        (lambda: pj.metrics.spectrum_error(*jnp.ones((2, 1, 12, 9)), RING), "axis 1 has stretched points"),
        (lambda: pj.initial.SumOfSines()(RING, key=jax.random.key(0)), "SumOfSines needs points at equal distances"),
        (lambda: pj.initial.BandLimited(peak=2)(RING, key=jax.random.key(0)), "BandLimited needs points at equal"),
        (lambda: _operator(RING), "FNO needs points at equal distances.*axis 1 has stretched"),
        (lambda: _operator(LOBATTO), "axis 1 has Chebyshev points: interpolate"),
    ],
)
def test_who_needs_equal_distances_says_so(take, match):
    with pytest.raises(ValueError, match=match):
        take()


def test_an_axis_that_stays_is_no_reason_to_refuse():
    u = jnp.cos(2 * np.pi * RING.coordinates()[0]) * RING.coordinates()[1]
    target = RING.with_shape((18, 9))
    expected = jnp.cos(2 * np.pi * target.coordinates()[0]) * target.coordinates()[1]
    np.testing.assert_allclose(pj.resample(u, RING, target), expected, atol=1e-5)
