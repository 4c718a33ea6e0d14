import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import InPrecision, UNet, load, save
from pdejax.nn import Addition, Conditioning, Embedding, FiLM, InstanceNorm
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
SMALL = {"multipliers": (1, 2), "depth": 1, "norm_groups": 2, "conditioning": PERIODIC}
made = eqx.filter_jit(lambda *arguments, **options: UNet(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, width=4, **options):
    return made(2, 3, ndim, width, **SMALL | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


def number_of_weights(make):
    model = eqx.filter_eval_shape(make, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size"))


@pytest.mark.either
def test_the_published_networks_have_as_many_weights():
    # Three fields at four times in, three out; a complex weight counts as two numbers.
    assert number_of_weights(lambda key: UNet(12, 3, 2, key=key)) == 144_263_683
    assert number_of_weights(lambda key: UNet(12, 3, 2, attention=True, key=key)) == 148_464_131
    assert number_of_weights(lambda key: UNet(12, 3, 2, fourier_modes=(16, 8), key=key)) == 175_131_139
    # The network of PDE-Refiner on the Kuramoto-Sivashinsky equation.
    numbers = Conditioning(("step", "dt", "dx"), modulation=Addition(), embedding=Embedding(256, sinusoids=64))
    assert number_of_weights(lambda key: UNet(2, 1, 1, conditioning=numbers, key=key)) == 53_924_225


@pytest.mark.float64
def test_the_contract_in_one_dimension():
    model = network(1, width=2, attention=True, dtype=jnp.float64)
    check_model(model, random_state((7,), np.float64), out_channels=3)


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field_and_walls():
    told = Conditioning(parameters="rate", fields="permeability", modulation=FiLM(), coordinates=(1, 2))
    layers = {"multipliers": (1,), "fourier_modes": (2,), "walls": "reflect"}
    model = network(2, width=2, conditioning=told, **layers, dtype=jnp.float64)
    u, grid = random_state((9, 6), np.float64), Grid((9, 6), 2.0, periodic=(False, True))
    check_model(model, u, out_channels=3, domain=grid, parameters={"rate": 0.3, "permeability": u[0] ** 2})


@pytest.mark.float64
def test_the_contract_in_three():
    check_model(network(3, width=2, dtype=jnp.float64), random_state((4, 3, 6), np.float64), out_channels=3)


@pytest.mark.parametrize("options", [{}, {"attention": True}, {"fourier_modes": (2, 1)}])
def test_it_commutes_with_translations_by_the_points_of_the_coarsest_level(options):
    model, u = network(2, multipliers=(1, 2, 1), **options), random_state((16, 24))
    result = np.asarray(applied(model, u))
    moved = np.asarray(applied(model, jnp.roll(u, (4, -8), (1, 2))))
    np.testing.assert_allclose(moved, np.roll(result, (4, -8), (1, 2)), atol=1e-5)
    other = np.asarray(applied(model, jnp.roll(u, 2, 1)))
    assert np.max(np.abs(other - np.roll(result, 2, 1))) > 1e-3


def test_around_any_number_of_points_it_is_the_one_on_the_next_that_its_levels_divide():
    model, waves = network(1, multipliers=(1, 1, 1)), random_state((4,))
    results = []
    for points in (13, 16):
        angle = 2 * np.pi * np.arange(points) / points
        u = sum(jnp.asarray(waves[:, k, None] * np.cos((k + 1) * angle + k), jnp.float32) for k in range(4))
        results.append(np.fft.rfft(np.asarray(applied(model, u))) / points)
    # Both hold the frequencies up to six; what the network makes beyond them is lost on thirteen points.
    np.testing.assert_allclose(results[0], results[1][:, :7], atol=1e-5)


def test_between_walls_points_that_are_added_are_of_what_is_at_the_walls():
    model, u = network(1, multipliers=(1, 1, 1), conditioning=Conditioning(periodic=False)), random_state((13,))
    whole = np.asarray(applied(model, jnp.pad(u, ((0, 0), (1, 2)), mode="edge")))
    np.testing.assert_allclose(applied(model, u), whole[:, 1:14], atol=1e-5)


def test_behind_a_wall_there_is_what_was_asked_for():
    told, u = Conditioning(periodic=False), random_state((16,))
    results = [
        np.asarray(applied(network(1, conditioning=told, walls=each), u)) for each in ("zeros", "edge", "reflect")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.max(np.abs(results[one] - results[other])) > 1e-3


def test_it_may_begin_as_zero_and_learn_from_there():
    told = Conditioning(parameters="rate", modulation=Addition(), periodic=True)
    model, u, given = network(1, starts_at_zero=True, conditioning=told), random_state((16,)), {"rate": 0.5}
    np.testing.assert_array_equal(applied(model, u, given), 0)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.mean((m(u, given) - 1) ** 2)))(model)
    assert float(jnp.max(jnp.abs(gradient.last.weight))) > 1e-3


def test_every_weight_is_used():
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=True)
    model = network(1, multipliers=(1, 2, 1), attention=True, fourier_modes=(3,), conditioning=told)
    # At first a modulation follows nothing.
    model = jax.tree.map(lambda leaf: leaf + 0.1 if eqx.is_inexact_array(leaf) else leaf, model)
    u = random_state((16,))
    gradient = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum(m(u, {"rate": 0.5}) ** 2)))(model)
    unused = [path for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if not np.any(leaf)]
    assert not unused


