"""Which error the refinement of a solver measures, and relative to what."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet
from pdejax.data import measure_solver_error
from pdejax.data.solver_error import largest_relative, measured_part
from pdejax.equations import Diffusion, Equation
from pdejax.solvers import ETDRK2

EPS = float(np.finfo(np.float64).eps)


class Idle(Equation):
    """Channel `b` is driven by what is zero but for rounding: (a + 1)(a - 1) - a^2 + 1."""

    def components(self, ndim):
        return ("a", "b")

    def linear(self, u):
        return u.laplacian() * 0.1

    def nonlinear(self, t, u):
        nothing = u["a"].map(lambda a: (a + 1) * (a - 1) - a * a + 1)
        return (0 * u["a"]).stack(nothing)


class Two(Diffusion):
    def components(self, ndim):
        return ("a", "b")


def test_each_channel_is_measured_by_its_own_size():
    # Sizes of 4 and 3e-3, the second zero at one time: then by its largest size.
    sizes = np.asarray([[4.0, 1e-3], [4.0, 0.0], [4.0, 3e-3]])
    differences = np.asarray([[0.4, 2e-4], [0.4, 1.5e-3], [0.4, 0.0]])
    np.testing.assert_allclose(largest_relative(differences, sizes, EPS), [0.2, 0.5, 0.1])


@pytest.mark.parametrize(("size", "expected"), [(1.5e-13, 1e-6), (1.6e-13, 1.0), (0.0, 1e-6)])
def test_a_channel_of_rounding_alone_is_measured_by_all(size, expected):
    """Its two solutions have nothing in common. The limit is 1000 eps times sqrt(1 / 2), 1.57e-13."""
    sizes = np.asarray([[1.0, 0.0], [1.0, size]])
    differences = np.asarray([[0.0, 0.0], [1e-6, size]])
    np.testing.assert_allclose(largest_relative(differences, sizes, EPS)[1], expected, rtol=1e-6)


def test_a_component_that_nothing_excites_does_not_set_the_error():
    grid = pj.Grid(16, 2 * np.pi)
    stepper = pj.TimeStepper(Idle(), pj.Spectral(grid), 0.1, 2, ETDRK2())
    start = jnp.stack([jnp.cos(grid.axes[0] + 0.2), 0.0 * grid.axes[0]])
    frames = pj.rollout(stepper, start, 5, include_initial=True)
    assert 0 < float(jnp.max(jnp.abs(frames[:, 1]))) < 100 * jnp.finfo(grid.dtype).eps
    errors = measure_solver_error(stepper, start, frames, grid)
    assert np.all(errors < 1e3 * jnp.finfo(grid.dtype).eps), errors


@pytest.mark.float64
def test_a_channel_in_small_units_keeps_its_own_error():
    # Waves that do not know of each other, of 1 and of 1e-6; a tenth of the second is missing in what is stored.
    grid = pj.Grid(16, 2 * np.pi)
    stepper = pj.TimeStepper(Two(0.1), pj.Spectral(grid), 0.1, 1, ETDRK2())
    start = jnp.stack([jnp.cos(grid.axes[0]), 1e-6 * jnp.sin(grid.axes[0])])
    frames = pj.rollout(stepper, start, 2, include_initial=True).at[1:, 1].multiply(0.9)
    np.testing.assert_allclose(measure_solver_error(stepper, start, frames, grid), [0, 0.1, 0.1], atol=1e-9)


@pytest.mark.float64
def test_with_walls_it_is_said_that_only_the_time_step_was_refined():
    nodes = pj.Grid(9, 1.0, periodic=False, points="nodes")
    walls = pj.TimeStepper(Diffusion(0.1), pj.FiniteDifference(nodes, 2, Dirichlet(0.0)), 0.1, 20)
    x = nodes.axes[0]
    frames = pj.rollout(walls, jnp.sin(3 * np.pi * x)[None], 4, include_initial=True)
    exact = np.sin(3 * np.pi * x) * np.exp(-0.1 * 9 * np.pi**2 * 0.4)
    true = float(np.linalg.norm(frames[-1, 0] - exact) / np.linalg.norm(exact))
    measured = measure_solver_error(walls, frames[0], frames, nodes)[-1]
    assert measured < 1e-3 < 0.1 < true, (measured, true)
    assert "time step alone" in measured_part(walls) and "walls" in measured_part(walls)
    ring = pj.Grid(9, 1.0)
    for discretisation in (pj.Spectral(ring), pj.FiniteDifference(ring, 2)):
        stepper = pj.TimeStepper(Diffusion(0.1), discretisation, 0.1, 20)
        assert measured_part(stepper) == "of the time step and of the grid"


def test_a_truth_of_nothing_is_no_solution_that_diverged():
    grid = pj.Grid(8, 1.0)
    stepper = pj.TimeStepper(Diffusion(0.1), pj.Spectral(grid), 0.1)
    start = jnp.zeros((1, 8))
    errors = measure_solver_error(stepper, start, jnp.zeros((3, 1, 8)).at[2].set(1.0), grid)
    np.testing.assert_array_equal(errors, [0, 0, np.inf])


class Bursting(Equation):
    """u_t = u^2 blows up at t = 1 / u0."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u**2


def test_what_is_not_finite_is_named():
    grid = pj.Grid(8, 1.0)
    start, stepper = jnp.ones((1, 8)), pj.TimeStepper(Bursting(), pj.Spectral(grid), 0.5)
    with pytest.raises(ValueError, match="finer solution .* not finite from frame 3 on"):
        measure_solver_error(stepper, start, jnp.ones((5, 1, 8)), grid)
    with pytest.raises(ValueError, match="stored frames are not finite from frame 2 on"):
        measure_solver_error(stepper, start, jnp.ones((5, 1, 8)).at[2].set(jnp.nan), grid)


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4])
def test_an_explicit_solver_near_its_limit_is_stable_on_the_finer_grid(order):
    """Twice the points quarter the step that diffusion allows: half of it would be 1.4 times too long."""
    grid = pj.Grid(16, 1.0)
    # The largest rate of the second difference is 4 / h^2, of the fourth-order one 16 / (3 h^2); Tsit5 stands 3.3.
    rate = {2: 4.0, 4: 16 / 3}[order] * 16**2
    stepper = pj.TimeStepper(
        Diffusion(1.0), pj.FiniteDifference(grid, order), 0.7 * 3.3 / rate * 10, 10, diffrax.Tsit5()
    )
    # A wave, and beside it a little of everything, which an unstable solver blows up.
    noise = 1e-9 * np.random.default_rng(0).normal(size=16)
    start = jnp.cos(2 * jnp.pi * grid.axes[0])[None] + noise
    frames = pj.rollout(stepper, start, 4, include_initial=True)
    errors = measure_solver_error(stepper, start, frames, grid)
    # What is left is the error of the stencil: (k h)^order / 12 or / 90, over the decay so far, of which a coarser grid
    # has 1 - 2^-order.
    kh, decayed = 2 * np.pi / 16, float(stepper.dt) * 4 * (2 * np.pi) ** 2
    constant = {2: 12, 4: 90}[order]
    np.testing.assert_allclose(errors[-1], (1 - 0.5**order) * kh**order / constant * decayed, rtol=0.1)
