"""What exponential integrators share, and how diffrax drives them.

For `y' = L y + N(t, y)` with a linear part L that acts on each mode by itself, a method gives its coefficients (the
functions of h L, the same for every step of one size) and one step. The linear part is exact: stiffness costs nothing,
and a linear equation is solved to rounding. Updates are written as `y + (e^(hL) - 1) y + ...`: in float32 the round-off
of many steps then grows several times more slowly.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.solvers.linear_part import AbstractLinearPart


class SemilinearTerm(diffrax.AbstractTerm):
    """`dy/dt = linear(y) + nonlinear(t, y)`. Explicit diffrax solvers take it too, as their sum."""

    linear: AbstractLinearPart
    nonlinear: Callable[[Any, Array], Array]

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        return self.linear.apply(y) + self.nonlinear(t, y)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: Any, control: Any) -> Any:
        return vf * control


class AbstractExponentialSolver(diffrax.AbstractAdaptiveSolver):
    """One step of an exponential method, usable by itself (`advance`) and by `diffrax.diffeqsolve` (`step`)."""

    term_structure: ClassVar = SemilinearTerm
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation

    @abc.abstractmethod
    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[str, Array]:
        """The functions of `h L` that a step needs; the same for every step of one size."""

    @abc.abstractmethod
    def advance(
        self, term: SemilinearTerm, coefficients: dict[str, Array], t: Array, h: Array, y: Array, n_y: Array
    ) -> tuple[Array, Array, Array]:
        """From `y` at t, with `n_y = N(t, y)`, to `(y1, N(t + h, y1), error estimate)`."""

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        term, direction = _unwrapped(terms)
        run = _Run.of(t0, t1)
        return _nonlinear(term, direction)(t0, y0), run, self.coefficients(_linear(term, direction), run.h)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        term, direction = _unwrapped(terms)
        oriented = SemilinearTerm(_linear(term, direction), _nonlinear(term, direction))
        n_0, run, known = solver_state
        run, is_new = run.with_step(t0, t1)
        h = run.h
        coefficients = jax.lax.cond(is_new, lambda: self.coefficients(oriented.linear, h), lambda: known)
        n_0 = jax.lax.cond(made_jump, lambda: oriented.nonlinear(t0, y0), lambda: n_0)
        y1, n_1, error = self.advance(oriented, coefficients, t0, h, y0, n_0)
        dense_info = {
            "y0": y0,
            "y1": y1,
            "k0": h * (oriented.linear.apply(y0) + n_0),
            "k1": h * (oriented.linear.apply(y1) + n_1),
        }
        return y1, error, dense_info, (n_1, run, coefficients), diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)


class _Run(eqx.Module):
    """Consecutive steps of one size, which share their coefficients.

    Equal steps differ by the rounding of their end points, `eps |t|`, which in float32 may be a thousandth of a step:
    a size read from one difference and kept would drift from the clock by as much in every step. Kept is the mean of
    the run so far, read anew as soon as `lag`, the clock minus the time stepped, would exceed rounding. What the mean
    would leave of it is made up for in one step (`is_repaying`): sizes that change slowly do not drift away either.
    """

    start: Array
    count: Array
    h: Array
    lag: Array
    is_repaying: Array

    @classmethod
    def of(cls, t0: Array, t1: Array) -> "_Run":
        """Before its first step, from t0 to t1."""
        zero = jnp.zeros_like(t1 - t0)
        return cls(t0, zero, t1 - t0, zero, jnp.zeros_like(zero, bool))

    def with_step(self, t0: Array, t1: Array) -> "tuple[_Run, Array]":
        """The run after the step from t0 to t1, and whether the size of its steps is a new one."""
        rounding = 4 * jnp.finfo(self.h.dtype).eps * jnp.maximum(jnp.abs(t0), jnp.abs(t1))
        continues = jnp.abs((t1 - t0) - self.h) <= rounding
        start = jnp.where(continues, self.start, t0)
        count = jnp.where(continues, self.count + 1, 1)
        to_clock = self.lag + (t1 - t0)
        is_new = ~continues | (jnp.abs(to_clock - self.h) > rounding) | self.is_repaying
        mean = (t1 - start) / count
        margin = jnp.where(self.is_repaying, 1, 0.5) * rounding
        renewed = jnp.clip(mean, to_clock - margin, to_clock + margin)
        # Steps of a few roundings are what they are: to make up for a lag could turn one backwards.
        renewed = jnp.where(renewed * (t1 - t0) > 0, renewed, t1 - t0)
        h = jnp.where(is_new, renewed, self.h)
        return _Run(start, count, h, to_clock - h, is_new & (renewed != mean)), is_new


def _unwrapped(terms: Any) -> tuple[SemilinearTerm, Any]:
    """diffeqsolve hands its solvers a term wrapped with the direction of time."""
    if isinstance(terms, SemilinearTerm):
        return terms, 1
    return terms.term, terms.direction


def _linear(term: SemilinearTerm, direction: Any) -> AbstractLinearPart:
    return term.linear if isinstance(direction, int) else term.linear.scaled(direction)


def _nonlinear(term: SemilinearTerm, direction: Any) -> Callable[[Any, Array], Array]:
    if isinstance(direction, int):
        return term.nonlinear
    return eqx.Partial(_oriented, term.nonlinear, direction)


def _oriented(nonlinear: Callable[[Any, Array], Array], direction: Any, t: Any, y: Array) -> Array:
    return direction * nonlinear(direction * t, y)
