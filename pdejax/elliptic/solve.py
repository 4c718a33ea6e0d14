"""Solutions of linear elliptic problems: direct where the coefficients are numbers, multigrid where they are arrays.

    poisson(grid, f, boundary)                     -Lap(u) = f
    helmholtz(grid, f, boundary, reaction=c)       -Lap(u) + c u = f
    darcy(grid, permeability, f, boundary)         -div(permeability grad u) = f

Derivatives are those of the discrete solution, with respect to f, the coefficients and the data of the walls: one more
solve with the same operator, which is symmetric.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from pdejax.elliptic.iteration import conjugate_gradients, corrections, without_derivatives
from pdejax.elliptic.multigrid import Multigrid
from pdejax.elliptic.operator import EllipticOperator
from pdejax.elliptic.transforms import solve_direct
from pdejax.grid import Grid

Method = Literal["auto", "direct", "cg", "multigrid"]


class Statistics(NamedTuple):
    """`iterations`: V-cycles, or steps of conjugate gradients with one V-cycle each, or 0 for the direct method;
    `relative_residual`: `|b - A u| / |b|` of the solution that is returned; `converged`: whether it met `rtol`, or what
    rounding u itself leaves (of a solution that is a large constant and little more, that may be many times b);
    `imbalance`: where nothing ties the constant, what of f and the walls' data did not balance and was spread over the
    box, over the sum of their absolute values; otherwise zero."""

    iterations: Int[Array, ""]
    relative_residual: Float[Array, ""]
    converged: Bool[Array, ""]
    imbalance: Float[Array, ""]


def poisson(grid: Grid, f: Any, boundary: Any = None, **options: Any) -> tuple[Array, Statistics]:
    """`-Lap(u) = f`; see `solve_elliptic`."""
    return solve_elliptic(EllipticOperator(grid, boundary), f, **options)


def helmholtz(grid: Grid, f: Any, boundary: Any = None, *, reaction: Any, **options: Any) -> tuple[Array, Statistics]:
    """`-Lap(u) + reaction u = f`. A negative reaction is a number, and solved directly; see `solve_elliptic`."""
    return solve_elliptic(EllipticOperator(grid, boundary, reaction=reaction), f, **options)


def darcy(grid: Grid, permeability: Any, f: Any, boundary: Any = None, **options: Any) -> tuple[Array, Statistics]:
    """`-div(permeability grad u) = f`; see `solve_elliptic`."""
    return solve_elliptic(EllipticOperator(grid, boundary, permeability), f, **options)


def solve_elliptic(
    operator: EllipticOperator,
    f: Any = 0.0,
    *,
    method: Method = "auto",
    rtol: float | None = None,
    max_steps: int = 100,
) -> tuple[Array, Statistics]:
    """The u, `grid.shape`, of `-div(a grad u) + c u = f` with the operator's conditions, and how it was reached.

    - `f`: a number, an array `grid.shape` or a function of the coordinates `(axis, *grid.shape)`.
    - `method`: `"direct"` (fast transforms; a and c numbers), `"cg"` (conjugate gradients with one V-cycle as
      preconditioner), `"multigrid"` (V-cycles alone), or `"auto"`: direct where it applies, otherwise cg.
    - `rtol`: of the residual, in the discrete L2 norm; default 1e-10 in float64 and 1e-5 in float32.

    Where nothing ties the constant (Neumann walls and periodic axes, c = 0) u has mean zero, and f and the walls' data
    must balance. Data of a continuous problem that balances do so up to the quadrature, of second order: what is left,
    up to `10 / n^2` of the data with n the smallest number of points along an axis, is spread over the box.

    Raises `ValueError` for data that do not balance, a right-hand side that is not finite, an array in the direct
    method and a negative c in the others; `FloatingPointError` when the tolerance is not met. Inside jit, missing
    balance or tolerance is an `eqx.error_if`, and the others are checked where values are known.
    """
    if method not in ("auto", "direct", "cg", "multigrid"):
        raise ValueError(f'`method` is "auto", "direct", "cg" or "multigrid", got {method!r}.')
    constant = operator.diffusivity.ndim == 0 and operator.reaction.ndim == 0
    chosen = ("direct" if constant else "cg") if method == "auto" else method
    if chosen != "direct" and not isinstance(operator.reaction, Tracer) and np.any(np.asarray(operator.reaction) < 0):
        raise ValueError(
            f"With a negative reaction the problem may be indefinite, and {chosen!r} does not solve those; "
            'constant coefficients go by method="direct".'
        )
    rtol = (1e-10 if operator.grid.dtype == np.float64 else 1e-5) if rtol is None else float(rtol)
    if not (np.isfinite(rtol) and rtol > 0):
        raise ValueError(f"rtol must be positive and finite, got {rtol}.")
    spacing = operator.grid.spacing
    # Traced side lengths cannot decide how a program is built: the axes then count as equally fine.
    ratios = (1.0,) * operator.grid.ndim if isinstance(spacing, Tracer) else tuple(np.asarray(spacing).tolist())
    b = _right_hand_side(operator, f(operator.grid.coordinates()) if callable(f) else f)
    if not isinstance(b, Tracer) and not np.all(np.isfinite(np.asarray(b))):
        raise ValueError("The right-hand side is not finite: look for NaN in f or in the data of the walls.")
    if operator.singular:
        b = _balanced(operator, b)
    elif any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(operator)):
        message = "The weights of values at walls and the reaction are all zero: u is free by a constant. Use Neumann."
        b = eqx.error_if(b, ~operator.is_tied(), message)
    u, statistics = _solve(operator, b, chosen, jnp.asarray(rtol, b.dtype), jnp.asarray(max_steps), ratios)
    if isinstance(u, Tracer):
        return eqx.error_if(u, ~statistics.converged, f"The elliptic solve ({chosen}) missed rtol={rtol}."), statistics
    if not bool(statistics.converged):
        raise FloatingPointError(
            f"The elliptic solve ({chosen}) reached the relative residual {float(statistics.relative_residual):.3g} "
            f"in {int(statistics.iterations)} iterations, not rtol={rtol}: "
            + ("the operator is singular to rounding." if chosen == "direct" else "raise max_steps or rtol.")
        )
    return u, statistics


@eqx.filter_jit
def _right_hand_side(operator: EllipticOperator, f: Any) -> Array:
    return operator.right_hand_side(f)


def _balanced(operator: EllipticOperator, b: Array) -> Array:
    surplus, size = jnp.sum(b), jnp.sum(jnp.abs(b))
    share = min(0.1, 10 / min(operator.grid.shape) ** 2)
    unbalanced = jnp.abs(surplus) > share * size
    cell = jnp.prod(operator.grid.spacing)
    message = (
        "Neumann walls and periodic axes leave u free by a constant, and f and the fluxes through the walls must "
        "balance"
    )
    if isinstance(b, Tracer):
        b = eqx.error_if(b, unbalanced, message + ".")
    elif bool(unbalanced):
        raise ValueError(
            f"{message}: the integral of f and of the walls' data is {float(surplus * cell):.4g}, of "
            f"{float(size * cell):.4g} in absolute values. Correct the data, or give a Dirichlet or Robin wall."
        )
    return b


@eqx.filter_jit
def _solve(
    operator: EllipticOperator, b: Array, method: str, rtol: Array, max_steps: Array, spacing: tuple[float, ...]
) -> tuple[Array, Statistics]:
    apply = _product(operator)
    # What is inverted carries no derivatives: those of the solution come from the products with `apply` alone.
    fixed_operator = without_derivatives(operator)
    fixed_apply = _product(fixed_operator)
    project = (lambda v: v - jnp.mean(v)) if operator.singular else (lambda v: v)

    def solve(_: Any, b: Array) -> tuple[Array, Int[Array, ""]]:
        b = project(b)
        iterate = _iteration(fixed_operator, method, spacing, project, rtol, max_steps)
        if not _keeps_constants(operator):
            return iterate(b)
        # Fluxes add up to nothing, so `sum(c u) = sum(f)`: what a constant u balances is taken out beforehand.
        reaction = fixed_operator.restrict(fixed_operator.reaction * fixed_operator.cells())
        level = jnp.sum(b) / jnp.sum(reaction)
        rest, iterations = iterate(b - level * reaction)
        return level + rest - jnp.sum(reaction * rest) / jnp.sum(reaction), iterations

    u, iterations = jax.lax.custom_linear_solve(apply, b, solve, symmetric=True, has_aux=True)
    target = jax.lax.stop_gradient(project(b))
    fixed_u = jax.lax.stop_gradient(u)
    residual, size = jnp.linalg.norm(target - fixed_apply(fixed_u)), jnp.linalg.norm(target)
    # Rounding of A u alone leaves a residual of this size, which in float32 is above the tolerance. A solution whose
    # residual is a tenth of the right-hand side is none all the same: the operator is singular, or nearly. Not where a
    # positive reaction ties the constant: then it is large, and right.
    largest = jnp.max(jnp.sum(jnp.abs(fixed_operator.matrix().weights), 0))
    rounding = 10 * jnp.finfo(b.dtype).eps * largest * jnp.linalg.norm(fixed_u)
    tied = _keeps_constants(operator) & jnp.all(fixed_operator.reaction > 0)
    converged = residual <= jnp.maximum(2 * rtol * size, jnp.where(tied, rounding, jnp.minimum(rounding, 0.1 * size)))
    imbalance = jnp.zeros_like(residual)
    if operator.singular:
        total = jnp.sum(jnp.abs(b))
        imbalance = jnp.abs(jnp.sum(b)) / jnp.where(total > 0, total, 1.0)
    statistics = Statistics(iterations, residual / jnp.where(size > 0, size, 1.0), converged, imbalance)
    if operator.singular:
        cells = operator.restrict(operator.cells())
        u = u - jnp.sum(cells * u) / jnp.sum(cells)
    return operator.extend(u), statistics


def _iteration(
    operator: EllipticOperator, method: str, spacing: tuple[float, ...], project: Any, rtol: Array, max_steps: Array
) -> Callable[[Array], tuple[Array, Int[Array, ""]]]:
    """From b to u and the number of iterations."""
    if method == "direct":
        return lambda b: (solve_direct(operator, b), jnp.asarray(0))
    matrix = operator.matrix()
    multigrid = Multigrid(matrix, spacing, operator.singular)

    def cycle(r: Array) -> Array:
        return project(multigrid.cycle(project(r)))

    iteration = conjugate_gradients if method == "cg" else corrections
    return lambda b: iteration(matrix, cycle, b, rtol, max_steps)


def _keeps_constants(operator: EllipticOperator) -> bool:
    """Whether the reaction alone ties the constant: in the matrix a small one is lost in the rounding of a / h^2."""
    return operator.floating and not operator.singular


def _product(operator: EllipticOperator) -> Callable[[Array], Array]:
    """The product with the matrix, that with a constant exact."""
    matrix = operator.matrix()
    if not _keeps_constants(operator):
        return matrix
    reaction = operator.restrict(operator.reaction * operator.cells())

    def product(u: Array) -> Array:
        level = jnp.mean(u)
        return matrix(u - level) + level * reaction

    return product
