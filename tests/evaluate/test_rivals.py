import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.evaluate.rivals import RivalFamily, Variant, classical_rivals, rivals_of_data


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
    """Steps of about 2.8 / w; the frames lie at t = 0, pi / w, ..., where the force turns and its slope is zero."""
    grid = pj.Grid((16,), 2 * np.pi)
    interval = np.pi / 40
    states = np.zeros((3, 1, 16))
    times = interval * np.arange(3)
    family = RivalFamily((1.0,), (Variant(), Variant(refinement=2.0)))
    rivals = classical_rivals(Shaken(), grid, 10 * interval, states, family, times=times)
    assert [rival.stepper.substeps for rival in rivals.values()] == pytest.approx(
        [10 * np.pi / 2.8, 20 * np.pi / 2.8], rel=0.25
    )
    error = []
    for rival in rivals.values():
        state = jax.jit(lambda u, rival=rival: rival(u, t=0.0))(np.zeros((1, 16)))
        error.append(np.max(np.abs(state - np.sin(40 * 10 * interval))))
    assert error[0] < 0.1 and error[1] < 3e-3


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


class WeaklyShaken(Shaken):
    """The same force beside a state to which it means nothing."""

    def nonlinear(self, t, u):
        return u.constant(1e-4 * jnp.cos(300 * t))


class Carried(pj.equations.Equation):
    """v is carried along and feeds u: N depends on v alone, and its own Jacobian is nilpotent."""

    def components(self, ndim):
        return ("u", "v")

    def linear(self, u):
        return (u["u"].laplacian() * 0.1).stack(u["v"].derivative(0) * -20.0)

    def nonlinear(self, t, u):
        return (u["v"] ** 2).stack(u["v"] * 0.0)


def test_what_hardly_matters_asks_for_no_small_steps_and_what_is_carried_along_does():
    grid = pj.Grid((16,), 2 * np.pi)
    family = RivalFamily((1.0,), (Variant(),))
    substeps = lambda equation, states: [  # noqa: E731
        rival.stepper.substeps for rival in classical_rivals(equation, grid, 0.5, states, family).values()
    ]
    one = np.sin(np.asarray(grid.coordinates()))[None]
    assert substeps(WeaklyShaken(), one) == [1]
    # d(v^2)/dt = -40 v v_x, against u of order one: h^2 times 40 / sqrt(8) is 2.8^2 / sqrt(2) at most, as means.
    assert substeps(Carried(), np.concatenate([one, one], axis=1)) == [pytest.approx(0.5 / 2.8 * np.sqrt(20), abs=1)]


def test_reactions_that_balance_growth_ask_for_steps_that_keep_the_balance():
    """About u = 1 the growth of `r u` is exact and `-r u^2` answers it: the step must not leave that equilibrium."""
    grid = pj.Grid((32,), 2 * np.pi)
    states = np.ones((1, 1, 32))
    equation = pj.equations.FisherKPP(0.01, 1.0)
    # Without the integrating factor, which has other equilibria than the equation.
    etd = RivalFamily((1.0,), tuple(v for v in RivalFamily().variants if not v.integrating_factor))
    for rival in classical_rivals(equation, grid, 1.39, states, etd).values():
        u = 1 + 1e-3 * np.cos(np.asarray(grid.coordinates()))
        assert float(np.max(np.abs(pj.rollout(rival, jnp.asarray(u), 20)[-1] - 1))) < 1e-4, rival.stepper


def test_the_largest_trajectories_decide_wherever_they_stand():
    """Small states first: steps that suit them alone would let every rival blow up."""
    grid = pj.Grid((48,), 2 * np.pi, dtype=jnp.float32)
    x = np.asarray(grid.axes[0])
    amplitudes = np.array([0.1] * 5 + [5.0] * 2)
    u = np.broadcast_to(amplitudes[:, None, None, None] * np.sin(x), (7, 4, 1, 48)).astype(np.float32)
    steps = []
    for order in (slice(None), slice(None, None, -1)):
        test = pj.Trajectories.from_arrays(u[order], grid, ("u",), 0.5 * np.arange(4))
        rivals, _, _ = rivals_of_data(test, pj.equations.Burgers(0.02), 0.5, RivalFamily((1.0,)), None)
        steps.append([rival.stepper.substeps for rival in rivals.values()])
    assert steps[0] == steps[1] and min(steps[0]) >= 8