def test_a_number_changes_what_is_between_the_convolutions_of_every_block():
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=True)
    model, u = network(1, conditioning=told), random_state((16,))
    model = eqx.tree_at(lambda m: m.embedding, model, replace_fn=lambda e: jax.tree.map(lambda leaf: leaf + 0.3, e))
    for where in (lambda m: m.levels[0].down[0], lambda m: m.middle[2], lambda m: m.levels[1].up[1]):
        follows = eqx.tree_at(
            lambda m, where=where: where(m).modulation,
            model,
            replace_fn=lambda part: jax.tree.map(lambda leaf: leaf + 0.2, part),
        )
        gap = applied(follows, u, {"rate": 0.1}) - applied(follows, u, {"rate": 0.9})
        assert np.max(np.abs(gap)) > 1e-3


@pytest.mark.either
def test_every_convolution_of_a_block_and_that_of_the_end_follow_an_activation():
    calls = []

    def counted(h):
        calls.append(h.shape)
        return jnp.tanh(h)

    model = eqx.filter_eval_shape(
        lambda: UNet(2, 3, 1, 4, multipliers=(1, 2), depth=1, activation=counted, norm_groups=2, key=jax.random.key(0))
    )
    calls.clear()
    grid = Grid(8, 1.0, dtype=jnp.float32)
    eqx.filter_eval_shape(lambda m, u: m(u, domain=grid), model, jax.ShapeDtypeStruct((2, 8), jnp.float32))
    # Two levels with one block down and two up each, two blocks in the middle, two activations in each, and the end.
    assert len(calls) == 2 * (2 * 3 + 2) + 1 and calls[-1] == (8, 4)


def test_it_computes_in_half_precision():
    model = InPrecision(network(2), jnp.bfloat16)
    lowered = eqx.filter_make_jaxpr(model)(jax.ShapeDtypeStruct((2, 16, 9), jnp.float32))
    assert lowered[1].shape == (3, 16, 9) and lowered[1].dtype == jnp.float32


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=False, coordinates=1)
    options = {"norm": InstanceNorm(affine=True), "walls": "edge", "attention": True, "fourier_modes": (3,)}
    model = network(1, conditioning=told, **options)
    save(tmp_path / "model", model)
    u, given = random_state((9,)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"multipliers": ()}, r"len\(multipliers\) >= 1, got 0"),
        ({"multipliers": (1, 0)}, "`multipliers`: a sequence of whole numbers >= 1"),
        ({"depth": 0}, "depth >= 1, got 0"),
        ({"fourier_modes": (2, 2, 2)}, "UNet has 2 levels, but `fourier_modes` has 3 entries"),
        ({"fourier_modes": ((2, 2, 2),)}, "`modes` has 3 entries"),
        ({"fourier_modes": 3}, "`fourier_modes`: one entry for each of the first levels, got 3"),
        ({"attention": "no"}, "attention=True or False, got 'no'"),
        ({"norm_groups": 3}, "groups=3 needs a number of groups that divides 4"),
        ({"norm": "group"}, "UNet takes as norm a kind that is built"),
        ({"walls": "periodic"}, "UNet takes walls= one of"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    sizes = {"in_channels": 2, "out_channels": 3, "ndim": 2, "width": 4, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: UNet(**sizes | SMALL | options))


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_it_has_to_know_which_axes_are_periodic_and_where_the_points_are():
    model = eqx.filter_eval_shape(lambda: UNet(2, 3, 1, 4, multipliers=(1,), norm_groups=2, key=jax.random.key(0)))
    u = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    with pytest.raises(ValueError, match="UNet has to know which axes are periodic"):
        eqx.filter_eval_shape(lambda m, u: m(u), model, u)
    with pytest.raises(ValueError, match="the state has space"):
        eqx.filter_eval_shape(lambda m, u: m(u, domain=Grid(9, 1.0, dtype=jnp.float32)), model, u)
