"""`u.diffusion(D)`: div(D grad u), in finite differences as fluxes between the points."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin
from pdejax.elliptic import EllipticOperator
from pdejax.equations import Equation, HeterogeneousDiffusion, NonlinearDiffusion
from pdejax.stretching import TowardsWalls
from pdejax.testing import observed_orders
from tests.fields.test_boundaries import (
    STRETCHED_SIZES,
    STRETCHING,
    TIME,
    Wave,
    assert_order,
    norms,
    orders_of_norms,
    walls_of,
)

KINDS = ["Dirichlet", "Neumann", "Robin", "Dirichlet and Neumann"]
SIZES = {2: (80, 121, 1, 1.7), 4: (80, 121, 1, 1.7), 6: (60, 90, 1, 1.7), 8: (220, 301, 2, 5.0)}
# Either way round: the diffusivities are random.
PAIRS = {pair: tuple(pair) for pair in ("DD", "DN", "RD", "NN", "NR", "RR")}
CONDITIONS = {"D": Dirichlet(), "N": Neumann(), "R": Robin(2.0, 0.5)}


def conductivity(x, t):
    return 0.3 + 0.2 * jnp.sin(2 * x + t)


class Conducted(Equation):
    """u_t = d/dx(D du/dx) - 3 u + s, with the source s that makes `exact` a solution, for one component per kind of
    walls."""

    exact: Wave = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)

    def components(self, ndim):
        return self.names

    def nonlinear(self, t, u):
        def flux(x):
            return conductivity(x, t) * self.exact.slope(x, t)

        def source(coordinates):
            x, one = coordinates[0], jnp.ones_like(coordinates[0])
            return (self.exact.rate(x, t) - jax.jvp(flux, (x,), (one,))[1] + 3 * self.exact(x, t))[None]

        return u.diffusion(u.coordinates.map(lambda x: conductivity(x, t))) - 3 * u + u.coordinates.map(source)


class Given(Equation):
    """u_t = div(D grad u), with the values of D at the points."""

    diffusivity: jax.Array
    names: tuple[str, ...] = eqx.field(static=True, default=("u",))
    mean: str = eqx.field(static=True, default="arithmetic")

    def components(self, ndim):
        return self.names

    def nonlinear(self, t, u):
        return u.diffusion(u.coordinates.map(lambda x: self.diffusivity), self.mean)


def errors_of_solutions(reading, equation, exact, rate):
    """The solutions of `tendency(u) = rate` minus `exact`, at TIME, for components that are linear in themselves alone;
    all columns of all matrices are one batch of one program."""
    count = len(equation.names)
    given = jnp.concatenate([jnp.zeros((1, exact.size)), exact[None], jnp.eye(exact.size)])
    tendency = jax.jit(jax.vmap(lambda v: reading.tendency(equation, TIME, jnp.stack([v] * count))))
    at_rest, at_exact, *along = np.asarray(tendency(given))
    matrices = np.stack(along, axis=-1) - at_rest[..., None]
    errors = []
    for matrix, residual in zip(matrices, np.asarray(rate) - at_exact, strict=True):
        free = np.any(matrix != 0, axis=1)
        correction = np.zeros(exact.size)
        correction[free] = np.linalg.solve(matrix[np.ix_(free, free)], residual[free])
        errors.append(correction)
    return np.stack(errors)


def flux_form_orders(order, points, stretched=False):
    """Of the L2 error of the solution, for each of KINDS, all in one program: (of the whole, of its middle half)."""
    *sizes, k, extent = (STRETCHED_SIZES if stretched else SIZES)[order]
    placed = pj.Stretched(STRETCHING, points) if stretched else points
    u = Wave(k)
    equation = Conducted(u, tuple(KINDS))

    def errors(n):
        grid = pj.Grid(n, extent, periodic=False, origin=-0.3, points=placed)
        reading = pj.FiniteDifference(grid, order, {kind: walls_of(kind, u) for kind in KINDS})
        found = errors_of_solutions(reading, equation, u(grid.axes[0], TIME), u.rate(grid.axes[0], TIME))
        return norms(grid, found)

    return dict(zip(KINDS, orders_of_norms([errors(n) for n in sizes], sizes, points), strict=True))


@pytest.mark.float64
@pytest.mark.parametrize(
    ("points", "order", "stretched"),
    [*itertools.product(["nodes", "centres"], [2, 4, 6, 8], [False]), ("nodes", 4, True), ("centres", 8, True)],
)
def test_solutions_between_walls_converge_with_their_order(points, order, stretched):
    for kind, (whole, middle) in flux_form_orders(order, points, stretched).items():
        assert_order(order, whole, middle, kind)


def matrices(reading, equation, diffusivities):
    """For each diffusivity and component, the matrix of the tendency, one row per free point."""
    names, n = equation.names, reading.grid.shape[0]

    def rates(diffusivity, v):
        given = eqx.tree_at(lambda e: e.diffusivity, equation, diffusivity[None])
        return reading.tendency(given, 0.0, jnp.stack([v] * len(names)))

    of_columns = jax.vmap(rates, in_axes=(None, 0), out_axes=2)
    return np.asarray(jax.jit(jax.vmap(of_columns, in_axes=(0, None)))(jnp.asarray(diffusivities), jnp.eye(n)))


def free_part(matrix):
    free = np.any(matrix != 0, axis=1)
    return matrix[np.ix_(free, free)]


def smooth_diffusivities(x, count, contrast=100.0):
    """Random sums of three cosines and sines, scaled to a contrast."""
    random = np.random.default_rng(0)
    waves = np.concatenate([f(np.pi * k * x[None] / x[-1]) for k in (1, 2, 3) for f in (np.cos, np.sin)])
    logarithm = random.normal(size=(count, 6)) @ waves
    low, high = logarithm.min(axis=1, keepdims=True), logarithm.max(axis=1, keepdims=True)
    return np.exp(np.log(contrast) * (logarithm - low) / (high - low))


@pytest.mark.float64
@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_no_mode_grows_and_no_flux_conserves(points, order):
    grid = pj.Grid(40, 1.0, periodic=False, points=points)
    boundary = {name: {"x-": CONDITIONS[a], "x+": CONDITIONS[b]} for name, (a, b) in PAIRS.items()}
    reading = pj.FiniteDifference(grid, order, boundary)
    equation = Given(jnp.ones((1, 40)), tuple(PAIRS))
    jumps = 10 ** np.random.default_rng(1).uniform(0, 3, size=(3, 40))
    found = matrices(reading, equation, np.concatenate([smooth_diffusivities(np.asarray(grid.axes[0]), 5), jumps]))
    for index, of_components in enumerate(found[: 8 if order == 2 else 5]):
        for name, matrix in zip(PAIRS, of_components, strict=True):
            largest = np.abs(matrix).max()
            assert np.linalg.eigvals(free_part(matrix)).real.max() < 1e-12 * largest, (name, index)
            if order == 2:  # symmetric, hence fluxes that are positive-definite, in the quadrature of the grid
                cells = np.ones(40)
                if points == "nodes":
                    cells[[0, -1]] = 0.5
                symmetric = free_part(cells[:, None] * matrix)
                np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-12 * largest)
    # Between walls without flux something is conserved, the same for every D: the integral, in some quadrature.
    both = np.concatenate([found[0, list(PAIRS).index("NN")], found[1, list(PAIRS).index("NN")]], axis=1)
    weights = np.linalg.svd(both.T)[2][-1]
    weights /= weights[20]
    np.testing.assert_allclose(weights @ both, 0, atol=1e-12 * np.abs(both).max())
    np.testing.assert_allclose(weights[12:28], 1, atol=1e-3)
    assert abs(weights.sum() - (39 if points == "nodes" else 40)) < 1e-6
    if order == 2:
        np.testing.assert_allclose(weights[1:-1], 1, rtol=1e-9)


@pytest.mark.float64
@pytest.mark.parametrize(("order", "points"), [(2, "centres"), (8, "nodes")])
def test_no_mode_grows_however_points_are_stretched(order, points):
    """Thirty times as far apart in the middle as at the walls."""
    grid = pj.Grid(40, 1.0, periodic=False, points=pj.Stretched(TowardsWalls(2.9), points))
    boundary = {name: {"x-": CONDITIONS[a], "x+": CONDITIONS[b]} for name, (a, b) in PAIRS.items()}
    reading = pj.FiniteDifference(grid, order, boundary)
    given = smooth_diffusivities(np.asarray(grid.axes[0]), 3)
    for of_components in matrices(reading, Given(jnp.ones((1, 40)), tuple(PAIRS)), given):
        for name, matrix in zip(PAIRS, of_components, strict=True):
            assert np.linalg.eigvals(free_part(matrix)).real.max() < 1e-12 * np.abs(matrix).max(), name


@pytest.mark.float64
@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_fluxes_are_positive_definite_however_the_diffusivity_jumps(mean):
    """On a periodic axis minus the divergence is the adjoint of the gradient, of every order: what is left is D."""
    grid = pj.Grid(30, 1.0)
    jumps = 10.0 ** np.random.default_rng(5).choice([0, 3], size=(6, 30))
    for order in (2, 8):
        for matrix in matrices(pj.FiniteDifference(grid, order), Given(jnp.ones((1, 30)), mean=mean), jumps)[:, 0]:
            np.testing.assert_allclose(matrix, matrix.T, atol=1e-12 * np.abs(matrix).max())
            next_one, largest = np.linalg.eigvalsh(matrix)[[-2, -1]]
            assert next_one < -1 and abs(largest) < 1e-12 * np.abs(matrix).max()


@pytest.mark.float64
def test_a_checkerboard_decays_and_the_sum_is_kept_on_periodic_axes():
    grid = pj.Grid((16, 12), (1.0, 0.8))
    x, y = grid.coordinates()
    random = np.random.default_rng(2)
    u = jnp.asarray(random.normal(size=(1, 16, 12)))
    diffusivity = jnp.exp(jnp.stack([jnp.sin(2 * np.pi * x), jnp.cos(2.5 * np.pi * y)]))  # one per axis
    checkerboard = jnp.asarray((-1.0) ** (np.arange(16)[:, None] + np.arange(12)))[None]
    lowest = -(np.pi**2) * (16**2 + (12 / 0.8) ** 2)

    def rates(reading):
        given = jax.jit(lambda v: reading.tendency(Given(diffusivity), 0.0, v))(u)
        return given, jax.jit(lambda v: reading.tendency(Given(jnp.ones((1, 16, 12))), 0.0, v))(checkerboard)

    shares = []
    for order in (2, 4):
        rate, of_checkerboard = rates(pj.FiniteDifference(grid, order))
        assert abs(float(jnp.sum(rate))) < 1e-12 * float(jnp.sum(jnp.abs(rate)))
        assert float(jnp.sum(u * rate)) < 0
        share = of_checkerboard / (lowest * checkerboard)
        np.testing.assert_allclose(share, share[0, 0, 0], rtol=1e-12)
        shares.append(float(share[0, 0, 0]))
    np.testing.assert_allclose(shares, [4 / np.pi**2, (7 / 3) ** 2 / np.pi**2], rtol=1e-12)
    # The product of two first derivatives does not see it.
    product = lambda v: pj.FiniteDifference(grid, 4).field(Given(diffusivity), 0.0, v).gradient().divergence().values  # noqa: E731
    assert float(jnp.max(jnp.abs(product(checkerboard)))) < 1e-9


@pytest.mark.float64
def test_finite_differences_agree_with_fourier_in_the_plane():
    """Two components; one D per axis, which the state and time change; anti-periodic along y for finite differences."""

    class Twisted(Equation):
        degree = 3

        def components(self, ndim):
            return ("u", "v")

        def nonlinear(self, t, state):
            u, v = state
            diffusivity = (1.5 + 0.3 * u * u).stack(1.0 + t + 0.2 * u * v)
            return state.diffusion(diffusivity)

    def values(shape, length):
        x, y = pj.Grid(shape, (1.0, length)).coordinates()
        return jnp.stack(
            [jnp.sin(2 * np.pi * x) * jnp.cos(np.pi * y), jnp.cos(2 * np.pi * x + 0.3) * jnp.sin(np.pi * y)]
        )

    order = 4

    def gap(n):
        half, whole = pj.Grid((n, n + 3), 1.0), pj.Grid((n, 2 * n + 6), (1.0, 2.0))
        reading = pj.FiniteDifference(half, order, {"y": AntiPeriodic()})
        got = jax.jit(lambda u: reading.tendency(Twisted(), 0.7, u))(values((n, n + 3), 1.0))
        exact = jax.jit(lambda u: pj.Spectral(whole).tendency(Twisted(), 0.7, u))(values((n, 2 * n + 6), 2.0))
        return float(jnp.max(jnp.abs(got - exact[..., : n + 3])))

    (observed,) = observed_orders([gap(36), gap(54)], [1.5, 1.0])
    assert abs(observed - order) <= 0.2


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_two_layers_between_walls(points):
    """u is linear in either layer and the flux one number: exact with harmonic means and a jump midway between points;
    with arithmetic ones the flux through the jump is that of a medium of half the contrast."""
    n, contrast = 41, 1e-3
    grid = pj.Grid(n, 1.0, periodic=False, points=points)
    x = np.asarray(grid.axes[0])
    jump = (x[14] + x[15]) / 2
    flux = 1 / (jump + (1 - jump) / contrast)
    exact = np.where(x < jump, flux * x, 1 - flux * (1 - x) / contrast)
    errors = {}
    for mean in ("harmonic", "arithmetic"):
        equation = Given(jnp.asarray(np.where(x < jump, 1.0, contrast))[None], mean=mean)
        reading = pj.FiniteDifference(grid, 2, {"x-": 0.0, "x+": 1.0})
        found = errors_of_solutions(reading, equation, jnp.asarray(exact), np.zeros(n))
        errors[mean] = norms(grid, found)[0][0]
    assert errors["harmonic"] < 1e-11
    assert 1e-4 < errors["arithmetic"] < 0.05
    # Where D jumps anywhere: the rows of pdejax.elliptic, written independently, of nodes alike to rounding.
    if points == "nodes":
        rough = 10 ** np.random.default_rng(3).uniform(0, 3, n)
        reading = pj.FiniteDifference(grid, 2, {"x-": 0.0, "x+": Robin(2.0, 0.5)})
        u = np.random.default_rng(4).normal(size=n) * (np.arange(n) > 0)
        rate = reading.tendency(Given(jnp.asarray(rough)[None], mean="harmonic"), 0.0, jnp.asarray(u)[None])[0]
        operator = EllipticOperator(grid, {"x-": 0.0, "x+": Robin(2.0, 0.5)}, rough)
        of_cells = -eqx.filter_jit(lambda a, v: a(v))(operator, jnp.asarray(u[1:]))
        np.testing.assert_allclose(
            of_cells / np.where(np.arange(1, n) == n - 1, 0.5, 1), rate[1:], rtol=1e-10, atol=1e-6
        )


class Conductivity(eqx.Module):
    strength: jax.Array
    phase: jax.Array

    def __call__(self, x):
        return 1.2 + self.strength * jnp.sin(2 * x[0] + self.phase) * jnp.cos(x[-1])


@pytest.mark.float64
def test_gradients_reach_the_parameters_of_the_diffusivity():
    grid = pj.Grid((13, 14), (1.0, 1.3), periodic=(True, False), points=("nodes", "centres"))
    u = jnp.sin(2 * np.pi * grid.coordinates()[0] + 2 * grid.coordinates()[1])[None]

    @jax.jit
    def functional(p):
        reading = pj.FiniteDifference(grid, 2, {"y-": p[0], "y+": Robin(p[1], 0.5, 0.2)})
        heterogeneous = reading.tendency(HeterogeneousDiffusion(Conductivity(p[0], p[1])), 0.0, u)
        return jnp.sum(
            jnp.sin(heterogeneous / 300) + jnp.sin(reading.tendency(NonlinearDiffusion(p[0], p[2]), 0.0, u) / 300)
        )

    p, direction = jnp.array([0.6, 0.4, 0.3]), jnp.array([1.0, -0.7, 0.5])
    slope = float(jnp.vdot(jax.jit(jax.grad(functional))(p), direction))
    ahead, behind = (float(functional(p + step * direction)) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)
    assert abs(slope) > 1e-2


def test_readings_that_make_no_sense_are_refused():
    grid = pj.Grid(16, 1.0, periodic=False)
    u = jnp.ones((1, 16))

    class Squared(Equation):
        def components(self, ndim):
            return ("u",)

        def nonlinear(self, t, u):
            return (u * u).diffusion(u)

    class Turned(Squared):
        def nonlinear(self, t, u):
            return u.diffusion(u)

    one = Given(jnp.ones((1, 16)))
    with pytest.raises(ValueError, match="flows out there.*Neumann"):
        pj.FiniteDifference(grid, 2, {"x-": 0.0, "x+": Outflow()}).tendency(one, 0.0, u)
    with pytest.raises(ValueError, match="no condition is known"):
        pj.FiniteDifference(grid, 2, 0.0).tendency(Squared(), 0.0, u)
    with pytest.raises(ValueError, match=r"one component, or one per axis; this one has 2"):
        pj.FiniteDifference(grid, 2, 0.0).tendency(Given(jnp.ones((2, 16))), 0.0, u)
    with pytest.raises(ValueError, match='"arithmetic" or "harmonic", got \'geometric\''):
        pj.FiniteDifference(grid, 2, 0.0).tendency(Given(jnp.ones((1, 16)), mean="geometric"), 0.0, u)
    with pytest.raises(ValueError, match="diffusivity changes its sign along axis 0"):
        pj.FiniteDifference(pj.Grid(16, 1.0), 2, AntiPeriodic()).tendency(Turned(), 0.0, u)
