"""Stiff problems between walls: exponential and implicit-explicit solvers over axis-by-axis eigenmodes."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin
from pdejax.equations import Advection, AdvectionDiffusion, Diffusion, Equation, FisherKPP
from pdejax.solvers import ETDRK2, ETDRK4, KenCarp3, KenCarp4, Sil3
from pdejax.solvers.terms import bases_for, decoded, encoded, semilinear_term, space_of
from pdejax.stretching import TowardsWalls
from pdejax.testing import check_lowering, observed_orders

step_once = eqx.filter_jit(lambda stepper, u, t=0.0: stepper(u, t=t))


class Pair(Equation):
    """What keeps an equation from being diagonal is added: `transport` along y, `coupling` of the components."""

    transport: bool = eqx.field(static=True, default=False)
    coupling: bool = eqx.field(static=True, default=False)

    def components(self, ndim):
        return ("u", "v")

    def linear(self, state):
        u, v = state
        first, second = u.laplacian() * 0.3 - u, v.derivative(1, 2) * 0.7 + v.derivative(0) * 0.4
        if self.transport:
            first = first - u.derivative(1) * 1.3
        if self.coupling:
            first, second = first + v.derivative(1) * 0.6, second + u.laplacian() * 0.1
        return first.stack(second)

    def nonlinear(self, t, state):
        return state * state["v"]


READINGS = {
    "nodes 2": lambda grid, boundary: pj.FiniteDifference(grid("nodes"), 2, boundary),
    "centres 2": lambda grid, boundary: pj.FiniteDifference(grid("centres"), 2, boundary),
    "nodes 8": lambda grid, boundary: pj.FiniteDifference(grid("nodes"), 8, boundary),
    "centres 8": lambda grid, boundary: pj.FiniteDifference(grid("centres"), 8, boundary),
    "stretched 4": lambda grid, boundary: pj.FiniteDifference(grid(pj.Stretched(TowardsWalls(1.0))), 4, boundary),
    "by parts 8": lambda grid, boundary: pj.FiniteDifference(grid("nodes"), 8, boundary, closure="summation by parts"),
    "chebyshev": lambda grid, boundary: pj.Chebyshev(grid("chebyshev"), boundary),
}


@pytest.mark.float64
@pytest.mark.parametrize(
    ("name", "equation", "solver"),
    [(name, Pair(), ETDRK4()) for name in READINGS]
    + [(name, Pair(transport=True), KenCarp3()) for name in ("nodes 8", "stretched 4", "by parts 8", "chebyshev")]
    + [("centres 2", Pair(True, True), KenCarp3())],
    ids=str,
)
def test_the_parts_in_what_is_stepped_add_up_to_the_tendency(name, equation, solver):
    """Walls of every kind, data that change in space and time, two components, a periodic axis; diagonal, banded, and
    applied alone."""
    grid = lambda points: pj.Grid((18, 21), (1.0, 1.3), periodic=(True, False), points=("nodes", points))  # noqa: E731
    boundary = {
        "u": {"y-": Robin(1.0, 0.2, 0.7), "y+": lambda x, t: jnp.sin(6 * x[0] + t)},
        "v": {"y-": jnp.linspace(0.0, 1.0, 18), "y+": Neumann(0.3)},
    }
    if equation.transport and name == "stretched 4":
        # The first point held: what acts along the other axes is that of the next one.
        boundary["u"] = {"y-": lambda x, t: jnp.sin(6 * x[0] + t), "y+": Robin(1.0, 0.2, 0.7)}
    reading = READINGS[name](grid, boundary)
    space = space_of(reading, bases_for(solver, equation, reading))
    u = reading.hold(equation, 0.3, jax.random.normal(jax.random.key(0), (2, 18, 21)))

    @jax.jit
    def parts(u):
        y, term = encoded(space, equation, 0.3, u), semilinear_term(equation, space)
        _, found = jax.jvp(lambda t, v: decoded(space, equation, t, v), (0.3, y), (1.0, term.vf(0.3, y, None)))
        stage = y - 0.07 * term.linear.apply(y)
        solved = term.linear.multiply(term.linear.inverse(jnp.asarray(0.07)), stage)
        return decoded(space, equation, 0.3, y), found, y, solved, reading.tendency(equation, 0.3, u)

    again, found, y, solved, expected = parts(u)
    np.testing.assert_allclose(again, u, atol=1e-11)
    # On Chebyshev points the rounding of second derivatives is eps N^4, most of it at the walls.
    rounding = 1e-11 if name != "chebyshev" else 1e-9
    np.testing.assert_allclose(found, expected, atol=rounding * float(jnp.max(jnp.abs(expected))))
    np.testing.assert_allclose(solved, y, atol=1e-10 * float(jnp.max(jnp.abs(y))))


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_heat_between_robin_walls_follows_its_series(points):
    """u_t = u_xx, u = 1 at first, u_n + b u = 0 at both ends; b = 2 below and 0.5 above."""
    low, high, time = 2.0, 0.5, 0.1
    characteristic = lambda k: (low + high) * k * np.cos(k) - (k**2 - low * high) * np.sin(k)  # noqa: E731
    places = np.linspace(1e-3, 60, 20001)
    signs = np.flatnonzero(np.diff(np.sign(characteristic(places))))
    wavenumbers = [scipy.optimize.brentq(characteristic, places[i], places[i + 1], xtol=1e-14) for i in signs]

    def series(x):
        total = 0.0
        fine = (np.polynomial.legendre.leggauss(200)[0] + 1) / 2
        weights = np.polynomial.legendre.leggauss(200)[1] / 2
        for k in wavenumbers:
            mode = lambda z, k=k: np.cos(k * z) + low / k * np.sin(k * z)  # noqa: E731
            total = total + np.sum(weights * mode(fine)) / np.sum(weights * mode(fine) ** 2) * mode(x) * np.exp(
                -(k**2) * time
            )
        return total

    def error(n):
        grid = pj.Grid(n, 1.0, periodic=False, points=points)
        reading = pj.FiniteDifference(grid, 4, {"x-": Robin(low, 1.0), "x+": Robin(high, 1.0)})
        u = step_once(pj.TimeStepper(Diffusion(1.0), reading, time, 1, ETDRK2()), jnp.ones((1, n)))[0]
        return np.max(np.abs(u - series(np.asarray(grid.axes[0]))))

    # In space alone: an exponential step solves the linear problem to rounding, however long it is.
    errors = [error(80), error(120)]
    less = points == "nodes"
    assert errors[1] < 2e-7
    assert abs(observed_orders(errors, [1 / (80 - less), 1 / (120 - less)])[0] - 4) < 0.2


class Driven(Equation):
    """u_t = nu u_xx + u - u^3, between walls."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return 0.1 * u.laplacian()

    def nonlinear(self, t, u):
        return u - u**3


