import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import ConvNeXtUNet, load, save
from pdejax.nn import ChannelAttention, Conditioning, FiLM
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
SMALL = {"num_levels": 2, "depth": 1, "points": 3, "scale": 0.5, "conditioning": PERIODIC}
made = eqx.filter_jit(lambda *arguments, **options: ConvNeXtUNet(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, width=3, **options):
    return made(2, 3, ndim, width, **SMALL | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


def shaken(model):
    """With other weights in the place of ones and zeros, and blocks that do more than they do at first."""
    return jax.tree.map(lambda leaf: leaf + 0.2 * jnp.cos(3.0 * jnp.arange(leaf.size)).reshape(leaf.shape), model)


@pytest.mark.either
@pytest.mark.parametrize(
    ("ndim", "inputs", "outputs", "options", "count"),
    [
        # The network of the benchmark, 42 features and two blocks per stage, of 11 and of 7 fields at four times in.
        (2, 44, 11, {}, 18_588_581),
        (3, 28, 7, {}, 22_315_405),
        # The defaults of its class.
        (2, 44, 11, {"width": 32, "depth": 1}, 7_277_291),
        (1, 4, 3, {"width": 32, "num_levels": 2, "depth": 1, "coarsest_depth": 3}, 659_555),
    ],
)
def test_the_published_networks_have_as_many_weights(ndim, inputs, outputs, options, count):
    # As counted in `parameters()` of UNetConvNext, the_well 215f55d, biases of norms included that it never adds.
    model = eqx.filter_eval_shape(lambda: ConvNeXtUNet(inputs, outputs, ndim, **options, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == count
    assert model.scale == 1e-6 and not model.finest_skip


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field():
    told = Conditioning(parameters="rate", fields="permeability", modulation=FiLM(), coordinates=(1, 2))
    model = network(2, conditioning=told, walls="edge", num_levels=1, finest_skip=True, dtype=jnp.float64)
    u, grid = random_state((9, 6), np.float64), Grid((9, 6), 2.0, periodic=(False, True))
    check_model(model, u, out_channels=3, domain=grid, parameters={"rate": 0.3, "permeability": u[0] ** 2})


@pytest.mark.float64
def test_the_contract_in_three():
    model = network(3, width=2, num_levels=1, skips="added", dtype=jnp.float64)
    check_model(model, random_state((4, 3, 6), np.float64), out_channels=3)


def test_it_commutes_with_translations_by_the_points_of_the_coarsest_level():
    model, u = shaken(network(2)), random_state((16, 24))
    result = np.asarray(applied(model, u))
    moved = np.asarray(applied(model, jnp.roll(u, (4, -8), (1, 2))))
    np.testing.assert_allclose(moved, np.roll(result, (4, -8), (1, 2)), atol=1e-5 * np.max(np.abs(result)))
    other = np.asarray(applied(model, jnp.roll(u, 2, 1)))
    assert np.max(np.abs(other - np.roll(result, 2, 1))) > 1e-3


@pytest.mark.parametrize(
    ("periodic", "options"),
    [(True, {"depth": 2}), (False, {"skips": "added"}), (True, {"finest_skip": True, "coarsest_depth": 2})],
)
def test_it_is_its_formula(periodic, options):
    told = Conditioning(periodic=periodic)
    model = shaken(network(1, activation=jnp.tanh, conditioning=told, points=5, **options))
    u = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)
    whole = lambda leaf: np.asarray(leaf, float)  # noqa: E731

    def neighbours(v, points):
        """Those of every point, (channel, points, space)."""
        reach = points // 2
        wide = np.pad(v, ((0, 0), (reach, reach)), **({"mode": "wrap"} if periodic else {}))
        return np.stack([wide[:, i : i + v.shape[1]] for i in range(points)], axis=1)

    def normed(layer, v):
        y = (v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5)
        return whole(layer.weight)[:, None] * y + whole(layer.bias)[:, None]

    def mapped(layer, v):
        return whole(layer.weight) @ v + whole(layer.bias)[:, None]

    def along(row, v):
        for block, nothing in row:
            assert nothing is None
            by_itself = np.einsum("cj,cjx->cx", whole(block.neighbours.weight)[:, 0], neighbours(v, 5))
            inside = normed(block.norm, by_itself + whole(block.neighbours.bias)[:, None])
            inside = mapped(block.perceptron.out, np.tanh(mapped(block.perceptron.hidden, inside)))
            v = v + whole(block.scale)[:, None] * inside
        return v

    def convolved(layer, v):
        return np.einsum("ocj,cjx->ox", whole(layer.weight), neighbours(v, 3)) + whole(layer.bias)[:, None]

    def coarser(level, v):
        norm, convolution = level.coarser
        v, weight = normed(norm, v), whole(convolution.weight)
        return weight[:, :, 0] @ v[:, ::2] + weight[:, :, 1] @ v[:, 1::2] + whole(convolution.bias)[:, None]

    def finer(level, v):
        norm, convolution = level.finer
        v, weight = normed(norm, v), whole(convolution.weight)
        pairs = np.stack([weight[:, :, 1] @ v, weight[:, :, 0] @ v], axis=-1)
        return pairs.reshape(len(pairs), -1) + whole(convolution.bias)[:, None]

    def joined(level, w, v):
        return w + v if options.get("skips") == "added" else mapped(level.join, np.concatenate([w, v]))

    zero, one, two = model.levels
    depth = options.get("depth", 1)
    assert [len(each.down) for each in model.levels] == [depth, depth, options.get("coarsest_depth", 1)]
    v0 = convolved(model.first, u)
    v1 = coarser(zero, along(zero.down, v0))
    v2 = coarser(one, along(one.down, v1))
    w = finer(two, along(two.up, along(two.down, v2)))
    w = finer(one, along(one.up, joined(one, w, v1)))
    if "finest_skip" in options:
        w = along(zero.up, joined(zero, w, v0))
    expected = convolved(model.last, w)
    np.testing.assert_allclose(applied(model, u), expected, atol=3e-5 * np.max(np.abs(expected)))


def test_points_that_are_added_between_walls_are_cut_off_and_a_periodic_axis_takes_any_number():
    model = shaken(network(1, width=2, num_levels=1, conditioning=Conditioning(periodic=False)))
    u = random_state((13,))
    wide = jnp.pad(u, ((0, 0), (0, 1)), mode="edge")
    np.testing.assert_allclose(applied(model, u), applied(model, wide)[:, :-1], atol=1e-5)
    around, x = shaken(network(1, width=2, num_levels=1)), lambda n: 2 * np.pi * np.arange(n) / n
    waves = lambda n: jnp.asarray(np.stack([np.cos(x(n)), np.sin(2 * x(n))]), jnp.float32)  # noqa: E731
    fine = np.fft.rfft(np.asarray(applied(around, waves(14)), float))[:, :7] / 14
    np.testing.assert_allclose(np.fft.rfft(np.asarray(applied(around, waves(13)), float)) / 13, fine, atol=1e-5)


def test_every_weight_is_used():
    told = Conditioning(parameters="rate", modulation=ChannelAttention(), periodic=True)
    model = shaken(network(1, conditioning=told, num_levels=1, finest_skip=True))
    gradient = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum(m(random_state((16,)), {"rate": 0.5}) ** 2)))(model)
    assert not [path for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if not np.any(leaf)]


def test_blocks_start_with_the_scale():
    blind, seeing = (network(1, num_levels=1, finest_skip=True, scale=each) for each in (0, 0.5))
    u = random_state((8,))
    scales = lambda m: [block.scale for level in m.levels for block, _ in level.down + level.up]  # noqa: E731
    assert all(np.all(np.asarray(each) == 0.5) for each in scales(seeing))
    silent = eqx.tree_at(scales, seeing, replace_fn=jnp.zeros_like)
    np.testing.assert_array_equal(applied(blind, u), applied(silent, u))
    assert np.max(np.abs(applied(seeing, u) - applied(blind, u))) > 1e-2


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=False)
    options = {
        "skips": "added",
        "walls": "reflect",
        "finest_skip": True,
        "coarsest_depth": 2,
        "scale": 1,
        "num_levels": 1,
    }
    model = network(1, conditioning=told, **options)
    save(tmp_path / "model", model)
    u, given = random_state((16,)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"num_levels": 0}, "num_levels >= 1, got 0"),
        ({"depth": 0}, "depth >= 1, got 0"),
        ({"coarsest_depth": 0}, "coarsest_depth >= 1, got 0"),
        ({"points": 0}, "points >= 1, got 0"),
        ({"skips": "none"}, 'ConvNeXtUNet takes skips="concatenated" or "added", got \'none\''),
        ({"scale": float("nan")}, "ConvNeXtUNet needs a finite `scale`, e.g. 1e-6, got nan"),
        ({"walls": "periodic"}, "ConvNeXtUNet takes walls= one of"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    sizes = {"in_channels": 2, "out_channels": 3, "ndim": 2, "width": 4, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: ConvNeXtUNet(**sizes | SMALL | options))


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_it_has_to_know_which_axes_are_periodic():
    model = eqx.filter_eval_shape(lambda: ConvNeXtUNet(2, 3, 1, 4, num_levels=1, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="ConvNeXtUNet has to know which axes are periodic"):
        eqx.filter_eval_shape(lambda m, u: m(u), model, jax.ShapeDtypeStruct((2, 8), jnp.float32))
