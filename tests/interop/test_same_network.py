"""An adapter adds nothing: the same weights give the same outputs, and the same training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import pdejax as pj
from pdejax.interop.linen import LinenModel
from pdejax.interop.nnx import NnxModel
from pdejax.models import NeuralStepper, Normalised, Statistics
from pdejax.testing import check_model
from tests.interop.networks import Equinox, Linen, Nnx, linen_layers, nnx_layers, with_weights

SHAPE = (5, 7)  # odd and unequal: a transposed axis cannot cancel


def linen_model(into, out):
    return LinenModel.init(Linen(out), jnp.zeros((into, *SHAPE)), key=jax.random.key(3)), linen_layers


def nnx_model(into, out):
    return NnxModel(Nnx(into, out, rngs=nnx.Rngs(3))), nnx_layers


BOTH = pytest.mark.parametrize("build", [linen_model, nnx_model], ids=["linen", "nnx"])


def states(*leading):
    return jax.random.normal(jax.random.key(5), (*leading, *SHAPE), jnp.float32)


@BOTH
def test_outputs_are_those_of_the_same_network_in_equinox(build):
    model, layers = build(2, 3)
    twin, u = with_weights(Equinox(2, 3), layers(model)), states(2)
    assert model(u).shape == (3, *SHAPE)
    np.testing.assert_allclose(model(u), twin(u), atol=1e-5)
    assert float(jnp.max(jnp.abs(model(u)))) > 0.1


@BOTH
def test_training_ends_with_the_weights_of_the_same_network_in_equinox(build):
    model, layers = build(2, 3)
    twin = with_weights(Equinox(2, 3), layers(model))
    x = states(6, 2)
    y = jnp.stack([x[:, 0], jnp.roll(x[:, 1], 1, -1), x[:, 0] * x[:, 1]], axis=1)
    options = dict(
        optimiser=optax.adam(1e-2), num_steps=20, batch_size=3, key=jax.random.key(1), progress=False, steps_per_call=20
    )
    ours, theirs = (pj.fit(each, pj.objectives.Supervised(), (x, y), **options) for each in (model, twin))
    copied = with_weights(Equinox(2, 3), layers(ours.model.model))
    for a, b, first in zip(*map(weights, (copied, theirs.model.model, twin)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert float(jnp.max(jnp.abs(a - first))) > 0.05
    loss = np.asarray([row for row in ours.log["loss"] if np.isfinite(row)])
    assert loss[-1] < 0.9 * loss[0], loss


def weights(network):
    return jax.tree.leaves(eqx.filter(network, eqx.is_array))


@BOTH
def test_keeps_the_contract_of_models(build):
    model, _ = build(2, 3)
    check_model(model, states(2), out_channels=3)


@BOTH
def test_fits_a_step_rolls_out_is_evaluated_and_saved(build, tmp_path):
    model, _ = build(1, 1)
    grid = pj.Grid(SHAPE, extent=1.0)
    u0 = states(4, 1)
    u = jnp.stack([u0, 0.8 * u0, 0.64 * u0, 0.512 * u0], axis=1)
    data = pj.Trajectories.from_arrays(u, grid, ["u"], [0.0, 0.1, 0.2, 0.3])
    fitted = pj.fit(
        model,
        pj.objectives.OneStep(),
        data,
        optimiser=optax.adam(1e-2),
        num_steps=60,
        batch_size=4,
        key=jax.random.key(1),
        progress=False,
        steps_per_call=20,
    )
    assert fitted.log["loss"][-1] < 0.5 * fitted.log["loss"][0]
    stepper = NeuralStepper(fitted.model, 0.1, grid)
    rolled = pj.rollout(stepper, u0[0], 3)
    assert rolled.shape == (3, 1, *SHAPE)
    pairs = (u[:, 0], u[:, 1])
    assert "network" in str(pj.evaluate({"network": fitted.model}, pairs))

    eqx.tree_serialise_leaves(tmp_path / "model.eqx", fitted.model)
    unit = Statistics([0.0], [1.0])
    other = eqx.tree_at(lambda m: m.parameters, build(1, 1)[0], replace_fn=lambda p: jax.tree.map(jnp.zeros_like, p))
    loaded = eqx.tree_deserialise_leaves(tmp_path / "model.eqx", Normalised(other, unit, unit, residual=True))
    np.testing.assert_array_equal(loaded(u0[0]), fitted.model(u0[0]))
    assert eqx.tree_equal(loaded, fitted.model)
