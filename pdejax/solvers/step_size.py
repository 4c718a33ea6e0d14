"""Step-size control by the size of the whole field, not coefficient by coefficient."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array


class FieldNormController(diffrax.AbstractAdaptiveStepSizeController):
    """Accepts a step when `|error| <= atol + rtol max(|y0|, |y1|)`, in the discretisation's norm (L2 over the box).

    A PID controller proper compares entry by entry; among Fourier coefficients that would weigh an empty mode like a
    full one and scale with the number of points. Here the PID logic sees one number, and tolerances mean the same at
    every resolution and in every representation. Steps are not differentiated: where they end does not change the
    solution, but for its error.
    """

    norm: Any
    rtol: Array
    atol: Array
    pid: diffrax.PIDController

    def __init__(self, norm: Any, rtol: Any, atol: Any, **pid: Any):
        self.norm = norm
        self.rtol, self.atol = jnp.asarray(rtol), jnp.asarray(atol)
        self.pid = diffrax.PIDController(rtol=0.0, atol=1.0, **pid)

    def wrap(self, direction: Any) -> "FieldNormController":
        return eqx.tree_at(lambda c: c.pid, self, self.pid.wrap(direction))

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, Any]:
        if dt0 is None:
            # A hundredth of the time in which the state changes by its own size (Hairer, Norsett & Wanner, II.4). Where
            # it is at rest nothing says how long that is: then a hundredth of the whole, or a force that starts from
            # zero, and is zero at all the times that one long step looks at, would never be seen.
            size, rate = self._size(y0), self._size(func(terms, t0, y0, args))
            guess = 0.01 * (self.atol / self.rtol + size) / jnp.where(rate > 0, rate, 1.0)
            dt0 = jnp.where(rate > 0, jnp.minimum(guess, t1 - t0), 0.01 * (t1 - t0))
        return self.pid.init(terms, t0, t1, jnp.zeros_like(self._size(y0)), dt0, args, func, error_order)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Any,
    ) -> Any:
        size = jnp.maximum(self._size(y0), self._size(y1_candidate))
        zero = jnp.zeros_like(size)
        scaled = self._size(y_error) / (self.atol + self.rtol * size)
        # A candidate that is not finite asks for a shorter step; NaN would be the length of all that follow.
        scaled = jnp.where(jnp.isnan(scaled), jnp.inf, scaled)
        return self.pid.adapt_step_size(t0, t1, zero, zero, args, scaled, error_order, controller_state)

    def resumed(self, t0: Any, state: Any, proposed: Any) -> tuple[Any, Any]:
        return proposed, state

    def _size(self, y: Any) -> Array:
        return self.norm(jax.lax.stop_gradient(y))
