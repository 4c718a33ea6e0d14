"""What holds at the walls.

Whether an axis has walls at all is the grid's (`Grid(..., periodic=...)`); what holds there is stated here. The datum
of a condition is a number, an array along the wall, or a function of position and time.
"""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.callables import as_module
from pdejax.grid import Grid


def _check_takes_two(function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a built-in that does not say what it takes
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise ValueError(
            f"A boundary datum is a function of (x, t), position and time; {name}{signature} cannot be called so: "
            "lambda x, t: ..."
        ) from None


def _datum(value: Any) -> Any:
    if callable(value):
        _check_takes_two(value)
        return as_module(value)
    try:
        array = jnp.asarray(value, jnp.result_type(float))
    except (TypeError, ValueError):
        raise ValueError(f"A boundary datum is a number, an array or a function of (x, t), got {value!r}.") from None
    if not isinstance(array, Tracer) and not np.all(np.isfinite(np.asarray(array))):
        raise ValueError(f"A boundary datum must be finite, got {value}.")
    return array


def _coefficient(value: Any) -> Float[Array, ""]:
    number = _datum(value)
    if callable(number) or number.ndim != 0:
        raise ValueError(f"The coefficients of a Robin condition are numbers, got {value!r}.")
    return number


class Dirichlet(eqx.Module):
    """The field has a given value at the wall: `u = value`.

    `value` is a number; an array that broadcasts to the points of the wall, those of the other axes; or a function
    `value(x, t)` of the position, `(ndim, *wall)`, and the time. Numbers and arrays are leaves, to differentiate in;
    so are those of a callable `eqx.Module`.
    """

    value: Any = eqx.field(default=0.0, converter=_datum)


class Neumann(eqx.Module):
    """The field has a given outward derivative at the wall: `du/dn = slope`, n pointing out of the box.

    `slope` as the value of `Dirichlet`.
    """

    slope: Any = eqx.field(default=0.0, converter=_datum)

    @property
    def value(self) -> Any:
        return self.slope


class Robin(eqx.Module):
    """A mixture of both at the wall: `value_weight * u + slope_weight * du/dn = value`, n pointing out of the box.

    The weights are numbers, not both zero; of a wall that takes heat away in proportion to u they have the same sign.
    At points that lie on the wall (nodes) the weight of the slope must not be zero: that is `Dirichlet`. `value` is as
    that of `Dirichlet`. Raises `ValueError` when both weights are zero.
    """

    value_weight: Float[Array, ""] = eqx.field(converter=_coefficient)
    slope_weight: Float[Array, ""] = eqx.field(converter=_coefficient)
    value: Any = eqx.field(default=0.0, converter=_datum)

    def __check_init__(self):
        weights = (self.value_weight, self.slope_weight)
        if not any(isinstance(weight, Tracer) for weight in weights) and all(float(w) == 0 for w in weights):
            raise ValueError("A Robin condition with both weights zero states nothing: give one that is not.")


class Outflow(eqx.Module):
    """Nothing is stated: the field leaves, and is continued beyond the wall by the polynomial of its last points.

    For transport through the wall from inside. A wall through which something flows in needs a condition, and so does
    one that diffusion reaches: finite differences refuse a second derivative there (`Neumann(0.0)` is the usual one).
    """


class Reflecting(eqx.Module):
    """A wall that nothing crosses: beyond it lies the mirror image, with the velocity through the wall turned round.

    Of the whole state, for the finite volumes of conservation laws (`ConservationLaw.reflected` says what turns round).

    - `free`: a surface that gives way, instead: what pushes is turned round (`ConservationLaw.released`), so that it is
      zero there, a pressure or a traction.
    - `sticks`: a wall that holds what is beside it: all of the velocity is turned round (`ConservationLaw.halted`), so
      that a fluid with friction is at rest there; no heat crosses it.

    Raises `ValueError` for both.
    """

    free: bool = eqx.field(static=True, default=False)
    sticks: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.free and self.sticks:
            raise ValueError("A wall that reflects is free or sticks, not both.")


class AntiPeriodic(eqx.Module):
    """The field changes its sign from one end of a periodic axis to the other: `u(x + extent) = -u(x)`."""


Condition = Dirichlet | Neumann | Robin | Outflow | Reflecting
# What a field meets along each axis: nothing to state (periodic), a change of sign, or a condition at either end.
Sides = tuple[AntiPeriodic | tuple[Condition, Condition] | None, ...]


def wall_points(grid: Grid, axis: int, end: int) -> Float[Array, "ndim *wall"]:
    """The positions of the wall at the start (`end` 0) or the end (-1) of `axis`, beside the points of the others."""
    along = list(grid.axes)
    along[axis] = (grid.origin[axis] + (grid.extent[axis] if end else 0.0))[None]
    return jnp.squeeze(jnp.stack(jnp.meshgrid(*along, indexing="ij")), axis + 1)


def datum_at(condition: Condition, grid: Grid, axis: int, end: int, t: Any) -> Array:
    """A condition's datum at time t, in the grid's precision, shaped to broadcast against a component's values.

    Raises `ValueError` when an array, or what a function returns, does not fit the wall.
    """
    if isinstance(condition, Outflow | Reflecting):
        return jnp.zeros((1,) * grid.ndim, grid.dtype)
    value = condition.value
    if callable(value):
        value = value(wall_points(grid, axis, end), jnp.asarray(0.0 if t is None else t, grid.dtype))
    value = jnp.asarray(value, grid.dtype)
    wall = grid.shape[:axis] + grid.shape[axis + 1 :]
    try:
        whole = jnp.broadcast_to(value, wall)
    except ValueError:
        raise ValueError(
            f"The datum at the {'upper' if end else 'lower'} wall of axis {axis} has shape {value.shape}, and the wall "
            f"{wall}: the points of the other axes."
        ) from None
    return jnp.expand_dims(whole, axis)


def datum_rate(condition: Condition, grid: Grid, axis: int, end: int, t: Any) -> Array:
    """The time derivative of `datum_at`."""
    if isinstance(condition, Outflow | Reflecting) or not callable(condition.value):
        return jnp.zeros((1,) * grid.ndim, grid.dtype)
    t = jnp.asarray(t, grid.dtype)
    return jax.jvp(lambda s: datum_at(condition, grid, axis, end, s), (t,), (jnp.ones_like(t),))[1]
