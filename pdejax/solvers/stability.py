"""Whether a fixed step is stable at a state, before it is taken.

First the spectrum: the largest eigenvalue of what the solver treats explicitly, against the solver's stability region
in that direction. Nearly every step passes here, for the price of a few dozen evaluations. A step of an exponential or
implicit-explicit solver that does not is looked at itself, linearised at the state: what the linear part damps may be
stable far beyond the region, and what the equation itself makes grow is no fault of the step.
"""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from pdejax.equations import ConservationLaw, Equation
from pdejax.fields import Chebyshev, FiniteDifference
from pdejax.fields.power_iteration import dominant_pair, norm, spectral_radius
from pdejax.solvers.admissible import check_courant
from pdejax.solvers.courant import ExplicitPart, disturbance
from pdejax.solvers.multistep import AbstractMultistepSolver
from pdejax.solvers.semilinear import AbstractSemilinearSolver
from pdejax.solvers.stability_region import ANGLES, stability_radii
from pdejax.solvers.terms import Space, encoded, terms_for
from pdejax.volumes import FiniteVolume

_ITERATIONS = 30
# A step that is refused lets a disturbance grow by 10% more than the equation does; 1% is the limit that is named.
_ALARM, _LIMIT = 1.1, 1.01


@dataclasses.dataclass(frozen=True)
class StepLimit:
    """How large a step is stable at a state.

    - `limit`: the largest stable step found; infinity where nothing limits it.
    - `eigenvalue`: modulus and angle (pi is the negative real axis) of the largest eigenvalue of the explicit part.
    - `part`: the part of the equation that sets the limit, `linear` or `nonlinear`.
    """

    limit: float
    eigenvalue: tuple[float, float]
    part: str

    @property
    def kind(self) -> str:
        modulus, angle = self.eigenvalue
        what = "oscillates, as transport does" if angle < 3 * np.pi / 4 else "decays, as diffusion does"
        return f"whose largest eigenvalue there is about {modulus:.3g} and {what}"


