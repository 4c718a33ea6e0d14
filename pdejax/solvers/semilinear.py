"""What the integrators of `y' = L y + N(t, y)` share, and how diffrax drives them.

The linear part L is stiff and met by its exponential or by implicit stages, which are solved exactly; the nonlinear
part N is explicit. A method gives its coefficients (what it needs of h L, the same for every step of one size) and one
step.
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


class AbstractSemilinearSolver(diffrax.AbstractSolver):
    """One step of a method for semilinear systems, usable by itself (`advance`) and by `diffrax.diffeqsolve` (`step`).

    Between steps a method keeps the state y and a memory. That of a one-step method is `N(t, y)`, which ends one step
    and begins the next; a multistep method remembers more and says so in `start`, `latest` and `resized`. Methods that
    estimate their error are `diffrax.AbstractAdaptiveSolver`s, too; the others give None for it.
    """

    term_structure: ClassVar = SemilinearTerm
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation
    # Whether `coefficients` asks for functions of h L, or for inverses alone.
    needs_functions: ClassVar[bool] = True
    # Steps at the beginning that another method takes.
    num_starting_steps: ClassVar[int] = 0

    @abc.abstractmethod
    def coefficients(self, linear: AbstractLinearPart, h: Array) -> Any:
        """What a step needs of `h L`; the same for every step of one size."""

    @abc.abstractmethod
    def advance(
        self, term: SemilinearTerm, coefficients: Any, t: Array, h: Array, y: Array, memory: Any
    ) -> tuple[Array, Any, Array | None]:
        """From `y` at t, with the memory there, to y and the memory at t + h, and the error estimate."""

    def start(self, term: SemilinearTerm, t: Any, y: Array) -> Any:
        """The memory of a method that has not stepped yet."""
        return term.nonlinear(t, y)

    def latest(self, memory: Any) -> Array:
        """`N(t, y)` where the memory ends."""
        return memory

    def resized(self, memory: Any, is_resized: Array) -> Any:
        """The memory as the next step takes it, where `is_resized` says whether its size is another than before."""
        return memory

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        term = _oriented_term(terms)
        # The first step computes them. To do it here, too, would double what is often most of the program to compile.
        shapes = jax.eval_shape(self.coefficients, term.linear, t1 - t0)
        unknown = jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), shapes)
        return self.start(term, t0, y0), _Run.before(t0, t1), unknown

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        term = _oriented_term(terms)
        memory, run, known = solver_state
        run, is_new = run.with_step(t0, t1)
        h = run.h
        coefficients = jax.lax.cond(is_new, lambda: self.coefficients(term.linear, h), lambda: known)
        memory = self.resized(memory, run.is_at_its_first_step)
        memory = jax.lax.cond(made_jump, lambda: self.start(term, t0, y0), lambda: memory)
        n_0 = self.latest(memory)
        y1, memory, error = self.advance(term, coefficients, t0, h, y0, memory)
        dense_info = {
            "y0": y0,
            "y1": y1,
            "k0": h * (term.linear.apply(y0) + n_0),
            "k1": h * (term.linear.apply(y1) + self.latest(memory)),
        }
        return y1, error, dense_info, (memory, run, coefficients), diffrax.RESULTS.successful

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
    def before(cls, t0: Array, t1: Array) -> "_Run":
        """Before the first step, which has a size of its own whatever it is."""
        zero = jnp.zeros_like(t1 - t0)
        return cls(t0, zero, zero + jnp.inf, zero, jnp.zeros_like(zero, bool))

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

    @property
    def is_at_its_first_step(self) -> Array:
        """Of a size truly its own: another reading of the same size, within rounding, goes on with the run."""
        return self.count == 1


def _oriented_term(terms: Any) -> SemilinearTerm:
    """diffeqsolve hands its solvers a term wrapped with the direction of time."""
    if isinstance(terms, SemilinearTerm):
        return terms
    term, direction = terms.term, terms.direction
    return SemilinearTerm(term.linear.scaled(direction), eqx.Partial(_oriented, term.nonlinear, direction))


def _oriented(nonlinear: Callable[[Any, Array], Array], direction: Any, t: Any, y: Array) -> Array:
    return direction * nonlinear(direction * t, y)
