"""Conservation laws: equations that say what flows through a face."""

import abc
import functools
import operator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pdejax.equations.equation import Equation
from pdejax.fields import AbstractField
from pdejax.volumes import HLL, AbstractNumericalFlux

States = Float[Array, "channel *place"]  # components, and the parameters of the medium
Rates = Float[Array, "component *place"]
Speeds = Float[Array, "*place"]


class ConservationLaw(Equation):
    r"""`u_t + sum over axes a of d (f_a(u) - g_a(u, grad u)) / dx_a = s(t, x, u)`.

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
    - `fan(left, right, axis)`: an approximate solution of the Riemann problem by constant states, for HLLD: the waves'
      speeds `(wave, *place)`, slowest first, and the states `(wave + 1, channel, *place)` between them, the two outer
      ones included. These may differ from `left` and `right` by what has to be the same on both sides of a face.
    - `solenoidal(ndim)`: the components, one per axis, of a field that stays without sources.
    - `reflected(u, axis)`: the mirror image of a state in a wall across `axis`; `released(u, axis)`: in a free surface;
      `halted(u, axis)`: in a wall that it sticks to.
    - `default_flux()`: the numerical flux where none is asked for.
    - `parameters(ndim)` and `medium(x, u)`: the names and the values `(parameter, *place)` of what the law reads of the
      place, a bottom or a stiffness. The states that members are given then end with these, after the components;
      fluxes and sources have none. (`positive` has to do without.)
    - `push(below, above, axis)` and `at_step(left, right, axis)`: what a change of the medium does along the way from
      one state to another (the rate times the distance), and the two states which the flux between them sees.
    - `level(u)` and `from_level(w)`: the components in terms of what is constant where the law is at rest in its
      medium, and back: the surface of water in place of its depth.
    - `check_jumps()`: raises `ValueError` where components jump with the medium, without a wave: numerical fluxes that
      dissipate jumps (all but `FluxWaves`) ask first.
    - `diffusive_flux(w, gradient, axis)`: g_a, of primitive variables and their gradient, `(axis, channel, *place)`;
      with `largest_diffusivity(u)`, a bound of how fast anything spreads, for the length of steps.

    For example the p-system with friction, `v_t - u_x = 0, u_t + (v^-1.4)_x = -u / 2`:

        class Tube(ConservationLaw):
            def components(self, ndim):              return ("volume", "velocity")
            def flux(self, u, axis):                 return jnp.stack([-u[1], u[0] ** -1.4])
            def source(self, t, x, u):               return jnp.stack([0 * u[1], -u[1] / 2])
            def positive(self, u):                   return {"volume": u[0]}
            def wave_speeds(self, left, right, axis):
                fastest = jnp.sqrt(1.4) * jnp.minimum(left[0], right[0]) ** -1.2
                return -fastest, fastest

    `is_local` is False where a medium is made of all cells at once, which many devices would have to share.

    `FiniteVolume` reads these. All other readings (Fourier, finite differences, pointwise) read the same law as
    `nonlinear`, the divergence of the flux, for solutions without shocks.
    """

    is_local: ClassVar[bool] = True

    @abc.abstractmethod
    def flux(self, u: States, axis: int) -> Rates: ...

    @abc.abstractmethod
    def wave_speeds(self, left: States, right: States, axis: int) -> tuple[Speeds, Speeds]: ...

    def source(self, t: Any, x: Float[Array, "axis *place"], u: States) -> Rates | None:
        return None

    def higher_derivatives(self, u: AbstractField) -> AbstractField | None:
        return None

    @property
    def has_higher_derivatives(self) -> bool:
        return type(self).higher_derivatives is not ConservationLaw.higher_derivatives

    @property
    def spreads(self) -> bool:
        """Whether there is a diffusive flux."""
        return self._states("diffusive_flux")

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

    def behind_wave(self, u: States, speed: Speeds, contact: Speeds, axis: int) -> Rates:
        raise self._lacks("behind_wave", "a middle wave (`HLLC`)")

    def fan(self, left: States, right: States, axis: int) -> tuple[Array, Array]:
        raise self._lacks("fan", "the states between its waves (`HLLD`)")

    def solenoidal(self, ndim: int) -> tuple[int, ...]:
        return ()

    def reflected(self, u: States, axis: int) -> States:
        raise self._lacks("reflected", "walls that reflect")

    def halted(self, u: States, axis: int) -> States:
        raise self._lacks("halted", "walls that it sticks to")

    def check_state(self, u: States, grid: Any, reflects: list[bool]) -> None:
        """Raises `ValueError` for a state that makes no sense with walls that reflect, said for each axis."""

    def default_flux(self) -> AbstractNumericalFlux:
        return HLL()

    def released(self, u: States, axis: int) -> States:
        raise self._lacks("released", "surfaces that are free")

    def parameters(self, ndim: int) -> tuple[str, ...]:
        return ()

    def medium(self, x: Float[Array, "axis *place"], u: States | None) -> Float[Array, "parameter *place"]:
        raise self._lacks("medium", f"the values of {self.parameters(x.shape[0])}")

    def push(self, below: States, above: States, axis: int) -> Rates | None:
        return None

    def at_step(self, left: States, right: States, axis: int) -> tuple[States, States]:
        return left, right

    def check_jumps(self) -> None:
        """Nothing to refuse."""

    def level(self, u: States) -> States:
        return u

    def from_level(self, w: States) -> States:
        return w

    def diffusive_flux(self, w: States, gradient: Float[Array, "axis channel *place"], axis: int) -> Rates:
        raise self._lacks("diffusive_flux", "how it spreads")

    def largest_diffusivity(self, u: States) -> Float[Array, "*place"] | None:
        return None

    def _lacks(self, member: str, what: str) -> ValueError:
        name = type(self).__name__
        return ValueError(
            f"{name} does not state {what}: define {name}.{member}, or choose what does not need it "
            "(`HLL`, primitive variables, `Outflow`)."
        )

    def linear(self, u: AbstractField) -> AbstractField:
        higher = self.higher_derivatives(u)
        return super().linear(u) if higher is None else higher

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        has_medium = bool(self.parameters(u.ndim))
        whole = u
        if has_medium:
            # As values, both: a medium taken apart into waves would ring beside its jumps, to wrong signs even.
            medium = u.coordinates.map(lambda x: self.medium(x, None)) * u[0].map(jnp.ones_like)
            whole = u.map(lambda values: values).stack(*medium)
        fluxes = [whole.map(functools.partial(self.flux, axis=a)) for a in range(u.ndim)]
        for flux in fluxes:
            if flux.num_components != u.num_components:
                raise ValueError(
                    f"{type(self).__name__}.flux returns one number per component, {u.num_components}, and this one "
                    f"{flux.num_components}."
                )
        terms = [-flux.derivative(a) for a, flux in enumerate(fluxes)]
        if has_medium and self._states("push"):
            terms += [self._pushed(whole, axis) for axis in range(u.ndim)]
        if self.spreads:
            terms += self._spread(whole)
        if self._states("source"):
            count, ndim = whole.num_components, u.ndim
            # As values, both: a position taken apart into waves would ring, for it jumps around a periodic box.
            position = u.coordinates * u[0].map(jnp.ones_like)
            together = whole.map(lambda values: values).stack(*position)
            terms.append(together.map(lambda values: self.source(t, values[count : count + ndim], values[:count])))
        return functools.reduce(operator.add, terms)

    def _states(self, member: str) -> bool:
        return getattr(type(self), member) is not getattr(ConservationLaw, member)

    def _pushed(self, whole: Any, axis: int) -> Any:
        """What the medium does over a short way, per length."""
        count = whole.num_components

        def per_length(values: Array) -> Array:
            state, slope = values[:count], values[count:]
            over = lambda way: self.push(state, state + way, axis)  # noqa: E731
            return jax.jvp(over, (jnp.zeros_like(slope),), (slope,))[1]

        return whole.stack(whole.derivative(axis)).map(per_length)

    def _spread(self, whole: Any) -> list[Any]:
        """The divergence of the diffusive flux, term by term."""
        ndim, w = whole.ndim, whole.map(self.primitive)
        count, together = w.num_components, w.stack(*[w.derivative(axis) for axis in range(ndim)])

        def flux(values: Array, axis: int) -> Array:
            gradient = values[count:].reshape(ndim, count, *values.shape[1:])
            return self.diffusive_flux(values[:count], gradient, axis)

        return [together.map(functools.partial(flux, axis=axis)).derivative(axis) for axis in range(ndim)]
