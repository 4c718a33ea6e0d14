import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import DeepONet, InPrecision, load, save, trainable
from pdejax.nn import ChannelAttention, Conditioning, FiLM, GridEmbedding, PODBasis, pod_basis
from pdejax.resample import resample
from pdejax.testing import check_model

made = eqx.filter_jit(lambda *arguments, **options: DeepONet(*arguments, **options))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))
at = eqx.filter_jit(lambda model, *arguments, **options: model.at(*arguments, **options))
SMALL = {"branch": (7,), "trunk": (6,), "activation": jnp.tanh}
OUTPUTS = ("independent", "split branch", "split trunk", "split both")


def grid_of(shape, **options):
    return Grid(shape, (2.0, 3.0)[: len(shape)], dtype=jnp.float32, **options)


def random_state(space, channels=2, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, *space)).astype(dtype)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("space", [(9,), (4, 5), (3, 4, 5)])
def test_unequal_channels_and_grids_in_one_two_and_three_dimensions(space, outputs):
    call = lambda u: DeepONet(2, 5, space, 3, outputs=outputs, key=jax.random.key(0))(u, domain=domain)  # noqa: E731
    domain = Grid(space, 1.0, dtype=jnp.float32)
    assert jax.eval_shape(call, jax.ShapeDtypeStruct((2, *space), jnp.float32)).shape == (5, *space)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_it_is_the_sum_that_it_says(outputs):
    model = made(2, 5, (4, 3), 6, outputs=outputs, **SMALL, key=jax.random.key(0))
    model = eqx.tree_at(lambda m: m.bias, model, jnp.arange(5.0, dtype=jnp.float32))
    u = random_state((4, 3))

    def perceptron(layers, x, last):
        for index, layer in enumerate(layers):
            x = np.asarray(layer.weight) @ x + np.asarray(layer.bias)
            x = np.tanh(x) if last or index < len(layers) - 1 else x
        return x

    b = np.concatenate([perceptron(layers, u.ravel(), False) for layers in model.branches]).reshape(-1, 6)
    x = np.array([0.3, 0.8], np.float32)
    t = np.concatenate([perceptron(layers, x, True) for layers in model.trunks]).reshape(-1, 6)
    shared = {"independent": (5, 5), "split branch": (5, 1), "split trunk": (1, 5), "split both": (5, 5)}[outputs]
    assert (len(b), len(t)) == shared
    np.testing.assert_allclose(at(model, u, x), np.sum(b * t, axis=1) / 6**0.5 + np.arange(5), rtol=1e-4, atol=1e-5)


@pytest.mark.either
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_parameters_follow_the_formula(outputs):
    # Perceptrons of m -> 40 -> 40 -> p from m values, of d -> 40 -> 40 -> p from d coordinates, a number per output.
    m, d, p, n = 2 * 12 * 10, 2, 20, 3

    def perceptron(*widths):
        return sum(a * b + b for a, b in itertools.pairwise(widths))

    of = {
        "independent": n * (perceptron(m, 40, 40, p) + perceptron(d, 40, 40, p)),
        "split branch": perceptron(m, 40, 40, n * p) + perceptron(d, 40, 40, p),
        "split trunk": perceptron(m, 40, 40, p) + perceptron(d, 40, 40, n * p),
        "split both": perceptron(m, 40, 40, n * p) + perceptron(d, 40, 40, n * p),
    }
    options = {"branch": (40, 40), "trunk": (40, 40), "outputs": outputs}
    model = eqx.filter_eval_shape(lambda: DeepONet(2, n, (12, 10), p, **options, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == of[outputs] + n


@pytest.mark.float64
def test_a_linear_operator_of_finite_rank_is_represented_exactly():
    # The derivative of a trigonometric polynomial up to wavenumber 2, from 8 sensors: of rank 4. The functions of the
    # trunk are made the harmonics themselves, and the branch is affine.
    told = Conditioning(coordinates=2, periodic=True)
    options = {"branch": (), "trunk": (), "activation": jnp.positive, "conditioning": told, "dtype": jnp.float64}
    model = made(1, 1, 8, 4, **options, key=jax.random.key(0))
    x = np.arange(8) / 8
    modes = np.stack([f(2 * np.pi * k * x) for k in (1, 2) for f in (np.sin, np.cos)])
    derivative = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -2], [0, 0, 2, 0]]) * 2 * np.pi
    weights = (derivative @ modes / 4 * 4**0.5, np.eye(4))
    of = lambda m: (m.branches[0][0].weight, m.trunks[0][0].weight)  # noqa: E731
    model = eqx.tree_at(of, model, tuple(jnp.asarray(each) for each in weights))
    u = lambda s: np.sin(2 * np.pi * s) + 0.3 * np.cos(4 * np.pi * s) - 0.7  # noqa: E731
    slope = lambda s: 2 * np.pi * (np.cos(2 * np.pi * s) - 0.6 * np.sin(4 * np.pi * s))  # noqa: E731
    np.testing.assert_allclose(applied(model, jnp.asarray(u(x)[None]))[0], slope(x), atol=1e-12)
    places = np.linspace(0, 1, 7) ** 2
    np.testing.assert_allclose(at(model, jnp.asarray(u(x)[None]), places[None])[0], slope(places), atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"points": "centres"}, {"periodic": False, "points": "chebyshev"}])
