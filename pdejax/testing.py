"""Checks for equations, steppers and models of one's own: what this project's tests use, for everybody.

Each check raises `AssertionError` with the figures that failed. They are slow by the standard of a unit test (seconds)
and meant to be called once per equation, stepper or model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.equations import Equation
from pdejax.equations.wrapped import Wrapped
from pdejax.fields import AbstractField, FiniteDifference, Pointwise, Spectral
from pdejax.grid import Grid
from pdejax.solvers import solve

PLATFORMS = ("cpu", "cuda", "tpu")
# Of the stencils that `check_equation` reads an equation with, and how far the observed orders may be off.
_STENCIL_ORDERS = ((2, 0.1), (4, 0.2), (6, 0.3))


def observed_orders(errors: Sequence[float] | np.ndarray, step_sizes: Sequence[float] | np.ndarray) -> np.ndarray:
    """The slopes of error against step size between neighbours: `log(e_i / e_(i+1)) / log(h_i / h_(i+1))`."""
    e, h = np.asarray(errors, float), np.asarray(step_sizes, float)
    if e.shape != h.shape or e.size < 2 or not (np.all(e > 0) and np.all(h > 0)):
        raise ValueError(f"observed_orders needs two or more positive errors and step sizes, got {e} and {h}.")
    return np.log(e[:-1] / e[1:]) / np.log(h[:-1] / h[1:])


class Manufactured(Wrapped):
    """`equation` with the source that makes `exact` a solution: `u_t = linear + nonlinear + s`, s known in closed form.

    - `exact`: `exact(x, [y, [z,]] t)`, one value, a tuple or an array: the components, then the auxiliary fields. Each
      auxiliary field must satisfy its own constraint; components may be anything smooth.

    The source comes from automatic differentiation of `exact` and a pointwise reading of the same equation, so it
    shares nothing with the discretisation under test.
    """

    exact: Callable[..., Any] = eqx.field(static=True)

    def nonlinear(self, t: Any, u: AbstractField) -> AbstractField:
        return self.equation.nonlinear(t, u) + u.coordinates.map(lambda x: self.source(t, x))

    def source(self, t: Any, coordinates: Float[Array, "axis *space"]) -> Float[Array, "component *space"]:
        """s at time t."""
        num_components = len(self.components(coordinates.shape[0]))

        def at_a_point(x: Array) -> Array:
            terms = Pointwise().terms(self.equation, _at_a_point(self.exact), jnp.asarray(t, x.dtype), x)
            return terms.residual[:num_components]

        points = coordinates.reshape(coordinates.shape[0], -1).T
        return jax.vmap(at_a_point)(points).T.reshape(num_components, *coordinates.shape[1:])


class _AtOneTime(Manufactured):
    """With the source of one grid and one time, computed once for all readings there."""

    known: Array

    def source(self, t: Any, coordinates: Array) -> Array:
        return self.known


def check_equation(
    equation: Equation,
    exact: Callable[..., Any],
    *,
    extent: Any,
    ndim: int = 1,
    origin: Any = 0.0,
    time: float = 0.5,
    periodic: bool = True,
    num_points: int = 64,
    tolerance: float = 1e-9,
) -> None:
    """Checks that every reading of `equation` agrees with an exact solution.

    - `exact`: `exact(x, [y, [z,]] t)`, one value, a tuple or an array of shape `(component,)`: the components, then the
      auxiliary fields, in the equation's order. Periodic on the box unless `periodic=False`.
    - `extent`, `origin`: the box; `time`: how far it is solved; `num_points`: about how many points per axis resolve it
      to `tolerance` (relative).

    In this order: the pointwise residual is at most 1e-12 of the largest term at random points; the spectral tendency
    is `d exact / dt` on an odd and an even number of points; finite differences of order 2, 4 and 6 converge to it with
    their orders (the last doubling within 0.1, 0.2 and 0.3); the default solver carries the initial state to the final
    one. A solution that is not periodic is checked pointwise alone. Needs `jax_enable_x64`.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError('check_equation compares to 1e-12: call jax.config.update("jax_enable_x64", True) first.')
    function = _at_a_point(exact)
    box = Grid((num_points,) * ndim, extent, origin=origin)
    largest_term = _check_pointwise(equation, function, box, time)
    if not periodic:
        return
    # Unequal, odd and even sizes: a transposed axis or a Nyquist mistake must not cancel.
    shape = tuple(num_points + 3 * axis + (axis == 0) for axis in range(ndim))
    grid, odd, fine = (
        box.with_shape(tuple(factor * n + more for n in shape)) for factor, more in ((1, 0), (1, 1), (2, 0))
    )
    stencils = [FiniteDifference(grid, order) for order, _ in _STENCIL_ORDERS]
    gap, *coarse_gaps, size = _tendency_gaps(equation, function, [Spectral(grid), *stencils], time / 3)
    odd_gap, odd_size = _tendency_gaps(equation, function, [Spectral(odd)], time / 3)
    for points, found, largest in ((grid, gap, size), (odd, odd_gap, odd_size)):
        # A steady solution has no tendency, only terms that cancel: these give the scale.
        largest = max(largest, largest_term)
        assert found <= tolerance * largest, (
            f"spectral tendency on {points.shape}: off by {found:.3g}, largest term {largest:.3g}"
        )
    stencils = [FiniteDifference(fine, order) for order, _ in _STENCIL_ORDERS]
    *fine_gaps, _ = _tendency_gaps(equation, function, stencils, time / 3)
    for (order, spread), *gaps in zip(_STENCIL_ORDERS, coarse_gaps, fine_gaps, strict=True):
        (observed,) = observed_orders(gaps, [1.0, 0.5])
        assert abs(observed - order) <= spread, (
            f"finite differences of order {order} converge with {observed:.2f}: {gaps}"
        )
    initial, final = (_sampled(equation, function, grid, t) for t in (0.0, time))
    solution = solve(equation, Spectral(grid), initial, [0.0, time], rtol=1e-2 * tolerance)
    error = float(jnp.max(jnp.abs(solution.u[-1] - final)) / jnp.max(jnp.abs(final)))
    assert error <= 10 * tolerance, f"solved to t = {time}: relative error {error:.3g} > {10 * tolerance:.3g}"


