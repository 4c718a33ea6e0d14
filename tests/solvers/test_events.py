"""What ends a solve before its last output time, and what it returns then."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet
from pdejax.equations import Diffusion, Equation
from pdejax.solvers import BlowUp, NotFinite, SteadyState

GRID = pj.Grid(8, 2 * np.pi)
TIMES = [0.0, 0.3, 0.7, 1.0]


class Explosive(Equation):
    """u_t = u^2: `u = 1 / (1 / u0 - t)`."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u**2


def explode(until, start=2.0, **options):
    return pj.solve(Explosive(), pj.Spectral(GRID), start * jnp.ones((1, 8)), TIMES, until=until, **options)


@pytest.mark.float64
@pytest.mark.parametrize("options", [{"dt": 0.01}, {"rtol": 1e-8}])
def test_a_solve_ends_with_the_first_event_and_says_which_and_when(options):
    # u = 8 at t = 0.375, found between the steps; the first of the list is true 0.1 later.
    solution = explode([lambda t, u: t > 0.475, lambda t, u: jnp.max(u) - 8, BlowUp(maximum=1e3)], **options)
    assert int(solution.ended_by) == 1 and "lambda" in solution.event
    np.testing.assert_allclose(solution.ts, [0.0, 0.3, 0.375], atol=1e-6)
    np.testing.assert_allclose(solution.u[:, 0, 0], [2.0, 5.0, 8.0], rtol=1e-5)
    assert float(solution.t_end) == float(solution.ts[-1])
    # True or false: with the step in which it is true. Larger than 20 from t = 0.45 on.
    solution = explode([NotFinite(), BlowUp(maximum=20.0)], **options)
    assert int(solution.ended_by) == 1 and solution.event == "BlowUp(maximum=20.0, norm=None)"
    assert 0.4499 < float(solution.ts[-1]) < 0.4601 and 20 < float(solution.u[-1, 0, 0]) < 26


@pytest.mark.either
@pytest.mark.parametrize(("options", "most"), [({"dt": 0.001}, 512), ({"rtol": 1e-3}, 400)])
def test_where_no_step_leads_on_the_solve_ends_at_once_with_the_last_finite_state(options, most):
    solution = explode(NotFinite(), **options)
    assert int(solution.ended_by) == 0 and int(solution.num_steps) < most
    assert bool(jnp.all(jnp.isfinite(solution.u))) and float(solution.u[-1, 0, 0]) > 100
    # Numerical solutions turn infinite a few steps late.
    np.testing.assert_allclose(solution.ts, [0.0, 0.3, 0.5], atol=0.012)
    with pytest.raises(FloatingPointError, match=r"no longer finite between t = 0\.3 and t = 0\.7, at t = 0\.[45]"):
        explode((), **options)


@pytest.mark.float64
def test_of_several_events_in_one_step_the_first_in_time_counts():
    u0 = jnp.sin(GRID.coordinates())
    solve = lambda until: pj.solve(Diffusion(0.1), pj.Spectral(GRID), u0, [0.0, 0.4], dt=0.4, until=until)  # noqa: E731

    @jax.jit
    def ended(rises, falls, late):
        solution = solve([lambda t, u: t - rises, lambda t, u: falls - t, lambda t, u: t > late])
        return solution.ended_by, solution.t_end

    for times, which, when in (((0.3, 0.2, 0.25), 1, 0.2), ((0.2, 0.3, 0.25), 0, 0.2), ((0.5, 0.6, 0.3), 2, 0.4)):
        ended_by, t_end = ended(*times)
        assert (int(ended_by), round(float(t_end), 6)) == (which, when), (which, when)
    declines = lambda t, u: jnp.max(u) - jnp.max(u0)  # noqa: E731  # zero at the start, and negative then
    solution = solve([lambda t, u: t - 0.3, declines])
    assert (int(solution.ended_by), round(float(solution.t_end), 6)) == (1, 0.0)
    with pytest.raises(Exception, match=r"not a number \(NaN\)"):
        solve(lambda t, u: jnp.nan * t)


