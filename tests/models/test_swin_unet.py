import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import SwinUNet, load, save
from pdejax.nn import Conditioning, FiLM
from pdejax.testing import check_lowering, check_model

SMALL = {"patch": 2, "window": 2, "num_levels": 2, "heads": 2}
AROUND, WALLS = Conditioning(periodic=True), Conditioning(periodic=False)

made = eqx.filter_jit(lambda *arguments, **options: SwinUNet(*arguments, **(SMALL | options)))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def noise(space, num_channels=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (num_channels, *space), dtype)


@pytest.mark.parametrize("space", [(33,), (24, 33), (5, 6, 7)])
def test_unequal_channels_and_grids_in_one_two_and_three_dimensions(space):
    make = lambda u: SwinUNet(2, 5, len(space), 4, conditioning=WALLS, **SMALL, key=jax.random.key(0))(u)  # noqa: E731
    assert jax.eval_shape(make, noise(space)).shape == (5, *space)


def test_two_levels_commute_with_translations_by_the_windows_of_the_last():
    model = made(1, 2, 1, 4, depth=1, conditioning=AROUND, key=jax.random.key(0))
    u = noise((24,), 1)
    one, shifted, between = np.asarray(applied(jax.vmap(model), jnp.stack([u, jnp.roll(u, 8, 1), jnp.roll(u, 4, 1)])))
    np.testing.assert_allclose(shifted, np.roll(one, 8, 1), atol=1e-5)
    assert np.max(np.abs(between - np.roll(one, 4, 1))) > 1e-2


def test_a_periodic_axis_beside_a_wall():
    # Along the periodic axis it commutes with shifts by windows; the same weights between walls give something else.
    model = made(1, 2, 2, 4, patch=1, num_levels=1, key=jax.random.key(0))
    u, run = noise((8, 6), 1), eqx.filter_jit(lambda m, batch, grid: jax.vmap(lambda u: m(u, domain=grid))(batch))
    mixed, closed = (Grid((8, 6), 1.0, (flag, False), points="centres", dtype=jnp.float32) for flag in (True, False))
    batch = jnp.stack([u, jnp.roll(u, 2, 1), jnp.roll(u, 1, 1)])
    one, shifted, between = np.asarray(run(model, batch, mixed))
    assert np.max(np.abs(between - np.roll(one, 1, 1))) > 1e-2  # shifts by less than a window it sees
    np.testing.assert_allclose(shifted, np.roll(one, 2, 1), atol=1e-5)
    one_closed, shifted_closed, _ = np.asarray(run(model, batch, closed))
    assert np.max(np.abs(one - one_closed)) > 1e-2
    assert np.max(np.abs(shifted_closed - np.roll(one_closed, 2, 1))) > 1e-2
    with pytest.raises(ValueError, match="SwinUNet has to know which axes are periodic"):
        model(u)


def test_between_walls_a_size_that_does_not_fit_is_padded_by_the_last_points():
    model = made(1, 2, 1, 4, depth=1, skip_blocks=0, conditioning=WALLS, key=jax.random.key(0))
    u = noise((13,), 1)
    longer = jnp.pad(u, [(0, 0), (1, 2)], mode="edge")
    np.testing.assert_allclose(applied(model, u), applied(model, longer)[:, 1:14], atol=1e-6)


@pytest.mark.parametrize(("points", "near"), [(20, "16 and 24"), (33, "32 and 40"), (3, "4:")])
def test_around_a_periodic_axis_a_size_that_does_not_fit_is_refused_and_those_that_do_are_named(points, near):
    model = eqx.filter_eval_shape(lambda: SwinUNet(1, 2, 1, 4, conditioning=AROUND, **SMALL, key=jax.random.key(0)))
    with pytest.raises(
        ValueError, match=f"{points} points along axis 0 do not fit.*sizes that fit are {near}".replace("4:", "4")
    ):
        eqx.filter_eval_shape(model, jax.ShapeDtypeStruct((1, points), jnp.float32))
    # Two points of a patch, two levels, windows of two patches: multiples of 8, and 4, which is one window.
    assert [n for n in range(30) if model.fits(n, 0)] == [4, 8, 16, 24]


