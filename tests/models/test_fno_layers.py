"""What the layers of an FNO may be; that they compute what they say is shown with the weights of neuraloperator."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import nn
from pdejax.models import FNO, load, save
from pdejax.testing import check_lowering

EVERYTHING = {
    "lifting_width": 7,
    "padding": (0.25, 0.0),
    "coordinates": nn.GridEmbedding((0.0, -1.0), 1.0),
    "activation": nn.exact_gelu,
    "layer": nn.FourierLayer(
        shortcut=nn.GatedShortcut(),
        spectral_bias=True,
        norm=nn.GroupNorm(2),
        mlp=nn.LayerMLP(5, jax.nn.relu, nn.LinearShortcut(bias=False)),
        preactivation=True,
        stabiliser=jnp.tanh,
        shift_odd_axes=True,
    ),
}
PLAIN = {
    "layer": nn.FourierLayer(shortcut=None, norm=nn.InstanceNorm(affine=True), second_activation=True),
}
MADE = {"everything": EVERYTHING, "plain": PLAIN}


def made(**options):
    return FNO(2, 3, 2, (2, 3), 4, num_layers=2, **options, key=jax.random.key(0))


def test_a_model_of_before_is_read_and_drawn_and_computed_as_it_was():
    saved = load(Path(__file__).with_name("before_layers.pdejax"))
    x, y = np.meshgrid(np.arange(8), np.arange(9), indexing="ij")
    u = jnp.asarray(np.stack([np.sin(x + 0.3 * y), np.cos(0.7 * x * y)]), jnp.float32)
    result = eqx.filter_jit(saved.model)(u, {"drag": 0.4})
    np.testing.assert_allclose(result, np.asarray(saved.provenance["result"], np.float32), atol=1e-5)
    options = {"activation": jax.nn.silu, "coordinates": (0, 1), "periodic": True, "parameters": ("drag",)}
    again = FNO(2, 3, 2, (3, 4), 4, num_layers=2, projection_width=5, **options, key=jax.random.key(7))
    assert eqx.tree_equal(saved.model, again, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", MADE)
def test_every_option_is_saved_and_loaded(name, tmp_path):
    model = made(**MADE[name])
    save(tmp_path / "model.pdejax", model)
    assert eqx.tree_equal(model, load(tmp_path / "model.pdejax").model)


def test_an_option_that_a_file_has_and_this_version_has_not_is_named(tmp_path):
    save(tmp_path / "model.pdejax", made(**PLAIN))
    content = (tmp_path / "model.pdejax").read_bytes()
    (tmp_path / "model.pdejax").write_bytes(content.replace(b'"preactivation":', b'"postactivatio":'))
    with pytest.raises(ValueError, match=r"says \['postactivatio'\] of FourierLayer.*update pdejax"):
        load(tmp_path / "model.pdejax")


def test_every_option_lowers_for_every_platform_and_in_batches():
    model = eqx.filter_jit(made)(**EVERYTHING)
    check_lowering(jax.vmap(jax.grad(lambda u: jnp.sum(model(u)))), jax.ShapeDtypeStruct((4, 2, 7, 6), jnp.float32))


def test_padding_is_a_fraction_of_both_ends():
    # A lift that starts without bias makes zeros of zeros: the state may as well be padded before it.
    plain, padded = made(), made(padding=(0.25, 0.5))
    u = jax.random.normal(jax.random.key(1), (2, 8, 6), jnp.float32)
    wide = jnp.pad(u, ((0, 0), (2, 2), (3, 3)))
    results = jax.jit(lambda u, wide: (padded(u), plain(wide)))(u, wide)
    np.testing.assert_allclose(results[0], results[1][:, 2:-2, 3:-3], atol=1e-5)
    # Padded, a coarser grid resolves more.
    few = jax.ShapeDtypeStruct((2, 4, 3), jnp.float32)
    assert eqx.filter_eval_shape(padded, few).shape == (3, 4, 3)
    with pytest.raises(ValueError, match="along axis 1, whose 3 points"):
        eqx.filter_eval_shape(plain, few)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": -0.1}, "`padding` >= 0, a fraction of each axis, one number or 2, got -0.1"),
        ({"padding": (0.1, 0.1, 0.1)}, "`padding` >= 0"),
        ({"padding": float("nan")}, "`padding` >= 0"),
        ({"layer": "post"}, r"layer=pdejax.nn.FourierLayer\(...\), got 'post'"),
        ({"lifting_width": 0}, "width >= 1, got 0"),
        ({"projection_width": 0}, "width >= 1, got 0"),
        ({"coordinates": nn.GridEmbedding((0.0, 0.0, 0.0))}, "`lowest`: one number or 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)