def check_stepper(stepper: Any, u: Float[Array, "channel *space"], *, platforms: Sequence[str] = PLATFORMS) -> None:
    """Checks that `stepper` keeps the contract `stepper(u, *, t, key) -> u(t + dt)`, whatever it computes.

    Shape and dtype are kept and values finite; calling twice, under `jit` and under `vmap` gives the same; it is
    differentiable in u, equal to central differences along a direction (float64 states); it compiles for `platforms`.
    """
    assert hasattr(stepper, "dt"), f"{type(stepper).__name__} has no dt"
    key = jax.random.key(0)
    step = eqx.filter_jit(lambda s, v: s(v, t=0.0, key=key))
    v = step(stepper, u)
    assert v.shape == u.shape and v.dtype == u.dtype, f"{u.shape} {u.dtype} became {v.shape} {v.dtype}"
    assert bool(jnp.all(jnp.isfinite(v))), "the step produced values that are not finite"
    scale = float(jnp.max(jnp.abs(v)))
    rounding = 1e3 * float(jnp.finfo(u.dtype).eps) * max(scale, 1e-30)
    _assert_close("eager and jitted", stepper(u, t=0.0, key=key), v, rounding)
    batched = jax.vmap(lambda w: step(stepper, w))(jnp.stack([u, 0.5 * u]))
    _assert_close("vmapped and single", batched[0], v, rounding)
    _assert_close("vmapped and single", batched[1], step(stepper, 0.5 * u), rounding)
    _check_gradient(lambda w: jnp.sum(jnp.sin(3 * step(stepper, w) / max(scale, 1e-30))), u)
    check_lowering(lambda w: stepper(w, t=0.0, key=key), jax.ShapeDtypeStruct(u.shape, u.dtype), platforms=platforms)


