"""Points beyond the ends of the axes, against numpy, and their gradients, which are those of a linear map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn.padding import padded

NUMPY = {"zeros": "constant", "edge": "edge", "reflect": "reflect"}


@pytest.mark.parametrize("walls", list(NUMPY))
@pytest.mark.parametrize("periodic", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("widths", [((1, 1), (1, 1)), ((0, 2), (3, 0)), ((2, 3), (0, 0)), ((4, 4), (4, 4))])
def test_values_are_those_of_numpy_and_gradients_those_of_the_transposed_map(widths, periodic, walls):
    def make(u):
        return padded(u, widths, periodic, walls)

    u = np.random.default_rng(0).normal(size=(2, 5, 7))
    expected = u
    for axis, (width, around) in enumerate(zip(widths, periodic, strict=True), start=1):
        every = [(0, 0)] * 3
        every[axis] = width
        expected = np.pad(expected, every, mode="wrap" if around else NUMPY[walls])
    np.testing.assert_array_equal(make(jnp.asarray(u)), expected.astype(jnp.zeros(()).dtype))
    # <A u, v> = <u, A^T v>, of a batch, and in the other direction of differentiation.
    v = jnp.asarray(np.random.default_rng(1).normal(size=expected.shape))
    _, back = jax.vjp(make, jnp.asarray(u))
    batch = jax.vmap(lambda scale: back(scale * v)[0])(jnp.asarray([1.0, -2.0]))
    np.testing.assert_allclose(jnp.vdot(batch[0], jnp.asarray(u)), np.vdot(expected, v), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(batch[1], -2 * batch[0], rtol=1e-6)
    _, tangent = jax.jvp(make, (jnp.asarray(u),), (jnp.asarray(u),))
    np.testing.assert_array_equal(tangent, make(jnp.asarray(u)))


def test_an_axis_may_be_the_first_one():
    u = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7, 2)))
    found = padded(u, ((1, 2), (3, 0)), (True, True), first=0)
    np.testing.assert_array_equal(found, np.pad(u, ((1, 2), (3, 0), (0, 0)), mode="wrap"))


@pytest.mark.usefixtures("without_shape_checks")
def test_mistakes_are_named():
    u = jnp.zeros((1, 4))
    with pytest.raises(ValueError, match="mirrors up to 3 of 4 points along axis 0, asked for 4: take walls="):
        padded(u, ((4, 0),), (False,), "reflect")
    with pytest.raises(ValueError, match="A state of 1 axes needs as many widths and flags"):
        padded(u, ((1, 1), (1, 1)), (True, True))
