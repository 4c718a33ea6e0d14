import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import Convolution, padded


def by_hand(u, weight, bias, periodic, walls, stride, dilation, groups):
    """The sum of the docstring, term by term, for two axes."""
    out, inside, px, py = weight.shape
    nx, ny = u.shape[1:]
    reach = lambda n, s: -(-n // s)  # noqa: E731
    y = np.zeros((out, reach(nx, stride[0]), reach(ny, stride[1])))

    def value(c, i, j):
        place = []
        for index, n, around in ((i, nx, periodic[0]), (j, ny, periodic[1])):
            if around:
                index %= n
            elif not 0 <= index < n:
                if walls == "zeros":
                    return 0.0
                index = min(max(index, 0), n - 1) if walls == "edge" else (-index if index < 0 else 2 * (n - 1) - index)
            place.append(index)
        return u[c, place[0], place[1]]

    for o in range(out):
        first = (o // (out // groups)) * inside
        for i, j in np.ndindex(y.shape[1:]):
            y[o, i, j] = bias[o] + sum(
                weight[o, c, p, q]
                * value(
                    first + c,
                    stride[0] * i + dilation[0] * (p - (px - 1) // 2),
                    stride[1] * j + dilation[1] * (q - (py - 1) // 2),
                )
                for c, p, q in np.ndindex(weight.shape[1:])
            )
    return y


@pytest.mark.parametrize(
    ("periodic", "walls", "stride", "dilation", "groups", "points"),
    [
        ((True, True), "zeros", 1, 1, 1, 3),
        ((True, False), "zeros", (2, 1), 1, 2, (3, 4)),
        ((False, True), "edge", 2, (1, 2), 1, 3),
        ((False, False), "reflect", 1, 2, 2, (5, 2)),
    ],
)
def test_it_is_the_sum_that_it_says(periodic, walls, stride, dilation, groups, points):
    options = {"stride": stride, "dilation": dilation, "groups": groups, "walls": walls}
    layer = Convolution(4, 6, 2, points, **options, key=jax.random.key(0))
    bias = np.arange(6.0) / 7
    layer = jax.tree.map(lambda a: jnp.asarray(bias, a.dtype) if a.ndim == 1 else a, layer)
    u = np.asarray(jax.random.normal(jax.random.key(1), (4, 7, 6), jnp.float32))
    expected = by_hand(u, np.asarray(layer.weight), bias, periodic, walls, layer.stride, layer.dilation, groups)
    np.testing.assert_allclose(layer(jnp.asarray(u), periodic), expected, atol=1e-5)


@pytest.mark.parametrize("ndim", [1, 3])
def test_it_commutes_with_translations_of_periodic_axes(ndim):
    layer = Convolution(2, 5, ndim, 3, key=jax.random.key(0))
    u, flags = jax.random.normal(jax.random.key(1), (2, 7, 6, 5)[: ndim + 1], jnp.float32), (True,) * ndim
    np.testing.assert_allclose(layer(jnp.roll(u, 2, 1), flags), np.roll(layer(u, flags), 2, 1), atol=1e-6)


def test_a_narrow_periodic_axis_is_gone_around_more_than_once():
    wide = padded(jnp.asarray([[1.0, 2.0]]), [(3, 4)], (True,))
    np.testing.assert_array_equal(wide, [[2, 1, 2, 1, 2, 1, 2, 1, 2]])


@pytest.mark.either
def test_mistakes_are_named():
    with pytest.raises(ValueError, match="groups=2 do not divide 3 and 4 channels"):
        Convolution(3, 4, 1, groups=2, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"points >= 1, one number or 2, got \(3,\)"):
        Convolution(3, 4, 2, (3,), key=jax.random.key(0))
    with pytest.raises(ValueError, match="mirrors up to 2 of 3 points along axis 0, asked for 3"):
        padded(jnp.ones((1, 3)), [(3, 0)], (False,), "reflect")
    with pytest.raises(ValueError, match="as many widths and flags"):
        padded(jnp.ones((1, 3)), [(1, 0)], (False, True))
