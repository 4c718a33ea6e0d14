"""What cannot be met at walls, and modes that grow there by themselves, are named before a solve."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Outflow
from pdejax.equations import Advection, AdvectionDiffusion, Burgers
from pdejax.solvers.transport_at_walls import check_transport_at_walls
from pdejax.stretching import TowardsWall

ALONG = {"x-": 0.0, "x+": Outflow()}
WIDE = pj.Stretched(TowardsWall(2.5), "nodes")


def said(equation, reading, duration=8.0):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_transport_at_walls(equation, reading, duration)
    return " ".join(str(warning.message) for warning in caught)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("equation", "points", "order", "boundary", "grows"),
    [
        (Advection(1.0), "nodes", 8, ALONG, True),
        (Advection(-1.0), "nodes", 8, {"x-": Outflow(), "x+": Dirichlet()}, True),
        (Advection(1.0), "centres", 8, ALONG, True),
        (Advection(1.0), "nodes", 4, ALONG, False),
        (Advection(1.0), WIDE, 4, ALONG, True),
        (AdvectionDiffusion(1.0, 1e-3), "nodes", 8, {"x-": 0.0, "x+": Neumann()}, True),
        (AdvectionDiffusion(1.0, 0.1), "nodes", 8, {"x-": 0.0, "x+": Neumann()}, False),
    ],
)
def test_modes_that_grow_are_named(equation, points, order, boundary, grows):
    """What is said is what the eigenvalues of the tendency say, over a long time and not over a short one."""
    grid = pj.Grid(40, 1.3, periodic=False, points=points)
    reading = pj.FiniteDifference(grid, order, boundary)
    assert ("modes of" in said(equation, reading)) == grows
    assert not said(equation, reading, 1e-3)
    rate = lambda v: reading.tendency(equation, 0.0, v[None])[0]  # noqa: E731
    matrix = np.asarray(jax.jit(jax.vmap(rate, out_axes=1))(jnp.eye(40)))
    free = np.any(matrix != 0, axis=1)
    growth = np.linalg.eigvals(matrix[np.ix_(free, free)]).real.max()
    assert (growth > 0.5) == grows
    if grows:
        factor = float(said(equation, reading, 10 / growth).split("factor of ")[1].split()[0])
        np.testing.assert_allclose(factor, np.exp(10), rtol=0.06)


@pytest.mark.float64
def test_two_ways_that_do_not_grow_are_not_named():
    grid = pj.Grid(40, 1.3, periodic=False, points="nodes")
    assert not said(Advection(1.0), pj.FiniteDifference(grid, 8, ALONG, advection="upwind"))
    assert not said(Advection(1.0), pj.FiniteDifference(grid, 8, ALONG, closure="summation by parts"))
    # What depends on the state, and what is traced, is not looked at.
    assert not said(Burgers(0.1), pj.FiniteDifference(grid, 8, 0.0))
    jax.eval_shape(lambda c: check_transport_at_walls(Advection(c), pj.FiniteDifference(grid, 8, ALONG), 8.0), 1.0)


def test_walls_that_transport_cannot_meet():
    grid = pj.Grid((12, 14), 1.0, periodic=(True, False), points="nodes")
    u = jnp.zeros((1, 12, 14))
    for boundary, velocity in (({"y-": Outflow(), "y+": 0.0}, [0.3, 1.0]), (Outflow(), [0.3, -1.0])):
        wall = "y-" if velocity[1] > 0 else r"y\+"
        with pytest.raises(ValueError, match=rf"velocity {velocity[1]:.0f} along axis 1, flows in through .*{wall}"):
            pj.solve(Advection(velocity), pj.FiniteDifference(grid, 2, boundary), u, [0.0, 0.1])
    assert r"flows out through the wall 'y+', where a value" in said(
        Advection([0.3, 1.0]), pj.FiniteDifference(grid, 2, 0.0), 0.1
    )
    assert not said(AdvectionDiffusion([0.3, 1.0], 0.1), pj.FiniteDifference(grid, 2, 0.0), 0.1)
    # Along an axis that nothing is carried along there is nothing to enter.
    assert not said(Advection([0.3, 0.0]), pj.FiniteDifference(grid, 2, Outflow()))
