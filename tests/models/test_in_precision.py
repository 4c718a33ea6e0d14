"""A model that computes in half precision, and keeps its weights in single."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import FNO, InPrecision, Normalised
from pdejax.nn import FourierLayer, GroupNorm, LayerMLP
from pdejax.testing import check_lowering
from tests.test_matrix_products import products


def network(**given):
    return FNO(2, 2, 2, 3, 6, num_layers=2, key=jax.random.key(0)) if not given else FNO(2, 2, 2, 3, 6, **given)


STATE = jax.random.normal(jax.random.key(1), (2, 12, 9))


def dtypes_of_products(model):
    program = eqx.filter_make_jaxpr(model)(STATE)[0].jaxpr
    return [equation.invars[0].aval.dtype for equation in products(program)]


def test_maps_of_channels_are_of_half_precision_and_transforms_of_single():
    found = dtypes_of_products(InPrecision(network(), jnp.bfloat16))
    assert set(found) == {np.dtype(jnp.bfloat16), np.dtype(np.float32), np.dtype(np.complex64)}
    # The lift, one shortcut in each layer, and the two maps of the projection.
    assert sum(dtype == jnp.bfloat16 for dtype in found) == 1 + 2 + 2
    assert jnp.bfloat16 not in dtypes_of_products(network())


def test_the_result_is_that_of_single_precision_to_three_digits_and_not_more():
    model = network(layer=FourierLayer(norm=GroupNorm(2), mlp=LayerMLP(4)), num_layers=2, key=jax.random.key(3))
    exact, rounded = model(STATE), InPrecision(model)(STATE)
    assert rounded.dtype == jnp.float32
    error = float(jnp.linalg.norm(rounded - exact) / jnp.linalg.norm(exact))
    assert 1e-4 < error < 3e-2


def test_weights_are_trained_in_single_precision_and_the_statistics_stay_outside():
    u = np.random.default_rng(0).normal(size=(6, 4, 2, 12, 9)).astype(np.float32) + 1000
    data = pj.Trajectories.from_arrays(u, pj.Grid((12, 9), 1.0, dtype="float32"), ("a", "b"), np.arange(4.0))
    given = {"optimiser": optax.sgd(1e-4), "num_steps": 1, "batch_size": 4, "progress": False}
    model = network()
    fitted = pj.fit(InPrecision(model), pj.objectives.OneStep(), data, key=jax.random.key(0), **given).model
    assert isinstance(fitted, Normalised) and isinstance(fitted.model, InPrecision)
    assert fitted.input.mean.dtype == jnp.float32 and float(fitted.input.mean[0]) == pytest.approx(1000, abs=0.1)
    # Steps of this size vanish in the seven bits of bfloat16.
    before, after = model.lift.weight, fitted.model.model.lift.weight
    assert after.dtype == jnp.float32
    assert 0 < float(jnp.max(jnp.abs(after - before))) < 2**-9 * float(jnp.max(jnp.abs(before)))


def test_it_is_saved_and_lowers_for_every_platform(tmp_path):
    model = InPrecision(network(), jnp.bfloat16)
    pj.models.save(tmp_path / "model.pdejax", model)
    assert eqx.tree_equal(pj.models.load(tmp_path / "model.pdejax").model, model)
    arrays, rest = eqx.partition(model, eqx.is_array)
    gradient = jax.grad(lambda arrays, u: jnp.sum(eqx.combine(arrays, rest)(u) ** 2))
    check_lowering(gradient, arrays, jax.ShapeDtypeStruct(STATE.shape, jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
def test_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="computes in a floating-point dtype"):
        InPrecision(network(), jnp.int32)
