"""Error estimates that see every reason for which N changes, and the step control that rests on them."""

import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Advection, Burgers, Diffusion, Equation
from pdejax.solvers import ETDRK2, ETDRK3, ETDRK4, IntegratingFactorRK4, KenCarp3, KenCarp4
from pdejax.solvers.step_size import FieldNormController
from pdejax.solvers.terms import semilinear_term
from pdejax.testing import Manufactured

TURN = 2 * np.pi
SOLVERS = [ETDRK2(), ETDRK3(), ETDRK4(), IntegratingFactorRK4()]


class Ordinary(Equation):
    """u_t = rate(t, u), the same at every point: an ordinary differential equation."""

    rate: object

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u.map(lambda value: self.rate(t, value))


class Cascade(Equation):
    """`u` is moved by the linear part alone; `v_t = u^2` listens to it and answers nothing."""

    speed: object

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        return (u["u"].derivative(0) * -self.speed).stack(u["v"] * 0.0)

    def nonlinear(self, t, u):
        return (u["u"] * 0.0).stack(u["u"] ** 2)


def estimate(solver, equation, u, h, t=0.3):
    grid = pj.Grid(u.shape[-1], TURN)
    discretisation = pj.Spectral(grid, dealiasing=None)
    term = semilinear_term(equation, discretisation)

    @jax.jit
    def of_a_step(u, t, h):
        y = discretisation.encode(u)
        *_, error = solver.advance(term, solver.coefficients(term.linear, h), t, h, y, term.nonlinear(t, y))
        return discretisation.decode(error)

    return of_a_step(u, jnp.asarray(t), jnp.asarray(h))


@pytest.mark.float64
@pytest.mark.parametrize(
    ("rate", "u", "fourth"),
    [
        (lambda t, u: jnp.cos(3 * t) + 0 * u, 1.0, 27 * np.sin(0.9)),
        (lambda t, u: -2.0 * u, 1.5, 16 * 1.5),
        (lambda t, u: u**2, 0.7, 24 * 0.7**5),
        (lambda t, u: t * u, 1.0, 0.3**4 + 6 * 0.3**2 + 3),
    ],
    ids=["time", "linear", "quadratic", "product"],
)
def test_the_estimate_of_etdrk4_is_the_third_derivative_of_n_along_the_solution(rate, u, fourth):
    """`h^4 / 216 N'''`, and N''' is the fourth derivative of u where there is no linear part."""
    h = 0.01
    ratio = estimate(ETDRK4(), Ordinary(rate), jnp.full((1, 4), u), h)[0, 0] / (h**4 * fourth / 216)
    assert abs(abs(ratio) - 1) < 0.1, ratio
    # The other estimate of fourth order is not as clean, and as large within a factor of thirty.
    ratio = estimate(IntegratingFactorRK4(), Ordinary(rate), jnp.full((1, 4), u), h)[0, 0] / (h**4 * fourth / 216)
    assert 0.3 < abs(ratio) < 30, ratio


@pytest.mark.float64
@pytest.mark.parametrize("solver", [*SOLVERS, KenCarp3(), KenCarp4()])
@pytest.mark.parametrize("case", ["force", "cascade"])
def test_steps_follow_what_only_time_or_a_linear_component_changes(solver, case):
    grid = pj.Grid(16, TURN)
    x = grid.axes[0]
    if case == "force":
        equation = Ordinary(lambda t, u: jnp.cos(20 * t) + 0 * u)
        u0, exact = jnp.zeros((1, 16)), jnp.full((1, 16), jnp.sin(20 * 1.3) / 20)
    else:
        # u = sin(x - 5 t): v is the integral of sin^2(x - 5 t).
        equation = Cascade(5.0)
        u0 = jnp.stack([jnp.sin(x), 0 * x])
        v = 1.3 / 2 - (jnp.sin(2 * x) - jnp.sin(2 * x - 10 * 1.3)) / 20
        exact = jnp.stack([jnp.sin(x - 5 * 1.3), v])
    rtol = 1e-5
    discretisation = pj.Spectral(grid, dealiasing=None)
    solution = pj.solve(equation, discretisation, u0, [0.0, 1.3], solver=solver, rtol=rtol)
    assert int(solution.num_steps) > 12
    assert float(jnp.max(jnp.abs(solution.u[-1] - exact))) < 50 * rtol


