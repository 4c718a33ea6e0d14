"""A model of the rate of change as a model of the next state."""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of

Method = Literal["euler", "rk4"]
_METHODS = ("euler", "rk4")


class Integrated(eqx.Module):
    r"""The state after an interval, where `model` says how fast it changes: du/dt = model(u), in steps of equal length.

        "euler":  u <- u + h model(u)          "rk4":  the classical Runge-Kutta method of order four

    So what was trained on rates (`pdejax.objectives.Derivative`) steps by any interval, and where `Unrolled` trains it,
    it is trained through its own integrator. A model of the increment over dt belongs to "euler" with one step.

    - `model`: `(channel, *space) -> (channel, *space)`, du/dt in physical units; it knows no time but the state's.
    - `interval`: the time between states; without it that of each trajectory, `parameters["output_interval"]`.
    - `substeps`: steps per interval.

    Raises `ValueError` for an interval that is not positive, `substeps` below one and unknown methods; at trace time
    for a rate of another shape than the state, and without any interval.
    """

    model: Any
    interval: float | None = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    def __init__(self, model: Any, interval: Any = None, substeps: int = 1, method: Any = "rk4"):
        if isinstance(model, type) or not callable(model):
            given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
            raise ValueError(f"Integrated steps a model that is built, e.g. FNO(...), got {given}.")
        if interval is not None and not 0 < float(interval) < float("inf"):
            raise ValueError(f"Integrated needs an interval > 0, got {interval}.")
        if method not in _METHODS:
            raise ValueError(f"Integrated has the methods {_METHODS}, got {method!r}.")
        self.model, self.interval = model, None if interval is None else float(interval)
        self.substeps, self.method = count_of("substeps", substeps), method

    @property
    def input_scale(self) -> Any:
        """That of the model of the rate."""
        return getattr(self.model, "input_scale", 1.0)

    @property
    def output_scale(self) -> Any:
        """The size of an increment: that of the rate times the interval, or times one where there is none."""
        return getattr(self.model, "output_scale", 1.0) * (1.0 if self.interval is None else self.interval)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel *space"]:
        interval = self.interval
        if interval is None:
            interval = None if parameters is None else parameters.get("output_interval")
        if interval is None:
            raise ValueError(
                "Integrated needs the time between states: Integrated(model, interval=...), or trajectories whose "
                "parameters hold `output_interval`."
            )
        if jnp.shape(interval) != ():
            raise ValueError(f"`output_interval` is one number for a state, got the shape {jnp.shape(interval)}.")
        u = u if jnp.issubdtype(u.dtype, jnp.inexact) else u.astype(jnp.result_type(float))
        h = jnp.asarray(interval, u.dtype) / self.substeps

        def rate(state: Array, key: Any) -> Array:
            found = self.model(state, parameters, domain=domain, key=key)
            if found.shape != state.shape:
                raise ValueError(f"The rate of a state of shape {state.shape} has that shape, and not {found.shape}.")
            return found.astype(state.dtype)

        def step(state: Array, key: Any) -> tuple[Array, None]:
            first = rate(state, key)
            if self.method == "euler":
                return state + h * first, None
            second = rate(state + h / 2 * first, key)
            third = rate(state + h / 2 * second, key)
            fourth = rate(state + h * third, key)
            return state + h / 6 * (first + 2 * second + 2 * third + fourth), None

        keys = None if key is None else jax.random.split(key, self.substeps)
        return jax.lax.scan(step, u, keys, self.substeps)[0]
