"""Scores of a rollout against the stored truth, for every sample, time and channel."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.metrics import correlation, energy_spectrum, nrmse, relative_l2, spectrum_error
from pdejax.resample import resample

# In tables and files by these names, on axes and in words by the labels.
LABELS = {
    "relative_l2": "relative L2 error",
    "nrmse": "nRMSE",
    "correlation": "correlation",
    "spectrum_error": "energy-spectrum error",
    "common_relative_l2": "relative L2 error on the common modes",
}


@eqx.filter_jit
def scores(
    prediction: Float[Array, "sample time channel *space"],
    truth: Float[Array, "sample time channel *space"],
    grid: Grid,
    common: Grid | None,
) -> dict[str, Float[Array, "sample time channel"]]:
    """Every metric of `LABELS` that the grid allows; on the modes of `common` where it is given."""

    def one(p: Array, u: Array) -> dict[str, Any]:
        found = {
            "relative_l2": relative_l2(p, u, grid),
            "nrmse": nrmse(p, u, grid),
            "correlation": correlation(p, u, grid),
        }
        if all(grid.periodic):
            found["spectrum_error"] = spectrum_error(p, u, grid)
        if common is not None:
            found["common_relative_l2"] = relative_l2(resample(p, grid, common), resample(u, grid, common), common)
        return found

    return jax.vmap(jax.vmap(one))(prediction, truth)


@eqx.filter_jit
def spectra(u: Float[Array, "sample channel *space"], grid: Grid) -> Float[Array, "sample channel shell"]:
    return jax.vmap(lambda v: energy_spectrum(v, grid))(u)


def over_channels(values: Float[np.ndarray, "*sample_time channel"]) -> Float[np.ndarray, "*sample_time"]:
    """The mean over channels. NaN stays NaN: a diverged sample is never averaged away."""
    return values.mean(axis=-1)
