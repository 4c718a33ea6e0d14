import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import GalerkinTransformer, load, save
from pdejax.nn import Conditioning, FiLM, Modes
from pdejax.testing import check_lowering, check_model

SMALL = {"heads": 2, "harmonics": 2}
AROUND = Conditioning(periodic=True)


def waves(space, num_channels=2, dtype=np.float32):
    """The same few waves on any grid, `(num_channels, *space)`, with frequencies up to 2 along each axis."""
    x = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in space), indexing="ij")
    phases = [sum((a + c) % 3 * xa for a, xa in enumerate(x)) for c in range(num_channels)]
    return jnp.asarray(np.stack([np.sin(phase + c) + 0.5 * np.cos(x[-1]) for c, phase in enumerate(phases)]), dtype)


made = eqx.filter_jit(lambda *arguments, **options: GalerkinTransformer(*arguments, **(SMALL | options)))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def with_large_attention(model):
    """Queries of the size that they have after training: at first attention is a hundredth of the state."""
    queries = lambda m: [each.queries.weight for each in m.attentions]  # noqa: E731
    return eqx.tree_at(queries, model, replace_fn=lambda w: 100 * w)


@pytest.mark.parametrize("space", [(33,), (24, 33), (4, 5, 6)])
def test_unequal_channels_and_grids_in_one_two_and_three_dimensions(space):
    make = lambda u: GalerkinTransformer(2, 5, len(space), 8, conditioning=AROUND, **SMALL, key=jax.random.key(0))(u)  # noqa: E731
    assert jax.eval_shape(make, waves(space)).shape == (5, *space)


def test_it_commutes_with_translations_and_coordinates_along_an_axis_break_only_that_one():
    u = waves((8, 15)).at[0, 1, 2].add(1.0)
    batch = jnp.stack([u, jnp.roll(u, (3, -4), (1, 2)), jnp.roll(u, 3, 1)])
    for conditioning in (AROUND, Conditioning(coordinates=(0, 1), periodic=True)):
        model = with_large_attention(made(2, 3, 2, 8, num_layers=2, conditioning=conditioning, key=jax.random.key(0)))
        one, both, first = np.asarray(applied(jax.vmap(model), batch))
        np.testing.assert_allclose(first, np.roll(one, 3, 1), atol=2e-5)
        gap = np.max(np.abs(both - np.roll(one, (3, -4), (1, 2))))
        assert gap < 2e-5 if conditioning is AROUND else gap > 1e-2


def test_without_harmonics_points_are_told_apart_by_their_values_alone():
    # Any order of the points gives the same values in that order; with harmonics places matter.
    u = jax.random.normal(jax.random.key(1), (2, 12), jnp.float32)
    order = np.random.default_rng(0).permutation(12)
    for harmonics in (0, 2):
        model = made(2, 3, 1, 8, num_layers=1, harmonics=harmonics, conditioning=AROUND, key=jax.random.key(0))
        one, other = np.asarray(applied(jax.vmap(with_large_attention(model)), jnp.stack([u, u[:, order]])))
        gap = np.max(np.abs(one[:, order] - other))
        assert gap > 1e-2 if harmonics else gap < 1e-5


def test_the_same_function_at_another_resolution():
    model = with_large_attention(made(2, 3, 2, 8, num_layers=2, conditioning=AROUND, key=jax.random.key(0)))
    coarse, fine = (np.asarray(applied(model, waves(space))) for space in ((30, 32), (60, 96)))
    np.testing.assert_allclose(fine[:, ::2, ::3], coarse, atol=1e-5 * np.max(np.abs(coarse)))
    assert np.max(np.abs(coarse - np.mean(coarse, (1, 2), keepdims=True))) > 0.1


def test_walls_and_periodic_axes_are_different_places():
    model = with_large_attention(made(1, 1, 1, 8, num_layers=1, key=jax.random.key(0)))
    u = waves((12,), 1)
    results = [np.asarray(applied(model, u, domain=Grid(12, 1.0, flag, dtype=jnp.float32))) for flag in (True, False)]
    assert np.max(np.abs(results[0] - results[1])) > 1e-3
    with pytest.raises(ValueError, match="GalerkinTransformer has to know which axes are periodic"):
        model(u)


def test_its_weights_are_counted_by_the_formula():
    width, layers, outputs = 12, 3, 5
    told = Conditioning(coordinates=(0, 1), periodic=True)
    model = eqx.filter_eval_shape(
        lambda: GalerkinTransformer(
            2, outputs, 2, width, num_layers=layers, heads=3, conditioning=told, key=jax.random.key(0)
        )
    )
    square, doubled = (width + 1) * width, (width + 1) * 2 * width
    layer = 4 * square + 4 * width + doubled + (2 * width + 1) * width
    ends = (4 + 1) * width + doubled + (2 * width + 1) * outputs
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == layers * layer + ends


