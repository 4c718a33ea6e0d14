import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann
from pdejax.equations import Burgers, Diffusion, Equation, NavierStokesVorticity
from pdejax.testing import observed_orders

TURN = 2 * np.pi
SPREAD = {2: 0.1, 4: 0.2, 6: 0.3}


def tendency(discretisation, equation, u, t=0.0):
    return np.asarray(jax.jit(lambda u: discretisation.tendency(equation, t, u))(u))


class Derivatives(Equation):
    """u_t = u_x + u_xx + u_xyy: every kind of central stencil."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.derivative(0) + u.derivative(0, 2) + u.derivative(0).derivative(1, 2) + u.derivative(1, 3)


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6])
def test_periodic_derivatives_converge_with_their_order(order):
    def error(n):
        grid = pj.Grid((n, n + 5), (TURN, 2 * TURN))
        x, y = np.asarray(grid.coordinates())
        f, g = np.exp(np.sin(x)), np.cos(y / 2 + 0.3)
        f_x, f_xx = np.cos(x) * f, (np.cos(x) ** 2 - np.sin(x)) * f
        exact = f_x * g + f_xx * g - f_x * g / 4 + f * np.sin(y / 2 + 0.3) / 8
        return np.max(np.abs(tendency(pj.FiniteDifference(grid, order), Derivatives(), (f * g)[None]) - exact))

    (observed,) = observed_orders([error(n) for n in (96, 192)], [1 / 96, 1 / 192])
    assert abs(observed - order) <= SPREAD[order]


@pytest.mark.float64
@pytest.mark.parametrize("points", ["centres", "nodes"])
@pytest.mark.parametrize("order", [2, 4, 6])
def test_diffusion_between_walls_converges_with_its_order(order, points):
    """u = sin(k x + 1) with the wall data it has; the outward derivative changes sign between the two walls."""
    k, length, origin = 2.0, 1.5, 0.4
    value = lambda x: np.sin(k * x + 1)  # noqa: E731
    slope = lambda x: k * np.cos(k * x + 1)  # noqa: E731
    low, high = origin, origin + length
    walls = {
        "dirichlet": {"x-": Dirichlet(value(low)), "x+": Dirichlet(value(high))},
        "neumann": {"x-": Neumann(-slope(low)), "x+": Neumann(slope(high))},
        "mixed": {"x-": Dirichlet(value(low)), "x+": Neumann(slope(high))},
    }

    def errors(n):
        """In the middle and inside, for walls of each kind."""
        grid = pj.Grid(n, length, periodic=False, origin=origin, points=points)
        x = np.asarray(grid.axes[0])
        readings = [pj.FiniteDifference(grid, order, stated) for stated in walls.values()]
        rates = jax.jit(lambda u: jnp.stack([reading.tendency(Diffusion(1.0), 0.0, u)[0] for reading in readings]))
        # At nodes on a Dirichlet wall the value is held, so the rate there is zero and not u_xx.
        gap = np.abs(rates(value(x)[None]) + k**2 * value(x))
        central = np.abs(x - origin - length / 2) < length / 12
        return np.max(gap[:, central], axis=1), np.max(gap[:, 1:-1], axis=1)

    sizes = [41, 81]
    spacings = [1 / (n - (points == "nodes")) for n in sizes]
    coarse, fine = map(errors, sizes)
    for index, kind in enumerate(walls):
        inner, everywhere = ([of_one[index], of_other[index]] for of_one, of_other in zip(coarse, fine, strict=True))
        assert abs(observed_orders(inner, spacings)[0] - order) <= SPREAD[order], kind
        # The one-sided closure is of the same order for the second derivative: its polynomial has degree order + 1.
        assert observed_orders(everywhere, spacings)[0] >= order - 0.3, kind


@pytest.mark.float64
def test_heat_between_walls_of_given_temperature_reaches_the_linear_profile():
    grid = pj.Grid(21, 2.0, periodic=False)
    discretisation = pj.FiniteDifference(grid, 4, {"x-": Dirichlet(1.0), "x+": Dirichlet(3.0)})
    # Largest eigenvalue of the fourth-order Laplacian is about 16 / (3 h^2).
    stepper = pj.TimeStepper(Diffusion(1.0), discretisation, 6.0, 6000)
    u = jax.jit(lambda s, u: s(u))(stepper, jnp.zeros((1, 21)))
    np.testing.assert_allclose(u[0], 1 + grid.axes[0], atol=1e-5)


@pytest.mark.float64
def test_a_held_node_keeps_its_wall_value_and_gradients_reach_it():
    grid = pj.Grid(17, 1.0, periodic=False, points="nodes")

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def final_mean(wall, start):
        discretisation = pj.FiniteDifference(grid, 2, {"x-": Dirichlet(wall), "x+": Neumann(0.0)})
        u = pj.TimeStepper(Diffusion(1.0), discretisation, 0.05, 100)(start)
        return jnp.mean(u), u

    # A state that starts elsewhere at the wall is put right, and not carried along.
    assert final_mean(0.25, np.ones((1, 17)))[0][1][0, 0] == 0.25
    (ahead, _), (behind, _) = (final_mean(0.7 + step, np.zeros((1, 17)))[0] for step in (1e-4, -1e-4))
    slope = final_mean(0.7, np.zeros((1, 17)))[1]
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-4, rtol=1e-6)
    assert slope > 0.1


@pytest.mark.float64
def test_vorticity_with_a_discrete_stream_function_agrees_with_fourier_to_its_order():
    def gap(n):
        grid = pj.Grid((n, n + 9), TURN)
        x, y = np.asarray(grid.coordinates())
        w = (5 * np.sin(2 * x) * np.cos(y) + 10 * np.cos(3 * x + y))[None]
        stencil, fourier = (
            tendency(discretisation, NavierStokesVorticity(0.1), w)
            for discretisation in (pj.FiniteDifference(grid, 4), pj.Spectral(grid))
        )
        return np.max(np.abs(stencil - fourier))

    (order,) = observed_orders([gap(48), gap(96)], [1.0, 0.5])
    assert abs(order - 4) < 0.2


def test_burgers_conserves_no_less_than_its_stencil_allows():
    # Central differences of u u_x conserve the mean of a periodic state only through summation by parts with u^2 / 2.
    grid = pj.Grid(33, TURN)
    u = np.sin(np.asarray(grid.axes[0]))[None] + np.asarray(0.3, grid.dtype)
    rate = tendency(pj.FiniteDifference(grid, 2), Burgers(0.1), u)
    assert abs(np.mean(rate)) < 1e-6


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: pj.FiniteDifference(pj.Grid(32, 1.0), 3), "orders 2, 4, 6, 8, got 3"),
        (lambda: pj.FiniteDifference(pj.Grid((32, 8), 1.0), 6), r"at least 13 points.*\(32, 8\)"),
        (lambda: pj.FiniteDifference(pj.Grid(32, 1.0, periodic=False)), "wall 'x-' has no boundary condition"),
        (
            lambda: pj.FiniteDifference(pj.Grid(32, 1.0, periodic=False), 2, {"x-": Dirichlet(0.0)}),
            r"wall 'x\+' has no boundary condition",
        ),
        (lambda: pj.FiniteDifference(pj.Grid(32, 1.0), 2, Dirichlet(0.0)), "no wall to put"),
        (lambda: pj.FiniteDifference(pj.Grid(32, 1.0), 2, {"x": Dirichlet(0.0)}), "Axis x is periodic"),
    ],
)
def test_bad_stencils_and_boundaries_are_named(build, match):
    with pytest.raises(ValueError, match=match):
        build()


class Written(Equation):
    """Diffusion in four ways that mean the same, and one that loses the walls."""

    way: str = eqx.field(static=True)

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return {
            "outside": lambda: u.laplacian() * 0.7,
            "inside": lambda: (u * 0.7).laplacian(),
            "sum": lambda: (u * 0.9 - u * 0.2).laplacian(),
            "negative": lambda: -(-u * 0.7).laplacian(),
            "product": lambda: (u * u).laplacian(),
            "flux": lambda: (u * u.derivative(0)).derivative(0),
        }[self.way]()


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_a_multiple_of_the_state_meets_the_multiple_of_its_conditions(points):
    grid = pj.Grid(24, 1.3, periodic=False, points=points)
    walls = {"x-": Dirichlet(0.8), "x+": Neumann(-1.7)}
    u = np.cos(3 * np.asarray(grid.axes[0]))[None]
    reading = pj.FiniteDifference(grid, 4, walls)
    ways = ("outside", "inside", "sum", "negative", "flux")
    expected, *same, flux = jax.jit(lambda u: [reading.tendency(Written(way), 0.0, u) for way in ways])(u)
    for rate in same:
        np.testing.assert_allclose(rate, expected, atol=1e-10)
    with pytest.raises(ValueError, match=r"order 2 along axis 0.*no condition is known.*divergence"):
        tendency(reading, Written("product"), u)
    # First derivatives of a flux need none.
    assert np.all(np.isfinite(flux))


@pytest.mark.either
def test_walls_keep_single_precision():
    grid = pj.Grid(16, 1.0, periodic=False, dtype=jnp.float32)
    discretisation = pj.FiniteDifference(grid, 2, {"x-": Dirichlet(1.0), "x+": Neumann(2.0)})
    u = jax.ShapeDtypeStruct((1, 16), jnp.float32)
    rate = jax.eval_shape(lambda u: discretisation.tendency(Diffusion(jnp.asarray(0.1)), 0.0, u), u)
    assert rate.dtype == jnp.float32
    solved = eqx.filter_eval_shape(lambda u: pj.solve(Diffusion(0.1), discretisation, u, [0.0, 0.01]).u, u)
    assert solved.dtype == jnp.float32


def test_walls_in_four_dimensions_are_refused():
    with pytest.raises(ValueError, match="a grid of 4 dimensions must be periodic"):
        pj.FiniteDifference(pj.Grid((5, 5, 5, 5), 1.0, periodic=(True, True, True, False)), 2, Dirichlet(0.0))


def test_stacking_fields_of_different_walls_does_not_lend_them():
    class Stacked(Written):
        def nonlinear(self, t, u):
            return u.stack(u * u)[1].laplacian()

    grid = pj.Grid(16, 1.0, periodic=False)
    with pytest.raises(ValueError, match="no condition is known"):
        tendency(pj.FiniteDifference(grid, 2, Dirichlet(1.0)), Stacked("stacked"), np.ones((1, 16), grid.dtype))
