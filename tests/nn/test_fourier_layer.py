import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import nn
from pdejax.nn.shortcuts import ChannelGate


def states(channels, *space):
    return jax.random.normal(jax.random.key(1), (channels, *space), jnp.float32)


@pytest.mark.parametrize(
    ("kind", "groups"),
    [(nn.InstanceNorm(), 6), (nn.GroupNorm(1), 1), (nn.GroupNorm(2), 2), (nn.InstanceNorm(affine=True), 6)],
)
def test_a_norm_leaves_mean_zero_and_mean_square_one_in_every_group(kind, groups):
    u = np.asarray(3 + states(6, 4, 5) * np.arange(1, 7)[:, None, None])
    normal = np.asarray(kind.make(6, dtype=jnp.float32)(jnp.asarray(u))).reshape(groups, -1)
    np.testing.assert_allclose(normal.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose((normal**2).mean(1), 1, atol=1e-4)
    # Only a shift and a factor per group: an affine function of the input, up to rounding.
    for before, after in zip(u.reshape(groups, -1), normal, strict=True):
        assert np.corrcoef(before, after)[0, 1] > 1 - 1e-6


def test_a_norm_weighs_each_channel_and_is_finite_where_nothing_varies():
    norm = nn.GroupNorm(1).make(3, dtype=jnp.float32)
    weighed = eqx.tree_at(
        lambda n: (n.weight, n.bias), norm, (jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([0.0, 1.0, 5.0]))
    )
    u = states(3, 4, 5)
    expected = np.arange(1, 4)[:, None, None] * np.asarray(norm(u)) + np.asarray([0.0, 1.0, 5.0])[:, None, None]
    np.testing.assert_allclose(weighed(u), expected, rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda c: jnp.sum(norm(c * jnp.ones((3, 4, 5), jnp.float32))))(2.0)
    assert abs(float(slope)) < 0.1


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="groups=4 needs a number of groups that divides 6"):
        nn.GroupNorm(4).make(6, dtype=jnp.float32)


def test_shortcuts_are_a_matrix_a_number_per_channel_and_nothing():
    u = states(3, 4, 5)
    linear = nn.LinearShortcut(bias=False).make(3, dtype=jnp.float32, key=jax.random.key(0))
    np.testing.assert_allclose(linear(u)[:, 2, 3], np.asarray(linear.weight) @ np.asarray(u)[:, 2, 3], rtol=1e-5)
    assert linear.bias is None
    gate = nn.GatedShortcut().make(3, dtype=jnp.float32, key=jax.random.key(0))
    np.testing.assert_array_equal(gate(u), u)
    gate = eqx.tree_at(lambda g: g.weight, gate, jnp.asarray([1.0, -2.0, 0.5]))
    np.testing.assert_array_equal(gate(u), np.asarray(u) * np.asarray([1.0, -2.0, 0.5], np.float32)[:, None, None])
    assert isinstance(gate, ChannelGate)
    identity = nn.IdentityShortcut().make(3, dtype=jnp.float32, key=jax.random.key(0))
    np.testing.assert_array_equal(identity(u), u)


def test_the_exact_gelu_has_the_normal_distribution_function():
    x = np.linspace(-4, 4, 17, dtype=np.float32)
    expected = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    np.testing.assert_allclose(nn.exact_gelu(jnp.asarray(x)), expected, atol=1e-6)
    assert np.max(np.abs(nn.exact_gelu(jnp.asarray(x)) - jax.nn.gelu(jnp.asarray(x)))) > 1e-4


def test_the_embedding_counts_points_and_leaves_out_the_end():
    first, second = nn.GridEmbedding(0.0, (1.0, 3.0)).channels((4, 3))
    np.testing.assert_allclose(first, np.asarray([0, 0.25, 0.5, 0.75]).reshape(1, 4, 1))
    np.testing.assert_allclose(second, np.asarray([0.0, 1.0, 2.0]).reshape(1, 1, 3))
    with pytest.raises(ValueError, match="`highest`: one number or 3, one per axis"):
        nn.GridEmbedding(0.0, (1.0, 3.0)).check(3)


def kept_as_it_is(modes):
    convolution = nn.SpectralConvolution(1, 1, modes, key=jax.random.key(0))
    weights = jnp.ones_like(convolution.real), jnp.zeros_like(convolution.imaginary)
    return eqx.tree_at(lambda c: (c.real, c.imaginary), convolution, weights)


@pytest.mark.parametrize(("space", "lowered"), [((7, 6), (1, 0)), ((8, 7), (0, 0)), ((5, 6, 4), (1, 0, 0))])
def test_along_odd_axes_but_the_last_every_frequency_is_lowered_by_one(space, lowered):
    layer = nn.FourierLayer(shortcut=None, shift_odd_axes=True)
    x = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in space), indexing="ij")
    frequencies = (-1, *(1,) * (len(space) - 1))
    u, expected = (
        np.cos(sum((k - s) * xa for k, s, xa in zip(frequencies, shift, x, strict=True)) + 0.3)[None].astype(np.float32)
        for shift in ((0,) * len(space), lowered)
    )
    convolution = kept_as_it_is(nn.Modes.classic(2, len(space)))
    additions = layer.additions(1, dtype=jnp.float32, key=jax.random.key(0))
    got = jax.jit(lambda u: layer(u, convolution, None, additions, jnp.tanh, last=True))(jnp.asarray(u))
    np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("preactivation", [False, True])
