"""SOAP against Adam, against itself in other coordinates, and against a program that was written apart from it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pdejax.training import scale_by_soap, soap


def path(optimiser, gradient, start, num_steps):
    """The weights after every step."""

    @jax.jit
    def step(carry, _):
        weights, state = carry
        updates, state = optimiser.update(gradient(weights), state, weights)
        weights = optax.apply_updates(weights, updates)
        return (weights, state), weights

    return jax.lax.scan(step, (start, optimiser.init(start)), length=num_steps)[1]


def orthogonal(key, size, dtype=float):
    return jnp.linalg.qr(jax.random.normal(key, (size, size), dtype))[0]


def test_where_nothing_is_rotated_it_is_adam():
    # A vector, a scalar, axes of length one, a matrix beyond max_size, and the None that a partition leaves behind.
    start = {
        "vector": jnp.arange(1.0, 6.0),
        "scalar": jnp.asarray(-2.0),
        "ones": jnp.full((1, 1, 1), 0.5),
        "large": jnp.linspace(-1, 1, 56).reshape(7, 8),
        "none": None,
    }

    def gradient(weights):
        return jax.tree.map(lambda w: jnp.sin(3 * w) + w**3, weights)

    ours = path(soap(0.03, 0.9, 0.99, 1e-7, max_size=6), gradient, start, 25)
    theirs = path(optax.adam(0.03, 0.9, 0.99, 1e-7), gradient, start, 25)
    tolerance = 1e-12 if jax.config.jax_enable_x64 else 2e-6
    for name in ("vector", "scalar", "ones", "large"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance)
    decayed = path(soap(0.03, 0.9, 0.99, weight_decay=0.1, axes=lambda w: ()), gradient, start, 25)
    expected = path(optax.adamw(0.03, 0.9, 0.99, weight_decay=0.1), gradient, start, 25)
    np.testing.assert_allclose(decayed["large"], expected["large"], rtol=1e-5, atol=1e-5)


class Plain:
    """One array, in loops over what the paper writes down, in double precision by numpy."""

    def __init__(self, shape, rotated, b1, b2, eps, refresh_every):
        self.rotated, self.b1, self.b2, self.eps, self.refresh_every = rotated, b1, b2, eps, refresh_every
        self.t, self.mean, self.square = 0, np.zeros(shape), np.zeros(shape)
        self.gram = {a: np.zeros((shape[a], shape[a])) for a in rotated}
        self.basis = {a: np.eye(shape[a]) for a in rotated}

    def along(self, x, matrices):
        for axis, matrix in matrices.items():
            x = np.apply_along_axis(lambda line, m=matrix: m @ line, axis, x)
        return x

    def __call__(self, g):
        self.t += 1
        forth, back = {a: q.T for a, q in self.basis.items()}, self.basis
        squares = self.along(g, forth) ** 2
        if self.t == 1:
            squares = np.broadcast_to(np.mean(g**2, axis=self.rotated, keepdims=True), g.shape)
        self.mean = self.b1 * self.mean + (1 - self.b1) * g
        self.square = self.b2 * self.square + (1 - self.b2) * squares
        mean = self.along(self.mean, forth) / (1 - self.b1**self.t)
        direction = self.along(mean / (np.sqrt(self.square / (1 - self.b2**self.t)) + self.eps), back)
        for a in self.rotated:
            rows = np.moveaxis(g, a, 0).reshape(g.shape[a], -1)
            self.gram[a] = self.b2 * self.gram[a] + (1 - self.b2) * sum(np.outer(c, c) for c in rows.T)
            if self.t == 1:
                self.basis[a] = np.linalg.eigh(self.gram[a])[1][:, ::-1]
            elif self.t % self.refresh_every == 0:
                size = [q @ self.gram[a] @ q for q in self.basis[a].T]
                order = sorted(range(len(size)), key=lambda j: -size[j])
                self.square = np.take(self.square, order, axis=a)
                self.basis[a] = np.linalg.qr(self.gram[a] @ self.basis[a][:, order])[0]
        return direction


@pytest.mark.float64
@pytest.mark.parametrize(
    ("shape", "rotated"), [((4, 7), (0, 1)), ((3, 4, 5), (0, 1, 2)), ((6, 3, 4), (1, 2)), ((5, 1, 3), (0, 2))]
)
def test_steps_are_those_of_a_program_written_apart(shape, rotated):
    curvature = np.random.default_rng(0).normal(size=(3, *shape))
    gradients = [np.sin(t * curvature[0]) + 0.1 * curvature[1] * t + curvature[2] for t in range(1, 14)]
    plain = Plain(shape, rotated, 0.8, 0.9, 1e-8, 3)
    chosen = None if rotated == tuple(a for a, n in enumerate(shape) if n > 1) else lambda w: rotated
    optimiser = scale_by_soap(0.8, 0.9, refresh_every=3, axes=chosen)
    state = optimiser.init(jnp.zeros(shape))
    update = jax.jit(optimiser.update)
    for g in gradients:
        direction, state = update(jnp.asarray(g), state)
        np.testing.assert_allclose(direction, plain(g), rtol=1e-7, atol=1e-7)
    for axis in rotated:
        q = state.bases[axis]
        np.testing.assert_allclose(q.T @ q, np.eye(shape[axis]), atol=1e-12)


@pytest.mark.float64
def test_a_rotated_problem_has_a_rotated_path():
    shape, keys = (3, 4, 5), jax.random.split(jax.random.key(0), 6)
    first, middle, last = (orthogonal(key, n) for key, n in zip(keys[:3], shape, strict=True))
    target, start = jax.random.normal(keys[3], shape), jax.random.normal(keys[4], shape)
    scale = jnp.exp(jax.random.normal(keys[5], shape))

    def gradient(w):
        return scale * jnp.tanh(w - target)

    def turned(w):
        return jnp.einsum("ai,bj,ck,...ijk->...abc", first, middle, last, w)

    def turned_gradient(w):
        return turned(gradient(jnp.einsum("ai,bj,ck,abc->ijk", first, middle, last, w)))

    optimiser = soap(0.05, refresh_every=4)
    plain, other = path(optimiser, gradient, start, 30), path(optimiser, turned_gradient, turned(start), 30)
    assert jnp.max(jnp.abs(plain[-1] - start)) > 0.5  # it went somewhere
    np.testing.assert_allclose(other, turned(plain), atol=1e-8)
    # Adam does not: this test can fail.
    adam = path(optax.adam(0.05), gradient, start, 30)[-1]
    adam_turned = path(optax.adam(0.05), turned_gradient, turned(start), 30)[-1]
    assert jnp.max(jnp.abs(adam_turned - turned(adam))) > 0.1


@pytest.mark.float64
def test_a_rotated_valley_is_no_valley():
    # |A (W - target) B|^2 / 2 with condition numbers of 1e2 each, so 1e8 of the Hessian; its axes are no coordinates.
    keys = jax.random.split(jax.random.key(1), 6)
    a, b = (
        orthogonal(keys[2 * i], n) * jnp.logspace(0, -2, n) @ orthogonal(keys[2 * i + 1], n)
        for i, n in enumerate((8, 11))
    )
    target = jax.random.normal(keys[4], (8, 11))

    def loss(w):
        return 0.5 * jnp.sum((a @ (w - target) @ b) ** 2)

    def reached(make):
        """The lowest loss of four learning rates, each in 400 steps."""

        def run(rate):
            return loss(path(make(optax.linear_schedule(rate, 0.0, 400)), jax.grad(loss), jnp.zeros((8, 11)), 400)[-1])

        return min(jax.lax.map(run, jnp.asarray([0.3, 0.1, 0.03, 0.01])))

    assert reached(soap) < 1e-2 * reached(optax.adam)  # 4.0e-7 and 5.5e-4


def test_seeds_side_by_side_are_those_one_by_one():
    starts = jax.random.normal(jax.random.key(0), (3, 2, 5))
    together = jax.vmap(lambda start: path(soap(0.1, refresh_every=2), jnp.sin, start, 6))(starts)
    for start, expected in zip(starts, together, strict=True):
        np.testing.assert_allclose(path(soap(0.1, refresh_every=2), jnp.sin, start, 6), expected, atol=2e-5)


def test_mistakes_are_named(without_shape_checks):
    for given, message in [
        ({"b1": 1.0}, "0 <= b1 < 1, got 1.0"),
        ({"b2": -0.1}, "0 <= b2 < 1, got -0.1"),
        ({"gram_decay": 2}, "0 <= gram_decay < 1, got 2"),
        ({"eps": 0.0}, "eps > 0, got 0.0"),
        ({"refresh_every": 0}, "refresh_every must be >= 1"),
        ({"max_size": 2.5}, "max_size must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=message):
            soap(1e-3, **given)
    with pytest.raises(ValueError, match=r"real weights, got complex64\(2, 3\)"):
        soap(1e-3).init({"w": jnp.zeros((2, 3), jnp.complex64)})
    with pytest.raises(ValueError, match=r"rotate the axes \(2,\) of an array of shape \(2, 3\)"):
        soap(1e-3, axes=lambda w: (2,)).init(jnp.zeros((2, 3)))
