import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn.fitted_space import fitted_space
from pdejax.nn.global_attention import GlobalAttention


def test_periodic_axes_are_interpolated_and_walls_moved_out():
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(9) / 9
    amplitudes = rng.normal(size=(2, 7, 5)).astype(np.float32)
    waves = lambda x: np.stack([np.ones_like(x), *(f(k * x) for k in (1, 2) for f in (np.cos, np.sin))])  # noqa: E731
    u = jnp.asarray(np.einsum("cwk,kp->cwp", amplitudes, waves(angle)), jnp.float32)
    fitted, restore = fitted_space(u, 4, (False, True), ("nodes", "nodes"))
    assert fitted.shape == (2, 8, 12)
    finer = np.einsum("cwk,kp->cwp", amplitudes, waves(2 * np.pi * np.arange(12) / 12))
    np.testing.assert_allclose(fitted, np.pad(finer, ((0, 0), (0, 1), (0, 0)), mode="edge"), atol=1e-5)
    np.testing.assert_allclose(restore(fitted), u, atol=1e-5)


@pytest.mark.parametrize("periodic", [True, False])
def test_what_fits_is_left_alone(periodic):
    u = jax.random.normal(jax.random.key(0), (2, 8, 12))
    fitted, restore = fitted_space(u, 4, (periodic,) * 2, ("nodes",) * 2)
    np.testing.assert_array_equal(fitted, u)
    np.testing.assert_array_equal(restore(fitted), u)


def test_points_at_centres_are_interpolated_to_centres_and_back():
    waves = lambda n: jnp.sin(2 * np.pi * (jnp.arange(n) + 0.5) / n + 0.3)[None]  # noqa: E731
    fitted, restore = fitted_space(waves(13), 8, (True,), ("centres",))
    np.testing.assert_allclose(fitted, waves(16), atol=1e-5)
    # Another function than what came in, so that two mistakes do not undo each other.
    np.testing.assert_allclose(restore(2 * waves(16)), 2 * waves(13), atol=1e-5)


def test_every_frequency_survives_an_odd_number_of_points():
    u = jax.random.normal(jax.random.key(0), (3, 13))
    fitted, restore = fitted_space(u, 8, (True,), ("nodes",))
    assert fitted.shape == (3, 16)
    np.testing.assert_allclose(restore(fitted), u, atol=1e-5)


def test_attention_is_that_of_its_formula():
    module = GlobalAttention(6, heads=2, key=jax.random.key(0))
    module = jax.tree.map(lambda leaf: leaf + 0.05 * jnp.arange(leaf.size).reshape(leaf.shape) / leaf.size, module)
    u = np.random.default_rng(0).normal(size=(6, 3, 4))
    n = (u - u.mean()) / np.sqrt(u.var() + 1e-5)
    n = np.asarray(module.norm.weight, float)[:, None, None] * n + np.asarray(module.norm.bias, float)[:, None, None]
    affine = lambda m, v: np.asarray(m.weight, float) @ v + np.asarray(m.bias, float)[:, None]  # noqa: E731
    q, k, v = affine(module.projections, n.reshape(6, -1)).reshape(3, 2, 3, -1)
    z = []
    for head in range(2):
        scores = np.exp(q[head].T @ k[head] / 3**0.5)
        z.append(v[head] @ (scores / scores.sum(1, keepdims=True)).T)
    expected = u + affine(module.out, np.concatenate(z)).reshape(u.shape)
    np.testing.assert_allclose(module(jnp.asarray(u, jnp.float32)), expected, atol=2e-5)


def test_heads_divide_the_channels():
    with pytest.raises(ValueError, match="divides 6 channels, got 4"):
        GlobalAttention(6, heads=4, key=jax.random.key(0))
