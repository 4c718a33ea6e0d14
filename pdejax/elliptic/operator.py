"""The linear elliptic operator on a grid, as fluxes through the faces between neighbouring points.

    -div(a grad u) + c u = f

Each point has a cell, cut in half where the point lies on a wall. The flux through a face takes the harmonic mean of
the two neighbouring coefficients: it is continuous where a jumps on the face. At a wall with

    value_weight u + slope_weight du/dn = value

(Dirichlet, Neumann and Robin alike) the flux follows from u at the wall, half a cell away from centres, and is of the
form `k (q u - value)`. Rows are multiplied by the fraction of a full cell, which makes the matrix symmetric. Second
order for smooth a; source: Patankar, Numerical Heat Transfer and Fluid Flow (1980), section 4.2.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from pdejax.boundary import AntiPeriodic, Dirichlet, Neumann, Outflow, Robin, Sides, datum_at
from pdejax.elliptic.stencil_matrix import Axis, StencilMatrix, padded, window
from pdejax.grid import Grid, check_uniform
from pdejax.sides import Walls

# Between centres, a is continued linearly to a wall, unless its last change is more than this part of it.
JUMP = 0.5


class EllipticOperator(eqx.Module):
    r"""`-div(diffusivity grad u) + reaction u` with the conditions of `boundary`.

    - `diffusivity`: a > 0, a number, an array `grid.shape` or a function of the coordinates `(axis, *grid.shape)`; it
      may jump between points.
    - `reaction`: c, a number, an array or a function alike.
    - `boundary`: as for `FiniteDifference`; data that depend on time are taken at `time`.

    Points that lie on a Dirichlet wall are held: the operator acts on the free points, `free_shape` of them.

    Raises `ValueError` for missing conditions, `Outflow`, points at unequal distances, a diffusivity that is not
    positive, and arrays that do not fit the grid.
    """

    grid: Grid
    sides: Sides
    diffusivity: Float[Array, "..."]
    reaction: Float[Array, "..."]
    time: Float[Array, ""]
    # Whether no wall fixes the constant, and whether nothing else does.
    floating: bool = eqx.field(static=True)
    singular: bool = eqx.field(static=True)

    def __init__(self, grid: Grid, boundary: Any = None, diffusivity: Any = 1.0, reaction: Any = 0.0, time: Any = 0.0):
        check_uniform(grid, "An elliptic problem", "which its stencil is for", "use nodes or centres")
        self.grid = grid
        (self.sides,) = Walls(grid, boundary).of(("u",), "this problem")
        for side in self.sides:
            if isinstance(side, tuple) and any(isinstance(condition, Outflow) for condition in side):
                raise ValueError("An elliptic problem needs a condition at every wall; Outflow states nothing.")
        self.diffusivity = _coefficient("diffusivity", diffusivity, grid)
        self.reaction = _coefficient("reaction", reaction, grid)
        if not isinstance(self.diffusivity, Tracer) and not np.all(np.asarray(self.diffusivity) > 0):
            smallest = float(np.min(np.asarray(self.diffusivity)))
            raise ValueError(f"The diffusivity must be positive at every point; its smallest value is {smallest:.3g}.")
        self.time = jnp.asarray(time, grid.dtype)
        # What functions say is read here: programs that are kept would go on with what they said at first.
        self.sides = tuple(
            tuple(_at_rest(one, grid, axis, end, self.time) for end, one in zip((0, -1), side, strict=True))
            if isinstance(side, tuple)
            else side
            for axis, side in enumerate(self.sides)
        )
        no_reaction = not isinstance(self.reaction, Tracer) and not np.any(np.asarray(self.reaction))
        self.floating = not any(_ties(side) for side in self.sides)
        self.singular = no_reaction and self.floating
        for axis, held in enumerate(self.held):
            if grid.shape[axis] < 1 + sum(held):
                raise ValueError(
                    f"All of the {grid.shape[axis]} points along axis {axis} lie on walls with a value: nothing is "
                    "left to solve for. Use more points."
                )

    @property
    def held(self) -> tuple[tuple[bool, bool], ...]:
        """Whether the first and the last point of each axis are held."""
        return tuple(
            tuple(isinstance(one, Dirichlet) and kind == "nodes" for one in side)  # type: ignore[misc]
            if isinstance(side, tuple)
            else (False, False)
            for side, kind in zip(self.sides, self.grid.points, strict=True)
        )

    @property
    def free_shape(self) -> tuple[int, ...]:
        return tuple(n - sum(held) for n, held in zip(self.grid.shape, self.held, strict=True))

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(
            Axis(wraps, -1 if isinstance(side, AntiPeriodic) else 1, int(held[0]))
            for wraps, side, held in zip(self.grid.periodic, self.sides, self.held, strict=True)
        )

    def fractions(self, axis: int) -> Float[Array, "..."]:
        """The length of each point's cell along an axis, in spacings, shaped to broadcast."""
        fractions = np.ones(self.grid.shape[axis])
        if self.grid.points[axis] == "nodes" and not self.grid.periodic[axis]:
            fractions[[0, -1]] = 0.5
        return jnp.asarray(_along(fractions, axis, self.grid.ndim), self.grid.dtype)

    def cells(self, without: int | None = None) -> Float[Array, " *shape"]:
        """The volume of each point's cell in full cells, or its face across the axis `without`."""
        product = jnp.ones(self.grid.shape, self.grid.dtype)
        for axis in range(self.grid.ndim):
            product = product if axis == without else product * self.fractions(axis)
        return product

    def restrict(self, u: Float[Array, " *shape"]) -> Float[Array, " *free"]:
        """The values at the free points."""
        return u[tuple(slice(h[0], n - h[1]) for n, h in zip(self.grid.shape, self.held, strict=True))]

    def extend(self, u: Float[Array, " *free"]) -> Float[Array, " *shape"]:
        """Free values with those held at Dirichlet walls; where two such walls meet, the later axis decides."""
        for axis, held in enumerate(self.held):
            values = [u]
            for end, is_held in zip((0, -1), held, strict=True):
                if is_held:
                    datum = datum_at(self.sides[axis][end], self.grid, axis, end, self.time)  # type: ignore[index]
                    for later in range(axis + 1, self.grid.ndim):
                        first, n = self.held[later][0], u.shape[later]
                        datum = jax.lax.slice_in_dim(datum, int(first), int(first) + n, axis=later)
                    values.insert(0 if end == 0 else len(values), datum)
            u = jnp.concatenate(values, axis)
        return u

    def __call__(self, u: Float[Array, " *free"]) -> Float[Array, " *free"]:
        """The operator with homogeneous data, times the fraction of a cell: symmetric, positive where c is."""
        return self.matrix()(u)

    def diagonal(self) -> Float[Array, " *free"]:
        return self.matrix().diagonal

    def matrix(self) -> StencilMatrix:
        ndim, cells = self.grid.ndim, self.cells()
        middle = self.reaction * cells
        offsets, weights = [], []
        for axis in range(ndim):
            for end in (0, -1):
                conductances = self._conductances(axis, end)
                middle = middle + conductances
                # Through the face to a held point nothing is left but its share of the diagonal.
                if self.held[axis][end]:
                    n = self.grid.shape[axis]
                    beside_held = np.arange(n) != (1 if end == 0 else n - 2)
                    conductances = conductances * jnp.asarray(_along(beside_held, axis, ndim), self.grid.dtype)
                offsets.append(tuple((-1 if end == 0 else 1) * (a == axis) for a in range(ndim)))
                weights.append(-self.restrict(conductances))
                wall = self._wall(axis, end)
                if wall is not None:
                    middle = middle + _placed(wall[0], axis, end, self.grid)
        return StencilMatrix(jnp.stack([self.restrict(middle), *weights]), ((0,) * ndim, *offsets), self.axes)

    def right_hand_side(self, f: Any) -> Float[Array, " *free"]:
        """f, a number, an array `grid.shape` or a function of the coordinates, times the fraction of a cell, and what
        the walls' data add."""
        total = _coefficient("right-hand side", f, self.grid) * self.cells()
        for axis in range(self.grid.ndim):
            for end in (0, -1):
                wall = self._wall(axis, end)
                if wall is not None:
                    total = total + _placed(wall[1], axis, end, self.grid)
                if self.held[axis][end]:
                    datum = datum_at(self.sides[axis][end], self.grid, axis, end, self.time)  # type: ignore[index]
                    n = self.grid.shape[axis]
                    place = 1 if end == 0 else n - 2
                    through = jax.lax.slice_in_dim(self._conductances(axis, end), place, place + 1, axis=axis)
                    padding = [(0, 0)] * self.grid.ndim
                    padding[axis] = (place, n - 1 - place)
                    total = total + jnp.pad(through * datum, padding)
        return self.restrict(total)

    def is_tied(self) -> Bool[Array, ""]:
        """Whether the reaction or a wall fixes the constant, where that is known in the compiled program alone."""
        weights = [
            condition.value_weight
            for side in self.sides
            for condition in (side if isinstance(side, tuple) else ())
            if isinstance(condition, Robin)
        ]
        known = any(_ties(side, traced=False) for side in self.sides)
        return jnp.any(self.reaction != 0) | jnp.any(jnp.asarray([known, *(w != 0 for w in weights)]))

    def _conductances(self, axis: int, end: int) -> Float[Array, " *shape"]:
        """Of the face of each point towards the start (0) or the end (-1) of an axis; zero at a wall."""
        a = jnp.broadcast_to(self.diffusivity, self.grid.shape)
        ends = [Axis(wraps) for wraps in self.grid.periodic]
        neighbour = window(padded(a, ends), [(-1 if end == 0 else 1) * (i == axis) for i in range(self.grid.ndim)])
        return 2 * a * neighbour / (a + neighbour) / self.grid.spacing[axis] ** 2 * self.cells(axis)

    def _wall(self, axis: int, end: int) -> tuple[Array, Array] | None:
        """What a wall that is not held adds to the diagonal, and to the right-hand side, of the points beside it."""
        side = self.sides[axis]
        if not isinstance(side, tuple) or self.held[axis][end]:
            return None
        condition, h = side[end], self.grid.spacing[axis]
        if isinstance(condition, Robin):
            value_weight, slope_weight = (
                w.astype(self.grid.dtype) for w in (condition.value_weight, condition.slope_weight)
            )
        else:
            value_weight, slope_weight = (0.0, 1.0) if isinstance(condition, Neumann) else (1.0, 0.0)
        half = h / 2 if self.grid.points[axis] == "centres" else 0.0
        first, second = (0, 1) if end == 0 else (self.grid.shape[axis] - 1, self.grid.shape[axis] - 2)
        whole = jnp.broadcast_to(self.diffusivity, self.grid.shape)
        a, inside, faces = (
            jax.lax.slice_in_dim(values, i, i + 1, axis=axis)
            for values, i in ((whole, first), (whole, second), (self.cells(axis), first))
        )
        if self.grid.points[axis] == "centres":
            # A given slope needs a at the wall: half a cell away it would be of first order. Not across a jump.
            smooth = jnp.abs(a - inside) < JUMP * jnp.minimum(a, inside)
            a = jnp.where(smooth, 1.5 * a - 0.5 * inside, a)
        a = a * faces
        # The outward slope is (value - value_weight u) / distance, u at the point beside the wall.
        conductance = a / h / (value_weight * half + slope_weight)
        datum = datum_at(condition, self.grid, axis, end, self.time)
        return conductance * value_weight, conductance * datum


