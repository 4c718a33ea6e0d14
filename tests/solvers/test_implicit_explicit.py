"""The tableaux by their order conditions, the stage solves by the inverse, and what stiff modes become."""

from fractions import Fraction
from itertools import product

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Burgers
from pdejax.solvers import BDF2, Coupled, CrankNicolsonRK4, Diagonal, KenCarp3, KenCarp4, SemilinearTerm, Sil3
from pdejax.testing import observed_orders

TURN = 2 * np.pi


def square(rows):
    """Exact fractions, in an array that multiplies and sums them exactly."""
    size = len(rows)
    return np.array([[*map(Fraction, row), *[Fraction(0)] * (size - len(row))] for row in rows], dtype=object)


def order_conditions(order, weights, matrices, nodes):
    """`(sum, what it must be)` for every tree up to `order`, inner vertices coloured by every choice of matrices."""
    b, c = np.array(weights, dtype=object), np.array(nodes, dtype=object)
    yield b.sum(), Fraction(1)
    if order >= 2:
        yield b @ c, Fraction(1, 2)
    if order >= 3:
        yield b @ c**2, Fraction(1, 3)
        yield from ((b @ first @ c, Fraction(1, 6)) for first in matrices)
    if order >= 4:
        yield b @ c**3, Fraction(1, 4)
        for first in matrices:
            yield (b * c) @ first @ c, Fraction(1, 8)
            yield b @ first @ c**2, Fraction(1, 12)
        yield from ((b @ first @ second @ c, Fraction(1, 24)) for first, second in product(matrices, matrices))


@pytest.mark.parametrize(
    ("tableau", "explicit_order", "implicit_order", "coupled_order"),
    [(Sil3.tableau, 2, 2, 2), (KenCarp3.tableau, 3, 3, 3), (KenCarp4.tableau, 4, 4, 4)],
    ids=["Sil3", "KenCarp3", "KenCarp4"],
)
def test_order_conditions(tableau, explicit_order, implicit_order, coupled_order):
    explicit, implicit = square(tableau.explicit), square(tableau.implicit)
    nodes, last = tableau.nodes, tableau.implicit[-1]
    # The published fractions have some 13 digits above and below: the conditions hold to twice as many.
    rounding = Fraction(1, 10**22)
    assert np.max(abs(explicit.sum(axis=1) - implicit.sum(axis=1))) < rounding
    cases = [
        (explicit_order, tableau.weights, [explicit]),
        (implicit_order, last, [implicit]),
        (coupled_order, tableau.weights, [explicit, implicit]),
        (coupled_order, last, [explicit, implicit]),
    ]
    if tableau.error:
        embedded = [b - e for b, e in zip(tableau.weights, tableau.error, strict=True)]
        cases.append((coupled_order - 1, embedded, [explicit, implicit]))
    for order, weights, matrices in cases:
        for value, expected in order_conditions(order, weights, matrices, nodes):
            assert abs(value - expected) < rounding, (order, float(value), expected)
    # And no more than it says.
    beyond = [abs(v - e) > Fraction(1, 10**6) for v, e in order_conditions(4, last, [explicit, implicit], nodes)]
    assert any(beyond) == (coupled_order < 4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Sil3, diffrax.Sil3), (KenCarp3, diffrax.KenCarp3), (KenCarp4, diffrax.KenCarp4)],
    ids=lambda solver: solver.__module__,
)
def test_the_tableaux_are_those_of_diffrax(ours, theirs):
    explicit, implicit = theirs.tableau.tableaus
    for row, a, b in zip(range(1, 7), explicit.a_lower, implicit.a_lower, strict=False):
        np.testing.assert_allclose([float(x) for x in ours.tableau.explicit[row]], a, rtol=1e-15)
        np.testing.assert_allclose(
            [float(x) for x in ours.tableau.implicit[row]], [*b, implicit.a_diagonal[row]], rtol=1e-15
        )
    np.testing.assert_allclose([float(x) for x in ours.tableau.weights], explicit.b_sol, rtol=1e-15)
    if ours.tableau.error:
        np.testing.assert_allclose([float(x) for x in ours.tableau.error], explicit.b_error, rtol=1e-12)


