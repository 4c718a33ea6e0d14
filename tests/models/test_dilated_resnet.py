import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import DilatedResNet, load, save
from pdejax.nn import Conditioning, FiLM, GroupNorm
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
SMALL = {"num_blocks": 2, "dilations": (1, 3), "conditioning": PERIODIC}
made = eqx.filter_jit(lambda *arguments, **options: DilatedResNet(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, width=4, **options):
    return made(2, 3, ndim, width, **SMALL | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


@pytest.mark.either
@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 4_167_427), ({"norm": GroupNorm()}, 4_174_595), ({"norm": GroupNorm(), "dilations": (1, 1)}, 1_217_795)],
)
def test_the_published_networks_have_as_many_weights(options, count):
    # Three fields at four times in, three out.
    model = eqx.filter_eval_shape(lambda: DilatedResNet(12, 3, 2, **options, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == count


@pytest.mark.float64
def test_the_contract_in_one_dimension_with_walls():
    model = network(1, norm=GroupNorm(2), conditioning=Conditioning(periodic=False), dtype=jnp.float64)
    check_model(model, random_state((13,), np.float64), out_channels=3)


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field():
    told = Conditioning(parameters="rate", fields="permeability", modulation=FiLM(), coordinates=(1, 2))
    model = network(2, conditioning=told, walls="edge", dtype=jnp.float64)
    u, grid = random_state((9, 6), np.float64), Grid((9, 6), 2.0, periodic=(False, True))
    check_model(model, u, out_channels=3, domain=grid, parameters={"rate": 0.3, "permeability": u[0] ** 2})


@pytest.mark.float64
def test_the_contract_in_three():
    check_model(network(3, width=2, dtype=jnp.float64), random_state((4, 3, 5), np.float64), out_channels=3)


def test_it_commutes_with_every_translation_around_periodic_axes():
    model, u = network(2), random_state((9, 14))
    moved = applied(model, jnp.roll(u, (1, -5), (1, 2)))
    np.testing.assert_allclose(moved, jnp.roll(applied(model, u), (1, -5), (1, 2)), atol=1e-5)
    between_walls = network(2, conditioning=Conditioning(periodic=False))
    moved = applied(between_walls, jnp.roll(u, 1, 1))
    assert float(jnp.max(jnp.abs(moved - jnp.roll(applied(between_walls, u), 1, 1)))) > 1e-2


def test_it_sees_as_far_as_its_dilations_reach_and_no_further():
    # Blocks of one and three points: eight to either side.
    model, u = network(1), random_state((40,))
    changed = u.at[:, 20].add(1.0)
    seen = np.flatnonzero(np.any(np.abs(applied(model, changed) - applied(model, u)) > 1e-6, axis=0))
    np.testing.assert_array_equal(seen, np.arange(12, 29))


def test_it_is_its_formula():
    # Two blocks of two layers, each point a sum over three, 1 and 3 apart.
    model = network(1, norm=GroupNorm(2), activation=jnp.tanh)
    model = jax.tree.map(lambda leaf: leaf + 0.2 * jnp.cos(3.0 * jnp.arange(leaf.size)).reshape(leaf.shape), model)
    u = np.random.default_rng(1).normal(size=(2, 11)).astype(np.float32)
    whole = lambda leaf: np.asarray(leaf, float)  # noqa: E731
    affine = lambda m, v: whole(m.weight) @ v + whole(m.bias)[:, None]  # noqa: E731
    v = np.tanh(affine(model.lift.out, np.tanh(affine(model.lift.hidden, u))))
    for block in model.blocks:
        w = v
        for layer, far in zip(block, (1, 3), strict=True):
            g = w.reshape(2, -1)
            g = (g - g.mean(1, keepdims=True)) / np.sqrt(g.var(1, keepdims=True) + 1e-5)
            w = whole(layer.norm.weight)[:, None] * g.reshape(w.shape) + whole(layer.norm.bias)[:, None]
            taps = [np.roll(w, -i * far, 1) for i in (-1, 0, 1)]
            weight = whole(layer.convolution.weight)
            made = sum(weight[:, :, i] @ tap for i, tap in enumerate(taps))
            w = np.tanh(made + whole(layer.convolution.bias)[:, None])
        v = v + w
    expected = affine(model.projection.out, np.tanh(affine(model.projection.hidden, v)))
    np.testing.assert_allclose(applied(model, u), expected, atol=2e-5 * np.max(np.abs(expected)))


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=False)
    model = network(1, conditioning=told, norm=GroupNorm(2), walls="reflect", points=5)
    save(tmp_path / "model", model)
    u, given = random_state((30,)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"num_blocks": 0}, "num_blocks >= 1, got 0"),
        ({"dilations": ()}, r"len\(dilations\) >= 1, got 0"),
        ({"dilations": 2}, "`dilations`: a sequence of whole numbers >= 1"),
        ({"norm": GroupNorm}, "DilatedResNet takes as norm a kind that is built"),
        ({"walls": "periodic"}, "DilatedResNet takes walls= one of"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    sizes = {"in_channels": 2, "out_channels": 3, "ndim": 2, "width": 4, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: DilatedResNet(**sizes | options))


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_it_has_to_know_which_axes_are_periodic():
    model = eqx.filter_eval_shape(lambda: DilatedResNet(2, 3, 1, 4, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="DilatedResNet has to know which axes are periodic"):
        eqx.filter_eval_shape(lambda m, u: m(u), model, jax.ShapeDtypeStruct((2, 8), jnp.float32))
