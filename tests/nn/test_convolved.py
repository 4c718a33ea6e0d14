"""A convolution and its derivatives against those of `jax.lax`, and how XLA is asked to compute them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn.convolved import convolved

TOLERANCE = 1e-12 if jax.config.jax_enable_x64 else 2e-5
SHAPES = [
    # space, points, channels in and out, stride, dilation, groups, padding
    ((11,), (4,), (3, 5), (1,), (1,), 1, [(2, 1)]),
    ((9, 14), (3, 2), (4, 6), (2, 3), (1, 1), 2, [(1, 1), (0, 0)]),
    ((13, 10), (3, 3), (3, 3), (1, 1), (2, 3), 3, [(2, 2), (0, 4)]),
    ((5, 6, 7), (3, 3, 3), (2, 3), (1, 2, 1), (2, 1, 1), 1, [(1, 1), (1, 1), (0, 2)]),
]


def direct(u, weight, padding, stride, dilation, groups):
    moved = jnp.moveaxis(u, -1, 0)[None]
    v = jax.lax.conv_general_dilated(
        moved, weight, stride, padding, rhs_dilation=dilation, feature_group_count=groups, precision="highest"
    )
    return jnp.moveaxis(v[0], 0, -1)


def drawn(space, points, channels, groups, samples=3):
    keys = jax.random.split(jax.random.key(0), 4)
    u, du = (jax.random.normal(key, (samples, *space, channels[0])) for key in keys[:2])
    shape = (channels[1], channels[0] // groups, *points)
    return u, du, *(jax.random.normal(key, shape) for key in keys[2:])


@pytest.mark.parametrize(("space", "points", "channels", "stride", "dilation", "groups", "padding"), SHAPES)
def test_derivatives_forwards_and_backwards(space, points, channels, stride, dilation, groups, padding):
    u, du, weight, dweight = drawn(space, points, channels, groups)
    options = (padding, stride, dilation, groups)
    # Mapped over samples, whose weights are shared, as a model is in training.
    ours, theirs = (jax.jit(lambda u, w, f=f: jax.vmap(lambda v: f(v, w, *options))(u)) for f in (convolved, direct))

    def compare(of):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.max(np.abs(b))),
            of(ours),
            of(theirs),
        )

    compare(lambda f: jax.jvp(f, (u, weight), (du, dweight)))
    compare(lambda f: jax.jvp(lambda u: f(u, weight), (u,), (du,)))
    compare(lambda f: jax.grad(lambda u, w: jnp.sum(jnp.sin(f(u, w))), argnums=(0, 1))(u, weight))
    compare(lambda f: jax.grad(lambda w: jnp.sum(jnp.sin(f(u, w))))(weight))

    def along(f):
        gradient = jax.grad(lambda u, w: jnp.sum(jnp.sin(f(u, w))), argnums=(0, 1))
        return jax.jvp(gradient, (u, weight), (du, dweight))[1]

    compare(along)


def test_members_with_weights_of_their_own():
    u, _, weight, other = drawn((9, 8), (3, 3), (2, 3), 1)
    weights = jnp.stack([weight, other, weight - other])
    padding, ones = [(1, 1), (0, 0)], (1, 1)
    gradient = jax.grad(lambda w, v: jnp.sum(convolved(v, w, padding) ** 2), argnums=(0, 1))
    found = jax.vmap(gradient)(weights, u)
    for i in range(3):
        expected = jax.grad(lambda w, v: jnp.sum(direct(v, w, padding, ones, ones, 1) ** 2), argnums=(0, 1))(
            weights[i], u[i]
        )
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=0, atol=10 * TOLERANCE * np.max(np.abs(b)))


def convolutions_of(function, *arguments):
    """The order of axes of every convolution in the program, as `jax.jit` hands it to XLA."""
    text = jax.jit(function).lower(*arguments).as_text()
    return re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", text)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_training_step_is_in_the_order_of_the_kernel_alone(ndim):
    u, _, weight, _ = drawn((8,) * ndim, (3,) * ndim, (2, 4), 1)
    space = ", ".join(map(str, range(ndim)))
    kernel = f"[b, {space}, f]x[{space}, i, o]->[b, {space}, f]"

    def loss(w, u):
        def layer(v, _):
            v = convolved(convolved(v, w, [(1, 1)] * ndim), jnp.swapaxes(w, 0, 1), [(1, 1)] * ndim)
            return v, None

        return jnp.mean(jax.vmap(lambda v: jax.lax.scan(layer, v, None, length=2)[0])(u) ** 2)

    found = convolutions_of(jax.grad(loss, argnums=(0, 1)), weight, u)
    assert len(found) >= 6 and set(found) == {kernel}
    # The text would show another order.
    other = convolutions_of(
        jax.grad(lambda w: jnp.sum(direct(u[0], w, [(1, 1)] * ndim, *[(1,) * ndim] * 2, 1))), weight
    )
    assert kernel not in other


def test_what_is_not_differentiated_costs_nothing():
    u, _, weight, _ = drawn((8, 8), (3, 3), (2, 4), 1)
    padding = [(1, 1), (1, 1)]
    of_weights = convolutions_of(jax.grad(lambda w: jnp.sum(convolved(u[0], w, padding) ** 2)), weight)
    of_features = convolutions_of(jax.grad(lambda v: jnp.sum(convolved(v, weight, padding) ** 2)), u[0])
    assert len(of_weights) == len(of_features) == 2