@pytest.mark.float64
def test_a_manufactured_force_is_followed():
    grid = pj.Grid(24, TURN)
    x = grid.axes[0]
    equation = Manufactured(Diffusion(0.1), lambda x, t: jnp.sin(x) * jnp.cos(5 * t))
    solution = pj.solve(equation, pj.Spectral(grid), jnp.sin(x)[None], [0.0, 5.0], rtol=1e-6)
    assert float(jnp.max(jnp.abs(solution.u[-1, 0] - jnp.sin(x) * jnp.cos(25.0)))) < 1e-4


@pytest.mark.float64
@pytest.mark.parametrize("solver", SOLVERS)
def test_steps_are_the_same_in_whatever_units_the_state_is(solver):
    """u -> s u with Burgers' velocity scaled back by 1 / s is the same problem: tolerances are relative."""

    class Scaled(Equation):
        scale: object

        def components(self, ndim):
            return ("u",)

        def linear(self, u):
            return u.laplacian() * 0.1

        def nonlinear(self, t, u):
            return -(u * u.derivative(0)) / self.scale

    grid = pj.Grid(48, TURN)
    u0 = (jnp.sin(grid.axes[0]) + 0.2)[None]
    counts = [
        int(pj.solve(Scaled(jnp.asarray(s)), pj.Spectral(grid), s * u0, [0.0, 1.0], solver=solver, rtol=1e-5).num_steps)
        for s in (1.0, 2.0**-30, 2.0**30)
    ]
    assert counts[0] == counts[1] == counts[2] and counts[0] > 3, counts


def test_the_first_step_is_a_hundredth_of_the_time_in_which_the_state_changes():
    """A first step far too long may be accepted by chance: what it missed is never seen again."""
    grid = pj.Grid(8, TURN)
    discretisation = pj.Spectral(grid)
    controller = FieldNormController(discretisation.norm, rtol=1e-3, atol=1e-9)
    for rate, end, expected in ((40.0, 3.0, 0.01 / 40), (1e-3, 3.0, 3.0), (0.0, 3.0, 0.03)):
        term = semilinear_term(Ordinary(lambda t, u, rate=rate: -rate * u), discretisation)
        y = discretisation.encode(jnp.ones((1, 8)))
        func = lambda terms, t, y, args: terms.vf(t, y, args)  # noqa: E731
        first, _ = controller.init(term, jnp.asarray(0.0), jnp.asarray(end), y, None, None, func, 4)
        np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_gradients_of_adaptive_steps_are_finite_from_rest():
    """At u = 0 the norm has no derivative; the size of the steps is not differentiated."""
    grid = pj.Grid(8, TURN)

    def final(force, u0):
        equation = Ordinary(lambda t, u: force - u)
        return jnp.sum(pj.solve(equation, pj.Spectral(grid), u0, [0.0, 1.0], rtol=1e-4).u[-1])

    by_force, by_state = jax.jit(jax.grad(final, (0, 1)))(jnp.asarray(0.7), jnp.zeros((1, 8)))
    np.testing.assert_allclose(by_force, 8 * (1 - np.exp(-1)), rtol=1e-3)
    np.testing.assert_allclose(by_state, np.exp(-1), rtol=1e-3)


def rotating(t, u):
    return jnp.cos(t) + 0 * u


