"""Closures that sum by parts: the identity, the energies, the orders of solutions, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Outflow, Robin
from pdejax.equations import Advection, AdvectionDiffusion, Diffusion, Equation
from pdejax.fields import bases_of
from pdejax.fields.axis_bases import WallBasis
from pdejax.fields.line import along, bands
from pdejax.fields.stencil_weights import central_weights
from pdejax.fields.summation_by_parts import derivative_by_parts, outward_slope, quadrature_weights
from pdejax.testing import observed_orders
from tests.fields.test_boundaries import KINDS, TIME, Wave, walls_of

ORDERS = (2, 4, 6, 8)
BY_PARTS = "summation by parts"


class EveryKind(Equation):
    """One component for each kind of walls: u_t = 0.3 u_xx - 0.5 u_x - 3 u; with an outflow, u_t = -0.9 u_x - u."""

    def components(self, ndim):
        return tuple(f"u{i}" for i in range(len(KINDS)))

    def linear(self, u):
        *diffused, carried = u
        diffused = diffused[0].stack(*diffused[1:])
        return (0.3 * diffused.laplacian() - 3.0 * diffused).stack(-1.0 * carried)

    def nonlinear(self, t, u):
        *diffused, carried = u.derivative(0)
        return (-0.5 * diffused[0].stack(*diffused[1:])).stack(-0.9 * carried)


class TwiceDifferentiated(Wave):
    def up_to_curvature(self, x, t):
        slope = lambda s: self.slope(s, t)  # noqa: E731
        return self(x, t), *jax.jvp(slope, (x,), (jnp.ones_like(x),))


# Odd numbers of points, and far enough from coarse: what reaches a wall comes back as a sawtooth, a small one, which
# tells even numbers of cells from odd ones.
NUM_POINTS = (121, 181)
# With 2m = order: in the interior it is 2m. Where diffusion reaches the walls the error there is of order m + 2, in a
# layer of a few cells, of which the L2 norm sees the square root of its thickness; what is transported carries the
# error of order m + 1 along.
DIFFUSED, TRANSPORTED = {2: 2, 4: 4, 6: 5.5, 8: 6.5}, {2: 2, 4: 3, 6: 4, 8: 5}


def orders_by_parts(order):
    """Of the L2 error of solutions between walls of each kind, between two resolutions."""
    u = TwiceDifferentiated(1.0)
    boundary = {f"u{i}": walls_of(kind, u) for i, kind in enumerate(KINDS)}

    def errors(n):
        grid = pj.Grid(n, 1.7, periodic=False, origin=-0.3, points="nodes")
        reading = pj.FiniteDifference(grid, order, boundary, closure=BY_PARTS)

        # The tendency is affine and the components do not see each other: at zero, and at each node in all at once.
        probes = jnp.broadcast_to(jnp.eye(n + 1, n, -1)[:, None], (n + 1, len(KINDS), n))
        of_probes = jax.jit(jax.vmap(lambda v: reading.tendency(EveryKind(), TIME, v)))(probes)
        added, *columns = np.asarray(of_probes)
        value, slope, curvature = np.asarray(jax.jit(u.up_to_curvature)(grid.axes[0], TIME))
        exact = [0.3 * curvature - 0.5 * slope - 3 * value] * (len(KINDS) - 1) + [-0.9 * slope - value]
        matrices = np.stack(columns, axis=-1) - added[..., None]
        found = np.zeros((len(KINDS), n))
        for correction, start, matrix, rate in zip(found, added, matrices, exact, strict=True):
            free = np.any(matrix != 0, axis=1)  # the row of a held node is zero
            gap = matrix @ value + start - rate
            correction[free] = np.linalg.solve(matrix[np.ix_(free, free)], -gap[free])
        return np.sqrt(np.mean(found**2, axis=1))

    pairs = zip(KINDS, *map(errors, NUM_POINTS), strict=True)
    return {kind: observed_orders(list(pair), [1 / (n - 1) for n in NUM_POINTS])[0] for kind, *pair in pairs}


@pytest.mark.float64
@pytest.mark.parametrize("order", ORDERS)
def test_solutions_between_walls_converge_with_their_order(order):
    for kind, observed in orders_by_parts(order).items():
        expected = (TRANSPORTED if "outflow" in kind else DIFFUSED)[order]
        assert abs(observed - expected) <= 0.2, (kind, observed)


@pytest.mark.float64
def test_operators_sum_by_parts_and_are_exact_for_polynomials():
    n = 37
    x = np.arange(n) / n  # for powers of moderate size

    @jax.jit
    def operators(u):
        ends = lambda order: [outward_slope(u, 0, end, order) for end in (0, -1)]  # noqa: E731
        return [(*(derivative_by_parts(u, 0, k, order) for k in (1, 2)), *ends(order)) for order in ORDERS]

    for order, found in zip(ORDERS, operators(jnp.eye(n)), strict=True):
        first, second, low, high = map(np.asarray, found)
        weights, m, ends = quadrature_weights(n, order), order // 2, np.zeros((n, n))
        ends[0, 0], ends[-1, -1] = -1, 1
        q, energy = weights[:, None] * first, -weights[:, None] * second
        assert np.all(weights > 0)
        np.testing.assert_allclose(q + q.T, ends, atol=1e-14)
        np.testing.assert_allclose(np.sum(q, axis=0), ends[-1] + ends[0], atol=1e-14)  # sum of H D1 f = f_N - f_0
        np.testing.assert_allclose(energy, energy.T, atol=1e-14)
        # Positive but for constants, and no smaller for a checkerboard than that of the interior stencil.
        assert np.sum(np.linalg.eigvalsh(energy) < 1e-3) == 1
        assert np.min(np.linalg.eigvalsh(energy)) > -1e-13
        symbols = [2 * np.abs(central_weights(k, order)[1]) for k in (1, 2)]
        checkerboard = (-1.0) ** np.arange(n)
        assert checkerboard @ energy @ checkerboard > 0.8 * n * np.sum(symbols[1]) / 2
        # An explicit step is no shorter than on a periodic axis.
        angles = np.linspace(0, np.pi, 400)[:, None] * np.arange(1, m + 1)
        of_first = np.max(np.sin(angles) @ symbols[0][m + 1 :])
        assert np.max(np.abs(np.linalg.eigvals(first[1:, 1:]))) <= of_first * (1 + 1e-9)
        assert np.max(np.abs(np.linalg.eigvals(second))) <= np.sum(symbols[1]) / 2 * (1 + 1e-9)
        slopes = np.zeros((n, n))
        slopes[0], slopes[-1] = low / weights[0], high / weights[0]
        for power in range(order + 2):
            u, du = x**power, power * x ** max(power - 1, 0) / n
            ddu = power * (power - 1) * x ** max(power - 2, 0) / n**2
            if power <= order:  # the quadrature
                np.testing.assert_allclose(weights @ du, u[-1] - u[0], atol=1e-13)
            rows = slice(None) if power <= m else slice(order, -order)
            if power <= order:
                np.testing.assert_allclose((first @ u)[rows], du[rows], atol=1e-14)
            rows = slice(None) if power <= m + 1 else slice(order, -order)
            np.testing.assert_allclose(((second + slopes) @ u)[rows], ddu[rows], atol=1e-13)


@pytest.mark.float64
def test_energies_follow_the_estimates_of_the_continuous_ones():
    """In the plane, for random states: transport loses what leaves, to rounding; diffusion only takes away."""
    grid = pj.Grid((19, 23), (1.0, 1.3), periodic=False, points="nodes")
    hx, hy = map(float, grid.spacing)
    leaving = {"x-": 0.0, "y-": 0.0, "x+": Outflow(), "y+": Outflow()}
    mixed = {"x-": 0.0, "y-": Robin(3.0, 0.5), "x+": Robin(0.4, 1.1), "y+": Dirichlet()}
    stated = [(Advection([0.8, 0.5]), leaving), (AdvectionDiffusion([0.8, 0.0], 0.01), mixed)]

    @jax.jit
    def rates(u):
        result = []
        for order in (4, 8):
            readings = [
                (equation, pj.FiniteDifference(grid, order, walls, closure=BY_PARTS)) for equation, walls in stated
            ]
            states = [reading.hold(equation, 0.0, u) for equation, reading in readings]
            pairs = zip(readings, states, strict=True)
            result.append((states, [reading.tendency(equation, 0.0, v) for (equation, reading), v in pairs]))
        return result

    for key in range(3):
        u = jax.random.normal(jax.random.key(key), (1, *grid.shape))
        for order, (states, tendencies) in zip((4, 8), rates(u), strict=True):
            wx, wy = hx * quadrature_weights(19, order), hy * quadrature_weights(23, order)
            growth = [2 * np.sum(np.outer(wx, wy) * v[0] * rate[0]) for v, rate in zip(states, tendencies, strict=True)]
            leaves = 0.8 * np.sum(wy * states[0][0, -1] ** 2) + 0.5 * np.sum(wx * states[0][0, :, -1] ** 2)
            np.testing.assert_allclose(growth[0], -leaves, rtol=1e-11)
            assert max(growth) < 0, (order, growth)


@pytest.mark.float64
def test_no_mode_grows_at_any_order_and_transport_stays_bounded():
    """Where ghost values of orders 6 and 8 grow; then an inflow that changes in time, for 50 crossings of the box."""
    n, dt, num_steps, frequency = 41, 0.02, 2500, 3.0
    grid = pj.Grid(n, 1.0, periodic=False, points="nodes")
    thin = AdvectionDiffusion(1.0, 0.002)  # cells that are 12 times as wide as the layer at the wall
    stated = [
        (Advection(1.0), {"x-": 0.0, "x+": Outflow()}),
        (thin, {"x-": 0.0, "x+": Neumann()}),
        (thin, Dirichlet()),
        (Diffusion(1.0), {"x-": Robin(2.0, 0.5), "x+": Neumann()}),
    ]

    def matrix_of(order, equation, walls, closure=BY_PARTS):
        reading = pj.FiniteDifference(grid, order, walls, closure=closure)
        return jax.vmap(lambda v: reading.tendency(equation, 0.0, v[None])[0], out_axes=1)(jnp.eye(n))

    @jax.jit
    def matrices(inflow):
        ghosts = [matrix_of(order, *stated[0], closure="ghost values") for order in (6, 8)]
        by_parts = [[matrix_of(order, *case) for case in stated] for order in ORDERS]
        entering = {"x-": Dirichlet(inflow), "x+": Outflow()}
        readings = [pj.FiniteDifference(grid, order, entering, closure=BY_PARTS) for order in ORDERS]
        columns = [reading.tendency(Advection(1.0), 0.0, jnp.zeros((1, n)))[0] for reading in readings]
        return ghosts, by_parts, columns

    def fastest(matrix):
        free = np.any(matrix != 0, axis=1)
        return np.max(np.linalg.eigvals(matrix[np.ix_(free, free)]).real)

    ghosts, by_parts, columns = jax.tree.map(np.asarray, matrices(jnp.ones(())))
    assert min(map(fastest, ghosts)) > 1
    for order, of_order, column in zip(ORDERS, by_parts, columns, strict=True):
        assert max(map(fastest, of_order)) < 0, order
        for matrix in of_order:  # twice the rate of the energy is a quadratic form, for every state a negative one
            free = np.any(matrix != 0, axis=1)
            form = (quadrature_weights(n, order)[:, None] * matrix)[np.ix_(free, free)] / (n - 1)
            assert np.max(np.linalg.eigvalsh(form + form.T)) < 1e-12 * np.max(np.abs(form))
        transport, x, time = of_order[0], np.asarray(grid.axes[0]), dt * num_steps
        rate = lambda u, t: transport @ u - column * np.sin(frequency * t)  # noqa: B023, E731
        u = np.sin(frequency * x)
        for t in dt * np.arange(num_steps):  # the classical Runge-Kutta method
            a = rate(u, t)
            b = rate(u + dt / 2 * a, t + dt / 2)
            c = rate(u + dt / 2 * b, t + dt / 2)
            u = u + dt / 6 * (a + 2 * b + 2 * c + rate(u + dt * c, t + dt))
        gap = (u - np.sin(frequency * (x - time)))[1:]
        assert np.max(np.abs(gap)) < {2: 5e-3, 4: 5e-4, 6: 1e-4, 8: 3e-5}[order]


@pytest.mark.float64
def test_eigenmodes_are_real_and_orthogonal_in_the_norm():
    grid = pj.Grid(29, 1.0, periodic=False, points="nodes")
    reading = pj.FiniteDifference(grid, 8, {"x-": Neumann(), "x+": Robin(2.0, 0.5)}, closure=BY_PARTS)
    ((basis,),) = bases_of(reading, Diffusion(1.0))
    assert isinstance(basis, WallBasis)
    values, vectors = np.asarray(basis.eigenvalues), np.asarray(basis.vectors)
    assert np.isrealobj(values) and np.max(values) < 0
    norm = vectors.T @ (quadrature_weights(29, 8)[:, None] * vectors)
    np.testing.assert_allclose(norm, np.eye(29), atol=1e-13)


@pytest.mark.float64
@pytest.mark.parametrize("order", [4, 8])
def test_bands_hold_all_that_a_line_does(order):
    """Rows at walls look further than those inside."""
    grid = pj.Grid(31, 1.3, periodic=False, points="nodes")
    reading = pj.FiniteDifference(grid, order, {"x-": 0.0, "x+": Robin(2.0, 0.5)}, closure=BY_PARTS)
    line = along(reading, 0, reading.walls.by_component["*"][0])
    rows = np.asarray(jax.jit(lambda: bands(line, {1: -0.7, 2: 0.3}))())
    width, matrix = rows.shape[1] // 2, np.zeros((31, 31))
    for i, k in np.ndindex(rows.shape):
        if 0 <= i + k - width < 31:
            matrix[i, i + k - width] = rows[i, k]
    u = np.random.default_rng(0).normal(size=31) * (np.arange(31) > 0)
    rate = jax.jit(lambda v: reading.tendency(AdvectionDiffusion(0.7, 0.3), 0.0, v[None])[0])(jnp.asarray(u))
    np.testing.assert_allclose((matrix @ u)[1:], rate[1:], rtol=1e-10, atol=1e-10)


@pytest.mark.float64
def test_gradients_reach_the_data_and_the_weights():
    grid = pj.Grid((9, 11), (1.0, 1.3), periodic=(True, False), points="nodes")
    u = jnp.sin(3 * grid.coordinates()[1] + grid.coordinates()[0])[None]
    along = jnp.linspace(0.0, 1.0, 9)

    @jax.jit
    def functional(values):
        walls = {"y-": Neumann(values), "y+": Robin(values[0], 0.5 + values[1], values)}
        reading = pj.FiniteDifference(grid, 4, walls, closure=BY_PARTS)
        return jnp.sum(jnp.sin(reading.tendency(AdvectionDiffusion([0.3, 0.7], 0.2), 0.0, u)))

    direction = jnp.cos(3 * along)
    slope = float(jnp.vdot(jax.grad(functional)(along + 0.5), direction))
    ahead, behind = (float(functional(along + 0.5 + step * direction)) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)
    assert abs(slope) > 1e-3


def test_fluxes_are_conserved_and_periodic_axes_are_as_before():
    """A product has no condition; what enters and leaves through the walls is all that its divergence sums to."""

    class Conserved(Equation):
        def components(self, ndim):
            return ("u",)

        def linear(self, u):
            return u * 0.0

        def nonlinear(self, t, u):
            return -((u * u).derivative(1) + u.derivative(0))

    grid, box = pj.Grid((19, 26), (1.0, 1.3), periodic=(True, False), points="nodes"), pj.Grid((17, 20), 1.0)

    @jax.jit
    def rates(u):
        part, equation = u[:, :17, :20], Conserved()
        of = lambda *reading, **closure: pj.FiniteDifference(*reading, **closure).tendency(equation, 0.0, part)  # noqa: E731
        between = pj.FiniteDifference(grid, 6, Neumann(), closure=BY_PARTS).tendency(equation, 0.0, u)
        return between[0], of(box, 8, None, closure=BY_PARTS), of(box, 8, None, closure="ghost values")

    u = 1 + 0.3 * np.sin(np.arange(19.0 * 26)).reshape(1, 19, 26)
    between, *periodic = rates(jnp.asarray(u, grid.dtype))
    change = np.sum(np.asarray(between) @ quadrature_weights(26, 6)) * float(grid.spacing[1])
    np.testing.assert_allclose(change, np.sum(u[0, :, 0] ** 2 - u[0, :, -1] ** 2), atol=300 * np.finfo(grid.dtype).eps)
    np.testing.assert_array_equal(*periodic)


def test_what_does_not_sum_by_parts_is_refused():
    nodes = pj.Grid(32, 1.0, periodic=False, points="nodes")

    class Third(Diffusion):
        def linear(self, u):
            return u.derivative(0, 3)

    class OfProduct(Diffusion):
        def linear(self, u):
            return (u * u).laplacian()

    with pytest.raises(ValueError, match=r"axis 0 has 'centres'.*points=\"nodes\""):
        pj.FiniteDifference(pj.Grid(32, 1.0, periodic=False), 2, 0.0, closure=BY_PARTS)
    with pytest.raises(ValueError, match="'ghost values' or 'summation by parts', got 'sbp'"):
        pj.FiniteDifference(nodes, 2, 0.0, closure="sbp")
    with pytest.raises(ValueError, match="order 3 along axis 0.*ghost values"):
        pj.FiniteDifference(nodes, 2, 0.0, closure=BY_PARTS).tendency(Third(1.0), 0.0, jnp.ones((1, 32)))
    with pytest.raises(ValueError, match="flows out there"):
        pj.FiniteDifference(nodes, 2, Outflow(), closure=BY_PARTS).tendency(Diffusion(1.0), 0.0, jnp.ones((1, 32)))
    with pytest.raises(ValueError, match="no condition is known"):
        pj.FiniteDifference(nodes, 2, 0.0, closure=BY_PARTS).tendency(OfProduct(1.0), 0.0, jnp.ones((1, 32)))