@pytest.mark.float64
def test_a_steady_state_is_looked_for_at_the_time_of_its_walls():
    """Walls that come to rest at t = 5; from t = 4.9 on a solve would end at once if its clock began at zero."""
    grid = pj.Grid(17, 1.0, periodic=False)
    reading = pj.FiniteDifference(grid, 2, Dirichlet(lambda x, t: jnp.where(t < 5, 3 * (t - 5), 0.0)))
    until = SteadyState(rtol=1e-3, time=1.0, atol=1e-3)
    u = pj.solve(Diffusion(10.0), reading, jnp.zeros((1, 17)), [4.9, 6.0], until=until, rtol=1e-6)
    assert 5.0 <= float(u.t_end) < 5.3


@pytest.mark.float64
def test_an_event_that_holds_at_the_start_ends_the_solve_there():
    solution = explode(BlowUp(norm=1.9), rtol=1e-3)
    assert solution.ts.tolist() == [0.0] and solution.u.shape == (1, 1, 8) and int(solution.num_steps) == 0
    # One that is reached exactly at an output time adds no frame.
    solution = explode(lambda t, u: t >= 0.3, dt=0.1)
    assert solution.ts.tolist() == [0.0, 0.3]


@pytest.mark.float64
def test_under_jit_and_vmap_the_last_frame_is_repeated_and_the_time_of_an_event_is_differentiated():
    solve = lambda start: explode([lambda t, u: jnp.max(u) - 8, BlowUp(maximum=1e3)], start, dt=0.01)  # noqa: E731
    solution = jax.jit(jax.vmap(solve))(jnp.asarray([2.0, 0.5]))
    assert solution.ended_by.tolist() == [0, -1] and solution.u.shape == (2, 4, 1, 8)
    np.testing.assert_allclose(solution.ts[0], [0.0, 0.3, 0.375, 0.375], atol=1e-6)
    np.testing.assert_allclose(solution.u[0, :, 0, 0], [2.0, 5.0, 8.0, 8.0], rtol=1e-5)
    np.testing.assert_allclose(solution.u[1, :, 0, 0], 1 / (2 - np.asarray(TIMES)), rtol=1e-8)
    # 1 / start - t = 1 / 8.
    value, slope = jax.value_and_grad(lambda start: solve(start).t_end)(2.0)
    np.testing.assert_allclose([value, slope], [0.375, -1 / 4], rtol=1e-4)


@pytest.mark.float64
@pytest.mark.parametrize("walls", [False, True])
def test_a_steady_state_ends_where_the_rate_says(walls):
    """`u = 1 + e^-t sin x`: |du/dt| = e^-t |sin x|. Between walls what is stepped is not u but what a lift leaves."""
    if walls:
        grid = pj.Grid(33, np.pi, periodic=False, points="nodes")
        reading = pj.FiniteDifference(grid, 2, Dirichlet(1.0))
    else:
        grid = pj.Grid(16, 2 * np.pi)
        reading = pj.Spectral(grid)
    u0 = 1 + jnp.sin(grid.coordinates())
    solution = pj.solve(Diffusion(1.0), reading, u0, [0.0, 50.0], until=SteadyState(rtol=1e-2, time=1.0), dt=0.02)
    exact = np.log(100 * np.sqrt(0.5))  # to first order in e^-t
    assert int(solution.ended_by) == 0
    assert exact - 0.02 < float(solution.t_end) < exact + 0.05, solution.t_end


def test_events_that_make_no_sense_are_named():
    for make, match in (
        (lambda: SteadyState(0.0), "rtol that is positive, got 0"),
        (lambda: SteadyState(1e-3, time=-1.0), "time that is positive, got -1"),
        (lambda: BlowUp(), "BlowUp needs a bound"),
        (lambda: BlowUp(maximum=float("nan")), "maximum that is positive, got nan"),
        (lambda: explode(lambda t, u: u[0], dt=0.1), "one truth value or one real number, got float.* of shape"),
        (lambda: explode(lambda t, u: 1, dt=0.1), "got int"),
    ):
        with pytest.raises(ValueError, match=match):
            make()
    with pytest.raises(TypeError, match="until= takes SteadyState"):
        explode(SteadyState, dt=0.1)
