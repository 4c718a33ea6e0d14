"""A learned map as a time stepper, of the same call as a classical one."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.nn.checks import check_is_model


class NeuralStepper(eqx.Module):
    """`stepper(u, *, t=0.0, key=None) -> u(t + dt)` from `model(u, parameters, domain=domain, key=key)`.

    - `model`: takes and returns states in physical units, `(channel, *space)`.
    - `dt`: the time between the frames it was trained on.
    - `domain`, `parameters`: passed on to every call of the model. The model is autonomous: `t` is not used.

    Raises `ValueError` for a `dt` that is not positive, and for something that cannot be called, or a class, as model.
    """

    model: Any
    dt: float
    domain: Any
    parameters: dict[str, Any] | None

    def __init__(self, model: Any, dt: float, domain: Any = None, parameters: Mapping[str, Any] | None = None):
        check_is_model(model, "NeuralStepper")
        if not dt > 0:
            raise ValueError(f"NeuralStepper needs dt > 0, got {dt}.")
        self.model, self.dt, self.domain = model, float(dt), domain
        self.parameters = None if parameters is None else dict(parameters)

    def __call__(
        self, u: Float[Array, "channel *space"], *, t: Any = 0.0, key: PRNGKeyArray | None = None
    ) -> Float[Array, "channel *space"]:
        return self.model(u, self.parameters, domain=self.domain, key=key)
