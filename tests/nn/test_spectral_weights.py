import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import nn
from pdejax.models import FNO, load, save
from pdejax.nn import CP, Dense, Modes, SpectralConvolution, TensorTrain, Tucker
from pdejax.testing import check_model

KINDS = [
    Tucker((2, 3, 2, 4)),
    CP(5),
    TensorTrain((2, 3, 4)),
    Dense(separable=True),
    Tucker(2, separable=True),
    CP(3, separable=True),
    TensorTrain((2, 3), separable=True),
]
KEY = jax.random.key(0)
MODES = Modes.classic((3, 4), 2)
made = eqx.filter_jit(lambda kind, out, **options: SpectralConvolution(4, out, MODES, weights=kind, **options))


def complex_factors(layer):
    parts = zip(jax.tree.leaves(layer.real), jax.tree.leaves(layer.imaginary), strict=True)
    return [np.asarray(r) + 1j * np.asarray(i) for r, i in parts]


def written_out(layer):
    """W of the formulas in the docstring, `(in, out, *kept)`, as sums over outer products of vectors."""
    kind, factors = layer.weights, complex_factors(layer)
    if isinstance(kind, Dense):
        w = np.moveaxis(factors[0], (0, 1), (-2, -1))
    elif isinstance(kind, Tucker):
        core, *matrices = factors
        w = sum(core[p] * outer([m[:, r] for m, r in zip(matrices, p, strict=True)]) for p in np.ndindex(core.shape))
    elif isinstance(kind, CP):
        w = sum(outer([m[:, p] for m in factors]) for p in range(factors[0].shape[1]))
    else:
        first, *middle, last = factors
        w = 0
        for p in np.ndindex(*(m.shape[-1] for m in factors[:-1])):
            vectors = [m[p[i], :, p[i + 1]] for i, m in enumerate(middle)]
            w = w + outer([first[:, p[0]], *vectors, last[p[-1]]])
    return np.einsum("ij,i...->ij...", np.eye(4), w) if kind.separable else w


def outer(vectors):
    result = np.ones(())
    for vector in vectors:
        result = result[..., None] * vector
    return result


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_factors_stand_for_the_weights_of_the_formula(kind):
    layer = made(kind, 4 if kind.separable else 5, key=jax.random.key(0))
    dense = made(Dense(), 4 if kind.separable else 5, key=jax.random.key(0))
    w = np.moveaxis(written_out(layer), (0, 1), (-2, -1))
    dense = eqx.tree_at(
        lambda c: (c.real, c.imaginary), dense, tuple(jnp.asarray(p, jnp.float32) for p in (w.real, w.imag))
    )
    u = jax.random.normal(jax.random.key(1), (4, 8, 9), jnp.float32)
    expected = eqx.filter_jit(dense)(u)
    np.testing.assert_allclose(eqx.filter_jit(layer)(u), expected, atol=3e-6 * np.max(np.abs(expected)))
    # -i W, which one factor brings about.
    turned = eqx.tree_at(lambda c: (c.real, c.imaginary), dense, (dense.imaginary, -dense.real))(u)
    np.testing.assert_allclose(layer.turned()(u), turned, atol=3e-6 * np.max(np.abs(turned)))


@pytest.mark.either
@pytest.mark.parametrize(
    "kind", [Dense(), Tucker(0.2), CP(0.2), TensorTrain(0.2), Dense(True), Tucker(0.5, True)], ids=str
)
def test_whatever_they_are_made_of_weights_start_equally_large(kind):
    layer = eqx.filter_jit(lambda key: SpectralConvolution(12, 12, Modes.classic((5, 6), 2), weights=kind, key=key))
    means = []
    for seed in range(8):
        factors = complex_factors(layer(jax.random.key(seed)))
        terms = kind.terms("kxy" if kind.separable else "ioxy")
        w = np.einsum(f"{','.join(terms)}->{'kxy' if kind.separable else 'ioxy'}", *factors, optimize=True)
        means.append(np.mean(np.abs(w) ** 2) * (1 if kind.separable else 12))
    assert 0.5 < np.mean(means) < 2


@pytest.mark.float64
@pytest.mark.parametrize("kind", [Tucker(0.3), CP(4, True), TensorTrain(0.3), Dense(True)], ids=str)
def test_a_network_of_factors_keeps_the_contract(kind):
    model = FNO(2, 5, 2, (3, 4), 4, num_layers=2, weights=kind, dtype=jnp.float64, key=jax.random.key(0))
    check_model(model, jax.random.normal(jax.random.key(1), (2, 8, 9)), out_channels=5)


