"""Norms against their formula in NumPy, and their derivatives, which are written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from pdejax.nn import GroupNorm, InstanceNorm

KINDS = [InstanceNorm(), InstanceNorm(affine=True), GroupNorm(), GroupNorm(3), GroupNorm(2, affine=False)]


def module(kind, dtype=jnp.float32):
    """With weights that differ from channel to channel."""
    made = kind.make(6, dtype=dtype)
    return jax.tree.map(lambda leaf: leaf + jnp.arange(6.0, dtype=leaf.dtype) / 5, made)


def fields(shape=(6, 5, 4), seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * np.linspace(0.5, 3, 6).reshape(-1, *(1,) * (len(shape) - 1)) + 0.7).astype("f4")


def by_formula(kind, u, weight, bias):
    """In double precision, or in what JAX is given."""
    groups = 6 if isinstance(kind, InstanceNorm) else kind.groups
    each = (-1, *(1,) * (u.ndim - 1))
    grouped = u.reshape(groups, -1)
    deviation = grouped - grouped.mean(1, keepdims=True)
    y = (deviation / ((deviation**2).mean(1, keepdims=True) + kind.epsilon) ** 0.5).reshape(u.shape)
    return y if weight is None else weight.reshape(each) * y + bias.reshape(each)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(6, 7), (6, 5, 4), (6, 3, 4, 2)])
def test_values_are_those_of_the_formula(kind, shape):
    norm, u = module(kind), fields(shape)
    expected = by_formula(
        kind, u.astype(float), *(None if a is None else np.asarray(a) for a in (norm.weight, norm.bias))
    )
    np.testing.assert_allclose(norm(jnp.asarray(u)), expected, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_first_and_second_derivatives_are_those_of_the_formula(kind):
    norm, u = module(kind), jnp.asarray(fields((6, 3, 2)))
    t = jnp.asarray(fields((6, 3, 2), 1))
    first = tuple(jnp.asarray(fields((6,), seed)) for seed in (2, 3)) if norm.weight is not None else (None, None)

    def ours(u, weight, bias):
        return jax.tree.unflatten(jax.tree.structure(norm), [a for a in (weight, bias) if a is not None])(u)

    def derivatives(function):
        def squares(*inputs):
            return jnp.sum(t * function(*inputs) ** 2)

        return jax.jit(lambda *a: (jax.grad(squares, which)(*a), jax.hessian(squares)(*a), jax.jvp(squares, a, along)))

    inputs = tuple(a for a in (u, *first) if a is not None)
    both = [lambda *a, f=f: f(*a, *(None,) * (3 - len(a))) for f in (ours, lambda *a: by_formula(kind, *a))]
    which, along = tuple(range(len(inputs))), tuple(jnp.cos(3 * a) for a in inputs)
    compared = [derivatives(f)(*inputs) for f in both]
    for mine, its in zip(*map(jax.tree.leaves, compared), strict=True):
        np.testing.assert_allclose(mine, its, atol=3e-5 * float(jnp.max(jnp.abs(its))) + 1e-6)


@pytest.mark.float64
@pytest.mark.parametrize("kind", [InstanceNorm(affine=True), GroupNorm(2)])
def test_derivatives_are_those_of_differences(kind):
    norm, u = module(kind, jnp.float64), jnp.asarray(fields((6, 3, 2)), jnp.float64)
    check_grads(jax.jit(lambda u, w: jnp.sin(jax.tree.map(lambda a: a * w, norm)(u))), (u, 1.3), order=2, rtol=1e-4)


def test_in_batches_it_is_that_of_every_sample():
    norm, u = module(GroupNorm(2)), jnp.stack([jnp.asarray(fields(seed=seed)) for seed in range(3)])
    gradient = jax.grad(lambda norm, u: jnp.sum(norm(u) ** 3))
    together = jax.jit(jax.vmap(gradient, (None, 0)))(norm, u)
    for sample, one in enumerate(u):
        for mine, its in zip(jax.tree.leaves(together), jax.tree.leaves(gradient(norm, one)), strict=True):
            np.testing.assert_allclose(mine[sample], its, rtol=1e-4, atol=1e-4)


def test_in_half_precision_it_computes_in_single():
    norm, u = module(GroupNorm(2), jnp.bfloat16), jnp.asarray(fields(), jnp.bfloat16)
    whole = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), norm)(u.astype(jnp.float32))
    assert norm(u).dtype == jnp.bfloat16
    np.testing.assert_array_equal(norm(u), whole.astype(jnp.bfloat16))
    assert jax.grad(lambda u: jnp.sum(norm(u).astype(jnp.float32)))(u).dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_constant_is_nothing_and_a_ripple_on_it_all(kind):
    norm = kind.make(6, dtype=jnp.float32)
    np.testing.assert_allclose(norm(jnp.full((6, 33, 7), 3.3e6)), 0, atol=0.05)
    ripple = jnp.asarray(np.sign(fields((6, 40, 30)) - 0.7) * 64 + 2.0**21)
    np.testing.assert_allclose(np.std(norm(ripple)), 1, rtol=1e-3)


def test_squares_beyond_single_precision_give_no_number():
    norm, u = InstanceNorm().make(6, dtype=jnp.float32), jnp.asarray(fields()) * 1e20
    assert np.isnan(norm(u)).all()
    assert np.isfinite(norm(u / 1e4)).all()
