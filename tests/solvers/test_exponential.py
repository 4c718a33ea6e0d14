"""Orders of the exponential solvers on exact solutions, and what else an integrator must get right."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.linalg import expm

import pdejax as pj
from pdejax.equations import Burgers, Diffusion, Equation, KortewegDeVries
from pdejax.solvers import ETDRK2, ETDRK3, ETDRK4, IntegratingFactorRK4
from pdejax.testing import observed_orders

pytestmark = pytest.mark.float64
TURN = 2 * np.pi
step_once = jax.jit(lambda stepper, u, t=0.0: stepper(u, t=t))
# One program for every number of steps.
repeated = jax.jit(lambda stepper, u, count: jax.lax.fori_loop(0, count, lambda _, v: stepper(v), u))


def soliton(x, t, speed=4.0, extent=40.0):
    phase = jnp.mod(x - speed * t + extent / 2, extent) - extent / 2
    return speed / 2 / jnp.cosh(jnp.sqrt(speed) / 2 * phase) ** 2


def soliton_errors(solver, counts):
    grid = pj.Grid(512, 40.0, origin=-20.0)
    x = grid.axes[0]
    exact = soliton(x, 1.0)
    errors = []
    for count in counts:
        stepper = pj.TimeStepper(KortewegDeVries(), pj.Spectral(grid), 1.0, count, solver)
        error = jnp.linalg.norm(step_once(stepper, soliton(x, 0.0)[None])[0] - exact)
        errors.append(float(error / jnp.linalg.norm(exact)))
    return errors


def test_etdrk4_on_korteweg_de_vries_whose_symbol_is_imaginary():
    counts = [400, 800, 1600, 3200, 6400]
    errors = soliton_errors(ETDRK4(), counts)
    orders = observed_orders(errors, [1 / n for n in counts])
    assert np.all((orders > 3.7) & (orders < 4.3)), orders
    assert errors[-1] < 1e-10, errors


@pytest.mark.parametrize(("solver", "order"), [(ETDRK2(), 2), (ETDRK3(), 3), (IntegratingFactorRK4(), 4)])
def test_the_other_solvers_on_korteweg_de_vries(solver, order):
    counts = [800, 1600, 3200]
    orders = observed_orders(soliton_errors(solver, counts), [1 / n for n in counts])
    assert np.all(np.abs(orders - order) < 0.2), orders


@pytest.mark.parametrize(
    ("solver", "order"),
    [(ETDRK2(), 2), (ETDRK3(), 3), (ETDRK4(), 4), (IntegratingFactorRK4(), 4), (diffrax.Tsit5(), 5)],
)
def test_orders_on_burgers(solver, order):
    nu, grid = 0.3, pj.Grid(65, TURN)
    x = grid.axes[0]

    def exact(t):  # Cole-Hopf with phi = 2 + exp(-nu t) cos x
        decay = jnp.exp(-nu * t)
        return 2 * nu * decay * jnp.sin(x) / (2 + decay * jnp.cos(x))

    # The explicit solver needs dt below about 3 / (nu k_max^2).
    counts = [400, 566, 800] if isinstance(solver, diffrax.Tsit5) else [16, 32, 64]
    time = 2.0
    errors = []
    for count in counts:
        stepper = pj.TimeStepper(Burgers(nu), pj.Spectral(grid), time, count, solver)
        errors.append(float(jnp.max(jnp.abs(step_once(stepper, exact(0.0)[None])[0] - exact(time)))))
    if isinstance(solver, diffrax.Tsit5):
        assert errors[-1] < 1e-12, errors
        return
    orders = observed_orders(errors, [1 / n for n in counts])
    assert np.all(np.abs(orders - order) < 0.2), (orders, errors)


def cole_hopf(x, t, nu):
    """u_t + u u_x = nu u_xx from u = -sin(pi x), by Gauss-Hermite quadrature of the Cole-Hopf integrals.

    The exponent, up to 1 / (2 pi nu) = 50, is shifted by its maximum, or the quotient would be 0 / 0.
    """
    nodes, weights = np.polynomial.hermite.hermgauss(200)
    y = x[:, None] - np.sqrt(4 * nu * t) * nodes
    exponent = -np.cos(np.pi * y) / (2 * np.pi * nu)
    scale = weights * np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return -np.sum(np.sin(np.pi * y) * scale, axis=1) / np.sum(scale, axis=1)


@pytest.mark.parametrize(("num_points", "substeps", "bound"), [(2040, 4000, 1e-8), (3060, 8000, 1e-10)])
def test_burgers_shock_matches_cole_hopf(num_points, substeps, bound):
    nu, time = 0.01 / np.pi, 0.99
    grid = pj.Grid(num_points, 2.0, origin=-1.0)
    x = grid.axes[0]
    stepper = pj.TimeStepper(Burgers(nu), pj.Spectral(grid), time, substeps)
    u = step_once(stepper, -jnp.sin(np.pi * x)[None])[0]
    exact = cole_hopf(np.asarray(x), time, nu)
    assert np.max(np.abs(u - exact)) < bound


class Oscillators(Equation):
    """u_t = nu u_xx + omega v - u^2, v_t = 2 nu v_xx - omega u: coupled, with a nonlinear part."""

    viscosity: Array
    frequency: Array
    strength: Array

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        spread = u["u"].laplacian().stack(2 * u["v"].laplacian()) * self.viscosity
        return spread + u["v"].stack(-u["u"]) * self.frequency

    def nonlinear(self, t, u):
        return (u["u"] ** 2).stack(u["u"] * 0.0) * -self.strength


def oscillators(strength):
    return Oscillators(jnp.asarray(0.05), jnp.asarray(7.0), jnp.asarray(strength))


def test_a_coupled_linear_system_is_solved_to_rounding_in_one_step():
    grid = pj.Grid(15, TURN)
    x = grid.axes[0]
    u = jnp.stack([jnp.cos(3 * x), 0.5 * jnp.cos(3 * x)])
    result = step_once(pj.TimeStepper(oscillators(0.0), pj.Spectral(grid), 2.0), u)
    amplitude = expm(2.0 * np.array([[-0.05 * 9, 7.0], [-7.0, -0.1 * 9]])) @ np.array([1.0, 0.5])
    np.testing.assert_allclose(result, amplitude[:, None] * np.cos(3 * np.asarray(x)), atol=1e-13)


def test_orders_on_a_coupled_system():
    grid = pj.Grid(24, TURN)
    x = grid.axes[0]
    u = jnp.stack([jnp.sin(x) + 0.2, jnp.cos(2 * x)])
    equation = oscillators(0.4)
    reference = pj.solve(equation, pj.Spectral(grid), u, [0.0, 1.0], solver=diffrax.Dopri8(), rtol=1e-12).u[-1]
    for solver, order in ((ETDRK2(), 2), (ETDRK3(), 3), (ETDRK4(), 4), (IntegratingFactorRK4(), 4)):
        steppers = [pj.TimeStepper(equation, pj.Spectral(grid), 1 / count, solver=solver) for count in (32, 64)]
        ends = [repeated(stepper, u, count) for stepper, count in zip(steppers, (32, 64), strict=True)]
        errors = [float(jnp.max(jnp.abs(end - reference))) for end in ends]
        (observed,) = observed_orders(errors, [1 / 32, 1 / 64])
        assert abs(observed - order) < 0.2, (solver, observed, errors)


def test_a_linear_equation_is_exact_however_stiff():
    grid = pj.Grid((24, 33), TURN)
    x, y = grid.coordinates()
    u = (jnp.sin(2 * x) * jnp.cos(3 * y) + jnp.cos(11 * x))[None]
    result = step_once(pj.TimeStepper(Diffusion(10.0), pj.Spectral(grid), 0.1), u)
    np.testing.assert_allclose(result[0], np.exp(-13.0) * jnp.sin(2 * x) * jnp.cos(3 * y), atol=1e-14)


class Forced(Equation):
    """u_t = -u + cos(t) + sin(t): u = sin t. The time argument matters, inside a step too."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return -u

    def nonlinear(self, t, u):
        return u.constant(jnp.cos(t) + jnp.sin(t))


