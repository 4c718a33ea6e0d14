"""Water over a bottom: at rest over any, steady over a bump, over jumps, along walls and onto dry ground."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Neumann, Outflow, Reflecting
from pdejax.equations import ShallowWater
from pdejax.testing import Manufactured, observed_orders
from pdejax.volumes import HLL, HLLC, MUSCL, WENO, PiecewiseConstant, Roe, Rusanov


def cells(n, extent=1.0, periodic=False):
    return pj.Grid(n, extent, periodic=periodic, points="centres")


def rough(x):
    """A hill, a wall with two jumps, ripples of a few cells, and all that tilted along a second axis."""
    hill = 0.8 * jnp.exp(-60 * (x[0] - 0.4) ** 2) + 0.1 * jnp.sin(40 * x[0])
    wall = jnp.where(jnp.abs(x[0] - 0.75) < 0.08, 0.5, 0.0)
    return hill + wall + (0.2 * jnp.cos(5 * x[1]) if len(x) == 2 else 0.0)


@pytest.mark.float64
@pytest.mark.parametrize("shape", [(50,), (17, 22)], ids=str)
def test_a_lake_stays_at_rest_over_any_bottom(shape):
    law, ndim = ShallowWater(9.81, rough), len(shape)
    readings = [
        pj.FiniteVolume(cells(shape, (1.0, 1.3)[:ndim], walls is None), of, riemann, walls, positivity=keeps)
        for of, riemann, keeps, walls in (
            (PiecewiseConstant(), Rusanov(), False, Outflow()),
            (MUSCL(), HLLC(), True, Reflecting()),
            (MUSCL(), HLL(), True, None),
            (WENO(5), Roe(), False, Outflow()),
        )
    ]
    ground = rough(readings[0].grid.coordinates())
    u = jnp.concatenate([(2.0 - ground)[None], jnp.zeros((ndim, *shape))])
    for rate in jax.jit(lambda v: [reading.tendency(law, 0.0, v) for reading in readings])(u):
        np.testing.assert_allclose(rate, 0, atol=1e-11)


def bump(x):
    return 0.1 - 0.1 * jnp.cos(2 * jnp.pi * x[0])


@jax.jit
def depth_of_steady_flow(x, discharge=1.0):
    """Bernoulli: `q^2 / (2 h^2) + g (h + b)` is the same everywhere; the deep branch."""
    head = discharge**2 / 2 + 9.81

    def improved(_, h):
        slope = 9.81 - discharge**2 / h**3
        return h - (discharge**2 / (2 * h**2) + 9.81 * (h + bump(x[None])) - head) / slope

    return jax.lax.fori_loop(0, 30, improved, jnp.ones_like(x))


@pytest.mark.float64
def test_a_steady_flow_over_a_bump():
    """Met by every reading; finite volumes keep it with an error of second order, whatever the reconstruction."""
    law = ShallowWater(9.81, bump)
    exact = lambda x, t: (depth_of_steady_flow(x), 1.0 + 0 * x)  # noqa: E731
    grid = pj.Grid(90, 1.0)
    steady = jnp.stack(exact(grid.axes[0], 0.0))
    # Of terms of the size of 20.
    residual = jax.jit(lambda x: Manufactured(law, exact).source(0.0, x))(grid.coordinates())
    np.testing.assert_allclose(residual, 0, atol=1e-12)
    for reading, bound in ((pj.Spectral(grid), 1e-8), (pj.FiniteDifference(grid, 6), 2e-3)):
        np.testing.assert_allclose(jax.jit(lambda u, r=reading: r.tendency(law, 0.0, u))(steady), 0, atol=bound)

    def flowing(n, along):
        shape = (n, 3) if along == 0 else (3, n)
        reading = pj.FiniteVolume(cells(shape, (1.0, 1.0), True), WENO(5), HLL())
        depth = depth_of_steady_flow(reading.grid.axes[along])
        u = jnp.stack([depth, *(jnp.ones(n) * float(a == along) for a in (0, 1))])
        u = jnp.broadcast_to(jnp.expand_dims(u, 2 - along), (3, *shape))
        return ShallowWater(9.81, lambda x: bump(x[along][None])), reading, u

    def error(n):
        law, reading, u = flowing(n, 0)
        end = pj.solve(law, reading, u, [0.0, 0.2]).u[-1]
        assert float(jnp.max(jnp.abs(end[2]))) < 1e-12
        return float(jnp.mean(jnp.abs(end - u)[0]))

    (observed,) = observed_orders([error(50), error(80)], [1 / 50, 1 / 80])
    assert abs(observed - 2) <= 0.3
    # Along the other axis it is the same but for rounding of terms of the size of 1000.
    problems = [flowing(50, along) for along in (0, 1)]
    rates = jax.jit(lambda states: [p[1].tendency(p[0], 0.0, u) for p, u in zip(problems, states, strict=True)])
    first, second = rates([u for *_, u in problems])
    assert float(jnp.max(jnp.abs(first))) > 1e-4
    np.testing.assert_allclose(second, jnp.swapaxes(first[jnp.array([0, 2, 1])], 1, 2), atol=1e-11)


@pytest.mark.float64
def test_water_beside_a_wall_is_half_of_a_mirror_image_with_its_bottom():
    random = np.random.default_rng(0)
    depths, speeds = random.uniform(0.5, 1.5, 11), random.uniform(-1, 1, 11)
    slope = lambda x: 0.7 * jnp.abs(x[0]) + 0.2 * jnp.cos(9 * x[0])  # noqa: E731
    law = ShallowWater(2.0, slope)
    whole = pj.Grid(22, 2.0, periodic=True, points="centres", origin=-1.0)
    right = np.array([depths, depths * speeds])
    both = np.concatenate([(right * [[1.0], [-1.0]])[:, ::-1], right], axis=1)
    half = pj.FiniteVolume(cells(11), WENO(5), HLLC(), Reflecting())
    rate = jax.jit(lambda u: half.tendency(law, 0.0, u))(jnp.asarray(right))
    around = pj.FiniteVolume(whole, WENO(5), HLLC())
    expected = jax.jit(lambda u: around.tendency(law, 0.0, u))(jnp.asarray(both))
    # WENO's epsilon follows the share of the axis that a cell is.
    np.testing.assert_allclose(rate, expected[:, 11:], atol=2e-2)


@pytest.mark.float64
def test_a_dam_that_breaks_over_dry_ground_follows_ritter():
    """Dry ground is a film; the front runs with twice the celerity of the reservoir, flat or over a bottom of zero."""
    grid = cells(100)
    x = grid.axes[0]
    u = jnp.stack([jnp.where(x < 0.5, 1.0, 1e-6), 0 * x])
    scaled = (x - 0.5) / 0.15
    exact = jnp.where(scaled < -1, 1.0, jnp.where(scaled < 2, ((2 - scaled) / 3) ** 2, 0.0))
    for bottom in (None, lambda x: 0 * x[0]):
        reading = pj.FiniteVolume(grid, MUSCL(), HLL(), Outflow(), variables="primitive", positivity=True)
        end = pj.solve(ShallowWater(1.0, bottom), reading, u, [0.0, 0.15]).u[-1]
        assert float(jnp.mean(jnp.abs(end[0] - exact))) < 4e-3
        assert float(jnp.min(end[0])) > 0.9e-6


@pytest.mark.float64
def test_a_wave_that_runs_over_an_island_loses_no_water():
    """The island stands above the surface, with a film on it; the wave runs up, over it, and leaves pools."""
    grid = cells(80)
    island = lambda x: 1.2 * jnp.exp(-(((x[0] - 0.6) / 0.1) ** 2))  # noqa: E731
    ground = island(grid.coordinates())
    depth = jnp.maximum(1.0 - ground, 1e-6) + 0.5 * (grid.axes[0] < 0.2)
    reading = pj.FiniteVolume(grid, MUSCL(), HLL(), Reflecting(), positivity=True)
    frames = pj.solve(ShallowWater(1.0, island), reading, jnp.stack([depth, 0 * depth]), [0.0, 0.4, 1.0]).u
    np.testing.assert_allclose(jnp.sum(frames[:, 0], axis=1), jnp.sum(depth), rtol=1e-12)
    assert float(jnp.min(frames[:, 0])) > 0
    top = int(jnp.argmax(ground))
    assert float(jnp.max(frames[1:, 0, top])) > 1e-3


@pytest.mark.float64
def test_gradients_exist_where_the_ground_stands_above_the_water():
    grid = cells(16, 1.0, True)
    law = ShallowWater(9.81, lambda x: 1.5 * jnp.exp(-(((x[0] - 0.5) / 0.1) ** 2)))
    depth = jnp.maximum(1 - law.medium(grid.coordinates(), None)[0], 1e-6)
    reading, u = (
        pj.FiniteVolume(grid, PiecewiseConstant()),
        jnp.stack([depth, 0.01 * depth * (1 + 0.3 * jnp.sin(7 * grid.axes[0]))]),
    )
    # (Limiters have kinks where a surface is level.)
    size = jax.jit(lambda a: jnp.sum(reading.tendency(law, 0.0, u.at[0].multiply(a)) ** 2))
    np.testing.assert_allclose(jax.grad(size)(1.0), (size(1 + 1e-6) - size(1 - 1e-6)) / 2e-6, rtol=1e-4)


@pytest.mark.float64
def test_a_lake_between_walls_of_other_kinds_stays_at_rest():
    """The ground goes on beyond a wall as the depth does."""
    grid, law = cells(16), ShallowWater(9.81, lambda x: 0.3 * x[0] + 0.1 * jnp.sin(9 * x[0]))
    depth = 2.0 - law.medium(grid.coordinates(), None)[0]
    still = jnp.stack([depth, 0 * depth])
    walls = (
        Neumann(0.0),
        {"depth": Neumann(0.0), "discharge_x": 0.0},
        {"depth": Outflow(), "discharge_x": Reflecting()},
        {"x-": Outflow(), "x+": Reflecting()},
    )
    readings = [pj.FiniteVolume(grid, WENO(5), HLL(), boundary) for boundary in walls]
    for rate in jax.jit(lambda u: [reading.tendency(law, 0.0, u) for reading in readings])(still):
        np.testing.assert_allclose(rate, 0, atol=1e-11)


def test_bottoms_that_are_none_are_refused():
    grid = cells(12)
    u = jnp.ones((2, 12))
    reading = pj.FiniteVolume(grid, boundary=Reflecting())
    with pytest.raises(ValueError, match="The bottom is a function of position, got 0.3"):
        ShallowWater(bottom=0.3)
    with pytest.raises(ValueError, match=r"bottom at positions of shape \(1, 12\) has shape \(1, 12\)"):
        pj.solve(ShallowWater(bottom=lambda x: x), reading, u, [0.0, 0.1])
    with pytest.raises(ValueError, match=r"bottom must be finite; at x = 0.04167 it is inf"):
        pj.solve(ShallowWater(bottom=lambda x: jnp.where(x[0] < 0.1, jnp.inf, 0.0)), reading, u, [0.0, 0.1])
    with pytest.raises(ValueError, match="reads a medium, across which its waves change"):
        waves = pj.FiniteVolume(grid, boundary=Reflecting(), variables="characteristic")
        pj.solve(ShallowWater(bottom=lambda x: 0 * x[0]), waves, u, [0.0, 0.1])
    with pytest.raises(ValueError, match="one or two dimensions, the grid has 3"):
        box = cells((3, 4, 5))
        pj.solve(ShallowWater(), pj.FiniteVolume(box, boundary=Reflecting()), jnp.ones((4, 3, 4, 5)), [0.0, 0.1])
    with pytest.raises(ValueError, match="no anti-periodic axes"):
        pj.FiniteVolume(cells(8, 1.0, True), boundary={"x": pj.boundary.AntiPeriodic()})
