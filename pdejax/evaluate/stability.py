"""How large a step the nonlinear part of an equation allows at given states."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pdejax.equations import Equation
from pdejax.evaluate.coefficients import with_coefficients
from pdejax.fields import Spectral
from pdejax.fields.growth import growth_rate
from pdejax.fields.power_iteration import spectral_radius
from pdejax.grid import Grid

# Where Runge-Kutta methods of fourth order stop being stable on the imaginary axis: h |lambda| = 2.83.
STABLE = 2.8


def mode_mask(grid: Grid, shape: tuple[int, ...], fraction: float) -> Bool[np.ndarray, "*modes"]:
    """Which coefficients of the data's grid a solver on `shape` points takes part in products with."""
    axes = [np.abs(np.fft.fftfreq(n, 1 / n)) for n in grid.shape[:-1]] + [np.arange(grid.shape[-1] // 2 + 1)]
    inside = [modes < fraction * m / 2 for modes, m in zip(axes, shape, strict=True)]
    return np.logical_and.reduce(np.meshgrid(*inside, indexing="ij"))


def step_limits(
    equation: Equation,
    grid: Grid,
    states: Float[Array | np.ndarray, "state channel *space"],
    times: Float[Array | np.ndarray, " state"],
    masks: Sequence[Bool[np.ndarray, "*modes"]],
    dt: float,
    coefficients: Mapping[str, Float[Array | np.ndarray, "state ..."]],
    num_iterations: int = 30,
) -> list[float]:
    """The largest steps, one for each mask, with which fourth order follows the nonlinear part N(t, u).

    Two limits. Stability: of the derivative of N at the states, each at its own time, the spectral radius among the
    kept modes must stay within the limit of Runge-Kutta methods (`fields/power_iteration.py`). The linear part is
    exact, but where it grows N balances it, and that much more is asked of the step.

    Resolution: `h^2 |dN/dt|` is what a step misses that takes N as it is at its start, and is at most as many times
    `|u|`, in each component, as it is where an oscillation is just stable. Here dN/dt is that along the solution, and
    it makes no difference whether N depends on time or on what the linear part moves.

    The extremes over the states count, each with its own values of those `coefficients` that differ between them;
    infinity where nothing limits the step.
    """

    @eqx.filter_jit
    def rates(
        equation: Any, grid: Grid, states: Array, times: Array, own: dict[str, Array], masks: Array
    ) -> tuple[Array, Array]:
        start = jax.random.normal(jax.random.key(0), states.shape[1:], states.dtype)

        def rate(mask: Array, state: tuple[Array, Array, dict[str, Array]]) -> tuple[Array, Array]:
            u, t, values = state
            solved = with_coefficients(equation, values)
            spectral = Spectral(grid, mask)
            keep = lambda v: spectral.decode(jnp.where(mask, spectral.encode(v), 0))  # noqa: E731
            nonlinear = lambda t, v: spectral.decode(spectral.nonlinear(solved, t, spectral.encode(v)))  # noqa: E731
            _, derivative = jax.linearize(lambda v: nonlinear(t, v), keep(u))

            radius, _ = spectral_radius(lambda v: derivative(keep(v)), start, num_iterations)
            symbol, coupled = spectral.symbol(solved)
            growth = jnp.max(growth_rate(symbol) if coupled else symbol.real, initial=0.0)
            # Within the interval too: the frames may all meet an oscillating force at its turning points.
            by_component = lambda v: jnp.linalg.norm(v.reshape(len(v), -1), axis=1)  # noqa: E731
            forces, slopes = [], []
            for fraction in (0.0, 0.37, 0.71):
                s = t + fraction * dt
                direction = (jnp.ones_like(s), keep(spectral.tendency(solved, s, keep(u))))
                value, slope = jax.jvp(nonlinear, (s, keep(u)), direction)
                forces.append(by_component(value))
                slopes.append(by_component(slope))
            size, force, slope = by_component(keep(u)), jnp.max(jnp.stack(forces), 0), jnp.max(jnp.stack(slopes), 0)
            return radius + 2 * growth * (radius > 0), jnp.stack([size, force, slope])

        def of_mask(mask: Array) -> tuple[Array, Array]:
            radius, sizes = jax.lax.map(lambda state: rate(mask, state), (states, times, own))
            size, force, slope = jnp.max(sizes, axis=0)
            # A component at rest is as large as N makes it in the time in which N changes.
            size = jnp.where(size > 0, size, force**2 / jnp.where(slope > 0, slope, 1))
            change = jnp.where((slope > 0) & (size > 0), slope / jnp.where(size > 0, size, 1), 0.0)
            return jnp.max(radius), jnp.sqrt(jnp.max(change))

        return jax.lax.map(of_mask, masks)

    own = {name: jnp.asarray(values) for name, values in coefficients.items()}
    radii, changes = rates(
        equation, grid, jnp.asarray(states, grid.dtype), jnp.asarray(times), own, jnp.asarray(np.stack(masks))
    )
    with np.errstate(divide="ignore"):
        return list(STABLE / np.maximum(np.asarray(radii, float), np.asarray(changes, float)))
