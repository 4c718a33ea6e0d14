import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.evaluate.rivals import RivalFamily, Variant, classical_rivals


def test_rivals_too_coarse_for_the_force_are_left_out():
    """Five periods need ten points: on eight the force would be another one, and the rival no rival."""
    grid = pj.Grid((24, 24), 2 * np.pi)
    states = jnp.zeros((1, 1, 24, 24)).at[0, 0, 3].set(1.0)
    family = RivalFamily(fractions=(1.0, 0.5, 0.34), variants=(Variant(),))
    assert family.shapes(grid) == [(24, 24), (12, 12), (8, 8)]
    flow = pj.equations.KolmogorovFlow(0.1, wavenumber=5.0)
    rivals = classical_rivals(flow, grid, 0.1, states, family)
    assert {rival.stepper.grid.shape for rival in rivals.values()} == {(24, 24), (12, 12)}
    with pytest.raises(ValueError, match="would jump at its end"):
        classical_rivals(pj.equations.KolmogorovFlow(0.1, wavenumber=4.5), grid, 0.1, states, family)


class Shaken(pj.equations.Equation):
    """u_t = w cos(w t) + 0.2 u_xx: no state in the nonlinear part, and yet something to follow."""

    frequency: float = 40.0

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.laplacian() * 0.2

    def nonlinear(self, t, u):
        return u.constant(self.frequency * jnp.cos(self.frequency * t))


def test_steps_follow_a_force_that_depends_on_time_alone():
    """Steps of about 1 / w; the frames lie at t = 0, pi / w, ..., where the force turns and its slope is zero."""
    grid = pj.Grid((16,), 2 * np.pi)
    interval = np.pi / 40
    states = np.zeros((3, 1, 16))
    times = interval * np.arange(3)
    family = RivalFamily((1.0,), (Variant(), Variant(refinement=2.0)))
    rivals = classical_rivals(Shaken(), grid, 10 * interval, states, family, times=times)
    assert [rival.stepper.substeps for rival in rivals.values()] == pytest.approx([10 * np.pi, 20 * np.pi], rel=0.2)
    error = []
    for rival in rivals.values():
        state = rival(jnp.zeros((1, 16)), t=0.0)
        error.append(float(jnp.max(jnp.abs(state - np.sin(40 * 10 * interval)))))
    assert max(error) < 1e-3


class Wakening(pj.equations.Equation):
    """u_t = -c(t) u_x, called nonlinear, with c = 1 + t: at later times smaller steps are needed."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u.derivative(0).map(lambda slope: -(1 + t) * slope)


def test_each_frame_counts_at_its_own_time():
    grid = pj.Grid((48,), 2 * np.pi)
    states = np.stack([np.sin(np.asarray(grid.coordinates()))] * 2)
    family = RivalFamily((1.0,), (Variant(),))
    substeps = [
        next(iter(classical_rivals(Wakening(), grid, 1.0, states, family, times=times).values())).stepper.substeps
        for times in (np.array([0.0, 0.0]), np.array([0.0, 9.0]))
    ]
    assert substeps == pytest.approx([15 / 2.8, 10 * 15 / 2.8], rel=0.2)
