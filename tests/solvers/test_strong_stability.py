"""The methods of Shu and Osher: their coefficient, what it means for a shock, and their orders."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Equation
from pdejax.solvers import SSPRK2, SSPRK3
from pdejax.testing import observed_orders

step_once = jax.jit(lambda stepper, u: stepper(u))


def preserves(tableau, coefficient):
    """Whether the method is a convex combination of Euler steps `coefficient` times shorter (Gottlieb, Ketcheson, Shu).

    With K = (A 0; b 0) and r the coefficient: all entries of (1 + r K)^-1 K and of (1 + r K)^-1 1 are >= 0.
    """
    size = len(tableau.b_sol)
    matrix = np.zeros((size + 1, size + 1))
    for row, entries in enumerate((*tableau.a_lower, tableau.b_sol), start=1):
        matrix[row, : len(entries)] = entries
    inverse = np.linalg.inv(np.eye(size + 1) + coefficient * matrix)
    return np.all(inverse @ matrix >= -1e-14) and np.all(inverse.sum(axis=1) >= -1e-14)


def test_the_coefficient_is_one():
    for solver in (SSPRK2, SSPRK3):
        assert preserves(solver.tableau, 1.0) and not preserves(solver.tableau, 1.001)
    assert not preserves(diffrax.Bosh3.tableau, 0.9) and not preserves(diffrax.Midpoint.tableau, 0.01)


def upwind(t, u, args):
    return -(u - jnp.roll(u, 1)) * 40


def variation_after(solver, courant):
    """Of a box moved by the upwind scheme on 40 cells; Euler's steps keep it up to a Courant number of 1."""
    u = jnp.where(jnp.arange(40) < 12, 1.0, 0.0)
    term, h = diffrax.ODETerm(upwind), courant / 40

    def step(carry, _):
        u, state = carry
        u, _, _, state, _ = solver.step(term, 0.0, h, u, None, state, False)
        return (u, state), jnp.sum(jnp.abs(u - jnp.roll(u, 1)))

    return float(jnp.max(jax.lax.scan(step, (u, solver.init(term, 0.0, h, u, None)), None, 4)[1]))


@pytest.mark.parametrize("solver", [SSPRK2(), SSPRK3()])
def test_the_total_variation_does_not_grow_up_to_the_coefficient(solver):
    assert variation_after(solver, 1.0) <= 2 * (1 + 1e-5)
    assert variation_after(solver, 1.5) > 2.01


def test_a_method_that_preserves_less_lets_the_variation_grow():
    assert variation_after(diffrax.Midpoint(), 1.0) <= 2 * (1 + 1e-5)  # linear: the same polynomial as SSPRK2
    assert variation_after(diffrax.Dopri5(), 1.0) > 2.0005


class Ordinary(Equation):
    """u_t = u cos t, with u = exp(sin t)."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u.map(lambda value: value * jnp.cos(t))


@pytest.mark.float64
@pytest.mark.parametrize(("solver", "order"), [(SSPRK2(), 2), (SSPRK3(), 3)])
def test_orders_and_tolerances(solver, order):
    grid = pj.Grid(5, 1.0)
    u0, exact = jnp.ones((1, 5)), np.exp(np.sin(2.0))
    errors, counts = [], [40, 80]
    for count in counts:
        stepper = pj.TimeStepper(Ordinary(), pj.FiniteDifference(grid), 2.0, count, solver)
        errors.append(float(jnp.max(jnp.abs(step_once(stepper, u0) - exact))))
    (observed,) = observed_orders(errors, [1 / n for n in counts])
    assert abs(observed - order) < 0.2, (observed, errors)
    counts = []
    for rtol in (1e-4, 1e-6):
        solution = pj.solve(Ordinary(), pj.FiniteDifference(grid), u0, [0.0, 2.0], solver=solver, rtol=rtol)
        assert float(jnp.max(jnp.abs(solution.u[-1] - exact))) < 10 * rtol
        counts.append(int(solution.num_steps))
    # Of order q, the estimate asks for a number of steps that grows as rtol^(-1 / (q + 1)).
    np.testing.assert_allclose(counts[1] / counts[0], 100 ** (1 / order), rtol=0.3)


@pytest.mark.float64
@pytest.mark.parametrize("solver", [SSPRK2(), SSPRK3()])
def test_a_step_is_that_of_its_tableau(solver):
    """As diffrax sums it: the end, the estimate of the error, and what the interpolant is made of."""
    terms = diffrax.ODETerm(lambda t, y, args: {"u": jnp.sin(t + 2 * y["u"]) * y["u"][::-1]})
    y = {"u": jnp.array([0.3, -1.2, 0.7])}
    here, there = (step(terms, 0.2, 0.9, y, None, None, False) for step in (solver.step, _summed(solver)))
    for one, other in zip(jax.tree.leaves(here[:3]), jax.tree.leaves(there[:3]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=1e-15)


def _summed(solver):
    return lambda *arguments: diffrax.AbstractERK.step(solver, *arguments)
