import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin
from pdejax.elliptic import EllipticOperator, darcy
from pdejax.grid import Grid
from pdejax.testing import observed_orders

pytestmark = pytest.mark.float64
rng = np.random.default_rng(0)


def conditions(kind, exact, slope):
    """The condition of a kind that `exact(x)` with outward derivative `slope(x, axis, sign)` meets."""

    def at(axis, sign):
        if kind == "Dirichlet":
            return Dirichlet(lambda x, t: exact(x))
        if kind == "Neumann":
            return Neumann(lambda x, t: slope(x, axis, sign))
        return Robin(2.0, 0.5, lambda x, t: 2.0 * exact(x) + 0.5 * slope(x, axis, sign))

    return {f"{name}{end}": at(a, s) for a, name in enumerate("xyz") for end, s in (("-", -1), ("+", 1))}


# -div(a grad u) + c u = f with u, a and c smooth and no symmetry between the axes.
def exact(x):
    return sum(jnp.sin(1.3 * x[i] + 0.4 * (i + 1)) * jnp.cos(0.7 * x[i - 1]) for i in range(len(x)))


def gradient(x, axis):
    n = len(x)
    after = (axis + 1) % n
    total = 1.3 * jnp.cos(1.3 * x[axis] + 0.4 * (axis + 1)) * jnp.cos(0.7 * x[axis - 1])
    return total - 0.7 * jnp.sin(1.3 * x[after] + 0.4 * (after + 1)) * jnp.sin(0.7 * x[axis])


def slope(x, axis, sign):
    return sign * gradient(x, axis)


@eqx.filter_jit
def error_on(grid, kind):
    x = grid.coordinates()
    a, reaction = 1 + 0.3 * x[0], 1 + x[0]
    if grid.ndim == 1:  # both factors depend on the one coordinate
        p, q = 1.3 * x[0] + 0.4, 0.7 * x[0]
        first = 1.3 * jnp.cos(p) * jnp.cos(q) - 0.7 * jnp.sin(p) * jnp.sin(q)
        laplacian = -(1.3**2 + 0.7**2) * exact(x) - 2 * 1.3 * 0.7 * jnp.cos(p) * jnp.sin(q)
    else:
        first, laplacian = gradient(x, 0), -(1.3**2 + 0.7**2) * exact(x)
    f = -a * laplacian - 0.3 * first + reaction * exact(x)
    sides = {name: one for name, one in conditions(kind, exact, slope).items() if name[0] in "xyz"[: grid.ndim]}
    operator = EllipticOperator(grid, sides, a, reaction)
    u = jnp.linalg.solve(operator.matrix().dense(), operator.right_hand_side(f).reshape(-1))
    return grid.norm(operator.extend(u.reshape(operator.free_shape)) - exact(x))


def error(shape, points, kind):
    return float(error_on(Grid(shape, (1.0, 1.4, 0.8)[: len(shape)], False, origin=0.1, points=points), kind))


@pytest.mark.parametrize(
    "kind, points, shape",
    [
        ("Dirichlet", "nodes", (12, 17)),
        ("Neumann", "centres", (12, 18)),
        ("Robin", "nodes", (13, 16)),
        ("Dirichlet", "centres", (13,)),
        ("Robin", "centres", (14,)),
        ("Neumann", "nodes", (7, 8, 6)),
    ],
)
def test_smooth_solutions_converge_with_order_two(kind, points, shape):
    finer = tuple(2 * n - (points == "nodes") for n in shape)
    (order,) = observed_orders([error(shape, points, kind), error(finer, points, kind)], [1.0, 0.5])
    assert abs(order - 2) <= 0.2


@pytest.mark.parametrize("points, n, first", [("centres", 12, 7), ("nodes", 12, 5)])
def test_a_jump_on_a_face_is_met_exactly(points, n, first):
    """(a u')' = 0 with u(0) = 0, u(1) = 1: u is linear on either side of the jump, with one flux a u'."""
    grid = Grid(n, 1.0, periodic=False, points=points)
    x = np.asarray(grid.axes[0])
    place = float((x[first - 1] + x[first]) / 2)
    a = np.where(x < place, 1.0, 1e3)
    flux = 1 / (place / 1.0 + (1 - place) / 1e3)
    u, _ = darcy(grid, a, 0.0, {"x-": 0.0, "x+": 1.0}, rtol=1e-13)
    expected = np.where(x < place, flux * x, 1 - flux * (1 - x) / 1e3)
    np.testing.assert_allclose(u, expected, atol=1e-12)


@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_the_operator_is_symmetric_and_holds_no_checkerboard(points):
    grid = Grid((6, 8, 5), (1.0, 2.0, 0.7), periodic=(False, True, False), points=points)
    boundary = {"x-": Robin(1.0, 2.0), "x+": Neumann(), "y": AntiPeriodic(), "z-": 0.0, "z+": Neumann()}
    operator = EllipticOperator(grid, boundary, np.exp(rng.normal(size=grid.shape)), 0.3)
    u, v = rng.normal(size=(2, *operator.free_shape))

    @jax.jit
    def applied(u, v):
        return operator(u), operator(v), operator.matrix().dense(), operator.diagonal().reshape(-1)

    of_u, of_v, dense, diagonal = applied(u, v)
    assert np.vdot(u, of_v) == pytest.approx(np.vdot(v, of_u), rel=1e-12)
    assert np.linalg.eigvalsh(dense).min() > 0
    np.testing.assert_allclose(np.diag(dense), diagonal)
    periodic = EllipticOperator(Grid((6, 8), 1.0, points=points))
    checkerboard = (-1.0) ** np.indices((6, 8)).sum(0)
    # It is the roughest mode: its eigenvalue is 4 / h^2 along each axis.
    np.testing.assert_allclose(jax.jit(lambda u: periodic(u))(checkerboard), 4 * (36 + 64) * checkerboard)


def test_what_cannot_be_solved_says_why():
    grid = Grid((6, 7), 1.0, periodic=False)
    with pytest.raises(ValueError, match="Outflow states nothing"):
        EllipticOperator(grid, {"x": 0.0, "y": Outflow()})
    with pytest.raises(ValueError, match="no boundary condition"):
        EllipticOperator(grid, {"x": 0.0})
    with pytest.raises(ValueError, match="must be positive at every point; its smallest value is -2"):
        EllipticOperator(grid, 0.0, jnp.full(grid.shape, -2.0))
    with pytest.raises(ValueError, match="has shape"):
        EllipticOperator(grid, 0.0, jnp.ones((7, 6)))
    with pytest.raises(ValueError, match="right-hand side is not finite"):
        darcy(grid, 1.0, jnp.full(grid.shape, jnp.nan), 0.0)
