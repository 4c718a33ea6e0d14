import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet
from pdejax.equations import Burgers, Diffusion, Equation, KortewegDeVries, KuramotoSivashinsky
from pdejax.solvers import ETDRK3, ETDRK4

TURN = 2 * np.pi


def soliton(x, t, speed=4.0, extent=40.0):
    phase = jnp.mod(x - speed * t + extent / 2, extent) - extent / 2
    return speed / 2 / jnp.cosh(jnp.sqrt(speed) / 2 * phase) ** 2


@pytest.mark.float64
@pytest.mark.parametrize("solver", [ETDRK4(), ETDRK3()])
def test_tolerances_control_the_error(solver):
    grid = pj.Grid(256, 40.0, origin=-20.0)
    x = grid.axes[0]
    times = [0.0, 0.13, 0.4]
    errors, steps = [], []
    for rtol in (1e-4, 1e-6, 1e-8):
        solution = pj.solve(
            KortewegDeVries(), pj.Spectral(grid), soliton(x, 0.0)[None], times, solver=solver, rtol=rtol
        )
        exact = jnp.stack([soliton(x, t) for t in times])
        errors.append(float(jnp.max(jnp.abs(solution.u[:, 0] - exact))))
        steps.append(int(solution.num_steps))
    # Every step is held to the tolerance; over some hundred steps the errors add up.
    assert all(error < 300 * rtol for error, rtol in zip(errors, (1e-4, 1e-6, 1e-8), strict=True)), errors
    assert errors[-1] < 1e-2 * errors[0], errors


@pytest.mark.float64
def test_the_number_of_steps_does_not_depend_on_the_resolution():
    # A norm over raw Fourier coefficients would scale with N and change the step.
    steps = []
    for n in (64, 256):
        grid = pj.Grid(n, TURN)
        u0 = jnp.sin(grid.axes[0])[None]
        steps.append(int(pj.solve(Burgers(0.2), pj.Spectral(grid), u0, [0.0, 1.0], rtol=1e-6).num_steps))
    assert abs(steps[0] - steps[1]) <= 1, steps


@pytest.mark.float64
def test_fixed_steps_equal_the_fixed_step_driver():
    grid = pj.Grid(64, 22.0)
    u0 = jnp.cos(2 * jnp.pi * grid.axes[0] / 22)[None]
    stepper = pj.TimeStepper(KuramotoSivashinsky(), pj.Spectral(grid), 1.0, 20)
    states = pj.rollout(stepper, u0, 3, include_initial=True)
    solution = pj.solve(KuramotoSivashinsky(), pj.Spectral(grid), u0, [0.0, 1.0, 2.0, 3.0], dt=0.05)
    assert int(solution.num_steps) == 60
    np.testing.assert_allclose(solution.u, states, atol=1e-11)


@pytest.mark.float64
def test_uneven_output_times_are_met_exactly():
    grid = pj.Grid(32, TURN)
    times = np.array([0.0, 0.01, 0.5, 0.51])
    for options in ({"dt": 0.03}, {"rtol": 1e-6}):
        solution = pj.solve(Diffusion(0.3), pj.Spectral(grid), jnp.sin(2 * grid.axes[0])[None], times, **options)
        exact = np.exp(-0.3 * 4 * times)[:, None] * np.sin(2 * np.asarray(grid.axes[0]))
        np.testing.assert_allclose(solution.u[:, 0], exact, atol=1e-13)


@pytest.mark.float64
@pytest.mark.parametrize("options", [{"dt": 0.02}, {"rtol": 1e-8}])
def test_gradients_through_a_solve_equal_central_differences(options):
    grid = pj.Grid(24, TURN)
    u0 = (jnp.sin(grid.axes[0]) + 0.2)[None]

    def energy(viscosity):
        return jnp.sum(pj.solve(Burgers(viscosity), pj.Spectral(grid), u0, [0.0, 0.6], **options).u[-1] ** 2)

    step = 1e-4
    energy, slope = jax.jit(energy), jax.jit(jax.grad(energy))
    differences = (energy(0.3 + step) - energy(0.3 - step)) / (2 * step)
    assert abs(slope(0.3) - differences) <= 1e-6 * abs(differences)