def test_a_model_file_keeps_the_factors(tmp_path):
    model = eqx.filter_jit(lambda key: FNO(2, 5, 1, 4, 4, num_layers=2, weights=Tucker((2, 3, 2)), key=key))(
        jax.random.key(0)
    )
    save(tmp_path / "model.pdejax", model, names=("u", "v"))
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, model)


def entries(tree, as_two=True):
    """Numbers in the weights, a complex one counted as two or as one."""
    total = sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))
    twice = [leaf for c in tree.convolutions for leaf in jax.tree.leaves(c.imaginary)]
    return total if as_two else total - sum(np.prod(leaf.shape, dtype=int) for leaf in twice)


def like_neuraloperator(n_modes, width, projection=2, **options):
    layer = nn.FourierLayer(shortcut=nn.LinearShortcut(bias=False), spectral_bias=True, mlp=nn.LayerMLP(width // 2))
    told = nn.Conditioning(coordinates=nn.GridEmbedding())
    sizes = {"projection_width": projection * width, "lifting_width": 2 * width}
    modes = Modes.neuraloperator(n_modes)

    def make():
        return FNO(1, 1, len(n_modes), modes, width, layer=layer, conditioning=told, **sizes, **options, key=KEY)

    return eqx.filter_eval_shape(make)


# Counted in neuraloperator 2.0.0.
@pytest.mark.either
@pytest.mark.parametrize(
    ("n_modes", "width", "options", "expected"),
    [
        ((16, 16), 32, {}, 1_192_801),
        ((16, 16), 24, {}, 671_113),
        ((64, 64), 64, {"projection": 4}, 69_265_345),
        ((64, 64), 128, {}, 277_024_129),
        ((32, 32, 32), 64, {"projection": 4}, 570_484_801),
        ((16,), 64, {}, 345_665),
        ((16, 16), 32, {"weights": Tucker(0.1)}, 140_521),
    ],
)
def test_as_many_parameters_as_neuraloperator(n_modes, width, options, expected):
    assert entries(like_neuraloperator(n_modes, width, **options)) == expected


@pytest.mark.either
def test_complex_weights_counted_once_as_tensor_entries():
    assert entries(like_neuraloperator((16, 16), 32), as_two=False) == 602_977


@pytest.mark.either
@pytest.mark.parametrize(("modes", "expected"), [(16, 134_384_899), (8, 33_721_603)])
def test_as_many_parameters_as_pdearena(modes, expected):
    """Its FNO-128: four frames of three components to one, eight layers in four blocks, two matrices at either end."""
    ends = {"lifting_width": 128, "projection_width": 128}
    make = lambda: FNO(12, 3, 2, modes, 128, num_layers=8, **ends, key=KEY)  # noqa: E731
    assert entries(eqx.filter_eval_shape(make)) == expected


@pytest.mark.either
def test_a_fraction_is_that_of_the_entries():
    sizes = (32, 32, 16, 9)
    assert Tucker(0.1).shapes(sizes)[0] == (18, 18, 9, 5)
    for kind in (Tucker(0.1), CP(0.1), TensorTrain(0.1)):
        share = sum(np.prod(shape) for shape in kind.shapes(sizes)) / np.prod(sizes)
        assert abs(share / 0.1 - 1) < 0.1, kind


@pytest.mark.either
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tucker(0), "Tucker needs as rank a whole number >= 1, whole numbers for each"),
        (lambda: Tucker(-0.1), "fraction of the entries as a float > 0, got -0.1"),
        (lambda: CP((2, 3)), r"CP needs as rank a whole number >= 1, or a fraction .* got \(2, 3\)"),
        (lambda: Tucker((2, 3)).shapes((4, 4, 3)), r"Tucker needs 3 ranks here, got \(2, 3\)"),
        (lambda: made(Tucker, 4, key=jax.random.key(0)), r"weights=pdejax.nn.Tucker\(0.1\) or the like"),
        (lambda: made(Dense(separable=True), 5, key=jax.random.key(0)), "keep the number of channels, got 4 and 5"),
    ],
)
def test_mistakes_are_named(make, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        make()