@pytest.mark.parametrize(
    ("solver", "order"),
    [(ETDRK2(), 2), (ETDRK3(), 3), (ETDRK4(), 4), (IntegratingFactorRK4(), 4), (diffrax.Bosh3(), 3)],
)
def test_orders_with_a_force_that_depends_on_time(solver, order):
    grid = pj.Grid(8, 1.0)
    errors = []
    for count in (8, 16, 32):
        stepper = pj.TimeStepper(Forced(), pj.Spectral(grid), 1.0, count, solver)
        u = step_once(stepper, jnp.full((1, 8), jnp.sin(0.4)), 0.4)
        errors.append(float(jnp.max(jnp.abs(u - jnp.sin(1.4)))))
    orders = observed_orders(errors, [1 / 8, 1 / 16, 1 / 32])
    # A force that depends on time alone is a quadrature, and ETDRK3's nodes are Simpson's: one order more.
    assert np.all(orders > order - 0.25), (orders, errors)


def test_a_rollout_passes_the_time_on():
    grid = pj.Grid(8, 1.0)
    stepper = pj.TimeStepper(Forced(), pj.Spectral(grid), 0.25, 8)
    states = pj.rollout(stepper, jnp.full((1, 8), jnp.sin(2.0)), 6, t0=2.0)
    np.testing.assert_allclose(states[:, 0, 3], jnp.sin(2.0 + 0.25 * jnp.arange(1, 7)), atol=1e-7)


