import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import ChannelMap
from pdejax.nn.per_sample import per_sample


def fields(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


def test_it_is_the_weight_whatever_the_field_holds():
    weight = fields(3, 2)
    np.testing.assert_array_equal(per_sample(weight, jnp.full((2, 5), jnp.nan)), weight)
    assert per_sample(weight.astype(jnp.float16), fields(2, 5)).dtype == jnp.float16


def test_a_batch_of_fields_is_multiplied_in_place():
    layer = ChannelMap(2, 5, key=jax.random.key(0))
    jaxpr = jax.make_jaxpr(jax.vmap(layer))(fields(3, 2, 5, 8).astype(jnp.float32))
    (product,) = (e for e in jaxpr.eqns if e.primitive.name == "dot_general")
    _, batch = product.params["dimension_numbers"]
    assert batch == ((0,), (0,))  # not one product with the samples among its columns
    assert not any(e.primitive.name == "transpose" for e in jaxpr.eqns)


@pytest.mark.parametrize("space", [(), (31,)])
def test_a_batch_of_few_points_is_one_product(space):
    jaxpr = jax.make_jaxpr(jax.vmap(ChannelMap(2, 5, key=jax.random.key(0))))(fields(3, 2, *space).astype(jnp.float32))
    (product,) = (e for e in jaxpr.eqns if e.primitive.name == "dot_general")
    assert product.params["dimension_numbers"][1] == ((), ())


@pytest.mark.float64
def test_values_and_gradients_of_a_batch_are_those_of_the_sum_over_samples():
    layer = ChannelMap(2, 5, dtype=jnp.float64, key=jax.random.key(0))
    u, cotangent = fields(3, 2, 5, 8), fields(3, 5, 5, 8)
    value, pull = eqx.filter_vjp(lambda layer, u: jax.vmap(layer)(u), layer, u)
    of_layer, of_u = pull(cotangent)
    weight = np.asarray(layer.weight)
    np.testing.assert_allclose(value, np.einsum("oi,bixy->boxy", weight, u), atol=1e-13)
    np.testing.assert_allclose(of_layer.weight, np.einsum("boxy,bixy->oi", cotangent, u), atol=1e-13)
    np.testing.assert_allclose(of_layer.bias, np.sum(np.asarray(cotangent), axis=(0, 2, 3)), atol=1e-13)
    np.testing.assert_allclose(of_u, np.einsum("oi,boxy->bixy", weight, cotangent), atol=1e-13)
    # Forward derivatives, and the weights of an ensemble: one axis for the members, one for the samples.
    moved = jax.jvp(jax.vmap(layer), (u,), (u,))[1]
    np.testing.assert_allclose(moved, value, atol=1e-13)
    both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), layer)
    twice = eqx.filter_vmap(lambda layer: jax.vmap(layer)(u))(both)
    np.testing.assert_allclose(twice, jnp.stack([value, 2 * value]), atol=1e-13)
