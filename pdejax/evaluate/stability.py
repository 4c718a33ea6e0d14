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

    The linear part is exact and limits no step. Of the derivative of N at the states, each at its own time, the
    spectral radius among the kept modes must stay within the stability limit of Runge-Kutta methods. Power iteration;
    the eigenvalues of transport come in pairs, so single growth factors oscillate and their geometric mean over the
    second half is taken. What N does by itself in time, `|dN/dt| / |N|`, must be resolved: at most 1 per step. The
    extremes over the states count, each with its own values of those `coefficients` that differ between them; infinity
    where nothing limits the step.
    """

    @eqx.filter_jit
    def rates(
        equation: Any, grid: Grid, states: Array, times: Array, own: dict[str, Array], masks: Array
    ) -> tuple[Array, Array]:
        start = jax.random.normal(jax.random.key(0), states.shape[1:], states.dtype)

        def rate(mask: Array, state: tuple[Array, Array, dict[str, Array]]) -> tuple[Array, Array, Array]:
            u, t, values = state
            solved = with_coefficients(equation, values)
            spectral = Spectral(grid, mask)
            keep = lambda v: spectral.decode(jnp.where(mask, spectral.encode(v), 0))  # noqa: E731
            nonlinear = lambda t, v: spectral.decode(spectral.nonlinear(solved, t, spectral.encode(v)))  # noqa: E731
            _, derivative = jax.linearize(lambda v: nonlinear(t, v), keep(u))

            def iterate(v: Array, _: None) -> tuple[Array, Array]:
                image = derivative(keep(v))
                growth = jnp.linalg.norm(image) / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(v.dtype).tiny)
                return image / jnp.maximum(jnp.linalg.norm(image), jnp.finfo(v.dtype).tiny), growth

            _, growths = jax.lax.scan(iterate, start, None, length=num_iterations)
            later = growths[-(num_iterations // 4 * 2) :]  # an even number: pairs of eigenvalues alternate
            radius = jnp.where(jnp.all(later > 0), jnp.exp(jnp.mean(jnp.log(jnp.where(later > 0, later, 1.0)))), 0.0)
            # Within the interval too: the frames may all meet an oscillating force at its turning points.
            sizes, slopes = [], []
            for fraction in (0.0, 0.37, 0.71):
                value, slope = jax.jvp(lambda s: nonlinear(s, keep(u)), (t + fraction * dt,), (jnp.ones_like(t),))
                sizes.append(jnp.linalg.norm(value))
                slopes.append(jnp.linalg.norm(slope))
            return radius, jnp.max(jnp.stack(sizes)), jnp.max(jnp.stack(slopes))

        def of_mask(mask: Array) -> tuple[Array, Array]:
            radius, size, slope = jax.lax.map(lambda state: rate(mask, state), (states, times, own))
            return jnp.max(radius), jnp.where(jnp.max(slope) > 0, jnp.max(slope) / jnp.max(size), 0.0)

        return jax.lax.map(of_mask, masks)

    own = {name: jnp.asarray(values) for name, values in coefficients.items()}
    radii, changes = rates(
        equation, grid, jnp.asarray(states, grid.dtype), jnp.asarray(times), own, jnp.asarray(np.stack(masks))
    )
    with np.errstate(divide="ignore"):
        return list(1 / np.maximum(np.asarray(radii, float) / STABLE, np.asarray(changes, float)))
