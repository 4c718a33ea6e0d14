import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import FNO, load, save
from pdejax.nn import (
    Addition,
    ChannelAttention,
    Conditioning,
    Embedding,
    FiLM,
    FourierLayer,
    GridEmbedding,
    GroupNorm,
)
from pdejax.nn.parameter_embedding import waves
from pdejax.testing import check_model

KINDS = [Addition(), FiLM(), ChannelAttention(5)]
made = eqx.filter_jit(
    lambda conditioning, **options: FNO(2, 5, 2, 3, 6, num_layers=2, conditioning=conditioning, **options)
)
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def field(space, seed=0, channels=2):
    return jax.random.normal(jax.random.key(seed), (channels, *space), jnp.float32)


@pytest.mark.float64
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sinusoids", [0, 4])
def test_every_weight_of_a_modulated_network_is_used(kind, sinusoids):
    told = Conditioning(("viscosity", "lead_time"), "mask", kind, Embedding(7, sinusoids), periodic=(True, False))
    model = FNO(2, 5, 2, 3, 6, num_layers=2, conditioning=told, dtype=jnp.float64, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, 8, 9))
    values = {"viscosity": 0.3, "lead_time": -1.2, "mask": jnp.ones((8, 9)).at[3, 4].set(0.0)}
    check_model(model, u, out_channels=5, parameters=values)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_every_number_and_field_is_told_apart(kind):
    told = Conditioning(("a", "b"), ("mask",), kind, periodic=True)
    model, u = made(told, key=jax.random.key(0)), field((8, 9))
    mask = field((8, 9), 1, 1)[0]
    result, *others = (
        np.asarray(applied(model, u, {"a": a, "b": b, "mask": m, "not asked for": 1.0}))
        for a, b, m in ((0.5, -1.0, mask), (-1.0, 0.5, mask), (0.5, -0.9, mask), (0.5, -1.0, mask[::-1]))
    )
    assert all(np.max(np.abs(other - result)) > 1e-4 for other in others)


def test_film_behind_a_norm_is_adaptive_normalisation():
    # With K = 0 what K makes has zero mean and variance whatever u is: the layer gives the shift, and nothing else.
    told = Conditioning("a", modulation=FiLM())
    model = made(told, layer=FourierLayer(shortcut=None, norm=GroupNorm(affine=False)), key=jax.random.key(0))
    silent = eqx.tree_at(
        lambda m: [c.real for c in m.convolutions], model, [jnp.zeros_like(c.real) for c in model.convolutions]
    )
    silent = eqx.tree_at(
        lambda m: [c.imaginary for c in m.convolutions],
        silent,
        [jnp.zeros_like(c.imaginary) for c in model.convolutions],
    )
    result = applied(silent, field((8, 9)), {"a": 0.7})
    shift = silent.modulations[1].shift(silent.embedding(jnp.asarray([0.7])))
    expected = silent.projection(jnp.broadcast_to(shift[:, None, None], (6, 8, 9)))
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_modulated_by_numbers_it_commutes_with_translations(kind):
    model = made(Conditioning("a", modulation=kind, periodic=True), key=jax.random.key(0))
    u, a = field((8, 9)), {"a": 0.4}
    moved = applied(model, jnp.roll(u, (3, -2), (1, 2)), a)
    np.testing.assert_allclose(moved, np.roll(applied(model, u, a), (3, -2), (1, 2)), atol=1e-5)


def test_channel_attention_knows_the_ends_of_the_axes():
    model = made(Conditioning("a", modulation=ChannelAttention()), key=jax.random.key(0))
    u, a = field((8, 9)), {"a": 0.4}
    box, channel = (
        np.asarray(
            applied(model, u, a, domain=Grid((8, 9), 1.0, periodic=(True, last), points="nodes", dtype=jnp.float32))
        )
        for last in (True, False)
    )
    # A layer of neighbours, and a convolution over the whole box: the first layer differs at the wall only.
    layer = model.modulations[0].stencil
    gap = np.abs(
        np.asarray(layer(field((8, 9), channels=6), (True, True)) - layer(field((8, 9), channels=6), (True, False)))
    )
    assert np.max(gap[:, :, 1:-1]) < 1e-6 < 1e-2 < np.max(gap[:, :, 0])
    assert np.max(np.abs(box - channel)) > 1e-3
    with pytest.raises(ValueError, match="has to know which axes are periodic"):
        model(u, a)


def test_the_convolution_of_channel_attention_takes_constants_to_constants_at_walls_too():
    modulation = ChannelAttention(5).make(3, 2, 2, dtype=jnp.float32, key=jax.random.key(0))
    h = jnp.broadcast_to(jnp.asarray([1.0, -2.0, 0.5], jnp.float32)[:, None, None], (3, 6, 7))
    made = np.asarray(modulation(h, jnp.asarray([0.3, 1.0], jnp.float32), (False, True)))
    np.testing.assert_allclose(made, made[:, 3:4, 3:4] * np.ones((1, 6, 7)), rtol=1e-5)


