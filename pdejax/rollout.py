"""Many steps of one stepper, classical or neural."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


@eqx.filter_jit
def rollout(
    stepper: Any,
    u0: Float[Array, "channel *space"],
    num_steps: int,
    *,
    t0: Any = 0.0,
    key: PRNGKeyArray | None = None,
    include_initial: bool = False,
) -> Float[Array, "time channel *space"]:
    """Applies `stepper` `num_steps` times and returns every state, `(num_steps, channel, *space)`.

    Step n is `stepper(u, t=t0 + n * stepper.dt, key=fold_in(key, n))`, so that a rollout continued from its own state
    n (with the same n) draws the same numbers. `include_initial` puts u0 in front.

    Raises `ValueError` when `num_steps` is below one, or the stepper has no `dt` or changes the state's shape.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be >= 1, got {num_steps}.")
    if not hasattr(stepper, "dt"):
        raise ValueError(
            f"{type(stepper).__name__} has no `dt`, so a rollout cannot tell it the time: wrap a model in "
            "pdejax.models.NeuralStepper(model, dt=...)."
        )

    # A state of whole numbers would cut every step down to whole numbers again.
    u0 = jnp.asarray(u0)
    if not jnp.issubdtype(u0.dtype, jnp.inexact):
        u0 = u0.astype(jnp.result_type(float))

    def step(u: Any, n: Array) -> tuple[Any, Any]:
        step_key = None if key is None else jax.random.fold_in(key, n)
        following = stepper(u, t=t0 + n * stepper.dt, key=step_key)
        if following.shape != u.shape:
            raise ValueError(
                f"{type(stepper).__name__} turns a state of shape {u.shape} into {following.shape}; a rollout feeds "
                "its output back, so the shapes must agree."
            )
        return following.astype(u.dtype), following.astype(u.dtype)

    _, states = jax.lax.scan(step, u0, jnp.arange(num_steps))
    return jnp.concatenate([u0[None], states]) if include_initial else states
