"""A few sine waves of random amplitude, wavenumber and phase."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.initial.fourier_series import counter_based, mode_numbers
from pdejax.initial.parameters import count, positive


class SumOfSines(eqx.Module):
    r"""The initial law of the message-passing PDE solvers,

        u(x) = sum over j = 1..num_waves of A_j sin(2 pi l_j . (x - origin) / extent + phi_j),

    with A_j uniform in (-amplitude, amplitude), phi_j uniform in (0, 2 pi) and every entry of the mode numbers l_j
    uniform in {1, ..., max_mode}; in more than one dimension all entries but the first also get a random sign. Its mean
    is zero and its mean square is num_waves * amplitude^2 / 6 on average.

    - `num_waves`: how many sines, with repetition of modes.
    - `max_mode`: the largest mode number per axis. A grid needs `2 * max_mode + 1` points per axis.
    - `amplitude`: the largest amplitude of one wave, > 0, in the units of the field.
    - `num_channels`: how many independent fields.

    Raises `ValueError` for parameters out of range, and on a grid that is not periodic or does not hold the modes.
    Source: Brandstetter, Worrall & Welling, Message Passing Neural PDE Solvers (ICLR 2022).
    """

    amplitude: Float[Array, ""]
    num_waves: int = eqx.field(static=True)
    max_mode: int = eqx.field(static=True)
    num_channels: int = eqx.field(static=True)

    def __init__(self, num_waves: int = 5, max_mode: int = 2, *, amplitude: Any = 0.5, num_channels: int = 1):
        self.num_waves = count("SumOfSines", "num_waves", num_waves)
        self.max_mode = count("SumOfSines", "max_mode", max_mode)
        self.amplitude = positive("SumOfSines", "amplitude", amplitude)
        self.num_channels = count("SumOfSines", "num_channels", num_channels)

    def __call__(self, grid: Grid, *, key: PRNGKeyArray) -> Float[Array, "channel *space"]:
        mode_numbers(grid, "SumOfSines", self.max_mode)
        waves = (self.num_channels, self.num_waves)
        # Single precision on every grid, so that float32 and float64 fields agree to rounding.
        draws = jax.random.uniform(counter_based(key), (2 + 2 * grid.ndim, *waves), jnp.float32)
        amplitude, phase = (2 * draws[0] - 1).astype(grid.dtype), draws[1].astype(grid.dtype)
        modes = 1 + jnp.floor(draws[2 : 2 + grid.ndim] * self.max_mode)
        # A sign of the first entry would repeat what amplitude and phase already cover.
        signs = [jnp.ones(waves), *jnp.where(draws[3 + grid.ndim :] < 0.5, -1.0, 1.0)]

        turns = phase.reshape(waves + (1,) * grid.ndim)
        for a, (n, points) in enumerate(zip(grid.shape, grid.points, strict=True)):
            position = (np.arange(n) + (0.5 if points == "centres" else 0.0)) / n
            along = (1,) * a + (n,) + (1,) * (grid.ndim - a - 1)
            wave = (modes[a] * signs[a]).astype(grid.dtype).reshape(waves + (1,) * grid.ndim)
            turns = turns + wave * jnp.asarray(position, grid.dtype).reshape(along)
        sines = jnp.sin(2 * jnp.pi * turns) * amplitude.reshape(waves + (1,) * grid.ndim)
        return self.amplitude.astype(grid.dtype) * jnp.sum(sines, axis=1)