def test_the_result_on_a_grid_is_that_at_its_points(options):
    domain = grid_of((6, 5), origin=(-1.0, 2.0), **options)
    model = made(2, 5, (6, 5), 4, **SMALL, key=jax.random.key(0))
    u = random_state((6, 5))
    on_grid = applied(model, u, domain=domain)
    np.testing.assert_allclose(at(model, u, domain.coordinates(), domain=domain), on_grid, atol=1e-6)
    within = (domain.coordinates() - domain.origin[:, None, None]) / domain.extent[:, None, None]
    np.testing.assert_allclose(at(model, u, within), on_grid, atol=1e-5)


def test_resampled_input_gives_the_same_function_on_the_finer_grid():
    told = Conditioning(parameters="a", fields="mask")
    model = made(2, 5, (6, 5), 4, resampled=True, **SMALL, conditioning=told, key=jax.random.key(0))
    coarse, fine = grid_of((6, 5)), grid_of((18, 10))
    u, mask = random_state((6, 5)), random_state((6, 5), 1)
    parameters = {"a": 0.7, "mask": mask}
    finer = {"a": 0.7, "mask": resample(mask, coarse, fine)}
    result = applied(model, resample(u, coarse, fine), finer, domain=fine)
    np.testing.assert_allclose(result[:, ::3, ::2], applied(model, u, parameters, domain=coarse), atol=1e-5)
    np.testing.assert_allclose(result, at(model, u, fine.coordinates(), parameters, domain=coarse), atol=1e-5)
    other = applied(model, u, {"a": 2.0, "mask": mask}, domain=coarse)
    assert np.max(np.abs(np.asarray(other - result[:, ::3, ::2]))) > 1e-3


def test_sensors_of_a_stated_kind_are_not_taken_for_others():
    strict, lenient = (
        made(2, 5, (7, 5), 4, resampled=resampled, sensor_points="nodes", **SMALL, key=jax.random.key(0))
        for resampled in (False, True)
    )
    nodes, centres, u = grid_of((7, 5)), grid_of((7, 5), points="centres"), jnp.asarray(random_state((7, 5)))
    np.testing.assert_array_equal(applied(strict, u, domain=nodes), applied(lenient, u, domain=nodes))
    with pytest.raises(ValueError, match=r"reads its input at \(7, 5\) nodes.*\('centres', 'centres'\)"):
        strict(u, domain=centres)
    moved = applied(lenient, resample(u, nodes, centres), domain=centres)
    np.testing.assert_allclose(moved, at(lenient, u, centres.coordinates(), domain=nodes), atol=1e-5)


@pytest.mark.parametrize("periodic", [True, (True, False), False])
def test_with_harmonics_it_is_a_function_of_the_box(periodic):
    told = Conditioning(coordinates=(1, 2), periodic=periodic)
    model = made(1, 1, (4, 5), 3, **SMALL, conditioning=told, key=jax.random.key(0))
    u, corners = random_state((4, 5), 1), np.array([[0.0, 1.0, 0.0], [0.3, 0.3, 1.3]], np.float32)
    here, across, along = np.asarray(at(model, u, corners))[0]
    flags = np.broadcast_to(periodic, 2)
    assert (abs(across - here) < 1e-5) == flags[0] and (abs(along - here) < 1e-5) == flags[1]


def test_its_trunk_reads_the_harmonics_that_it_says():
    told = Conditioning(coordinates=(1, 2), periodic=(True, False))
    model = made(1, 1, (4, 5), 3, **SMALL, conditioning=told, key=jax.random.key(0))
    u, (x, y) = random_state((4, 5), 1), (0.3, 0.8)
    b = np.tanh(np.asarray(model.branches[0][0].weight) @ u.ravel())
    b = np.asarray(model.branches[0][1].weight) @ b
    t = np.array([np.sin(2 * np.pi * x), np.cos(2 * np.pi * x), *np.cos(np.pi * y * np.array([1, 0.5, 2, 1.5]))])
    for layer in model.trunks[0]:
        t = np.tanh(np.asarray(layer.weight) @ t)
    np.testing.assert_allclose(at(model, u, np.array([x, y], np.float32)), [b @ t / 3**0.5], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"points": "centres"}, {"periodic": False, "points": "nodes"}])
