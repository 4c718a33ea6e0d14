import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import Conditioning, ConvolutionPair, FiLM, GroupNorm
from pdejax.nn.pairs_of_points import largest_of_pairs, means_of_pairs


@pytest.mark.parametrize("place", ["between", "behind"])
def test_a_pair_is_its_formula_and_modulated_in_its_place(place):
    told = Conditioning("rate", modulation=FiLM())
    pair = ConvolutionPair(
        2, 3, 2, norm=GroupNorm(3), activation=jnp.tanh, modulated=place, conditioning=told, key=jax.random.key(0)
    )
    vector = jnp.linspace(-2, 3, told.embedding.width, dtype=jnp.float32)
    u = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6)), jnp.float32)
    around = (True, False)

    def expected(u):
        h = jnp.tanh(pair.norms[0](pair.convolutions[0](u, around)))
        h = pair.modulation(h, vector) if place == "between" else h
        h = pair.norms[1](pair.convolutions[1](h, around))
        return jnp.tanh(pair.modulation(h, vector) if place == "behind" else h)

    made = eqx.filter_jit(pair)(jnp.moveaxis(u, 0, -1), around, vector)
    assert made.shape == (5, 6, 3)
    np.testing.assert_allclose(jnp.moveaxis(made, -1, 0), jax.jit(expected)(u), atol=1e-5)


def test_pairs_of_points_are_taken_along_each_axis_of_space():
    u = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    corners = np.stack([u[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    np.testing.assert_array_equal(largest_of_pairs(jnp.asarray(u)), corners.max(0))
    np.testing.assert_allclose(means_of_pairs(jnp.asarray(u)), corners.mean(0), atol=1e-6)
