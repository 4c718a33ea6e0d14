import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin
from pdejax.equations import AdvectionDiffusion, Burgers, Diffusion, Equation, NavierStokesVorticity
from pdejax.fields import interpolate
from pdejax.fields.chebyshev_poisson import solve_poisson
from pdejax.fields.chebyshev_polynomials import (
    applied,
    chebyshev_coefficients,
    chebyshev_values,
    differentiate_by_coefficients,
    differentiation_matrix,
)
from pdejax.sides import Walls
from pdejax.testing import check_lowering, check_stepper

TURN = 2 * np.pi
ROUNDING = np.finfo(float).eps


def chebyshev_grid(shape, extent=1.3, origin=0.2, **options):
    return pj.Grid(shape, extent, periodic=False, origin=origin, points="chebyshev", **options)


def condition(kind, exact, axis, outward):
    """A condition of this kind that `exact(*x, t)` meets at the wall whose normal points along `outward * e_axis`."""

    def slope(x, t):
        along = lambda s: exact(*[s if a == axis else x[a] for a in range(len(x))], t)  # noqa: E731
        return outward * jax.jvp(along, (x[axis],), (jnp.ones_like(x[axis]),))[1]

    value = lambda x, t: exact(*x, t)  # noqa: E731
    return {
        "dirichlet": Dirichlet(value),
        "neumann": Neumann(slope),
        "robin": Robin(2.0, 0.7, lambda x, t: 2.0 * value(x, t) + 0.7 * slope(x, t)),
        "outflow": Outflow(),
    }[kind]


def conditions(kinds, exact):
    """`{"x-": "dirichlet", ...}` with the data of an exact solution."""
    outward = {"-": -1, "+": 1}
    return {side: condition(kind, exact, "xyz".index(side[0]), outward[side[1]]) for side, kind in kinds.items()}


class Stirred(Equation):
    """u_t = Lap u + a u_xy - c u_x + s: coupled directions, so that the corners take part; s makes `exact` steady."""

    exact: object = eqx.field(static=True)
    velocity: float = 1.5
    diffusivity: float = 1.0

    def components(self, ndim):
        return ("u",)

    def operator(self, u):
        total = u.laplacian() * self.diffusivity - u.derivative(0) * self.velocity
        return total + u.derivative(0).derivative(1) * 0.4 if u.ndim == 2 else total

    def linear(self, u):
        return self.operator(u)

    def nonlinear(self, t, u):
        def source(x):
            steady = lambda p: self.exact(*p, 0.0)  # noqa: E731
            hessian = jax.hessian(steady)
            gradient = jax.grad(steady)

            def at(p):
                h = hessian(p)
                cross = 0.4 * h[0, 1] if u.ndim == 2 else 0.0
                return self.velocity * gradient(p)[0] - self.diffusivity * jnp.trace(h) - cross

            return jax.vmap(at)(x.reshape(u.ndim, -1).T).reshape(1, *x.shape[1:])

        return u.coordinates.map(source)


def steady_state(equation, discretisation):
    """The state whose tendency vanishes, of a linear equation: a dense solve at the points that it depends on."""
    shape = (1, *discretisation.grid.shape)
    tendency = lambda u: discretisation.tendency(equation, 0.0, u.reshape(shape)).ravel()  # noqa: E731

    size = int(np.prod(shape))
    rest, *columns = np.asarray(jax.jit(jax.vmap(tendency))(jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size)])))
    matrix = np.stack(columns, axis=1) - rest[:, None]
    free = np.max(np.abs(matrix), axis=0) > 1e-9 * np.max(np.abs(matrix))
    u = np.zeros(rest.shape)
    u[free] = np.linalg.solve(matrix[np.ix_(free, free)], -rest[free])
    return discretisation.hold(equation, 0.0, jnp.asarray(u.reshape(shape)))