def check_step(equation: Equation, space: Space, solver: diffrax.AbstractSolver, u: Array, t: Any, h: float) -> None:
    """Raises `ValueError` where a step h from u, at time t, is unstable, naming the limit and what sets it.

    Nothing is looked at under `jit`, `vmap` or `grad`, and for solvers whose stability is not known here.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((equation, space, solver, u, t, h))):
        return
    if isinstance(space, FiniteVolume) and isinstance(equation, ConservationLaw):
        check_courant(equation, space, u, t, h)
        return
    radii = stability_radii(solver)
    if radii is None:
        return
    found = step_limit(equation, space, solver, u, t, h)
    if found.limit >= h:
        return
    explicit = " (explicit there)" if isinstance(solver, AbstractSemilinearSolver) else ""
    raise ValueError(
        f"A step of {h:.4g} is {h / found.limit:.3g} times the largest that is stable with {type(solver).__name__} at "
        f"the initial state, about {found.limit:.4g}. The limit is set by `{found.part}` of {type(equation).__name__}"
        f"{explicit}, {found.kind}. Take dt <= {found.limit:.3g}, "
        f"{int(np.ceil(h / found.limit))} substeps in place of one, or CourantLimited() to let the flow decide."
    )


def step_limit(
    equation: Equation, space: Space, solver: diffrax.AbstractSolver, u: Array, t: Any, h: float
) -> StepLimit:
    """The largest step up to h that is stable at the state u at time t; infinity stands for h and more."""
    alarm, radii = stability_radii(solver, _ALARM), stability_radii(solver, _LIMIT)
    assert alarm is not None and radii is not None
    dtype = space.grid.dtype
    t = jnp.asarray(t, dtype)
    modulus, angle, by_linear, by_nonlinear = (float(value) for value in _largest(equation, space, solver, u, t))
    radius = float(np.interp(angle, ANGLES, radii))
    is_stable = not h * modulus > np.interp(angle, ANGLES, alarm) or not np.isfinite(modulus)
    if is_stable or not isinstance(solver, AbstractSemilinearSolver):
        limit = np.inf if is_stable else radius / modulus
        return StepLimit(limit, (modulus, angle), "linear" if by_linear > by_nonlinear else "nonlinear")
    # What the equation itself lets grow, from steps well inside the region, over no more than fits into 50 of them.
    span = min(h, 25 * radius / modulus)
    count = int(np.ceil(2 * span * modulus / radius))

    def growth(step: float, times: int = 1) -> float:
        return float(_growth(equation, space, solver, u, t, jnp.asarray(step, dtype), times))

    # Not below one: a decay is no reason to ask the same of the step.
    rate = np.log(max(growth(span / count, count), 1.0)) / span

    def is_followed(step: float, margin: float) -> bool:
        value = growth(step)
        return bool(value <= margin * np.exp(1.1 * rate * step))  # and not where it is NaN

    low, high = radius / modulus / 2, h
    if is_followed(h, _ALARM):
        low = np.inf
    else:
        for _ in range(8):
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if is_followed(middle, _LIMIT) else (low, middle)
    return StepLimit(low, (modulus, angle), "nonlinear")


@eqx.filter_jit
def _largest(equation: Equation, space: Space, solver: Any, u: Array, t: Array) -> tuple[Array, ...]:
    """Modulus and angle of the largest eigenvalue, and how large `linear` and `nonlinear` are on its eigenvector."""
    terms = terms_for(solver, equation, space, t)
    explicit, zero = ExplicitPart.of(solver, terms), jnp.zeros_like(t)
    y: Any = encoded(space, equation, t, u)
    _, derivative = jax.linearize(lambda v: explicit(zero, v), y)
    radius, vector = spectral_radius(derivative, disturbance(equation, space, t), _ITERATIONS)
    _, angle, _ = dominant_pair(derivative, vector)
    if explicit.is_semilinear:
        return radius, angle, jnp.zeros_like(radius), jnp.ones_like(radius)
    if isinstance(space, FiniteDifference | Chebyshev):

        def part(v: Array) -> Array:
            linear: Any = equation.linear(space.field(equation, t, v))
            return space.with_held_rates(equation, t, linear.values)

    else:
        part = terms.linear.apply
    linear, whole = jax.jvp(part, (y,), (vector,))[1], derivative(vector)
    return radius, angle, norm(linear), norm(whole - linear)


@eqx.filter_jit
def _growth(equation: Equation, space: Space, solver: Any, u: Array, t: Array, h: Array, times: Any) -> Array:
    """The spectral radius of `times` steps h of a solver of `y' = L y + N(t, y)`, linearised at u."""
    terms = terms_for(solver, equation, space, t)
    y, zero = encoded(space, equation, t, u), jnp.zeros_like(h)
    coefficients = solver.coefficients(terms.linear, h)
    memory = solver.start(terms, zero, y)
    if isinstance(solver, AbstractMultistepSolver):
        # As in the middle of a run; the steps that begin it are those of another method.
        changes = tuple(h * terms.vf(zero, y, None) for _ in memory.changes)
        whole = jnp.asarray(solver.num_starting_steps, memory.num_steps.dtype)
        memory = eqx.tree_at(lambda m: (m.changes, m.num_steps), memory, (changes, whole))
    numbers, rest = eqx.partition(memory, eqx.is_inexact_array)

    def step(carry: Any) -> Any:
        y, memory, _ = solver.advance(terms, coefficients, zero, h, carry[0], eqx.combine(carry[1], rest))
        return y, eqx.filter(memory, eqx.is_inexact_array)

    _, derivative = jax.linearize(step, (y, numbers))
    repeated = lambda v: jax.lax.fori_loop(0, times, lambda _, w: derivative(w), v)  # noqa: E731
    start = (disturbance(equation, space, t), jax.tree.map(jnp.zeros_like, numbers))
    return spectral_radius(repeated, start, _ITERATIONS)[0]
