"""Steps as long as the flow at the time allows: the Courant condition, read from the equation itself."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from pdejax.equations import Equation
from pdejax.fields.power_iteration import dominant_pair, norm
from pdejax.solvers.semilinear import AbstractSemilinearSolver
from pdejax.solvers.stability_region import ANGLES, stability_radii
from pdejax.solvers.terms import Space, encoded, terms_for
from pdejax.volumes import FiniteVolume

# Steps of finite volumes are halved down to this share of the limit.
_SHORTEST = 2.0**-8
# The CFL number of a step at its end, with the waves that are there then.
_BEYOND = 1.05
# Applications of the right-hand side's derivative before the first step, in pairs; every later step adds one pair.
_FIRST_PAIRS = 15


class CourantLimited(eqx.Module):
    r"""Every step is `fraction` of the largest that is stable at the state where it begins: `solve(..., dt=...)`.

    What is stable follows from the largest eigenvalue of the derivative of what the solver treats explicitly (the whole
    right-hand side, or `nonlinear` alone), in its own direction in the complex plane, and from the solver's stability
    region there. For transport that is the Courant condition; nobody has to name a velocity. The eigenvalue is tracked
    by a power iteration that goes on from step to step, for about the price of three evaluations of the right-hand side
    per step; it comes from below, by some percent: keep to fractions up to 0.8.

    Steps between output times stay equal while they are between 0.8 and 1 times what is allowed, and then fit the rest
    of the interval evenly: solvers whose coefficients or history belong to one step size keep them.

    Finite volumes have no smooth right-hand side; there the largest stable step is that of CFL number one, with the
    wave speeds that the law states. A step to a state that the law does not admit (a negative density), or whose waves
    are too fast for it (what flows in changed meanwhile), is taken again with half the length: with `positivity` and
    flux HLL it is proven to lead to no negative density at a CFL number of 1/12.

    It guards stability and nothing else: what changes without limiting the step (a force in time) is not seen.

    - `fraction`: in (0, 1].
    - `longest`: no step is longer.

    Raises `ValueError` for other values.
    """

    fraction: Any = 0.5
    longest: Any = None

    def __check_init__(self) -> None:
        for name, value, largest in (("fraction", self.fraction, 1), ("longest", self.longest, np.inf)):
            if value is not None and not isinstance(value, Tracer) and not 0 < float(value) <= largest:
                bound = "in (0, 1]" if largest == 1 else "positive"
                raise ValueError(f"CourantLimited needs {name} {bound}, got {value}.")


def disturbance(equation: Equation, space: Space, t: Any) -> Array:
    """A random change of the state, of norm one, with something of everything in it."""
    shape = (len(equation.components(space.grid.ndim)), *space.grid.shape)
    v = jax.random.normal(jax.random.key(0), shape, space.grid.dtype)
    change = encoded(space, equation, t, v) - encoded(space, equation, t, jnp.zeros_like(v))
    return change / norm(change)


class ExplicitPart(eqx.Module):
    """What a solver treats explicitly, as a function of time and state."""

    terms: Any
    is_semilinear: bool = eqx.field(static=True)

    @classmethod
    def of(cls, solver: diffrax.AbstractSolver, terms: Any) -> "ExplicitPart":
        return cls(terms, isinstance(solver, AbstractSemilinearSolver))

    def __call__(self, t: Any, y: Array) -> Array:
        return self.terms.nonlinear(t, y) if self.is_semilinear else self.terms.vf(t, y, None)


class _Waves(eqx.Module):
    """The largest rate at which waves cross cells of finite volumes, whose steps it limits."""

    law: Any
    space: FiniteVolume
    start: Array

    def __call__(self, t: Any, u: Array) -> Array:
        return jnp.max(self.space.courant_rates(self.law, self.start + t, u))

    def admits(self, u: Array) -> Array:
        return jnp.all(self.law.admissible(u))


def courant_controller(
    limited: CourantLimited, equation: Equation, space: Space, solver: Any, start: Array, times: Array
) -> "CourantController":
    """Raises `ValueError` for a solver whose stability region is not known."""
    if isinstance(space, FiniteVolume):
        explicit, nothing = _Waves(equation, space, start), jnp.zeros((), times.dtype)
        return CourantController(limited, explicit, nothing, nothing, times)
    radii = stability_radii(solver)
    if radii is None:
        raise ValueError(
            f"CourantLimited needs a solver whose explicit part has a known stability region, which "
            f"{type(solver).__name__} has not: take one of pdejax.solvers or an explicit one of diffrax."
        )
    explicit = ExplicitPart.of(solver, terms_for(solver, equation, space, start))
    return CourantController(
        limited, explicit, jnp.asarray(radii, times.dtype), disturbance(equation, space, start + times[0]), times
    )


class CourantController(diffrax.AbstractStepSizeController):
    """The step control of `CourantLimited`; its state is the tracked eigenvector and the present size of the steps."""

    limited: CourantLimited
    explicit: Any
    radii: Array
    start: Array
    times: Array

    def wrap(self, direction: Any) -> "CourantController":
        return self

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, Any]:
        track = lambda vector, _: (self._limit(t0, y0, vector)[1], None)  # noqa: E731
        vector, _ = jax.lax.scan(track, self.start, None, length=_FIRST_PAIRS)
        limit, vector = self._limit(t0, y0, vector)
        h = self._even(t0, limit, jnp.zeros_like(limit))
        return t0 + h, (vector, h, limit)

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1_candidate: Any, args: Any, y_error: Any, error_order: Any, state: Any
    ) -> Any:
        earlier, h, before = state
        limit, vector = self._limit(t1, y1_candidate, earlier)
        h = self._even(t1, limit, h)
        after = (vector, h, limit)
        if not isinstance(self.explicit, _Waves):
            return True, t1, t1 + h, False, after, diffrax.RESULTS.successful
        # A state that is none, with a negative density say, is stepped to once more with half the step; and one whose
        # waves are too fast for the step that led to it, because of what flows in meanwhile or of a source.
        half, within = (t1 - t0) / 2, self.limited.fraction * (t1 - t0) <= _BEYOND * limit
        keep, whole = self.explicit.admits(y1_candidate) & within, self.times[-1] - self.times[0]
        shortest = jnp.where(within, _SHORTEST * jnp.minimum(before, whole), _SHORTEST**4 * whole)
        again = jnp.where(half > shortest, t0 + half, t1)
        after = jax.tree.map(lambda new, old: jnp.where(keep, new, old), after, (earlier, half, before))
        return keep, jnp.where(keep, t1, t0), jnp.where(keep, t1 + h, again), False, after, diffrax.RESULTS.successful

    def resumed(self, t0: Any, state: Any, proposed: Any) -> tuple[Any, Any]:
        vector, h, limit = state
        h = self._even(t0, limit, h)
        return t0 + h, (vector, h, limit)

    def _limit(self, t: Any, y: Any, vector: Any) -> tuple[Array, Any]:
        # As in all step control: where steps end does not change the solution, but for its error.
        still = lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf  # noqa: E731
        y, explicit = jax.tree.map(still, (y, self.explicit))
        if isinstance(explicit, _Waves):
            modulus, radius = explicit(t, y), 1.0
        else:
            _, derivative = jax.linearize(lambda v: explicit(t, v), y)
            modulus, angle, vector = dominant_pair(derivative, vector)
            radius = jnp.interp(angle, jnp.asarray(ANGLES, modulus.dtype), self.radii)
        limit = jnp.where(modulus > 0, self.limited.fraction * radius / jnp.where(modulus > 0, modulus, 1), jnp.inf)
        if self.limited.longest is not None:
            limit = jnp.minimum(limit, self.limited.longest)
        return limit, vector

    def _even(self, t: Any, limit: Array, h: Array) -> Array:
        """The step from t: the present one where it still does, and an even part of the rest of the interval."""
        index = jnp.searchsorted(self.times, t, side="right")
        rest = self.times[jnp.minimum(index, len(self.times) - 1)] - t
        stays = (0.8 * limit <= h) & (h <= limit)
        size = jnp.where(stays, h, limit)
        # What rounding adds to a whole number of steps is no step.
        count = jnp.maximum(jnp.ceil(rest / size - 1e-3), 1)
        # At the last time there is nothing to fit into: a solve that goes on from there knows what.
        return jnp.where(index < len(self.times), rest / count, h)
