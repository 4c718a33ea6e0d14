"""A fit of a flax module goes on from its checkpoints as one of a module of this package does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import pdejax as pj
from pdejax.interop.linen import LinenModel
from pdejax.interop.nnx import NnxModel
from pdejax.models import Ensemble, members
from pdejax.training import Checkpoints, Supervised


class Linen(linen.Module):
    """With running statistics, which are no weights, and dropout, which draws."""

    @linen.compact
    def __call__(self, u, deterministic=False):
        v = linen.BatchNorm(use_running_average=True)(linen.Conv(4, (3,), padding="CIRCULAR")(u))
        v = linen.Dropout(0.2, deterministic=deterministic)(linen.gelu(v))
        return linen.Dense(1)(v)


class Nnx(nnx.Module):
    def __init__(self, *, rngs):
        self.conv = nnx.Conv(1, 4, (3,), padding="CIRCULAR", rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, u):
        return self.out(self.dropout(nnx.gelu(self.norm(self.conv(u)))))


def linen_model(seed):
    model = LinenModel.init(Linen(), jnp.zeros((1, 9)), key=jax.random.key(seed), deterministic="deterministic")
    # Statistics that are not those of a new layer, so that losing them would be seen.
    return eqx.tree_at(lambda m: m.held, model, jax.tree.map(lambda leaf: leaf + 0.5, model.held))


def nnx_model(seed):
    model = NnxModel(Nnx(rngs=nnx.Rngs(seed)))
    return eqx.tree_at(lambda m: m.held, model, jax.tree.map(lambda leaf: leaf + 0.5, model.held))


def pairs():
    x = np.random.default_rng(0).normal(size=(12, 1, 9)).astype(np.float32)
    return x, np.roll(x, 1, axis=-1) ** 2


def run(model, folder, num_steps):
    given = {"optimiser": optax.adam(1e-2), "batch_size": 4, "key": jax.random.key(1), "progress": False}
    saved = Checkpoints(folder, every=2)
    return pj.fit(model, Supervised(), pairs(), num_steps=num_steps, ema_decay=0.9, checkpoints=saved, **given)


@pytest.mark.parametrize("build", [linen_model, nnx_model])
def test_a_run_that_goes_on_ends_with_the_bits_of_one_that_was_not_stopped(build, tmp_path):
    whole = run(build(0), tmp_path / "whole", 6)
    run(build(0), tmp_path / "cut", 3)
    # In a new process the module is built anew, with whatever weights: those of the checkpoint count.
    resumed = run(build(7), tmp_path / "cut", 6)
    assert eqx.tree_equal(whole.state, resumed.state)
    np.testing.assert_array_equal(whole.log["loss"], resumed.log["loss"])
    held = jax.tree.leaves(resumed.state.model.model.held)
    assert held and eqx.tree_equal(held, jax.tree.leaves(build(0).held))
    first, last = (jax.tree.leaves(m.parameters) for m in (build(0), resumed.state.model.model))
    assert all(float(jnp.max(jnp.abs(a - b))) > 1e-3 for a, b in zip(first, last, strict=True))


def test_another_module_is_refused_by_its_checkpoint(tmp_path):
    run(linen_model(0), tmp_path, 2)
    with pytest.raises(ValueError, match="belongs to another model: pass the model and `normalise` of that run"):
        run(nnx_model(0), tmp_path, 4)


def test_seeds_of_a_flax_module_are_fitted_side_by_side(tmp_path):
    fitted = run(Ensemble.of([linen_model(seed) for seed in range(2)]), tmp_path, 2)
    first, second = (jax.tree.leaves(member.model.parameters) for member in members(fitted.model))
    assert any(float(jnp.max(jnp.abs(a - b))) > 1e-2 for a, b in zip(first, second, strict=True))
