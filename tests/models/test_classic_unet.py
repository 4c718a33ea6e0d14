import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import ClassicUNet, load, save
from pdejax.nn import Conditioning, FiLM, InstanceNorm
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
SMALL = {"num_levels": 2, "conditioning": PERIODIC}
made = eqx.filter_jit(lambda *arguments, **options: ClassicUNet(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, width=3, **options):
    return made(2, 3, ndim, width, **SMALL | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


@pytest.mark.either
@pytest.mark.parametrize(("options", "count"), [({}, 31_050_371), ({"use_bias": False, "last_points": 1}, 31_042_947)])
def test_the_published_networks_have_as_many_weights(options, count):
    # Three fields at four times in, three out.
    model = eqx.filter_eval_shape(lambda: ClassicUNet(12, 3, 2, **options, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == count


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field():
    told = Conditioning(parameters="rate", fields="permeability", modulation=FiLM(), coordinates=(1, 2))
    model = network(2, conditioning=told, walls="edge", num_levels=1, dtype=jnp.float64)
    u, grid = random_state((9, 6), np.float64), Grid((9, 6), 2.0, periodic=(False, True))
    check_model(model, u, out_channels=3, domain=grid, parameters={"rate": 0.3, "permeability": u[0] ** 2})


@pytest.mark.float64
def test_the_contract_in_three():
    model = network(3, width=2, num_levels=1, dtype=jnp.float64)
    check_model(model, random_state((4, 3, 6), np.float64), out_channels=3)


def test_it_commutes_with_translations_by_the_points_of_the_coarsest_level():
    model, u = network(2), random_state((16, 24))
    result = np.asarray(applied(model, u))
    moved = np.asarray(applied(model, jnp.roll(u, (4, -8), (1, 2))))
    np.testing.assert_allclose(moved, np.roll(result, (4, -8), (1, 2)), atol=1e-5)
    other = np.asarray(applied(model, jnp.roll(u, 2, 1)))
    assert np.max(np.abs(other - np.roll(result, 2, 1))) > 1e-3


@pytest.mark.parametrize("periodic", [True, False])
def test_it_is_its_formula(periodic):
    model = network(1, num_levels=1, activation=jnp.tanh, conditioning=Conditioning(periodic=periodic))
    model = jax.tree.map(lambda leaf: leaf + 0.2 * jnp.cos(3.0 * jnp.arange(leaf.size)).reshape(leaf.shape), model)
    u = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)
    whole = lambda leaf: np.asarray(leaf, float)  # noqa: E731

    def convolved(layer, v):
        wide = np.pad(v, ((0, 0), (1, 1)), **({"mode": "wrap"} if periodic else {}))
        taps = [whole(layer.weight)[:, :, i] @ wide[:, i : i + v.shape[1]] for i in range(3)]
        return sum(taps) + whole(layer.bias)[:, None]

    def pair(part, v):
        for convolution, norm in zip(part.convolutions, part.norms, strict=True):
            v = convolved(convolution, v)
            y = (v - v.mean()) / np.sqrt(v.var() + 1e-5)
            v = np.tanh(whole(norm.weight)[:, None] * y + whole(norm.bias)[:, None])
        return v

    fine = pair(model.down[0], u)
    coarse = pair(model.down[1], np.maximum(fine[:, ::2], fine[:, 1::2]))
    weight, finer = whole(model.finer[0].weight), np.zeros((3, 12))
    # Result k sees j with k + j - 1 even: the second tap the old point for even k, the first one for odd k.
    finer[:, ::2], finer[:, 1::2] = weight[:, :, 1] @ coarse, weight[:, :, 0] @ coarse
    finer += whole(model.finer[0].bias)[:, None]
    expected = convolved(model.last, pair(model.up[0], np.concatenate([fine, finer])))
    np.testing.assert_allclose(applied(model, u), expected, atol=3e-5 * np.max(np.abs(expected)))


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=False)
    options = {"norm": InstanceNorm(affine=True), "walls": "reflect", "use_bias": False, "last_points": 1}
    model = network(1, conditioning=told, **options)
    save(tmp_path / "model", model)
    u, given = random_state((16,)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"num_levels": 0}, "num_levels >= 1, got 0"),
        ({"last_points": 0}, "last_points >= 1, got 0"),
        ({"last_points": 2}, "ClassicUNet takes last_points=3 or 1, got 2"),
        ({"norm": InstanceNorm}, "ClassicUNet takes as norm a kind that is built"),
        ({"walls": "periodic"}, "ClassicUNet takes walls= one of"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    sizes = {"in_channels": 2, "out_channels": 3, "ndim": 2, "width": 4, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: ClassicUNet(**sizes | SMALL | options))


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_it_has_to_know_which_axes_are_periodic():
    model = eqx.filter_eval_shape(lambda: ClassicUNet(2, 3, 1, 4, num_levels=1, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="ClassicUNet has to know which axes are periodic"):
        eqx.filter_eval_shape(lambda m, u: m(u), model, jax.ShapeDtypeStruct((2, 8), jnp.float32))
