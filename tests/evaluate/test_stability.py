"""The step that the nonlinear part allows, where single growth factors say nothing."""

import jax.numpy as jnp
import pytest

import pdejax as pj
from pdejax.evaluate.rivals import RivalFamily, Variant, classical_rivals


class Rotation(pj.equations.Equation):
    """u_t = 2 c v, v_t = -c u / 2, called nonlinear: an ellipse, turned about once in 2 pi / c."""

    rate: float = 300.0

    def components(self, ndim):
        return ("u", "v")

    def nonlinear(self, t, u):
        return (2 * self.rate * u["v"]).stack(-0.5 * self.rate * u["u"])


def test_the_rate_of_a_rotation_is_that_of_whole_turns():
    """Along an ellipse a state grows by up to twice the rate, then by as much less than it: c is their mean."""
    grid = pj.Grid((16,), 2 * jnp.pi, dtype=jnp.float32)
    states = jnp.ones((1, 2, 16), jnp.float32)
    (rival,) = classical_rivals(Rotation(), grid, 1.0, states, RivalFamily((1.0,), (Variant(),))).values()
    assert rival.stepper.substeps == pytest.approx(300 / 2.8, rel=0.06)