def test_it_follows_the_lead_time_and_comes_back_from_a_file(tmp_path):
    told = Conditioning(parameters="lead_time", modulation=FiLM(), fields="mask", periodic=(True, False))
    model = made(2, 3, 2, 8, num_layers=1, conditioning=told, activation=jax.nn.silu, key=jax.random.key(0))
    u, mask = waves((8, 9)), jnp.ones((8, 9), jnp.float32)
    save(tmp_path / "model", model)
    loaded = load(tmp_path / "model").model
    early, late, again = (
        np.asarray(applied(m, u, {"lead_time": t, "mask": mask}))
        for m, t in ((model, 0.1), (model, 0.9), (loaded, 0.1))
    )
    assert np.max(np.abs(early - late)) > 1e-2
    np.testing.assert_array_equal(early, again)
    assert loaded.conditioning == model.conditioning


@pytest.mark.float64
def test_it_keeps_the_contract_of_models():
    told = Conditioning(parameters="lead_time", modulation=FiLM(), periodic=(True, False))
    model = made(2, 5, 2, 8, num_layers=1, conditioning=told, dtype=jnp.float64, key=jax.random.key(0))
    check_model(model, waves((6, 9), dtype=np.float64), out_channels=5, parameters={"lead_time": 0.5})


def test_it_lowers_for_every_platform():
    make = lambda: GalerkinTransformer(2, 5, 3, 8, conditioning=AROUND, **SMALL, key=jax.random.key(0))  # noqa: E731
    check_lowering(lambda u: make()(u), jax.ShapeDtypeStruct((2, 4, 5, 6), jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 4}, "GalerkinTransformer needs an even number of channels for each of its heads=4, got width=6"),
        ({"num_layers": 0}, "num_layers >= 1, got 0"),
        ({"feed_forward_width": 0}, "width >= 1, got 0"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GalerkinTransformer(
            **(
                {
                    "in_channels": 1,
                    "out_channels": 1,
                    "ndim": 1,
                    "width": 6,
                    **SMALL,
                    "heads": 3,
                    "key": jax.random.key(0),
                }
                | arguments
            )
        )


@pytest.mark.float64
def test_the_decoder_of_fourier_layers_keeps_the_contract():
    told = Conditioning("a", modulation=FiLM(), periodic=True)
    model = made(2, 5, 2, 8, num_layers=1, modes=(3, 4), conditioning=told, dtype=jnp.float64, key=jax.random.key(0))
    check_model(model, waves((8, 9), dtype=np.float64), out_channels=5, parameters={"a": 0.4})


def test_the_decoder_is_two_fourier_layers_behind_the_attention(tmp_path):
    options = {"num_layers": 1, "conditioning": AROUND, "key": jax.random.key(0)}
    alone, model = made(2, 3, 2, 8, **options), made(2, 3, 2, 8, modes=3, **options)
    behind = eqx.tree_at(lambda m: m.projection, alone, lambda v: v)
    v = behind(waves((8, 9)))
    (one, two), (first, second) = model.convolutions, model.shortcuts
    v = jax.nn.gelu(one(v) + first(v))
    expected = model.projection(two(v) + second(v))
    np.testing.assert_allclose(applied(model, waves((8, 9))), expected, atol=1e-5)
    save(tmp_path / "model.pdejax", model, names=("u", "v"))
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, model)
    with pytest.raises(ValueError, match="has ndim=2 but `modes` has 1 axes"):
        GalerkinTransformer(2, 3, 2, 8, modes=Modes.classic(3, 1), key=jax.random.key(0))


def test_fourier_layers_behind_are_padded_between_walls_alone():
    options = {"num_layers": 1, "modes": (4, 3), "spectral_layers": 2, "key": jax.random.key(0)}
    plain, padded = (made(1, 1, 2, 8, **options, padding=padding) for padding in (0.0, (0.5, 0.25)))
    v = jax.random.normal(jax.random.key(1), (8, 9, 8), jnp.float32)
    follow = lambda modulation, made: made  # noqa: E731
    # round(0.5 * 9) = 4 points of zeros at either wall, none along the periodic axis.
    wide = plain._decoded(jnp.pad(v, [(0, 0), (4, 4), (0, 0)]), (False, True), follow)
    found = padded._decoded(v, (False, True), follow)
    np.testing.assert_allclose(found, wide[:, 4:-4], atol=1e-5)
    assert np.max(np.abs(found - plain._decoded(v, (False, True), follow))) > 1e-2
    u, grid = v[:1], Grid((9, 8), 1.0, (False, True), dtype=jnp.float32)
    assert np.max(np.abs(applied(padded, u, domain=grid) - applied(plain, u, domain=grid))) > 1e-3
    with pytest.raises(ValueError, match="GalerkinTransformer needs `padding` >= 0"):
        made(1, 1, 2, 8, **options, padding=(0.1, -0.1))
