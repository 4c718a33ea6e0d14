"""Implicit stages on Chebyshev points, along banded lines, and by a Krylov method."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Outflow, Robin
from pdejax.equations import AdvectionDiffusion, Diffusion, Equation
from pdejax.solvers import BDF2, ETDRK4, KenCarp3, KenCarp4, Sil3
from pdejax.solvers.cyclic_reduction import Blocks
from pdejax.solvers.gmres import gmres
from pdejax.solvers.terms import bases_for, decoded, encoded, semilinear_term, space_of
from pdejax.stretching import TowardsWall
from pdejax.testing import observed_orders


def stepping(solver, equation, reading, u0, time, start=0.0):
    """`advance(n)`: the state after n equal steps; one program for all n."""
    bases = bases_for(solver, equation, reading)

    @jax.jit
    def advance(n):
        space, h = space_of(reading, bases), time / n
        term = semilinear_term(equation, space, start)
        coefficients, y = solver.coefficients(term.linear, h), encoded(space, equation, start, u0)

        def step(i, state):
            return solver.advance(term, coefficients, i * h, h, *state)[:2]

        y, _ = jax.lax.fori_loop(0, n, step, (y, solver.start(term, 0.0, y)))
        return decoded(space, equation, start + time, y)

    return advance


@pytest.mark.float64
@pytest.mark.parametrize("size", [3, 5, 23])
def test_factors_of_blocks_solve_banded_systems(size):
    random = np.random.default_rng(0)
    n, width, step = 23, 3, 0.7
    bands = random.normal(size=(n, 2 * width + 1))
    matrix = np.zeros((n, n))
    for i in range(n):
        for k in range(2 * width + 1):
            if 0 <= i + k - width < n:
                matrix[i, i + k - width] = bands[i, k]
    shifts = np.array([9.0, 12.0 + 3j])
    r = random.normal(size=(n, 2)) + 1j * random.normal(size=(n, 2))

    @jax.jit
    def solved(bands):
        blocks = Blocks.of(bands, size)
        return blocks.factors(step, jnp.asarray(shifts)).solve(jnp.asarray(r)), blocks.apply(jnp.asarray(r))

    x, product = solved(jnp.asarray(bands))
    np.testing.assert_allclose(product, matrix @ r, atol=1e-13)
    for mode, shift in enumerate(shifts):
        exact = np.linalg.solve(shift * np.eye(n) - step * matrix, r[:, mode])
        np.testing.assert_allclose(x[:, mode], exact, atol=1e-13)


class Moving(Equation):
    """u = sin(2 x + t) + 2 by its source; diffusion and, where there is some, transport are implicit."""

    velocity: float = 0.0

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        diffused = u.laplacian() * 0.5
        return diffused - u.derivative(0) * self.velocity if self.velocity else diffused

    def nonlinear(self, t, u):
        at = lambda x: (2 * self.velocity + 1) * jnp.cos(2 * x + t) + 2 * jnp.sin(2 * x + t)  # noqa: E731
        return u.coordinates.map(at)


def exact(x, t):
    return jnp.sin(2 * x + t) + 2


MOVING = {
    "value, mixture": (
        Dirichlet(lambda x, t: exact(x[0], t)),
        Robin(2.0, 1.0, lambda x, t: 2 * exact(x[0], t) + 2 * jnp.cos(2 * x[0] + t)),
    ),
    "slopes": (
        Neumann(lambda x, t: -2 * jnp.cos(2 * x[0] + t)),
        Neumann(lambda x, t: 2 * jnp.cos(2 * x[0] + t)),
    ),
}


@pytest.mark.float64
@pytest.mark.parametrize("walls", MOVING)
def test_moving_walls_of_chebyshev_points_are_followed_as_those_of_stencils(walls):
    """Steps 60 times the explicit limit; finite differences of order 8 with the same steps are no better."""
    low, high = MOVING[walls]
    errors = []
    for reading in (
        pj.Chebyshev(pj.Grid(20, 1.2, periodic=False, points="chebyshev"), {"x-": low, "x+": high}),
        pj.FiniteDifference(pj.Grid(40, 1.2, periodic=False), 8, {"x-": low, "x+": high}),
    ):
        x = reading.grid.axes[0]
        u = stepping(KenCarp4(), Moving(), reading, exact(x, 5.0)[None], 1.0, 5.0)(50)
        errors.append(float(jnp.max(jnp.abs(u[0] - exact(x, 6.0)))))
    assert errors[0] < 1.2 * errors[1] and errors[0] < 1e-5, errors


class Driven(Equation):
    """u_t = 0.1 u_xx - c u_x + u - u^3; with `beside` a second component that diffuses into the first."""

    velocity: Any = None
    beside: bool = False

    def components(self, ndim):
        return ("u", "v") if self.beside else ("u",)

    def linear(self, state):
        u = state[0]
        first = 0.1 * u.laplacian()
        if self.velocity is not None:
            first = first - self.velocity * u.derivative(0)
        return first.stack(0.2 * state[1].laplacian() + 0.15 * u.laplacian()) if self.beside else first

    def nonlinear(self, t, state):
        return state - state**3


CASES = {
    "chebyshev": (Driven(), pj.Chebyshev, "chebyshev", 25),
    "banded": (Driven(0.3), pj.FiniteDifference, "nodes", 65),
    "krylov": (Driven(beside=True), pj.FiniteDifference, "nodes", 33),
}


@pytest.mark.float64
@pytest.mark.parametrize(
    ("case", "solver", "order"),
    [
        ("chebyshev", Sil3(), 2),
        ("chebyshev", KenCarp3(), 3),
        ("chebyshev", KenCarp4(), 4),
        ("banded", KenCarp3(), 3),
        ("banded", BDF2(), 2),
        ("krylov", KenCarp3(), 3),
    ],
    ids=str,
)
def test_orders_are_kept(case, solver, order):
    equation, kind, points, n = CASES[case]
    grid = pj.Grid(n, 1.0, periodic=False, points=points)
    reading = kind(grid, boundary=Neumann())
    assert type(pj.solvers.terms.default_solver(equation, reading)[0]) is KenCarp4
    u = 0.4 + 0.3 * jnp.cos(np.pi * grid.axes[0])
    u0 = jnp.stack([u, 0.5 * u]) if equation.beside else u[None]
    run = stepping(solver, equation, reading, u0, 2.0)
    explicit = pj.solve(equation, reading, u0, [0.0, 2.0], solver=diffrax.Tsit5(), rtol=1e-12).u[-1]
    errors = [float(jnp.max(jnp.abs(run(n) - explicit))) for n in (20, 40)]
    assert errors[-1] < 3e-3
    assert abs(observed_orders(errors, [1.0, 0.5])[0] - order) < 0.2, errors


class Carried(Equation):
    """u_t = 0.5 u_xx - c u_x + r u, all of it implicit."""

    velocity: float
    rate: float = 0.0

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return 0.5 * u.laplacian() - self.velocity * u.derivative(0) + self.rate * u

    def nonlinear(self, t, u):
        return u * 0.0


@pytest.mark.float64
def test_walls_that_feed_what_is_there_keep_the_lift_away():
    """A mixture of the other sign makes a mode grow; with this weight exactly as fast as the lift was shifted by."""
    grid = pj.Grid(33, 1.0, periodic=False, points="nodes")
    reading = pj.FiniteDifference(grid, 2, {"x-": 0.3, "x+": Robin(-3.25393739622975, 1.0, 0.2)})
    u0, equation = jnp.sin(np.pi * grid.axes[0])[None], Carried(0.1)
    found = pj.solve(equation, reading, u0, [0.0, 0.3], solver=KenCarp4(), rtol=1e-6)
    explicit = pj.solve(equation, reading, u0, [0.0, 0.3], solver=diffrax.Tsit5(), rtol=1e-9)
    np.testing.assert_allclose(found.u[-1], explicit.u[-1], atol=5e-5)


@pytest.mark.float64
def test_a_reaction_of_one_over_the_step_leaves_held_rows_alone():
    """`1 - gamma h r = 0`: regular in the interior all the same, on a line and beside a periodic axis."""
    line = pj.Grid(33, 1.0, periodic=False, points="nodes")
    channel = pj.Grid((6, 41), 1.0, periodic=(True, False), points="nodes")
    for grid, boundary in ((line, {"x": 0.0}), (channel, {"y": 0.0})):
        reading, u = pj.FiniteDifference(grid, 2, boundary), jnp.sin(np.pi * grid.axes[-1])
        u = jnp.broadcast_to(u, (1, *grid.shape))
        exactly, nearly = (
            eqx.filter_jit(pj.TimeStepper(Carried(0.0 if grid.ndim > 1 else 0.5, rate), reading, 1.0, 1, KenCarp4()))(u)
            for rate in (4.0, 4.0 + 1e-9)
        )
        np.testing.assert_allclose(exactly, nearly, rtol=1e-6, atol=1e-9)


@pytest.mark.float64
def test_gradients_reach_coefficients_weights_and_extents_along_a_banded_line():
    @jax.jit
    @jax.vmap
    def functional(parameters):
        velocity, weight, extent, wall = parameters
        grid = pj.Grid(13, extent, periodic=False)
        low = lambda x, t: wall * (1 + jnp.sin(9 * t))  # noqa: E731
        reading = pj.FiniteDifference(grid, 4, {"x-": low, "x+": Robin(weight, 0.5, wall**2)})
        u = jnp.cos(3 * grid.axes[0])[None]
        return jnp.sum(jnp.sin(pj.TimeStepper(Driven(velocity), reading, 0.4, 4, Sil3())(u)))

    at = jnp.asarray([0.3, 0.7, 1.1, 0.5])
    gradient = jax.jit(jax.grad(lambda p: functional(p[None])[0]))(at)
    steps = 1e-5 * np.eye(4)
    differences = (functional(at + steps) - functional(at - steps)) / 2e-5
    np.testing.assert_allclose(gradient, differences, rtol=1e-6)


@pytest.mark.either
@pytest.mark.parametrize("points", ["chebyshev", "nodes"])
def test_single_precision_and_gradients_over_the_diffusivity(points):
    """Heat between walls of two kinds: a quarter wave decays as exp(-D k^2 t); with a second component by Krylov."""

    class Heat(Equation):
        diffusivity: jax.Array

        def components(self, ndim):
            return ("u", "v")

        def linear(self, state):
            u, v = state
            if points == "chebyshev":
                return state.laplacian() * self.diffusivity
            return (self.diffusivity * u.laplacian()).stack(self.diffusivity * (v + u).laplacian())

    grid = pj.Grid(32, 1.0, periodic=False, points=points, dtype=jnp.float32)
    walls = {"x-": 0.0, "x+": Neumann()}
    reading = pj.Chebyshev(grid, walls) if points == "chebyshev" else pj.FiniteDifference(grid, 4, walls)
    wave, k2 = jnp.sin(np.pi / 2 * grid.axes[0]), np.pi**2 / 4
    u0 = jnp.stack([wave, 0 * wave])

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def amplitude(diffusivity):
        return pj.TimeStepper(Heat(diffusivity), reading, 0.3, 40, Sil3())(u0)[0, -1]

    diffusivities = jnp.asarray([0.2, 1.0, 3.0], jnp.float32)
    value, gradient = amplitude(diffusivities)
    decay = np.exp(-0.3 * k2 * np.asarray(diffusivities))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, decay, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(gradient, -0.3 * k2 * decay, rtol=2e-3, atol=1e-4)


@pytest.mark.either
def test_a_krylov_solve_that_does_not_converge_is_an_error():
    class Mixed(Equation):
        def components(self, ndim):
            return ("u",)

        def linear(self, u):
            return u.derivative(0).derivative(1)

    grid = pj.Grid((20, 21), 1.0, periodic=False)
    stepper = pj.TimeStepper(Mixed(), pj.FiniteDifference(grid, 2, 0.0), 10.0, 1, KenCarp3())
    u = jax.random.normal(jax.random.key(0), (1, 20, 21))
    with pytest.raises(Exception, match="implicit stages of Mixed were not solved.*smaller time steps"):
        jax.block_until_ready(eqx.filter_jit(stepper)(u))


@pytest.mark.float64
def test_krylov_vectors_stay_orthogonal_where_the_matrix_is_ill_conditioned():
    """What is returned has the residual that the recurrence says."""
    scales, b = jnp.logspace(0, -8, 80), jnp.ones(80)
    x, _, converged = gmres(lambda v: scales * v, b, 1e-9, 80)
    assert bool(converged) and float(jnp.linalg.norm(scales * x - b)) < 1e-8 * np.sqrt(80)


@pytest.mark.either
def test_a_krylov_space_that_ends_without_the_solution_is_no_success():
    for matrix, right in (([[0.0, 1.0], [0.0, 0.0]], [1.0, 0.0]), ([[1.0, 0.0], [0.0, 1.0]], [1.0, jnp.nan])):
        given = jnp.asarray(matrix)
        _, _, converged = gmres(lambda v, given=given: given @ v, jnp.asarray(right), 1e-5, 10)
        assert not bool(converged)


@pytest.mark.float64
def test_step_control_takes_shorter_steps_where_stages_are_not_solved():
    """Upwind transport that the preconditioner does not know: the first steps are too long for it."""
    grid = pj.Grid(81, 1.0, periodic=False, points=pj.Stretched(TowardsWall(3.0, "upper")))
    reading = pj.FiniteDifference(grid, 4, {"x-": 1.0, "x+": 0.0}, advection="upwind")
    solution = pj.solve(AdvectionDiffusion(1.0, 1e-3), reading, 1 - grid.coordinates(), [0.0, 5.0])
    x = grid.axes[0]
    np.testing.assert_allclose(solution.u[-1, 0], -jnp.expm1((x - 1) / 1e-3), atol=2e-3)


class Order(Equation):
    order: int = eqx.field(static=True)

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return -u.derivative(0, self.order)


@pytest.mark.parametrize(
    ("equation", "boundary", "match"),
    [
        (Order(4), 0.0, "order 4 along axis 0: Chebyshev points with one condition at each wall"),
        (Diffusion(1.0), {"x-": 0.0, "x+": Outflow()}, "diffusion needs a condition at that wall"),
    ],
)
def test_what_chebyshev_points_cannot_step_is_refused_by_all(equation, boundary, match):
    reading = pj.Chebyshev(pj.Grid(16, 1.0, periodic=False, points="chebyshev"), boundary)
    for solver in (ETDRK4(), KenCarp4(), BDF2()):
        with pytest.raises(ValueError, match=match):
            pj.TimeStepper(equation, reading, 0.1, 2, solver)
    assert match in pj.explain(equation, reading)
