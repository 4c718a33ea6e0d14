"""Eigenmodes axis by axis do to a state what the stencils do, with half of the modes of one periodic axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Neumann, Robin
from pdejax.equations import Equation
from pdejax.fields import Eigenmodes, bases_of


class Transported(Equation):
    """u_t = 0.2 Lap(u) - 0.7 u_x."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return 0.2 * u.laplacian() - 0.7 * u.derivative(0)

    def nonlinear(self, t, u):
        return u * 0.0


class Pair(Equation):
    """u_t = 0.2 Lap(u) - 0.7 u_x - u, v_t = 0.3 v_xx + 0.1 v_zz."""

    def components(self, ndim):
        return ("u", "v")

    def linear(self, state):
        u, v = state
        moved = u.derivative(0) * -0.7
        return (0.2 * u.laplacian() + moved - u).stack(0.3 * v.derivative(0, 2) + 0.1 * v.derivative(2, 2))

    def nonlinear(self, t, state):
        return state * 0.0


def by_modes_and_by_stencils(reading, equation, count=1):
    space = Eigenmodes(reading, bases_of(reading, equation))
    free = np.broadcast_to(space.is_free(), (count, *reading.grid.shape))
    v = jnp.asarray(np.random.default_rng(0).normal(size=free.shape) * free)

    @jax.jit
    def both(v):
        y = space.encode(v)
        symbol = space.symbol(equation)
        rate = lambda v: jnp.where(space.is_free(), equation.linear(reading.field(equation, 0.0, v)).rate, 0)  # noqa: E731
        stage = space.decode(y / (1 - 0.1 * symbol))
        return space.decode(y), space.decode(symbol * y), rate(v), stage - 0.1 * rate(stage)

    back, by_modes, by_stencils, right = both(v)
    np.testing.assert_allclose(right, v, rtol=0, atol=1e-10)
    np.testing.assert_allclose(back, v, rtol=0, atol=1e-11)
    np.testing.assert_allclose(by_modes, by_stencils, rtol=0, atol=1e-10 * float(jnp.max(jnp.abs(by_stencils))))
    return space


@pytest.mark.float64
@pytest.mark.parametrize(("shape", "order"), [((8, 11, 6), 2), ((9, 12, 11), 4), ((14, 16, 13), 6)])
def test_modes_act_as_the_stencils_do_beside_two_periodic_axes(shape, order):
    grid = pj.Grid(shape, (1.0, 1.3, 0.8), periodic=(True, False, True), points=("nodes", "centres", "nodes"))
    walls = {"u": {"y-": 0.0, "y+": Neumann()}, "v": {"y": Robin(2.0, 0.5)}}
    space = by_modes_and_by_stencils(pj.FiniteDifference(grid, order, walls), Pair(), 2)
    modes = space.symbol(Pair()).shape[1:]
    # Half of the modes of one axis alone, and of none where eigenvectors are complex.
    assert modes == ((*shape[:2], shape[2] // 2 + 1) if order == 2 else modes)
    assert modes[:2] == shape[:2]


@pytest.mark.float64
def test_an_axis_that_turns_keeps_all_modes():
    grid = pj.Grid((8, 11, 6), (1.0, 1.3, 0.8), periodic=(True, False, True))
    walls = {name: {"y": 0.0, "z": AntiPeriodic()} for name in ("u", "v")}
    space = by_modes_and_by_stencils(pj.FiniteDifference(grid, 2, walls), Pair(), 2)
    assert space.symbol(Pair()).shape == (2, 5, 11, 6)


@pytest.mark.float64
@pytest.mark.parametrize("n", [9, 10])
def test_chebyshev_points_beside_a_periodic_axis(n):
    """The highest of an even number of modes, too, which has no first derivative."""
    grid = pj.Grid((n, 14), (1.0, 1.3), periodic=(True, False), points=("nodes", "chebyshev"))
    reading = pj.Chebyshev(grid, {"y-": 0.0, "y+": Neumann()})
    space = by_modes_and_by_stencils(reading, Transported())
    assert space.symbol(Transported()).shape == (1, n // 2 + 1, 14)
