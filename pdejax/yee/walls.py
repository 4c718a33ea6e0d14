r"""What ends a box: a perfect conductor, or in front of it a layer that absorbs.

In the layer derivatives across it are those in a stretched coordinate, `d/dx -> (1/s) d/dx` with

    s(w) = kappa + sigma / (alpha + i w)        (waves as exp(i w t))

for which the layer reflects nothing before it is discretised, at any angle and frequency. In time 1/s is `1/kappa` and
a convolution with an exponential, which is updated from step to step (`psi` below):

    (1/s) f = f / kappa + psi,    psi <- b psi + c f,
    b = exp(-(sigma / kappa + alpha) dt),    c = sigma (b - 1) / (kappa (sigma + kappa alpha))

sigma and alpha are rates, 1/s: the conductivity over the permittivity of the literature, so that no unit is preferred.
The one formula holds whatever material reaches into the layer.

Source: Roden & Gedney, Microw. Opt. Technol. Lett. 27 (2000) 334; grading: Taflove & Hagness, Computational
Electrodynamics (2005), chapter 7.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.grid import Grid
from pdejax.yee.lattice import is_half


class Conductor(eqx.Module):
    """A perfect conductor: tangential E and normal H are zero at the wall. Waves are reflected entirely."""


def _number(value: Any) -> Float[Array, ""]:
    number = jnp.asarray(value, jnp.result_type(float))
    if number.ndim:
        raise ValueError(f"The coefficients of a layer are numbers, got shape {number.shape}.")
    return number


class PerfectlyMatchedLayer(eqx.Module):
    """The last cells before a wall absorb what enters them; behind them the wall is a conductor.

    - `thickness`: how many cells of the grid, >= 1, are layer.
    - `strength`: sigma at the wall is `strength (grading + 1) c / h`, c the largest speed on the grid and h the
      spacing: of what enters at an angle, `exp(-2 strength thickness cos(angle))` comes back from the conductor. What
      the steps of sigma between cells reflect grows with the strength and falls with the thickness.
    - `grading`: sigma and kappa grow with this power of the depth.
    - `stretching`: kappa at the wall, >= 1. Larger ones damp fields that decay and do not travel, and coarsen the
      layer.
    - `shift`: alpha at the face, >= 0, in c over the layer's thickness, falling linearly to zero at the wall. Fields
      that change more slowly than alpha are not absorbed; without it they linger in the layer, and may grow slowly.

    Measured figures are in docs/design.md. Waves need about ten cells or more per length: the shortest ones that a grid
    holds stand still on it and are not absorbed by any layer.

    Raises `ValueError` for numbers outside of these bounds.
    """

    thickness: int = eqx.field(static=True, default=12)
    strength: Float[Array, ""] = eqx.field(default=1.0, converter=_number)
    grading: float = eqx.field(static=True, default=3.5)
    stretching: Float[Array, ""] = eqx.field(default=1.0, converter=_number)
    shift: Float[Array, ""] = eqx.field(default=0.1, converter=_number)

    def __check_init__(self):
        if isinstance(self.thickness, bool) or not isinstance(self.thickness, int | np.integer) or self.thickness < 1:
            raise ValueError(
                f"The thickness of a layer is a whole number of cells, at least one, got {self.thickness!r}."
            )
        for name, least in (("strength", 0.0), ("grading", 1.0), ("stretching", 1.0), ("shift", 0.0)):
            value = getattr(self, name)
            if not isinstance(value, Tracer) and not (np.isfinite(float(value)) and float(value) >= least):
                raise ValueError(f"The {name} of a layer must be a number >= {least:g}, got {float(value):g}.")


Wall = Conductor | PerfectlyMatchedLayer
# None along periodic axes, and the walls at the two ends of the others.
Walls = tuple[tuple[Wall, Wall] | None, ...]


class Stretching(eqx.Module):
    """The layers at the two ends of an axis as one component meets them: those at its lower end first.

    The memory of a derivative has the derivative's shape, with the cells in the layers alone along `axis`.
    """

    axis: int = eqx.field(static=True)
    lower: int = eqx.field(static=True)
    upper: int = eqx.field(static=True)
    kappa: Float[Array, "..."]
    decay: Float[Array, "..."]
    gain: Float[Array, "..."]

    def renewed(self, memory: Float[Array, "*layers"], f: Float[Array, "*space"]) -> Float[Array, "*layers"]:
        """The convolution, a step later, with what f is now."""
        n = f.shape[self.axis]
        below, above = self._part(f, 0, self.lower), self._part(f, n - self.upper, n)
        return self.decay * memory + self.gain * jnp.concatenate([below, above], self.axis)

    def __call__(self, f: Float[Array, "*space"], memory: Float[Array, "*layers"]) -> Float[Array, "*space"]:
        """The derivative f in the stretched coordinate."""
        shape = list(f.shape)
        shape[self.axis] -= self.lower + self.upper
        below = self._part(memory, 0, self.lower)
        above = self._part(memory, self.lower, self.lower + self.upper)
        return f / self.kappa + jnp.concatenate([below, jnp.zeros(shape, f.dtype), above], self.axis)

    def _part(self, f: Array, start: int, end: int) -> Array:
        index = [slice(None)] * f.ndim
        index[self.axis] = slice(start, end)
        return f[tuple(index)]


def thicknesses(walls: Walls, axis: int) -> tuple[int, int]:
    """How many cells at the two ends of an axis are layer."""
    pair = walls[axis] or (Conductor(), Conductor())
    lower, upper = (wall.thickness if isinstance(wall, PerfectlyMatchedLayer) else 0 for wall in pair)
    return lower, upper


def stretching(walls: Walls, grid: Grid, name: str, axis: int, speed: Any, dt: Any) -> Stretching | None:
    """What derivatives along `axis` meet at the places of a component, or None where there is no layer."""
    lower, upper = thicknesses(walls, axis)
    if lower + upper == 0:
        return None
    n, h = grid.shape[axis], grid.mean_spacing(axis)
    places = np.arange(n) + is_half(name, axis) / 2
    profiles = []
    for end, wall in enumerate(walls[axis] or ()):
        if isinstance(wall, PerfectlyMatchedLayer):
            thickness = wall.thickness
            place = places[:thickness] if end == 0 else places[n - thickness :]
            depth = (thickness - place if end == 0 else place - (n - thickness)) / thickness
            depth = jnp.asarray(depth, grid.dtype)
            strength, largest, shift = (
                jnp.asarray(value, grid.dtype) for value in (wall.strength, wall.stretching, wall.shift)
            )
            kappa = 1 + (largest - 1) * depth**wall.grading
            sigma = strength * (wall.grading + 1) * speed / h * depth**wall.grading
            alpha = shift * speed / (thickness * h) * (1 - depth)
            profiles.append((kappa, sigma, alpha))
    kappa, sigma, alpha = (jnp.concatenate(parts) for parts in zip(*profiles, strict=True))
    decay = jnp.exp(-(sigma / kappa + alpha) * dt)
    # At the face sigma is zero, and with alpha = 0 the quotient is 0/0: what it multiplies is zero.
    total = kappa * (sigma + kappa * alpha)
    gain = jnp.where(sigma > 0, sigma * (decay - 1) / jnp.where(sigma > 0, total, 1), 0)
    whole = jnp.concatenate([kappa[:lower], jnp.ones(n - lower - upper, grid.dtype), kappa[lower:]])
    along = [-1 if a == axis else 1 for a in range(grid.ndim)]
    return Stretching(axis, lower, upper, *(values.reshape(along) for values in (whole, decay, gain)))


def walls_of(grid: Grid, boundary: Any) -> Walls:
    """One wall for all sides, or walls by side (`"x-"`, `"x+"`, `"x"` for both, `"*"` for all others); conductors where
    nothing is said.

    Raises `ValueError` for sides that the box does not have or that are periodic, for what is no wall, and for layers
    that fill the box.
    """
    names = "xyz"[: grid.ndim]
    given = dict(boundary) if isinstance(boundary, Mapping) else {} if boundary is None else {"*": boundary}
    sides = [side for name in names for side in (name, f"{name}-", f"{name}+")]
    if unknown := [side for side in given if side not in (*sides, "*")]:
        raise ValueError(f"{unknown[0]!r} is no side of this box; its sides are {sides}, and '*' is all others.")
    if all(grid.periodic) and "*" in given:
        raise ValueError("The grid is periodic along every axis and has no wall: Grid(..., periodic=False) has.")
    if periodic := [side for side in given if side != "*" and grid.periodic[names.index(side[0])]]:
        raise ValueError(f"Axis {periodic[0][0]} is periodic and has no wall: drop {periodic[0]!r}.")
    for side, wall in given.items():
        if not isinstance(wall, Wall):
            raise ValueError(
                f"The wall {side!r} must be Conductor() or PerfectlyMatchedLayer(thickness=...), got {wall!r}."
            )
    walls = []
    for axis, name in enumerate(names):
        if grid.periodic[axis]:
            walls.append(None)
            continue
        pair = tuple(given.get(name + end, given.get(name, given.get("*", Conductor()))) for end in "-+")
        covered = sum(wall.thickness for wall in pair if isinstance(wall, PerfectlyMatchedLayer))
        if covered >= grid.shape[axis]:
            raise ValueError(
                f"The layers at the ends of axis {name} are {covered} cells together, and the grid has "
                f"{grid.shape[axis]}: use thinner layers or more cells."
            )
        walls.append(pair)
    return tuple(walls)
