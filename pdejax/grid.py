"""Where a field lives: a box cut into points, and the quadrature that goes with them."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Shaped

from pdejax.sizes import size
from pdejax.stretching import Stretched

Placement = Literal["nodes", "centres", "chebyshev"]
Points = Placement | Stretched


class Grid(eqx.Module):
    r"""A grid on the box `origin <= x <= origin + extent`, any number of dimensions and of points per axis.

    - `shape`: points per axis, odd or even, e.g. `(24, 33)`.
    - `extent`: side lengths, one number or one per axis. An array leaf: one program serves many box sizes, and
      `jax.vmap` and `jax.grad` go over it.
    - `periodic`: whether the two ends of an axis are the same place; one flag or one per axis.
    - `origin`: the lower corner; one number or one per axis.
    - `points`: `"nodes"` (`x_i = i h`; both ends are points where the axis is not periodic), `"centres"`
      (`x_i = (i + 1/2) h`) or, on axes that are not periodic, `"chebyshev"` (Gauss-Lobatto points, both ends included:
      `x_i = extent (1 - cos(pi i / (N - 1))) / 2`), all counted from `origin`; or a `pdejax.Stretched`, the images of
      nodes or centres under a smooth map of the axis onto itself; one or one per axis. Default: nodes on periodic axes,
      centres elsewhere.
    - `dtype`: of the fields on it; default float64 when `jax_enable_x64` is on, float32 otherwise.

    The spacing is `h = extent / N`, or `extent / (N - 1)` for nodes on an axis that is not periodic. Chebyshev and
    stretched points have none.

    Raises `ValueError` for fewer than one axis or two points, an extent that is not positive, per-axis arguments of the
    wrong length, Chebyshev points on a periodic axis, stretched points that do not go on smoothly around one or that
    fall together in this precision, and float64 while `jax_enable_x64` is off.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    extent: Float[Array, " ndim"]
    periodic: tuple[bool, ...] = eqx.field(static=True)
    origin: Float[Array, " ndim"]
    points: tuple[Points, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        shape: int | Sequence[int],
        extent: Any,
        periodic: bool | Sequence[bool] = True,
        origin: Any = 0.0,
        points: Points | Sequence[Points] | None = None,
        dtype: Any = None,
    ):
        self.shape = _checked_shape(shape)
        self.dtype = _checked_dtype(dtype)
        self.extent = _per_axis("extent", extent, self.ndim, self.dtype)
        self.origin = _per_axis("origin", origin, self.ndim, self.dtype)
        if not isinstance(self.extent, Tracer):
            given = np.asarray(self.extent)
            if not (np.all(np.isfinite(given)) and np.all(given > 0)):
                raise ValueError(f"Grid extent must be positive and finite along every axis, got {given.tolist()}.")
        flags: Any = (periodic,) * self.ndim if isinstance(periodic, bool | np.bool_) else periodic
        if not isinstance(flags, Sequence | np.ndarray) or any(not isinstance(f, bool | np.bool_) for f in flags):
            raise ValueError(f"Grid `periodic` is True, False, or one of them per axis, got {periodic!r}.")
        if len(flags) != self.ndim:
            raise ValueError(f"Grid has {self.ndim} axes but `periodic` has {len(flags)} entries: give one per axis.")
        self.periodic = tuple(bool(flag) for flag in flags)
        self.points = _checked_points(points, self.periodic)
        for axis, kind in enumerate(self.points):
            if isinstance(kind, Stretched):
                _check_stretched(kind, axis, self.shape[axis], self.periodic[axis], self.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def box(self) -> "Grid":
        """The grid of the whole box, of which one inside a program over many devices may be a part."""
        return self

    @property
    def is_uniform(self) -> tuple[bool, ...]:
        """Whether the points along each axis are equally far apart."""
        return tuple(kind in ("nodes", "centres") for kind in self.points)

    @property
    def placement(self) -> tuple[Placement, ...]:
        """`points` without their stretching: whether they, or the numbers they are images of, are nodes or centres."""
        return tuple(kind.kind if isinstance(kind, Stretched) else kind for kind in self.points)

    @property
    def spacing(self) -> Float[Array, " ndim"]:
        """Distance between neighbouring points along each axis. Raises `ValueError` where there is no such distance."""
        if not all(self.is_uniform):
            axis = self.is_uniform.index(False)
            raise ValueError(
                f"{_described(self.points[axis]).capitalize()} points, along axis {axis}, have no one spacing: use "
                "jnp.diff(grid.axes[axis]) for their distances and grid.integrate(u) for a quadrature."
            )
        return jnp.stack([self.mean_spacing(axis) for axis in range(self.ndim)])

    def mean_spacing(self, axis: int) -> Float[Array, ""]:
        """The extent over the number of distances between points, equal or not, along an axis."""
        ends_are_points = self.placement[axis] != "centres" and not self.periodic[axis]
        return self.extent[axis] / (self.shape[axis] - ends_are_points)

    def points_per_length(self, axis: int, start: float, count: int) -> Float[Array, " count"]:
        """`di/dx` along an axis at `count` positions from `start` on, counted in points: the first one is at 0, and
        halves lie between points. Positions around a periodic axis may lie before its first point."""
        uniform = jnp.full(count, 1 / self.mean_spacing(axis))
        points = self.points[axis]
        if not isinstance(points, Stretched):
            return uniform
        _, intervals = points.numbers(self.shape[axis], self.periodic[axis])
        s = (start + np.arange(count) + (0.5 if points.kind == "centres" else 0.0)) / intervals
        return uniform / points.slopes(s % 1 if self.periodic[axis] else s).astype(self.dtype)

    @property
    def axes(self) -> tuple[Float[Array, " points"], ...]:
        """The coordinates along each axis, one 1-D array per axis."""
        return tuple(self.origin[axis] + self._from_origin(axis) for axis in range(self.ndim))

    def _from_origin(self, axis: int) -> Float[Array, " points"]:
        n, kind = self.shape[axis], self.points[axis]
        if kind == "chebyshev":
            # (1 - cos a) / 2 = sin(a / 2)^2, without cancellation at the first points.
            fractions = np.sin(np.pi * np.arange(n) / (2 * (n - 1))) ** 2
            return jnp.asarray(fractions, self.dtype) * self.extent[axis]
        if isinstance(kind, Stretched):
            fractions, _ = kind.placed(n, self.periodic[axis])
            return jnp.asarray(fractions, self.dtype) * self.extent[axis]
        return (jnp.arange(n, dtype=self.dtype) + (0.5 if kind == "centres" else 0.0)) * self.mean_spacing(axis)

    def coordinates(self) -> Float[Array, "ndim *space"]:
        """The position of every point, component first."""
        return jnp.stack(jnp.meshgrid(*self.axes, indexing="ij"))

    @property
    def volume(self) -> Float[Array, ""]:
        return jnp.prod(self.extent)

    def integrate(self, u: Shaped[Array, "..."]) -> Float[Array, "..."]:
        """Integral over the box, over the last `ndim` axes of `u`: `(..., *shape) -> (...)`.

        Rectangle rule on periodic axes (exact for every resolved Fourier mode), midpoint rule on centres, trapezoidal
        rule on nodes with both ends, Clenshaw-Curtis rule on Chebyshev points (exact for polynomials of degree N - 1).
        On stretched points the rule of their nodes or centres for `u dx/ds`, with weights of sum `extent`: of second
        order between walls, and around a periodic axis of every order, as far as u and the map are smooth.
        """
        if jnp.shape(u)[-self.ndim :] != self.shape:
            raise ValueError(f"This grid has shape {self.shape} but the array ends in {jnp.shape(u)[-self.ndim :]}.")
        if not jnp.issubdtype(jnp.result_type(u), jnp.inexact):
            u = jnp.asarray(u, self.dtype)
        for axis in reversed(range(self.ndim)):
            n, kind = self.shape[axis], self.points[axis]
            if kind == "chebyshev":
                weights, unit = _clenshaw_curtis_weights(n), self.extent[axis]
            elif isinstance(kind, Stretched):
                weights, unit = kind.placed(n, self.periodic[axis])[1], self.extent[axis]
            else:
                weights, unit = np.ones(n), self.mean_spacing(axis)
                if kind == "nodes" and not self.periodic[axis]:
                    weights[[0, -1]] = 0.5
            u = jnp.sum(u * jnp.asarray(weights, u.dtype), axis=-1) * unit.astype(u.dtype)
        return u

    def norm(self, u: Shaped[Array, "..."]) -> Float[Array, "..."]:
        """L2 norm over the box: `sqrt(integral of |u|^2)`, `(..., *shape) -> (...)`. Independent of the resolution.

        Its derivative is zero where u is zero.
        """
        u = jnp.asarray(u, jnp.promote_types(jnp.result_type(u), jnp.float32))
        return size(u, self.integrate, tuple(range(-self.ndim, 0)))

    def with_shape(self, shape: int | Sequence[int]) -> "Grid":
        """The same box at another resolution."""
        return Grid(shape, self.extent, self.periodic, self.origin, self.points, self.dtype)

    def with_dtype(self, dtype: Any) -> "Grid":
        """The same points with fields of another precision."""
        return Grid(self.shape, self.extent, self.periodic, self.origin, self.points, dtype)

    def check_state(self, u: Any, num_channels: int, what: str = "The state") -> None:
        """Raises `ValueError` unless `u` is a real array `(num_channels, *shape)`."""
        expected = (num_channels, *self.shape)
        if jnp.shape(u) != expected:
            raise ValueError(
                f"{what} has shape {jnp.shape(u)} but {expected} = (channel, *grid.shape) is needed; states carry a "
                "channel axis even when there is one channel, and batches go through jax.vmap."
            )
        if jnp.iscomplexobj(u):
            raise ValueError(f"{what} is complex ({u.dtype}); store a complex state as two real channels.")


def _checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not sizes or any(not isinstance(n, int | np.integer) or n < 2 for n in sizes):
        raise ValueError(f"Grid shape needs at least one axis and two points per axis, got {shape}.")
    return tuple(int(n) for n in sizes)


def _checked_dtype(dtype: Any) -> np.dtype:
    if dtype is None:
        dtype = jnp.float64 if jax.config.read("jax_enable_x64") else jnp.float32
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"Grid dtype must be float32 or float64, got {dtype}.")
    if dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            'A float64 grid needs double precision: call jax.config.update("jax_enable_x64", True) at the start of the '
            "program (or set JAX_ENABLE_X64=1), or use Grid(..., dtype=jnp.float32)."
        )
    return dtype


