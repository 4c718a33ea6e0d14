"""What implicit-explicit and multistep solvers have in common: orders, drivers, directions, gradients, evaluations."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Burgers, Equation, KortewegDeVries
from pdejax.solvers import (
    BDF2,
    ETDRK2,
    CrankNicolsonRK4,
    Diagonal,
    ExponentialAdamsBashforth2,
    ExponentialAdamsBashforth3,
    ExponentialAdamsBashforth4,
    KenCarp3,
    KenCarp4,
    SemilinearTerm,
    Sil3,
)
from pdejax.solvers.terms import semilinear_term
from pdejax.testing import check_lowering, observed_orders

TURN = 2 * np.pi
SOLVERS = [
    Sil3(),
    KenCarp3(),
    KenCarp4(),
    CrankNicolsonRK4(),
    ExponentialAdamsBashforth2(),
    ExponentialAdamsBashforth3(),
    ExponentialAdamsBashforth4(),
    BDF2(),
]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
step_once = jax.jit(lambda stepper, u: stepper(u))


@eqx.filter_jit
def final(solver, term, y, time, num_steps):
    """y at `time`, after a number of steps that the compiled program does not know."""
    h = time / num_steps
    coefficients = solver.coefficients(term.linear, h)

    def step(i, state):
        y, memory, _ = solver.advance(term, coefficients, i * h, h, *state)
        return y, memory

    return jax.lax.fori_loop(0, num_steps, step, (y, solver.start(term, 0.0 * h, y)))[0]


def cole_hopf(x, t, nu):
    """Burgers' equation from `phi = 2 + exp(-nu t) cos x`: u = -2 nu phi_x / phi."""
    decay = jnp.exp(-nu * t)
    return (2 * nu * decay * jnp.sin(x) / (2 + decay * jnp.cos(x)))[None]


@pytest.mark.float64
@every_solver
def test_orders_on_burgers_with_diffusion_that_an_explicit_step_could_not_take(solver):
    nu, time, counts = 0.3, 2.0, [32, 64]
    grid = pj.Grid(65, TURN)
    x = grid.axes[0]
    # h nu k_max^2 = 19 and 10, where an explicit method is stable up to about 3.
    errors = []
    for count in counts:
        stepper = pj.TimeStepper(Burgers(nu), pj.Spectral(grid), time, count, solver)
        errors.append(float(jnp.max(jnp.abs(step_once(stepper, cole_hopf(x, 0.0, nu)) - cole_hopf(x, time, nu)))))
    (observed,) = observed_orders(errors, [1 / n for n in counts])
    assert abs(observed - solver.order(None)) < 0.2, (observed, errors)


class Oscillators(Equation):
    """u_t = nu u_xx + 3 v - u^2 / 2 + cos(2 t), v_t = 40 nu v_xx - 3 u: coupled, unequal, with a force in time."""

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        spread = u["u"].laplacian().stack(40 * u["v"].laplacian()) * 0.05
        return spread + u["v"].stack(-u["u"]) * 3.0

    def nonlinear(self, t, u):
        return (u["u"] ** 2 * -0.5 + u.constant(jnp.cos(2 * t))).stack(u["u"] * 0.0)


@pytest.fixture(scope="module")
def oscillators():
    grid = pj.Grid(24, TURN)
    x = grid.axes[0]
    u = jnp.stack([jnp.sin(x) + 0.2, jnp.cos(2 * x)])
    reference = pj.solve(Oscillators(), pj.Spectral(grid), u, [0.0, 1.0], solver=diffrax.Dopri8(), rtol=1e-11).u[-1]
    return pj.Spectral(grid), u, reference


