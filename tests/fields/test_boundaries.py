"""Manufactured solutions between walls of every kind: the order of the solution, with data that change in time."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin
from pdejax.equations import Advection, AdvectionDiffusion, Diffusion, Equation
from pdejax.stretching import TowardsWalls
from pdejax.testing import Manufactured, observed_orders

TIME = 0.7


class Carried(Equation):
    """u_t = 0.3 u_xx - 0.5 u_x - 3 u."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.laplacian() * 0.3 - u * 3.0

    def nonlinear(self, t, u):
        return -0.5 * u.derivative(0)


class Transported(Carried):
    """u_t = - 0.9 u_x - u: nothing but what leaves through a wall."""

    def linear(self, u):
        return u * -1.0

    def nonlinear(self, t, u):
        return -0.9 * u.derivative(0)


class SideBySide(Equation):
    """Components that know nothing of each other, `count` of them for each equation: one program in place of many."""

    equations: tuple[Equation, ...]
    counts: tuple[int, ...] = eqx.field(static=True)

    def components(self, ndim):
        return tuple(f"u{index}" for index in range(sum(self.counts)))

    def linear(self, u):
        return self._each(u, lambda equation, part: equation.linear(part))

    def nonlinear(self, t, u):
        return self._each(u, lambda equation, part: equation.nonlinear(t, part))

    def _each(self, u, term):
        components = iter(u)
        parts = []
        for equation, count in zip(self.equations, self.counts, strict=True):
            first, *others = itertools.islice(components, count)
            parts.append(term(equation, first.stack(*others) if others else first))
        return parts[0].stack(*parts[1:])


class Wave:
    """sin(k (2.3 x) + 0.4 - 0.8 t) + 0.3 cos(1.1 k x + t), and its slope."""

    def __init__(self, k):
        self.k = k

    def __call__(self, x, t):
        return jnp.sin(2.3 * self.k * x + 0.4 - 0.8 * t) + 0.3 * jnp.cos(1.1 * self.k * x + t)

    def slope(self, x, t):
        return jax.jvp(lambda s: self(s, t), (x,), (jnp.ones_like(x),))[1]

    def rate(self, x, t):
        return jax.jvp(lambda s: self(x, s), (jnp.asarray(t),), (jnp.ones(()),))[1]


def walls_of(kind, u):
    """Data as functions of (x, t); the outward normal points down at the lower wall."""
    value = Dirichlet(lambda x, t: u(x[0], t))
    low, high = Neumann(lambda x, t: -u.slope(x[0], t)), Neumann(lambda x, t: u.slope(x[0], t))
    mixed_low = Robin(2.0, 0.5, lambda x, t: 2 * u(x[0], t) - 0.5 * u.slope(x[0], t))
    mixed_high = Robin(0.7, 1.3, lambda x, t: 0.7 * u(x[0], t) + 1.3 * u.slope(x[0], t))
    return {
        "Dirichlet": {"x": value},
        "Neumann": {"x-": low, "x+": high},
        "Robin": {"x-": mixed_low, "x+": mixed_high},
        "Dirichlet and Neumann": {"x-": value, "x+": high},
        "inflow and outflow": {"x-": value, "x+": Outflow()},
    }[kind]


KINDS = ["Dirichlet", "Neumann", "Robin", "Dirichlet and Neumann", "inflow and outflow"]
PLACEMENTS = ["nodes", "centres"]
# Points per axis, the wave number of the solution and the extent: coarse enough that rounding, eps N^2, is far below
# the error. With order 8 a longer axis has room for errors that are asymptotic.
SIZES = {2: (80, 121, 1, 1.7), 4: (80, 121, 1, 1.7), 6: (60, 90, 1, 1.7), 8: (220, 301, 2, 5.0)}
# Half as far apart at the walls as in the middle; errors are asymptotic a little later.
STRETCHING = TowardsWalls(1.0)
STRETCHED_SIZES = {**SIZES, 6: (100, 150, 1, 1.7)}


