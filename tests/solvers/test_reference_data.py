"""Figures that other people's codes computed. Each has a second form without a file: see the exact solutions."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

import pdejax as pj
from pdejax.equations import AllenCahn, Burgers, KolmogorovFlow

pytestmark = pytest.mark.float64
rollout = jax.jit(pj.rollout, static_argnums=2)


def test_allen_cahn_as_a_regression_of_the_discrete_system(reference_data):
    """u0 = x^2 cos(pi x) has a kink at +-1, so this compares discrete systems (no dealiasing), not the PDE."""
    data = scipy.io.loadmat(reference_data / "AC.mat")
    grid = pj.Grid(512, 2.0, origin=-1.0)
    np.testing.assert_allclose(grid.axes[0], data["x"].ravel(), atol=1e-14)
    discretisation = pj.Spectral(grid, dealiasing=None)
    stepper = pj.TimeStepper(AllenCahn(1e-4, 5.0), discretisation, 0.005, 10)
    states = rollout(stepper, jnp.asarray(data["uu"][:, 0])[None], 200)
    assert np.max(np.abs(states[:, 0].T - data["uu"][:, 1:])) < 1e-9


def test_burgers_shock_of_the_pinn_paper(reference_data):
    """Its 256 points include both ends, x_i = -1 + 2 i / 255: every eighth of 2040 points of the period 2."""
    data = scipy.io.loadmat(reference_data / "burgers_shock.mat")
    grid = pj.Grid(2040, 2.0, origin=-1.0)
    stepper = pj.TimeStepper(Burgers(0.01 / np.pi), pj.Spectral(grid), 0.01, 40)
    states = rollout(stepper, -jnp.sin(np.pi * grid.axes[0])[None], 99)
    exact = data["usol"].T[1:]
    assert exact.shape == (99, 256)
    got = np.asarray(states[:, 0, ::8])
    # The file's own solution (Chebfun) is good to about 1e-8 at the steep front.
    assert np.max(np.abs(got - exact[:, :255])) < 1e-6


@pytest.mark.parametrize(("mask", "bound"), [("symmetric", 2e-5), ("theirs", 1e-7)])
def test_kolmogorov_flow_of_jax_cfd(reference_data, mask, bound):
    with h5py.File(reference_data / "kolmogorov_check.hdf5") as file:
        frames = file["t0_fields/vorticity"][0]
    k_x, k_y = np.fft.fftfreq(256, 1 / 256)[:, None], np.arange(129)[None]
    theirs = (k_x >= -85) & (k_x <= 84) & (k_y <= 85)
    grid = pj.Grid((256, 256), 2 * np.pi)
    discretisation = pj.Spectral(grid, "auto" if mask == "symmetric" else theirs)
    stepper = pj.TimeStepper(KolmogorovFlow(0.005, 0.1, 4), discretisation, 0.25, 125)
    states = rollout(stepper, jnp.asarray(frames[0])[None], 3)[:, 0]
    errors = np.linalg.norm(states - frames[1:], axis=(1, 2)) / np.linalg.norm(frames[1:], axis=(1, 2))
    assert np.all(errors <= bound), errors
