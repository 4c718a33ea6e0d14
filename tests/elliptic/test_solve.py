import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Robin
from pdejax.elliptic import EllipticOperator, biharmonic, darcy, helmholtz, poisson, solve_elliptic
from pdejax.elliptic.transforms import solve_direct
from pdejax.grid import Grid
from pdejax.testing import check_lowering, observed_orders

pytestmark = pytest.mark.float64
rng = np.random.default_rng(2)
KINDS = {"D": Dirichlet(0.0), "N": Neumann(0.0), "R": Robin(2.0, 1.0)}


@pytest.mark.parametrize("points", ["nodes", "centres"])
@pytest.mark.parametrize("pair", ["DD", "NN", "DN", "RD", "periodic", "antiperiodic"])
def test_the_direct_method_inverts_the_discrete_operator(pair, points):
    wraps = pair.endswith("periodic")
    grid = Grid((9, 7, 4), (1.3, 0.9, 1.0), periodic=(wraps, False, True), points=points)
    boundary = {"y-": Neumann(), "y+": Robin(1.0, 1.0) if pair == "DD" else Neumann()}
    if pair == "antiperiodic":
        boundary["x"] = AntiPeriodic()
    elif not wraps:
        boundary |= {"x-": KINDS[pair[0]], "x+": KINDS[pair[1]]}
    operator = EllipticOperator(grid, boundary, 1.7, -0.3)
    u = rng.normal(size=operator.free_shape)
    back = eqx.filter_jit(lambda operator, u: solve_direct(operator, operator(u)))(operator, jnp.asarray(u))
    assert np.linalg.norm(back - u) <= 1e-12 * np.linalg.norm(u)


def test_both_methods_find_the_same_solution_of_mean_zero():
    grid = Grid((16, 12), (1.0, 0.7), periodic=(False, True), points="nodes")
    x, y = np.asarray(grid.coordinates())
    f = jnp.asarray(np.cos(2 * np.pi * y / 0.7) + x - 0.5)
    direct, _ = poisson(grid, f, Neumann())
    iterated, statistics = poisson(grid, f, Neumann(), method="cg")
    assert statistics.iterations > 0
    np.testing.assert_allclose(direct, iterated, atol=1e-10)
    assert abs(grid.integrate(direct)) < 1e-12


def test_data_that_do_not_balance_are_refused_with_the_imbalance():
    grid = Grid((12, 16), 1.0, periodic=False)
    with pytest.raises(ValueError, match=r"is 1.5, of 1.5 in absolute values"):
        poisson(grid, 1.0, {"x-": Neumann(0.5), "*": Neumann()})
    u, statistics = poisson(grid, 1.0, {"x-": Neumann(-1.0), "*": Neumann()})
    assert abs(float(statistics.imbalance)) < 1e-6
    # What is small enough to be the quadrature's is spread, and told: 0.01 of the integral, 2 / pi of the sizes.
    x = grid.coordinates()[0]
    _, statistics = poisson(grid, jnp.cos(np.pi * x) + 0.01, Neumann())
    np.testing.assert_allclose(statistics.imbalance, 0.01 * np.pi / 2, rtol=0.02)
    assert float(poisson(grid, 1.0, 0.0)[1].imbalance) == 0
    with pytest.raises(ValueError, match="rtol must be positive and finite, got -1"):
        poisson(grid, 1.0, 0.0, rtol=-1.0)
    # u'' = -1 with u'(0) = 1, u'(1) = 0 and mean zero: the scheme is exact but for the mean of x^2.
    u, x = np.asarray(u), np.asarray(grid.coordinates())[0]
    np.testing.assert_allclose(u - u[-1:], (x - x**2 / 2) - (x - x**2 / 2)[-1:], atol=1e-12)


def test_a_small_reaction_fixes_the_constant_and_one_of_zero_is_refused():
    """In the matrix c is lost where c h^2 is less than rounding; that fluxes add up to nothing is exact."""
    grid = Grid((14, 17), (1.0, 1.3), periodic=(True, False))
    x, y = np.asarray(grid.coordinates())
    a, f = jnp.asarray(1 + 0.5 * np.sin(2 * np.pi * x)), jnp.asarray(np.cos(3 * y) + x)
    shape = jnp.asarray(1 + 0.5 * y)

    @eqx.filter_jit
    def solved(size, method="cg", added=0.0, rtol=None):
        return solve_elliptic(EllipticOperator(grid, Neumann(), a, size * shape), f + added, method=method, rtol=rtol)[
            0
        ]

    total, weight = (float(jnp.sum(part)) for part in (f, shape))
    constant = helmholtz(grid, f, Neumann(), reaction=1e-14)[0]
    np.testing.assert_allclose(constant * 1e-14 * f.size / total, 1.0, rtol=1e-8)
    for size, method in ((1e-13, "cg"), (1e-15, "cg"), (1e-13, "multigrid")):
        u = solved(jnp.asarray(size), method)
        np.testing.assert_allclose(u * size * weight / total, 1.0, rtol=1e-8)
    # A source without a mean: the constant is that of `sum(c u) = sum(f)`, whatever the tolerance.
    for method in ("cg", "multigrid"):
        balanced = solved(jnp.asarray(1e-3), method, -total / f.size, rtol=1e-4)
        assert abs(jnp.sum(shape * balanced)) < 1e-9 * jnp.sum(shape * jnp.abs(balanced))
    operator = EllipticOperator(grid, Neumann(), a, 7.0 * shape)
    columns = jax.jit(jax.vmap(operator))(jnp.eye(f.size).reshape(-1, *f.shape)).reshape(f.size, -1)
    np.testing.assert_allclose(solved(jnp.asarray(7.0)).ravel(), np.linalg.solve(columns.T, f.ravel()), rtol=1e-8)
    mixed = jax.jit(lambda weight: poisson(grid, f, Robin(weight, 1.0), method="cg")[0])
    with pytest.raises(Exception, match="all zero: u is free by a constant"):
        jax.block_until_ready(mixed(0.0))


