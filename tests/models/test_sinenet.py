import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import SineNet, load, save
from pdejax.nn import Conditioning, FiLM, GroupNorm
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
SMALL = {"num_waves": 2, "multiplier": 1.5, "num_levels": 2, "conditioning": PERIODIC}
made = eqx.filter_jit(lambda *arguments, **options: SineNet(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, width=4, **options):
    return made(2, 3, ndim, width, **SMALL | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


@pytest.mark.either
@pytest.mark.parametrize(
    ("width", "options", "count"),
    [
        (64, {"num_waves": 2, "multiplier": 1.8075}, 35_499_989),
        (64, {"num_waves": 4, "multiplier": 1.611}, 35_493_699),
        (64, {"num_waves": 6, "multiplier": 1.5}, 35_475_499),
        (64, {}, 35_490_219),
        (64, {"disentangled": False}, 32_831_403),
        (64, {"num_waves": 1, "num_blocks": 8}, 28_628_084),
        (64, {"num_waves": 1, "multiplier": 2}, 33_788_099),
        (128, {"num_waves": 1, "multiplier": 2}, 135_094_659),
    ],
)
def test_the_published_networks_have_as_many_weights(width, options, count):
    # Three fields at four times in, three out.
    model = eqx.filter_eval_shape(lambda: SineNet(12, 3, 2, width, **options, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == count


@pytest.mark.float64
def test_the_contract_in_one_dimension_with_walls():
    layers = {"num_waves": 1, "num_levels": 1}
    model = network(1, conditioning=Conditioning(periodic=False), **layers, dtype=jnp.float64)
    check_model(model, random_state((13,), np.float64), out_channels=3)


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field():
    told = Conditioning(parameters="rate", fields="permeability", modulation=FiLM(), coordinates=(1, 2))
    model = network(2, conditioning=told, walls="edge", num_waves=1, width=2, dtype=jnp.float64)
    u, grid = random_state((9, 6), np.float64), Grid((9, 6), 2.0, periodic=(False, True))
    check_model(model, u, out_channels=3, domain=grid, parameters={"rate": 0.3, "permeability": u[0] ** 2})


@pytest.mark.float64
def test_the_contract_in_three():
    model = network(3, width=2, num_waves=1, num_levels=1, dtype=jnp.float64)
    check_model(model, random_state((4, 3, 6), np.float64), out_channels=3)


@pytest.mark.parametrize("disentangled", [True, False])
def test_it_commutes_with_translations_by_the_points_of_the_coarsest_level(disentangled):
    model, u = network(2, disentangled=disentangled), random_state((16, 24))
    result = np.asarray(applied(model, u))
    moved = np.asarray(applied(model, jnp.roll(u, (4, -8), (1, 2))))
    np.testing.assert_allclose(moved, np.roll(result, (4, -8), (1, 2)), atol=1e-5)
    other = np.asarray(applied(model, jnp.roll(u, 2, 1)))
    assert np.max(np.abs(other - np.roll(result, 2, 1))) > 1e-3


@pytest.mark.parametrize(("periodic", "disentangled"), [(True, True), (False, True), (True, False)])
def test_it_is_its_formula(periodic, disentangled):
    options = {"num_waves": 1, "activation": jnp.tanh, "conditioning": Conditioning(periodic=periodic)}
    model = network(1, disentangled=disentangled, **options)
    model = jax.tree.map(lambda leaf: leaf + 0.2 * jnp.cos(3.0 * jnp.arange(leaf.size)).reshape(leaf.shape), model)
    u = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)
    whole = lambda leaf: np.asarray(leaf, float)  # noqa: E731

    def convolved(layer, v):
        ends = {"mode": "wrap"} if periodic else {}
        wide = np.pad(v, ((0, 0), (1, 1)), **ends)
        taps = [whole(layer.weight)[:, :, i] @ wide[:, i : i + v.shape[1]] for i in range(3)]
        return sum(taps) + whole(layer.bias)[:, None]

    def normed(layer, v):
        y = (v - v.mean()) / np.sqrt(v.var() + 1e-5)
        return whole(layer.weight)[:, None] * y + whole(layer.bias)[:, None]

    def step(part, v, beside):
        h = v if beside is None else np.concatenate([beside, v])
        for block in part.blocks:
            for convolution, norm in zip(block.convolutions, block.norms, strict=True):
                h = np.tanh(normed(norm, convolved(convolution, h)))
        return h + whole(part.shortcut.weight) @ v + whole(part.shortcut.bias)[:, None]

    def halved(v):
        return (v[:, ::2] + v[:, 1::2]) / 2

    def doubled(v):
        # Between the centres i - 1 and i at a quarter, and at three: Keys at 1.25, 0.25, 0.75 and 1.75.
        keys = np.array([-0.0703125, 0.8671875, 0.2265625, -0.0234375])
        n, fine = v.shape[1], np.zeros((len(v), 2 * v.shape[1]))
        for i in range(n):
            for parity, away in ((0, -1), (1, 1)):
                places = i + away * np.array([-1, 0, 1, 2])
                weights = keys if periodic else np.where((places >= 0) & (places < n), keys, 0)
                fine[:, 2 * i + parity] = v[:, places % n] @ weights / weights.sum()
        return fine

    v, (wave,) = convolved(model.first, u), model.waves
    one = step(wave.down[0], halved(v), None)
    two = step(wave.down[1], halved(one), halved(halved(v)) if disentangled else None)
    up = step(wave.up[1], doubled(step(wave.up[0], doubled(two), one)), v)
    expected = convolved(model.last, v + up)
    np.testing.assert_allclose(applied(model, u), expected, atol=3e-5 * np.max(np.abs(expected)))


def test_waves_follow_one_another():
    model, u = network(1, num_waves=3), random_state((8,))
    silent = eqx.tree_at(lambda m: m.waves[1:], model, replace_fn=lambda each: jax.tree.map(_zeroed, each))
    first = eqx.tree_at(lambda m: m.waves, silent, silent.waves[:1])
    np.testing.assert_allclose(applied(silent, u), applied(first, u), atol=1e-6)
    assert np.max(np.abs(applied(model, u) - applied(first, u))) > 1e-2


def _zeroed(leaf):
    return jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf


def test_every_weight_is_used():
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=True)
    model = network(1, num_blocks=2, conditioning=told)
    # At first a modulation follows nothing.
    model = jax.tree.map(lambda leaf: leaf + 0.1 if eqx.is_inexact_array(leaf) else leaf, model)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum(m(random_state((16,)), {"rate": 0.5}) ** 2)))(model)
    assert not [path for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if not np.any(leaf)]


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=False)
    options = {"norm": GroupNorm(2), "walls": "reflect", "multiplier": 2, "disentangled": False, "num_blocks": 2}
    model = network(1, conditioning=told, **options)
    save(tmp_path / "model", model)
    u, given = random_state((16,)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"num_waves": 0}, "num_waves >= 1, got 0"),
        ({"num_levels": 0}, "num_levels >= 1, got 0"),
        ({"multiplier": 0.1}, "a `multiplier` that leaves channels on every level, got 0.1"),
        ({"multiplier": float("nan")}, "a `multiplier` that leaves channels on every level, got nan"),
        ({"norm": GroupNorm}, "SineNet takes as norm a kind that is built"),
        ({"walls": "periodic"}, "SineNet takes walls= one of"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    sizes = {"in_channels": 2, "out_channels": 3, "ndim": 2, "width": 4, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: SineNet(**sizes | SMALL | options))


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_it_has_to_know_which_axes_are_periodic():
    model = eqx.filter_eval_shape(lambda: SineNet(2, 3, 1, 4, num_levels=1, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="SineNet has to know which axes are periodic"):
        eqx.filter_eval_shape(lambda m, u: m(u), model, jax.ShapeDtypeStruct((2, 8), jnp.float32))
