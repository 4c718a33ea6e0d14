"""An antialiased activation acts on functions: it gives the same one on every grid, and wherever the points are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import AntialiasedActivation, resampled


def field(points, shift=0.0):
    """Of unit variance, with frequencies up to just below half of 32 points and most of it near that cut."""
    x = np.arange(points) / points - shift
    waves = zip([3, 11, 13, 15], [0.3, 1.1, 2.0, 0.7], strict=True)
    return sum(np.cos(2 * np.pi * number * x + phase) for number, phase in waves) / np.sqrt(2)


def applied(activation, u, space=None, periodic=True, kind="nodes"):
    """On one axis."""
    call = jax.jit(lambda v: activation(v, (periodic,), (kind,), space and (space,)))
    return np.asarray(call(jnp.asarray(u)[None]))[0]


def exact(function, points, shift=0.0):
    """What the function makes of the field, from many points, without what `points` do not hold."""
    values = function(jnp.asarray(field(2048, shift))[None])
    return np.asarray(resampled(values, (points,), (True,), ("nodes",), drop_highest=True))[0]


def size(values):
    return np.sqrt(np.mean(values**2))


@pytest.mark.parametrize(
    # Smooth functions make few frequencies beyond twice those they get; a kink makes some of every frequency.
    ("function", "oversampling", "gain"),
    [(jax.nn.gelu, 2, 10), (jax.nn.silu, 2, 25), (jnp.tanh, 2, 8), (jax.nn.leaky_relu, 2, 5), (jax.nn.gelu, 3, 100)],
)
def test_less_is_aliased_than_at_the_points(function, oversampling, gain):
    antialiased, aliased = (
        size(applied(AntialiasedActivation(function, factor), field(32)) - exact(function, 32))
        for factor in (oversampling, 1)
    )
    assert gain * antialiased < aliased < 0.3, (antialiased, aliased)


def test_it_commutes_with_translations_by_parts_of_a_point():
    def gap(activation, shift):
        """Translation of the result by its Fourier series, which is exact, against that of the field."""
        before = np.fft.rfft(applied(activation, field(32)))
        turned = np.fft.irfft(before * np.exp(-2j * np.pi * np.arange(17) * shift), 32)
        return size(applied(activation, field(32, shift)) - turned)

    for shift in (0.5 / 32, 0.3 / 32):
        antialiased, aliased = (gap(AntialiasedActivation(jax.nn.gelu, factor), shift) for factor in (2, 1))
        assert 10 * antialiased < aliased, (antialiased, aliased)
    # The sampled field of a polynomial that is not aliased moves with no error at all.
    assert gap(AntialiasedActivation(lambda v: v**3), 0.3 / 32) < 3e-6


@pytest.mark.parametrize(("points", "space"), [(32, 32), (32, 48), (48, 32), (33, 20), (40, 37)])
def test_a_cubic_has_no_aliasing_on_whatever_points(points, space):
    cubic = AntialiasedActivation(lambda v: v**3)
    np.testing.assert_allclose(applied(cubic, field(points), space), exact(cubic.function, space), atol=3e-6)


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_behind_walls_are_mirror_images(kind):
    def waves(points):
        x = (np.arange(points) + 0.5) / points if kind == "centres" else np.arange(points) / (points - 1)
        return np.cos(np.pi * 13 * x) + 0.5 * np.cos(np.pi * 4 * x) - 0.2

    # Every cosine series between walls is that of an even function: its cube is one with no seam.
    square = AntialiasedActivation(lambda v: v**3)
    result = applied(square, waves(21), periodic=False, kind=kind)
    many = jnp.asarray(waves(2000 + (kind == "nodes")) ** 3)[None]
    np.testing.assert_allclose(result, resampled(many, (21,), (False,), (kind,))[0], atol=1e-5)


def test_oversampling_of_one_is_the_function_at_the_points():
    np.testing.assert_array_equal(
        applied(AntialiasedActivation(jnp.tanh, 1), field(32)), jax.jit(jnp.tanh)(jnp.asarray(field(32)))
    )
    with pytest.raises(ValueError, match="oversampling >= 1, got 0"):
        AntialiasedActivation(jnp.tanh, 0)
