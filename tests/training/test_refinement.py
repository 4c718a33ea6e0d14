"""Test-time refinement: the equation alone, asked on the first frames, mends a model that saw too little data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pdejax as pj
from pdejax.equations import Burgers
from pdejax.models import FNO, NeuralStepper
from pdejax.training import OneStep, PhysicsResidual, fit

VISCOSITY, DT, STEPS = 0.3, 0.1, 4
GRID = pj.Grid((32,), 2 * np.pi, dtype="float32")


def trajectories(num_samples, seed):
    """Exact ones: u = -2 nu phi_x / phi, where phi > 0 solves the heat equation (Cole and Hopf)."""
    rng = np.random.default_rng(seed)
    k = np.arange(1, 4)[:, None, None]
    amplitude, phase = rng.uniform(0.2, 1, (num_samples, 3, 1, 1)) / k, rng.uniform(0, 6.3, (num_samples, 3, 1, 1))
    t, x = DT * np.arange(STEPS + 1)[:, None], np.asarray(GRID.axes[0], float)
    waves, decay = k * x + phase, amplitude * np.exp(-VISCOSITY * k**2 * t)
    u = 2 * VISCOSITY * np.sum(decay * k * np.sin(waves), 1) / (2.2 + np.sum(decay * np.cos(waves), 1))
    return pj.Trajectories.from_arrays(u[:, :, None].astype(np.float32), GRID, ("u",), t[:, 0])


def relative_error(model, data):
    """Mean over all frames after the first, and over the trajectories."""
    u, stepper = jnp.asarray(data.u), NeuralStepper(model, DT, GRID)
    frames = jax.vmap(lambda first: pj.rollout(stepper, first, STEPS))(u[:, 0])
    return float(jnp.mean(jnp.linalg.norm(frames - u[:, 1:], axis=-1) / jnp.linalg.norm(u[:, 1:], axis=-1)))


def test_the_residual_on_first_frames_alone_lowers_the_error_of_a_fitted_model():
    train, test = trajectories(6, seed=0), trajectories(3, seed=1)
    network = FNO(1, 1, 1, modes=8, width=8, num_layers=2, key=jax.random.key(0))
    options = {"key": jax.random.key(1), "progress": False}
    learned = fit(network, OneStep(), train, optimiser=optax.adam(1e-2), num_steps=100, batch_size=8, **options).model

    residual = PhysicsResidual(Burgers(VISCOSITY), pj.Spectral(GRID), STEPS, order=4, dt=DT)
    first_frames = pj.Trajectories.from_arrays(test.u[:, :1], GRID, ("u",))
    refined = fit(
        learned,
        residual,
        first_frames,
        optimiser=optax.adam(optax.cosine_decay_schedule(5e-3, 150)),
        num_steps=150,
        batch_size=3,
        normalise=False,
        **options,
    )
    before, after = relative_error(learned, test), relative_error(refined.model, test)
    assert refined.log["loss"][-1] < 0.2 * refined.log["loss"][0]
    assert after < 0.5 * before, (before, after)
    # The statistics that the model came with are kept.
    np.testing.assert_array_equal(refined.model.output.std, learned.output.std)