def test_order_conditions_of_the_low_storage_method():
    """`G_k = N_k + a_k G_(k-1)`, y grows by `b_k h G_k`: its tableau follows by going through the substeps."""
    size = len(CrankNicolsonRK4.b)
    matrix, carried, total = np.full((size, size), Fraction(0)), np.full(size, Fraction(0)), np.full(size, Fraction(0))
    for k in range(size):
        matrix[k] = total
        carried = CrankNicolsonRK4.a[k] * carried
        carried[k] += 1
        total = total + CrankNicolsonRK4.b[k] * carried
    assert np.max(abs(matrix.sum(axis=1) - np.array(CrankNicolsonRK4.c[:-1], dtype=object))) < Fraction(1, 10**22)
    for value, expected in order_conditions(4, total, [matrix], CrankNicolsonRK4.c[:-1]):
        assert abs(value - expected) < Fraction(1, 10**22), (float(value), expected)


@pytest.mark.float64
def test_the_explicit_parts_alone_have_their_own_orders():
    """y' = y without a linear part: Sil3 is of third order then; and so is y' = y cos t, for Crank-Nicolson's RK4."""
    for solver, order, rate in ((Sil3(), 3, lambda t: 1.0), (Sil3(), 2, jnp.cos), (CrankNicolsonRK4(), 4, jnp.cos)):
        term = SemilinearTerm(Diagonal(jnp.zeros((1, 1))), lambda t, y, rate=rate: y * rate(t))
        errors = []
        for count in (32, 64):
            h = jnp.asarray(2.0 / count)
            coefficients = solver.coefficients(term.linear, h)

            def step(i, state, solver=solver, term=term, h=h, coefficients=coefficients):
                return solver.advance(term, coefficients, i * h, h, *state)[:2]

            y0 = jnp.ones((1, 1))
            y, _ = jax.lax.fori_loop(0, count, step, (y0, term.nonlinear(0.0, y0)))
            errors.append(abs(float(y[0, 0]) - np.exp(np.sin(2.0) if rate is jnp.cos else 2.0)))
        assert abs(observed_orders(errors, [2.0, 1.0])[0] - order) < 0.2, errors


MATRICES = {
    "turning": [[0.0, 30.0], [-30.0, 0.0]],
    "slow beside fast": [[-1e6, 2.0], [0.3, -1e-3]],
    "complex": [[-1.0 + 20j, 3.0], [0.5j, -7.0]],
    "three": [[-1e4, 2.0, 0.0], [1.0, -3.0, 50.0], [0.0, -50.0, 0.1]],
}


@pytest.mark.float64
@pytest.mark.parametrize("name", MATRICES)
def test_the_inverse_solves_a_stage(name):
    random = np.random.default_rng(3)
    matrix = np.array(MATRICES[name])
    scales = np.array([0.0, 1e-6, 0.7, 3.0, 2.0])
    linear = Coupled(jnp.asarray(matrix[..., None] * scales))
    y = random.normal(size=(len(matrix), len(scales)))
    got = linear.multiply(linear.inverse(jnp.asarray(0.2)), jnp.asarray(y))
    for mode, scale in enumerate(scales):
        exact = np.linalg.solve(np.eye(len(matrix)) - 0.2 * scale * matrix, y[:, mode])
        np.testing.assert_allclose(got[:, mode], exact, rtol=1e-12, atol=1e-13)
    diagonal = Diagonal(jnp.asarray(np.diag(matrix)[:, None] * scales))
    got = diagonal.multiply(diagonal.inverse(jnp.asarray(0.2)), jnp.asarray(y))
    np.testing.assert_allclose(got, y / (1 - 0.2 * np.diag(matrix)[:, None] * scales), rtol=1e-14)


