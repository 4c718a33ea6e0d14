import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.boundary import AntiPeriodic, Neumann
from pdejax.elliptic import EllipticOperator, darcy, solve_elliptic
from pdejax.elliptic.coarsening import halve
from pdejax.elliptic.multigrid import Multigrid, plan
from pdejax.grid import Grid
from pdejax.testing import check_lowering

rng = np.random.default_rng(1)
matrix_of = eqx.filter_jit(lambda operator: operator.matrix())


def permeability(name, grid):
    """Contrast 1e3: a disc, or 7 x 7 random blocks whose edges lie on no coarse grid."""
    x, y = np.asarray(grid.coordinates()) / np.asarray(grid.extent)[:, None, None]
    if name == "disc":
        return np.where((x - 0.45) ** 2 + (y - 0.55) ** 2 < 0.04, 1e3, 1.0)
    blocks = np.random.default_rng(3).choice([1.0, 1e3], size=(7, 7))
    return np.ones_like(x) if name == "constant" else blocks[tuple(np.minimum((7 * i).astype(int), 6) for i in (x, y))]


@pytest.mark.float64
@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_cycles_depend_neither_on_the_resolution_nor_much_on_the_contrast(points):
    cycles = {}
    for n in (33, 129) if points == "nodes" else (96,):
        grid = Grid((n, n), 1.0, periodic=False, points=points)
        f = jnp.asarray(rng.normal(size=grid.shape))  # all modes at once
        for name in ("constant", "disc", "blocks"):
            _, statistics = darcy(grid, permeability(name, grid), f, 0.0, method="multigrid")
            cycles.setdefault(name, []).append(int(statistics.iterations))
    assert all(max(counts) <= 12 and np.ptp(counts) <= 2 for counts in cycles.values()), cycles


@pytest.mark.float64
@pytest.mark.parametrize(
    "shape, periodic, value",
    [((9,), (False,), 0.0), ((6, 9), (True, False), Neumann()), ((6, 7, 6), (False, False, True), 0.0)],
)
def test_coarse_matrices_are_galerkin_products(shape, periodic, value):
    names = "xyz"[: len(shape)]
    boundary = {name: AntiPeriodic() if wraps else value for name, wraps in zip(names, periodic, strict=True)}
    grid = Grid(shape, 1.0, periodic, points="nodes")
    matrix = matrix_of(EllipticOperator(grid, boundary, np.exp(rng.normal(size=grid.shape))))
    u = rng.normal(size=matrix.shape)

    @eqx.filter_jit
    def halved(matrix, u):
        interpolation, coarse = halve(matrix, range(len(shape)))
        size = coarse.diagonal.size
        p = jax.vmap(interpolation)(jnp.eye(size).reshape(size, *coarse.shape)).reshape(size, -1).T
        return p, matrix.dense(), coarse.dense(), interpolation.transpose(u).reshape(-1)

    p, fine, coarse, restricted = map(np.asarray, halved(matrix, jnp.asarray(u)))
    np.testing.assert_allclose(p.T @ fine @ p, coarse, atol=1e-10)
    np.testing.assert_allclose(restricted, p.T @ u.reshape(-1), atol=1e-12)


@pytest.mark.float64
def test_a_cycle_is_symmetric_and_positive_on_unequal_axes():
    grid = Grid((12, 33), (1.0, 0.4), periodic=(True, False), points="nodes")
    operator = EllipticOperator(grid, {"y-": 0.0, "y+": Neumann()}, np.exp(rng.normal(size=grid.shape)))
    # The second axis is seven times finer and is halved alone until it is not.
    halvings = plan(matrix_of(operator), grid.spacing.tolist())
    assert halvings[:2] == [(1,), (1,)]
    u, v = rng.normal(size=(2, *operator.free_shape))
    spacing = tuple(grid.spacing.tolist())
    cycle = jax.jit(lambda v: Multigrid(operator.matrix(), spacing).cycle(v))
    assert np.vdot(u, cycle(v)) == pytest.approx(np.vdot(v, cycle(u)), rel=1e-10)
    assert np.vdot(u, cycle(u)) > 0


@pytest.mark.float64
def test_an_odd_periodic_axis_has_no_coarser_grid():
    with pytest.raises(ValueError, match="a periodic axis of odd length has no coarser grid"):
        darcy(Grid((99, 101), 1.0), np.ones((99, 101)), 0.0)


@pytest.mark.either
def test_single_precision_and_every_platform():
    grid = Grid((8, 12), 1.0, periodic=False, dtype=jnp.float32)
    a = jnp.asarray(1 + 9 * (rng.random(grid.shape) > 0.5), jnp.float32)
    u, statistics = darcy(grid, a, 1.0, 0.0)
    assert u.dtype == jnp.float32 and statistics.relative_residual < 1e-4

    def cycle(a):
        operator = EllipticOperator(grid, 0.0, a)
        return Multigrid(operator.matrix(), (1.0, 1.0)).cycle(operator.right_hand_side(1.0))

    check_lowering(cycle, a)


@pytest.mark.float64
def test_a_solve_that_misses_its_tolerance_is_an_error():
    grid = Grid((8, 12), 1.0, periodic=False)
    operator = EllipticOperator(grid, 0.0, np.exp(rng.normal(size=grid.shape)))
    with pytest.raises(FloatingPointError, match="in 2 iterations"):
        solve_elliptic(operator, 1.0, max_steps=2)
