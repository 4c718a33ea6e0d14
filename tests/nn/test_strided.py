"""Encoder, decoder and perceptron of latent states: their formulas, their symmetry, and what they refuse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.nn import (
    ChannelAttention,
    Conditioning,
    Embedding,
    FiLM,
    GroupNorm,
    LatentMLP,
    StridedDecoder,
    StridedEncoder,
    TransposedConvolution,
)
from pdejax.testing import check_lowering

KEY = jax.random.key(0)
PERIODIC = Conditioning(periodic=True)
made = eqx.filter_jit(lambda kind, *arguments, **options: kind(*arguments, **options, key=KEY))
built = lambda kind, *arguments, **options: kind(*arguments, **options, key=KEY)  # noqa: E731
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def random_state(*shape, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(dtype))


def away_from_zero(model):
    """With biases, too."""
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(3.0 * jnp.arange(leaf.size)).reshape(leaf.shape), model)


@pytest.mark.parametrize("periodic", [True, False])
def test_the_encoder_is_its_formula(periodic):
    told = Conditioning(periodic=periodic)
    model = away_from_zero(made(StridedEncoder, 2, 5, 1, (3,), space=(8,), activation=jnp.tanh, conditioning=told))
    u = random_state(2, 8)
    around = np.pad(np.asarray(u), [(0, 0), (1, 2)], mode="wrap" if periodic else "constant")
    weight = np.asarray(model.convolutions[0].weight)
    h = np.stack([np.tensordot(weight, around[:, i : i + 4], 2) for i in range(0, 8, 2)], axis=1)
    h = np.tanh(h + np.asarray(model.convolutions[0].bias)[:, None])
    z = np.asarray(model.head.weight) @ h.ravel() + np.asarray(model.head.bias)
    np.testing.assert_allclose(applied(model, u), z, rtol=1e-5, atol=1e-6)


def test_the_decoder_is_the_transpose_of_the_encoder():
    # <C u, h> = <u, C^T h> for the weights turned around, on a ring: what lies where is the same in both.
    encoder = made(StridedEncoder, 2, 3, 1, (3,), activation=_same, conditioning=PERIODIC)
    decoder = made(StridedDecoder, 2, 3, 1, (3,), activation=_same, conditioning=PERIODIC)
    weight = encoder.convolutions[0].weight
    turned = jnp.flip(jnp.swapaxes(weight, 0, 1), -1)
    one = jnp.eye(3, dtype=jnp.float32)
    decoder = eqx.tree_at(lambda d: (d.convolutions[0].weight, d.head.weight), decoder, (turned, one))
    encoder = eqx.tree_at(lambda e: e.head.weight, encoder, one)
    u, h = random_state(2, 12), random_state(3, 6)
    one, other = jnp.vdot(applied(encoder, u), h), jnp.vdot(u, applied(decoder, h))
    assert isinstance(decoder.convolutions[0], TransposedConvolution)
    assert float(one) == pytest.approx(float(other), rel=1e-5)


def _same(h):
    return h


def test_moving_a_state_by_the_stride_moves_the_coarse_one_by_a_point():
    options = {"points": 3, "norm": GroupNorm(2), "conditioning": PERIODIC}
    encoder = away_from_zero(made(StridedEncoder, 2, 3, 2, (4,), **options))
    decoder = away_from_zero(made(StridedDecoder, 2, 3, 2, (4,), **options))
    u = random_state(2, 6, 8)
    states = jnp.stack([u, jnp.roll(u, (2, -4), (1, 2)), jnp.roll(u, 1, 1)])
    z = applied(jax.vmap(encoder), states)
    assert z.shape == (3, 3, 3, 4)
    np.testing.assert_allclose(z[1], jnp.roll(z[0], (1, -2), (1, 2)), atol=1e-5)
    v = applied(jax.vmap(decoder), z)
    assert v.shape == states.shape
    np.testing.assert_allclose(v[1], jnp.roll(v[0], (2, -4), (1, 2)), atol=1e-5)
    assert float(jnp.max(jnp.abs(z[2] - z[0]))) > 1e-3


def test_a_pair_is_for_any_number_of_points_and_follows_numbers():
    grid, space = Grid((9, 6), 2.0, periodic=(False, True)), (9, 6)
    of_encoder = Conditioning("rate", "mask", FiLM(), coordinates=(1, 2))
    encoder = made(StridedEncoder, 2, 7, 2, (3, 4), space=space, conditioning=of_encoder)
    decoder = made(StridedDecoder, 3, 7, 2, (3, 4), space=space, conditioning=Conditioning("rate"))
    u, given = random_state(2, 9, 6), {"rate": 0.3, "mask": np.ones((9, 6), np.float32)}

    @eqx.filter_jit
    def both(given):
        z = encoder(u, given, domain=grid)
        return z, decoder(z, {"rate": 0.3}, domain=grid), decoder(z, {"rate": -0.7}, domain=grid)

    z, v, of_other_rate = both(given)
    assert z.shape == (7,) and v.shape == (3, 9, 6) and v.dtype == jnp.float32
    assert float(jnp.max(jnp.abs(of_other_rate - v))) > 1e-4
    for other in ({"rate": -0.7}, {"mask": np.zeros((9, 6), np.float32)}):
        assert float(jnp.max(jnp.abs(both(given | other)[0] - z))) > 1e-4
    check_lowering(lambda u: decoder(encoder(u, given, domain=grid), given, domain=grid), u)
    # The same for latent states of a coarser grid, by their shapes.
    encoder, decoder = (
        eqx.filter_eval_shape(lambda kind=kind, told=told: kind(2, 7, 2, (3, 4), conditioning=told, key=KEY))
        for kind, told in ((StridedEncoder, of_encoder), (StridedDecoder, None))
    )
    z = eqx.filter_eval_shape(lambda model: model(u, given, domain=grid), encoder)
    assert z.shape == (7, 3, 2)
    assert eqx.filter_eval_shape(lambda model, z: model(z, domain=grid), decoder, z).shape == (2, 9, 6)


def test_the_perceptron_is_its_formula_and_begins_with_little():
    model = made(LatentMLP, 4, (5,), activation=jnp.tanh, conditioning=Conditioning("rate"))
    z = random_state(4)
    assert float(jnp.linalg.norm(applied(model, z, {"rate": 0.3}))) < 0.3 * float(jnp.linalg.norm(z))
    model = away_from_zero(model)
    one, two = ((np.asarray(each.weight), np.asarray(each.bias)) for each in model.layers)
    for rate in (0.3, -1.0):
        expected = two[0] @ np.tanh(one[0] @ np.append(z, rate) + one[1]) + two[1]
        np.testing.assert_allclose(applied(model, z, {"rate": rate}), expected, rtol=1e-5, atol=1e-6)
    modulated = made(LatentMLP, 4, (5,), conditioning=Conditioning("rate", modulation=FiLM(), embedding=Embedding(4)))
    one, two = (applied(modulated, z, {"rate": rate}) for rate in (0.3, -1.0))
    assert float(jnp.max(jnp.abs(one - two))) > 1e-4


@pytest.mark.either
def test_as_many_weights_as_their_formulas_count():
    # Points 4^2, levels of stride 2, from 16 x 24 to 4 x 6 points.
    def count(kind, *arguments, **options):
        shapes = eqx.filter_eval_shape(lambda: kind(*arguments, **options, key=KEY))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes) if hasattr(leaf, "size"))

    layers = (2 * 8 * 16 + 8) + (8 * 12 * 16 + 12)
    assert count(StridedEncoder, 2, 10, 2, (8, 12)) == layers + 12 * 10 + 10
    assert count(StridedEncoder, 2, 10, 2, (8, 12), space=(16, 24)) == layers + 12 * 24 * 10 + 10
    back = (12 * 8 * 16 + 8) + (8 * 5 * 16 + 5)
    assert count(StridedDecoder, 5, 10, 2, (8, 12), space=(16, 24)) == back + (10 + 1) * 12 * 24
    assert count(LatentMLP, 10, (20, 30)) == 11 * 20 + 21 * 30 + 31 * 10


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: built(StridedEncoder, 2, 3, 1, ()), r"StridedEncoder needs `widths`: .* got \(\)"),
        (lambda: built(StridedEncoder, 2, 0, 1, (4,)), "StridedEncoder needs latent >= 1, got 0"),
        (lambda: built(StridedEncoder, 2, 3, 2, (4,), space=(8,)), r"has ndim=2 but space=\(8,\) has 1 axes"),
        (
            lambda: built(StridedEncoder, 2, 3, 1, (4,), space=(8,), conditioning=PERIODIC)(random_state(2, 12)),
            r"one vector of a state on \(8,\) points, got \(12,\): resample",
        ),
        (lambda: built(StridedEncoder, 2, 3, 1, (4,))(random_state(2, 8)), "has to know which axes are periodic"),
        (
            lambda: built(StridedDecoder, 2, 3, 1, (4,), conditioning=Conditioning(fields="mask")),
            r"no points for fields=\('mask',\).*numbers alone here",
        ),
        (
            lambda: built(LatentMLP, 3, (4,), conditioning=Conditioning(coordinates=2)),
            r"LatentMLP reads a latent state, which has no points for .*coordinates=\(2,\)",
        ),
        (
            lambda: built(LatentMLP, 3, (4,), conditioning=Conditioning("rate", modulation=ChannelAttention())),
            "takes as modulation Addition.* got ChannelAttention",
        ),
        (lambda: built(LatentMLP, 3, (4,))(random_state(3, 4)), r"a latent vector, \(3,\), got shape \(3, 4\)"),
        (
            lambda: built(StridedDecoder, 2, 3, 1, (4,), space=(8,), conditioning=PERIODIC)(random_state(4)),
            r"latent state \(latent,\), latent=3, got shape \(4,\)",
        ),
        (
            lambda: built(StridedDecoder, 2, 3, 1, (4,), space=(8,))(random_state(3), domain=Grid(12, 1.0)),
            r"on \(8,\) points but the domain has shape \(12,\)",
        ),
        (
            lambda: built(StridedDecoder, 2, 3, 1, (4,))(random_state(3, 5), domain=Grid(12, 1.0)),
            r"has a latent one on \(6,\), got \(5,\)",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    # Mistakes are found while it is traced: nothing is drawn for them.
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(make)