def test_a_layer_is_its_formula(preactivation, last):
    mlp = nn.LayerMLP(5, activation=jnp.sin, shortcut=nn.LinearShortcut())
    parts = {"norm": nn.GroupNorm(2), "mlp": mlp, "stabiliser": jnp.arctan, "spectral_bias": True}
    layer = nn.FourierLayer(preactivation=preactivation, **parts)
    keys = jax.random.split(jax.random.key(0), 3)
    made = (
        nn.SpectralConvolution(4, 4, nn.Modes.classic(3, 1), key=keys[0]),
        nn.LinearShortcut().make(4, dtype=jnp.float32, key=keys[1]),
        layer.additions(4, dtype=jnp.float32, key=keys[2]),
    )
    # No bias is zero and no weight of a norm is one.
    made = jax.tree.map(lambda w: w + 0.3 * jnp.cos(3.0 * jnp.arange(w.size).reshape(w.shape)), made)
    u = 2 * states(4, 9)
    got = jax.jit(lambda made, u: layer(u, *made, jnp.tanh, last=last, modulated=lambda h: 1.5 * h))(made, u)

    convolution, shortcut, additions = made
    weight = np.asarray(convolution.real) + 1j * np.asarray(convolution.imaginary)

    def normed(norm, v):
        groups = v.reshape(2, -1)
        normal = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)
        return np.asarray(norm.weight)[:, None] * normal.reshape(v.shape) + np.asarray(norm.bias)[:, None]

    def affine(layer, v):
        return np.asarray(layer.weight) @ v + np.asarray(layer.bias)[:, None]

    def convolved(v):
        of = np.zeros((4, 5), complex)
        of[:, :3] = np.einsum("ik,kio->ok", np.fft.rfft(np.arctan(v))[:, :3], weight)
        return np.fft.irfft(of, 9) + np.asarray(additions.spectral_bias)[:, None]

    def second_half(h, v):
        return affine(additions.mlp.out, np.sin(affine(additions.mlp.hidden, h))) + affine(additions.mlp_shortcut, v)

    after, v = (lambda h: h) if last else np.tanh, np.asarray(u, float)
    if preactivation:
        v = normed(additions.first_norm, np.tanh(v))
        h = normed(additions.second_norm, after(1.5 * convolved(v) + affine(shortcut, v)))
        expected = second_half(h, v)
    else:
        h = after(1.5 * normed(additions.first_norm, convolved(v)) + affine(shortcut, v))
        expected = after(normed(additions.second_norm, second_half(h, v)))
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.max(np.abs(expected)))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.FourierLayer(shortcut="soft-gating"), "takes as shortcut a kind of pdejax.nn.*'soft-gating'"),
        (lambda: nn.FourierLayer(norm=nn.GroupNorm), "takes as norm a kind of pdejax.nn that is built"),
        (lambda: nn.FourierLayer(mlp=16), r"mlp=pdejax.nn.LayerMLP\(...\) or None, got 16"),
        (lambda: nn.LayerMLP(4, shortcut="linear"), "LayerMLP takes as shortcut a kind"),
        (lambda: nn.ChannelMLP(2, 0, 3, key=jax.random.key(0)), "width >= 1, got 0"),
    ],
)
def test_what_is_no_kind_of_part_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [nn.InstanceNorm(), nn.GroupNorm()])
def test_a_large_constant_is_nothing_to_a_norm(kind):
    norm = kind.make(2, dtype=jnp.float32)
    assert float(jnp.max(jnp.abs(norm(jnp.full((2, 24, 33), 101325.3, jnp.float32))))) < 1e-3


@pytest.mark.either
def test_where_squares_are_infinite_a_norm_is_no_number_and_not_zero():
    u = jnp.asarray(1e20 * np.random.default_rng(0).normal(size=(2, 9)), jnp.float32)
    for norm in (nn.GroupNorm().make(2, dtype=jnp.float32), nn.LayerNorm(2)):
        assert jnp.all(jnp.isnan(norm(u)))
        assert jnp.all(jnp.isfinite(norm(1e-3 * u)))


@pytest.mark.either
def test_a_row_of_zeros_with_weight_norm_has_a_gradient():
    layer = nn.ChannelMap(2, 3, weight_norm=True, key=jax.random.key(0))
    layer = eqx.tree_at(lambda m: (m.weight, m.gain), layer, (layer.weight.at[1].set(0), layer.gain.at[1].set(0)))
    gradient = jax.grad(lambda m: jnp.sum(m(jnp.ones((2, 5))) ** 2))(layer)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
