"""Steps that end on the output times, and stop where no step can be taken."""

import itertools
from typing import Any

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# Diffrax ends a step at the end of a solve when it would end within 100 roundings of it. Every output time is treated
# so, a little more generously: a solve that is cut at an output time then takes the steps of the whole one.
_NEAR = 128


class OutputTimes(diffrax.AbstractStepSizeController):
    """`controller`, with steps that end exactly on `times`.

    A step to a state that is not finite is never accepted. Where the controller has no shorter one to offer, or only
    such as vanish in the rounding of the time, the solve ends with `dt_min_reached` and the last finite state.

    Its state holds the end that `controller` proposed for the next step, and `resumed` makes of it the control of a
    solve that goes on from there: diffrax would choose a first step anew.
    """

    controller: Any
    times: Float[Array, " time"]
    proposed: Any = None

    def wrap(self, direction: Any) -> "OutputTimes":
        return OutputTimes(self.controller.wrap(direction), self.times, self.proposed)

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, Any]:
        if self.proposed is None:
            proposed, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        else:
            # The state is given to diffrax beside this, and this one dropped.
            proposed, inner = self.proposed, None
        proposed = jnp.asarray(proposed, self.times.dtype)
        return self._clipped(t0, proposed, True), (inner, proposed)

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1_candidate: Any, args: Any, y_error: Any, error_order: Any, state: Any
    ) -> Any:
        inner, _ = state
        keep, start, proposed, made_jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        finite = all_finite(y1_candidate)
        keep = keep & finite
        start = jnp.where(keep, start, t0)
        rounding = jnp.finfo(self.times.dtype).eps
        # At t = 0 there is no rounding of the time; its square, of the whole, is as good as nothing.
        least = 4 * rounding * jnp.maximum(jnp.abs(start), rounding * jnp.abs(self.times[-1]))
        stuck = ~keep & ~((proposed - start > least) & (proposed < t1))
        result = diffrax.RESULTS.where(stuck, diffrax.RESULTS.dt_min_reached, result)
        return keep, start, self._clipped(start, proposed, keep), made_jump, (inner, proposed), result

    def resumed(self, t0: Any, state: Any) -> "tuple[OutputTimes, Any]":
        """The control and its state of a solve that goes on from `state`."""
        proposed, inner = self.controller.resumed(t0, *state)
        return OutputTimes(self.controller, self.times, proposed), (inner, proposed)

    def _clipped(self, start: Array, end: Array, snaps: Any) -> Array:
        index = jnp.searchsorted(self.times, start, side="right")
        target = jnp.where(index < len(self.times), self.times[jnp.minimum(index, len(self.times) - 1)], jnp.inf)
        margin = jnp.where(snaps, _NEAR * jnp.finfo(self.times.dtype).eps * jnp.abs(target), 0)
        return jnp.where((end > target - margin) & jnp.isfinite(target), target, end)


class FixedSteps(diffrax.StepTo):
    """Steps to prescribed times; one that leads to a state that is not finite ends the solve before it."""

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1_candidate: Any, args: Any, y_error: Any, error_order: Any, state: Any
    ) -> Any:
        _, end, following, made_jump, state, result = super().adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, state
        )
        keep = all_finite(y1_candidate)
        result = diffrax.RESULTS.where(keep, result, diffrax.RESULTS.dt_min_reached)
        return keep, jnp.where(keep, end, t0), following, made_jump, state, result


def all_finite(y: Array) -> Bool[Array, ""]:
    return jnp.all(jnp.isfinite(y))


def checked_times(ts: Any) -> Float[np.ndarray, " time"]:
    """Raises `ValueError` unless these are at least two finite, increasing times."""
    times = np.asarray(ts, dtype=float)
    if times.ndim != 1 or len(times) < 2 or not np.all(np.isfinite(times)) or not np.all(np.diff(times) > 0):
        raise ValueError(
            f"ts must be at least two finite, increasing times, got {np.array2string(times, threshold=6)}."
        )
    return times


def fixed_steps(times: np.ndarray, dt: float) -> np.ndarray:
    """Every step's end: each output interval in equal parts no longer than dt (but for rounding)."""
    counts = [max(1, int(np.ceil((b - a) / dt * (1 - 1e-9)))) for a, b in itertools.pairwise(times)]
    parts = [np.linspace(a, b, n + 1)[1:] for a, b, n in zip(times[:-1], times[1:], counts, strict=True)]
    return np.concatenate([times[:1], *parts])


def check_resolved(elapsed: np.ndarray, start: float, dtype: np.dtype, what: str) -> None:
    """Raises `ValueError` where neighbouring times, counted from `start`, are one number in `dtype`."""
    same = np.flatnonzero(np.diff(elapsed.astype(dtype)) <= 0)
    if len(same):
        first, a, b = [float(time) for time in (start, *(start + elapsed[same[0] : same[0] + 2]))]
        raise ValueError(
            f"The {what} are too close for {dtype}: {a!r} and {b!r} are one number, counted from {first!r}. Use a "
            "float64 grid (with jax_enable_x64), longer steps, or several solves one after another."
        )
