"""The block of the U-Net against its formula, with weights of every part that are not what they begin with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import Conditioning, FiLM, GroupNorm, Modes, ResidualBlock
from pdejax.nn.channels import channels_first, channels_last


@pytest.mark.parametrize("modes", [None, (3,)])
@pytest.mark.parametrize("channels", [(4, 4), (2, 6)])
def test_it_is_that_of_its_formula(channels, modes):
    into, out = channels
    block = ResidualBlock(
        into,
        out,
        1,
        modes=None if modes is None else Modes.classic(modes, 1),
        norm=GroupNorm(2),
        activation=jnp.sin,
        conditioning=Conditioning("rate", modulation=FiLM()),
        key=jax.random.key(0),
    )
    block = jax.tree.map(lambda leaf: leaf + 0.05 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), block)
    v = jnp.asarray(np.random.default_rng(0).normal(size=(into, 9)), jnp.float32)
    embedded = jnp.asarray(np.random.default_rng(1).normal(size=64))

    def convolved(number, h):
        h, local = jnp.asarray(h), block.convolutions[number](h, (True,))
        return local if modes is None else local + block.spectral[number](h)

    h = convolved(0, jnp.sin(block.norms[0](v)))
    h = block.modulation(block.norms[1](h), embedded, (True,))
    expected = convolved(1, jnp.sin(h)) + (v if into == out else block.shortcut(v))
    found = channels_first(block(channels_last(v), (True,), embedded))
    np.testing.assert_allclose(found, expected, atol=2e-5)
