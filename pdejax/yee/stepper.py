"""Yee's leapfrog: H half a step behind E, and both at one time between calls."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pdejax.yee.lattice import free
from pdejax.yee.maxwell import Maxwell, YeeState

# A step at the limit itself, exact along a line, may be above it by rounding.
_ROUNDINGS = 16


class YeeStepper(eqx.Module):
    r"""Advances a state by `dt` in `substeps` leapfrog steps of `h = dt / substeps`.

        permeability (H^{n+1/2} - H^{n-1/2}) / h = -curl E^n
        permittivity (E^{n+1} - E^n) / h = curl H^{n+1/2} - conductivity (E^{n+1} + E^n) / 2 - J^{n+1/2}

    A state has E and H at the same time, `H^n = (H^{n+1/2} + H^{n-1/2}) / 2`: half a step of H opens a call and closes
    it, which changes nothing about the scheme. Of second order; stable up to the Courant limit, whatever the
    conductivity is.

    - `maxwell`: what is solved.
    - `dt`: the interval of one call, > 0. An array leaf.
    - `substeps`: steps per call; as few as are stable by default. Many of them cost less than as many calls.

    `stepper(state, t=t)` returns the state at `t + dt`. Not jitted by itself; jit, vmap and grad apply. `yee.rollout`
    makes many calls.

    Raises `ValueError` where a step is longer than the Courant limit; nothing is looked at where dt or the coefficients
    are traced, and `substeps` is then needed.

    Source: Yee, IEEE Trans. Antennas Propag. 14 (1966) 302; the conductivity: Taflove & Hagness, Computational
    Electrodynamics (2005), section 3.6.
    """

    maxwell: Maxwell
    dt: Float[Array, ""]
    substeps: int = eqx.field(static=True)

    def __init__(self, maxwell: Maxwell, dt: Any, substeps: int | None = None):
        if not isinstance(maxwell, Maxwell):
            raise TypeError(f"YeeStepper takes a Maxwell(grid, ...), got {maxwell!r}.")
        if isinstance(dt, str) or np.ndim(dt) != 0:
            raise ValueError(f"dt must be one number, got {dt!r}; to vary it, jax.vmap over steppers.")
        if not isinstance(dt, Tracer) and not (np.isfinite(float(dt)) and float(dt) > 0):
            raise ValueError(f"dt must be positive and finite, got {dt}.")
        self.maxwell = maxwell
        self.dt = jnp.asarray(dt, maxwell.grid.dtype)
        limit = maxwell.largest_step()
        is_known = not isinstance(limit, Tracer) and not isinstance(dt, Tracer)
        needed = 1
        if is_known:
            allowed = float(limit) * (1 + _ROUNDINGS * float(jnp.finfo(maxwell.grid.dtype).eps))
            needed = max(1, math.ceil(float(dt) / allowed))
        elif substeps is None:
            raise ValueError("With a traced dt or traced coefficients the number of steps is not known: give substeps.")
        if substeps is None:
            substeps = needed
        if isinstance(substeps, bool) or not isinstance(substeps, int | np.integer) or substeps < 1:
            raise ValueError(f"substeps must be a whole number >= 1, got {substeps!r}.")
        if is_known and substeps < needed:
            raise ValueError(
                f"A step of {float(dt) / substeps:.4g} is longer than the Courant limit {float(limit):.4g} = "
                f"1/(c sqrt(sum 1/h^2)), with c = {float(jnp.max(maxwell.speeds())):.4g}: use substeps >= {needed}, or "
                "a smaller dt."
            )
        self.substeps = int(substeps)

    def __call__(self, state: YeeState, *, t: Any = 0.0, key: Any = None) -> YeeState:
        """The state at `t + dt`. `key` is accepted for the sake of the common shape, and not used.

        Raises `ValueError` for a state of other components, another grid or other layers.
        """
        self.check_state(state)
        maxwell, dtype = self.maxwell, self.maxwell.grid.dtype
        h, start = self.dt / self.substeps, jnp.asarray(t, dtype)
        stretchings = maxwell.stretchings(h)
        x = {name: maxwell.positions(name) for name in maxwell.current}
        # (1 - a) E + ... over 1 + a, with a = conductivity h / (2 permittivity), is the mean of E before and after.
        lost = {name: maxwell.conductivity[name] * h / (2 * maxwell.permittivity[name]) for name in maxwell.electric}

        def kick(fields: Any, memory: Any, length: Any, renew: bool) -> Any:
            following = dict(fields)
            for name in maxwell.magnetic:
                curl, memory = maxwell.curl(name, fields, stretchings, memory, renew)
                following[name] = fields[name] - length / maxwell.permeability[name] * curl
            return following, memory

        def drift(fields: Any, memory: Any, middle: Any) -> Any:
            following = dict(fields)
            for name in maxwell.electric:
                curl, memory = maxwell.curl(name, fields, stretchings, memory, True)
                rate = (curl - self._current(name, x, middle)) / maxwell.permittivity[name]
                following[name] = ((1 - lost[name]) * fields[name] + h * rate) / (1 + lost[name])
            return following, memory

        def step(carry: Any, i: Array) -> tuple[Any, None]:
            # Times by multiplication: adding h again and again drifts in float32.
            fields, memory = carry
            fields, memory = drift(fields, memory, start + (i + 0.5) * h)
            return kick(fields, memory, h, True), None

        carry = kick(maxwell.by_name(jnp.asarray(state.fields, dtype)), state.memory, h / 2, False)
        (fields, memory), _ = jax.lax.scan(step, carry, jnp.arange(self.substeps))
        fields, memory = kick(fields, memory, -h / 2, False)
        return YeeState(jnp.stack([fields[name] for name in maxwell.components]), memory)

    def conserved_energy(self, state: YeeState) -> Float[Array, ""]:
        r"""`integral of (permittivity E^n . E^n + permeability H^{n+1/2} . H^{n-1/2}) / 2`, which the scheme conserves
        exactly without conductivity, currents and layers. A conductivity lowers it at every step.
        """
        self.check_state(state)
        maxwell, h = self.maxwell, self.dt / self.substeps
        parts = maxwell.by_name(state.fields)
        # H half a step before and after is H^n + d and H^n - d, with the same d.
        lag = [
            maxwell.curl(name, parts, {}, {}, False)[0] ** 2 / maxwell.permeability[name] for name in maxwell.magnetic
        ]
        return maxwell.energy(state.fields) - h**2 / 8 * maxwell.integral(sum(lag))

    def check_state(self, state: Any) -> None:
        """Raises `ValueError` for a state of other components, another grid or other layers, and `TypeError` for what
        is no state."""
        if not isinstance(state, YeeState):
            raise TypeError(f"YeeStepper advances what Maxwell.initial(...) returns, got a {type(state).__name__}.")
        maxwell = self.maxwell
        maxwell.grid.check_state(state.fields, len(maxwell.components))
        given, needed = {key: one.shape for key, one in state.memory.items()}, maxwell.memory_shapes()
        if given != needed:
            raise ValueError(
                f"The state remembers layers {given}, and those of this stepper are {needed}: begin with its own "
                "maxwell.initial(...)."
            )

    def _current(self, name: str, x: dict[str, Array], t: Any) -> Array:
        if name not in self.maxwell.current:
            return jnp.zeros((), self.maxwell.grid.dtype)
        value, shape = jnp.asarray(self.maxwell.current[name](x[name], t)), self.maxwell.grid.shape
        if value.shape not in ((), shape):
            raise ValueError(f"The current along {name} has shape {value.shape}: return one value per place, {shape}.")
        return value.astype(self.maxwell.grid.dtype) * free(self.maxwell.grid, name)
