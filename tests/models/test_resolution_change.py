"""Trained on 64 points and used on 128 of the same functions: an operator errs the same, a network of points does not.

The operator is Burgers' equation, solved exactly by the Cole-Hopf transform, times a function of the position, which a
model can know by its coordinates only.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pdejax as pj
from pdejax.grid import Grid
from pdejax.models import FNO
from pdejax.nn import GridEmbedding
from pdejax.resample import resample

COARSE, FINE, MANY = 64, 128, 256


def pairs(samples, seed):
    """Inputs of frequencies up to 5 and their images, on many points of the unit box: `(sample, 1, MANY)` each."""
    random = np.random.default_rng(seed)
    frequencies, x = np.arange(1, 6), np.arange(MANY) / MANY
    amplitudes = random.normal(size=(samples, 5, 1)) / frequencies[:, None] ** 0.5
    phases = 2 * np.pi * (frequencies[:, None] * x + random.uniform(size=(samples, 5, 1)))
    u = np.sum(amplitudes * np.cos(phases), axis=1)
    potential = np.sum(amplitudes * np.sin(phases) / (2 * np.pi * frequencies[:, None]), axis=1)
    # With viscosity v, phi = exp(-potential / 2v) obeys the heat equation, and -2v phi_x / phi is the solution.
    viscosity, time, wavenumbers = 0.05, 0.1, 2j * np.pi * np.arange(MANY // 2 + 1)
    heat = np.fft.rfft(np.exp(-potential / (2 * viscosity))) * np.exp(viscosity * time * wavenumbers**2)
    later = -2 * viscosity * np.fft.irfft(wavenumbers * heat) / np.fft.irfft(heat)
    return u[:, None].astype(np.float32), (later * (1 + 0.5 * np.cos(2 * np.pi * x)))[:, None].astype(np.float32)


def on(points, fields):
    grid = Grid(MANY, 1.0, dtype=jnp.float32)
    return resample(fields, grid, grid.with_shape((points,)))


class Pooled(eqx.Module):
    """A network that sees the largest of five neighbouring points, wherever those are."""

    network: FNO

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.network(jnp.max(jnp.stack([jnp.roll(u, shift, 1) for shift in range(-2, 3)]), axis=0))


class Counted(GridEmbedding):
    """The mistake of taking the distance of the points for that of the training data."""

    def channels(self, space):
        return [np.arange(space[0])[None] / COARSE]


def network(coordinates):
    return FNO(1, 1, 1, 12, 16, num_layers=3, coordinates=coordinates, key=jax.random.key(0))


@eqx.filter_jit
def error(model, inputs, targets):
    gap = jax.vmap(model)(inputs) - targets
    return jnp.mean(jnp.linalg.norm(gap, axis=-1) / jnp.linalg.norm(targets, axis=-1))


def trained(model, num_steps):
    data = tuple(on(COARSE, fields) for fields in pairs(256, 0))
    optimiser = optax.adam(optax.cosine_decay_schedule(4e-3, num_steps))
    options = {"num_steps": num_steps, "normalise": False, "progress": False, "key": jax.random.key(1)}
    return pj.fit(model, pj.objectives.Supervised(), data, optimiser=optimiser, **options).model


def errors(model):
    fields = pairs(64, 1)
    return [float(error(model, *(on(points, each) for each in fields))) for points in (COARSE, FINE)]


def test_an_fno_makes_the_same_error_at_twice_the_resolution_and_one_with_misplaced_points_not():
    model = trained(network(GridEmbedding()), 300)
    coarse, fine = errors(model)
    assert coarse < 0.1 and fine <= 1.2 * coarse
    # The same weights, and at 64 points the same model.
    counted = jax.tree.unflatten(jax.tree.structure(network(Counted())), jax.tree.leaves(model))
    coarse, fine = errors(counted)
    assert coarse < 0.1 and fine > 3 * coarse


def test_a_network_of_neighbouring_points_does_not():
    coarse, fine = errors(trained(Pooled(network(GridEmbedding())), 150))
    assert coarse < 0.3 and fine > 1.2 * coarse