@pytest.mark.parametrize("solver", [ETDRK2(), ETDRK3(), ETDRK4(), IntegratingFactorRK4()])
def test_the_embedded_error_estimate_converges_one_order_below(solver):
    """The estimate of a step shrinks as h^p for a method of order p: what the step-size controller assumes."""
    from pdejax.solvers.terms import semilinear_term

    grid = pj.Grid(32, TURN)
    discretisation = pj.Spectral(grid)
    term = semilinear_term(Burgers(0.1), discretisation)
    y = discretisation.encode((jnp.sin(grid.axes[0]) + 0.3)[None])
    sizes = [0.04, 0.02, 0.01]
    start = jnp.zeros(())

    @jax.jit
    def estimate(h):
        *_, error = solver.advance(term, solver.coefficients(term.linear, h), start, h, y, term.nonlinear(start, y))
        return discretisation.norm(error)

    estimates = [float(estimate(h)) for h in sizes]
    orders = observed_orders(estimates, sizes)
    assert np.all(np.abs(orders - solver.error_order(term)) < 0.3), orders


def test_single_precision_rounding_does_not_grow_with_the_number_of_steps():
    grid = pj.Grid(256, TURN, dtype=jnp.float32)
    u0 = jnp.sin(grid.axes[0])[None]
    fine = pj.Grid(256, TURN)
    stepper, truth = (pj.TimeStepper(Burgers(0.05), pj.Spectral(points), 1.0, 4096) for points in (grid, fine))
    reference = step_once(truth, jnp.asarray(u0, jnp.float64))
    u = step_once(stepper, u0)
    assert u.dtype == jnp.float32
    error = float(jnp.linalg.norm(u - reference) / jnp.linalg.norm(reference))
    # Written as e^(hL) y + ... the same run is off by 3.6e-5 (order 2) and more.
    assert error < 3e-5, error


