"""Averages on other cells: the integral, bounds, order, and what finite volumes need them for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Outflow
from pdejax.equations import Acoustics, Advection, Euler, ShallowWater
from pdejax.riemann import EulerRiemann, Gas
from pdejax.testing import observed_orders
from pdejax.volumes import HLLC, MUSCL, Rusanov, remap, remap_state


def cells(n, extent=1.0, periodic=False, points="centres"):
    return pj.Grid(n, extent, periodic=periodic, points=points)


@pytest.mark.float64
def test_the_integral_is_kept_without_new_extrema_and_unions_are_exact():
    u = np.random.default_rng(0).uniform(size=(2, 12, 15))
    for periodic in (True, (False, True)):
        grid = cells((12, 15), (1.0, 1.4), periodic)
        others = [grid.with_shape(shape) for shape in ((24, 15), (5, 17), (7, 40), (6, 5))]
        finer = grid.with_shape((36, 30))

        # One program: most of the time is compilation.
        @jax.jit
        def moved_and_back(u, grid=grid, others=others, finer=finer):
            return [remap(u, grid, other) for other in others], remap(remap(u, grid, finer), finer, grid)

        moved, back = jax.tree.map(np.asarray, moved_and_back(u))
        for each in moved:
            np.testing.assert_allclose(np.mean(each, axis=(1, 2)), np.mean(u, axis=(1, 2)), rtol=1e-13)
            assert np.max(each) <= np.max(u) + 1e-14
            assert np.min(each) >= np.min(u) - 1e-14
        expected = u.reshape(2, 6, 2, 5, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(moved[-1], expected, rtol=1e-13)
        # Each of the finer cells' averages belongs to its own cell: back again nothing has changed.
        np.testing.assert_allclose(back, u, rtol=1e-13)


@pytest.mark.float64
def test_finer_and_shifted_cells_converge_with_second_order():
    wave = lambda edges: -np.diff(np.cos(2 * np.pi * edges + 0.3)) / np.diff(edges) / (2 * np.pi)  # noqa: E731

    def error(n):
        m = n * 5 // 3
        shifted = jax.jit(lambda u: remap(u, cells(n, 1.0, True), cells(m, 1.0, True, "nodes")))
        found = np.asarray(shifted(wave(np.arange(n + 1) / n)[None]))
        return float(np.mean(np.abs(found - wave((np.arange(m + 1) - 0.5) / m))))

    (observed,) = observed_orders([error(48), error(96)], [2.0, 1.0])
    assert abs(observed - 2) <= 0.4
    # Across the end of the axis a shifted cell has parts of both ends.
    half = remap(jnp.array([[1.0, 3.0, 5.0, 3.0]]), cells(4, 1.0, True), cells(4, 1.0, True, "nodes"))
    np.testing.assert_allclose(half, [[1.75, 1.75, 4.25, 4.25]], rtol=1e-14)


@pytest.mark.float64
def test_the_measured_error_of_finite_volumes_is_that_of_the_cells_too():
    """Beside the exact solution of a tube; and stored on coarser cells, averages stay averages, between walls too."""
    problem = EulerRiemann(Gas(1.0, 0.0, 1.0), Gas(0.125, 0.0, 0.1))
    grid, law = cells(80), Euler(1.4)
    edges = jnp.linspace(0.0, 1.0, 81)
    start, end = (problem.cell_averages(edges, t, x0=0.5) for t in (0.0, 0.15))
    reading = pj.FiniteVolume(grid, MUSCL(), HLLC(), Outflow(), variables="primitive")
    stepper = pj.TimeStepper(law, reading, 0.05, 20)
    data = pj.data.generate(stepper, lambda grid, key: start, num_samples=1, num_steps=3, key=jax.random.key(0))
    u = np.asarray(data.u)[0, -1]
    exact = np.sqrt(np.mean((u - end) ** 2, axis=1) / np.mean(np.asarray(end) ** 2, axis=1))
    measured = data.provenance["solver_error_whole"]
    assert 0.4 * exact.max() < measured < 1.2 * exact.max()
    assert "of the time step and of the grid" in data.provenance["solver_error"]
    coarse = pj.data.generate(
        stepper,
        lambda grid, key: start,
        num_samples=1,
        num_steps=3,
        key=jax.random.key(0),
        store=grid.with_shape((40,)),
    )
    np.testing.assert_allclose(coarse.u[0, -1], u.reshape(3, 40, 2).mean(axis=2), rtol=1e-6)
    # Data that are given cell by cell along a wall have no finer ones.
    plane = cells((6, 5))
    walls = {"x": Dirichlet(jnp.ones((1, 5))), "y": 0.0}
    fixed = pj.TimeStepper(Advection(1.0), pj.FiniteVolume(plane, MUSCL(), Rusanov(), walls), 0.01)
    assert pj.data.solver_error.refined(fixed).grid.shape == (6, 5)
    assert "arrays as data of walls" in pj.data.solver_error.measured_part(fixed)


@pytest.mark.float64
def test_what_is_at_rest_stays_so_on_other_cells():
    """Water over a bottom, and a constant pressure in a medium that jumps; also stored, refined and as a batch."""
    fine = cells((12, 10), (1.0, 1.3))
    ground = lambda x: 0.5 * jnp.sin(7 * x[0]) + 0.3 * (x[1] > 0.62)  # noqa: E731
    water = ShallowWater(9.81, ground)
    rock = Acoustics(2.0, lambda x: 1 + 3.0 * (x[0] > 0.4))
    for law, made in (
        (water, lambda g: jnp.stack([2.0 - ground(g.coordinates()), *jnp.zeros((2, *g.shape))])),
        (rock, lambda g: rock.state(g.coordinates(), jnp.ones((3, *g.shape)))),
    ):
        others = [fine.with_shape(shape) for shape in ((6, 5), (24, 20), (9, 7))]

        @jax.jit
        def on_others(law=law, made=made, others=others):
            both = jnp.stack([made(fine)] * 2)
            return [(remap_state(law, both, fine, other), jnp.stack([made(other)] * 2)) for other in others]

        for found, expected in on_others():
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    # A beach: no cell is left without water.
    beach = ShallowWater(9.81, lambda x: 2 * x[0])
    depth = jnp.maximum(1.0 - 2 * fine.coordinates()[0], 1e-6)
    on_coarse = jax.jit(lambda u: remap_state(beach, u, fine, fine.with_shape((5, 5))))
    coarse = on_coarse(jnp.stack([depth, 0 * depth, 0 * depth]))
    assert float(jnp.min(coarse[0])) >= 1e-6 * (1 - 1e-6)


def test_what_makes_no_sense_is_refused():
    u = jnp.ones((1, 8))
    with pytest.raises(ValueError, match="two grids of one box"):
        remap(u, cells(8), cells(8, 2.0))
    with pytest.raises(ValueError, match="cells of one size, and axis 0 of a grid has 'nodes'"):
        remap(u, cells(8), pj.Grid(8, 1.0, periodic=False, points="nodes"))
    with pytest.raises(ValueError, match=r"shape \(8,\) but the array ends in \(7,\)"):
        remap(u[:, :7], cells(8), cells(4))