def test_film_is_at_first_a_tenth_of_what_it_could_be():
    # Of numbers of size one the factors are then 1 + 0.1 z, z standard normal.
    modulation = FiLM().make(300, 20, 2, dtype=jnp.float32, key=jax.random.key(0))
    embedded = jnp.asarray(np.tile([1.0, -1.0], 10), jnp.float32)
    flat, ones = (np.asarray(modulation(jnp.full((300, 1, 1), h, jnp.float32), embedded)) for h in (0.0, 1.0))
    assert abs(np.std(flat) / 0.1 - 1) < 0.15 and abs(np.std(ones - flat - 1) / 0.1 - 1) < 0.15


def test_numbers_reach_their_waves_unrounded_in_half_precision():
    # 1001 and 1003 are 1000 in bfloat16.
    told = Conditioning("step", modulation=FiLM(), embedding=Embedding(8, 6))
    embedding = told.make_embedding(dtype=jnp.float32, key=jax.random.key(0))
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), embedding)
    for step in (1001.0, 1003.0):
        exact = told.embedded(embedding, {"step": step}, jnp.float32, "Model")
        rounded = told.embedded(half, {"step": step}, jnp.bfloat16, "Model")
        assert rounded.dtype == jnp.bfloat16
        np.testing.assert_allclose(rounded.astype(jnp.float32), exact, atol=0.03)


@pytest.mark.parametrize("kind", ["nodes", "centres"])
@pytest.mark.parametrize("periodic", [True, False])
def test_coordinates_are_whole_waves_around_an_axis_and_half_ones_between_walls(periodic, kind):
    grid = Grid((4, 9), (1.0, 3.0), periodic=periodic, points=kind, dtype=jnp.float32)
    told = Conditioning(coordinates=(0, 2)).on(2, "FNO")
    channels = told.channels((4, 9), None, grid, np.dtype("float32"), "FNO")
    x = np.asarray(grid.axes[1]) / 3
    if periodic:
        expected = [np.sin(2 * np.pi * x), np.sin(4 * np.pi * x), np.cos(2 * np.pi * x), np.cos(4 * np.pi * x)]
    else:
        expected = [np.cos(np.pi * half * x) for half in (0.5, 1.0, 1.5, 2.0)]
    expected = np.broadcast_to(np.asarray(expected)[:, None], (4, 4, 9))
    np.testing.assert_allclose(np.concatenate(channels), expected, atol=2e-6)


def test_waves_are_cosines_and_then_sines():
    expected = [np.cos(2.0), np.cos(2.0 / 100), np.sin(2.0), np.sin(2.0 / 100)]
    np.testing.assert_allclose(waves(jnp.asarray(2.0), 4), expected, atol=1e-6)


def test_a_model_file_keeps_the_conditioning(tmp_path):
    told = Conditioning(("a", "b"), "mask", FiLM(), Embedding(5, 4, jax.nn.silu), coordinates=(1, 0), periodic=True)
    model = made(told, key=jax.random.key(0))
    path = tmp_path / "model.pdejax"
    save(path, model, names=("u", "v"))
    loaded = load(path).model
    assert loaded.conditioning == told.on(2, "FNO")
    assert eqx.tree_equal(loaded, model)


def test_one_program_serves_all_numbers():
    model = made(Conditioning("a", modulation=FiLM()), key=jax.random.key(0))
    traces = []

    @jax.jit
    def call(u, a):
        traces.append(1)
        return model(u, {"a": a})

    results = [call(field((8, 9)), a) for a in (0.1, 0.2, 0.3)]
    assert len(traces) == 1 and not np.allclose(results[0], results[1])


@pytest.mark.either
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conditioning(("a", "a")), "names each parameter and field once"),
        (lambda: Conditioning("a", "a"), "names each parameter and field once"),
        (lambda: Conditioning(coordinates=-1), "`coordinates` >= 0, got -1"),
        (lambda: Conditioning("a", modulation=FiLM), "a kind that is built, e.g. pdejax.nn.FiLM"),
        (lambda: Conditioning(modulation=FiLM()), "needs `parameters` to follow"),
        (lambda: Embedding(0), "width >= 1"),
        (lambda: Embedding(4, 3), "even number of sinusoids, got 4 and 3"),
        (lambda: ChannelAttention(2), "odd number of points, got 2"),
        (lambda: Conditioning(coordinates=(1, 2, 3)).on(2, "FNO"), "one number or 2, one per axis, got"),
        (
            lambda: made(Conditioning("a"), parameters="b", key=jax.random.key(0)),
            "`conditioning` or what stands for it",
        ),
        (
            lambda: made(Conditioning("a"), key=jax.random.key(0))(field((8, 9))),
            "needs the parameter 'a' but the call has",
        ),
        (
            lambda: made(Conditioning("a"), key=jax.random.key(0))(field((8, 9)), {"a": jnp.ones((8, 9))}),
            r"'a' as one number, got shape \(8, 9\): a field is named in",
        ),
        (
            lambda: made(Conditioning((), "m"), key=jax.random.key(0))(field((8, 9)), {"m": jnp.ones(9)}),
            r"takes 'm' as a field on the points of the state, \(8, 9\), got \(9,\)",
        ),
    ],
)
def test_mistakes_are_named(make, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.either
def test_positions_of_a_grid_embedding_need_no_domain():
    model = made(Conditioning(coordinates=GridEmbedding()), key=jax.random.key(0))
    assert applied(model, field((8, 9))).shape == (5, 8, 9)