@pytest.mark.float64
def test_steps_between_steady_walls_converge_with_their_order():
    """Neumann walls, h^2 / nu a hundredth of the step: the stiffness costs neither steps nor order."""
    grid = pj.Grid(65, 1.0, periodic=False)
    reading = pj.FiniteDifference(grid, 2, Neumann())
    u0 = (0.4 + 0.3 * jnp.cos(np.pi * grid.axes[0]))[None]
    # One program for every number of steps.
    repeated = eqx.filter_jit(lambda stepper, count: jax.lax.fori_loop(0, count, lambda _, u: stepper(u), u0))
    run = lambda count, solver: repeated(pj.TimeStepper(Driven(), reading, 2.0 / count, solver=solver), count)  # noqa: E731
    exact = run(320, ETDRK4())
    for solver, order in ((ETDRK4(), 4), (KenCarp3(), 3), (KenCarp4(), 4), (Sil3(), 2)):
        errors = [float(jnp.max(jnp.abs(run(count, solver) - exact))) for count in (20, 40)]
        (observed,) = observed_orders(errors, [1.0, 0.5])
        assert abs(observed - order) < 0.2, (solver, observed, errors)


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_walls_that_change_in_time_are_followed_by_both_drivers(points):
    """u = sin(2 x + t) + 2, an exact solution with its source; data of all kinds; far from t = 0."""

    class Source(Equation):
        def components(self, ndim):
            return ("u",)

        def linear(self, u):
            return u.laplacian() * 0.5

        def nonlinear(self, t, u):
            phase = lambda x: 2 * x + t  # noqa: E731
            return u.coordinates.map(lambda x: jnp.cos(phase(x)) + 2 * jnp.sin(phase(x)))

    exact = lambda x, t: jnp.sin(2 * x + t) + 2  # noqa: E731
    grid = pj.Grid(33, 1.2, periodic=False, points=points)
    low = Dirichlet(lambda x, t: exact(x[0], t))
    high = Robin(2.0, 1.0, lambda x, t: 2 * exact(x[0], t) + 2 * jnp.cos(2 * x[0] + t))
    reading = pj.FiniteDifference(grid, 8, {"x-": low, "x+": high})
    x = grid.axes[0]
    equation = Source()
    assert "KenCarp4" in pj.explain(equation, reading)
    solution = pj.solve(equation, reading, exact(x, 5.0)[None], [5.0, 5.4, 6.0], rtol=1e-8)
    for t, u in zip((5.4, 6.0), solution.u[1:, 0], strict=True):
        np.testing.assert_allclose(u, exact(x, t), atol=2e-7)
    stepper = pj.TimeStepper(equation, reading, 1.0, 200, KenCarp4())
    # What is wrong at a held node is put right at the start.
    start = exact(x, 5.0)[None] + (0.1 * (jnp.arange(33) == 0) if points == "nodes" else 0.0)
    np.testing.assert_allclose(step_once(stepper, start, 5.0)[0], exact(x, 6.0), atol=1e-6)
    if points == "nodes":  # the two readings have the same steps, near enough
        explicit = pj.solve(equation, reading, exact(x, 5.0)[None], [5.0, 6.0], rtol=1e-8, solver=diffrax.Tsit5())
        np.testing.assert_allclose(explicit.u[-1], solution.u[-1], atol=1e-6)
        assert int(explicit.num_steps) > 2 * int(solution.num_steps)