def test_its_weights_are_counted_by_the_formula():
    width, heads, depth, inputs, outputs, bias = 8, 2, 3, 3, 5, 64
    model = eqx.filter_eval_shape(
        lambda: SwinUNet(
            inputs,
            outputs,
            2,
            width,
            patch=2,
            window=4,
            num_levels=2,
            depth=depth,
            skip_blocks=2,
            heads=heads,
            expansion=3,
            conditioning=AROUND,
            key=jax.random.key(0),
        )
    )

    def block(c, h):
        attention = 4 * c**2 + 3 * c + h + (2 + 1) * bias + (bias + 1) * h
        return attention + (c + 1) * 3 * c + (3 * c + 1) * c + 4 * c

    skip = (49 + 1) * width + 2 * width + (width + 1) * 4 * width + (4 * width + 1) * width + width
    between = 4 * width * 2 * width + 4 * width + 2 * width * 4 * width + 2 * width
    ends = (4 * inputs + 1) * width + (width + 1) * 4 * outputs + 25 * outputs**2
    expected = 2 * depth * block(width, heads) + depth * block(2 * width, 2 * heads) + 2 * skip + between + ends
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == expected


def test_it_follows_the_lead_time_and_comes_back_from_a_file(tmp_path):
    told = Conditioning(parameters="lead_time", modulation=FiLM(), fields="mask", periodic=True)
    model = made(2, 3, 1, 4, depth=1, skip_blocks=0, conditioning=told, activation=jax.nn.silu, key=jax.random.key(0))
    u, mask = noise((16,)), jnp.ones(16, jnp.float32)
    save(tmp_path / "model", model)
    loaded = load(tmp_path / "model").model
    run = eqx.filter_jit(lambda m, t: m(u, {"lead_time": t, "mask": mask}))
    early, late, again = (np.asarray(run(m, jnp.float32(t))) for m, t in ((model, 0.1), (model, 0.9), (loaded, 0.1)))
    assert np.max(np.abs(early - late)) > 1e-2
    np.testing.assert_array_equal(early, again)
    assert loaded.conditioning == model.conditioning


@pytest.mark.float64
def test_it_keeps_the_contract_of_models():
    # A level with the second of its blocks shifted, between walls, padded.
    told = Conditioning(parameters="lead_time", modulation=FiLM(), periodic=False)
    shape = {"patch": 1, "num_levels": 1, "window": 4, "conditioning": told, "dtype": jnp.float64}
    model = made(2, 5, 1, 8, **shape, key=jax.random.key(0))
    check_model(model, noise((10,), dtype=jnp.float64), out_channels=5, parameters={"lead_time": 0.5})


def test_every_weight_of_two_levels_is_used():
    told = Conditioning(parameters="lead_time", modulation=FiLM(), periodic=True)
    model = made(1, 2, 1, 4, depth=1, conditioning=told, key=jax.random.key(0))
    loss = eqx.filter_jit(eqx.filter_grad(lambda m, u: jnp.sum(jnp.sin(m(u, {"lead_time": 0.5})))))
    for path, leaf in jax.tree_util.tree_leaves_with_path(loss(model, noise((16,), 1))):
        assert np.any(np.asarray(leaf) != 0), jax.tree_util.keystr(path)


def test_it_lowers_for_every_platform():
    make = lambda: SwinUNet(2, 5, 3, 4, conditioning=WALLS, **SMALL, key=jax.random.key(0))  # noqa: E731
    check_lowering(lambda u: make()(u), jax.ShapeDtypeStruct((2, 8, 9, 8), jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 4}, "SwinUNet needs heads that divide its width of 6, got 4"),
        ({"window": (2, 2)}, r"window >= 1, one number or 1, got \(2, 2\)"),
        ({"patch": 0}, "patch >= 1, one number or 1, got 0"),
        ({"skip_blocks": -1}, "skip_blocks >= 0, got -1"),
        ({"depth": 0}, "depth >= 1, got 0"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SwinUNet(
            **(
                {"in_channels": 1, "out_channels": 1, "ndim": 1, "width": 6, **SMALL, "key": jax.random.key(0)}
                | arguments
            )
        )


@pytest.mark.usefixtures("without_shape_checks")
def test_states_that_do_not_fit_are_refused():
    model = eqx.filter_eval_shape(lambda: SwinUNet(2, 5, 1, 4, **SMALL, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"state of 2 channels and 1 axes.*\(1, 24\)"):
        eqx.filter_eval_shape(model, jax.ShapeDtypeStruct((1, 24), jnp.float32))
    bent = Grid(24, 1.0, False, points="chebyshev", dtype=jnp.float32)
    with pytest.raises(ValueError, match="SwinUNet needs points at equal distances, whose windows count points"):
        model(jnp.zeros((2, 24)), domain=bent)
