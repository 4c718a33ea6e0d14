"""Kernel integrals by attention, against the integrals themselves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.nn import (
    AxialAttention,
    BoxNorm,
    ConvNeXtBlock,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LinearAttention,
    WindowAttention,
)
from pdejax.nn.patches import patched, unpatched
from pdejax.nn.quadrature import mean, points_of, standardised
from pdejax.stretching import Stretched, TowardsWalls


def applied(layer, u, *static, **options):
    """The points are constants of the program, as they are in a model."""
    return eqx.filter_jit(lambda layer, u: layer(u, *static, **options))(layer, u)


def positions(n):
    return 2 * np.pi * np.arange(n) / n


def single(values):
    return jnp.asarray(np.asarray(values), jnp.float32)


def with_constant_kernel(layer, harmonic):
    """`A(x, y) = cos(harmonic 2 pi (x - y))` along every axis: the queries and keys are a bias of one pair."""
    bias = np.zeros(layer.kernels[0].rank, np.float32)
    bias[harmonic] = layer.kernels[0].rank ** 0.25
    for axis in range(len(layer.kernels)):
        for name in ("queries", "keys"):
            where = lambda m, axis=axis, name=name: getattr(m.kernels[axis], name)  # noqa: E731
            layer = eqx.tree_at(lambda m, w=where: w(m).weight, layer, replace_fn=jnp.zeros_like)
            layer = eqx.tree_at(lambda m, w=where: w(m).bias, layer, jnp.asarray(bias))
    return layer


def axial(channels, ndim, **options):
    sizes = {"heads": 1, "head_channels": channels, "rank": 8, "harmonics": 3} | options
    return eqx.filter_jit(lambda: AxialAttention(channels, ndim, **sizes, key=jax.random.key(0)))()


def test_axial_attention_is_a_convolution_with_a_cosine_along_each_axis():
    layer = with_constant_kernel(axial(1, 2), 2)
    layer = eqx.tree_at(lambda m: m.values.weight, layer, jnp.ones((1, 1)))
    x, y = np.meshgrid(positions(12), positions(15), indexing="ij")
    u = np.cos(2 * x + 1) * np.sin(2 * y) + np.sin(3 * x) + np.cos(2 * x)
    result = np.asarray(applied(layer, single(u[None]), points_of((12, 15), (True, True), None)))
    # mean over y of cos(2 (x - y)) f(y): half of f where it is the second harmonic, else nothing.
    along_x = 0.5 * (np.cos(2 * x + 1) * np.sin(2 * y) + np.cos(2 * x))
    np.testing.assert_allclose(result[0], along_x, atol=2e-6)
    np.testing.assert_allclose(result[1], 0.5 * np.cos(2 * x + 1) * np.sin(2 * y), atol=2e-6)


def test_axial_attention_between_walls_integrates_with_half_waves_and_the_rule_of_the_grid():
    layer = with_constant_kernel(axial(1, 1), 1)
    layer = eqx.tree_at(lambda m: m.values.weight, layer, jnp.ones((1, 1)))
    for n, options in ((48, {}), (49, {"points": "nodes"}), (14, {"points": "chebyshev"})):
        grid = Grid(n, 3.0, periodic=False, dtype=jnp.float32, **options)
        s = np.asarray(grid.axes[0]) / 3
        result = applied(layer, single(s[None]), points_of((n,), (False,), grid))[0]
        # The integral over t from 0 to 1 of cos(pi (s - t)) t.
        exact = (2 / np.pi) * np.sin(np.pi * s) * 0.5 - (2 / np.pi**2) * np.cos(np.pi * s)
        np.testing.assert_allclose(result, exact, atol=2e-6 if options.get("points") == "chebyshev" else 6e-4)


def test_the_kernel_of_an_axis_is_made_of_the_mean_over_the_others():
    layer = axial(2, 2, head_channels=1, heads=2)
    u = jax.random.normal(jax.random.key(1), (2, 9, 6), jnp.float32)
    ripple = u + single(np.tile([1.0, -1.0], 3))  # along the last axis, of mean zero
    points = points_of((9, 6), (True, True), None)
    kernel = lambda v: applied(layer.kernels[0], mean(v, points, [1]), points[0])  # noqa: E731
    np.testing.assert_allclose(kernel(ripple), kernel(u), atol=1e-5)
    assert kernel(u).shape == (2, 9, 9)
    assert np.max(np.abs(np.asarray(kernel(u + 1) - kernel(u)))) > 1e-2


def test_linear_attention_is_the_double_sum_it_stands_for():
    space, heads, channels = (6, 5), 2, 12
    layer = LinearAttention(channels, heads=heads, harmonics=2, key=jax.random.key(0))
    u = np.asarray(jax.random.normal(jax.random.key(1), (channels, *space)), np.float64)
    result = applied(layer, single(u), points_of(space, (True, False), None))

    flat = u.reshape(channels, -1)
    weight = lambda m: np.asarray(m.weight, float)  # noqa: E731

    quadrature = np.repeat(np.asarray([[0.5, 1, 1, 1, 0.5]]) / 4 / 6, 6, 0).ravel()

    def normal(v):
        deviation = v - (v @ quadrature)[:, None]
        return (deviation / np.sqrt(deviation**2 @ quadrature + 1e-5)[:, None]).reshape(heads, -1, v.shape[1])

    q = (weight(layer.queries) @ flat).reshape(heads, -1, flat.shape[1])
    k, v = normal(weight(layer.keys) @ flat), normal(weight(layer.values) @ flat)
    x, y = (each.ravel() for each in np.meshgrid(np.arange(6) / 6, np.arange(5) / 4, indexing="ij"))
    # Three pairs of each head: harmonics 0 and 1 of the periodic axis, 0 of the other.
    turns = [0 * x, 2 * np.pi * x, 0 * y]
    z = np.zeros((heads, 6, len(x)))
    for h in range(heads):
        qs, ks = (each[h, :3] + 1j * each[h, 3:] for each in (q, k))
        kernel = sum(
            np.real(qs[j][:, None] * np.conj(ks[j])[None] * np.exp(1j * (turns[j][:, None] - turns[j][None])))
            for j in range(3)
        )
        z[h] = v[h] @ (kernel * quadrature).T
    exact = weight(layer.out) @ z.reshape(channels, -1)
    np.testing.assert_allclose(np.asarray(result).reshape(channels, -1), exact, atol=1e-5 * np.max(np.abs(exact)))


@pytest.mark.parametrize("periodic", [True, False])
def test_window_attention_sees_its_window_and_around_the_end_only_where_there_is_none(periodic):
    # Which inputs reach which outputs, by the derivative of each with respect to each.
    layer = WindowAttention(2, (4,), heads=1, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, 12), jnp.float32)
    reach = eqx.filter_jit(
        lambda m, shifted: jnp.any(jax.jacobian(lambda v: m(v, (periodic,), shifted=shifted))(u) != 0, (0, 2))
    )
    windows = lambda shift: (np.arange(12) - shift) % 12 // 4  # noqa: E731
    np.testing.assert_array_equal(reach(layer, False), np.equal.outer(windows(0), windows(0)))
    around = np.equal.outer(windows(2), windows(2))
    if not periodic:
        around &= np.equal.outer(np.arange(12) < 2, np.arange(12) < 2) & np.equal.outer(
            np.arange(12) > 9, np.arange(12) > 9
        )
    np.testing.assert_array_equal(reach(layer, True), around)


def test_window_attention_in_a_corner_of_two_walls_sees_only_its_own_part():
    layer = WindowAttention(2, (2, 4), heads=1, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, 4, 8), jnp.float32)

    @eqx.filter_jit
    def reach(m, place):
        return jnp.any(jax.grad(lambda v: jnp.sum(m(v, (False, False), shifted=True)[:, *place] ** 2))(u) != 0, 0)

    seen = np.zeros((4, 8), bool)
    seen[0, :2] = True
    np.testing.assert_array_equal(reach(layer, (0, 0)), seen)
    seen = np.zeros((4, 8), bool)
    seen[1:3, 2:6] = True
    np.testing.assert_array_equal(reach(layer, (1, 3)), seen)
    # The corner's window has four parts, and those along its sides are no more neighbours than those across.
    for place, rows, columns in (((0, 7), 0, slice(6, 8)), ((3, 0), 3, slice(0, 2)), ((3, 7), 3, slice(6, 8))):
        seen = np.zeros((4, 8), bool)
        seen[rows, columns] = True
        np.testing.assert_array_equal(reach(layer, place), seen)


@pytest.mark.parametrize(("scale", "factor"), [(np.log(10.0), 10), (7.0, 100)])
def test_window_attention_is_the_formula(scale, factor):
    # Of a window of four points by two there are three here: distances count as in the whole one.
    layer = WindowAttention(2, (4, 2), heads=1, key=jax.random.key(0))
    np.testing.assert_allclose(layer.scale, np.log(10.0), rtol=1e-6)
    layer = eqx.tree_at(lambda m: m.scale, layer, single([scale]))
    u = np.asarray(jax.random.normal(jax.random.key(1), (2, 3, 2)), np.float64)
    result = np.asarray(applied(layer, single(u), (True, True))).reshape(2, 6)
    weight = lambda m: np.asarray(m.weight, float)  # noqa: E731
    q, k, v = (weight(m) @ u.reshape(2, 6) for m in (layer.queries, layer.keys, layer.values))
    q, k = (each / np.linalg.norm(each, axis=0) for each in (q, k))
    places = np.stack(np.meshgrid(np.arange(3), np.arange(2), indexing="ij")).reshape(2, 6)
    apart = places[:, :, None] - places[:, None, :]
    scaled = np.sign(apart) * np.log2(1 + 8 * np.abs(apart) / np.asarray([3, 1])[:, None, None]) / 3
    hidden = np.maximum(np.einsum("oi,ixy->oxy", weight(layer.bias.hidden), scaled), 0)
    bias = 16 / (1 + np.exp(-np.einsum("oi,ixy->oxy", weight(layer.bias.out), hidden)[0]))
    logits = np.exp(factor * (q.T @ k - 1) + bias)
    exact = weight(layer.out) @ v @ (logits / logits.sum(1, keepdims=True)).T
    np.testing.assert_allclose(result, exact, atol=1e-4)


def test_linear_attention_starts_near_a_small_identity():
    layer = LinearAttention(64, heads=4, key=jax.random.key(0))
    for each in (layer.queries, layer.keys, layer.values):
        weight = np.asarray(each.weight) / 0.01
        assert abs(np.mean(np.diag(weight)) - 1) < 0.05
        assert abs(np.std(weight - np.eye(64)) * 8 - 1) < 0.05


def test_what_hardly_varies_is_made_larger_by_no_more_than_epsilon_allows():
    u = 1e-3 * np.asarray(jax.random.normal(jax.random.key(0), (4, 12)), np.float64)
    points = points_of((12,), (True,), None)
    for epsilon in (1e-5, 1e-3):
        over_points = (u - u.mean(1, keepdims=True)) / np.sqrt(u.var(1, keepdims=True) + epsilon)
        over_channels = (u - u.mean(0)) / np.sqrt(u.var(0) + epsilon)
        of_box = BoxNorm(4, epsilon=epsilon)(single(u), points)
        np.testing.assert_allclose(of_box, over_points, rtol=1e-3, atol=1e-6)
        of_layer = InstanceNorm(epsilon=epsilon).make(4, dtype=jnp.float32)(single(u))
        np.testing.assert_allclose(of_layer, over_points, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(LayerNorm(4, epsilon=epsilon)(single(u)), over_channels, rtol=1e-3, atol=1e-6)
    assert {BoxNorm(4).epsilon, InstanceNorm().epsilon, GroupNorm().epsilon, LayerNorm(4).epsilon} == {1e-5}


def test_norms_take_their_means_in_single_precision():
    u = (20 + jax.random.normal(jax.random.key(0), (300, 300), jnp.float32)).astype(jnp.bfloat16)
    rounded = np.asarray(u, np.float64)
    for norm, axis in ((InstanceNorm().make(300, dtype=jnp.bfloat16), 1), (LayerNorm(300, dtype=jnp.bfloat16), 0)):
        exact = (rounded - rounded.mean(axis, keepdims=True)) / rounded.std(axis, keepdims=True)
        found = norm(u)
        assert found.dtype == jnp.bfloat16
        # What is rounded once, at the end.
        np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=2**-8, atol=2e-3)


def test_patches_and_back():
    u = np.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    made = patched(jnp.asarray(u), (2, 3, 1))
    assert made.shape == (12, 2, 2, 3)
    np.testing.assert_array_equal(made[:6, 1, 0, 2], u[0, 2:4, :3, 2].ravel())
    np.testing.assert_array_equal(unpatched(made, (2, 3, 1)), u)


def test_layer_norm_looks_at_one_point_and_one_group():
    u = np.asarray(jax.random.normal(jax.random.key(0), (6, 5)), np.float32)
    made = np.asarray(LayerNorm(6, 2)(jnp.asarray(u))).reshape(2, 3, 5)
    behind = LayerNorm(6, 2).last(jnp.asarray(u.T))
    np.testing.assert_allclose(behind.T.reshape(2, 3, 5), made, atol=1e-6)
    np.testing.assert_allclose(made.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose((made**2).mean(1), 1, atol=1e-3)
    with pytest.raises(ValueError, match="divide 6 channels, got 4"):
        LayerNorm(6, 4)


def test_a_large_constant_is_nothing_to_a_layer_norm():
    large = jnp.full((33, 5), 101325.3, jnp.float32)
    assert float(jnp.max(jnp.abs(applied(LayerNorm(33), large)))) < 1e-3


def test_means_are_those_of_the_grid():
    grid = Grid((5, 9, 7), 2.0, False, points=("nodes", Stretched(TowardsWalls(1.0)), "chebyshev"), dtype=jnp.float32)
    u = jax.random.normal(jax.random.key(0), (2, 5, 9, 7), jnp.float32)
    points = points_of(grid.shape, grid.periodic, grid)
    np.testing.assert_allclose(mean(u, points, range(3)), grid.integrate(u) / 8, atol=1e-6)
    flat = standardised(3 * u + 1, points)
    np.testing.assert_allclose(grid.integrate(flat**2) / 8, 1, atol=1e-4)
    assert mean(u, points, [1]).shape == (2, 5, 7)


def test_a_convnext_block_is_the_formula_and_starts_with_a_tenth():
    block = ConvNeXtBlock(3, 1, points=5, activation=jnp.tanh, key=jax.random.key(0))
    np.testing.assert_allclose(block.scale, 0.1, rtol=1e-6)
    block = eqx.tree_at(lambda b: (b.norm.weight, b.scale), block, (single([1, 2, 3]), single([0.5, -1, 2])))
    u = np.asarray(jax.random.normal(jax.random.key(1), (3, 8), jnp.float32))
    weight, wide = np.asarray(block.neighbours.weight)[:, 0], np.pad(u, [(0, 0), (2, 2)])
    v = sum(weight[:, j : j + 1] * wide[:, j : j + 8] for j in range(5))
    v = np.asarray([[1], [2], [3]]) * (v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5)
    made = np.asarray(block.perceptron.out.weight) @ np.tanh(np.asarray(block.perceptron.hidden.weight) @ v)
    assert block.perceptron.hidden.weight.shape == (12, 3)
    np.testing.assert_allclose(applied(block, u, (False,)), u + np.asarray([[0.5], [-1], [2]]) * made, atol=2e-5)


def test_a_convnext_block_is_near_the_identity_and_goes_around_periodic_axes():
    block = ConvNeXtBlock(3, 1, points=5, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (3, 12), jnp.float32)
    around, walls = (np.asarray(applied(block, u, (flag,))) for flag in (True, False))
    assert 0.01 < np.max(np.abs(around - u)) < 1
    np.testing.assert_allclose(around[:, 2:-2], walls[:, 2:-2], atol=1e-6)
    assert np.max(np.abs(around - walls)) > 1e-3
    np.testing.assert_allclose(applied(block, jnp.roll(u, 5, 1), (True,)), np.roll(around, 5, 1), atol=1e-5)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda key: LinearAttention(12, heads=4, key=key), "12 channels for heads=4"),
        (lambda key: WindowAttention(6, (4,), heads=4, key=key), r"divide 6 channels, got window=\(4,\) and heads=4"),
        (lambda key: axial(4, 1, rank=3), "even rank >= 2 and harmonics >= 0, got 3, 3"),
        (
            lambda key: WindowAttention(2, (4,), heads=1, key=key)(jnp.zeros((2, 6)), (True,)),
            r"\(4,\) does not fit \(6,",
        ),
        (lambda key: ConvNeXtBlock(2, 1, key=5), r"jax.random.key\(5\)"),
    ],
)
def test_what_makes_no_sense_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made(jax.random.key(0))