@pytest.mark.float64
def test_gradients_reach_coefficients_data_and_extent():
    def functional(parameters):
        viscosity, wall, extent = parameters
        grid = pj.Grid((9, 11), (1.0, extent), periodic=(True, False))
        moving = lambda x, t: wall * (1 + jnp.sin(9 * t + x[0]))  # noqa: E731
        reading = pj.FiniteDifference(grid, 4, {"y-": moving, "y+": Neumann(wall**2)})
        u = jnp.sin(2 * np.pi * grid.coordinates()[:1]) * jnp.cos(3 * grid.coordinates()[1:])
        return jnp.sum(jnp.sin(pj.TimeStepper(FisherKPP(viscosity, 1.0), reading, 0.2, 4, KenCarp3())(u)))

    value = jax.jit(functional)
    at = jnp.asarray([0.3, 0.7, 1.1])
    gradient = jax.jit(jax.grad(functional))(at)
    for i, step in enumerate(1e-5 * np.eye(3)):
        np.testing.assert_allclose(gradient[i], (value(at + step) - value(at - step)) / 2e-5, rtol=1e-6)


@pytest.mark.either
@pytest.mark.parametrize("periodic", [True, False])
def test_it_lowers_for_every_platform(periodic):
    """Anti-periodic beside walls; complex eigenvectors (order 6); single precision."""
    grid = pj.Grid((16, 15), 1.0, periodic=(periodic, False), dtype=jnp.float32)
    boundary = {"y": 0.0, "x": AntiPeriodic() if periodic else Neumann()}
    stepper = pj.TimeStepper(Driven(), pj.FiniteDifference(grid, 6, boundary), 0.1, 2, ETDRK4())
    u = jnp.sin(np.pi * grid.coordinates()[:1]) * grid.coordinates()[1:] ** 2
    check_lowering(stepper, jax.ShapeDtypeStruct(u.shape, u.dtype))
    after = step_once(stepper, u)
    assert after.dtype == jnp.float32 and bool(jnp.all(jnp.isfinite(after)))
    explicit = step_once(pj.TimeStepper(Driven(), pj.FiniteDifference(grid, 6, boundary), 0.1, 400, diffrax.Tsit5()), u)
    np.testing.assert_allclose(after, explicit, atol=2e-5)


class Tilted(Equation):
    way: str = eqx.field(static=True)

    def components(self, ndim):
        return ("u", "v")

    def linear(self, state):
        u, v = state
        return {
            "mixed": lambda: state.derivative(0).derivative(1),
            "coupled": lambda: v.stack(u),
            "variable": lambda: state * state.coordinates[0],
        }[self.way]()


@pytest.mark.either
@pytest.mark.parametrize(
    ("equation", "boundary", "match"),
    [
        (Tilted("mixed"), 0.0, "differentiates a derivative"),
        (Tilted("coupled"), 0.0, "couples 'u' to 'v'"),
        (Tilted("variable"), 0.0, r"does more than combine u and its derivatives"),
        (AdvectionDiffusion(1.0, 0.1), 0.0, r"derivatives of the orders \[1, 2\] along axis 0"),
        (Advection(1.0), {"x-": 0.0, "x+": Outflow(), "y": 0.0}, "nearly dependent"),
    ],
)
def test_linear_parts_that_no_basis_makes_diagonal_are_refused_by_exponential_solvers(equation, boundary, match):
    reading = pj.FiniteDifference(pj.Grid((64, 17), 1.0, periodic=False), 4, boundary)
    with pytest.raises(ValueError, match=match):
        pj.TimeStepper(equation, reading, 0.1, 1, ETDRK4())
    # Implicit stages can be solved all the same. By default they are where there is diffusion.
    pj.TimeStepper(equation, reading, 0.1, 1, KenCarp3())
    is_stiff = isinstance(equation, AdvectionDiffusion)
    assert ("Krylov" if is_stiff else "Not implicit, because its linear part has no diffusion") in pj.explain(
        equation, reading
    )


@pytest.mark.either
def test_traced_weights_and_extents_are_refused_by_exponential_solvers_alone():
    """They shape the basis in which a linear part is diagonal, and are numbers of a banded matrix like others."""

    def step(weight, extent, solver=None, substeps=1):
        grid = pj.Grid(17, extent, periodic=False)
        reading = pj.FiniteDifference(grid, 2, Robin(weight, 1.0, 0.3))
        return step_once(pj.TimeStepper(Diffusion(1.0), reading, 0.1, substeps, solver), jnp.ones((1, 17)))

    with pytest.raises(TypeError, match=r"Robin condition.*must be numbers here, and not traced"):
        jax.jit(lambda weight: step(weight, 1.0, ETDRK4()))(2.0)
    explicit = jax.jit(lambda weight: step(weight, 1.0, diffrax.Tsit5(), 200))(2.0)
    np.testing.assert_allclose(explicit, step(2.0, 1.0, ETDRK4()), atol=1e-5)
    implicit = jax.jit(lambda weight, extent: step(weight, extent, substeps=20))(2.0, 1.0)
    np.testing.assert_allclose(explicit, implicit, atol=1e-5)
