"""Whole models against the formulas of their docstrings, written out in NumPy with sums over frequencies and points."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.models import CNO, GFNO, T1, UFNO, UNO, IFactFormer, SwinUNet
from pdejax.nn import Conditioning, InstanceNorm

KEY = jax.random.key(0)
applied = eqx.filter_jit(lambda model, u: model(u))


def shaken(make):
    """A new model whose weights are all moved, so that no bias is zero and no weight of a norm is one."""

    @eqx.filter_jit
    def made():
        weights, rest = eqx.partition(make(), eqx.is_inexact_array)
        leaves, structure = jax.tree.flatten(weights)
        moved = [w + 0.2 * jnp.cos(i + 3.0 * jnp.arange(w.size).reshape(w.shape)) for i, w in enumerate(leaves)]
        return eqx.combine(jax.tree.unflatten(structure, moved), rest)

    return made()


def state(channels, *space):
    return np.random.default_rng(1).normal(size=(channels, *space)).astype(np.float32)


def affine(layer, u):
    bias = 0.0 if layer.bias is None else np.asarray(layer.bias, float).reshape(-1, *(1,) * (u.ndim - 1))
    return np.einsum("oi,i...->o...", np.asarray(layer.weight, float), u) + bias


def perceptron(layer, u):
    return affine(layer.out, np.tanh(affine(layer.hidden, u)))


def standard(u):
    """Every channel without its mean and over its deviation, over all else."""
    axes = tuple(range(1, u.ndim))
    return (u - u.mean(axes, keepdims=True)) / np.sqrt(u.var(axes, keepdims=True) + 1e-5)


def wave(k, space):
    x = np.meshgrid(*(np.arange(n) / n for n in space), indexing="ij")
    return np.exp(2j * np.pi * sum(ka * xa for ka, xa in zip(k, x, strict=True)))


def as_complex(pair):
    return np.asarray(pair[0], float) + 1j * np.asarray(pair[1], float)


def assert_same(result, expected):
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=2e-5 * np.max(np.abs(expected)))


def test_t1():
    space, model = (6, 7), shaken(lambda: T1(2, 3, 2, (2, 3), 4, num_layers=2, activation=jnp.tanh, key=KEY))
    u = state(2, *space)
    kept = list(itertools.product((-2, -1, 0, 1), (0, 1, 2)))
    by_wave = np.asarray([np.mean(u * np.conj(wave(k, space)), axis=(1, 2)) for k in kept])  # (frequency, channel)

    def matrices(pair):
        return as_complex(pair).reshape(len(kept), *pair[0].shape[2:])

    def each(pair, z):
        return np.einsum("kio,ki->ko", matrices(pair), z)

    # Of both signs of the last axis: what a coefficient of white noise is smaller by than the noise.
    root = np.sqrt(4 * 5)
    z = each(model.lift, by_wave)
    for block, mixing in zip(model.blocks, model.mixings, strict=True):
        mixed = root * np.einsum("abi,ac,bd->cdi", z.reshape(4, 3, -1), *(as_complex(pair) for pair in mixing))
        mixed = mixed.reshape(len(kept), -1)
        z = z + each(block, (np.tanh(mixed.real) + 1j * np.tanh(mixed.imag)) / root)
    of_result = each(model.projection, z) + each(model.diagonal, by_wave)
    expected = sum(
        (1 if k[1] == 0 else 2) * np.real(c[:, None, None] * wave(k, space))
        for k, c in zip(kept, of_result, strict=True)
    )
    assert_same(applied(model, u), expected)


def group_map(layer, u):
    weight, count = np.asarray(layer.weight, float), u.shape[1]
    # g^-1 h of quarter turns is the difference of their numbers.
    seen = [sum(np.einsum("oi,i...->o...", weight[:, :, (h - g) % count], u[:, h]) for h in range(4)) for g in range(4)]
    return np.stack(seen, 1) + np.asarray(layer.bias, float).reshape(-1, 1, 1, 1)


def turned_back(k, turns):
    for _ in range(turns):
        k = (k[1], -k[0])
    return k


def group_convolution(layer, u, modes, n):
    v, result = np.asarray(layer.weight, float), np.zeros((layer.weight.shape[-1], 4, n, n))
    at = lambda k, h: v[k[0] + modes - 1, k[1] + modes - 1, h]  # noqa: E731
    for k in itertools.product(range(1 - modes, modes), repeat=2):
        of_k = wave(k, (n, n))
        coefficients = np.mean(u * np.conj(of_k), axis=(2, 3))
        for g, h in itertools.product(range(4), repeat=2):
            seen, of_h = turned_back(k, g), (h - g) % 4
            plus, minus = at(seen, of_h), at((-seen[0], -seen[1]), of_h)
            kernel = ((plus + minus) + 1j * (plus - minus)) / np.sqrt(2)
            result[:, g] += np.real((coefficients[:, h] @ kernel)[:, None, None] * of_k)
    return result


@pytest.mark.parametrize("points", [5, 6])
def test_gfno(points):
    modes, norm = 3, InstanceNorm(affine=True)
    options = {"num_layers": 2, "projection_width": 3, "norm": norm, "activation": jnp.tanh}
    model, u = shaken(lambda: GFNO(2, 3, modes, 2, **options, key=KEY)), state(2, points, points)

    def normed_on_group(layer, v):
        each = (-1, 1, 1, 1)
        return np.asarray(layer.weight).reshape(each) * standard(v) + np.asarray(layer.bias).reshape(each)

    v = np.stack([affine(model.lift, u)] * 4, 1)
    for i in range(2):
        before, behind = model.norms[i]
        h = normed_on_group(before, v)
        h = normed_on_group(behind, group_convolution(model.convolutions[i], h, modes, points))
        v = group_map(model.out[i], np.tanh(group_map(model.hidden[i], h))) + group_map(model.shortcuts[i], v)
        v = np.tanh(v) if i == 0 else v
    assert_same(applied(model, u), affine(model.last, np.tanh(group_map(model.projection, v)).mean(1)))


def test_ifactformer():
    heads, rank, harmonics, space = 2, 6, 1, (4, 5)
    options = {"num_layers": 3, "heads": heads, "rank": rank, "harmonics": harmonics, "activation": jnp.tanh}
    told = Conditioning(periodic=True)
    model, u = shaken(lambda: IFactFormer(2, 3, 2, 4, conditioning=told, **options, key=KEY)), state(2, *space)

    def kernel(layer, p):
        n = p.shape[1]
        turn = 2j * np.pi * np.asarray([0, 1, 0])[:, None] * np.arange(n) / n

        def rotated(of):
            made = affine(of, perceptron(layer.perceptron, p)).reshape(heads, rank, n)
            return (made[:, :3] + 1j * made[:, 3:]) * np.exp(turn)

        return np.real(np.einsum("hcx,hcy->hxy", rotated(layer.queries), np.conj(rotated(layer.keys)))) / rank**0.5

    def attention(v):
        values, (n, m) = affine(model.attention.values, v).reshape(heads, -1, *space), space
        along_x, along_y = (kernel(k, v.mean(axis)) for k, axis in zip(model.attention.kernels, (2, 1), strict=True))
        made = np.einsum("hxz,hczy->hcxy", along_x, values) / n, np.einsum("hyz,hcxz->hcxy", along_y, values) / m
        return np.concatenate([each.reshape(-1, *space) for each in made])

    v = affine(model.lift, u)
    for _ in range(3):
        v = v + perceptron(model.feed_forward, standard(attention(standard(v)))) / 3
    assert_same(applied(model, u), perceptron(model.projection, v))


def keys_matrix(source, target):
    """Cubic convolution with a = -1/2 from nodes to nodes of one period, wider where there are fewer of them."""
    step, a = source / target, -0.5
    matrix = np.zeros((target, source))
    for i, j in itertools.product(range(target), range(-2 * source, 3 * source)):
        s = abs(i * step - j) / max(1, step)
        inner = (a + 2) * s**3 - (a + 3) * s**2 + 1
        outer = a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a
        matrix[i, j % source] += inner if s < 1 else outer if s < 2 else 0
    return matrix / matrix.sum(1, keepdims=True)


def series_matrix(source, target):
    """The trigonometric interpolant, of the frequencies that both hold; odd numbers of points have no halves."""
    highest = (min(source, target) - 1) // 2
    x = np.arange(target)[:, None] / target - np.arange(source) / source
    return sum(np.cos(2 * np.pi * k * x) for k in range(-highest, highest + 1)) / source


def convolved(layer, v):
    """In Fourier space, along one axis, below the highest frequency of its points."""
    n, weight = v.shape[1], as_complex((layer.real, layer.imaginary))
    waves = [wave((k,), (n,)) for k in range(len(weight))]
    terms = [((v @ np.conj(w)) / n) @ weight[k] for k, w in enumerate(waves)]
    return sum((1 if k == 0 else 2) * np.real(terms[k][:, None] * w) for k, w in enumerate(waves))


@pytest.mark.parametrize("resampling", ["fourier", "bicubic"])
def test_uno(resampling):
    fine, coarse = 15, 5
    layers = {"layer_channels": (3, 4, 5), "layer_modes": (2, 2, 2), "scalings": (1 / 3, 1, 3), "skips": {2: 0}}
    layers |= {"lift_skip": True, "norm": InstanceNorm(affine=True), "resampling": resampling, "activation": jnp.tanh}
    told = Conditioning(periodic=True)
    model, u = shaken(lambda: UNO(2, 3, 1, 4, conditioning=told, **layers, key=KEY)), state(2, fine)
    of_shortcut = series_matrix if resampling == "fourier" else keys_matrix

    def layer(i, v, points):
        moved = lambda w, matrix: w @ matrix(w.shape[1], points).T  # noqa: E731
        made = moved(convolved(model.convolutions[i], v), series_matrix)
        if points > v.shape[1] or resampling == "fourier":
            made = made + moved(affine(model.shortcuts[i], v), of_shortcut)
        else:
            made = made + affine(model.shortcuts[i], moved(v, of_shortcut))
        norm = model.norms[i]
        return np.tanh(np.asarray(norm.weight)[:, None] * standard(made) + np.asarray(norm.bias)[:, None])

    lifted = np.tanh(perceptron(model.lift, u))
    first = layer(0, lifted, coarse)
    second = layer(1, first, coarse)
    third = layer(2, np.concatenate([second, affine(model.across[0], first)]), fine)
    assert_same(applied(model, u), perceptron(model.projection, np.concatenate([third, lifted])))


def normed(norm, v):
    """By the mean and the deviation of all channels together."""
    normal = (v - v.mean()) / np.sqrt(v.var() + 1e-5)
    return np.asarray(norm.weight)[:, None] * normal + np.asarray(norm.bias)[:, None]


def neighbours(layer, v, mode, stride=1):
    """A convolution of three points around every point, or around every second one."""
    wide, weight = np.pad(v, [(0, 0), (1, 1)], mode=mode), np.asarray(layer.weight, float)
    made = sum(weight[:, :, j] @ wide[:, j : j + v.shape[1]] for j in range(3))[:, ::stride]
    return made if layer.bias is None else made + np.asarray(layer.bias)[:, None]


def interpolant(source, target, drop_highest=False):
    """Of any number of points; an even number sees its highest frequency as a cosine, unless that is left out."""
    x, matrix = np.arange(target)[:, None] / target - np.arange(source) / source, np.zeros((target, source))
    for k in range(min(source, target) // 2 + 1):
        if not (drop_highest and 2 * k == target):
            matrix += (1 if k == 0 or 2 * k == source else 2) * np.cos(2 * np.pi * k * x) / source
    return matrix.T


def test_cno():
    points, coarse, given = 12, 6, 17
    layers = {"num_levels": 1, "num_residual": 1, "num_residual_coarsest": 2, "points": points, "activation": jnp.tanh}
    told = Conditioning(periodic=True)
    model, u = shaken(lambda: CNO(2, 3, 1, 2, conditioning=told, **layers, key=KEY)), state(2, given)

    def first_half(part, v):
        return normed(part.norm, neighbours(part.convolution, v, "wrap"))

    def block(part, v, target):
        v = first_half(part.convolution, v)
        finer = 2 * max(v.shape[1], target)
        return np.tanh(v @ interpolant(v.shape[1], finer)) @ interpolant(finer, target, drop_highest=True)

    def residuals(parts, v):
        for part in parts:
            v = v + first_half(part.second, block(part.first, v, v.shape[1]))
        return v

    v = u @ interpolant(given, points, drop_highest=True)
    v = neighbours(model.lift_out, block(model.lift, v, points), "wrap")
    beside = residuals(model.residuals[0], v)
    w = residuals(model.residuals[1], block(model.down[0], v, coarse))
    w = block(model.merge[0], np.concatenate([block(model.up[0], w, points), beside]), points)
    w = neighbours(model.project_out, block(model.project, w, points), "wrap")
    assert_same(applied(model, u), w @ interpolant(points, given))


def test_ufno():
    points, end = 11, 2
    layers = {"num_fourier_layers": 1, "num_u_layers": 1, "projection_width": 4, "padding": 0.2, "slope": 0.3}
    told = Conditioning(periodic=False)
    model = shaken(lambda: UFNO(2, 3, 1, 4, 3, activation=jnp.tanh, conditioning=told, **layers, key=KEY))
    u = state(2, points)
    leaky = lambda v: np.where(v > 0, v, 0.3 * v)  # noqa: E731

    def around(part, v, stride):
        return leaky(normed(part.norm, neighbours(part.convolution, v, "edge", stride)))

    def up(part, v, beside):
        # A test of its own has what the transposed convolution makes.
        made = leaky(np.asarray(part(jnp.asarray(v, jnp.float32), (False,)), float))
        return np.concatenate([beside, made[:, : beside.shape[1]]])

    def u_net(net, v):
        first = around(net.down[0], v, 2)
        second = around(net.again[0], around(net.down[1], first, 2), 1)
        third = around(net.again[1], around(net.down[2], second, 2), 1)
        return neighbours(net.out, up(net.up[2], up(net.up[1], up(net.up[0], third, second), first), v), "edge")

    v = np.pad(affine(model.lift, u), [(0, 0), (end, end)], mode="edge")
    v = np.tanh(convolved(model.convolutions[0], v) + affine(model.shortcuts[0], v))
    v = np.tanh(convolved(model.convolutions[1], v) + u_net(model.u_nets[0], v) + affine(model.shortcuts[1], v))
    assert_same(applied(model, u), perceptron(model.projection, v[:, end:-end]))


def test_swin_unet():
    # Two levels of two blocks, the second of which looks through shifted windows; 13 points are padded to 16.
    layers = {"patch": 2, "window": 2, "num_levels": 2, "depth": 2, "heads": 1, "expansion": 2, "activation": jnp.tanh}
    told, walls = Conditioning(periodic=False), (False,)
    model, u = shaken(lambda: SwinUNet(2, 3, 1, 4, conditioning=told, **layers, key=KEY)), state(2, 13)

    def cut(v):
        return jnp.swapaxes(v.reshape(len(v), -1, 2), 1, 2).reshape(2 * len(v), -1)

    def joined(v):
        return jnp.swapaxes(v.reshape(len(v) // 2, 2, -1), 1, 2).reshape(len(v) // 2, -1)

    def blocks(parts, v):
        for part, shifted in zip(parts, (False, True), strict=True):
            v = v + part.norms[0](part.attention(v, walls, shifted=shifted))
            v = v + part.norms[1](part.feed_forward(v))
        return v

    @eqx.filter_jit
    def by_parts(model, u):
        fine, coarse = model.levels
        v = blocks(fine.down, model.embed(cut(jnp.pad(u, [(0, 0), (1, 2)], mode="edge"))))
        below = blocks(coarse.down, fine.merge[1](fine.merge[0](cut(v))))
        v = fine.skip[0][0](v, walls) + fine.expand[1](joined(fine.expand[0](below)))
        return model.mix(joined(model.recover(blocks(fine.up, v))), walls)[:, 1:14]

    assert_same(applied(model, u), np.asarray(by_parts(model, u)))
