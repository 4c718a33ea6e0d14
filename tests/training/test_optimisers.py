"""Optimisers that ask for more than a gradient go through `fit`: all data in a batch, checkpoints, precisions."""

import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import MuonDimensionNumbers

from pdejax.models import FNO
from pdejax.nn import ChannelMap
from pdejax.testing import check_lowering
from pdejax.training import Checkpoints, Supervised, fit, muon_axes, soap
from pdejax.training.dataset import DeviceData, sample_batch


class Affine(ChannelMap):
    """`u -> weight u + bias` at every point."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return super().__call__(u)


class Squashed(Affine):
    """`u -> tanh(weight u + bias)`, no linear problem."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jnp.tanh(super().__call__(u))


def pairs():
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (4, 2, 5, 7), jnp.float32) * jnp.asarray([1.0, 30.0]).reshape(2, 1, 1) + 0.5
    noise = jax.random.normal(keys[2], (4, 3, 5, 7), jnp.float32)
    mixed = jnp.einsum("oi,bixy->boxy", jax.random.normal(keys[1], (3, 2)), x)
    return np.asarray(x, np.float32), np.asarray(mixed + 0.3 * noise - 1.0, np.float32)


def options(**given):
    return {"batch_size": 4, "key": jax.random.key(1), "normalise": False, "progress": False} | given


def test_a_batch_of_all_windows_holds_them_in_order():
    u = jnp.arange(3 * 5 * 2.0).reshape(3, 5, 1, 2)  # 3 windows of 3 frames in each of 3 trajectories
    data = DeviceData((u,), {"rate": jnp.asarray([0.0, 1.0, 2.0])}, None, 3)
    for seed in range(3):
        batch = sample_batch(data, data.num_windows, jax.random.key(seed))
        expected = jnp.stack([u[i, j : j + 3] for i in range(3) for j in range(3)])
        np.testing.assert_array_equal(batch.u, expected)
        np.testing.assert_array_equal(batch.parameters["rate"], np.repeat([0.0, 1.0, 2.0], 3))


def test_lbfgs_reaches_the_solution_of_the_normal_equations():
    # The condition number is 1e3: descent would take thousands of steps.
    x, y = pairs()
    rows = np.moveaxis(x.astype(np.float64), 1, -1).reshape(-1, 2)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    exact = np.linalg.lstsq(rows, np.moveaxis(y.astype(np.float64), 1, -1).reshape(-1, 3), rcond=None)[0].T
    model = Affine(2, 3, key=jax.random.key(1))
    fitted = fit(model, Supervised(), (x, y), **options(optimiser=optax.lbfgs(), num_steps=30))
    np.testing.assert_allclose(np.column_stack([fitted.model.weight, fitted.model.bias]), exact, atol=1e-3)
    assert np.all(np.diff(fitted.log["loss"]) <= 1e-6 * fitted.log["loss"][:-1])


OPTIMISERS = {
    "lbfgs": lambda: optax.lbfgs(memory_size=3),
    "soap": lambda: soap(1e-2, refresh_every=3),
    "muon": lambda: optax.contrib.muon(1e-2, muon_weight_dimension_numbers=muon_axes),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_checkpoints_restore_its_state_bit_for_bit(name, tmp_path):
    model, data = Squashed(2, 3, key=jax.random.key(2)), pairs()

    def run():
        checkpoints = Checkpoints(tmp_path, every=4)
        given = options(optimiser=OPTIMISERS[name](), checkpoints=checkpoints, normalise=True, batch_size=2)
        return fit(model, Supervised(), data, num_steps=11, **given)

    whole = run()
    shutil.rmtree(tmp_path / "11")  # as if it had been killed after step 8, of which there is another
    resumed = run()
    assert bool(eqx.tree_equal(resumed.state, whole.state))
    if name == "lbfgs":  # the line search was held on the batch of its step, of which it keeps the loss that it found
        assert float(whole.state.optimiser_state[-1].value) < whole.log["loss"][-1]


@pytest.mark.float64
@pytest.mark.parametrize("name", OPTIMISERS)
def test_weights_of_an_operator_keep_their_precision(name):
    # In a session in double precision: states of line searches, eigenvectors and products must not pull them up.
    model = FNO(1, 1, 1, 3, 2, num_layers=1, key=jax.random.key(0))
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    x = jax.random.normal(jax.random.key(1), (1, 8), jnp.float32)

    def loss(weights):
        return jnp.mean((eqx.combine(weights, rest)(x) - x**2) ** 2)

    optimiser = optax.with_extra_args_support(OPTIMISERS[name]())

    def step(weights, state):
        value, gradient = jax.value_and_grad(loss)(weights)
        updates, state = optimiser.update(gradient, state, weights, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(weights, updates), state

    state = optimiser.init(weights)
    after = jax.eval_shape(step, weights, state)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves((weights, state)), strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    if name != "lbfgs":
        check_lowering(step, weights, state)


def test_muon_takes_channels_for_rows_and_columns():
    model = FNO(1, 2, 2, (3, 2), 4, num_layers=1, key=jax.random.key(0))
    conv = eqx.nn.Conv2d(3, 5, 3, key=jax.random.key(1))
    weights = eqx.filter((model, conv), eqx.is_inexact_array)
    axes = muon_axes(weights)
    spectral = MuonDimensionNumbers(2, 3)  # (modes, modes, in, out)
    assert (axes[0].convolutions[0].real, axes[0].convolutions[0].imaginary) == (spectral, spectral)
    assert axes[0].lift.weight == MuonDimensionNumbers((1,), 0)  # (out, in)
    assert axes[0].lift.bias is None
    assert axes[1].weight == MuonDimensionNumbers((1, 2, 3), 0)  # (out, in, *kernel)
    # Each frequency's matrix of an update is orthogonal (five steps of the iteration come within a third of it).
    optimiser = optax.contrib.muon(1.0, muon_weight_dimension_numbers=muon_axes)
    gradient = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), weights)
    updates, _ = jax.jit(optimiser.update)(gradient, optimiser.init(weights), weights)
    singular = jnp.linalg.svd(updates[0].convolutions[0].real, compute_uv=False)
    assert singular.shape == (6, 2, 4)
    np.testing.assert_allclose(singular, 1, atol=0.35)
