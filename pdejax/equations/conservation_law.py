"""Conservation laws: equations that say what flows through a face."""

import abc
import functools
import operator
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pdejax.equations.equation import Equation
from pdejax.fields import AbstractField

States = Float[Array, "channel *place"]
Speeds = Float[Array, "*place"]


class ConservationLaw(Equation):
    r"""`u_t + sum over axes a of d f_a(u) / dx_a = s(t, x, u)`.

    A subclass states, as functions of arrays whose first axis is the component,

    - `flux(u, axis)`: f_a.
    - `wave_speeds(left, right, axis)`: bounds of the speeds of the slowest and the fastest wave between two states.
    - `source(t, x, u)`: s, or None; `x` is the position, `(ndim, *place)`.
    - `higher_derivatives(u)`: terms to add on the right that are linear, with constant coefficients, in second and
      higher derivatives, in the words of fields as `Equation.linear` (which they are, where a law says nothing else).

    and, where it has them, what better schemes ask for:

    - `positive(u)`: quantities that must be positive, by name, concave functions of the state, each `(*place)`.
    - `primitive(u)` and `conserved(w)`: other variables to reconstruct, and back.
    - `eigensystem(left, right, axis)`: the waves of the law linearised between two states, as `(speeds, to_state,
      to_waves)` of shapes `(wave, *place)`, `(channel, wave, *place)` and `(wave, channel, *place)`; the last two are
      inverse to each other.
    - `contact_speed` and `behind_wave`: the middle wave of HLLC, and the state between it and an outer one.
    - `reflected(u, axis)`: the mirror image of a state in a wall across `axis`.

    `FiniteVolume` reads these. All other readings (Fourier, finite differences, pointwise) read the same law as
    `nonlinear`, the divergence of the flux, for solutions without shocks.
    """

    @abc.abstractmethod
    def flux(self, u: States, axis: int) -> States: ...

    @abc.abstractmethod
    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]: ...

    def source(self, t: Any, x: Float[Array, "axis *place"], u: States) -> States | None:
        return None

    def higher_derivatives(self, u: AbstractField) -> AbstractField | None:
        return None

    @property
    def has_higher_derivatives(self) -> bool:
        return type(self).higher_derivatives is not ConservationLaw.higher_derivatives

    def positive(self, u: States) -> dict[str, Float[Array, "*place"]]:
        return {}

    def admissible(self, u: States) -> Bool[Array, "*place"]:
        """Where the state is finite and what must be positive is."""
        is_finite = jnp.all(jnp.isfinite(u), axis=0)
        return functools.reduce(operator.and_, (value > 0 for value in self.positive(u).values()), is_finite)

    def primitive(self, u: States) -> States:
        return u

    def conserved(self, w: States) -> States:
        return w

    def eigensystem(self, left: States, right: States, axis: int) -> tuple[Array, Array, Array]:
        raise self._lacks("eigensystem", 'the waves of the law (`Roe`, variables="characteristic")')

    def contact_speed(self, left: States, right: States, slowest: Speeds, fastest: Speeds, axis: int) -> Speeds:
        raise self._lacks("contact_speed", "a middle wave (`HLLC`)")

    def behind_wave(self, u: States, speed: Speeds, contact: Speeds, axis: int) -> States:
        raise self._lacks("behind_wave", "a middle wave (`HLLC`)")

    def reflected(self, u: States, axis: int) -> States:
        raise self._lacks("reflected", "walls that reflect")

    def _lacks(self, member: str, what: str) -> ValueError:
        name = type(self).__name__
        return ValueError(f"{name} does not state {what}: define {name}.{member}, or choose what does not need it.")

    def linear(self, u: AbstractField) -> AbstractField:
        higher = self.higher_derivatives(u)
        return super().linear(u) if higher is None else higher

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        total: Any = None
        for axis in range(u.ndim):
            flux: Any = u.map(lambda values, axis=axis: self.flux(values, axis))
            total = -flux.derivative(axis) if total is None else total - flux.derivative(axis)
        if type(self).source is ConservationLaw.source:
            return total
        # As values, both: a position taken apart into waves would ring, for it jumps around a periodic box.
        position = u.coordinates * u[0].map(jnp.ones_like)
        together = u.map(lambda values: values).stack(*position)
        count = u.num_components
        return total + together.map(lambda values: self.source(t, values[count:], values[:count]))
