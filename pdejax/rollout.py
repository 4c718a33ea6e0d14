"""Many steps of one stepper, classical or neural."""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of


def rollout(
    stepper: Any,
    u0: Float[Array | np.ndarray, "channel *space"],
    num_steps: int | np.integer,
    *,
    t0: Any = 0.0,
    key: PRNGKeyArray | None = None,
    include_initial: bool = False,
) -> Float[Array, "time channel *space"]:
    """Applies `stepper` `num_steps` times and returns every state, `(num_steps, channel, *space)`.

    Step n is `stepper(u, t=t0 + n * stepper.dt, key=fold_in(key, n))`, so that a rollout continued from its own state
    n (with the same n) draws the same numbers. `include_initial` puts u0 in front.

    All frames have the finer one of the dtypes of u0 and of what the stepper makes of it: single-precision data on a
    float64 grid are stepped, and returned, in double precision.

    A state that is no longer finite is followed by more of them: a `RuntimeWarning` names the step, outside of compiled
    programs.

    Raises `ValueError` when `num_steps` is no whole number of at least one, when the stepper cannot be called, has no
    `dt` or changes the state's shape, and for a class or an array in the stepper's place.
    """
    _check_stepper(stepper)
    count = count_of("num_steps", num_steps)
    u0 = jnp.asarray(u0)
    if not jnp.issubdtype(u0.dtype, jnp.inexact):
        # A state of whole numbers would cut every step down to whole numbers again.
        u0 = u0.astype(jnp.result_type(float))
    states = _rollout(stepper, u0, count, t0, key, include_initial)
    if not isinstance(states, Tracer):
        warn_of_blow_up(stepper, states, int(include_initial))
    return states


def warn_of_blow_up(stepper: Any, states: Array, num_given: int, every: int = 1) -> None:
    """Warns the caller's caller where states, of which the first `num_given` were given and the others are `every`
    steps apart, are not finite at the end."""
    if bool(jnp.all(jnp.isfinite(states[-1]))):
        return
    # Of frames that are cut over processes this one may hold a part.
    is_lost = ~np.asarray(jnp.all(jnp.isfinite(states), axis=tuple(range(1, states.ndim))))
    frame = int(np.argmax(is_lost)) + 1 - num_given
    step = every * frame
    how = "stepper.check_step(u0) names the largest stable step" if hasattr(stepper, "check_step") else ""
    what = f"is not finite after step {step}" if step else "is not finite to begin with"
    others = ", nor are those that follow" if frame < len(states) - num_given else ""
    warnings.warn(
        f"The rollout of {type(stepper).__name__} {what}{others}{f': {how}' if how else ''}.",
        RuntimeWarning,
        stacklevel=3,
    )


def _check_stepper(stepper: Any) -> None:
    takes = "rollout(stepper, u0, num_steps) takes the stepper first"
    if isinstance(stepper, type):
        raise ValueError(f"{takes}, got the class {stepper.__name__}: make one, {stepper.__name__}(...).")
    if isinstance(stepper, jax.Array | np.ndarray):
        raise ValueError(f"{takes} and the state second, got an array of shape {stepper.shape} first.")
    if not callable(stepper):
        raise ValueError(f"{takes}, got a {type(stepper).__name__}, which cannot be called.")
    if not hasattr(stepper, "dt"):
        raise ValueError(
            f"{type(stepper).__name__} has no `dt`, so a rollout cannot tell it the time: wrap a model in "
            "pdejax.models.NeuralStepper(model, dt=...)."
        )


@eqx.filter_jit
def _rollout(stepper: Any, u0: Array, num_steps: int, t0: Any, key: Any, include_initial: bool) -> Array:
    def advance(u: Array, n: Any) -> Array:
        step_key = None if key is None else jax.random.fold_in(key, n)
        following = stepper(u, t=t0 + n * stepper.dt, key=step_key)
        if following.shape != u.shape:
            raise ValueError(
                f"{type(stepper).__name__} turns a state of shape {u.shape} into {following.shape}; a rollout feeds "
                "its output back, so the shapes must agree."
            )
        return following

    def step(u: Array, n: Array) -> tuple[Array, Array]:
        following = advance(u, n).astype(u.dtype)
        return following, following

    steps = jnp.arange(num_steps)
    # Settled before the loop, in which no dtype may change: twice, where the output in the finer one is finer again.
    while (dtype := jnp.promote_types(u0.dtype, jax.eval_shape(advance, u0, steps[0]).dtype)) != u0.dtype:
        u0 = u0.astype(dtype)
    _, states = jax.lax.scan(step, u0, steps)
    return jnp.concatenate([u0[None], states]) if include_initial else states