@pytest.mark.float64
def test_backwards_and_forwards_in_time_inside_diffeqsolve():
    """diffeqsolve reverses a term by wrapping it; a dispersive equation can be run back to where it came from."""
    from pdejax.solvers.terms import semilinear_term

    grid = pj.Grid(400, 40.0, origin=-20.0)
    discretisation = pj.Spectral(grid)
    term = semilinear_term(KortewegDeVries(), discretisation)
    y = discretisation.encode(soliton(grid.axes[0], 0.0)[None])
    with pytest.warns(UserWarning, match="Complex dtype"):
        back = diffrax.diffeqsolve(term, ETDRK4(), 0.0, -0.2, -0.0005, y).ys[0]
    np.testing.assert_allclose(discretisation.decode(back)[0], soliton(grid.axes[0], -0.2), atol=1e-7)


class Tide(Equation):
    """u_t = 2 u_x + sin t: `u = sin(x + 2 t) - cos t`; the force is odd in time, so that its direction matters."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.derivative(0) * 2.0

    def nonlinear(self, t, u):
        return u.constant(jnp.sin(t))


@pytest.mark.float64
@pytest.mark.parametrize(("start", "end"), [(0.3, 1.5), (1.5, 0.3)])
def test_between_steps_the_solution_is_interpolated_to_fourth_order_in_both_directions(start, end):
    from pdejax.solvers.terms import semilinear_term

    grid = pj.Grid(16, TURN)
    discretisation = pj.Spectral(grid)
    term = semilinear_term(Tide(), discretisation)
    exact = lambda t: jnp.sin(grid.axes[0] + 2 * t) - jnp.cos(t)  # noqa: E731
    between = start + (end - start) * jnp.asarray([0.113, 0.487, 0.951])
    errors = []
    for count in (10, 20):
        with pytest.warns(UserWarning, match="Complex dtype"):
            result = diffrax.diffeqsolve(
                term,
                ETDRK4(),
                start,
                end,
                (end - start) / count,
                discretisation.encode(exact(start)[None]),
                saveat=diffrax.SaveAt(ts=between),
            )
        got = jax.vmap(discretisation.decode)(result.ys)[:, 0]
        errors.append(float(jnp.max(jnp.abs(got - jax.vmap(exact)(between)))))
    assert errors[1] < 1e-5 and np.log2(errors[0] / errors[1]) > 3.3, errors


@pytest.mark.either
def test_single_precision_stays_single():
    grid = pj.Grid(32, TURN, dtype=jnp.float32)
    solution = pj.solve(Burgers(0.2), pj.Spectral(grid), jnp.sin(grid.axes[0])[None], [0.0, 0.5, 1.0])
    assert solution.u.dtype == jnp.float32 and solution.u.shape == (3, 1, 32)
    assert bool(jnp.all(jnp.isfinite(solution.u)))


class Explosive(Equation):
    """u_t = u^2 blows up at t = 1 / u0."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u**2


@pytest.mark.parametrize("options", [{"dt": 0.01}, {"rtol": 1e-3, "max_steps": 300}])
def test_a_blow_up_is_stopped_and_its_time_named(options):
    grid = pj.Grid(16, 1.0)
    with pytest.raises(FloatingPointError, match=r"t = 0.7.*|between t = 0.4 and t = 0.7|between t = 0.3 and t = 0.7"):
        pj.solve(Explosive(), pj.Spectral(grid), jnp.full((1, 16), 2.0), [0.0, 0.3, 0.7, 1.0], **options)
    solution = pj.solve(
        Explosive(), pj.Spectral(grid), jnp.full((1, 16), 2.0), [0.0, 0.3, 0.7, 1.0], throw=False, **options
    )
    assert bool(jnp.all(jnp.isfinite(solution.u[:2]))) and not bool(jnp.all(jnp.isfinite(solution.u)))


@pytest.mark.either
def test_a_blow_up_under_jit_is_a_run_time_error():
    grid = pj.Grid(16, 1.0)
    solve = jax.jit(lambda u: pj.solve(Explosive(), pj.Spectral(grid), u, [0.0, 1.0], dt=0.01).u)
    with pytest.raises(Exception, match="not finite"):
        jax.block_until_ready(solve(jnp.full((1, 16), 2.0)))


