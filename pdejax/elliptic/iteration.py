"""The two iterations: each starts from zero, ends when the residual has gone from `|b|` to `rtol |b|`, or after
`max_steps`, and returns u and the number of steps. The residual is that of the recurrence in conjugate gradients."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

Map = Callable[[Array], Array]
Tree = TypeVar("Tree")


def without_derivatives(tree: Tree) -> Tree:
    return eqx.combine(jax.lax.stop_gradient(eqx.filter(tree, eqx.is_array)), tree)


def conjugate_gradients(matrix: Map, precondition: Map, b: Array, rtol: Any, max_steps: Any) -> tuple[Array, Array]:
    """For a symmetric positive matrix and preconditioner."""
    # The preconditioner appears once in the program: the loop starts with a direction of zero.
    target = rtol * jnp.linalg.norm(b)

    def unfinished(state):
        _, r, _, _, step = state
        return (jnp.linalg.norm(r) > target) & (step < max_steps)

    def advance(state):
        u, r, direction, before, step = state
        z = precondition(r)
        now = jnp.vdot(r, z, precision="highest")
        direction = z + now / before * direction
        image = matrix(direction)
        length = now / jnp.vdot(direction, image, precision="highest")
        return u + length * direction, r - length * image, direction, now, step + 1

    zero = jnp.zeros_like(b)
    u, _, _, _, steps = jax.lax.while_loop(unfinished, advance, (zero, b, zero, jnp.ones((), b.dtype), 0))
    return u, jnp.asarray(steps)


def corrections(matrix: Map, approximate_inverse: Map, b: Array, rtol: Any, max_steps: Any) -> tuple[Array, Array]:
    """`u <- u + approximate_inverse(b - A u)`: with a V-cycle, plain multigrid."""
    target = rtol * jnp.linalg.norm(b)

    def unfinished(state):
        _, r, step = state
        return (jnp.linalg.norm(r) > target) & (step < max_steps)

    def advance(state):
        u, r, step = state
        u = u + approximate_inverse(r)
        return u, b - matrix(u), step + 1

    u, _, steps = jax.lax.while_loop(unfinished, advance, (jnp.zeros_like(b), b, 0))
    return u, jnp.asarray(steps)
