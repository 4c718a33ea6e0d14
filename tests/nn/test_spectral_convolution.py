import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.nn import ChannelMap, Modes, SpectralConvolution


def defining_sum(layer, u):
    """The docstring's formula, frequency by frequency and channel by channel, in float64."""
    u = np.asarray(u, np.float64)
    space = u.shape[1:]
    x = np.meshgrid(*(np.arange(n) / n for n in space), indexing="ij")
    weight = np.asarray(layer.real, np.float64) + 1j * np.asarray(layer.imaginary, np.float64)
    kept = [layer.modes.frequencies(a) for a in range(len(space))]
    result = np.zeros((weight.shape[-1], *space))
    for place in itertools.product(*(range(len(k)) for k in kept)):
        k = [kept[a][p] for a, p in enumerate(place)]
        wave = np.exp(2j * np.pi * sum(ka * xa for ka, xa in zip(k, x, strict=True)))
        unpaired = k[-1] == 0 or 2 * k[-1] == space[-1]
        for i, o in itertools.product(range(u.shape[0]), range(weight.shape[-1])):
            coefficient = np.mean(u[i] * np.conj(wave)) * weight[(*place, i, o)]
            result[o] += (1 if unpaired else 2) * np.real(coefficient * wave)
    return result


@pytest.mark.parametrize(
    ("space", "modes"),
    [
        ((17,), Modes.classic(5, 1)),
        ((16,), Modes.classic(9, 1)),  # up to and including the highest frequency of an even grid
        ((12, 15), Modes.classic((3, 6), 2)),
        ((8, 6), Modes.neuraloperator((8, 6))),
        ((9, 6, 8), Modes((-2, -1, 0), (2, 2, 3))),
    ],
)
def test_it_is_the_defining_sum(space, modes):
    layer = SpectralConvolution(2, 3, modes, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, *space), jnp.float32)
    expected = defining_sum(layer, u)
    np.testing.assert_allclose(eqx.filter_jit(layer)(u), expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.float64
@pytest.mark.parametrize("space", [(24, 33), (33, 24)])
def test_it_is_the_zero_padded_inverse_real_fft(space):
    modes = Modes.classic((5, 7), 2)
    layer = SpectralConvolution(2, 5, modes, dtype=jnp.float64, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, *space), jnp.float64)
    rows = modes.frequencies(0)
    kept = np.fft.rfft2(u)[:, rows, :7]
    product = np.einsum("ixy,xyio->oxy", kept, np.asarray(layer.real) + 1j * np.asarray(layer.imaginary))
    padded = np.zeros((5, space[0], space[1] // 2 + 1), complex)
    padded[:, rows, :7] = product
    np.testing.assert_allclose(eqx.filter_jit(layer)(u), np.fft.irfft2(padded, s=space), atol=1e-13)


def test_the_output_is_as_large_as_the_part_of_the_input_that_is_kept():
    layer = SpectralConvolution(32, 48, Modes.classic(6, 2), key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (32, 12, 11), jnp.float32)  # white noise of which everything is kept
    assert np.std(np.asarray(eqx.filter_jit(layer)(u))) == pytest.approx(1, rel=0.05)
    weights = np.asarray(layer.real)
    assert abs(np.mean(weights)) < 4 * np.std(weights) / weights.size**0.5


@pytest.mark.float64
def test_gradients_equal_central_differences():
    layer = SpectralConvolution(2, 3, Modes.classic((2, 3), 2), dtype=jnp.float64, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, 6, 7), jnp.float64)
    direction = jax.tree.map(lambda a: jax.random.normal(jax.random.key(2), a.shape, a.dtype), (layer, u))

    @jax.jit
    @jax.value_and_grad
    def loss(step):
        moved, state = jax.tree.map(lambda a, d: a + step * d, (layer, u), direction)
        return jnp.sum(jnp.sin(moved(state)))

    h = 1e-5
    difference = (float(loss(h)[0]) - float(loss(-h)[0])) / (2 * h)
    assert float(loss(0.0)[1]) == pytest.approx(difference, rel=1e-7)


def test_a_grid_that_is_too_coarse_is_refused_at_trace_time():
    layer = SpectralConvolution(2, 5, Modes.classic((4, 9), 2), key=jax.random.key(0))
    state = jax.ShapeDtypeStruct((2, 24, 15), jnp.float32)
    with pytest.raises(ValueError, match="SpectralConvolution keeps 9 modes along axis 1, whose 15 points resolve 8"):
        eqx.filter_eval_shape(layer, state)


def test_the_channel_map_is_a_matrix_at_every_point():
    layer = ChannelMap(2, 5, key=jax.random.key(0))
    layer = eqx.tree_at(lambda m: m.bias, layer, jnp.arange(5, dtype=jnp.float32))
    u = jax.random.normal(jax.random.key(1), (2, 4, 3), jnp.float32)
    expected = np.asarray(layer.weight) @ np.asarray(u)[:, 2, 1] + np.arange(5)
    np.testing.assert_allclose(layer(u)[:, 2, 1], expected, rtol=1e-5)


def test_complex_fields_as_two_channels_are_no_less_than_complex_fields():
    """Any convolution of a complex field, with another weight for k and for -k, is one of its two parts."""
    kept = np.arange(5)
    rng = np.random.default_rng(0)
    z = rng.normal(size=12) + 1j * rng.normal(size=12)
    weights = {k: complex(*rng.normal(size=2)) for k in range(-4, 5)}
    spectrum = np.fft.fft(z)
    spectrum = np.array([spectrum[k] * weights.get(k, 0) for k in range(-6, 6)])
    expected = np.fft.ifft(np.fft.ifftshift(spectrum))
    ahead = np.array([weights[k] for k in kept])
    behind = np.conj([weights[-k] for k in kept])
    same, other = (ahead + behind) / 2, (ahead - behind) / 2
    # (frequency, in, out): from real part and imaginary part to both of them.
    matrix = np.stack([np.stack([same, -1j * other], axis=-1), np.stack([1j * other, same], axis=-1)], axis=1)
    convolution = SpectralConvolution(2, 2, Modes((0,), (4,)), key=jax.random.key(0))
    parts = (jnp.asarray(part, jnp.float32) for part in (matrix.real, matrix.imag))
    convolution = eqx.tree_at(lambda c: (c.real, c.imaginary), convolution, tuple(parts))
    found = convolution(jnp.asarray(np.stack([z.real, z.imag]), jnp.float32))
    np.testing.assert_allclose(found[0] + 1j * found[1], expected, atol=1e-5)
