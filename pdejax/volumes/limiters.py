"""Slopes of a cell from its differences to the two neighbours: none that makes a new extremum.

Each takes the backward and the forward difference and returns the difference across the cell; zero where they disagree
in sign. All lie in the region of second-order TVD schemes, from the most to the least dissipative: minmod, van Leer,
monotonized central, superbee.

Sources: Sweby, SIAM J. Numer. Anal. 21 (1984) 995 (the region); van Leer, J. Comput. Phys. 14 (1974) 361 and 23 (1977)
263; Roe, Annu. Rev. Fluid Mech. 18 (1986) 337 (superbee).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def minmod(backward: Float[Array, "..."], forward: Float[Array, "..."]) -> Float[Array, "..."]:
    """The smaller of the two."""
    smaller = jnp.where(jnp.abs(backward) < jnp.abs(forward), backward, forward)
    return jnp.where(backward * forward > 0, smaller, 0.0)


def van_leer(backward: Float[Array, "..."], forward: Float[Array, "..."]) -> Float[Array, "..."]:
    """Their harmonic mean; smooth where they have one sign."""
    agree = backward * forward > 0
    total = jnp.where(agree, backward + forward, 1.0)
    return jnp.where(agree, 2 * backward / total * forward, 0.0)


def monotonized_central(backward: Float[Array, "..."], forward: Float[Array, "..."]) -> Float[Array, "..."]:
    """Their mean, or twice the smaller one where that is less."""
    return minmod((backward + forward) / 2, 2 * minmod(backward, forward))


def superbee(backward: Float[Array, "..."], forward: Float[Array, "..."]) -> Float[Array, "..."]:
    """The larger one, or twice the smaller one where that is less: it steepens."""
    one, other = minmod(2 * backward, forward), minmod(backward, 2 * forward)
    return jnp.where(jnp.abs(one) > jnp.abs(other), one, other)