@pytest.mark.float64
@pytest.mark.parametrize("solver", [Sil3(), KenCarp4(), CrankNicolsonRK4(), ExponentialAdamsBashforth3(), BDF2()])
def test_orders_on_a_coupled_system_with_a_force(solver, oscillators):
    discretisation, u, reference = oscillators
    term, y = semilinear_term(Oscillators(), discretisation), discretisation.encode(u)
    counts = [48, 96, 192]
    errors = [
        float(
            jnp.max(
                jnp.abs(discretisation.decode(final(solver, term, y, jnp.asarray(1.0), jnp.asarray(n))) - reference)
            )
        )
        for n in counts
    ]
    orders = observed_orders(errors, [1 / n for n in counts])
    assert abs(orders[-1] - solver.order(None)) < 0.2, (orders, errors)


@pytest.mark.float64
@pytest.mark.parametrize("solver", [CrankNicolsonRK4(), ExponentialAdamsBashforth4()])
def test_both_drivers_agree(solver):
    grid = pj.Grid(15, TURN)
    u0 = (jnp.sin(grid.axes[0]) + 0.3)[None]
    u = pj.solve(Burgers(0.3), pj.Spectral(grid), u0, [0.0, 0.6], dt=0.1, solver=solver).u[-1]
    np.testing.assert_allclose(
        u, step_once(pj.TimeStepper(Burgers(0.3), pj.Spectral(grid), 0.6, 6, solver), u0), atol=1e-13
    )


@pytest.mark.float64
@pytest.mark.parametrize("solver", [KenCarp3(), ExponentialAdamsBashforth2()])
def test_the_gradient_through_one_driver_is_that_of_differences_of_the_other(solver):
    grid = pj.Grid(15, TURN)
    u0 = (jnp.sin(grid.axes[0]) + 0.3)[None]

    def solved(viscosity):
        u = pj.solve(Burgers(viscosity), pj.Spectral(grid), u0, [0.0, 0.6], dt=0.1, solver=solver).u[-1]
        return jnp.sum(u**2), u

    def stepped(viscosity):
        return step_once(pj.TimeStepper(Burgers(viscosity), pj.Spectral(grid), 0.6, 6, solver), u0)

    slope, u = jax.grad(solved, has_aux=True)(0.3)
    np.testing.assert_allclose(u, stepped(0.3), atol=1e-13)
    width = 1e-4
    differences = (jnp.sum(stepped(0.3 + width) ** 2) - jnp.sum(stepped(0.3 - width) ** 2)) / (2 * width)
    assert abs(slope - differences) <= 1e-6 * abs(differences)


@pytest.mark.float64
@pytest.mark.filterwarnings("ignore:Complex dtype support in Diffrax")
@pytest.mark.parametrize("solver", [Sil3(), KenCarp4(), CrankNicolsonRK4(), ExponentialAdamsBashforth3(), BDF2()])
def test_both_directions_of_time_inside_diffeqsolve(solver):
    """y' = 3i y + sin t, whose force is odd in time; and half way through a step, by its slopes at both ends."""
    term = SemilinearTerm(Diagonal(jnp.asarray([[3j]])), lambda t, y: jnp.sin(t) + 0 * y)
    # Of the form c e^(3it) + a sin t + b cos t.
    exact = lambda t: 0.7 * np.exp(3j * t) + (3j * np.sin(t) + np.cos(t)) / 8  # noqa: E731

    @jax.jit
    def solve(start, end, y0):
        at = diffrax.SaveAt(ts=jnp.stack([start + 0.505 * (end - start), end]))
        return diffrax.diffeqsolve(term, solver, start, end, (end - start) / 100, y0, saveat=at, max_steps=200).ys

    for start, end in ((0.3, 1.5), (1.5, 0.3)):
        got = solve(start, end, jnp.asarray([[exact(start)]]))[:, 0, 0]
        tolerance = {2: 3e-3, 3: 1e-5, 4: 1e-7}[solver.order(None)]
        np.testing.assert_allclose(got, [exact(start + 0.505 * (end - start)), exact(end)], atol=tolerance)


