"""The compiled parts of a fit, and the rollout of what it made, compile for accelerators that are not at hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import Ensemble, NeuralStepper
from pdejax.testing import PLATFORMS, check_lowering
from pdejax.training.dataset import device_data
from pdejax.training.normalising import normalised
from pdejax.training.state import initial_state, optimised
from pdejax.training.steps import Carry, compiled_score, compiled_steps

GRID = pj.Grid((12, 9), 1.0, dtype="float32")


def setting(model, frames):
    u = np.random.default_rng(0).normal(size=(3, 5, 2, 12, 9)).astype(np.float32)
    data = pj.Trajectories.from_arrays(u, GRID, ("u", "v"), np.arange(5.0))
    whole = normalised(model, data, frames)
    return whole, device_data("data", data, frames, 4, whole)


def network(seed=1):
    return pj.models.FNO(2, 2, 2, 3, 4, num_layers=2, key=jax.random.key(seed))


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_training_step_lowers_for_every_platform(ensemble):
    objective = pj.objectives.Unrolled(2, pj.losses.Sobolev(1))
    model = Ensemble.of([network(1), network(2)]) if ensemble else network()
    whole, placed = setting(model, objective.frames)
    optimiser = optax.with_extra_args_support(optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)))
    flags = optimised(whole, None, lambda tree: tree)
    parameters, rest = eqx.partition(whole, flags)
    state = initial_state(whole, flags, optimiser, 0.9, False)
    carry = Carry(parameters, state.optimiser_state, state.average, state.average_weight)
    steps = compiled_steps(objective, optimiser, rest, 4, 0.9, 10)
    arrays, around = eqx.partition((carry, placed), eqx.is_array)

    def step(arrays, key):
        carry, data = eqx.combine(arrays, around)
        following, rows, _, finite = steps(carry, data, jax.random.wrap_key_data(key), 0, 1)
        return jax.tree.leaves(following), rows, finite

    check_lowering(step, arrays, jax.random.key_data(jax.random.key(0)))


def test_the_score_and_the_rollout_lower_for_every_platform():
    objective = pj.objectives.OneStep()
    whole, placed = setting(network(), objective.frames)
    score = compiled_score(objective, 4)
    arrays, around = eqx.partition((whole, placed), eqx.is_array)

    def scored(arrays, key):
        return score(*eqx.combine(arrays, around), jax.random.wrap_key_data(key))

    def rolled(arrays, u):
        model, _ = eqx.combine(arrays, around)
        return pj.rollout(NeuralStepper(model, 0.1, GRID), u, 6)

    check_lowering(scored, arrays, jax.random.key_data(jax.random.key(0)))
    check_lowering(jax.vmap(rolled, (None, 0)), arrays, jax.ShapeDtypeStruct((3, 2, 12, 9), jnp.float32))
    assert set(PLATFORMS) >= {"cpu", "cuda", "tpu"}
