"""Auxiliary fields between walls: the Poisson equation that defines them, by the inverse of the stencils themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Neumann, Outflow, Robin
from pdejax.equations import Burgers, NavierStokesVorticity
from pdejax.fields import chebyshev_poisson
from pdejax.fields.stencil_poisson import solve_poisson
from pdejax.stretching import Sine, TowardsWalls
from pdejax.testing import Manufactured, observed_orders

STATED = {"y-": Neumann(lambda x, t: jnp.sin(6 * x[0]) + t), "y+": Robin(1.3, 0.4, 0.2), "x": lambda x, t: x[1] + t}


def laplacian_of(reading, sides, q, t):
    """By differentiating q with its conditions."""
    from pdejax.fields.stencil import StencilField

    return StencilField(reading, q, (reading._met(sides, t),) * q.shape[0]).laplacian().values


@pytest.mark.parametrize("points", ["nodes", "centres", "stretched", "by parts"])
def test_the_laplacian_of_the_solution_is_the_source(points):
    """Two components, walls of every kind along both axes; what is held is held."""
    placed = {"stretched": pj.Stretched(TowardsWalls(1.0)), "by parts": "nodes"}.get(points, points)
    closure = "summation by parts" if points == "by parts" else "ghost values"
    grid = pj.Grid((18, 21), (1.0, 1.7), periodic=False, points=placed)
    reading = pj.FiniteDifference(grid, 4, STATED, closure=closure)
    f = jnp.asarray(np.random.default_rng(0).normal(size=(2, 18, 21)), grid.dtype)
    sides = reading.walls.by_component["*"]
    q, again = jax.jit(lambda f: (q := solve_poisson(f, reading, sides, 0.3), laplacian_of(reading, sides, q, 0.3)))(f)
    inside = slice(None) if points == "centres" else slice(1, -1)
    size = float(jnp.max(jnp.abs(q))) * 18**2
    rounding = 1e3 * float(jnp.finfo(grid.dtype).eps)
    np.testing.assert_allclose(again[:, inside], f[:, inside], atol=rounding * size)
    if points != "centres":
        np.testing.assert_allclose(q[:, 0], jnp.broadcast_to(grid.axes[1] + 0.3, (2, 21)), rtol=1e-5)


@pytest.mark.float64
def test_between_slopes_and_around_an_axis_the_mean_is_zero():
    grid = pj.Grid((16, 23), (1.0, 1.7), periodic=(True, False))
    sides = pj.FiniteDifference(grid, 2, Neumann(0.0)).walls.by_component["*"]
    x, y = grid.coordinates()
    exact = jnp.cos(2 * jnp.pi * x) * jnp.cos(2 * jnp.pi * y / 1.7)

    def solved(order, f):
        return solve_poisson(f[None], pj.FiniteDifference(grid, order, Neumann(0.0)), sides, 0.0)[0]

    source = -((2 * jnp.pi) ** 2) * (1 + 1 / 1.7**2) * exact
    # What is out of balance has no solution, and is dropped.
    second, sixth, shifted = jax.jit(lambda f: (solved(2, f), solved(6, f), solved(2, f + 3.0)))(source)
    for q, bound in ((second, 2e-2), (sixth, 1e-4)):
        assert abs(float(grid.integrate(q))) < 1e-13 and float(jnp.max(jnp.abs(q - exact))) < bound
    np.testing.assert_allclose(shifted, second, atol=1e-12)


@pytest.mark.float64
def test_the_mean_is_that_of_the_quadrature_and_mixtures_without_a_value_are_slopes():
    """Whatever the source, on stretched points as well; data functions of (x, t) included."""
    f = jnp.asarray(np.random.default_rng(0).normal(size=(1, 24)))

    def solved(grid, wall):
        reading = pj.FiniteDifference(grid, 4, wall)
        return solve_poisson(f, reading, reading.walls.by_component["*"], 0.3)

    for points in ("nodes", pj.Stretched(TowardsWalls(1.5))):
        grid = pj.Grid(24, 1.3, periodic=False, points=points)
        slope, mixture = Neumann(lambda x, t: 0.2 * t + 0 * x[0]), Robin(0.0, 2.0, lambda x, t: 0.4 * t + 0 * x[0])
        q, mixed = jax.jit(lambda g=grid, a=slope, b=mixture: (solved(g, a), solved(g, b)))()
        assert abs(float(grid.integrate(q)[0])) < 1e-12 * float(jnp.max(jnp.abs(q)))
        np.testing.assert_allclose(mixed, q, atol=1e-12 * float(jnp.max(jnp.abs(q))))
    # On Chebyshev points, and a number in place of a function.
    grid = pj.Grid(24, 1.3, periodic=False, points="chebyshev")
    stated = [pj.Chebyshev(grid, wall).walls.by_component["*"] for wall in (Neumann(0.2), Robin(0.0, 2.0, 0.4))]
    q, mixed = (jax.jit(lambda s=sides: chebyshev_poisson.solve_poisson(f, grid, s, 0.0))() for sides in stated)
    np.testing.assert_allclose(mixed, q, atol=1e-11)


@pytest.mark.float64
def test_around_stretched_axes_it_is_solved_to_the_order_of_the_stencils():
    def error(n):
        grid = pj.Grid((14, n), (1.0, 2.0), points=("nodes", pj.Stretched(Sine(0.5), "centres")))
        x, y = grid.coordinates()
        exact = jnp.cos(2 * jnp.pi * x) * jnp.sin(jnp.pi * y) + jnp.cos(jnp.pi * y)
        source = -5 * jnp.pi**2 * jnp.cos(2 * jnp.pi * x) * jnp.sin(jnp.pi * y) - jnp.pi**2 * jnp.cos(jnp.pi * y)
        reading = pj.FiniteDifference(grid, 6)
        q = solve_poisson(source[None], reading, reading.walls.by_component["*"], 0.0)[0]
        # Along x the stencil is off by a constant factor.
        return jnp.max(jnp.abs(jnp.mean(q - exact, axis=0)))

    (order,) = observed_orders(np.asarray(jax.jit(lambda: [error(24), error(48)])()), [2.0, 1.0])
    assert order > 5.5


@pytest.mark.float64
def test_on_a_box_of_any_length_nothing_but_the_constant_is_dropped():
    """The smallest eigenvalue is 1e-13 of the largest one here."""
    grid = pj.Grid((32, 16), (1e5, 1.0), periodic=False)
    x = grid.coordinates()[0] / 1e5
    walls = {"sin": {"x": 0.0, "y": Neumann()}, "cos": Neumann()}

    def solved(wall, wave):
        reading = pj.FiniteDifference(grid, 2, walls[wall])
        return solve_poisson(-((jnp.pi / 1e5) ** 2) * wave[None], reading, reading.walls.by_component["*"], 0.0)[0]

    for wall, wave in (("sin", jnp.sin(jnp.pi * x)), ("cos", jnp.cos(jnp.pi * x))):
        np.testing.assert_allclose(jax.jit(solved, static_argnums=0)(wall, wave), wave, atol=1e-3)


def flow(x, y, t):
    """Vorticity and stream function; neither vanishes at any wall."""
    growth = 1 + jnp.sin(t)
    stream = jnp.sin(2 * x) * jnp.cos(y) + jnp.cos(3 * x + y)
    return growth * (5 * jnp.sin(2 * x) * jnp.cos(y) + 10 * jnp.cos(3 * x + y)), growth * stream


@pytest.mark.float64
def test_plane_flow_between_walls_converges_with_the_order_of_its_stencils():
    vorticity, stream = (lambda x, t, i=i: flow(*x, t)[i] for i in (0, 1))
    slope = lambda x, t: jax.jvp(lambda y: stream((x[0], y), t), (x[1],), (jnp.ones_like(x[1]),))[1]  # noqa: E731
    boundary = {"vorticity": vorticity, "stream_function": {"x": stream, "y-": stream, "y+": Neumann(slope)}}
    equation = Manufactured(NavierStokesVorticity(0.3, drag=0.2), flow)

    def gap(order, factor):
        grid = pj.Grid((24 * factor + 1, 20 * factor + 1), (1.3, 1.0), periodic=False, points="nodes")
        reading = pj.FiniteDifference(grid, order, boundary)
        state = lambda t: vorticity(grid.coordinates(), t)[None]  # noqa: E731
        u, rate = jax.jvp(state, (0.4,), (1.0,))
        return jnp.sqrt(grid.integrate((reading.tendency(equation, 0.4, u) - rate) ** 2)[0])

    errors = jax.jit(lambda: [gap(4, factor) for factor in (1, 2)])()
    # Derivatives at walls are of one order less there, and better in the mean.
    assert 3.7 <= observed_orders(np.asarray(errors), [1.0, 0.5])[0] <= 5, errors


@pytest.mark.float64
def test_gradients_reach_the_data_and_the_extent():
    source = jnp.asarray(np.random.default_rng(1).normal(size=(1, 9, 11)))

    @jax.jit
    def functional(p):
        grid = pj.Grid((9, 11), (1.0, p[0]), periodic=(True, False), points="nodes")
        reading = pj.FiniteDifference(grid, 2, {"y-": Neumann(p[1]), "y+": lambda x, t: p[1] * t + jnp.sin(6 * x[0])})
        return jnp.sum(jnp.sin(3 * solve_poisson(source, reading, reading.walls.by_component["*"], 0.7)))

    at = jnp.asarray([1.3, 0.4])
    gradient = jax.jit(jax.grad(functional))(at)
    for slope, step in zip(gradient, 1e-5 * np.eye(2), strict=True):
        np.testing.assert_allclose(slope, (functional(at + step) - functional(at - step)) / 2e-5, rtol=1e-6)


@pytest.mark.either
def test_conditions_of_auxiliary_fields_are_asked_for_by_name():
    grid = pj.Grid((16, 17), 1.0, periodic=False)
    u, flow = jnp.ones((1, 16, 17)), NavierStokesVorticity(0.1)
    with pytest.raises(ValueError, match="'stream_function' of NavierStokesVorticity has no boundary conditions"):
        pj.FiniteDifference(grid, 2, {"vorticity": 0.0}).tendency(flow, 0.0, u)
    with pytest.raises(ValueError, match="names 'psi', which is neither a side.*nor a component"):
        pj.FiniteDifference(grid, 2, {"vorticity": 0.0, "psi": 0.0}).tendency(flow, 0.0, u)
    with pytest.raises(ValueError, match="names 'psi', which is neither a side.*nor a component"):
        pj.explain(flow, pj.FiniteDifference(grid, 2, {"vorticity": 0.0, "psi": 0.0}))
    with pytest.raises(ValueError, match="names 'stream_function', which is neither"):
        pj.FiniteDifference(grid, 2, {"*": 0.0, "stream_function": 0.0}).tendency(
            Burgers(0.1), 0.0, jnp.ones((2, 16, 17))
        )
    with pytest.raises(ValueError, match="flows out there"):
        pj.FiniteDifference(grid, 2, {"vorticity": 0.0, "stream_function": Outflow()}).tendency(flow, 0.0, u)