def assert_order(order, whole, middle, label):
    """Order 8 in the middle half of the axis. Beside the walls an error that falls with order 9 and more is the larger
    one down to rounding, and order 8 of the whole is a lower bound."""
    if order == 8:
        assert 7.8 <= whole <= 9, f"{label}: order 8 is observed as {whole:.2f}"
    observed = middle if order == 8 else whole
    assert abs(observed - order) <= 0.2, f"{label}: order {order} is observed as {observed:.2f}"


def norms(grid, errors):
    """The L2 norm of each component, and that over the middle half of the first axis."""
    x, extent = np.asarray(grid.axes[0]), float(grid.extent[0])
    middle = np.abs(x - float(grid.origin[0]) - extent / 2) < extent / 4
    middle = middle.reshape(-1, *(1,) * (grid.ndim - 1))
    return [np.asarray(grid.norm(jnp.asarray(errors * share))) for share in (1, middle)]


def errors_of_solution(reading, equation, exact):
    """The discrete solution of `tendency(u) = d exact / dt` at TIME minus `exact`, for an equation linear in u."""
    grid = reading.grid

    @jax.jit  # one program: most of the time of these tests is compilation
    def residuals(t):
        """Of the exact solution, of zero, and of each unit vector."""
        u, rate = jax.jvp(lambda s: jnp.stack(exact(grid.coordinates(), s)), (t,), (jnp.ones_like(t),))
        states = jnp.concatenate([u.reshape(1, -1), jnp.zeros((1, u.size)), jnp.eye(u.size)])
        return jax.vmap(lambda v: (reading.tendency(equation, t, v.reshape(u.shape)) - rate).ravel())(states)

    start, constant, *columns = np.asarray(residuals(TIME))
    matrix = (np.asarray(columns) - constant).T
    # A held node has its value, whatever the state says: its row is zero.
    free = np.any(matrix != 0, axis=1)
    correction = np.zeros(start.size)
    correction[free] = np.linalg.solve(matrix[np.ix_(free, free)], -start[free])
    return correction.reshape(-1, *grid.shape)


def orders_between_walls(order, points, stretched=False):
    """Of the L2 error of the solution, between two resolutions, for walls of each kind: (of the whole, of its middle
    half)."""
    *sizes, k, extent = (STRETCHED_SIZES if stretched else SIZES)[order]
    placed = pj.Stretched(STRETCHING, points) if stretched else points
    u = Wave(k)
    stated = {f"u{index}": walls_of(kind, u) for index, kind in enumerate(KINDS)}
    # Nothing but transport flows out.
    equation = Manufactured(SideBySide((Carried(), Transported()), (4, 1)), lambda x, t: (u(x, t),) * 5)

    def errors(n):
        grid = pj.Grid(n, extent, periodic=False, origin=-0.3, points=placed)
        reading = pj.FiniteDifference(grid, order, stated)
        return norms(grid, errors_of_solution(reading, equation, lambda x, t: (u(x[0], t),) * 5))

    return dict(zip(KINDS, orders_of_norms([errors(n) for n in sizes], sizes, points), strict=True))


