"""Rivals with more points than data that were truncated: each goes on with its own states from the first one on."""

import equinox as eqx
import jax
import numpy as np
import pytest

import pdejax as pj
from pdejax import metrics
from pdejax.evaluate import RivalFamily, Variant, evaluate
from pdejax.evaluate.rivals import classical_rivals
from pdejax.resample import resample

EQUATION = pj.equations.Burgers(0.02)
VISCOSITIES = np.asarray([0.02, 0.03, 0.05], np.float32)
GRID = pj.Grid(16, 2 * np.pi, dtype="float32")
FAMILY = RivalFamily((2.0, 1.0), (Variant(),))


def persists(u, parameters=None, *, domain=None, key=None):
    return u


@pytest.fixture(scope="module")
def data():
    """Waves that steepen, solved on 128 points, of which 16 are kept; more frames than a segment has."""
    fine = GRID.with_shape((128,))
    x = fine.axes[0]
    first = [np.sin(x + phase)[None] + 0.3 * np.cos(2 * x)[None] for phase in (0.0, 1.0, 2.5)]

    @jax.jit
    @jax.vmap
    def kept(u, viscosity):
        solver = pj.TimeStepper(pj.equations.Burgers(viscosity), pj.Spectral(fine), dt=0.2, substeps=20)
        return jax.vmap(lambda u: resample(u, fine, GRID))(pj.rollout(solver, u, 8, include_initial=True))

    u = np.asarray(kept(np.asarray(first, np.float32), VISCOSITIES))
    return pj.Trajectories.from_arrays(u, GRID, ("u",), 0.2 * np.arange(9), parameters={"viscosity": VISCOSITIES})


def test_a_finer_rival_is_that_solver_by_itself_from_the_first_state_of_the_data(data):
    found = evaluate(
        {"persists": persists}, data, EQUATION, family=FAMILY, truth_shape=(128,), timing_seconds=0.01, progress=False
    )
    assert found.common_shape == (16,)
    (fine_name,) = [name for name in found.rivals if name.startswith("N=32")]
    (same_name,) = [name for name in found.rivals if name.startswith("N=16")]
    rival = found.rivals[fine_name]
    scores = found.results[fine_name].scores["relative_l2"][..., 0]

    @jax.jit
    def by_itself(u, viscosity):
        solver = eqx.tree_at(lambda s: s.equation, rival.stepper, pj.equations.Burgers(viscosity))
        states = pj.rollout(solver, resample(u, GRID, rival.stepper.grid), 8)
        return jax.vmap(lambda v: resample(v, rival.stepper.grid, GRID))(states)

    for u, viscosity, of_trajectory in zip(data.u, VISCOSITIES, scores, strict=True):
        expected = jax.vmap(metrics.relative_l2, (0, 0, None))(by_itself(u[0], viscosity), u[1:], GRID)[:, 0]
        np.testing.assert_allclose(of_trajectory[1:], expected, rtol=2e-3, atol=1e-6)
    # Once the front is steep the data's own points do not do.
    assert np.all(scores[:, -1] < 0.2 * found.results[same_name].scores["relative_l2"][:, -1, 0])
    assert found.results[fine_name].costs is not None


def test_its_steps_are_those_of_its_own_modes():
    x = GRID.axes[0]
    states = np.asarray(20 * np.sin(x), np.float32)[None, None]
    rivals = classical_rivals(EQUATION, GRID, 0.2, states, RivalFamily((4.0, 2.0, 1.0), (Variant(),)))
    steps = {rival.stepper.grid.shape[0]: rival.stepper.substeps for rival in rivals.values()}
    assert set(steps) == {16, 32, 64}
    assert steps[64] / steps[32] == pytest.approx(2, rel=0.15) and steps[32] / steps[16] == pytest.approx(2, rel=0.15)


def test_a_truth_that_is_not_twice_as_fine_leaves_it_out(data):
    found = evaluate(
        {"persists": persists}, data, EQUATION, family=FAMILY, truth_shape=(48,), timing_seconds=0.01, progress=False
    )
    assert [name.split()[0] for name in found.rivals] == ["N=16"]
    assert found.left_out == ["32: the truth, solved on 48 points, is not twice as fine"]
    with pytest.raises(ValueError, match=r"fractions > 0 of the data's points, got \(0.0,\)"):
        RivalFamily((0.0,))
