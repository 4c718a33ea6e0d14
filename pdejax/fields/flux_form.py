"""`div(D grad u)` in finite differences: fluxes between the points, and what they leave behind.

    F_(i+1/2) = D_(i+1/2) / h * sum over j of c_j u_(i+1/2+j),    (div F)_i = 1 / h * sum over j of c_j F_(i+j)

with j = +-1/2, +-3/2, ...: midpoint formulae of order 2, 4, 6, 8. On a periodic axis this is minus a matrix, D, and its
adjoint: symmetric, never growing, of zero sum; and a checkerboard, which two central first derivatives do not see,
decays fastest of all.

D midway between points is the interpolated D, or the inverse of the interpolated 1 / D (`mean="harmonic"`), and stays
between half the smaller and twice the larger of the two neighbours: so it is positive where D is, however it jumps, and
of full order where it is resolved.

Beyond walls u continues as the polynomial of degree `order` that meets the condition, and the flux as one of degree
`order + 2` through the nearest faces and, where a slope is stated, the wall: there the flux is D times that slope. (One
of degree `order - 1` is enough for the order, but has 2 to 10 times the error.) For order 2 both have degree 1: these
are the cell-centred and the vertex-centred finite volumes, symmetric in the quadrature of the grid. No mode was found
to grow between walls of all kinds, orders 2 to 8; between walls without flux every order conserves the integral, in a
quadrature of its own with weights 1 away from the walls.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pdejax.boundary import AntiPeriodic, Neumann, Robin
from pdejax.fields.ghost_values import padded
from pdejax.fields.stencil_weights import ghost_weights, midpoint_weights
from pdejax.fields.windows import along, combined, window


def flux_divergence(u: Any, diffusivity: Any, mean: str) -> Array:
    """The values of `sum over axes of d_a (D_a d_a u)` of a `StencilField`, with one D or one per axis."""
    total: Any = 0.0
    for axis in range(u.ndim):
        of_axis = diffusivity[axis] if diffusivity.num_components > 1 else diffusivity
        total = total + _along(u, of_axis, axis, mean)
    return total


def _along(u: Any, diffusivity: Any, axis: int, mean: str) -> Array:
    order, n, at = u.reading.order, u.grid.shape[axis], axis + 1
    on_wall = u.grid.placement[axis] == "nodes" and not u.grid.periodic[axis]
    # With centres the first and the last face lie on the walls; on a periodic axis they are one face.
    num_faces, width = (n - 1, order // 2 - 1) if on_wall else (n + 1, order // 2)
    # How many points there are per length at the faces and at the points: on stretched ones they differ.
    per_length = lambda start, count: along(  # noqa: E731
        u.grid.points_per_length(axis, start, count).astype(u.values.dtype), at, u.ndim + 1
    )
    slopes = _weighted(padded(u, axis, width, 2, order if order > 2 else 1), 1, order, at, num_faces)
    slopes = slopes * per_length(0.5 if on_wall else -0.5, num_faces)
    flux = _between(diffusivity, axis, width, num_faces, mean) * slopes
    parts = [
        _continued(u, diffusivity, flux[component : component + 1], component, axis)
        for component in range(u.num_components)
    ]
    return _weighted(jnp.concatenate(parts), 1, order, at, n) * per_length(0.0, n)


def _between(diffusivity: Any, axis: int, width: int, num_faces: int, mean: str) -> Array:
    """D midway between the points."""
    order, at = diffusivity.reading.order, axis + 1
    side = diffusivity.sides[0][axis]
    if isinstance(side, AntiPeriodic):
        raise ValueError(f"The diffusivity changes its sign along axis {axis}, where u is anti-periodic: use u * u.")
    values = diffusivity.values if mean == "arithmetic" else 1 / diffusivity.values
    if isinstance(side, tuple):
        count = order + 2 if order > 2 else 2
        _, weights = ghost_weights(diffusivity.grid.placement[axis], None, count, width)
        ghosts = lambda given: combined(weights, window(given, at, 0, count), at)  # noqa: E731
        low, high = jnp.flip(ghosts(values), at), ghosts(jnp.flip(values, at))
        edges = [jnp.repeat(window(values, at, place, 1), width, at) for place in (0, values.shape[at] - 1)]
        wide, near = (jnp.concatenate([a, values, b], at) for a, b in ((low, high), edges))
    else:
        # Of a function of an anti-periodic field nobody knows: this refuses.
        given = type(diffusivity)(diffusivity.reading, values, diffusivity.sides)
        wide = near = padded(given, axis, width, 1)
    middle = _weighted(wide, 0, order, at, num_faces)
    start = order // 2 - 1
    a, b = window(near, at, start, num_faces), window(near, at, start + 1, num_faces)
    least, most = 0.5 * jnp.minimum(a, b), 2 * jnp.maximum(a, b)
    middle = jnp.where(middle < least, least, jnp.where(middle > most, most, middle))
    return middle if mean == "arithmetic" else 1 / middle


def _continued(u: Any, diffusivity: Any, flux: Array, component: int, axis: int) -> Array:
    """The flux of one component with what the divergence needs beyond the ends of `axis`."""
    order, at, side = u.reading.order, axis + 1, u.sides[component][axis]
    width, degree = order // 2, (order + 2 if order > 2 else 1)
    if not isinstance(side, tuple):
        sign, n = -1 if isinstance(side, AntiPeriodic) else 1, u.grid.shape[axis]
        flux = window(flux, at, 1, n)
        return jnp.concatenate(
            [sign * window(flux, at, n - width, width), flux, sign * window(flux, at, 0, width - 1)], at
        )
    ends = []
    for end, condition in enumerate(met.condition for met in side):
        inward = jnp.flip(flux, at) if end else flux
        if u.grid.placement[axis] == "centres":
            _, weights = ghost_weights("nodes", None, degree + 1, width - 1)
            ghosts = combined(weights, window(inward, at, 0, degree + 1), at)
        elif not isinstance(condition, Neumann | Robin):
            _, weights = ghost_weights("centres", None, degree + 1, width)
            ghosts = combined(weights, window(inward, at, 0, degree + 1), at)
        else:
            # Seen from a node the faces lie like centres, and the wall's own flux is known.
            of_wall, weights = ghost_weights("centres", 0, degree, width)
            known = _wall_flux(u, diffusivity, component, axis, end)
            ghosts = combined(weights, window(inward, at, 0, degree), at) + combined(of_wall[:, None], known, at)
        ends.append(ghosts)
    return jnp.concatenate([jnp.flip(ends[0], at), flux, ends[1]], at)


def _wall_flux(u: Any, diffusivity: Any, component: int, axis: int, end: int) -> Array:
    """D times the derivative along the axis at the nodes on a wall whose slope is known."""
    met, at = u.sides[component][axis][end], axis + 1
    place = u.grid.shape[axis] - 1 if end else 0
    slope = met.datum.astype(u.values.dtype)[None]
    if isinstance(met.condition, Robin):
        weights = [w.astype(u.values.dtype) for w in (met.condition.value_weight, met.condition.slope_weight)]
        slope = (slope - weights[0] * window(u.values[component : component + 1], at, place, 1)) / weights[1]
    return (1 if end else -1) * window(diffusivity.values, at, place, 1) * slope


def _weighted(values: Array, derivative: int, order: int, at: int, count: int) -> Array:
    """A midpoint formula at `count` places in a row."""
    weights = midpoint_weights(derivative, order)
    return sum(float(weight) * window(values, at, start, count) for start, weight in enumerate(weights))  # type: ignore
