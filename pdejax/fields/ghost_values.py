"""Ghost values: what finite differences take for u beyond a wall, or around a periodic axis.

Beyond a wall the values are those of the polynomial that meets the wall's condition and the nearest interior points: of
degree `order + 1`, so that second derivatives at the wall are of this order too. For first derivatives it has degree
`order`, and `order - 1` where values are stated: one order less at the wall costs the solution nothing (Gustafsson,
Math. Comput. 29 (1975) 396), and with more of it transport grows, from an inflow to an outflow and towards walls with
layers thinner than a cell. As it is, orders 2 and 4 are stable in both cases. With orders 6 and 8 and no diffusion some
modes grow many times over while the flow crosses the box, whatever the degree: use these where diffusion reaches the
walls, or sum by parts (`summation_by_parts.py`: there nothing is beyond the wall, and no mode grows at any order).

On stretched points what a wall's condition says of du/dx it says of `du/di = dx/di du/dx`.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin
from pdejax.fields.met import Met, Unknown, check_stated
from pdejax.fields.stencil_weights import fitted_ghost_weights, ghost_weights, wall_slope_weights
from pdejax.fields.windows import combined as _combined
from pdejax.fields.windows import window as _slice
from pdejax.stretching import Stretched


def padded(
    field: Any, axis: int, width: int, order: int, degree: int | None = None, inflow: int | None = None
) -> Array:
    """The values of a `StencilField` with `width` more at either end of `axis`, for a derivative of `order`.

    Those beyond walls are from polynomials of `degree`, by default that of a central formula. `inflow` is the end where
    transport enters.
    """
    at = axis + 1
    components = []
    for component, sides in zip(field.values, field.sides, strict=True):
        values, side = component[None], sides[axis]
        if isinstance(side, Unknown):
            raise ValueError(
                f"A derivative along axis {axis}, where u is anti-periodic, was asked of a field of which it is "
                "not known whether it is. Write products in place of powers and functions: u * u.derivative(0)."
            )
        if not isinstance(side, tuple):
            n, sign = field.grid.shape[axis], -1 if isinstance(side, AntiPeriodic) else 1
            low, high = sign * _slice(values, at, n - width, width), sign * _slice(values, at, 0, width)
        else:
            check_stated(side, axis, order)
            low = jnp.flip(_ghosts(field.reading, axis, 0, width, order, side[0], values, degree, inflow == 0), at)
            high = _ghosts(field.reading, axis, 1, width, order, side[1], jnp.flip(values, at), degree, inflow == -1)
        components.append(jnp.concatenate([low, values, high], axis=at))
    return components[0] if len(components) == 1 else jnp.concatenate(components)


def _ghosts(
    reading: Any,
    axis: int,
    end: int,
    width: int,
    derivative: int,
    wall: Met | Unknown,
    values: Array,
    degree: int | None = None,
    is_inflow: bool = False,
) -> Array:
    """The `width` values beyond the wall at the start (`end` 0) or the end (1) of `axis`, nearest first, for a
    derivative of that order; `values` start at that wall."""
    at, kind, order = axis + 1, reading.grid.placement[axis], reading.order
    spacing = reading.grid.mean_spacing(axis).astype(values.dtype)
    if isinstance(points := reading.grid.points[axis], Stretched):
        spacing = spacing * points.end_slopes()[end]
    near = lambda count: _slice(values, at, 0, count)  # noqa: E731
    number = lambda value: value.astype(values.dtype)  # noqa: E731
    combined = lambda weights, count: _combined(weights, near(count), at)  # noqa: E731
    condition = Outflow() if isinstance(wall, Unknown) else wall.condition
    has_value = isinstance(wall, Unknown) or isinstance(condition, Dirichlet)
    of_first = order - 1 if has_value else order
    reach = degree if degree is not None else (order + 1 if derivative > 1 else of_first)
    if is_inflow and isinstance(wall, Met) and isinstance(condition, Dirichlet):
        of_datum, weights = fitted_ghost_weights(kind, reach, 2 * (reach + 1), width)
        datum = wall.datum.astype(values.dtype)[None]
        return combined(weights, 2 * (reach + 1)) + _combined(of_datum[:, None], datum, at)
    if isinstance(condition, Outflow) or (has_value and kind == "nodes"):
        _, weights = ghost_weights(kind, None, reach + 1, width)
        return combined(weights, reach + 1)
    assert isinstance(wall, Met)
    datum = wall.datum.astype(values.dtype)[None]
    if isinstance(condition, Robin) and kind == "centres":
        # The wall's value w, from the slope of the polynomial through w and the interior.
        of_wall, of_interior = wall_slope_weights(reach)
        slope = combined(of_interior[None], reach)
        share = number(condition.slope_weight) / spacing
        datum = (datum + share * slope) / (number(condition.value_weight) - share * of_wall)
    elif isinstance(condition, Robin):
        # The wall's value is that of its node, so the condition states the slope.
        datum = (datum - number(condition.value_weight) * near(1)) / number(condition.slope_weight)
    has_slope = isinstance(condition, Neumann) or (isinstance(condition, Robin) and kind == "nodes")
    if has_slope:
        # The outward derivative is minus the derivative along the inward coordinate that the weights use.
        datum = -datum * spacing
    of_datum, weights = ghost_weights(kind, 1 if has_slope else 0, reach, width)
    return combined(weights, reach) + _combined(of_datum[:, None], datum, at)
