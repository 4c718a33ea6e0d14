import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import Convolution, TransposedConvolution

applied = eqx.filter_jit(lambda layer, u, periodic: layer(u, periodic))


@pytest.mark.parametrize(
    ("space", "points", "stride"),
    [((9,), 3, 2), ((6, 7), (4, 3), (2, 1)), ((4, 3, 5), (4, 5, 2), (2, 3, 2))],
)
def test_it_commutes_with_translations_and_has_stride_times_the_points(space, points, stride):
    ndim = len(space)
    layer = TransposedConvolution(2, 5, ndim, points, stride=stride, key=jax.random.key(0))
    u = np.random.default_rng(0).normal(size=(2, *space)).astype(np.float32)
    result = np.asarray(applied(layer, jnp.asarray(u), (True,) * ndim))
    assert result.shape == (5, *(n * s for n, s in zip(space, layer.stride, strict=True)))
    for axis in range(1, ndim + 1):
        moved = applied(layer, jnp.asarray(np.roll(u, 2, axis)), (True,) * ndim)
        np.testing.assert_allclose(moved, np.roll(result, 2 * layer.stride[axis - 1], axis), atol=2e-6)


@pytest.mark.parametrize(
    ("points", "stride", "walls", "periodic"),
    [
        (4, 2, "edge", False),
        (3, 2, "zeros", False),
        (2, 2, "zeros", False),
        (7, 3, "edge", False),
        (7, 3, "zeros", True),
        (3, 1, "zeros", False),
    ],
)
def test_the_sum_that_its_docstring_says(points, stride, walls, periodic):
    n = 5
    layer = TransposedConvolution(1, 1, 1, points, stride=stride, walls=walls, use_bias=False, key=jax.random.key(1))
    u = np.random.default_rng(1).normal(size=n).astype(np.float32)
    weight, b = np.asarray(layer.weight)[0, 0], (points + stride - 2) // 2

    def z(k):
        i, rest = divmod(k, stride)
        if rest:
            return 0.0
        if periodic:
            return u[i % n]
        return u[i] if 0 <= i < n else {"zeros": 0.0, "edge": u[0 if i < 0 else -1]}[walls]

    expected = [sum(weight[j] * z(k + j - b) for j in range(points)) for k in range(n * stride)]
    np.testing.assert_allclose(applied(layer, jnp.asarray(u[None]), (periodic,))[0], expected, atol=1e-6)


def test_it_is_the_transpose_of_the_convolution_of_the_same_points():
    # sum_k v_k (T u)_k = sum_i u_i (C v)_i with the same weights, read backwards.
    finer = TransposedConvolution(2, 3, 1, 3, use_bias=False, key=jax.random.key(2))
    coarser = Convolution(3, 2, 1, 3, stride=2, use_bias=False, key=jax.random.key(2))
    coarser = eqx.tree_at(lambda c: c.weight, coarser, jnp.swapaxes(finer.weight, 0, 1)[:, :, ::-1])
    random = np.random.default_rng(2)
    u, v = (jnp.asarray(random.normal(size=shape).astype(np.float32)) for shape in ((2, 6), (3, 12)))
    for periodic in ((True,), (False,)):
        there, back = jnp.sum(v * finer(u, periodic)), jnp.sum(u * coarser(v, periodic))
        np.testing.assert_allclose(there, back, rtol=1e-5)


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_where_results_belong(kind):
    # A ramp stays the same ramp: with weights of linear interpolation, between centres or between nodes.
    weights, offset = {"nodes": ([0.5, 1.0, 0.5], 0.0), "centres": ([0.25, 0.75, 0.75, 0.25], 0.5)}[kind]
    layer = TransposedConvolution(1, 1, 1, len(weights), key=jax.random.key(0))
    layer = eqx.tree_at(lambda c: c.weight, layer, jnp.asarray(weights, jnp.float32)[None, None])
    coarse, fine = ((np.arange(n) + offset) / n for n in (8, 16))
    result = np.asarray(layer(jnp.asarray(coarse[None], jnp.float32), (False,)))[0]
    np.testing.assert_allclose(result[1:-1], fine[1:-1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 1}, "1 points leave gaps at stride 2"),
        ({"stride": (2, 2)}, "stride >= 1, one number or 1"),
        ({"key": 3}, "jax.random.key"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TransposedConvolution(**({"in_channels": 1, "out_channels": 1, "ndim": 1, "key": jax.random.key(0)} | options))


@pytest.mark.parametrize(("points", "stride", "ndim"), [(4, 2, 1), (3, 3, 1), (4, 2, 2)])
def test_it_starts_with_weights_that_keep_the_size_of_a_field(points, stride, ndim):
    layer = TransposedConvolution(24, 24, ndim, points=points, stride=stride, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (24, *(12,) * ndim), jnp.float32)
    assert 0.85 < float(jnp.std(layer(u, (True,) * ndim))) < 1.15