def orders_of_norms(found, sizes, points):
    """For each component [of the whole, of its middle half], from `norms` with either number of points."""
    spacings = [1 / (n - (points == "nodes")) for n in sizes]
    of_whole_and_middle = np.moveaxis(np.asarray(found), 2, 0)  # by component, by number of points, by norm
    return [[float(observed_orders(list(pair), spacings)[0]) for pair in of_one.T] for of_one in of_whole_and_middle]


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("points", PLACEMENTS)
@pytest.mark.parametrize("stretched", [False, True])
def test_solutions_between_walls_converge_with_their_order(stretched, points, order):
    for kind, (whole, middle) in orders_between_walls(order, points, stretched).items():
        assert_order(order, whole, middle, kind)


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_antiperiodic_solutions_converge_with_their_order(order):
    """u u_x of an anti-periodic u is periodic, (u u)_x too; u_xx changes its sign like u."""

    class Equality(Equation):
        def components(self, ndim):
            return ("u",)

        def linear(self, u):
            return 0.3 * u.laplacian()

        def nonlinear(self, t, u):
            return u * (u * u).derivative(0) + u.derivative(0)

    length = 1.7
    k = np.pi / length

    def gap(n):
        grid = pj.Grid(n, length)
        x = np.asarray(grid.axes[0])
        u = np.sin(k * x + 0.3) + 0.2 * np.cos(3 * k * x)
        du = k * np.cos(k * x + 0.3) - 0.6 * k * np.sin(3 * k * x)
        ddu = -(k**2) * np.sin(k * x + 0.3) - 1.8 * k**2 * np.cos(3 * k * x)
        reading = pj.FiniteDifference(grid, order, {"x": AntiPeriodic()})
        found = jax.jit(lambda u: reading.tendency(Equality(), 0.0, u))(u[None])[0]
        return np.max(np.abs(found - (0.3 * ddu + 2 * u**2 * du + du)))

    (observed,) = observed_orders([gap(30), gap(61)], [1 / 30, 1 / 61])
    assert abs(observed - order) <= 0.2


@pytest.mark.float64
@pytest.mark.parametrize(
    ("order", "points", "closure"),
    [(2, "nodes", "ghost values"), (4, "centres", "ghost values"), (4, "nodes", "summation by parts")],
)
def test_in_the_plane_data_vary_along_the_walls_and_in_time(order, points, closure):
    """Two components with walls of their own, corners included; the y axis has walls, x is periodic or walled."""
    u = lambda x, y, t: (jnp.sin(2.1 * x + 0.3 * t) * jnp.cos(1.4 * y - 0.2), jnp.cos(1.7 * x - y + 0.5 * t))  # noqa: E731

    class Pair(Equation):
        def components(self, ndim):
            return ("u", "v")

        def linear(self, state):
            return 0.4 * state.laplacian() - 2.0 * state

        def nonlinear(self, t, state):
            u, v = state
            return (u.derivative(1) * -0.3).stack(u * 0.5 - v.derivative(0) * 0.2)

    def at(component, axis=None, sign=1.0):
        def datum(x, t):
            f = lambda *point: u(*point, t)[component]  # noqa: E731
            if axis is None:
                return f(*x)
            tangent = tuple(jnp.full_like(part, float(a == axis)) for a, part in enumerate(x))
            return sign * jax.jvp(f, tuple(x), tangent)[1]

        return datum

    boundary = {
        "u": {
            "x": at(0),
            "y-": Neumann(at(0, 1, -1.0)),
            "y+": Robin(1.0, 0.6, lambda x, t: at(0)(x, t) + 0.6 * at(0, 1)(x, t)),
        },
        "v": {"x-": Neumann(at(1, 0, -1.0)), "*": Dirichlet(at(1))},
    }
    equation = Manufactured(Pair(), u)

    def error(shape):
        grid = pj.Grid(shape, (1.1, 1.4), periodic=False, origin=(0.2, -0.5), points=points)
        reading = pj.FiniteDifference(grid, order, boundary, closure=closure)
        return max(norms(grid, errors_of_solution(reading, equation, lambda x, t: u(*x, t)))[0])

    less = points == "nodes"
    # Where derivatives sum by parts the errors of the walls, of order 4.5, have their share for longer.
    coarse, fine = ((28, 34), (42, 51)) if closure == "summation by parts" else ((20, 24), (30, 36))
    errors = [error(tuple(n + less for n in shape)) for shape in (coarse, fine)]
    (observed,) = observed_orders(errors, [1.5, 1.0])
    assert abs(observed - order) <= 0.2


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_no_mode_grows_between_walls(points):
    """Diffusion with every order and pair of conditions; transport from an inflow to an outflow with orders 2 and 4."""
    diffusion = [(Dirichlet(), Dirichlet()), (Neumann(), Neumann()), (Robin(2.0, 0.5), Neumann())]
    # With diffusion, cells are 12 times as wide as the layer at the wall.
    transport = [(Dirichlet(), Outflow()), (Dirichlet(), Neumann()), (Dirichlet(), Dirichlet())]
    equations = (Diffusion(1.0), Advection(1.0), AdvectionDiffusion(1.0, 0.002))
    grid = pj.Grid(40, 1.0, periodic=False, points=points)
    for order in (2, 4, 6, 8):
        pairs = diffusion + transport if order < 6 else diffusion
        equation = SideBySide(equations, (3, 1, 2)) if order < 6 else SideBySide(equations[:1], (3,))
        walls = {f"u{index}": {"x-": low, "x+": high} for index, (low, high) in enumerate(pairs)}
        reading = pj.FiniteDifference(grid, order, walls)
        unit = np.eye(40)[:, None] * np.ones((len(pairs), 1))
        tendency = jax.jit(jax.vmap(lambda u: reading.tendency(equation, 0.0, u)))  # noqa: B023
        for index, matrix in enumerate(np.moveaxis(tendency(unit), 0, 2)):
            free = np.any(matrix != 0, axis=1)
            growth = np.linalg.eigvals(matrix[np.ix_(free, free)]).real.max()
            assert growth < (1e-9 if index < 3 else 0), (order, pairs[index])


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_couette_and_poiseuille_are_met_to_rounding(points):
    """A linear and a quadratic profile between moving walls: ghost polynomials of degree 3 and more hold them."""

    class Driven(Equation):  # u_t = nu u_yy + G
        def components(self, ndim):
            return ("u",)

        def linear(self, u):
            return 0.7 * u.laplacian()

        def nonlinear(self, t, u):
            return u.constant(1.3)

    grid = pj.Grid(23, 2.0, periodic=False, origin=-1.0, points=points)
    for order in (2, 4, 6, 8):
        reading = pj.FiniteDifference(grid, order, {"x-": -0.4, "x+": 1.1})
        equation = SideBySide((Diffusion(0.7), Driven()), (1, 1))
        profiles = lambda x, t: [0.35 + 0.75 * x[0] + g / 1.4 * (1 - x[0] ** 2) for g in (0.0, 1.3)]  # noqa: E731
        assert np.max(np.abs(errors_of_solution(reading, equation, profiles))) < 1e-13


