import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.models import FFNO, load, save
from pdejax.nn import Conditioning, FiLM, GridEmbedding, SpectralConvolution
from pdejax.nn.axial_spectral_convolution import AxialSpectralConvolution
from pdejax.testing import check_model

KEY = jax.random.key(0)
made = eqx.filter_jit(lambda *arguments, **options: FFNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def field(space, channels=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (channels, *space), dtype)


def test_the_convolution_is_a_sum_of_convolutions_of_lines():
    layer = AxialSpectralConvolution(2, 5, (3, 4), key=KEY)
    u = field((8, 9))
    along_last = jnp.stack([layer.lines[1](u[:, i]) for i in range(8)], axis=1)
    along_first = jnp.stack([layer.lines[0](u[:, :, j]) for j in range(9)], axis=2)
    np.testing.assert_allclose(layer(u), along_first + along_last, atol=1e-5)
    # On waves of one axis it is the convolution in the plane with as many modes on that axis.
    assert isinstance(layer.lines[0], SpectralConvolution)


@pytest.mark.float64
@pytest.mark.parametrize(("space", "modes", "shared"), [((17,), 5, False), ((6, 5, 7), 2, True)])
def test_it_keeps_the_contract(space, modes, shared):
    told = Conditioning(("a", "b"), modulation=FiLM())
    model = made(
        2, 5, len(space), modes, 4, num_layers=2, factor=3, shared=shared, conditioning=told, dtype=jnp.float64, key=KEY
    )
    check_model(model, field(space, dtype=jnp.float64), out_channels=5, parameters={"a": 0.3, "b": -1.0})


def test_it_commutes_with_translations():
    model = made(2, 5, 2, (3, 4), 6, num_layers=3, key=KEY)
    u = field((8, 9))
    moved = applied(model, jnp.roll(u, (3, -2), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(applied(model, u), (3, -2), (1, 2)), atol=1e-5)


@pytest.mark.either
@pytest.mark.parametrize(("shared", "expected"), [(False, 30_118_534), (True, 2_986_630)])
def test_as_many_numbers_as_the_reference(shared, expected):
    # Four frames of a scalar and a vector in the plane, and the position; a complex weight counts as two numbers.
    told = Conditioning(coordinates=GridEmbedding())
    model = eqx.filter_eval_shape(
        lambda: FFNO(12, 3, 2, 32, 96, num_layers=24, shared=shared, last_only=True, conditioning=told, key=KEY)
    )
    assert sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(model)) == expected


def test_weights_are_normed_in_rows():
    plain, normed = (made(2, 5, 1, 3, 6, weight_norm=flag, key=KEY) for flag in (False, True))
    u = field((12,))
    np.testing.assert_allclose(applied(normed, u), applied(plain, u), atol=1e-5)
    # The length of a row is its gain alone.
    longer = eqx.tree_at(lambda m: m.lift.weight, normed, 3 * normed.lift.weight)
    np.testing.assert_allclose(applied(longer, u), applied(plain, u), atol=1e-5)


def test_what_is_projected():
    whole, last = (made(2, 5, 1, 3, 6, num_layers=2, last_only=flag, key=KEY) for flag in (False, True))
    u = field((12,))
    silent = [eqx.tree_at(lambda m: m.blocks[1].out.gain, m, jnp.zeros(6)) for m in (whole, last)]
    constant, varied = np.asarray(applied(silent[1], u)), np.asarray(applied(silent[0], u))
    assert np.ptp(constant, axis=1).max() < 1e-6 < 1e-2 < np.ptp(varied, axis=1).max()


def test_a_model_file_keeps_it(tmp_path):
    model = made(
        2, 5, 2, (3, 4), 6, num_layers=2, shared=True, conditioning=Conditioning("a", modulation=FiLM()), key=KEY
    )
    save(tmp_path / "model.pdejax", model, names=("u", "v"))
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, model)


@pytest.mark.either
def test_mistakes_are_named():
    with pytest.raises(ValueError, match="FFNO needs `modes`: one number or 2"):
        FFNO(1, 1, 2, (3, 4, 5), 4, key=KEY)
    with pytest.raises(ValueError, match="FFNO needs factor >= 1, got 0"):
        FFNO(1, 1, 2, 3, 4, factor=0, key=KEY)
    with pytest.raises(ValueError, match=r"FFNO takes a state of 1 channels and 2 axes.*\(2, 8, 9\)"):
        made(1, 1, 2, 3, 4, key=KEY)(field((8, 9)))
    with pytest.raises(ValueError, match="keeps 6 modes along axis 0"):
        made(2, 1, 2, 6, 4, key=KEY)(field((8, 9)))


def test_numbers_act_on_what_the_convolutions_make():
    told = Conditioning("a", modulation=FiLM())
    model = made(2, 5, 1, 3, 6, num_layers=1, last_only=True, conditioning=told, key=KEY)
    silent = jax.tree.map(jnp.zeros_like, model.convolutions)
    model = eqx.tree_at(lambda m: m.convolutions, model, silent)
    shift = model.modulations[0].shift(model.embedding(jnp.asarray([0.7])))
    expected = model.projection(model.blocks[0](jnp.broadcast_to(shift[:, None], (6, 12))))
    np.testing.assert_allclose(applied(model, field((12,)), {"a": 0.7}), expected, atol=1e-5)