@pytest.mark.parametrize("dealiasing", ["auto", 0.9, None])
def test_growth_that_reactions_saturate_stays_bounded_on_every_mode(dealiasing):
    """Linear growth among the modes that dealiasing keeps out of the products has nothing to saturate it."""
    grid = pj.Grid(64, TURN)
    x = grid.coordinates()
    u0 = 0.5 + 0.3 * jnp.sin(x) + 0.1 * jnp.cos(3 * x)
    u = pj.solve(pj.equations.FisherKPP(0.01, 20.0), pj.Spectral(grid, dealiasing), u0, [0.0, 2.0, 4.0]).u
    assert float(jnp.max(jnp.abs(u[1:] - 1))) < 1e-4
    steep = pj.Grid(128, 2.0, origin=-1.0)
    x = steep.coordinates()
    u0 = x**2 * jnp.cos(jnp.pi * x)
    u = pj.solve(pj.equations.AllenCahn(1e-4, 5.0), pj.Spectral(steep, dealiasing), u0, [0.0, 4.0]).u
    assert float(jnp.max(jnp.abs(u[1]))) < 1.2


class Growing(Equation):
    """u_t = 3 u + u_x: no product, so growth is the solution, on every mode."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u * 3.0 + u.derivative(0)


def test_growth_without_products_is_kept():
    grid = pj.Grid(24, TURN)
    u = step_once(pj.TimeStepper(Growing(), pj.Spectral(grid), 0.5), jnp.cos(11 * grid.coordinates()))
    np.testing.assert_allclose(u, np.exp(1.5) * jnp.cos(11 * (grid.coordinates() + 0.5)), atol=1e-10)


class Turing(Equation):
    """u_t = 2 u + 5 v - u^3, v_t = -5 u + 2 v - v^3: coupled growth, which the cubes saturate."""

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        return (u["u"] * 2.0 + u["v"] * 5.0).stack(u["v"] * 2.0 - u["u"] * 5.0)

    def nonlinear(self, t, u):
        return (u["u"] ** 3).stack(u["v"] ** 3) * -1.0


def test_coupled_growth_beyond_the_products_only_turns():
    grid = pj.Grid(32, TURN)
    x = grid.coordinates()
    u0 = jnp.concatenate([0.1 * jnp.cos(x), 1e-3 * jnp.cos(13 * x)])
    u = pj.solve(Turing(), pj.Spectral(grid), u0, [0.0, 5.0]).u[-1]
    high = jnp.abs(jnp.fft.rfft(u)[:, 13]) / 16
    np.testing.assert_allclose(jnp.linalg.norm(high), 1e-3, rtol=1e-6)
    assert float(jnp.max(jnp.abs(u))) < 3


class Wave(Equation):
    """`u_t = v, v_t = c^2 u_xx - 0 u^3`: blocks that only turn, far from normal, beside a product of degree three."""

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        return u["v"].stack(u["u"].laplacian() * 9.0)

    def nonlinear(self, t, u):
        return (u["u"] * 0.0).stack(u["u"] ** 3) * 0.0


def test_coupled_waves_beyond_the_products_are_not_damped():
    """Mode 13 of 32 points lies beyond the cut of a cubic term: a standing wave, cos(3 k t) for ever."""
    x = pj.Grid(32, TURN).coordinates()
    u0 = jnp.concatenate([jnp.cos(13 * x), 0 * x])
    u = step_once(pj.TimeStepper(Wave(), pj.Spectral(pj.Grid(32, TURN)), 0.7, 10), u0)
    np.testing.assert_allclose(u[0], np.cos(3 * 13 * 0.7) * jnp.cos(13 * x[0]), atol=1e-10)
    total = lambda s: jnp.sum(pj.TimeStepper(Wave(), pj.Spectral(pj.Grid(32, s)), 0.7, 2)(u0) ** 2)  # noqa: E731
    slope = jax.jit(jax.grad(total))(TURN)
    assert bool(jnp.isfinite(slope))