def test_coefficients_and_sources_may_be_functions():
    grid = Grid((12, 9), 1.0, periodic=False)
    x, y = grid.coordinates()
    found, _ = darcy(grid, lambda at: 1 + at[0] ** 2, lambda at: jnp.sin(at[1]), 0.0)
    np.testing.assert_allclose(found, darcy(grid, 1 + x**2, jnp.sin(y), 0.0)[0], rtol=1e-12)
    # What a function reads from elsewhere is what it is now, in kept programs too.
    size = 1.0
    source, wall = lambda at: size + 0 * at[0], lambda x, t: size * x[1]
    first = poisson(grid, source, {"x-": wall, "*": 0.0})[0]
    size = 3.0
    np.testing.assert_allclose(poisson(grid, source, {"x-": wall, "*": 0.0})[0], 3 * first, rtol=1e-12)


def test_an_indefinite_problem_is_solved_directly_or_refused():
    grid = Grid((16, 12), 1.0, periodic=False)
    _, statistics = helmholtz(grid, 1.0, 0.0, reaction=-30.0)
    assert statistics.relative_residual < 1e-12
    with pytest.raises(ValueError, match="may be indefinite"):
        helmholtz(grid, 1.0, 0.0, reaction=-30.0, method="cg")
    # At an eigenvalue of the discrete problem there is no solution.
    resonance = 4 * (16**2 * np.sin(np.pi / 32) ** 2 + 12**2 * np.sin(np.pi / 24) ** 2)
    with pytest.raises(FloatingPointError, match="singular to rounding"):
        helmholtz(grid, 1.0, 0.0, reaction=-float(resonance))
    with pytest.raises(ValueError, match="All of the 2 points along axis 0 lie on walls"):
        helmholtz(Grid((2, 9), 1.0, periodic=False, points="nodes"), 1.0, 0.0, reaction=1.0)


@pytest.mark.parametrize("constant", [False, True])
def test_derivatives_are_those_of_the_discrete_solution(constant):
    grid = Grid((8, 9), (1.0, 1.2), periodic=False, points=("nodes", "centres"))
    shape = () if constant else grid.shape
    probe = jnp.asarray(rng.normal(size=grid.shape))
    given = {
        "f": rng.normal(size=grid.shape),
        "a": np.asarray(np.exp(0.3 * rng.normal(size=shape))),
        "c": np.asarray(rng.random(size=shape)),
        "value": rng.normal(size=9),
        "slope": np.asarray(0.4),
    }

    @jax.jit
    @jax.value_and_grad
    def functional(p):
        boundary = {"x-": Dirichlet(p["value"]), "x+": Robin(1.0, 0.5, p["slope"]), "y": Neumann(p["slope"])}
        u, _ = solve_elliptic(EllipticOperator(grid, boundary, p["a"], p["c"]), p["f"], rtol=1e-13)
        return jnp.sum(probe * u**2)

    derivative = functional(given)[1]
    for name, value in given.items():
        direction = rng.normal(size=value.shape)
        step = 1e-5
        ahead, behind = (float(functional(given | {name: value + s * step * direction})[0]) for s in (1, -1))
        expected = (ahead - behind) / (2 * step)
        assert np.sum(derivative[name] * direction) == pytest.approx(expected, rel=1e-6), name


def test_the_direct_method_lowers_for_every_platform():
    grid = Grid((8, 9), 1.0, periodic=(True, False), dtype=jnp.float32)
    operator = EllipticOperator(grid, {"y-": 0.0, "y+": Robin(1.0, 1.0)})
    check_lowering(lambda b: solve_direct(operator, b), jnp.ones(operator.free_shape, jnp.float32))


@pytest.mark.parametrize("walls", ["supported", "clamped"])
def test_plates_converge_with_order_two(walls):
    errors = []
    for n in (12, 23):
        grid = Grid((n, n + 4 * (n - 1) // 11), (1.0, 1.3), periodic=False, points="nodes")
        x, y = np.asarray(grid.coordinates())
        p, q = np.pi, np.pi / 1.3
        if walls == "supported":
            u = np.sin(p * x) * np.sin(2 * q * y)
            f = (p**2 + 4 * q**2) ** 2 * u
        else:  # sin^2 sin^2, written by double angles
            cx, cy = np.cos(2 * p * x), np.cos(2 * q * y)
            u = (1 - cx) * (1 - cy) / 4
            f = 8 * p**2 * q**2 * cx * cy - 4 * p**4 * cx * (1 - cy) - 4 * q**4 * cy * (1 - cx)
        errors.append(float(jax.jit(lambda f, u, grid=grid: grid.norm(biharmonic(grid, f, walls) - u))(f, u)))
    (order,) = observed_orders(errors, [1.0, 0.5])
    assert abs(order - 2) <= 0.2


def test_clamped_walls_need_nodes():
    with pytest.raises(ValueError, match="points on the walls"):
        biharmonic(Grid((8, 8), 1.0, periodic=False), 1.0, "clamped")
