"""Transport read from upstream: upwind-biased formulae of order 1, 3, 5, 7.

    v u_x  ~  v (b + f) / 2 + |v| (b - f) / 2

with b the derivative from the points -m .. m - 1 and f its mirror image: on the points of the central formula of order
2 m, one order less. The first part is that central formula, the second a difference of order 2 m, which damps what the
grid does not resolve. A field keeps them apart, as its values and its damping, with the sign that decays in a tendency:

    values = v (b + f) / 2,    damping = -|v| (b - f) / 2

so that `-u.advect(u)` is damped, and so is `(-u).advect(u)`: a factor multiplies the values, its absolute value the
damping. Where a field enters a function or a derivative its damping stays behind: that is no transport.

Ghost values come from polynomials of degree `2 m - 2`: their derivative at the wall is one order less, which costs the
solution nothing. Where transport enters, one that meets the first points lets it grow at nodes with order 7: there the
polynomial has the wall's value and fits twice as many points as it could meet, by least squares. For orders 1 to 7 no
mode grows between an inflow and an outflow, nor towards walls with layers thinner than a cell.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pdejax.fields.ghost_values import padded
from pdejax.fields.stencil_weights import upwind_weights
from pdejax.fields.windows import along, window


def upwind_derivative(u: Any, axis: int) -> tuple[Array, Array]:
    """The values and the damping of the derivative of a `StencilField` along `axis`, for unit velocity."""
    order, n = u.reading.order, u.grid.shape[axis]
    offsets, weights = upwind_weights(order)
    half, degree = order // 2, max(order - 2, 1)
    per_length = along(u.grid.points_per_length(axis, 0.0, n).astype(u.values.dtype), axis + 1, u.ndim + 1)
    sums = []
    for inflow, sign in ((0, 1), (-1, -1)):
        values = padded(u, axis, half, 1, degree, inflow)
        taken = [
            (float(sign * weight), int(half + sign * offset))
            for offset, weight in zip(offsets, weights, strict=True)
            if weight != 0.0
        ]
        sums.append(sum(weight * window(values, axis + 1, start, n) for weight, start in taken) * per_length)
    rightwards, leftwards = sums
    return (rightwards + leftwards) / 2, -(rightwards - leftwards) / 2


def summed_damping(a: Any, b: Any) -> Array | None:
    if a.damping is None or b.damping is None:
        only = a.damping if b.damping is None else b.damping
        return (
            None if only is None else jnp.broadcast_to(only, (max(a.num_components, b.num_components), *only.shape[1:]))
        )
    return a.damping + b.damping


def multiplied_damping(a: Any, b: Any) -> Array | None:
    parts = [one.damping * jnp.abs(other.values) for one, other in ((a, b), (b, a)) if one.damping is not None]
    return sum(parts) if parts else None  # pyright: ignore[reportReturnType]


def stacked_damping(fields: Sequence[Any]) -> Array | None:
    if all(field.damping is None for field in fields):
        return None
    return jnp.concatenate(
        [jnp.zeros_like(field.values) if field.damping is None else field.damping for field in fields]
    )
