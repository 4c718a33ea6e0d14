"""First weights: the numbers of `jax.random.normal`, from few programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn.drawn import normal


@pytest.mark.either
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (4, 3, 3, 2), (8, 8)])
def test_they_are_those_of_jax_whatever_the_shape(shape, dtype):
    key = jax.random.key(3)
    given = normal(key, shape, dtype, 3.0)
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, jax.random.normal(key, shape, dtype) / 3.0)
    np.testing.assert_array_equal(jax.jit(lambda key: normal(key, shape, dtype))(key), normal(key, shape, dtype))


@pytest.mark.float64
def test_they_are_those_of_jax_in_double_precision():
    key = jax.random.key(3)
    np.testing.assert_array_equal(normal(key, (5, 3), jnp.float64), jax.random.normal(key, (5, 3), jnp.float64))


def test_two_keys_give_two_sets_that_are_centred():
    first, second = (normal(jax.random.key(seed), (101, 7, 3), jnp.float32, 2.0) for seed in (0, 1))
    assert abs(float(jnp.corrcoef(first.ravel(), second.ravel())[0, 1])) < 0.1
    assert abs(float(jnp.mean(first))) < 0.05 and abs(float(jnp.std(first)) - 0.5) < 0.02
