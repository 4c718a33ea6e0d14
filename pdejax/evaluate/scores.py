"""Scores of a rollout against the stored truth, for every sample, time and channel.

A channel that is zero at some time has no relative error, one that holds next to nothing then (less than a hundredth of
its size in all of the truth) one of no meaning, and one that is constant no correlation. Such a channel is no failure
of anybody's, so:

- its relative errors are root mean square errors over its size, the root mean square over all of the truth; the size of
  a channel that is zero in all of the truth is the root mean square of the sizes of all channels;
- its correlation, and where it is zero its spectrum error, are NaN and left out of the means over channels. Where no
  channel has one, the values of `pdejax.metrics` stand.

Every channel is measured by its own truth and counts the same in a mean over channels, whatever its units. Two things
follow. The size of all channels, used for one that is zero in all of the truth, is that of the channels with large
units: an error there is small or large with the choice of units. And a channel that holds nothing but the rounding of
others is scored like any other, with errors of order one. So the scores of single channels are kept beside the means
(`Result.scores`, `Report.curves`, `curves_by_channel` in the JSON file); a channel that means nothing is left out with
`Trajectories.select` before.

A state that is not finite has no score at all: NaN in every channel, so that no mean over channels hides it.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pdejax.grid import Grid
from pdejax.metrics import (
    correlation,
    energy_spectrum,
    nrmse,
    relative_l2,
    rmse,
    root_mean_square,
    spectrum_error,
    varies,
)
from pdejax.resample import resample

# In tables and files by these names, on axes and in words by the labels.
LABELS = {
    "relative_l2": "relative L2 error",
    "nrmse": "nRMSE",
    "correlation": "correlation",
    "spectrum_error": "power-spectrum error",
    "common_relative_l2": "relative L2 error on the common modes",
}


def scores(
    prediction: Float[Array, "sample time channel *space"],
    truth: Float[Array, "sample time channel *space"],
    grid: Grid,
    common: Grid | None,
    sizes: Float[Array | np.ndarray, " channel"],
) -> dict[str, Float[np.ndarray, "sample time channel"]]:
    """Every metric of `LABELS` that the grid allows; on the modes of `common` where it is given.

    `sizes` are those of the channels in all of the truth, and not all zero. What is infinite is NaN.
    """
    sizes = np.asarray(sizes, np.float64)
    sizes = np.where(sizes > 0, sizes, np.sqrt(np.mean(sizes**2)))
    found = {
        name: np.array(values) for name, values in _scores(prediction, truth, grid, common, jnp.asarray(sizes)).items()
    }
    failed = ~np.isfinite(found["relative_l2"]).all(axis=-1)
    for each in found.values():
        each[failed | np.isinf(each).any(axis=-1)] = np.nan
    return found


# Of its size in all of the truth: a channel that holds less at some time is measured by that size. A wave that has just
# entered one, or all but left it, would be an error of thousands otherwise.
EMPTY = 0.01


@eqx.filter_jit
def _scores(
    prediction: Array, truth: Array, grid: Grid, common: Grid | None, sizes: Float[Array, " channel"]
) -> dict[str, Array]:
    def one(p: Array, u: Array) -> dict[str, Any]:
        size = root_mean_square(u, grid)
        zero, empty = size == 0, size <= EMPTY * sizes.astype(u.dtype)
        by_size = rmse(p, u, grid) / sizes.astype(p.dtype)
        found = {
            "relative_l2": jnp.where(empty, by_size, relative_l2(p, u, grid)),
            "nrmse": jnp.where(empty, by_size, nrmse(p, u, grid)),
            "correlation": _where_defined(correlation(p, u, grid), varies(u, grid)),
        }
        if all(grid.periodic + grid.is_uniform) and min(grid.shape) > 2:
            found["spectrum_error"] = _where_defined(spectrum_error(p, u, grid), ~zero)
        if common is not None:
            p_common, u_common = resample(p, grid, common), resample(u, grid, common)
            # Truncation leaves rounding of a truth that has nothing on the common modes.
            gone = empty | (root_mean_square(u_common, common) <= 1e-6 * size)
            by_size = rmse(p_common, u_common, common) / sizes.astype(p.dtype)
            found["common_relative_l2"] = jnp.where(gone, by_size, relative_l2(p_common, u_common, common))
        return found

    return jax.vmap(jax.vmap(one))(prediction, truth)


def _where_defined(values: Float[Array, " channel"], defined: Bool[Array, " channel"]) -> Float[Array, " channel"]:
    return jnp.where(defined | ~jnp.any(defined), values, jnp.nan)


@eqx.filter_jit
def spectra(u: Float[Array, "sample channel *space"], grid: Grid) -> Float[Array, "sample channel shell"]:
    return jax.vmap(lambda v: energy_spectrum(v, grid))(u)


def over_channels(values: Float[np.ndarray, "*sample_time channel"]) -> Float[np.ndarray, "*sample_time"]:
    """The mean over the channels that have a score, each of the same weight; NaN where none has.

    A failed state has none in any channel.
    """
    there = ~np.isnan(values)
    count = there.sum(axis=-1)
    total = np.where(there, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
