"""The Vlasov-Poisson equations in one dimension of space and one of velocity."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.equations.conservation_law import ConservationLaw, Rates, Speeds, States
from pdejax.grid import Grid


class VlasovPoisson(ConservationLaw):
    r"""Electrons without collisions before ions at rest: the density f(x, v) in phase space, axis 0 is x, axis 1 is v.

        f_t + v f_x - E f_v = 0,    E_x = mean(n) - n,    n(x) = int f dv,    int E dx = 0

    in units of the plasma frequency, the Debye length and the thermal speed, where the mean of n is one. The ions make
    up for the mean charge, whatever it is.

    Every cell is pushed by all particles: E is part of the medium, made of the whole state, so that only finite volumes
    read this law. f is a density (which is not checked), x is periodic, and the walls of v (`Outflow()`) lie where f is
    negligible.

    Source: Cheng & Knorr, J. Comput. Phys. 22 (1976) 330.
    """

    is_local: ClassVar[bool] = False

    def components(self, ndim: int) -> tuple[str, ...]:
        return ("f",)

    def parameters(self, ndim: int) -> tuple[str, ...]:
        return ("velocity", "electric_field")

    def medium(self, x: Float[Array, "axis *place"], u: States | None) -> Float[Array, "parameter *place"]:
        if u is None:
            raise ValueError("VlasovPoisson sums over all velocities, which this reading cannot: use FiniteVolume.")
        return jnp.stack([x[1], jnp.broadcast_to(self.electric_field(x, u), x.shape[1:])])

    def electric_field(
        self, x: Float[Array, "2 space velocity"], u: Float[Array, "1 space velocity"]
    ) -> Float[Array, "space 1"]:
        """E at the cells of x, from averages of f."""
        spacing = x[:, 1, 1] - x[:, 0, 0]
        density = jnp.sum(u[0], axis=1) * spacing[1]
        n = density.shape[0]
        wave_numbers = 2 * jnp.pi / (n * spacing[0]) * jnp.arange(n // 2 + 1)
        modes = 1j * jnp.fft.rfft(density) / jnp.where(wave_numbers == 0, 1, wave_numbers)
        # Of an even number of cells the last mode has no derivative there.
        keep = (jnp.arange(n // 2 + 1) > 0) & (2 * jnp.arange(n // 2 + 1) != n)
        return jnp.fft.irfft(jnp.where(keep, modes, 0), n)[:, None].astype(u.dtype)

    def flux(self, u: States, axis: int) -> Rates:
        return self._along(u, axis) * u[:1]

    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]:
        one, other = self._along(left, axis), self._along(right, axis)
        return jnp.minimum(one, other), jnp.maximum(one, other)

    def _along(self, u: States, axis: int) -> Array:
        return u[1] if axis == 0 else -u[2]

    def check_grid(self, grid: Grid) -> None:
        if grid.ndim != 2 or not grid.periodic[0] or grid.periodic[1] or min(grid.shape) < 2:
            raise ValueError(
                "VlasovPoisson needs a plane of positions and velocities, periodic in the first alone: "
                f"Grid((64, 128), (length, 12.0), origin=(0.0, -6.0), periodic=(True, False), points='centres'); got "
                f"{grid.ndim} dimension(s) of {grid.shape} points, periodic {grid.periodic}."
            )