@pytest.mark.parametrize(
    ("times", "options", "match"),
    [
        ([0.0], {}, "at least two"),
        ([0.0, 0.0], {}, "increasing times"),
        ([0.0, float("inf")], {}, "finite"),
        ([0.0, 1.0], {"dt": 0.0}, "dt must be a positive, finite number"),
        ([0.0, 1.0], {"dt": "0.1"}, "dt must be a positive.*got '0.1'"),
        ([0.0, 1.0], {"dt": pj.solvers.CourantLimited}, "dt must be a positive.*CourantLimited"),
        ([0.0, 1.0], {"dt": 0.1, "rtol": 1e-3}, "not both"),
        ([0.0, 1.0], {"rtol": -1e-3}, "must be positive, got -0.001"),
        ([0.0, 1.0], {"solver": diffrax.Euler()}, "Euler estimates no error.*give dt"),
    ],
)
def test_bad_arguments_are_named(times, options, match):
    grid = pj.Grid(16, 1.0)
    with pytest.raises(ValueError, match=match):
        pj.solve(Burgers(0.1), pj.Spectral(grid), jnp.zeros((1, 16)), times, **options)


def test_things_of_another_kind_are_named():
    grid = pj.Grid(16, 1.0, periodic=False)
    reading, u = pj.FiniteDifference(grid, 2, 0.0), jnp.zeros((1, 16))
    with pytest.raises(TypeError, match=r"resume= takes solution.resume, or load_restart\(path\), got 'file'"):
        pj.solve(Burgers(0.1), reading, None, [0.0, 1.0], resume="file")
    with pytest.raises(TypeError, match="until= takes .*got 'steady'"):
        pj.solve(Burgers(0.1), reading, u, [0.0, 1.0], until="steady")
    with pytest.raises(TypeError, match="takes a function first, got a "):
        pj.solvers.memory(u)
    with pytest.raises(ValueError, match=r"a function of \(x, t\).*lambda>\(x\) cannot"):
        pj.FiniteDifference(grid, 2, lambda x: x[0])
    with pytest.raises(ValueError, match=r"viscosity must be a number, got 'a'"):
        Burgers("a")


def test_bad_initial_states_are_named():
    grid = pj.Grid(16, 1.0)
    with pytest.raises(ValueError, match="not finite"):
        pj.solve(Burgers(0.1), pj.Spectral(grid), jnp.full((1, 16), jnp.nan), [0.0, 1.0])
    with pytest.raises(ValueError, match=r"u0 has shape \(1, 17\) but \(1, 16\)"):
        pj.solve(Burgers(0.1), pj.Spectral(grid), jnp.zeros((1, 17)), [0.0, 1.0])


@pytest.mark.either
@pytest.mark.parametrize("options", [{"dt": 0.01}, {"rtol": 1e-3, "max_steps": 30}])
def test_an_initial_state_that_is_not_finite_as_it_is_held_is_no_blow_up(options):
    """The first frame has none before it, whose time and size a message could give."""
    grid = pj.Grid(16, 1.0, dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"initial state, at t = 2, .*once Spectral holds.*overflow float32"):
        pj.solve(Diffusion(0.1), pj.Spectral(grid), jnp.full((1, 16), 3e38, jnp.float32), [2.0, 3.0], **options)
    nodes = pj.Grid(16, 1.0, periodic=False, points="nodes")
    walls = pj.FiniteDifference(nodes, 2, Dirichlet(lambda x, t: jnp.nan))
    with pytest.raises(ValueError, match=r"initial state, at t = 2, .*FiniteDifference.*values on the walls"):
        pj.solve(Diffusion(0.1), walls, jnp.zeros((1, 16)), [2.0, 3.0], solver=diffrax.Heun(), **options)


@pytest.mark.float64
def test_an_initial_state_beyond_the_precision_of_the_grid_is_named():
    grid = pj.Grid(16, 1.0, dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"values up to 1e\+39, more than the float32 of the grid"):
        pj.solve(Diffusion(0.1), pj.Spectral(grid), jnp.full((1, 16), -1e39), [0.0, 1.0])


@pytest.mark.float64
def test_what_an_equation_reads_from_elsewhere_is_what_it_is_now():
    """Nothing of a solve may be kept by the identity of a function alone."""
    rate = 1.0

    class Growth(Equation):
        def components(self, ndim):
            return ("u",)

        def nonlinear(self, t, u):
            return u * rate

    reading, u0 = pj.FiniteDifference(pj.Grid(8, 1.0), 2), jnp.ones((1, 8))
    stepper = pj.TimeStepper(Growth(), reading, 0.5, 4)
    for rate in (1.0, 2.0):
        np.testing.assert_allclose(stepper(u0), np.exp(0.5 * rate), rtol=1e-5)
