"""Transport read from upstream: orders 1, 3, 5 and 7 on the points of the central orders 2, 4, 6 and 8."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Outflow
from pdejax.equations import Advection, AdvectionDiffusion, Equation
from pdejax.solvers import ETDRK4, KenCarp4
from pdejax.solvers.terms import bases_for, decoded, encoded, semilinear_term, space_of
from pdejax.stretching import TowardsWalls
from pdejax.testing import observed_orders
from tests.fields.test_boundaries import STRETCHING, TIME, Wave, norms, orders_of_norms
from tests.fields.test_flux_form import errors_of_solutions, free_part

# Points per axis, wave number and extent, by the order of the central formula: order 8 reads transport with order 7.
SIZES = {2: (400, 601, 1, 1.7), 4: (80, 121, 1, 1.7), 6: (60, 90, 1, 1.7), 8: (160, 221, 1, 5.0)}
# With order 7 what an inflow does wrong, of order 8, is far larger than what happens after it: it is to decay.
DECAY = {2: 1.0, 4: 1.0, 6: 1.0, 8: 12.0}


class Both(Equation):
    """u_t = - 0.9 u_x - decay u + s to the right, and to the left; s makes `exact` a solution."""

    exact: Wave = eqx.field(static=True)
    decay: float = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True, default=("right", "left"))

    def components(self, ndim):
        return self.names

    def nonlinear(self, t, u):
        right, left = u
        value = lambda x: (self.exact.rate(x[0], t) + self.decay * self.exact(x[0], t))[None]  # noqa: E731
        slope = u.coordinates.map(lambda x: 0.9 * self.exact.slope(x[0], t)[None])
        moved = right.directional_derivative([0.9]).stack(-left.directional_derivative([0.9]))
        return -moved - self.decay * u + u.coordinates.map(value) + slope.stack(-slope)


def upwind_orders(order, points, stretched=False):
    """Of the L2 error of the solution between an inflow and an outflow, to the right and to the left: (of the whole, of
    its middle half)."""
    placed = pj.Stretched(STRETCHING, points) if stretched else points
    *sizes, k, extent = SIZES[order]
    u = Wave(k)
    value = Dirichlet(lambda x, t: u(x[0], t))

    def errors(n):
        grid = pj.Grid(n, extent, periodic=False, origin=-0.3, points=placed)
        boundary = {"right": {"x-": value, "x+": Outflow()}, "left": {"x-": Outflow(), "x+": value}}
        reading = pj.FiniteDifference(grid, order, boundary, advection="upwind")
        exact, rate = u(grid.axes[0], TIME), u.rate(grid.axes[0], TIME)
        return norms(grid, errors_of_solutions(reading, Both(u, DECAY[order]), exact, rate))

    return orders_of_norms([errors(n) for n in sizes], sizes, points)


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_transport_between_walls_converges_with_one_order_less(points, order):
    for whole, middle in upwind_orders(order, points):
        if order == 8:  # the inflow has its share in the whole
            assert 6.8 <= whole <= 8
        assert abs((middle if order == 8 else whole) - (order - 1)) <= 0.2


@pytest.mark.float64
def test_on_stretched_points_transport_converges_and_nothing_grows():
    for whole, _ in upwind_orders(4, "nodes", stretched=True):
        assert abs(whole - 3) <= 0.2
    assert max(growth(pj.Stretched(TowardsWalls(2.0), "nodes"), 6, "upwind")) < -1


class Turning(Equation):
    """u_t = - v . grad u with a velocity that changes its sign, and a drift."""

    drift: jax.Array

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        velocity = u.coordinates.map(lambda x: jnp.stack([jnp.sin(x[1]), jnp.cos(x[0] + t)]))
        return -velocity.advect(u) - u.directional_derivative(self.drift)


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_transport_in_the_plane_converges_with_one_order_less(order):
    drift = jnp.array([0.4, -0.3])

    def gap(n):
        grid = pj.Grid((n, n + 5), 2 * np.pi)
        x, y = grid.coordinates()
        u, u_x, u_y = jnp.sin(x) * jnp.cos(y), jnp.cos(x) * jnp.cos(y), -jnp.sin(x) * jnp.sin(y)
        exact = -(jnp.sin(y) + 0.4) * u_x - (jnp.cos(x + 0.2) - 0.3) * u_y
        reading = pj.FiniteDifference(grid, order, advection="upwind")
        rate = jax.jit(lambda v: reading.tendency(Turning(drift), 0.2, v))(u[None])[0]
        return float(jnp.sqrt(jnp.mean((rate - exact) ** 2)))

    (observed,) = observed_orders([gap(60), gap(90)], [1.5, 1.0])
    assert abs(observed - (order - 1)) <= 0.2


class Crossing(Equation):
    """u_t = - u_x + 0.002 u_xx (without diffusion for the first two components), to the right, left, right, ..."""

    names: tuple[str, ...] = eqx.field(static=True)

    def components(self, ndim):
        return self.names

    def nonlinear(self, t, u):
        first, *rest = [
            component.derivative(0, 2) * 0.002 - component.directional_derivative([(-1.0) ** index])
            if index > 1
            else -component.directional_derivative([(-1.0) ** index])
            for index, component in enumerate(u)
        ]
        return first.stack(*rest)


def growth(points, order, advection, n=40):
    """The largest growth rate for each kind of walls that transport may cross."""
    stated = [
        (Dirichlet(), Outflow()),
        (Outflow(), Dirichlet()),
        (Dirichlet(), Neumann()),
        (Dirichlet(), Dirichlet()),
    ]
    boundary = {f"u{index}": {"x-": low, "x+": high} for index, (low, high) in enumerate(stated)}
    reading = pj.FiniteDifference(pj.Grid(n, 1.0, periodic=False, points=points), order, boundary, advection=advection)
    rates = lambda v: reading.tendency(Crossing(tuple(boundary)), 0.0, jnp.stack([v] * len(boundary)))  # noqa: E731
    matrices = np.asarray(jax.jit(jax.vmap(rates, out_axes=2))(jnp.eye(n)))
    return [np.linalg.eigvals(free_part(matrix)).real.max() for matrix in matrices]


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_no_mode_of_transport_grows_between_walls(points, order):
    """Also where cells are 12 times as wide as the layer at the wall."""
    assert max(growth(points, order, "upwind")) < -1
    if (order, points) == (8, "nodes"):
        assert max(growth(points, order, "central")[:2]) > 1


def carried_step(order, advection, n=100):
    """A step after one turn around a periodic axis, exact in time: every mode has its own rate."""
    reading = pj.FiniteDifference(pj.Grid(n, 1.0), order, advection=advection)
    start = np.where(np.abs(np.arange(n) / n - 0.5) < 0.2, 1.0, 0.0)
    pulse = jnp.zeros((1, n)).at[0, 0].set(1.0)
    rates = np.fft.fft(np.asarray(reading.tendency(Advection(1.0), 0.0, pulse))[0])
    return start, np.fft.ifft(np.exp(rates) * np.fft.fft(start)).real


def ringing(u):
    """How far a step lies outside of 0 and 1, and what its total variation is above 2."""
    return max(np.max(u) - 1, -np.min(u)), np.sum(np.abs(np.diff(u))) - 2


@pytest.mark.float64
def test_a_step_rings_less_than_with_central_formulae():
    for order in (2, 4, 6):
        start, central = carried_step(order, "central")
        _, upwind = carried_step(order, "upwind")
        (overshoot, variation), (central_overshoot, central_variation) = ringing(upwind), ringing(central)
        assert overshoot < 0.55 * central_overshoot
        assert variation < 0.15 * central_variation
        if order == 2:
            assert overshoot < 1e-12  # monotone
        np.testing.assert_allclose(upwind.sum(), start.sum(), rtol=1e-12)


class Spelled(Equation):
    """u_t = - 0.7 u_x, v_t = - v v_x in several ways that mean the same."""

    way: str = eqx.field(static=True)

    def components(self, ndim):
        return ("u", "v")

    def nonlinear(self, t, state):
        u, v = state
        carried, steepened = u.directional_derivative([0.7]), v.advect(v)
        return {
            "apart": lambda: (-carried).stack(-steepened),
            "together": lambda: -carried.stack(steepened),
            "velocity": lambda: u.directional_derivative([-0.7]).stack((-v).advect(v)),
            "traced": lambda: (u.directional_derivative(jnp.array([1.4])) * -0.5).stack(-0.5 * (v * 2.0).advect(v)),
            "product": lambda: (-0.7 * (u.constant(1.0).advect(u))).stack(v * (v.constant(-1.0).advect(v))),
            "sum": lambda: (carried * 2.0 - carried * 3.0).stack(0.0 - steepened),
            "quotient": lambda: (carried / u.constant(-1.0)).stack(-steepened),
        }[self.way]()


@pytest.mark.float64
def test_however_it_is_spelled_transport_is_damped():
    grid = pj.Grid(24, 1.0)
    u = jnp.stack([jnp.sin(2 * np.pi * grid.axes[0]), jnp.cos(2 * np.pi * grid.axes[0]) ** 3])
    checkerboard = jnp.stack([(-1.0) ** jnp.arange(24)] * 2)
    reading = pj.FiniteDifference(grid, 4, advection="upwind")
    rate = lambda way, v: np.asarray(reading.tendency(Spelled(way), 0.0, v))  # noqa: E731
    for way in ("together", "velocity", "traced", "product", "quotient"):
        np.testing.assert_allclose(rate(way, u), rate("apart", u), atol=1e-10)
    # Not the sum: 2 x - 3 x damps five times; but it is no transport that anybody writes, and it is damped.
    for way in ("apart", "sum"):
        assert np.all(np.sum(rate(way, checkerboard) * checkerboard, axis=1) < -1)
    # What it is: the one-sided formula itself.
    nearest = (-u + jnp.roll(u, 1, axis=1)) * 24
    first = np.asarray(pj.FiniteDifference(grid, 2, advection="upwind").tendency(Spelled("apart"), 0.0, u))
    np.testing.assert_allclose(first[0], 0.7 * nearest[0], atol=1e-12)
    downstream = np.asarray(u[1] - jnp.roll(u[1], -1)) * 24
    v = np.asarray(u[1])
    np.testing.assert_allclose(first[1], np.where(v > 0, v * np.asarray(nearest[1]), v * downstream), atol=1e-12)
    # A function of transport, or its derivative, is no transport.
    assert reading.field(Spelled("apart"), 0.0, u)[0].directional_derivative([1.0]).map(jnp.abs).damping is None


class Carried(Equation):
    """u_t = 0.01 u_xx - c u_x, transport in the nonlinear part."""

    velocity: jax.Array

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return 0.01 * u.laplacian()

    def nonlinear(self, t, u):
        return -u.directional_derivative([self.velocity])


@pytest.mark.float64
def test_solvers_do_not_read_upwind_transport_centrally():
    grid = pj.Grid(32, 1.0, periodic=False)
    u = jnp.exp(-100 * (grid.axes[0] - 0.4) ** 2)[None]
    reading = pj.FiniteDifference(grid, 4, {"x-": 0.0, "x+": Neumann(0.0)}, advection="upwind")
    # No basis makes upwind transport diagonal; implicit stages apply the linear part as it is read.
    assert "Krylov" in pj.explain(AdvectionDiffusion(1.0, 0.01), reading)
    with pytest.raises(ValueError, match="upwind formulae"):
        pj.solve(AdvectionDiffusion(1.0, 0.01), reading, u, [0.0, 0.1], solver=ETDRK4())
    assert "diagonal" in pj.explain(Carried(jnp.array(1.0)), reading)
    # However they step it, the two parts add up to the tendency, damping included.
    problems = (Carried(jnp.array(1.0)), AdvectionDiffusion(1.0, 0.01))
    spaces = [space_of(reading, bases_for(KenCarp4(), equation, reading)) for equation in problems]

    @jax.jit
    def both(u):
        found = []
        for equation, space in zip(problems, spaces, strict=True):
            y, term = encoded(space, equation, 0.0, u), semilinear_term(equation, space)
            step = lambda v, space=space, equation=equation: decoded(space, equation, 0.0, v)  # noqa: E731
            found.append(jax.jvp(step, (y,), (term.vf(jnp.zeros(()), y, None),))[1])
        return found, [reading.tendency(equation, 0.0, u) for equation in problems]

    np.testing.assert_allclose(*both(u), atol=1e-9)


@pytest.mark.float64
def test_gradients_reach_the_velocity():
    grid = pj.Grid(17, 1.0, periodic=False, points="nodes")
    u = jnp.sin(3 * grid.axes[0])[None]
    reading = pj.FiniteDifference(grid, 4, {"x-": 0.0, "x+": Outflow()}, advection="upwind")
    functional = jax.jit(lambda c: jnp.sum(jnp.sin(reading.tendency(Turned(c), 0.0, u) / 9)))

    class Turned(Carried):
        def linear(self, u):
            return u * 0.0

        def nonlinear(self, t, u):
            return -u.directional_derivative([self.velocity]) - (u - self.velocity).advect(u)

    c, step = jnp.array(0.45), 1e-5
    slope = (functional(c + step) - functional(c - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(functional))(c), slope, rtol=1e-6)


def test_other_readings_of_advection_are_refused():
    with pytest.raises(ValueError, match='"central" or "upwind", got \'downwind\''):
        pj.FiniteDifference(pj.Grid(16, 1.0), 2, advection="downwind")
