import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Neumann
from pdejax.equations import AdvectionDiffusion, Equation
from pdejax.solvers import Sil3
from pdejax.solvers.small_inverses import inverses

pytestmark = pytest.mark.float64


@pytest.mark.parametrize("size", [1, 2, 5, 32])
def test_inverses_are_those_of_lapack(size):
    random = np.random.default_rng(size)
    matrices = random.normal(size=(size, size, 3, 4)) + 1j * random.normal(size=(size, size, 3, 4))
    if size > 1:
        matrices[0, 0] = 0.0  # a pivot has to be looked for
    expected = np.moveaxis(np.linalg.inv(np.moveaxis(matrices, (0, 1), (-2, -1))), (-2, -1), (0, 1))
    np.testing.assert_allclose(
        inverses(jnp.asarray(matrices)), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max()
    )


def test_derivatives_and_what_is_singular():
    random = np.random.default_rng(0)
    matrices, direction = (jnp.asarray(random.normal(size=(3, 3, 2))) for _ in range(2))
    total = jax.jit(lambda m: jnp.sum(jnp.sin(inverses(m))))
    slope = jnp.sum(jax.grad(total)(matrices) * direction)
    difference = (total(matrices + 1e-6 * direction) - total(matrices - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(slope, difference, rtol=1e-7)
    assert not bool(jnp.any(jnp.isfinite(inverses(jnp.zeros((2, 2, 3)))[0, 0])))
    assert not bool(jnp.any(jnp.isfinite(inverses(matrices.at[0, 0].set(jnp.inf)))))


class Chain(Equation):
    """Three components, each fed by the one before."""

    def components(self, ndim):
        return ("u", "v", "w")

    def linear(self, state):
        u, v, w = state[0], state[1], state[2]
        return u.laplacian().stack(v.laplacian() * 0.1 + u, w.laplacian() * 0.2 + v)


def test_no_stepper_calls_lapack_for_a_batch():
    """Such calls wait for threads of the pool they run in: two at a time never came back on two cores."""
    channel = pj.Grid((12, 16), 1.0, periodic=(True, False))
    walls = {"y-": 0.0, "y+": Neumann()}
    for equation, reading in (
        (AdvectionDiffusion(1.0, 0.1), pj.FiniteDifference(channel, 4, walls)),
        (Chain(), pj.Spectral(pj.Grid(12, 1.0))),
    ):
        stepper = pj.TimeStepper(equation, reading, 0.1, 2, Sil3())
        u = jnp.zeros((len(equation.components(2)), *reading.grid.shape))
        program = eqx.filter_jit(lambda s, u: s(u, t=0.0)).lower(stepper, u).as_text()
        assert "lapack" not in program
