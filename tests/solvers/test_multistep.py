"""The weights of multistep methods, and what becomes of their history."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import pdejax as pj
from pdejax.equations import Burgers
from pdejax.solvers import (
    BDF2,
    Diagonal,
    ExponentialAdamsBashforth2,
    ExponentialAdamsBashforth3,
    ExponentialAdamsBashforth4,
    SemilinearTerm,
)
from pdejax.solvers.multistep import History

TURN = 2 * np.pi
GRID = pj.Grid(15, TURN)
U0 = (jnp.sin(GRID.axes[0]) + 0.3)[None]


@pytest.mark.float64
@pytest.mark.parametrize(
    "solver", [ExponentialAdamsBashforth2(), ExponentialAdamsBashforth3(), ExponentialAdamsBashforth4()]
)
def test_a_force_that_is_a_polynomial_of_the_method_s_degree_is_integrated_exactly(solver):
    """y' = z y + t^m for m below the order, over one step of length 1 / 2 from t = 1, its past given exactly."""
    symbols, h = np.array([0.0, -1e-3, -3.0, -400.0]), 0.5
    linear = Diagonal(jnp.asarray(symbols)[None])
    for m in range(solver.order(None)):
        times = 1.0 - h * np.arange(solver.num_values)
        values = tuple(jnp.full((1, len(symbols)), t**m) for t in times)
        y = jnp.full((1, len(symbols)), 0.7)
        term = SemilinearTerm(linear, lambda t, y, m=m: t**m + 0 * y)
        history = History(values, (), jnp.asarray(solver.num_starting_steps))
        y1, history, _ = solver.advance(
            term, solver.coefficients(linear, jnp.asarray(h)), jnp.asarray(1.0), jnp.asarray(h), y, history
        )
        np.testing.assert_allclose(history.values[0], 1.5**m)
        for z, got in zip(symbols, np.asarray(y1[0]), strict=True):
            # The powers of t, lowest last, obey a linear system of their own: d(t^m)/dt = m t^(m-1).
            matrix = np.diag([z, *[0.0] * (m + 1)]) + np.diag([1.0, *range(m, 0, -1)], 1)
            exact = (expm(h * matrix) @ [0.7, *[1.0] * (m + 1)])[0]
            np.testing.assert_allclose(got, exact, rtol=1e-12, err_msg=f"{z} {m}")


@pytest.mark.float64
@pytest.mark.parametrize("solver", [ExponentialAdamsBashforth3(), BDF2()])
def test_the_history_goes_on_over_equal_steps_and_restarts_where_the_step_changes(solver):
    equation, discretisation = Burgers(0.2), pj.Spectral(GRID)
    stepped = lambda dt, n, u: pj.TimeStepper(equation, discretisation, dt, n, solver)(u)  # noqa: E731
    # 5 steps of 0.1, as many again, then 7 of 0.09: two runs.
    times = [0.0, 0.5, 1.0, 1.63]
    u = pj.solve(equation, discretisation, U0, times, dt=0.1, solver=solver).u
    whole = stepped(1.0, 10, U0)
    np.testing.assert_allclose(u[2], whole, atol=1e-13)
    np.testing.assert_allclose(u[3], stepped(0.63, 7, whole), atol=1e-13)
    # A restart in the middle of the equal steps, or none at the change, is another (and visible) result.
    assert float(jnp.max(jnp.abs(stepped(0.5, 5, u[1]) - u[2]))) > 1e-9


@pytest.mark.parametrize(
    ("solver", "too_few"),
    [(ExponentialAdamsBashforth2(), 1), (ExponentialAdamsBashforth4(), 3), (BDF2(), 1)],
)
def test_too_few_steps_to_begin_are_named(solver, too_few):
    name = type(solver).__name__
    with pytest.raises(ValueError, match=rf"{name} starts with {too_few} step.*use substeps > {too_few}"):
        pj.TimeStepper(Burgers(0.1), pj.Spectral(GRID), 0.1, too_few, solver)
    with pytest.raises(ValueError, match=rf"{name} starts with {too_few} step.*take a smaller dt"):
        pj.solve(Burgers(0.1), pj.Spectral(GRID), U0, [0.0, 1.0], dt=1 / too_few, solver=solver)
    with pytest.raises(ValueError, match=f"{name} estimates no error.*give dt"):
        pj.solve(Burgers(0.1), pj.Spectral(GRID), U0, [0.0, 1.0], solver=solver)
