"""Values at the edges that keep densities, depths and pressures positive.

A cell's average is admissible; the polynomial through it may not be. All its edge values are drawn towards the average
by one factor per cell and direction,

    v <- (1 - theta) average + theta v,    theta = min(1, (p(average) - floor) / (p(average) - least p))

with p each of the law's positive quantities, concave functions of the state, and the least of p over both edges and the
value that the average leaves for the inside, `(average - w (v_below + v_above)) / (1 - 2 w)`, `w = 1/12`. Then a
forward Euler step with a positive flux keeps averages positive for CFL numbers up to w; sums and order are kept.

Source: Zhang & Shu, J. Comput. Phys. 229 (2010) 8918; the simplified inside value: Zhang & Shu, Proc. R. Soc. A 467
(2011) 2752, section 5.
"""

import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

# Of the smallest weight of the Gauss-Lobatto rule with four points, exact for fifth order.
_SHARE = 1 / 12
# What an edge keeps of the average. Where it kept as little as rounding, velocities there (momentum over density) were
# so large that no step was short enough; a profile that is resolved stays far above it.
_FLOOR = 0.05


def drawn_to_average(
    average: Float[Array, "channel *cell"],
    below: Float[Array, "channel *cell"],
    above: Float[Array, "channel *cell"],
    law: Any,
) -> tuple[Float[Array, "channel *cell"], Float[Array, "channel *cell"]]:
    """The values at the lower and upper edge of each cell, admissible where its average is."""
    inside = (average - _SHARE * (below + above)) / (1 - 2 * _SHARE)
    theta = jnp.ones(average.shape[1:], average.dtype)
    of_cells = [law.positive(state) for state in (average, inside, below, above)]
    for name, of_average in of_cells[0].items():
        least = functools.reduce(jnp.minimum, (others[name] for others in of_cells[1:]))
        floor = _FLOOR * of_average
        gap = of_average - least
        theta = jnp.minimum(theta, jnp.where(least < floor, (of_average - floor) / jnp.where(gap > 0, gap, 1.0), 1.0))
    theta = jnp.clip(theta, 0.0, 1.0)
    return average + theta * (below - average), average + theta * (above - average)