def test_pod_reconstructs_data_of_its_rank(options):
    random, domain = np.random.default_rng(0), grid_of((6, 5), **options)
    data = (random.normal(size=(20, 3)) @ random.normal(size=(3, 2 * 30)) + 1).reshape(20, 2, 6, 5).astype(np.float32)
    basis = pod_basis(data, 3, domain)
    products = domain.integrate(jnp.sum(basis.functions[:, None] * basis.functions[None], axis=2)) / domain.volume
    sizes = jnp.diag(products)
    assert np.all(np.diff(sizes) < 0)
    np.testing.assert_allclose(products, np.diag(sizes), atol=1e-5 * float(sizes[0]))
    a = domain.integrate(jnp.sum((data - basis.mean)[:, None] * basis.functions, axis=2)) / domain.volume / sizes
    np.testing.assert_allclose(np.mean(np.square(a), axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(basis.mean + jnp.einsum("sr,r...->s...", a, basis.functions), data, atol=1e-4)
    with pytest.raises(ValueError, match="rank=4, but 20 samples have the rank 3"):
        pod_basis(data, 4, domain)
    with pytest.raises(ValueError, match=r"domain's \(5, 6\) points, got \(20, 2, 6, 5\)"):
        pod_basis(data, 3, grid_of((5, 6)))


def pod_of(domain, channels=5, rank=3, dtype=np.float32):
    data = np.random.default_rng(1).normal(size=(8, channels, *domain.shape)).astype(dtype)
    return pod_basis(data, rank, domain)


@pytest.mark.parametrize("options", [{}, {"points": ("centres", "nodes")}])
@pytest.mark.parametrize("num_functions", [0, 4])
def test_a_pod_goes_on_between_its_points(num_functions, options):
    domain = grid_of((6, 5), **options)
    model = made(2, 5, (6, 5), num_functions, pod=pod_of(domain), resampled=True, **SMALL, key=jax.random.key(0))
    u, fine = random_state((6, 5)), grid_of((9, 10), **options)
    result = applied(model, u, domain=domain)
    np.testing.assert_allclose(at(model, u, domain.coordinates(), domain=domain), result, atol=1e-5)
    finer = applied(model, resample(u, domain, fine), domain=fine)
    np.testing.assert_allclose(at(model, u, fine.coordinates(), domain=domain), finer, atol=2e-5)
    if num_functions == 0:
        assert model.trunks == ()
        in_span = np.asarray(result - model.pod.mean).ravel()
        functions = np.asarray(model.pod.functions).reshape(3, -1).T
        np.testing.assert_allclose(functions @ np.linalg.lstsq(functions, in_span)[0], in_span, atol=1e-5)


def test_a_pod_between_walls_has_its_own_points_alone():
    domain = grid_of((6, 5), periodic=(True, False))
    model = made(2, 5, (6, 5), 0, pod=pod_of(domain), **SMALL, key=jax.random.key(0))
    u = jnp.asarray(random_state((6, 5)))
    assert applied(model, u, domain=domain).shape == (5, 6, 5)
    with pytest.raises(ValueError, match=r"lives on \(6, 5\) points, periodic=\(True, False\).*points of your own"):
        model.at(u, domain.coordinates(), domain=domain)
    with pytest.raises(ValueError, match=r"cannot be evaluated on a grid of \(6, 5\) points, periodic=\(True, True\)"):
        model(u, domain=grid_of((6, 5)))


def test_no_optimiser_moves_a_pod():
    domain = grid_of((6, 5))
    model = made(2, 5, (6, 5), 0, pod=pod_of(domain), **SMALL, key=jax.random.key(0))
    assert not any(jax.tree.leaves(trainable(model).pod))
    gradient = eqx.filter_grad(lambda m: jnp.sum(applied(m, random_state((6, 5)), domain=domain)))(model)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient.pod))
    assert np.any(gradient.branches[0][-1].weight)


@pytest.mark.float64
@pytest.mark.parametrize(("outputs", "modulation"), [("split branch", FiLM()), ("split trunk", None)])
def test_it_keeps_the_contract_of_models(outputs, modulation):
    told = Conditioning(parameters="a", fields="mask", coordinates=(0, 1), modulation=modulation)
    options = {"outputs": outputs, "conditioning": told, "dtype": jnp.float64} | SMALL
    model = made(2, 5, (4, 3), 2, **options, key=jax.random.key(0))
    u = jnp.asarray(random_state((4, 3), dtype=np.float64))
    domain = Grid((4, 3), 1.0, periodic=(True, False))
    check_model(model, u, out_channels=5, domain=domain, parameters={"a": 0.7, "mask": u[0]})