def check_model(
    model: Any,
    u: Float[Array, "channel *space"],
    *,
    out_channels: int,
    domain: Any = None,
    parameters: Any = None,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Checks that `model` keeps the contract `model(u, parameters, domain=, key=) -> (out_channels, *space)`.

    Output shape and finite values; the same under `jit` and `vmap`; every array leaf that is a parameter receives a
    gradient that is finite and not zero everywhere; the gradient along a direction equals central differences (float64
    inputs); it compiles for `platforms`.
    """
    key = jax.random.key(0)
    call = eqx.filter_jit(lambda m, v: m(v, parameters, domain=domain, key=key))
    v = call(model, u)
    assert v.shape == (out_channels, *u.shape[1:]), f"{u.shape} became {v.shape}, not ({out_channels}, *space)"
    assert bool(jnp.all(jnp.isfinite(v))), "the model produced values that are not finite"
    scale = max(float(jnp.max(jnp.abs(v))), 1e-30)
    rounding = 1e3 * float(jnp.finfo(v.dtype).eps) * scale
    _assert_close("eager and jitted", model(u, parameters, domain=domain, key=key), v, rounding)
    batched = jax.vmap(lambda w: call(model, w))(jnp.stack([u, 0.5 * u]))
    _assert_close("vmapped and single", batched[0], v, rounding)
    gradient = eqx.filter_grad(lambda m: jnp.sum(jnp.sin(3 * call(m, u) / scale)))(model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(eqx.filter(gradient, eqx.is_inexact_array)):
        name = jax.tree_util.keystr(path)
        assert bool(jnp.all(jnp.isfinite(leaf))), f"the gradient with respect to {name} is not finite"
        assert bool(jnp.any(leaf != 0)), f"the gradient with respect to {name} is zero: does the model use it?"
    _check_gradient(lambda w: jnp.sum(jnp.sin(3 * call(model, w) / scale)), u)
    shape = jax.ShapeDtypeStruct(u.shape, u.dtype)
    check_lowering(lambda w: model(w, parameters, domain=domain, key=key), shape, platforms=platforms)


def check_lowering(function: Callable[..., Any], *shapes: Any, platforms: Sequence[str] = PLATFORMS) -> None:
    """Checks that `function` compiles for every platform up to its code generator, without having one at hand.

    `shapes` are the arguments, or `jax.ShapeDtypeStruct`s in their place.
    """
    jax.export.export(jax.jit(lambda *arguments: function(*arguments)), platforms=tuple(platforms))(*shapes)


def _at_a_point(exact: Callable[..., Any]) -> Callable[[Any, Any], Array]:
    def function(t: Any, x: Array) -> Array:
        value = exact(*x, t)
        values = jnp.stack([jnp.asarray(part) for part in value]) if isinstance(value, tuple | list) else value
        values = jnp.atleast_1d(jnp.asarray(values))
        if values.ndim != 1:
            raise ValueError(
                f"`exact` gives the shape {values.shape} at one point: return a tuple of one value per component, or "
                "an array of shape (component,)."
            )
        return values

    return function


@eqx.filter_jit
def _sampled(equation: Equation, function: Any, grid: Grid, t: Any) -> Array:
    points = grid.coordinates().reshape(grid.ndim, -1).T
    values = jax.vmap(lambda x: function(jnp.asarray(t, grid.dtype), x))(points)
    return values.T.reshape(-1, *grid.shape)[: len(equation.components(grid.ndim))]


def _tendency_gaps(equation: Equation, function: Any, readings: Sequence[Any], t: float) -> list[float]:
    """The largest error of the tendency in each reading, all on one grid, and last the size of the exact one."""
    return [float(value) for value in _tendency_gap_arrays(equation, function, list(readings), jnp.asarray(t))]


# One program for all readings of a grid: most of the time of a check is compilation.
@eqx.filter_jit
def _tendency_gap_arrays(equation: Equation, function: Any, readings: list[Any], at: Array) -> list[Array]:
    grid = readings[0].grid
    if isinstance(equation, Manufactured):
        known = equation.source(at, grid.coordinates())
        equation = _AtOneTime(equation.equation, equation.exact, known)
    points = grid.coordinates().reshape(grid.ndim, -1).T
    values, rate = jax.vmap(lambda x: jax.jvp(lambda s: function(s, x), (at,), (jnp.ones_like(at),)))(points)
    state, expected = (
        part.T.reshape(-1, *grid.shape)[: len(equation.components(grid.ndim))] for part in (values, rate)
    )
    gaps = [jnp.max(jnp.abs(reading.tendency(equation, at, state) - expected)) for reading in readings]
    return [*gaps, jnp.max(jnp.abs(expected))]


def _check_pointwise(equation: Equation, function: Any, box: Grid, time: float) -> float:
    """Asserts that the residual vanishes; returns the size of the largest term."""
    random = np.random.default_rng(0)
    points = jnp.asarray(random.uniform(size=(50, box.ndim))) * box.extent + box.origin
    times = jnp.asarray(random.uniform(0, time, 50))
    terms = eqx.filter_jit(jax.vmap(lambda t, x: Pointwise().terms(equation, function, t, x)))(times, points)
    scale = max(float(jnp.max(jnp.abs(part))) for part in (terms.time_derivative, terms.linear, terms.nonlinear))
    assert scale > 0, "every term vanishes at the sampled points: this solution tests nothing"
    residual = float(jnp.max(jnp.abs(jax.vmap(lambda part: part.residual)(terms))))
    assert residual <= 1e-12 * scale, f"pointwise residual {residual:.3g}, largest term {scale:.3g}"
    return scale


def _check_gradient(function: Callable[[Array], Array], u: Array) -> None:
    """Reverse mode along a random direction against central differences; in float64, where those can be trusted."""
    direction = jax.random.normal(jax.random.key(1), u.shape, u.dtype)
    gradient = jax.grad(function)(u)
    assert bool(jnp.all(jnp.isfinite(gradient))), "the gradient is not finite"
    if u.dtype != jnp.float64:
        return
    step = 1e-6 * float(jnp.max(jnp.abs(u)))
    differences = float((function(u + step * direction) - function(u - step * direction)) / (2 * step))
    exact = float(jnp.sum(gradient * direction))
    assert abs(differences - exact) <= 1e-6 * max(abs(exact), abs(differences), 1e-12), (
        f"directional derivative {exact:.9g}, central differences {differences:.9g}"
    )


def _assert_close(what: str, a: Array, b: Array, bound: float) -> None:
    gap = float(jnp.max(jnp.abs(a - b)))
    assert gap <= bound, f"{what} results differ by {gap:.3g} (rounding would be {bound:.3g})"