@pytest.mark.float64
@pytest.mark.parametrize("n", [8, 33])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (Dirichlet(1.0), Dirichlet(0.0)),
        (Neumann(1.0), Neumann(0.5)),
        (Dirichlet(0.3), Neumann(1.0)),
        (Robin(2.0, 1.0), Neumann(0.0)),
        (Robin(0.1, 3.0), Robin(50.0, 0.2)),
        (Robin(1.0, 0.0), Robin(1.0, 1.0)),
    ],
)
def test_no_heat_grows_between_any_two_walls(low, high, n):
    grid = chebyshev_grid(n)
    discretisation = pj.Chebyshev(grid, {"x-": low, "x+": high})
    rate = lambda u: discretisation.tendency(Diffusion(1.0), 0.0, u[None])[0]  # noqa: E731
    eigenvalues = np.linalg.eigvals(np.asarray(jax.jacfwd(rate)(jnp.zeros(n))))
    largest = 0.2 * n**4 / 1.3**2
    assert np.max(np.abs(eigenvalues)) < largest
    assert np.max(eigenvalues.real) < 10 * ROUNDING * largest
    assert np.max(np.abs(eigenvalues.imag)) < 10 * ROUNDING * largest
    # One mode for each interior point; the wall values have none of their own.
    moving = np.sum(eigenvalues.real < -1e-9 * largest)
    assert moving == n - 2 - (isinstance(low, Neumann) and isinstance(high, Neumann))


@pytest.mark.float64
@pytest.mark.parametrize("order", [1, 2])
def test_the_error_of_a_derivative_decays_spectrally_to_its_rounding_floor(order):
    def error(n):
        s = jnp.asarray(-np.cos(np.pi * np.arange(n) / (n - 1)))
        u = 1 / (2 + s)
        exact = [-1 / (2 + s) ** 2, 2 / (2 + s) ** 3][order - 1]
        return float(jnp.max(jnp.abs(applied(differentiation_matrix(n, order), u, 0) - exact)))

    # The pole at s = -2 makes the coefficients of u decay as (2 + sqrt 3)^-k: four points are worth a factor of 194,
    # less the growth of the derivative of the last one, which is at most (12 / 8)^4.
    errors = np.array([error(n) for n in (8, 12, 16, 20)])
    assert np.all(errors[:-1] / errors[1:] > 194 / (12 / 8) ** 4)
    # The floor: eps N^2 of a first derivative, eps N^4 of a second one.
    assert error(32) < ROUNDING * 32 ** (2 * order)