def _per_axis(name: str, value: Any, ndim: int, dtype: np.dtype) -> Float[Array, " ndim"]:
    value = jnp.asarray(value, dtype)
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] != ndim):
        raise ValueError(f"Grid has {ndim} axes but `{name}` has shape {value.shape}: give one number or {ndim}.")
    return jnp.broadcast_to(value, (ndim,))


def _checked_points(points: Points | Sequence[Points] | None, periodic: tuple[bool, ...]) -> tuple[Points, ...]:
    if points is None:
        return tuple("nodes" if wraps else "centres" for wraps in periodic)
    kinds: tuple[Any, ...] = (
        tuple(points) if isinstance(points, Sequence) and not isinstance(points, str) else (points,) * len(periodic)
    )
    if len(kinds) != len(periodic):
        raise ValueError(f"Grid has {len(periodic)} axes but `points` has {len(kinds)} entries: give one per axis.")
    named = ("nodes", "centres", "chebyshev")
    if unknown := [kind for kind in kinds if not isinstance(kind, Stretched) and kind not in named]:
        raise ValueError(f'Grid points must be "nodes", "centres", "chebyshev" or Stretched(...), got {unknown[0]!r}.')
    if wrong := [axis for axis, kind in enumerate(kinds) if kind == "chebyshev" and periodic[axis]]:
        raise ValueError(
            f"Chebyshev points are for axes with two ends, and axis {wrong[0]} is periodic: Grid(..., periodic=False) "
            'along it, or points="nodes", on which periodic functions have Fourier series.'
        )
    return kinds


