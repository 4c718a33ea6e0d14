"""Hancock's scheme: exact transport, second order with sources in time, walls, bottoms, shocks, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Outflow, Reflecting
from pdejax.equations import (
    Advection,
    CompressibleNavierStokes,
    Euler,
    InviscidBurgers,
    Magnetohydrodynamics,
    ShallowWater,
    VlasovPoisson,
)
from pdejax.riemann import EulerRiemann, Gas
from pdejax.solvers import SSPRK2, SSPRK3, CourantLimited, Hancock
from pdejax.testing import check_stepper, observed_orders
from pdejax.volumes import HLL, HLLC, MUSCL, WENO, Rusanov, superbee

GAS = Euler(1.4)


def cells(n, extent=1.0, periodic=False, **options):
    return pj.Grid(n, extent, periodic=periodic, points="centres", **options)


@pytest.mark.float64
def test_what_moves_one_cell_per_step_is_moved_exactly():
    grid = cells(25, 1.0, True)
    u = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 25)))
    for limiter in (MUSCL(), MUSCL(superbee)):
        stepper = pj.TimeStepper(Advection(-1.0), pj.FiniteVolume(grid, limiter, HLL()), 7 / 25, 7, Hancock())
        np.testing.assert_allclose(
            jax.jit(lambda v, stepper=stepper: stepper(v))(u), jnp.roll(u, -7, axis=1), atol=1e-14
        )


class Fed(Advection):
    """Transport that decays and is fed in time and space, such that `u = 2 + sin(x - y/2 + t)`."""

    def source(self, t, x, u):
        wave = x[0] - x[1] / 2 + t
        change = 1 + self.velocity[0] - self.velocity[1] / 2
        return 2 + jnp.sin(wave)[None] + change * jnp.cos(wave)[None] - u


@pytest.mark.float64
def test_second_order_in_the_plane_with_a_source():
    law = Fed([0.7, -0.4])

    def error(n):
        grid = cells((n, n + 6), (2 * np.pi, 4 * np.pi), (True, False))
        x, y = grid.coordinates()
        mean = np.sinc(np.asarray(grid.spacing)[0] / 2 / np.pi) * np.sinc(np.asarray(grid.spacing)[1] / 4 / np.pi)
        exact = lambda t: (2 + mean * jnp.sin(x - y / 2 + t))[None]  # noqa: E731
        at = lambda x, t: 2 + jnp.sin(x[0] - x[1] / 2 + t)  # noqa: E731
        walls = {"y+": Dirichlet(at), "y-": Outflow()}
        stepper = pj.TimeStepper(law, pj.FiniteVolume(grid, WENO(5), Rusanov(), walls), 1.0, n // 2, Hancock())
        gap = jnp.abs(jax.jit(lambda u: stepper(u, t=0.3))(exact(0.3)) - exact(1.3))[0]
        # The outflow, of first order, and what has come from the walls stay out of it.
        return float(jnp.mean(gap[:, n // 4 : -n // 4]))

    (observed,) = observed_orders([error(32), error(52)], [1 / 32, 1 / 52])
    assert abs(observed - 2) <= 0.25


@pytest.mark.float64
def test_a_medium_that_the_state_makes_is_half_a_step_older_too():
    """Electrons in their own field, beside small steps of SSPRK3 on the same cells: second order."""

    def error(n):
        grid = cells((n, 2 * n), (4 * np.pi, 12.0), (True, False), origin=(0.0, -6.0))
        x, v = grid.coordinates()
        f = ((1 + 0.3 * jnp.cos(x / 2)) * jnp.exp(-(v**2) / 2) / np.sqrt(2 * np.pi))[None]
        reading = pj.FiniteVolume(grid, WENO(5), Rusanov(), Outflow())
        run = lambda u, steps, solver: pj.TimeStepper(VlasovPoisson(), reading, 1.0, steps, solver)(u)  # noqa: E731
        coarse, fine = jax.jit(lambda u: (run(u, n, Hancock()), run(u, 4 * n, SSPRK3())))(f)
        return float(jnp.mean(jnp.abs(coarse - fine)))

    (observed,) = observed_orders([error(16), error(28)], [1 / 16, 1 / 28])
    assert observed > 1.75


@pytest.mark.float64
def test_shocks_walls_and_bottoms():
    """A tube, at twice the step of SSPRK2, with less error; a wave on a lake between walls; a lake at rest."""
    problem = EulerRiemann(Gas(1.0, 0.0, 1.0), Gas(0.125, 0.0, 0.1))
    start, end = (problem.cell_averages(jnp.linspace(0.0, 1.0, 101), t, x0=0.5) for t in (0.0, 0.2))
    tube = pj.FiniteVolume(cells(100), MUSCL(), HLLC(), Outflow(), variables="primitive")
    errors = {}
    for solver, fraction in ((Hancock(), 0.9), (SSPRK2(), 0.45)):
        found = pj.solve(GAS, tube, start, [0.0, 0.2], solver=solver, dt=CourantLimited(fraction))
        errors[type(solver)] = float(jnp.mean(jnp.abs(found.u[-1] - end)[0]))
        assert int(found.num_steps) < 110 * 0.45 / fraction
    assert errors[Hancock] < errors[SSPRK2] < 5.5e-3
    ground = lambda x: 0.3 * jnp.cos(3 * x[0]) + 0.2 * jnp.where(x[1] > 0.4, 1.0, 0.0)  # noqa: E731
    grid, law = cells((14, 11), (1.0, 0.8)), ShallowWater(9.81, ground)
    volumes = pj.FiniteVolume(grid, MUSCL(), HLL(), Reflecting())
    depth = 1.5 - ground(grid.coordinates())
    still = jnp.stack([depth, 0 * depth, 0 * depth])
    stepper = pj.TimeStepper(law, volumes, 0.05, 5, Hancock())
    step = jax.jit(lambda u: stepper(u))
    np.testing.assert_allclose(step(still), still, atol=1e-14)
    moved = still.at[0].add(0.3 * (grid.coordinates()[0] > 0.5))
    after = step(moved)
    np.testing.assert_allclose(jnp.sum(after[0]), jnp.sum(moved[0]), rtol=1e-14)
    assert float(jnp.max(jnp.abs(after - moved))) > 0.1


@pytest.mark.float64
def test_streams_that_part_stay_positive():
    """Where half a step would leave an edge without a gas the cell does without it."""
    grid = cells(60)
    w = jnp.stack([jnp.ones(60), jnp.where(grid.axes[0] < 0.5, -4.0, 4.0), jnp.full(60, 0.4)])
    kept = pj.FiniteVolume(grid, MUSCL(), HLL(), Outflow(), positivity=True)
    u = pj.solve(GAS, kept, GAS.conserved(w), [0.0, 0.08], solver=Hancock(), dt=CourantLimited(0.4)).u[-1]
    assert bool(jnp.all(GAS.admissible(u))) and float(jnp.min(u[0])) < 0.02
    np.testing.assert_allclose(u[0], u[0, ::-1], atol=1e-10)


def test_the_contract_of_steppers_and_what_is_refused():
    grid = cells(16, 1.0, True)
    x = grid.axes[0]
    u = (1 + 0.3 * jnp.sin(2 * jnp.pi * x))[None].astype(grid.dtype)
    check_stepper(pj.TimeStepper(InviscidBurgers(), pj.FiniteVolume(grid, WENO(3), HLL()), 0.02, 2, Hancock()), u)
    with pytest.raises(ValueError, match="a step of finite volumes"):
        pj.TimeStepper(Advection(1.0), pj.FiniteDifference(grid), 0.01, 1, Hancock())(u)
    spreading = CompressibleNavierStokes(1.4, shear_viscosity=0.1)
    w = jnp.stack([1 + 0 * x, 0 * x, 1 + 0 * x]).astype(grid.dtype)
    with pytest.raises(ValueError, match="CompressibleNavierStokes spreads"):
        pj.TimeStepper(spreading, pj.FiniteVolume(grid), 0.01, 1, Hancock())(spreading.conserved(w))
    plane = cells((4, 5), 1.0, True)
    with pytest.raises(ValueError, match="holds a field without sources"):
        pj.TimeStepper(Magnetohydrodynamics(), pj.FiniteVolume(plane), 0.01, 1, Hancock())(jnp.ones((8, 4, 5)))
    walls = pj.FiniteVolume(cells(16), boundary=Neumann(1.0))
    with pytest.raises(ValueError, match="walls with a slope"):
        pj.TimeStepper(Advection(1.0), walls, 0.01, 1, Hancock())(u)