@pytest.mark.either
@pytest.mark.parametrize("solver", [ETDRK4(), diffrax.Tsit5()])
@pytest.mark.parametrize("times", [(100.0, 103.0), (0.0, 0.3, 100.0, 103.0)], ids=["late start", "uneven"])
def test_single_precision_keeps_time_far_from_zero(solver, times):
    """eps |t| is a thousandth of a step here; kept for every step, the error would be a thousandth of the time."""
    grid = pj.Grid(4, TURN, dtype=jnp.float32)
    advection = Advection(jnp.asarray(1.0))
    u0 = jnp.sin(grid.axes[0])[None]
    u = pj.solve(advection, pj.Spectral(grid), u0, times, dt=0.01, solver=solver).u[-1]
    shift = np.asarray(grid.axes[0], float) - (times[-1] - times[0])
    assert float(np.max(np.abs(np.asarray(u[0]) - np.sin(shift)))) < 2e-4
    force = Ordinary(rotating)
    u = pj.solve(force, pj.Spectral(grid), jnp.zeros((1, 4)), times, dt=0.01, solver=solver).u[-1]
    assert float(np.max(np.abs(np.asarray(u) - (np.sin(times[-1]) - np.sin(times[0]))))) < 1e-4


@pytest.mark.parametrize("solver", [ETDRK4(), diffrax.Tsit5()])
def test_a_stepper_keeps_its_step_late_in_single_precision(solver):
    grid = pj.Grid(4, TURN, dtype=jnp.float32)
    stepper = pj.TimeStepper(Ordinary(lambda t, u: 1.0 + 0 * u), pj.Spectral(grid), 0.01, 3, solver)
    step = jax.jit(lambda t: stepper(jnp.zeros((1, 4)), t=t))
    np.testing.assert_allclose(step(4096.0), 0.01, rtol=1e-5)


def test_times_that_single_precision_cannot_tell_apart_are_refused():
    grid = pj.Grid(8, TURN, dtype=jnp.float32)
    u0 = jnp.zeros((1, 8))
    with pytest.raises(ValueError, match=r"output times are too close for float32: 10000\.0 and 10000\.0001"):
        pj.solve(Burgers(0.1), pj.Spectral(grid), u0, [0.0, 1e4, 1e4 + 1e-4])
    with pytest.raises(ValueError, match=r"steps of dt = 1e-05 are too close for float32.*float64 grid"):
        pj.solve(Burgers(0.1), pj.Spectral(grid), u0, [0.0, 1000.0, 1000.001], dt=1e-5)


def test_coefficients_are_computed_once_for_equal_steps():
    """Steps that differ by the rounding of the clock alone share the functions of h L, late in single precision too."""
    from pdejax.solvers.semilinear import _Run

    for dtype, clock in ((np.float32, 100.0), (np.float32, 0.0), (np.float64, 1e4)):
        edges = (clock + 0.01 * np.arange(2001)).astype(dtype)
        if edges.dtype != jnp.asarray(edges).dtype:
            continue
        steps = (jnp.asarray(edges[:-1]), jnp.asarray(edges[1:]))
        first = _Run.before(steps[0][0], steps[1][0])

        def advance(run, ends):
            run, is_new = run.with_step(*ends)
            return run, (run.h, is_new)

        _, (h, is_new) = jax.lax.scan(advance, first, steps)
        assert int(jnp.sum(is_new)) <= 6
        travelled = float(np.sum(np.asarray(h, float)))
        assert abs(travelled - 20) <= 30 * np.finfo(dtype).eps * max(clock, 20)


@pytest.mark.parametrize(
    ("growth", "clock"),
    [(0.0, 0.0), (0.0, 100.0), (3e-3, 0.0), (-3e-3, 0.0), (1e-4, 0.0), (1e-4, 100.0), (3e-3, 100.0)],
)
def test_what_was_stepped_stays_with_the_clock(growth, clock):
    """At every step, to a few roundings of the clock: steps that differ by more than that have sizes of their own."""
    from pdejax.solvers.semilinear import _Run

    sizes = 0.01 * (1 + growth) ** np.arange(300)
    edges = jnp.asarray(clock + np.concatenate([[0.0], np.cumsum(sizes)]), jnp.float32)

    def advance(run, ends):
        run, _ = run.with_step(*ends)
        return run, run.h

    first = _Run.before(edges[0], edges[1])
    _, h = jax.lax.scan(advance, first, (edges[:-1], edges[1:]))
    behind = np.cumsum(np.asarray(h, float)) - (np.asarray(edges[1:], float) - clock)
    assert np.max(np.abs(behind)) <= 8 * np.finfo(np.float32).eps * float(edges[-1])