def _check_stretched(points: Stretched, axis: int, num_points: int, periodic: bool, dtype: np.dtype) -> None:
    if periodic:
        points.check_periodic()
    fractions = points.placed(num_points, periodic)[0].astype(dtype)
    if np.any(np.diff(fractions) <= 0):
        raise ValueError(
            f"Stretched points along axis {axis} fall together in {dtype}: {points} puts some of its {num_points} "
            "points closer than rounding. Stretch less, or use fewer points."
        )


@functools.cache
def _clenshaw_curtis_weights(n: int) -> np.ndarray:
    """The quadrature of the polynomial through n Chebyshev points, for an extent of 1: Clenshaw & Curtis, Numer. Math.
    2 (1960) 197."""
    last = n - 1
    even = np.arange(0, n, 2)
    # The integral of T_k over [-1, 1] is 2 / (1 - k^2) for even k; half of it on an extent of 1.
    integrals = 1 / (1.0 - even**2)
    integrals[(even == 0) | (even == last)] *= 0.5
    cosines = np.cos(np.pi * np.outer(np.arange(n), even) / last)
    weights = 2 / last * cosines @ integrals
    weights[[0, -1]] *= 0.5
    return weights


def check_uniform(grid: Grid, taker: str, why: str, fix: str) -> None:
    """Raises `ValueError` where the points of an axis are not equally far apart, and `taker` needs that they are."""
    if not all(grid.is_uniform):
        axis = grid.is_uniform.index(False)
        raise ValueError(
            f"{taker} needs points at equal distances, {why}, and axis {axis} has {_described(grid.points[axis])} "
            f"points: {fix}."
        )


def _described(points: Points) -> str:
    return "stretched" if isinstance(points, Stretched) else {"chebyshev": "Chebyshev"}.get(points, points)


def check_is_grid(grid: Any, taker: str) -> None:
    """Raises `TypeError` for the class `Grid`, or anything else, where `taker` takes a grid."""
    if not isinstance(grid, Grid):
        got = f"the class {grid.__name__} itself" if isinstance(grid, type) else f"a {type(grid).__name__}"
        raise TypeError(f"{taker} takes a grid such as pdejax.Grid((64, 64), extent=1.0), got {got}.")


def same_box(a: Grid, b: Grid) -> bool:
    """Whether two concrete grids cover the same box with the same periodicity, whatever their resolutions."""
    return (
        a.periodic == b.periodic
        and np.allclose(a.extent, b.extent, rtol=1e-6, atol=0.0)
        and np.allclose(a.origin, b.origin, rtol=1e-6, atol=1e-6 * float(np.max(np.asarray(a.extent))))
    )