def _at_rest(condition: Any, grid: Grid, axis: int, end: int, time: Any) -> Any:
    """A condition with numbers in place of a function."""
    if not callable(condition.value):
        return condition
    values = jnp.squeeze(datum_at(condition, grid, axis, end, time), axis)
    return eqx.tree_at(lambda one: one.value, condition, values, is_leaf=callable)


def _ties(side: Any, traced: bool = True) -> bool:
    """Whether a condition fixes the constant that u is free by otherwise; of `traced` weights it is said beforehand."""

    def ties(condition: Any) -> bool:
        if not isinstance(condition, Robin):
            return isinstance(condition, Dirichlet)
        weight = condition.value_weight
        return traced if isinstance(weight, Tracer) else float(weight) != 0

    return any(map(ties, side)) if isinstance(side, tuple) else isinstance(side, AntiPeriodic)


def _coefficient(name: str, value: Any, grid: Grid) -> Float[Array, "..."]:
    array = jnp.asarray(value(grid.coordinates()) if callable(value) else value, grid.dtype)
    if array.shape not in ((), grid.shape):
        raise ValueError(f"The {name} has shape {array.shape}: give a number or an array of shape {grid.shape}.")
    if not isinstance(array, Tracer) and not np.all(np.isfinite(np.asarray(array))):
        raise ValueError(
            f"The {name} must be finite; it has {int(np.sum(~np.isfinite(np.asarray(array))))} bad values."
        )
    return array


def _along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    return values.reshape([-1 if a == axis else 1 for a in range(ndim)])


def _placed(values: Array, axis: int, end: int, grid: Grid) -> Array:
    """Values at one end of an axis, and zeros elsewhere."""
    padding = [(0, 0)] * grid.ndim
    padding[axis] = (0, grid.shape[axis] - 1) if end == 0 else (grid.shape[axis] - 1, 0)
    return jnp.pad(jnp.broadcast_to(values, [1 if a == axis else n for a, n in enumerate(grid.shape)]), padding)
