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
    # That know nothing of each other, and of which each may have walls of its own: one program in place of many.
    num_components: int = eqx.field(default=1, static=True)

    def components(self, ndim):
        return tuple(f"u{index}" for index in range(self.num_components))

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

            values = jax.vmap(at)(x.reshape(u.ndim, -1).T).reshape(1, *x.shape[1:])
            return jnp.broadcast_to(values, (self.num_components, *x.shape[1:]))

        return u.coordinates.map(source)


def error_of_steady_state(equation, discretisation):
    """What the state whose tendency vanishes differs by from `exact`, at every point: of a linear equation, by a dense
    solve at the points that it depends on."""
    grid = discretisation.grid
    shape = (equation.num_components, *grid.shape)

    @jax.jit  # called twice with as many states: one program
    def evaluated(states):
        def at(u):
            u = u.reshape(shape)
            gap = discretisation.hold(equation, 0.0, u) - equation.exact(*grid.coordinates(), 0.0)
            return discretisation.tendency(equation, 0.0, u).ravel(), gap

        return jax.vmap(at)(states)

    size = int(np.prod(shape))
    rest, *columns = np.asarray(evaluated(np.eye(size + 1, size, -1))[0])
    matrix = np.stack(columns, axis=1) - rest[:, None]
    free = np.max(np.abs(matrix), axis=0) > 1e-9 * np.max(np.abs(matrix))
    states = np.zeros((size + 1, size))
    states[0, free] = np.linalg.solve(matrix[np.ix_(free, free)], -rest[free])
    return np.asarray(evaluated(states)[1][0])


PAIRS = [
    (Dirichlet(1.0), Dirichlet(0.0)),
    (Neumann(1.0), Neumann(0.5)),
    (Dirichlet(0.3), Neumann(1.0)),
    (Robin(2.0, 1.0), Neumann(0.0)),
    (Robin(0.1, 3.0), Robin(50.0, 0.2)),
    (Robin(1.0, 0.0), Robin(1.0, 1.0)),
]


@pytest.mark.float64
@pytest.mark.parametrize("n", [8, 33])
def test_no_heat_grows_between_any_two_walls(n):
    class Heat(Diffusion):  # one component for each pair
        def components(self, ndim):
            return tuple(f"u{index}" for index in range(len(PAIRS)))

    walls = {f"u{index}": {"x-": low, "x+": high} for index, (low, high) in enumerate(PAIRS)}
    discretisation = pj.Chebyshev(chebyshev_grid(n), walls)
    rates = lambda u: discretisation.tendency(Heat(1.0), 0.0, jnp.broadcast_to(u, (len(PAIRS), n)))  # noqa: E731
    matrices = np.asarray(jax.jit(jax.jacfwd(rates))(np.zeros(n)))
    largest = 0.2 * n**4 / 1.3**2
    for (low, high), matrix in zip(PAIRS, matrices, strict=True):
        eigenvalues = np.linalg.eigvals(matrix)
        assert np.max(np.abs(eigenvalues)) < largest
        assert np.max(eigenvalues.real) < 10 * ROUNDING * largest
        assert np.max(np.abs(eigenvalues.imag)) < 10 * ROUNDING * largest
        # One mode for each interior point; the wall values have none of their own.
        moving = np.sum(eigenvalues.real < -1e-9 * largest)
        assert moving == n - 2 - (isinstance(low, Neumann) and isinstance(high, Neumann))


