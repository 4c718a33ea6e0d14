"""Many steps, and the fields after each of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.counts import count_of
from pdejax.yee.maxwell import YeeState
from pdejax.yee.stepper import YeeStepper


def rollout(
    stepper: YeeStepper, state: YeeState, num_steps: int | np.integer, *, t0: Any = 0.0, include_initial: bool = False
) -> tuple[Float[Array, "time channel *space"], YeeState]:
    """Calls `stepper` `num_steps` times: the fields after every call, `(num_steps, channel, *space)`, and the last
    state, to go on from at `t0 + num_steps * stepper.dt`.

    What `pdejax.rollout` does with steppers whose state is one array; the memory of layers is not among the frames.
    `include_initial` puts the initial fields in front.

    Raises `ValueError` when `num_steps` is no whole number of at least one, for a state that does not fit the stepper
    or is not finite; and, outside of compiled programs, `FloatingPointError` when the fields are no longer finite, with
    the time.
    """
    if not isinstance(stepper, YeeStepper):
        raise TypeError(f"yee.rollout takes a YeeStepper first, got {type(stepper).__name__}.")
    stepper.check_state(state)
    count = count_of("num_steps", num_steps)
    for name, values in [*stepper.maxwell.by_name(state.fields).items(), *state.memory.items()]:
        if not isinstance(values, Tracer) and not np.all(np.isfinite(np.asarray(values))):
            raise ValueError(f"The initial state is not finite: look at its {name}.")
    frames, last = _rollout(stepper, state, count, t0)
    if not isinstance(frames, Tracer):
        _check_end(stepper, frames, t0)
    if include_initial:
        frames = jnp.concatenate([jnp.asarray(state.fields, frames.dtype)[None], frames])
    return frames, last


@eqx.filter_jit
def _rollout(stepper: YeeStepper, state: YeeState, num_steps: int, t0: Any) -> tuple[Array, YeeState]:
    def step(state: YeeState, n: Array) -> tuple[YeeState, Array]:
        following = stepper(state, t=t0 + n * stepper.dt)
        return following, following.fields

    dtype = stepper.maxwell.grid.dtype
    state = jax.tree.map(lambda values: jnp.asarray(values, dtype), state)
    last, frames = jax.lax.scan(step, state, jnp.arange(num_steps))
    return frames, last


def _check_end(stepper: YeeStepper, frames: Array, t0: Any) -> None:
    if bool(jnp.all(jnp.isfinite(frames[-1]))):
        return
    finite = np.all(np.isfinite(np.asarray(frames)), axis=tuple(range(1, frames.ndim)))
    first, dt = int(np.argmin(finite)), float(stepper.dt)
    raise FloatingPointError(
        f"The fields are no longer finite between t = {float(t0) + first * dt:.6g} and "
        f"t = {float(t0) + (first + 1) * dt:.6g}. The Courant limit is {float(stepper.maxwell.largest_step()):.4g} and "
        f"a step {dt / stepper.substeps:.4g}: look at the current, and at coefficients that were traced."
    )
