"""What ends a solve before its last output time.

An event looks at the state after every step, rejected ones aside. What it says is either true or false, and then the
solve ends with the step, or a number, and then it ends where that changes its sign, found between the steps on the
solver's own interpolant. (In a list that has both, on a float32 grid while x64 is on, diffrax cannot look between the
steps: numbers end the solve with the step, too.)
"""

from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from pdejax.equations import Equation
from pdejax.fields import Eigenmodes, PointValues
from pdejax.solvers.first_crossing import FirstCrossing
from pdejax.solvers.terms import Space, decoded


class SteadyState(eqx.Module):
    r"""The state hardly changes any more:

        |du/dt| time <= rtol |u| + atol

    in the discretisation's L2 norm, all components together. du/dt is the whole right-hand side, evaluated anew.

    - `rtol`: relative to the size of the state.
    - `time`: over which a change counts. Default: the length of the solve, `ts[-1] - ts[0]`; then the rest of the
      solve, at this rate, would change the state by no more than `rtol` of it.
    - `atol`: in units of u, for solutions that tend to zero, where the rate stays in proportion to the state.

    Rounding alone gives rates of eps times the largest rate of the discretisation (`nu k_max^2`): an rtol below that
    times `time` is not reached.

    Raises `ValueError` unless rtol > 0, atol >= 0 and time > 0.
    """

    rtol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    time: Float[Array, ""] | None = eqx.field(default=None, converter=lambda v: None if v is None else jnp.asarray(v))
    atol: Float[Array, ""] = eqx.field(default=0.0, converter=jnp.asarray)

    def __check_init__(self) -> None:
        _check("SteadyState", "rtol", self.rtol, "positive", lambda value: value > 0)
        _check("SteadyState", "atol", self.atol, "zero or more", lambda value: value >= 0)
        if self.time is not None:
            _check("SteadyState", "time", self.time, "positive", lambda value: value > 0)


class BlowUp(eqx.Module):
    """The state is larger than it should be: its largest value anywhere, or its norm, is above a bound.

    - `maximum`: of |u| over all points and components.
    - `norm`: of u, the discretisation's L2 norm, all components together.

    Raises `ValueError` unless one of them is given, or both, and positive.
    """

    maximum: Any = None
    norm: Any = None

    def __check_init__(self) -> None:
        if self.maximum is None and self.norm is None:
            raise ValueError("BlowUp needs a bound: maximum= of |u|, or norm=.")
        for name in ("maximum", "norm"):
            if (bound := getattr(self, name)) is not None:
                _check("BlowUp", name, bound, "positive", lambda value: value > 0)


class NotFinite(eqx.Module):
    """No step leads on to a finite state: the solve ends with the last one, in place of an error."""


class Condition(eqx.Module):
    """An event as `diffrax.Event` asks for it, of the representation that is stepped."""

    event: Any
    equation: Equation
    space: Space
    start: Array
    duration: Array

    def __call__(self, t: Any, y: Any, args: Any, *, terms: Any, **options: Any) -> Any:
        if isinstance(self.event, SteadyState):
            return self._is_steady(t, y, terms)
        u = decoded(self.space, self.equation, self.start + t, y)
        if isinstance(self.event, BlowUp):
            exceeded = jnp.zeros((), bool)
            if self.event.maximum is not None:
                exceeded = exceeded | (jnp.max(jnp.abs(u)) > self.event.maximum)
            if self.event.norm is not None:
                exceeded = exceeded | (self._norm(u) > self.event.norm)
            return exceeded
        value = jnp.asarray(self.event(self.start + t, u))
        if value.shape != () or not (value.dtype == bool or jnp.issubdtype(value.dtype, jnp.floating)):
            raise ValueError(
                f"A condition of `until` must return one truth value or one real number, got {value.dtype} of shape "
                f"{value.shape}: reduce it, for example by jnp.any or jnp.max."
            )
        # Diffrax compares it with zeros of the default precision.
        return value if value.dtype == bool else value.astype(jnp.result_type(float))

    def _is_steady(self, t: Any, y: Any, terms: Any) -> Bool[Array, ""]:
        event = self.event
        if isinstance(self.space, Eigenmodes | PointValues):
            # Stepped is what the lift of the walls' data leaves of u.
            u = decoded(self.space, self.equation, self.start + t, y)
            rate = self._norm(self.space.reading.tendency(self.equation, self.start + t, u))
            size = self._norm(u)
        else:
            rate, size = self.space.norm(terms.vf(t, y, None)), self.space.norm(y)
        time = self.duration if event.time is None else event.time
        return rate * time <= event.rtol * size + event.atol

    def _norm(self, u: Array) -> Float[Array, ""]:
        reading = self.space.reading if isinstance(self.space, Eigenmodes | PointValues) else self.space
        return reading.norm(reading.encode(u))