@pytest.mark.float64
@pytest.mark.parametrize("order", [1, 2])
def test_the_error_of_a_derivative_decays_spectrally_to_its_rounding_floor(order):
    sizes = (8, 12, 16, 20, 32)
    points = [-np.cos(np.pi * np.arange(n) / (n - 1)) for n in sizes]
    derivative = lambda u: applied(differentiation_matrix(len(u), order), u, 0)  # noqa: E731
    found = jax.jit(lambda points: [derivative(1 / (2 + s)) for s in points])(points)
    exact = [[-1 / (2 + s) ** 2, 2 / (2 + s) ** 3][order - 1] for s in points]
    *errors, floor = (np.max(np.abs(u - v)) for u, v in zip(found, exact, strict=True))
    # The pole at s = -2 makes the coefficients of u decay as (2 + sqrt 3)^-k: four points are worth a factor of 194,
    # less the growth of the derivative of the last one, which is at most (12 / 8)^4.
    assert np.all(np.array(errors[:-1]) / errors[1:] > 194 / (12 / 8) ** 4)
    # The floor: eps N^2 of a first derivative, eps N^4 of a second one.
    assert floor < ROUNDING * 32 ** (2 * order)


@pytest.mark.float64
@pytest.mark.parametrize("n", [16, 33])
def test_matrix_and_recurrence_are_the_same_derivative(n):
    s = -np.cos(np.pi * np.arange(n) / (n - 1))
    u = np.stack([np.exp(np.sin(2 * s)), s**3])[:, :, None]

    @jax.jit
    def both(u):
        by_matrix = [applied(differentiation_matrix(n, order), u, 1) for order in (1, 2)]
        return by_matrix, [differentiate_by_coefficients(u, 1, order) for order in (1, 2)]

    for by_matrix, by_recurrence in zip(*both(u), strict=True):
        np.testing.assert_allclose(by_recurrence, by_matrix, atol=1e-10)
    np.testing.assert_allclose(by_matrix[1, :, 0], 6 * s, atol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize("n", [9, 16])
def test_coefficients_are_those_of_chebyshev_polynomials(n):
    s = -np.cos(np.pi * np.arange(n) / (n - 1))
    given = np.random.default_rng(0).normal(size=(n, 2))
    values = np.polynomial.chebyshev.chebval(s, given).T
    both = jax.jit(lambda values, given: (chebyshev_coefficients(values, 0), chebyshev_values(given, 0)))
    found_coefficients, found_values = both(values, given)
    np.testing.assert_allclose(found_coefficients, given, atol=1e-13)
    np.testing.assert_allclose(found_values, values, atol=1e-13)


def test_many_points_are_differentiated_by_the_recurrence():
    grid = chebyshev_grid(520, 2.0, -1.0)
    text = str(jax.make_jaxpr(lambda u: pj.Chebyshev(grid, 0.0).tendency(Diffusion(1.0), 0.0, u))(jnp.zeros((1, 520))))
    assert "fft" in text and "dot_general" not in text


@pytest.mark.float64
@pytest.mark.parametrize(
    ("pairs", "velocity", "diffusivity"),
    [
        (["dirichlet dirichlet", "neumann dirichlet", "dirichlet robin", "robin neumann"], 1.5, 1.0),
        (["dirichlet outflow", "robin outflow"], 1.5, 0.0),
        (["outflow dirichlet"], -1.5, 0.0),
    ],
)
def test_steady_transport_and_heat_is_exact_between_walls_of_every_kind(pairs, velocity, diffusivity):
    exact = lambda x, t: jnp.exp(jnp.sin(2 * x))  # noqa: E731
    kinds = [dict(zip(("x-", "x+"), pair.split(), strict=True)) for pair in pairs]
    walls = {f"u{index}": conditions(stated, exact) for index, stated in enumerate(kinds)}

    def errors(n):
        equation = Stirred(exact, velocity, diffusivity, len(pairs))
        return np.max(np.abs(error_of_steady_state(equation, pj.Chebyshev(chebyshev_grid(n), walls))), axis=1)

    # Entire, so the error falls faster than by any factor per point.
    assert np.all(errors(14) > 1e-8)
    assert np.all(errors(28) < 2e-12)


@pytest.mark.float64
def test_walls_of_different_kinds_meet_at_corners():
    exact = lambda x, y, t: jnp.exp(jnp.sin(x) + 0.5 * y) + x * jnp.cos(y)  # noqa: E731
    kinds = [
        {"x-": "dirichlet", "x+": "neumann", "y-": "neumann", "y+": "robin"},
        {"x-": "robin", "x+": "neumann", "y-": "dirichlet", "y+": "neumann"},
        {"x-": "robin", "x+": "robin", "y-": "dirichlet", "y+": "dirichlet"},
    ]
    grid = chebyshev_grid((15, 17), (0.9, 0.8), (0.2, -0.4))
    walls = {f"u{index}": conditions(stated, exact) for index, stated in enumerate(kinds)}
    error = error_of_steady_state(Stirred(exact, num_components=3), pj.Chebyshev(grid, walls))
    np.testing.assert_allclose(error, 0.0, atol=1e-11)


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
    np.testing.assert_allclose(error_of_steady_state(Stirred(exact), pj.Chebyshev(grid, walls)), 0.0, atol=1e-10)


@pytest.mark.float64
def test_dirichlet_goes_before_other_conditions_at_a_corner_and_the_later_axis_before_the_earlier():
    grid = chebyshev_grid((5, 6))
    stated = [{"x": 1.0, "y": Neumann(2.0)}, {"x": 1.0, "y-": 2.0, "y+": 3.0}]
    readings = [pj.Chebyshev(grid, walls) for walls in stated]
    held = jax.jit(lambda u: [reading.hold(Diffusion(1.0), 0.0, u)[0] for reading in readings])
    mixed, values = held(np.zeros((1, 5, 6)))
    np.testing.assert_array_equal(mixed[0], np.ones(6))
    np.testing.assert_array_equal(values[0], [2, 1, 1, 1, 1, 3])


@pytest.mark.float64
def test_heat_follows_walls_whose_temperature_changes():
    def exact(x, t):
        return jnp.sin(3 * x + 1) * jnp.exp(-9 * t) + x * x + 2 * t

    grid = chebyshev_grid(16)
    at = jax.jit(lambda t: exact(grid.axes[0], t)[None])
    walls = conditions({"x-": "dirichlet", "x+": "dirichlet"}, exact)
    solution = pj.solve(Diffusion(1.0), pj.Chebyshev(grid, walls), at(0.3), [0.3, 0.33], rtol=1e-10)
    np.testing.assert_allclose(solution.u[-1], at(0.33), atol=1e-10)


@pytest.mark.float64
def test_heat_decays_between_walls_as_it_should():
    # cos(k x) has no slope at 0, and meets a u + du/dx = 0 at L where k tan(k L) = a.
    length, value_weight = 1.3, 2.0
    low, high = 0.0, np.pi / 2 / length
    for _ in range(60):
        k = (low + high) / 2
        low, high = (k, high) if k * np.tan(k * length) < value_weight else (low, k)
    grid = chebyshev_grid(14, length, 0.0)
    mode = np.cos(k * np.asarray(grid.axes[0]))[None]
    walls = {"x-": Neumann(), "x+": Robin(value_weight, 1.0)}
    stepper = pj.TimeStepper(Diffusion(1.0), pj.Chebyshev(grid, walls), 0.05, 60)
    np.testing.assert_allclose(jax.jit(lambda u: stepper(u))(mode), mode * np.exp(-(k**2) * 0.05), atol=1e-11)


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
    # Zeros at the walls of the given state: its values there follow from the interior.
    inside = np.pad(np.ones((14, 16)), 1)

    @jax.jit
    def rates(t):
        u, expected = jax.jvp(lambda s: exact(*grid.coordinates(), s), (t,), (1.0,))
        return pj.Chebyshev(grid, walls).tendency(equation, t, u * inside), expected

    np.testing.assert_allclose(*rates(0.4), atol=2e-9)


@pytest.mark.float64
def test_gradients_reach_the_data_at_the_walls():
    grid = chebyshev_grid((8, 7))
    state = jnp.asarray(np.cos(3 * np.asarray(grid.coordinates())[:1] + 1))

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
    flat, steps = np.asarray(flat), 1e-5 * np.eye(flat.size)
    differences = [(float(both(flat + step)[0]) - float(both(flat - step)[0])) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-9)
    assert np.all(np.abs(np.asarray(gradient)[[0, 4, -2, -1]]) > 1e-5)


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
    x, y = np.asarray(grid.coordinates())
    e = np.exp(np.sin(x)) * np.cos(1.3 * y + 0.3)
    source = (np.cos(x) ** 2 - np.sin(x) - 1.3**2) * e
    (sides,) = Walls(grid, conditions(kinds, exact)).of(("u",), "")

    @jax.jit
    def solved(sources):
        q = solve_poisson(sources, grid, sides, 0.4)
        return q - exact(*grid.coordinates(), 0.4), grid.integrate(q)

    gap, integral = map(np.asarray, solved(np.stack([source, source])))
    if set(kinds.values()) == {"neumann"}:
        np.testing.assert_allclose(integral, 0.0, atol=1e-13)
        gap = gap - gap[0, 0, 0]
    np.testing.assert_allclose(gap, 0.0, atol=2e-12)


@pytest.mark.float64
def test_between_slopes_the_mean_is_zero_and_a_source_out_of_balance_gives_nothing():
    grid = chebyshev_grid(7)
    (sides,) = Walls(grid, Neumann()).of(("u",), "")
    sources = np.stack([np.random.default_rng(0).normal(size=7), np.ones(7)])
    q, integral = jax.jit(lambda f: (q := solve_poisson(f, grid, sides, 0.0), grid.integrate(q)))(sources)
    np.testing.assert_allclose(integral, 0.0, atol=1e-14)
    assert np.max(np.abs(q[0])) > 0.01
    np.testing.assert_allclose(q[1], 0.0, atol=1e-14)


@pytest.mark.float64
@pytest.mark.parametrize("high", ["dirichlet", "robin", "neumann"])
def test_poisson_between_walls_and_around_a_periodic_axis(high):
    exact = lambda x, y, z, t: jnp.exp(jnp.sin(y)) * jnp.cos(2 * x) * jnp.sin(z) + (y - 0.7) ** 2  # noqa: E731
    grid = pj.Grid((8, 18, 7), (TURN, 1.4, TURN), periodic=(True, False, True), points=("nodes", "chebyshev", "nodes"))
    x, y, z = np.asarray(grid.coordinates())
    part = np.exp(np.sin(y)) * np.cos(2 * x) * np.sin(z)
    source = (np.cos(y) ** 2 - np.sin(y) - 5) * part + 2
    low = "neumann" if high == "neumann" else "dirichlet"
    (sides,) = Walls(grid, conditions({"y-": low, "y+": high}, exact)).of(("u",), "")
    q = jax.jit(lambda f: solve_poisson(f, grid, sides, 0.0))(source[None])[0]
    gap = q - (part + (y - 0.7) ** 2)
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

    @jax.jit
    def rates(t):
        u, expected = jax.jvp(lambda s: spun(*grid.coordinates(), s)[:1], (t,), (1.0,))
        return pj.Chebyshev(grid, walls).tendency(equation, t, u), expected

    np.testing.assert_allclose(*rates(0.2), atol=1e-8)
    with pytest.raises(ValueError, match="'stream_function'.*has no boundary conditions"):
        reading = pj.Chebyshev(grid, {"vorticity": 0.0})
        jax.eval_shape(lambda u: reading.tendency(NavierStokesVorticity(0.1), 0.0, u), np.zeros((1, 14, 17)))


@pytest.mark.float64
def test_interpolation_is_exact_for_polynomials_and_waves():
    kinds = ("chebyshev", "nodes", "centres")
    grid = pj.Grid((7, 10, 9), (1.5, 2.0, 3.0), (False, True, True), (0.3, -1.0, 0.5), kinds)

    def exact(x, y, z):
        wave = np.cos(TURN * 4 * (y + 1) / 2 + 0.4) + np.sin(TURN * 4 * (z - 0.5) / 3)
        return (x**6 - 2 * x**2) * wave + x

    origin, extent = (np.asarray(part)[:, None, None] for part in (grid.origin, grid.extent))
    places = origin + extent * np.random.default_rng(1).uniform(size=(3, 4, 2))
    u = exact(*np.asarray(grid.coordinates()))
    at = jax.jit(lambda u, x: interpolate(u, grid, x))
    got = at(np.stack([u, 2 * u])[None], places)
    assert got.shape == (1, 2, 4, 2)
    np.testing.assert_allclose(got[0, 1], 2 * exact(*places), atol=2e-12)
    # Of any values, the highest modes in them included.
    u = np.random.default_rng(2).normal(size=grid.shape)
    np.testing.assert_allclose(at(u, grid.coordinates()), u, atol=2e-12)


@pytest.mark.float64
def test_interpolation_of_smooth_functions_and_its_derivatives():
    grid = chebyshev_grid(28, 1.5, 0.3)
    exact = lambda x: np.exp(np.sin(3 * x))  # noqa: E731
    # Ends and a point of the grid among them: there, too, the derivative is that of the polynomial.
    points = np.asarray(grid.axes[0])
    places = np.asarray([0.3, 0.77, points[5], 1.8])

    @jax.jit
    def all_of(u, x):
        values, slopes = jax.jvp(lambda x: interpolate(u, grid, x[None]), (x,), (jnp.ones(4),))
        return values, slopes, jax.grad(lambda v: interpolate(v, grid, x[None])[1])(u)

    values, slopes, weights = all_of(exact(points), places)
    np.testing.assert_allclose(values, exact(places), atol=1e-12)
    np.testing.assert_allclose(slopes, 3 * np.cos(3 * places) * exact(places), atol=1e-10)
    # Linear in u: the gradient is the weights, which sum to one.
    np.testing.assert_allclose(np.sum(weights), 1.0, atol=1e-12)


@pytest.mark.either
def test_single_precision_stays_so():
    exact = lambda x, y, t: x**2 * y + t  # noqa: E731
    grid = chebyshev_grid((8, 9), dtype=jnp.float32)
    kinds = {"x-": "robin", "x+": "neumann", "y-": "dirichlet", "y+": "dirichlet"}
    discretisation = pj.Chebyshev(grid, conditions(kinds, exact))
    x, y = np.asarray(grid.coordinates())
    u = (exact(x, y, 0) * np.pad(np.ones((6, 7), np.float32), 1))[None]
    both = jax.jit(lambda u: (discretisation.tendency(Diffusion(0.1), 0.0, u), discretisation.norm(jnp.ones_like(u))))
    rate, norm = both(u)
    assert rate.dtype == u.dtype == np.float32
    np.testing.assert_allclose(rate[0, 1:-1, 1:-1], (0.2 * y)[1:-1, 1:-1], atol=1e-3)
    np.testing.assert_allclose(norm, 1.0, rtol=1e-6)
    (sides,) = discretisation.walls.of(("u",), "")
    stepper = pj.TimeStepper(Diffusion(0.1), discretisation, 0.01)
    poisson = lambda u: solve_poisson(u, grid, sides, 0.0)  # noqa: E731
    for function in (stepper, poisson, lambda u: interpolate(u, grid, jnp.ones(2))):
        assert jax.eval_shape(function, u).dtype == jnp.float32


@pytest.mark.either
def test_a_stepper_keeps_the_contract_on_every_platform():
    grid = pj.Grid((9, 8), (1.0, TURN), periodic=(False, True), points=("chebyshev", "nodes"))
    x, y = np.asarray(grid.coordinates())
    walls = {"x-": Robin(1.0, 0.5, 0.2), "x+": Neumann(lambda x, t: jnp.sin(x[1]) * t)}
    stepper = pj.TimeStepper(AdvectionDiffusion(1.0, 0.1), pj.Chebyshev(grid, walls), 1e-2, 4, diffrax.Heun())
    check_stepper(stepper, jnp.asarray(np.cos(x + y)[None]))


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