@pytest.mark.parametrize(
    ("solver", "evaluations"),
    list(zip(SOLVERS, [3, 4, 6, 5, 1, 1, 1, 1], strict=True)),
    ids=lambda value: type(value).__name__,
)
def test_the_number_of_evaluations_per_step(solver, evaluations):
    counted = 0

    def count(t):
        nonlocal counted
        counted += 1
        return t

    def nonlinear(t, y):
        return -y * y * (1 + jax.pure_callback(count, jax.ShapeDtypeStruct(y.shape, y.dtype), y))

    term = SemilinearTerm(Diagonal(jnp.asarray([[-1.0]])), nonlinear)
    totals = []
    for num_steps in (10, 15):
        counted = 0
        jax.block_until_ready(final(solver, term, jnp.asarray([[0.5]]), jnp.asarray(1.0), jnp.asarray(num_steps)))
        totals.append(counted)
    assert totals[1] - totals[0] == 5 * evaluations, totals
    # One before the first step; starting steps of a multistep method take as many as their order, KenCarp3 four.
    extra = solver.num_starting_steps * (3 if isinstance(solver, BDF2) else solver.order(None) - 1)
    assert totals[0] == 1 + 10 * evaluations + extra, totals


class Exchange(Equation):
    """Three components whose linear part couples each with the next."""

    def components(self, ndim):
        return ("a", "b", "c")

    def linear(self, u):
        return u.laplacian() * 0.1 + u["b"].stack(u["c"] - u["a"], u["b"]) * 2.0

    def nonlinear(self, t, u):
        return u * u["a"] * -1.0


@every_solver
def test_every_stepper_lowers_for_every_platform_in_single_precision(solver):
    for equation, shape in ((KortewegDeVries(), (15,)), (Exchange(), (8, 9))):
        grid = pj.Grid(shape, TURN, dtype=jnp.float32)
        num_channels = len(equation.components(grid.ndim))
        stepper = pj.TimeStepper(equation, pj.Spectral(grid), 0.01, 5, solver)
        check_lowering(stepper, jax.ShapeDtypeStruct((num_channels, *shape), jnp.float32))


@pytest.mark.parametrize("solver", [KenCarp3(), CrankNicolsonRK4(), ExponentialAdamsBashforth2(), BDF2()])
def test_one_program_serves_every_coefficient_step_and_box(solver):
    traces = 0

    @jax.jit
    def step(stepper, u):
        nonlocal traces
        traces += 1
        return stepper(u)

    u = jnp.sin(jnp.linspace(0, TURN, 12, endpoint=False))[None]
    cases = [(0.1, 1.0, 0.01), (np.float32(0.2), 1.0, 0.01), (jnp.asarray(0.3), 2.0, 0.02)]
    results = [
        step(pj.TimeStepper(Burgers(nu), pj.Spectral(pj.Grid(12, extent)), dt, 3, solver), u)
        for nu, extent, dt in cases
    ]
    assert traces == 1
    assert not np.allclose(results[0], results[1])


@pytest.mark.float64
@pytest.mark.parametrize("solver", [KenCarp3(), CrankNicolsonRK4(), ExponentialAdamsBashforth2(), BDF2(), ETDRK2()])
def test_single_precision_rounding_does_not_grow_with_the_number_of_steps(solver):
    """Against the same steps in double precision, so that the rounding alone is left."""
    results = []
    for dtype in (jnp.float32, jnp.float64):
        grid = pj.Grid(64, TURN, dtype=dtype)
        u0 = jnp.asarray(jnp.sin(pj.Grid(64, TURN).axes[0]), dtype)[None]
        results.append(step_once(pj.TimeStepper(Burgers(0.05), pj.Spectral(grid), 1.0, 4096, solver), u0))
    assert results[0].dtype == jnp.float32
    error = float(jnp.linalg.norm(results[0] - results[1]) / jnp.linalg.norm(results[1]))
    # Close to rounding itself; corrections added one after another, or differences of rounded states, give 3e-5.
    assert error < 2e-6, error