def test_a_held_node_changes_as_its_wall_does():
    grid = pj.Grid((17, 12), 1.0, periodic=(False, True), points="nodes")
    y = np.asarray(grid.axes[1])
    boundary = {"x-": lambda x, t: jnp.sin(2 * t + 6 * x[1]), "x+": 0.7}
    reading = pj.FiniteDifference(grid, 2, boundary)
    both = jax.jit(lambda u: (reading.tendency(Diffusion(1.0), 0.4, u)[0], reading.hold(Diffusion(1.0), 0.4, u)[0]))
    rate, held = both(np.ones((1, 17, 12), grid.dtype))
    np.testing.assert_allclose(rate[0], 2 * np.cos(0.8 + 6 * y), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(rate[-1], 0)
    np.testing.assert_allclose(held[0], np.sin(0.8 + 6 * y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(held[-1], 0.7, rtol=1e-6)
    np.testing.assert_array_equal(held[1:-1], 1)


@pytest.mark.float64
@pytest.mark.parametrize("condition", [Dirichlet, lambda v: Neumann(v), lambda v: Robin(1.3, 0.4, v)])
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_gradients_reach_the_data_and_the_weights(points, condition):
    grid = pj.Grid((9, 11), (1.0, 1.3), periodic=(True, False), points=("nodes", points))
    x, y = np.asarray(grid.coordinates())
    u = jnp.asarray(np.sin(3 * y + x)[None])
    along = np.linspace(0.0, 1.0, 9)

    @jax.jit
    @jax.value_and_grad
    def functional(values):
        reading = pj.FiniteDifference(grid, 2, {"y-": condition(values), "y+": Robin(values[0], 0.5, 0.2)})
        rate = reading.tendency(AdvectionDiffusion([0.3, 0.7], 0.2), 0.0, reading.hold(Diffusion(1.0), 0.0, u))
        return jnp.sum(jnp.sin(rate))

    direction = np.cos(3 * along)
    slope = np.vdot(functional(along + 0.5)[1], direction)
    ahead, behind = (float(functional(along + 0.5 + step * direction)[0]) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)
    assert abs(slope) > 1e-3


def test_terse_forms_state_the_same():
    grid = pj.Grid((17, 19), 1.0, periodic=False)
    x, y = np.asarray(grid.coordinates())
    u = (np.sin(4 * x) + y)[None]
    forms = [
        {"x-": Dirichlet(0.3), "x+": Dirichlet(0.3), "y-": Neumann(1.5), "y+": Dirichlet(0.3)},
        {"x": 0.3, "y-": {"derivative": 1.5}, "y+": {"value": 0.3}},
        {"y-": Neumann(lambda x, t: 1.5 + 0 * x[0]), "*": np.full(1, 0.3)},
        {"u": {"*": 0.3, "y-": Neumann(1.5)}},
        0.3,
    ]
    readings = [pj.FiniteDifference(grid, 2, form) for form in forms]
    first, *same, other = jax.jit(lambda u: [reading.tendency(Diffusion(1.0), 0.0, u) for reading in readings])(u)
    for rate in same:
        np.testing.assert_array_equal(rate, first)
    assert np.any(np.asarray(other) != np.asarray(first))


LINE = pj.Grid(32, 1.0, periodic=False)


@pytest.mark.parametrize(
    ("boundary", "match"),
    [
        ({"x-": 0.0}, r"wall 'x\+' has no boundary condition"),
        ({"x": 0.0, "y": 0.0}, "'y' is no side of this box"),
        ({"x": "periodic"}, "got 'periodic'"),
        ({"x": AntiPeriodic()}, "AntiPeriodic is for periodic ones"),
        ({"x": Dirichlet}, "A boundary condition is a number"),
        ({"u": {"x": 0.0}, "v": {"x-": 0.0}}, r"wall 'x\+' of component 'v' has no boundary condition"),
    ],
)
def test_conditions_that_do_not_fit_are_named(boundary, match):
    with pytest.raises(ValueError, match=match):
        pj.FiniteDifference(LINE, 2, boundary)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Dirichlet("warm"), "a number, an array or a function"),
        (lambda: Neumann(np.nan), "must be finite"),
        (lambda: Robin(0.0, 0.0, 1.0), "both weights zero"),
        (lambda: Robin(jnp.ones(2), 1.0), "coefficients of a Robin condition are numbers"),
        (
            lambda: pj.FiniteDifference(pj.Grid(32, 1.0, periodic=False, points="nodes"), 2, Robin(2.0, 0.0, 1.0)),
            "is Dirichlet",
        ),
    ],
)
def test_data_that_say_nothing_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_readings_that_a_condition_does_not_allow_are_refused():
    def tendency(grid, boundary, equation):
        reading = pj.FiniteDifference(grid, 2, boundary)
        state = jax.ShapeDtypeStruct((1, *grid.shape), grid.dtype)
        jax.eval_shape(lambda u: reading.tendency(equation, 0.0, u), state)

    with pytest.raises(ValueError, match="flows out there.*Neumann"):
        tendency(LINE, {"x-": 0.0, "x+": Outflow()}, Diffusion(1.0))
    with pytest.raises(ValueError, match=r"'w', which is neither a side.*nor a component of Diffusion"):
        tendency(LINE, {"w": 0.0}, Diffusion(1.0))
    with pytest.raises(ValueError, match=r"has shape \(5,\), and the wall \(32,\)"):
        plane = pj.Grid((32, 24), 1.0, periodic=(True, False))
        tendency(plane, {"y": jnp.zeros(5)}, Diffusion(1.0))

    class Squared(Diffusion):
        def nonlinear(self, t, u):
            return (u**2).derivative(0)

    with pytest.raises(ValueError, match="anti-periodic.*not known whether it is"):
        tendency(pj.Grid(32, 1.0), AntiPeriodic(), Squared(1.0))
