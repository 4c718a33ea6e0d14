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
        x, y = grid.coordinates()
        f, g = jnp.exp(jnp.sin(x)), jnp.cos(y / 2 + 0.3)
        f_x, f_xx = jnp.cos(x) * f, (jnp.cos(x) ** 2 - jnp.sin(x)) * f
        exact = f_x * g + f_xx * g - f_x * g / 4 + f * jnp.sin(y / 2 + 0.3) / 8
        return float(
            jnp.max(jnp.abs(pj.FiniteDifference(grid, order).tendency(Derivatives(), 0.0, (f * g)[None]) - exact))
        )

    sizes = [48, 96, 192]
    orders = observed_orders([error(n) for n in sizes], [1 / n for n in sizes])
    assert np.all(np.abs(orders[-1:] - order) <= SPREAD[order]), orders


@pytest.mark.float64
@pytest.mark.parametrize("points", ["centres", "nodes"])
@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("kind", ["dirichlet", "neumann", "mixed"])
def test_diffusion_between_walls_converges_with_its_order(order, points, kind):
    """u = sin(k x + 1) with the wall data it has; the outward derivative changes sign between the two walls."""
    k, length, origin = 2.0, 1.5, 0.4
    value = lambda x: jnp.sin(k * x + 1)  # noqa: E731
    slope = lambda x: k * jnp.cos(k * x + 1)  # noqa: E731
    low, high = origin, origin + length
    walls = {
        "dirichlet": {"x-": Dirichlet(value(low)), "x+": Dirichlet(value(high))},
        "neumann": {"x-": Neumann(-slope(low)), "x+": Neumann(slope(high))},
        "mixed": {"x-": Dirichlet(value(low)), "x+": Neumann(slope(high))},
    }[kind]

    def error(n):
        grid = pj.Grid(n, length, periodic=False, origin=origin, points=points)
        x = grid.axes[0]
        u = value(x)
        rate = pj.FiniteDifference(grid, order, walls).tendency(Diffusion(1.0), 0.0, u[None])[0]
        # At nodes on a Dirichlet wall the value is held, so the rate there is zero and not u_xx.
        gap = jnp.abs(rate + k**2 * u)
        central = jnp.abs(x - origin - length / 2) < length / 12
        return float(jnp.max(jnp.where(central, gap, 0))), float(jnp.max(gap[1:-1]))

    sizes = [41, 81, 161]
    inner, everywhere = np.array([error(n) for n in sizes]).T
    spacings = [1 / (n - (points == "nodes")) for n in sizes]
    assert abs(observed_orders(inner, spacings)[0] - order) <= SPREAD[order]
    # The one-sided closure is of the same order for the second derivative: its polynomial has degree order + 1.
    # (The last doubling of order 6 is within rounding of its floor.)
    assert observed_orders(everywhere, spacings)[0] >= order - 0.3


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

    def final_mean(wall):
        discretisation = pj.FiniteDifference(grid, 2, {"x-": Dirichlet(wall), "x+": Neumann(0.0)})
        u0 = jnp.zeros((1, 17))
        u = pj.TimeStepper(Diffusion(1.0), discretisation, 0.05, 100)(u0)
        return jnp.mean(u)

    # A state that starts elsewhere at the wall is put right, and not carried along.
    start = jnp.ones((1, 17))
    walls = {"x-": Dirichlet(0.25), "x+": Neumann(0.0)}
    assert pj.TimeStepper(Diffusion(1.0), pj.FiniteDifference(grid, 2, walls), 0.01, 20)(start)[0, 0] == 0.25
    slope = jax.grad(final_mean)(0.7)
    np.testing.assert_allclose(slope, (final_mean(0.7 + 1e-4) - final_mean(0.7 - 1e-4)) / 2e-4, rtol=1e-6)
    assert slope > 0.1


@pytest.mark.float64
def test_vorticity_with_a_discrete_stream_function_agrees_with_fourier_to_its_order():
    def gap(n):
        grid = pj.Grid((n, n + 9), TURN)
        x, y = grid.coordinates()
        w = (5 * jnp.sin(2 * x) * jnp.cos(y) + 10 * jnp.cos(3 * x + y))[None]
        equation = NavierStokesVorticity(0.1)
        stencil, fourier = pj.FiniteDifference(grid, 4), pj.Spectral(grid)
        return float(jnp.max(jnp.abs(stencil.tendency(equation, 0.0, w) - fourier.tendency(equation, 0.0, w))))

    (order,) = observed_orders([gap(48), gap(96)], [1.0, 0.5])
    assert abs(order - 4) < 0.2


def test_burgers_conserves_no_less_than_its_stencil_allows():
    # Central differences of u u_x conserve the mean of a periodic state only through summation by parts with u^2 / 2.
    grid = pj.Grid(33, TURN)
    u = jnp.sin(grid.axes[0])[None] + 0.3
    rate = pj.FiniteDifference(grid, 2).tendency(Burgers(0.1), 0.0, u)
    assert abs(float(jnp.mean(rate))) < 1e-6


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


def test_a_stream_function_between_walls_is_refused():
    grid = pj.Grid((16, 16), 1.0, periodic=(True, False))
    with pytest.raises(ValueError, match=r"walls along axes \[1\]"):
        pj.FiniteDifference(grid, 2, Neumann(0.0)).tendency(NavierStokesVorticity(0.1), 0.0, jnp.zeros((1, 16, 16)))


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
    u = jnp.cos(3 * grid.axes[0])[None]
    tendency = lambda way: pj.FiniteDifference(grid, 4, walls).tendency(Written(way), 0.0, u)  # noqa: E731
    expected = tendency("outside")
    for way in ("inside", "sum", "negative"):
        np.testing.assert_allclose(tendency(way), expected, atol=1e-10)
    with pytest.raises(ValueError, match=r"order 2 along axis 0.*no condition is known.*divergence"):
        tendency("product")
    # First derivatives of a flux need none.
    assert bool(jnp.all(jnp.isfinite(tendency("flux"))))


def test_walls_keep_single_precision():
    grid = pj.Grid(16, 1.0, periodic=False, dtype=jnp.float32)
    discretisation = pj.FiniteDifference(grid, 2, {"x-": Dirichlet(1.0), "x+": Neumann(2.0)})
    u = jnp.ones((1, 16), jnp.float32)
    assert discretisation.tendency(Diffusion(jnp.asarray(0.1)), 0.0, u).dtype == jnp.float32
    assert pj.solve(Diffusion(0.1), discretisation, u, [0.0, 0.01]).u.dtype == jnp.float32


def test_walls_in_four_dimensions_are_refused():
    with pytest.raises(ValueError, match="a grid of 4 dimensions must be periodic"):
        pj.FiniteDifference(pj.Grid((5, 5, 5, 5), 1.0, periodic=(True, True, True, False)), 2, Dirichlet(0.0))


def test_stacking_fields_of_different_walls_does_not_lend_them():
    class Stacked(Written):
        def nonlinear(self, t, u):
            return u.stack(u * u)[1].laplacian()

    grid = pj.Grid(16, 1.0, periodic=False)
    with pytest.raises(ValueError, match="no condition is known"):
        pj.FiniteDifference(grid, 2, Dirichlet(1.0)).tendency(Stacked("stacked"), 0.0, jnp.ones((1, 16)))
