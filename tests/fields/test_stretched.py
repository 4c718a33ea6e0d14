"""Finite differences on stretched points: derivatives, eigenvalues, layers, steps, and what is traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Robin
from pdejax.equations import AdvectionDiffusion, Diffusion, Equation, KortewegDeVries
from pdejax.fields.bases import bases_of
from pdejax.fields.eigenmodes import Eigenmodes
from pdejax.solvers import KenCarp4
from pdejax.stretching import Sine, TowardsPoint, TowardsWall, TowardsWalls
from pdejax.testing import Manufactured, observed_orders
from tests.fields.test_boundaries import errors_of_solution, norms


class Derivatives(Equation):
    """The first four derivatives of one component along an axis, as the rates of four."""

    axis: int = 0

    def components(self, ndim):
        return ("a", "b", "c", "d")

    def linear(self, u):
        first, *others = [u[0].derivative(self.axis, order) for order in (1, 2, 3, 4)]
        return first.stack(*others)

    def nonlinear(self, t, u):
        return 0.0 * u


@pytest.mark.float64
@pytest.mark.parametrize(("order", "kind", "turning"), [(2, "nodes", True), (4, "centres", False), (6, "nodes", False)])
def test_derivatives_around_a_stretched_axis_converge_with_their_order(order, kind, turning):
    """The third and fourth too, of periodic functions and of those that change their sign."""
    length = 1.7
    k = (1 if turning else 2) * np.pi / length
    wave = lambda x: jnp.sin(k * x + 0.3) + (0.4 * jnp.cos(3 * k * x) if turning else 0.2 * jnp.cos(2 * k * x))  # noqa: E731
    slopes = [wave]
    for _ in range(4):
        slopes.append(jax.grad(slopes[-1]))

    def gaps(n):
        grid = pj.Grid((n, 2 * order + 1), (length, 1.0), points=(pj.Stretched(Sine(0.3), kind), "nodes"))
        reading = pj.FiniteDifference(grid, order, {"x": AntiPeriodic()} if turning else None)

        @jax.jit
        def gap(x):
            u = jnp.broadcast_to(wave(x)[:, None], (4, *grid.shape))
            exact = jnp.stack([jax.vmap(slope)(x) for slope in slopes[1:]])
            rates = reading.tendency(Derivatives(), 0.0, u)
            return jnp.max(jnp.abs(rates - exact[..., None]), axis=(1, 2))

        return np.asarray(gap(grid.axes[0]))

    coarse, fine = gaps(48), gaps(73)
    for e, f in zip(coarse, fine, strict=True):
        (observed,) = observed_orders([e, f], [1 / 48, 1 / 73])
        assert abs(observed - order) <= 0.2


@pytest.mark.float64
def test_in_the_plane_beside_a_periodic_axis():
    """Transport and diffusion across and along stretched walls, with data that vary along them and in time."""
    u = lambda x, y, t: jnp.sin(2 * np.pi * x / 1.1 + 0.3 * t) * jnp.cos(1.4 * y - 0.2) + jnp.sin(y + t)  # noqa: E731
    slope = lambda x, t: jax.jvp(lambda y: u(x[0], y, t), (x[1],), (jnp.ones_like(x[1]),))[1]  # noqa: E731
    boundary = {
        "y-": Neumann(lambda x, t: -slope(x, t)),
        "y+": Robin(1.0, 0.6, lambda x, t: u(x[0], x[1], t) + 0.6 * slope(x, t)),
    }
    equation = Manufactured(AdvectionDiffusion([0.4, -0.3], [0.2, 0.3]), u)

    def error(shape):
        points = ("nodes", pj.Stretched(TowardsWalls(1.0), "centres"))
        grid = pj.Grid(shape, (1.1, 1.4), periodic=(True, False), origin=(0.2, -0.5), points=points)
        errors = errors_of_solution(pj.FiniteDifference(grid, 4, boundary), equation, lambda x, t: [u(*x, t)])
        return norms(grid, errors)[0][0]

    (observed,) = observed_orders([error((10, 24)), error((15, 36))], [1 / 10, 1 / 15])
    assert abs(observed - 4) <= 0.2


class Carried(Diffusion):
    """u_t = D Lap(u) - u_x / 2, with the transport in the explicit part."""

    def nonlinear(self, t, u):
        return -0.5 * u.derivative(0)


class ManyDiffusions(Equation):
    """u_t = u_xx for each of so many components."""

    names: tuple[str, ...]

    def components(self, ndim):
        return self.names

    def linear(self, u):
        return u.laplacian()

    def nonlinear(self, t, u):
        return 0.0 * u


@pytest.mark.float64
@pytest.mark.parametrize(
    ("order", "kind", "map_"),
    [
        (2, "centres", TowardsWalls(3.0)),
        (4, "nodes", TowardsWalls(2.5)),
        (6, "centres", TowardsPoint(0.3, 5.0)),
        (8, "nodes", TowardsWall(2.5)),
    ],
)
def test_diffusion_has_no_growing_mode_and_no_checkerboard(order, kind, map_):
    """Between all pairs of conditions; what does not decay is the constant between Neumann walls alone."""
    stated = {"D": Dirichlet(), "N": Neumann(), "R": Robin(2.0, 0.5)}
    pairs = ["DD", "NN", "RR", "DN", "NR", "RD"]
    boundary = {pair: {"x-": stated[pair[0]], "x+": stated[pair[1]]} for pair in pairs}
    n = 28
    reading = pj.FiniteDifference(pj.Grid(n, 1.0, periodic=False, points=pj.Stretched(map_, kind)), order, boundary)
    tendency = lambda v: reading.tendency(ManyDiffusions(tuple(pairs)), 0.0, jnp.broadcast_to(v, (len(pairs), n)))  # noqa: E731
    matrices = np.moveaxis(np.asarray(jax.jit(jax.vmap(tendency))(jnp.eye(n))), 0, 2)
    for pair, matrix in zip(pairs, matrices, strict=True):
        held = [kind == "nodes" and end == "D" for end in pair]
        free = slice(int(held[0]), n - int(held[1]))
        values = np.linalg.eigvals(matrix[free, free])
        slowest = np.sort(np.abs(values))[:2]
        if pair == "NN":
            assert slowest[0] < 1e-7 and slowest[1] > 5
            assert np.sort(values.real)[-2] < -5
        else:
            assert values.real.max() < -0.5, pair


@pytest.mark.float64
def test_third_derivatives_around_an_axis_do_not_grow():
    """In one formula they did with these points, by 1.8e6 in place of rounding."""
    grid = pj.Grid(32, 1.0, points=pj.Stretched(Sine(0.8)))
    reading = pj.FiniteDifference(grid, 2)
    rate = lambda v: reading.tendency(KortewegDeVries(0.0, dispersion=1.0), 0.0, v[None])[0]  # noqa: E731
    matrix = np.asarray(jax.jit(jax.vmap(lambda e: jax.jvp(rate, (0 * e,), (e,))[1], out_axes=1))(jnp.eye(32)))
    values = np.linalg.eigvals(matrix)
    assert values.real.max() < 1e-9 * np.abs(values).max()


def layer_error(points, n, order=4):
    """Of -u_x + thickness u_xx = 0 with u(0) = 0, u(1) = 1, whose layer at x = 1 has the thickness 0.01; the largest,
    at the points."""
    thickness = 0.01
    exact = lambda x: np.exp((x - 1) / thickness) * -np.expm1(-x / thickness) / -np.expm1(-1 / thickness)  # noqa: E731
    grid = pj.Grid(n, 1.0, periodic=False, points=points)
    reading = pj.FiniteDifference(grid, order, {"x-": 0.0, "x+": 1.0})
    equation = AdvectionDiffusion(1.0, thickness)
    rate = lambda v: reading.tendency(equation, 0.0, v[None])[0]  # noqa: E731
    zero = jnp.zeros(n)
    start, columns = jax.jit(lambda: (rate(zero), jax.vmap(lambda e: rate(e) - rate(zero), out_axes=1)(jnp.eye(n))))()
    start, matrix = np.asarray(start), np.asarray(columns)
    x = np.asarray(grid.axes[0])
    inner = slice(1, -1) if grid.placement[0] == "nodes" else slice(None)
    solution = np.linalg.solve(matrix[inner, inner], -start[inner])
    return float(np.max(np.abs(solution - exact(x[inner]))))


@pytest.mark.float64
def test_a_thin_layer_needs_far_fewer_points():
    """docs/orders.md has more of them."""
    stretched = layer_error(pj.Stretched(TowardsWall(2.5, "upper")), 40)
    assert stretched < 2e-4
    assert layer_error("nodes", 160) > 3 * stretched


@pytest.mark.float64
def test_the_extent_may_be_batched_and_differentiated_in():
    """Data and weights of the walls included; beside grids built one by one, and central differences."""
    u = jnp.sin(2.3 * jnp.linspace(0, 1, 20) + 0.4)[None]

    def rate(extent):
        grid = pj.Grid(20, extent, periodic=False, points=pj.Stretched(TowardsWalls(1.5), "nodes"))
        reading = pj.FiniteDifference(grid, 4, {"x-": Neumann(lambda x, t: 1.0 + t), "x+": Robin(2.0, 0.5, 0.7)})
        return reading.tendency(AdvectionDiffusion(0.7, 0.2), 0.3, u)

    def total(extent):
        grid = pj.Grid(20, extent, periodic=False, points=pj.Stretched(TowardsWalls(1.5), "nodes"))
        return grid.integrate(rate(extent) ** 2)[0]

    extents = jnp.asarray([1.3, 2.1])
    together, slopes = jax.jit(lambda e: (jax.vmap(rate)(e), jax.vmap(jax.grad(total))(e)))(extents)
    one = jax.jit(lambda e: (rate(e), total(e)))
    for extent, batched, slope in zip(extents, together, slopes, strict=True):
        np.testing.assert_allclose(batched, one(extent)[0], rtol=1e-11, atol=1e-11)
        differences = (one(extent + 1e-5)[1] - one(extent - 1e-5)[1]) / 2e-5
        np.testing.assert_allclose(slope, differences, rtol=1e-6)


@pytest.mark.float64
def test_implicit_steps_equal_explicit_ones():
    """KenCarp4, with the linear part in the eigenmodes of the axis, beside many small steps with the stencils alone;
    one wall is moving."""
    grid = pj.Grid(20, 1.4, periodic=False, points=pj.Stretched(TowardsWall(1.5), "centres"))
    boundary = {"x-": Robin(2.0, 0.3, lambda x, t: jnp.sin(3 * t + 0 * x[0])), "x+": 0.4}
    reading = pj.FiniteDifference(grid, 4, boundary)
    u = 0.4 + jnp.cos(2 * np.pi * grid.coordinates() / 1.4)
    stepper = pj.TimeStepper(Carried(0.1), reading, 0.2, substeps=50, solver=KenCarp4())
    rate = lambda t, v: reading.tendency(Carried(0.1), t, v)  # noqa: E731
    h = 0.2 / 400

    @jax.jit
    def explicit(v):
        # Four stages of low storage: fourth order in a linear problem, second in its data.
        shares = jnp.asarray([[1 / 4, 0], [1 / 3, 1 / 4], [1 / 2, 1 / 3], [1, 1 / 2]])

        def step(v, i):
            return jax.lax.scan(lambda w, s: (v + h * s[0] * rate((i + s[1]) * h, w), None), v, shares)[0], None

        return jax.lax.scan(step, v, jnp.arange(400.0))[0]

    expected = explicit(u)
    np.testing.assert_allclose(jax.jit(lambda v: stepper(v))(u), expected, rtol=0, atol=1e-6)
    assert float(jnp.max(jnp.abs(expected - u))) > 0.1


@pytest.mark.float64
@pytest.mark.parametrize("turning", [False, True])
def test_eigenmodes_of_a_stretched_periodic_axis(turning):
    """The linear part, mode by mode, is that of the stencils; in a plane whose other axis has Fourier modes."""
    grid = pj.Grid((9, 20), (1.0, 1.4), points=("nodes", pj.Stretched(Sine(0.6), "centres")))
    reading = pj.FiniteDifference(grid, 4, {"y": AntiPeriodic()} if turning else None)
    space = Eigenmodes(reading, bases_of(reading, Carried(0.1)))
    v = jnp.asarray(np.random.default_rng(0).normal(size=(1, 9, 20)))

    @jax.jit
    def both(v):
        field = reading.field(Carried(0.1), 0.0, v)
        return space.decode(space.symbol(Carried(0.1)) * space.encode(v)), Carried(0.1).linear(field).values

    by_modes, by_stencils = both(v)
    np.testing.assert_allclose(by_modes, by_stencils, rtol=0, atol=1e-10 * float(jnp.max(jnp.abs(by_stencils))))


def test_what_is_not_stable_or_not_known_is_refused():
    coarse = pj.Grid(24, 1.0, periodic=False, points=pj.Stretched(TowardsWalls(3.0)))
    with pytest.raises(ValueError, match=r"axis 0 neighbouring distances .* factor of 1.68.*order 8.*lower order"):
        pj.FiniteDifference(coarse, 8, 0.0)
    walled = pj.FiniteDifference(coarse, 2, 0.0)
    with pytest.raises(ValueError, match="order 3 was asked for along axis 0.*walls and stretched"):
        walled.tendency(KortewegDeVries(), 0.0, jnp.zeros((1, 24)))
