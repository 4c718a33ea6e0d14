import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import CNO, InPrecision, load, save
from pdejax.nn import Conditioning, FiLM, InstanceNorm, resampled
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
made = eqx.filter_jit(lambda *arguments, **options: CNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, width=2, **options):
    layers = {"num_levels": 1, "num_residual": 0, "num_residual_coarsest": 1, "conditioning": PERIODIC}
    return made(2, 5, ndim, width, **layers | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


def series(points, highest, shift=0.0):
    """All frequencies up to `highest`, equally strong, at the nodes of one period."""
    random, x = np.random.default_rng(1), np.arange(points) / points - shift
    phases = 2 * np.pi * (np.arange(1, highest + 1)[:, None] * x + random.uniform(size=(2, highest, 1)))
    return jnp.asarray((np.sum(np.cos(phases), axis=1) / np.sqrt(highest / 2)).astype(np.float32))


@pytest.mark.float64
@pytest.mark.parametrize("space", [(15,), (6, 7, 8)])
def test_the_contract_in_one_and_three_dimensions(space):
    check_model(network(len(space), dtype=jnp.float64), random_state(space, np.float64), out_channels=5)


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field_and_walls():
    told = Conditioning(parameters="viscosity", fields="mask", modulation=FiLM(), coordinates=(1, 2))
    model = network(2, conditioning=told, points=(9, 12), dtype=jnp.float64)
    u = random_state((13, 16), np.float64)
    grid = Grid((13, 16), 2.0, periodic=(False, True), points=("nodes", "centres"))
    check_model(model, u, out_channels=5, domain=grid, parameters={"viscosity": 0.3, "mask": u[0] > 0})


def test_as_many_weights_as_its_blocks_have():
    width, levels, residual, coarsest = 4, 2, 1, 3
    block = lambda seen, made: 9 * seen * made + 2 * made  # noqa: E731  # convolution without bias, norm
    expected = block(2, width) + block(width, width) + (9 * width + 1) * (width + 5)
    for level in range(levels + 1):
        c = width * 2**level
        expected += 2 * block(c, c) * (coarsest if level == levels else residual)
        expected += 0 if level == levels else block(c, 2 * c) + 2 * block(2 * c, c)
    layers = {"num_levels": levels, "num_residual": residual, "num_residual_coarsest": coarsest}
    model = eqx.filter_eval_shape(lambda: CNO(2, 5, 2, width, **layers, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == expected


def test_it_commutes_with_translations_also_by_parts_of_a_point():
    def gap(oversampling, points, shift):
        model = network(1, oversampling=oversampling, num_levels=2)
        turn = np.exp(-2j * np.pi * np.arange(points // 2 + 1) * shift)
        moved = np.fft.irfft(np.fft.rfft(applied(model, series(points, 12))) * turn, points)
        return np.linalg.norm(applied(model, series(points, 12, shift)) - moved) / np.linalg.norm(moved)

    # Moving 33 points by one moves the coarser levels, of 16 and 8, by parts of a point as well.
    for points, shift in ((32, 0.5 / 32), (33, 1 / 33)):
        antialiased, plain = gap(2, points, shift), gap(1, points, shift)
        assert 20 * antialiased < plain, (antialiased, plain)


def test_the_same_function_at_another_resolution():
    """With `points` the grid of the state says nothing; without, convolutions of a few points are others."""
    fixed, free = network(1, points=32), network(1)
    coarse, fine = (np.asarray(applied(fixed, series(n, 12))) for n in (33, 64))
    size = np.max(np.abs(fine))
    np.testing.assert_allclose(resampled(jnp.asarray(coarse), (64,), (True,), ("nodes",)), fine, atol=1e-5 * size)
    coarse, fine = (np.asarray(applied(free, series(n, 12))) for n in (32, 64))
    assert np.max(np.abs(fine[:, ::2] - coarse)) > 0.1 * size


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_the_same_function_at_another_resolution_between_walls(kind):
    model, results = network(1, points=17, conditioning=None), []
    for points in (25, 49):
        grid = Grid(points, 1.0, periodic=False, points=kind, dtype=jnp.float32)
        cosines = jnp.cos(jnp.pi * jnp.arange(2, 8)[:, None] * grid.axes[0]).reshape(2, 3, points).sum(1)
        results.append(applied(model, cosines, domain=grid))
    finer = resampled(results[0], (49,), (False,), (kind,))
    np.testing.assert_allclose(finer, results[1], atol=2e-5 * np.max(np.abs(finer)))


def test_a_residual_block_adds():
    model = network(1)
    residual = eqx.tree_at(lambda m: m.residuals[1][0].second.norm.weight, model, replace_fn=jnp.zeros_like)
    (residual,) = residual.residuals[1]
    v = jnp.asarray(np.random.default_rng(2).normal(size=(4, 9)).astype(np.float32))
    np.testing.assert_array_equal(residual(v, (9,), None, (True,), ("nodes",)), v)


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_the_image_between_walls_is_the_image_of_the_result(kind):
    grid = Grid((17,), 1.0, periodic=False, points=kind, dtype=jnp.float32)
    # A convolution sees the mirror images that activations see: of nodes "reflect", of centres "edge".
    model = network(1, conditioning=None, walls="reflect" if kind == "nodes" else "edge")
    # Kernels that are their own image, as the sum of all weights around a point.
    model = jax.tree.map(lambda leaf: leaf + leaf[..., ::-1] if leaf.ndim == 3 else leaf, model)
    u = random_state((17,))
    result = np.asarray(applied(model, u, domain=grid))
    mirrored = np.asarray(applied(model, u[:, ::-1], domain=grid))
    np.testing.assert_allclose(mirrored, result[:, ::-1], atol=1e-5)


def test_it_computes_in_half_precision():
    model = InPrecision(network(2), jnp.bfloat16)
    lowered = eqx.filter_make_jaxpr(model)(jax.ShapeDtypeStruct((2, *(16, 20)), jnp.float32))
    assert lowered[1].shape == (5, *(16, 20)) and lowered[1].dtype == jnp.float32


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=(False, True), coordinates=1)
    model = network(2, conditioning=told, norm=InstanceNorm(affine=True), activation=jax.nn.silu, walls="zeros")
    save(tmp_path / "model", model)
    u, given = random_state((9, 8)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_levels": 0}, "num_levels >= 1, got 0"),
        ({"num_residual": -1}, "numbers of blocks >= 0, got -1"),
        ({"oversampling": 0}, "oversampling >= 1, got 0"),
        ({"kernel_points": 4}, "odd number of kernel_points"),
        ({"points": (8, 8, 8)}, "points >= 1, one number or 2"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: CNO(2, 5, 2, 3, **options, key=jax.random.key(0)))


@pytest.mark.usefixtures("without_shape_checks")
def test_states_that_do_not_fit_are_refused():
    model = eqx.filter_eval_shape(lambda: CNO(2, 5, 1, 3, key=jax.random.key(0)))
    for shape, domain, message in (
        ((1, 16), None, r"2 channels and 1 axes.*\(1, 16\)"),
        ((2, 16), None, "CNO has to know which axes are periodic"),
        ((2, 10), Grid(10, 1.0), r"CNO halves \(10,\) points 3 times, to \(1,\)"),
        ((2, 16), Grid(16, 1.0, periodic=False, points="chebyshev"), "CNO needs points at equal distances"),
    ):
        with pytest.raises(ValueError, match=message):
            model(jnp.ones(shape), domain=domain)