@pytest.mark.float64
def test_it_casts_at_its_own_boundary():
    u, domain = random_state((6, 5), dtype=np.float64), Grid((6, 5), 1.0)
    model = made(2, 5, (6, 5), 4, pod=pod_of(domain), **SMALL, key=jax.random.key(0))
    result, of_single = (np.asarray(applied(model, jnp.asarray(v), domain=domain)) for v in (u, u.astype(np.float32)))
    assert (result.dtype, of_single.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(result, of_single.astype(np.float64))


def test_it_computes_in_half_precision_on_request():
    domain, u = grid_of((6, 5)), random_state((6, 5))
    told = Conditioning(coordinates=1, periodic=True)
    model = made(2, 5, (6, 5), 4, pod=pod_of(domain), **SMALL, conditioning=told, key=jax.random.key(0))
    exact, rounded = (applied(m, u, domain=domain) for m in (model, InPrecision(model)))
    assert rounded.dtype == jnp.float32
    assert 1e-5 < np.max(np.abs(rounded - exact)) / np.max(np.abs(exact)) < 0.05


def test_places_are_not_rounded_in_half_precision():
    # Near the end of the box neighbours of 1000 points would fall together: no wave of theirs would be left.
    told = Conditioning(coordinates=8, periodic=True)
    sizes = SMALL | {"resampled": True, "conditioning": told}
    model = made(1, 1, (8,), 4, **sizes, key=jax.random.key(0))
    u = random_state((1000,), channels=1)
    exact, rounded = (np.asarray(applied(m, u, domain=grid_of((1000,))))[0] for m in (model, InPrecision(model)))
    assert len(np.unique(rounded[-200:])) > 150
    assert np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 0.02


def test_it_comes_back_from_its_file(tmp_path):
    domain = grid_of((6, 5))
    told = Conditioning(parameters="a", coordinates=1, modulation=FiLM())
    options = {"pod": pod_of(domain), "outputs": "split trunk", "conditioning": told} | SMALL
    model = made(2, 5, (6, 5), 4, **options, key=jax.random.key(3))
    save(tmp_path / "model.pdejax", model)
    loaded = load(tmp_path / "model.pdejax").model
    u = random_state((6, 5))
    call = lambda m: np.asarray(applied(m, u, {"a": 0.7}, domain=domain))  # noqa: E731
    np.testing.assert_array_equal(call(loaded), call(model))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("shape", "domain", "message"),
    [
        ((1, 6, 5), (6, 5), r"state of 2 channels and 2 axes.*\(1, 6, 5\)"),
        ((2, 6), (6, 5), r"\(2, 6\); batches go through jax.vmap"),
        ((2, 12, 5), (12, 5), r"at \(6, 5\) points, its sensors, but got \(12, 5\).*resampled=True"),
        ((2, 6, 5), (5, 6), r"space \(6, 5\) but the domain has shape \(5, 6\)"),
        ((2, 6, 5), None, "which axes are periodic: pass domain=grid"),
    ],
)
def test_states_that_do_not_fit_are_refused(shape, domain, message):
    model = eqx.filter_eval_shape(lambda: DeepONet(2, 5, (6, 5), 3, key=jax.random.key(0)))
    domain = None if domain is None else grid_of(domain)
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda m, u: m(u, domain=domain), model, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_points_of_other_dimensions_are_refused():
    model = eqx.filter_eval_shape(lambda: DeepONet(2, 5, (6, 5), 3, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"A point has 2 coordinates.*\(3, 7\)"):
        eqx.filter_eval_shape(lambda m, u: m.at(u, jnp.zeros((3, 7))), model, jnp.zeros((2, 6, 5)))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sensors": (0, 3)}, r"`sensors`: a sequence of whole numbers >= 1, .*got \(0, 3\)"),
        ({"trunk": (8, 0)}, r"`trunk`: a sequence of whole numbers >= 1"),
        ({"num_functions": 0}, "num_functions >= 1, or 0 and a `pod`, got 0"),
        ({"outputs": "split"}, "'split both'.*, got 'split'"),
        ({"pod": PODBasis(2, 4, (6, 5), (True, True), ("nodes", "nodes"))}, "4 channels on .*and the model 5 output"),
        (
            {"pod": PODBasis(2, 5, (6, 5), (True, True), ("nodes", "nodes")), "outputs": "independent"},
            'outputs="independent" shares nothing',
        ),
        ({"conditioning": Conditioning(coordinates=GridEmbedding())}, "GridEmbedding counts points"),
        ({"conditioning": Conditioning("a", modulation=ChannelAttention())}, r"FiLM\(\), got ChannelAttention"),
        ({"conditioning": Conditioning(coordinates=(1, 2, 3))}, "one number or 2"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    sizes = {"in_channels": 2, "out_channels": 5, "sensors": (6, 5), "num_functions": 3, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        DeepONet(**(sizes | arguments))