def test_no_step_of_a_few_roundings_turns_back():
    """Steps of 1e-5 at a clock of 100, where neighbouring single-precision times are 7.6e-6 apart."""
    from pdejax.solvers.semilinear import _Run

    edges = (100 + 1e-5 * np.arange(5001)).astype(np.float32)
    edges = jnp.asarray(edges[np.concatenate([[True], np.diff(edges) > 0])])

    def advance(run, ends):
        run, _ = run.with_step(*ends)
        return run, run.h

    _, h = jax.lax.scan(advance, _Run.before(edges[0], edges[1]), (edges[:-1], edges[1:]))
    assert float(jnp.min(h)) > 0


@pytest.mark.either
def test_fixed_steps_do_not_pay_for_the_estimate():
    """Four evaluations of N per step and one before the first; a fifth only where step control asks."""
    discretisation = pj.Spectral(pj.Grid(24, TURN))

    def transforms(**options):
        solve = lambda u: pj.solve(Burgers(0.1), discretisation, u, [0.0, 1.0], throw=False, **options).u  # noqa: E731
        program = jax.jit(solve).lower(jnp.zeros((1, 24))).compile().as_text()
        return len(re.findall(r"= \S+ fft\(", program))

    ends, evaluation = 2, 2
    assert transforms(dt=0.1) == ends + 5 * evaluation
    assert transforms(rtol=1e-3) == ends + 6 * evaluation


@pytest.mark.float64
def test_the_estimates_of_the_lower_orders_are_derivatives_of_n_too():
    """`h^2 / 2 N'` for ETDRK2 and `h^3 (N'' / 24 + dN/du N' / 8)` for ETDRK3, whose stages are of low order."""
    rate, u, t, h = lambda t, u: t * u, 1.0, 0.3, 0.01
    first, second = u * (1 + t**2), u * (3 * t + t**3)
    for solver, expected in ((ETDRK2(), h**2 / 2 * first), (ETDRK3(), h**3 * (second / 24 + t * first / 8))):
        got = float(estimate(solver, Ordinary(rate), jnp.full((1, 4), u), h, t)[0, 0])
        assert abs(abs(got) / expected - 1) < 0.1, (solver, got, expected)


@pytest.mark.float64
def test_default_tolerances_are_the_stated_ones():
    grid = pj.Grid(24, TURN)
    u0 = jnp.sin(grid.axes[0])[None]
    size = float(pj.Spectral(grid).norm(pj.Spectral(grid).encode(u0)))
    stated = pj.solve(Burgers(0.1), pj.Spectral(grid), u0, [0.0, 1.0], rtol=1e-6, atol=1e-6 * size)
    np.testing.assert_array_equal(pj.solve(Burgers(0.1), pj.Spectral(grid), u0, [0.0, 1.0]).u, stated.u)


def test_an_equation_without_a_linear_part_is_solved_explicitly():
    from pdejax.solvers import explain

    assert "Tsit5" in explain(Ordinary(lambda t, u: u), pj.Spectral(pj.Grid(8, 1.0)))


@pytest.mark.float64
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_force_that_starts_from_zero_is_seen_from_rest(solver):
    """sin(6 pi t) is zero at every time that one step of length 1 or 3 looks at."""

    class Swing(Ordinary):
        def linear(self, u):
            return u * -1.0

    w, times = 6 * np.pi, [0.0, 1.0, 2.0, 3.0]
    grid = pj.Grid(4, TURN)
    equation = Swing(lambda t, u: jnp.sin(w * t) + 0 * u)
    u = pj.solve(equation, pj.Spectral(grid), jnp.zeros((1, 4)), times, solver=solver, rtol=1e-5).u[:, 0, 0]
    exact = [w / (1 + w**2) * (np.exp(-t) - 1) for t in times]
    np.testing.assert_allclose(u, exact, atol=2e-4)