def test_a_fast_exchange_keeps_its_sum_in_every_precision():
    """Rows of rank one, `(-x, x), (x, -x)` with x = 4e7: (1 + x)^2 - x^2 would be zero in single precision."""
    x = 4.0e7
    linear = Coupled(jnp.asarray([[-x, x], [x, -x]], jnp.float32)[..., None])
    got = linear.multiply(linear.inverse(jnp.float32(1.0)), jnp.asarray([[3.0], [1.0]], jnp.float32))
    np.testing.assert_allclose(got[:, 0], [2.0, 2.0], rtol=1e-5)


def after_one_step(solver, z, dtype, count=1):
    linear = Diagonal(jnp.full((1, 1), z, dtype))
    term = SemilinearTerm(linear, lambda t, y: 0 * y)
    h, y = jnp.ones((), dtype), jnp.ones((1, 1), dtype)
    coefficients, memory = solver.coefficients(linear, h), solver.start(term, 0 * h, y)
    for i in range(count):
        y, memory, estimate = solver.advance(term, coefficients, i * h, h, y, memory)
    return float(y[0, 0]), estimate


def test_stiff_modes_are_damped_in_every_precision():
    """h lambda = -1e6. Summed over slopes of that size, single precision would leave some percent of the mode."""
    for solver in (KenCarp3(), KenCarp4(), Sil3()):
        y, estimate = after_one_step(solver, -1e6, jnp.float32)
        assert abs(y) < 2e-5, (solver, y)
        # The embedded method stays bounded too, 0.08 and 0.15 of the mode: step control is not held up by it.
        assert estimate is None or 0.05 < abs(float(estimate[0, 0])) < 0.3, estimate
    assert abs(after_one_step(BDF2(), -1e6, jnp.float32, 3)[0]) < 1e-5
    # Crank-Nicolson's five substeps turn the sign five times and damp nothing.
    assert -1 < after_one_step(CrankNicolsonRK4(), -1e6, jnp.float32)[0] < -0.99


@pytest.mark.float64
@pytest.mark.parametrize("solver", [KenCarp3(), KenCarp4(), Sil3(), CrankNicolsonRK4()])
def test_waves_of_any_speed_do_not_grow(solver):
    """|R(iy)| <= 1 on a ladder of y from slow to fast."""
    speeds = jnp.logspace(-3, 6, 400)[None] * 1j
    term = SemilinearTerm(Diagonal(speeds), lambda t, y: 0 * y)
    h, y = jnp.asarray(1.0), jnp.ones_like(speeds)
    y1, _, _ = solver.advance(term, solver.coefficients(term.linear, h), 0 * h, h, y, 0 * y)
    assert float(jnp.max(jnp.abs(y1))) <= 1 + 1e-9


@pytest.mark.float64
@pytest.mark.parametrize("solver", [KenCarp3(), KenCarp4()])
def test_tolerances_control_the_error(solver):
    nu, grid = 0.3, pj.Grid(65, TURN)
    x = grid.axes[0]

    def exact(t):  # Cole-Hopf with phi = 2 + exp(-nu t) cos x
        decay = jnp.exp(-nu * t)
        return 2 * nu * decay * jnp.sin(x) / (2 + decay * jnp.cos(x))

    times, tolerances = [0.0, 0.4, 2.0], (1e-4, 1e-6, 1e-8)
    errors, steps = [], []
    for rtol in tolerances:
        solution = pj.solve(Burgers(nu), pj.Spectral(grid), exact(0.0)[None], times, solver=solver, rtol=rtol)
        errors.append(float(jnp.max(jnp.abs(solution.u[:, 0] - jnp.stack([exact(t) for t in times])))))
        steps.append(int(solution.num_steps))
    assert all(error < 10 * rtol for error, rtol in zip(errors, tolerances, strict=True)), errors
    assert errors[-1] < 1e-2 * errors[0] and steps[0] < steps[1] < steps[2], (errors, steps)


@pytest.mark.parametrize("solver", [Sil3(), CrankNicolsonRK4()])
def test_without_an_estimate_steps_must_be_given(solver):
    with pytest.raises(ValueError, match=f"{type(solver).__name__} estimates no error.*give dt"):
        pj.solve(Burgers(0.1), pj.Spectral(pj.Grid(8, 1.0)), jnp.zeros((1, 8)), [0.0, 1.0], solver=solver, rtol=1e-3)
