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


def mode_mask(grid: Grid, shape: tuple[int, ...], fraction: float) -> Bool[np.ndarray, "*modes"]:
    """Which coefficients of the data's grid a solver on `shape` points takes part in products with."""
    axes = [np.abs(np.fft.fftfreq(n, 1 / n)) for n in grid.shape[:-1]] + [np.arange(grid.shape[-1] // 2 + 1)]
    inside = [modes < fraction * m / 2 for modes, m in zip(axes, shape, strict=True)]
    return np.logical_and.reduce(np.meshgrid(*inside, indexing="ij"))


def spectral_radii(
    equation: Equation,
    grid: Grid,
    states: Float[Array | np.ndarray, "state channel *space"],
    masks: Sequence[Bool[np.ndarray, "*modes"]],
    t: float,
    coefficients: Mapping[str, Float[Array | np.ndarray, "state ..."]],
    num_iterations: int = 30,
) -> list[float]:
    """How fast the nonlinear part acts: the spectral radius of its derivative at the states, among the kept modes.

    The linear part is exact and limits no step. Power iteration; the eigenvalues of transport come in pairs, so single
    growth factors oscillate and their geometric mean over the second half is taken. The largest over the states, each
    with its own values of those `coefficients` that differ between them.
    """

    @eqx.filter_jit
    def radii(equation: Any, grid: Grid, states: Array, own: dict[str, Array], masks: Array, t: Any) -> Array:
        start = jax.random.normal(jax.random.key(0), states.shape[1:], states.dtype)

        def radius(mask: Array, state: tuple[Array, dict[str, Array]]) -> Array:
            u, values = state
            solved = with_coefficients(equation, values)
            spectral = Spectral(grid, mask)
            keep = lambda v: spectral.decode(jnp.where(mask, spectral.encode(v), 0))  # noqa: E731
            _, derivative = jax.linearize(
                lambda v: spectral.decode(spectral.nonlinear(solved, t, spectral.encode(v))), keep(u)
            )

            def iterate(v: Array, _: None) -> tuple[Array, Array]:
                image = derivative(keep(v))
                growth = jnp.linalg.norm(image) / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(v.dtype).tiny)
                return image / jnp.maximum(jnp.linalg.norm(image), jnp.finfo(v.dtype).tiny), growth

            _, growths = jax.lax.scan(iterate, start, None, length=num_iterations)
            later = growths[num_iterations // 2 :]
            return jnp.where(jnp.all(later > 0), jnp.exp(jnp.mean(jnp.log(jnp.where(later > 0, later, 1.0)))), 0.0)

        return jax.lax.map(lambda mask: jnp.max(jax.lax.map(lambda state: radius(mask, state), (states, own))), masks)

    own = {name: jnp.asarray(values) for name, values in coefficients.items()}
    values = radii(equation, grid, jnp.asarray(states, grid.dtype), own, jnp.asarray(np.stack(masks)), t)
    return [float(value) for value in np.asarray(values)]