def checked_events(until: Any) -> tuple[Any, ...]:
    """`until` as a tuple of events. Raises `TypeError` for what is none."""
    events = tuple(until) if isinstance(until, Sequence) and not isinstance(until, str) else (until,)
    for event in events:
        if isinstance(event, type) or not (isinstance(event, SteadyState | BlowUp | NotFinite) or callable(event)):
            raise TypeError(
                "until= takes SteadyState(...), BlowUp(...), NotFinite(), a function (t, u) -> bool or number, or a "
                f"list of these; got {event!r}."
            )
    return events


class Numbers(eqx.Module):
    """Numbers of which one changes its sign: the least of them, each with the sign that makes it positive at the start.

    As one condition, so that of several in one step the first in time is found, whatever their order. One that is zero
    at the start counts as positive there.
    """

    conditions: tuple[Condition, ...]
    signs: Float[Array, " event"]
    # So little that it decides the sign of zero alone.
    above: Float[Array, " event"]

    def __call__(self, t: Any, y: Any, args: Any, *, terms: Any, **options: Any) -> Array:
        return jnp.min(self.each(t, y, terms))

    def each(self, t: Any, y: Any, terms: Any) -> Float[Array, " event"]:
        values = jnp.stack([condition(t, y, None, terms=terms) for condition in self.conditions])
        values = eqx.error_if(
            values, jnp.any(jnp.isnan(values)), "A condition of `until` is not a number (NaN) at a state of this solve."
        )
        return self.signs * values + self.above


class Watched(eqx.Module):
    """The events of a solve, as diffrax looks at them. `NotFinite` is none of it: that is the step control's to say."""

    numbers: Numbers | None
    truths: tuple[Condition, ...]
    # Which of the events they are.
    number_places: tuple[int, ...] = eqx.field(static=True)
    truth_places: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(
        cls, events: tuple[Any, ...], equation: Equation, space: Space, start: Array, elapsed: Array, terms: Any, y: Any
    ) -> "Watched":
        duration = elapsed[-1] - elapsed[0]
        found: dict[bool, list[tuple[int, Condition]]] = {True: [], False: []}
        for place, event in enumerate(events):
            if not isinstance(event, NotFinite):
                condition = Condition(event, equation, space, start, duration)
                said = eqx.filter_eval_shape(condition, duration, y, None, terms=terms)
                found[not jnp.issubdtype(said.dtype, jnp.floating)].append((place, condition))
        numbers = None
        if found[False]:
            conditions = tuple(condition for _, condition in found[False])
            values = Numbers(conditions, jnp.ones(len(conditions)), jnp.zeros(len(conditions))).each(
                elapsed[0], y, terms
            )
            little = jnp.finfo(values.dtype).eps ** 2
            numbers = Numbers(conditions, jnp.where(values < 0, -1.0, 1.0), jnp.where(values == 0, little, 0.0))
        return cls(
            numbers,
            tuple(condition for _, condition in found[True]),
            tuple(place for place, _ in found[False]),
            tuple(place for place, _ in found[True]),
        )

    def event(self, dtype: Any) -> diffrax.Event | None:
        """A number that crosses within a step does so before what is true at its end: it comes first."""
        conditions = [*([] if self.numbers is None else [self.numbers]), *self.truths]
        if not conditions:
            return None
        is_located = self.numbers is not None and (not self.truths or dtype == jnp.result_type(float))
        return diffrax.Event(conditions, root_finder=FirstCrossing() if is_located else None)

    def ended_by(self, events: tuple[Any, ...], mask: Any, result: Any, t_end: Any, y_end: Any, terms: Any) -> Array:
        """The number of the event that ended a solve, or -1."""
        index = jnp.full((), -1, jnp.int32)
        occurred = list(mask or [])
        if self.numbers is not None:
            places = jnp.asarray(self.number_places, jnp.int32)
            # Before the end of a solve that no event ended there may be no state.
            crossed = occurred.pop(0)
            values = jax.lax.cond(
                crossed,
                lambda: self.numbers.each(t_end, y_end, terms),  # pyright: ignore[reportOptionalMemberAccess]
                lambda: jnp.zeros(len(self.number_places), self.numbers.signs.dtype),  # pyright: ignore
            )
            index = jnp.where(crossed, places[jnp.argmin(values)], index)
        for place, is_true in zip(self.truth_places, occurred, strict=True):
            index = jnp.where((index < 0) & is_true, place, index)
        for place, event in enumerate(events):
            if isinstance(event, NotFinite):
                index = jnp.where((index < 0) & (result == diffrax.RESULTS.dt_min_reached), place, index)
        return index


def _check(kind: str, name: str, value: Any, what: str, holds: Callable[[Any], Any]) -> None:
    if not isinstance(value, Tracer) and not (np.ndim(value) == 0 and np.isfinite(value) and holds(float(value))):
        raise ValueError(f"{kind} needs one number {name} that is {what}, got {value}.")
