"""Where a condition changes its sign between two times."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array


class _Bracket(eqx.Module):
    lower: Array
    upper: Array
    sign: Array
    least: Array


class FirstCrossing(optimistix.AbstractRootFinder):
    """Bisection, down to rounding, of a function whose sign at `upper` is another than at `lower`.

    The result is the later end of the last bracket, where the sign is the new one: a function that keeps its sign up to
    `upper` is found there, which is how diffrax states an event that has no number. Of several values all but one are
    zero, and their sum is taken.
    """

    rtol: float = 0.0
    atol: float = 0.0
    norm: ClassVar[Callable[..., Any]] = jnp.abs

    def init(self, fn: Any, y: Any, args: Any, options: Any, f_struct: Any, aux_struct: Any, tags: Any) -> _Bracket:
        lower, upper = jnp.asarray(options["lower"], y.dtype), jnp.asarray(options["upper"], y.dtype)
        # Of the whole too: halves of what begins at zero have no end.
        least = jnp.finfo(y.dtype).eps * jnp.maximum(jnp.abs(upper), upper - lower)
        return _Bracket(lower, upper, jnp.sign(_total(fn(lower, args)[0])), least)

    def step(self, fn: Any, y: Any, args: Any, options: Any, state: _Bracket, tags: Any) -> tuple[Any, _Bracket, Any]:
        middle = state.lower + (state.upper - state.lower) / 2
        value, aux = fn(middle, args)
        is_before = jnp.sign(_total(value)) == state.sign
        lower = jnp.where(is_before, middle, state.lower)
        upper = jnp.where(is_before, state.upper, middle)
        return upper, _Bracket(lower, upper, state.sign, state.least), aux

    def terminate(
        self, fn: Any, y: Any, args: Any, options: Any, state: _Bracket, tags: Any
    ) -> tuple[Array, optimistix.RESULTS]:
        return state.upper - state.lower <= state.least, optimistix.RESULTS.successful

    def postprocess(
        self, fn: Any, y: Any, aux: Any, args: Any, options: Any, state: _Bracket, tags: Any, result: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        return y, aux, {}


def _total(values: Any) -> Array:
    return sum(jax.tree.leaves(values), start=jnp.zeros(()))