@pytest.mark.float64
@pytest.mark.parametrize("n", [16, 33])
def test_matrix_and_recurrence_are_the_same_derivative(n):
    s = -np.cos(np.pi * np.arange(n) / (n - 1))
    u = jnp.asarray(np.stack([np.exp(np.sin(2 * s)), s**3]))[:, :, None]
    for order in (1, 2):
        by_matrix = applied(differentiation_matrix(n, order), u, 1)
        np.testing.assert_allclose(differentiate_by_coefficients(u, 1, order), by_matrix, atol=1e-10)
    np.testing.assert_allclose(by_matrix[1, :, 0], 6 * s, atol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize("n", [9, 16])
def test_coefficients_are_those_of_chebyshev_polynomials(n):
    s = -np.cos(np.pi * np.arange(n) / (n - 1))
    given = np.random.default_rng(0).normal(size=(n, 2))
    values = np.polynomial.chebyshev.chebval(s, given).T
    np.testing.assert_allclose(chebyshev_coefficients(jnp.asarray(values), 0), given, atol=1e-13)
    np.testing.assert_allclose(chebyshev_values(jnp.asarray(given), 0), values, atol=1e-13)


def test_many_points_are_differentiated_by_the_recurrence():
    grid = chebyshev_grid(520, 2.0, -1.0)
    text = str(jax.make_jaxpr(lambda u: pj.Chebyshev(grid, 0.0).tendency(Diffusion(1.0), 0.0, u))(jnp.zeros((1, 520))))
    assert "fft" in text and "dot_general" not in text


@pytest.mark.float64
@pytest.mark.parametrize(
    ("low", "high", "velocity", "diffusivity"),
    [
        ("dirichlet", "dirichlet", 1.5, 1.0),
        ("neumann", "dirichlet", 1.5, 1.0),
        ("dirichlet", "robin", 1.5, 1.0),
        ("robin", "neumann", 1.5, 1.0),
        ("dirichlet", "outflow", 1.5, 0.0),
        ("outflow", "dirichlet", -1.5, 0.0),
        ("robin", "outflow", 1.5, 0.0),
    ],
)
def test_steady_transport_and_heat_is_exact_between_walls_of_every_kind(low, high, velocity, diffusivity):
    exact = lambda x, t: jnp.exp(jnp.sin(2 * x))  # noqa: E731
    walls = conditions({"x-": low, "x+": high}, exact)

    def error(n):
        grid = chebyshev_grid(n)
        discretisation = pj.Chebyshev(grid, walls)
        u = steady_state(Stirred(exact, velocity, diffusivity), discretisation)
        return float(jnp.max(jnp.abs(u[0] - exact(grid.axes[0], 0.0))))

    # Entire, so the error falls faster than by any factor per point.
    assert error(14) > 1e-8
    assert error(28) < 2e-12


@pytest.mark.float64
@pytest.mark.parametrize(
    "kinds",
    [
        {"x-": "dirichlet", "x+": "neumann", "y-": "neumann", "y+": "robin"},
        {"x-": "robin", "x+": "neumann", "y-": "dirichlet", "y+": "neumann"},
        {"x-": "robin", "x+": "robin", "y-": "dirichlet", "y+": "dirichlet"},
    ],
)
def test_walls_of_different_kinds_meet_at_corners(kinds):
    exact = lambda x, y, t: jnp.exp(jnp.sin(x) + 0.5 * y) + x * jnp.cos(y)  # noqa: E731
    grid = chebyshev_grid((15, 17), (0.9, 0.8), (0.2, -0.4))
    discretisation = pj.Chebyshev(grid, conditions(kinds, exact))
    u = steady_state(Stirred(exact), discretisation)
    np.testing.assert_allclose(u[0], exact(*grid.coordinates(), 0.0), atol=1e-11)


@pytest.mark.float64
@pytest.mark.parametrize("axis", [0, 1])
def test_a_periodic_axis_beside_walls(axis):
    def exact(x, y, t):
        wall, turn = (y, x) if axis else (x, y)
        return jnp.exp(jnp.sin(wall)) * jnp.cos(3 * turn) + jnp.sin(turn)

    shape = (12, 15) if axis else (15, 12)
    extent = (TURN, 1.3) if axis else (1.3, TURN)
    grid = pj.Grid(shape, extent, periodic=(axis == 1, axis == 0), points=("nodes", "chebyshev")[:: 1 if axis else -1])
    name = "xy"[axis]
    walls = conditions({f"{name}-": "robin", f"{name}+": "neumann"}, exact)
    u = steady_state(Stirred(exact), pj.Chebyshev(grid, walls))
    np.testing.assert_allclose(u[0], exact(*grid.coordinates(), 0.0), atol=1e-11)


@pytest.mark.float64
def test_dirichlet_goes_before_other_conditions_at_a_corner_and_the_later_axis_before_the_earlier():
    grid = chebyshev_grid((5, 6))
    held = lambda walls: pj.Chebyshev(grid, walls).hold(Diffusion(1.0), 0.0, jnp.zeros((1, 5, 6)))[0]  # noqa: E731
    u = held({"x": 1.0, "y": Neumann(2.0)})
    np.testing.assert_array_equal(u[0], np.ones(6))
    u = held({"x": 1.0, "y-": 2.0, "y+": 3.0})
    np.testing.assert_array_equal(u[0], [2, 1, 1, 1, 1, 3])


@pytest.mark.float64
def test_heat_follows_walls_whose_temperature_changes():
    def exact(x, t):
        return jnp.sin(3 * x + 1) * jnp.exp(-9 * t) + x * x + 2 * t

    grid = chebyshev_grid(16)
    x = grid.axes[0]
    walls = conditions({"x-": "dirichlet", "x+": "dirichlet"}, exact)
    solution = pj.solve(Diffusion(1.0), pj.Chebyshev(grid, walls), exact(x, 0.3)[None], [0.3, 0.33], rtol=1e-10)
    np.testing.assert_allclose(solution.u[-1, 0], exact(x, 0.33), atol=1e-10)


@pytest.mark.float64
def test_heat_decays_between_walls_as_it_should():
    # cos(k x) has no slope at 0, and meets a u + du/dx = 0 at L where k tan(k L) = a.
    length, value_weight = 1.3, 2.0
    low, high = 0.0, np.pi / 2 / length
    for _ in range(60):
        k = (low + high) / 2
        low, high = (k, high) if k * np.tan(k * length) < value_weight else (low, k)
    grid = chebyshev_grid(14, length, 0.0)
    mode = jnp.cos(k * grid.axes[0])[None]
    walls = {"x-": Neumann(), "x+": Robin(value_weight, 1.0)}
    stepper = pj.TimeStepper(Diffusion(1.0), pj.Chebyshev(grid, walls), 0.05, 60)
    np.testing.assert_allclose(eqx.filter_jit(stepper)(mode), mode * np.exp(-(k**2) * 0.05), atol=1e-11)


@pytest.mark.float64
def test_components_meet_their_own_conditions():
    def exact(x, y, t):
        return jnp.stack([jnp.exp(jnp.sin(x + t)) * jnp.cos(y), jnp.sin(x * y - 2 * t) + x])

    grid = chebyshev_grid((16, 18), (1.0, 1.2), (0.1, -0.3))
    of = lambda c: lambda x, y, t: exact(x, y, t)[c]  # noqa: E731
    walls = {
        "v": conditions({"x-": "neumann", "x+": "robin", "y-": "dirichlet", "y+": "neumann"}, of(1)),
        "u": conditions({"x-": "dirichlet", "x+": "dirichlet", "y-": "neumann", "y+": "neumann"}, of(0)),
    }
    equation = pj.testing.Manufactured(Burgers(0.3), exact)
    at = lambda t: exact(*grid.coordinates(), t)  # noqa: E731
    t = 0.4
    rate = jax.jvp(at, (t,), (1.0,))[1]
    # Zeros at the walls of the given state: its values there follow from the interior.
    inside = jnp.zeros(grid.shape).at[1:-1, 1:-1].set(1.0)
    tendency = jax.jit(lambda u: pj.Chebyshev(grid, walls).tendency(equation, t, u))(at(t) * inside)
    np.testing.assert_allclose(tendency, rate, atol=2e-9)


@pytest.mark.float64
def test_gradients_reach_the_data_at_the_walls():
    grid = chebyshev_grid((8, 7))
    state = jnp.cos(3 * grid.coordinates()[:1] + 1)

    class Rising(eqx.Module):
        speed: jax.Array

        def __call__(self, x, t):
            return jnp.sin(x[1]) + self.speed * t

    def size_of_tendency(parameters):
        speed, slopes, weights = parameters
        walls = {"x-": Rising(speed), "x+": Neumann(slopes), "y-": Robin(weights[0], weights[1], 0.4), "y+": 0.0}
        rate = pj.Chebyshev(grid, walls).tendency(AdvectionDiffusion(0.4, 0.5), 0.3, state)
        return grid.norm(rate)[0]

    parameters = (jnp.asarray(0.7), jnp.linspace(0.2, 0.9, 7), jnp.asarray([1.1, 0.6]))
    flat, unflatten = jax.flatten_util.ravel_pytree(parameters)
    both = jax.jit(jax.value_and_grad(lambda p: size_of_tendency(unflatten(p))))
    gradient = both(flat)[1]
    steps = 1e-5 * jnp.eye(flat.size)
    differences = [(both(flat + step)[0] - both(flat - step)[0]) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-9)
    assert np.all(np.abs(gradient[jnp.array([0, 4, -2, -1])]) > 1e-5)


@pytest.mark.float64
@pytest.mark.parametrize(
    "kinds",
    [
        {"x-": "dirichlet", "x+": "dirichlet", "y-": "dirichlet", "y+": "dirichlet"},
        {"x-": "neumann", "x+": "robin", "y-": "dirichlet", "y+": "neumann"},
        {"x-": "dirichlet", "x+": "neumann", "y-": "robin", "y+": "robin"},
        {"x-": "neumann", "x+": "neumann", "y-": "neumann", "y+": "neumann"},
    ],
)
def test_poisson_is_solved_directly_between_walls_of_every_kind(kinds):
    exact = lambda x, y, t: jnp.exp(jnp.sin(x)) * jnp.cos(1.3 * y + 0.3) + x * y + t * x  # noqa: E731
    grid = chebyshev_grid((18, 21), (1.5, 1.2), (0.2, -0.3))
    x, y = grid.coordinates()
    e = jnp.exp(jnp.sin(x)) * jnp.cos(1.3 * y + 0.3)
    source = (jnp.cos(x) ** 2 - jnp.sin(x) - 1.3**2) * e
    (sides,) = Walls(grid, conditions(kinds, exact)).of(("u",), "")
    sources = jnp.stack([source, source])
    q = jax.jit(lambda f: solve_poisson(f, grid, sides, 0.4))(sources)
    gap = q - exact(x, y, 0.4)
    if set(kinds.values()) == {"neumann"}:
        np.testing.assert_allclose(grid.integrate(q), 0.0, atol=1e-13)
        gap = gap - gap[0, 0, 0]
    np.testing.assert_allclose(gap, 0.0, atol=2e-12)


@pytest.mark.float64
def test_between_slopes_the_mean_is_zero_and_a_source_out_of_balance_gives_nothing():
    grid = chebyshev_grid(7)
    (sides,) = Walls(grid, Neumann()).of(("u",), "")
    rough = jnp.asarray(np.random.default_rng(0).normal(size=(1, 7)))
    q = solve_poisson(jnp.concatenate([rough, jnp.ones((1, 7))]), grid, sides, 0.0)
    np.testing.assert_allclose(grid.integrate(q), 0.0, atol=1e-14)
    assert jnp.max(jnp.abs(q[0])) > 0.01
    np.testing.assert_allclose(q[1], 0.0, atol=1e-14)


@pytest.mark.float64
@pytest.mark.parametrize("high", ["dirichlet", "robin", "neumann"])
def test_poisson_between_walls_and_around_a_periodic_axis(high):
    exact = lambda x, y, z, t: jnp.exp(jnp.sin(y)) * jnp.cos(2 * x) * jnp.sin(z) + (y - 0.7) ** 2  # noqa: E731
    grid = pj.Grid((8, 18, 7), (TURN, 1.4, TURN), periodic=(True, False, True), points=("nodes", "chebyshev", "nodes"))
    x, y, z = grid.coordinates()
    part = jnp.exp(jnp.sin(y)) * jnp.cos(2 * x) * jnp.sin(z)
    source = (jnp.cos(y) ** 2 - jnp.sin(y) - 5) * part + 2
    low = "neumann" if high == "neumann" else "dirichlet"
    (sides,) = Walls(grid, conditions({"y-": low, "y+": high}, exact)).of(("u",), "")
    gap = jax.jit(lambda f: solve_poisson(f, grid, sides, 0.0))(source[None])[0] - exact(x, y, z, 0.0)
    if high == "neumann":
        gap = gap - gap[0, 0, 0]
    np.testing.assert_allclose(gap, 0.0, atol=2e-12)


@pytest.mark.float64
def test_a_stream_function_between_walls_has_conditions_by_its_own_name():
    def exact(x, y, t):
        psi = jnp.sin(x) * (1 + 0.3 * jnp.cos(t)) * jnp.cosh(y)
        return -0.0 * psi, psi

    # A rotation is added, for a vorticity: psi = sin(x) cosh(y) has none.
    def spun(x, y, t):
        psi = exact(x, y, t)[1] + jnp.sin(2 * x) * jnp.exp(y + t)
        return jnp.stack([3 * jnp.sin(2 * x) * jnp.exp(y + t), psi])

    grid = pj.Grid((14, 17), (TURN, 1.1), periodic=(True, False), points=("nodes", "chebyshev"))
    of = lambda c: lambda x, y, t: spun(x, y, t)[c]  # noqa: E731
    walls = {
        "vorticity": conditions({"y-": "dirichlet", "y+": "neumann"}, of(0)),
        "stream_function": conditions({"y-": "neumann", "y+": "dirichlet"}, of(1)),
    }
    equation = pj.testing.Manufactured(NavierStokesVorticity(0.1), spun)
    at = lambda t: spun(*grid.coordinates(), t)[:1]  # noqa: E731
    tendency = jax.jit(lambda u: pj.Chebyshev(grid, walls).tendency(equation, 0.2, u))(at(0.2))
    np.testing.assert_allclose(tendency, jax.jvp(at, (0.2,), (1.0,))[1], atol=1e-8)
    with pytest.raises(ValueError, match="'stream_function'.*has no boundary conditions"):
        pj.Chebyshev(grid, {"vorticity": 0.0}).tendency(NavierStokesVorticity(0.1), 0.0, at(0.0))


@pytest.mark.float64
def test_interpolation_is_exact_for_polynomials_and_waves():
    kinds = ("chebyshev", "nodes", "centres")
    grid = pj.Grid((7, 10, 9), (1.5, 2.0, 3.0), (False, True, True), (0.3, -1.0, 0.5), kinds)

    def exact(x, y, z):
        wave = jnp.cos(TURN * 4 * (y + 1) / 2 + 0.4) + jnp.sin(TURN * 4 * (z - 0.5) / 3)
        return (x**6 - 2 * x**2) * wave + x

    places = grid.origin[:, None, None] + grid.extent[:, None, None] * np.random.default_rng(1).uniform(size=(3, 4, 2))
    u = exact(*grid.coordinates())
    at = jax.jit(lambda u, x: interpolate(u, grid, x))
    got = at(jnp.stack([u, 2 * u])[None], places)
    assert got.shape == (1, 2, 4, 2)
    np.testing.assert_allclose(got[0, 1], 2 * exact(*places), atol=2e-12)
    # Of any values, the highest modes in them included.
    u = jnp.asarray(np.random.default_rng(2).normal(size=grid.shape))
    np.testing.assert_allclose(at(u, grid.coordinates()), u, atol=2e-12)


@pytest.mark.float64
def test_interpolation_of_smooth_functions_and_its_derivatives():
    grid = chebyshev_grid(28, 1.5, 0.3)
    exact = lambda x: jnp.exp(jnp.sin(3 * x))  # noqa: E731
    # Ends and a point of the grid among them: there, too, the derivative is that of the polynomial.
    places = jnp.asarray([0.3, 0.77, float(grid.axes[0][5]), 1.8])
    at = jax.jit(lambda u, x: interpolate(u, grid, x[None]))
    u = exact(grid.axes[0])
    np.testing.assert_allclose(at(u, places), exact(places), atol=1e-12)
    slopes = jax.jvp(lambda x: at(u, x), (places,), (jnp.ones(4),))[1]
    np.testing.assert_allclose(slopes, jax.jvp(exact, (places,), (jnp.ones(4),))[1], atol=1e-10)
    # Linear in u: the gradient is the weights, which sum to one.
    np.testing.assert_allclose(jnp.sum(jax.grad(lambda v: at(v, places)[1])(u)), 1.0, atol=1e-12)


def test_single_precision_stays_so():
    exact = lambda x, y, t: x**2 * y + t  # noqa: E731
    grid = chebyshev_grid((8, 9), dtype=jnp.float32)
    kinds = {"x-": "robin", "x+": "neumann", "y-": "dirichlet", "y+": "dirichlet"}
    discretisation = pj.Chebyshev(grid, conditions(kinds, exact))
    x, y = grid.coordinates()
    inside = jnp.zeros(grid.shape, jnp.float32).at[1:-1, 1:-1].set(1.0)
    u = (exact(x, y, 0.0) * inside)[None]
    rate = jax.jit(lambda u: discretisation.tendency(Diffusion(0.1), 0.0, u))(u)
    assert rate.dtype == jnp.float32
    np.testing.assert_allclose(rate[0, 1:-1, 1:-1], (0.2 * y)[1:-1, 1:-1], atol=1e-3)
    np.testing.assert_allclose(discretisation.norm(jnp.ones_like(u)), 1.0, rtol=1e-6)
    (sides,) = discretisation.walls.of(("u",), "")
    stepper = pj.TimeStepper(Diffusion(0.1), discretisation, 0.01)
    poisson = lambda u: solve_poisson(u, grid, sides, 0.0)  # noqa: E731
    for function in (stepper, poisson, lambda u: interpolate(u, grid, jnp.ones(2))):
        assert jax.eval_shape(function, u).dtype == jnp.float32


def test_a_stepper_keeps_the_contract_on_every_platform():
    grid = pj.Grid((9, 8), (1.0, TURN), periodic=(False, True), points=("chebyshev", "nodes"))
    x, y = grid.coordinates()
    walls = {"x-": Robin(1.0, 0.5, 0.2), "x+": Neumann(lambda x, t: jnp.sin(x[1]) * t)}
    stepper = pj.TimeStepper(AdvectionDiffusion(1.0, 0.1), pj.Chebyshev(grid, walls), 1e-2, 4, diffrax.Heun())
    check_stepper(stepper, jnp.cos(x + y)[None])


def test_transforms_and_direct_solves_lower_everywhere():
    grid = pj.Grid((9, 8), (1.0, TURN), periodic=(False, True), points=("chebyshev", "nodes"))
    (sides,) = Walls(grid, {"x-": Robin(1.0, 0.5), "x+": 0.0}).of(("u",), "")
    shape = jax.ShapeDtypeStruct((1, 9, 8), jnp.float32)
    check_lowering(lambda u: solve_poisson(u, grid, sides, 0.0), shape)
    check_lowering(lambda u: differentiate_by_coefficients(u, 1, 2), shape)
    check_lowering(lambda u: interpolate(u, grid, jnp.ones((2, 3))), shape)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: pj.Chebyshev(pj.Grid(16, 1.0)), "periodic along all: use Spectral"),
        (lambda: pj.Chebyshev(pj.Grid(16, 1.0, periodic=False), 0.0), "axis 0 has 'centres': use Grid"),
        (lambda: pj.Chebyshev(chebyshev_grid(3), 0.0), "at least four points between walls, axis 0 has 3"),
        (lambda: pj.Chebyshev(chebyshev_grid(9)), "wall 'x-' has no boundary condition"),
        (
            lambda: pj.Chebyshev(
                pj.Grid((9, 8), 1.0, (False, True), points=("chebyshev", "nodes")), {"x": 0.0, "y": AntiPeriodic()}
            ),
            "do not change sign: for AntiPeriodic axes use FiniteDifference",
        ),
        (lambda: pj.Spectral(chebyshev_grid(9)), "axes .0. are not periodic.*Chebyshev"),
        (lambda: pj.FiniteDifference(chebyshev_grid(9), 2, 0.0), "axis 0 has Chebyshev points.*Chebyshev"),
        (
            lambda: interpolate(jnp.zeros(9), pj.Grid(9, 1.0, periodic=False), jnp.zeros((1, 2))),
            "axis 0 has 'centres' between walls",
        ),
        (lambda: interpolate(jnp.zeros(9), chebyshev_grid(9), jnp.zeros((2, 3))), r"shape \(2, 3\)"),
        (lambda: interpolate(jnp.zeros(8), chebyshev_grid(9), jnp.zeros((1, 3))), r"shape \(9,\) but the array"),
    ],
)
def test_what_does_not_fit_is_named(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.parametrize(
    ("walls", "match"),
    [
        ({"x-": Outflow(), "*": 0.0}, "Outflow along axis 0 states none"),
        (Robin(1.0, 1.0), r"stand along axes \[0, 1\]"),
    ],
)
def test_poisson_refuses_what_it_cannot_solve(walls, match):
    grid = chebyshev_grid((6, 7))
    (sides,) = Walls(grid, walls).of(("u",), "")
    with pytest.raises(ValueError, match=match):
        solve_poisson(jnp.zeros((1, 6, 7)), grid, sides, 0.0)
