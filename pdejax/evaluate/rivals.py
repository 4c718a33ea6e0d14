"""The classical solvers that a surrogate has to beat, chosen from the equation and the data."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from pdejax.data import Trajectories
from pdejax.equations import Equation
from pdejax.evaluate.coefficients import varied
from pdejax.evaluate.on_data_grid import OnDataGrid
from pdejax.evaluate.stability import mode_mask, step_limits
from pdejax.evaluate.volume_rivals import VolumeRivals
from pdejax.fields import Spectral
from pdejax.grid import Grid, check_uniform
from pdejax.resample import resample
from pdejax.solvers import ETDRK2, ETDRK4, IntegratingFactorRK4, TimeStepper

Dealiasing = float | Literal["auto"] | None


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to solve at a given resolution.

    - `order`: 4 (ETDRK4) or 2 (ETDRK2).
    - `dealiasing`: as in `Spectral`; None keeps all modes.
    - `integrating_factor`: IntegratingFactorRK4 in place of ETDRK4. It is the better one where the linear part moves
      fast and dissipates little: an exponential method then integrates an N that it meets in other places.
    - `refinement`: how many times more steps than the nonlinear part asks of ETDRK4.
    """

    order: Literal[2, 4] = 4
    dealiasing: Dealiasing = "auto"
    refinement: float = 1.0
    integrating_factor: bool = False


@dataclasses.dataclass(frozen=True)
class RivalFamily:
    """Which rivals are run: every variant at every resolution.

    - `fractions`: of the points per axis of the data; rounded to even sizes without large prime factors. One above 1 is
      for data that were truncated to fewer points than the flow needs: such a rival starts from the data's first state
      and goes on with all of its own.
    - `variants`: schemes, step sizes, how much is dealiased.
    - `least_points`: no rival is coarser along any axis, but where all of them would be, and the data are: then those
      on the points of the data are run.

    A wider one: `RivalFamily(fractions=(1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25))`.
    """

    fractions: tuple[float, ...] = (1.0, 0.75, 0.5, 0.375)
    variants: tuple[Variant, ...] = (
        Variant(),
        Variant(refinement=2.0),
        # Less than the full rule often gives the least error for the price: what folds back is small and far out.
        Variant(4, 0.9),
        Variant(4, None),
        Variant(integrating_factor=True),
        # Not stable on the imaginary axis: at larger steps than this, weakly damped flows blow up in the long run.
        Variant(2, "auto", 4.0),
    )
    least_points: int = 8

    def __post_init__(self) -> None:
        if not self.fractions or not all(0 < fraction < math.inf for fraction in self.fractions):
            raise ValueError(f"RivalFamily needs fractions > 0 of the data's points, got {self.fractions}.")
        if not self.variants or any(v.order not in (2, 4) or not v.refinement > 0 for v in self.variants):
            raise ValueError(f"RivalFamily needs variants of order 2 or 4 with refinement > 0, got {self.variants}.")
        if any(variant.integrating_factor and variant.order != 4 for variant in self.variants):
            raise ValueError("A variant with integrating_factor=True is of order 4, IntegratingFactorRK4.")

    def shapes(self, grid: Grid) -> list[tuple[int, ...]]:
        """The resolutions on this grid, finest first, each once."""
        found: list[tuple[int, ...]] = []
        for fraction in sorted(self.fractions, reverse=True):
            shape = tuple(n if fraction == 1 else _friendly(fraction * n) for n in grid.shape)
            if shape not in found and all(m >= self.least_points for m in shape):
                found.append(shape)
        return found or [grid.shape]

    def common(self, grid: Grid, shapes: Sequence[tuple[int, ...]]) -> Grid:
        """The grid of the modes that solvers of all these resolutions hold."""
        return grid.with_shape(tuple(min(sizes) for sizes in zip(*shapes, strict=True)))

    @property
    def named(self) -> str:
        return (
            "points; scheme (ETDRK4, ETDRK2: exponential Runge-Kutta of order 4, 2; IntegratingFactorRK4: Runge-Kutta "
            "of order 4 behind the exact linear part); time step h; dealiased: the modes below 2 / (degree + 1) of "
            "what the points hold take part in products of fields, 2/3 where the equation is quadratic, so that no "
            "product folds back on them; dealiased 0.9: those below 0.9 of it; not dealiased: all of them"
        )

    @property
    def described(self) -> str:
        return (
            "pseudo-spectral solvers, initial state truncated to their modes; resolutions, orders, steps and dealiasing"
        )


def classical_rivals(
    equation: Equation,
    grid: Grid,
    dt: float,
    states: Float[Array | np.ndarray, "state channel *space"],
    family: RivalFamily,
    *,
    times: Float[np.ndarray, " state"] | None = None,
    finest: Sequence[int] | None = None,
    coefficients: Mapping[str, Float[Array | np.ndarray, "state ..."]] | None = None,
) -> dict[str, OnDataGrid]:
    """The rivals by name, in the grid's dtype. `states` are typical ones, from which step sizes follow.

    - `times`: those of the states; default 0.
    - `finest`: no rival has more points along any axis; what is finer is left out, and so is what is too coarse for the
      equation itself (a force that its points do not resolve).
    - `coefficients`: those of the equation that differ between the states.

    Raises `ValueError` on a grid that is not periodic, on stretched points, or where the equation makes no sense.
    """
    if not all(grid.periodic):
        raise ValueError(
            f"The classical rivals are spectral and need a periodic grid, got periodic={grid.periodic}: give "
            "`family=VolumeRivals(FiniteVolume(...))` for a conservation law, or leave `equation` out and the "
            "surrogates are scored without rivals."
        )
    check_uniform(grid, "The spectral family of classical rivals", "as Spectral does", "leave `equation` out")
    equation = _in_dtype(equation, grid)
    equation.check_grid(grid)
    shapes = [shape for shape in family.shapes(grid) if _reason_against(shape, equation, grid, finest) is None]
    if not shapes:
        return {}
    kinds: list[Dealiasing] = list(dict.fromkeys(variant.dealiasing for variant in family.variants))
    # Where a rival has more modes than the data, its steps are limited by those.
    widest = grid.with_shape(tuple(max(sizes) for sizes in zip(grid.shape, *shapes, strict=True)))
    if widest.shape != grid.shape:
        states = jax.jit(jax.vmap(lambda u: resample(u, grid, widest)))(states)
    masks = {
        (shape, kind): mode_mask(widest, shape, _kept_fraction(kind, equation)) for shape in shapes for kind in kinds
    }
    times = np.zeros(len(states)) if times is None else times
    values = step_limits(equation, widest, states, times, list(masks.values()), dt, coefficients or {})
    limits = dict(zip(masks, values, strict=True))
    rivals: dict[str, OnDataGrid] = {}
    for shape in shapes:
        for variant in family.variants:
            limit = limits[shape, variant.dealiasing]
            if math.isnan(limit):
                continue  # N overflows at the data itself: no step would do.
            substeps = max(1, math.ceil(dt / limit * variant.refinement))
            if math.isinf(limit) and variant != family.variants[0]:
                continue  # Nothing but the exact linear part: every variant is the same solver.
            solver = (
                IntegratingFactorRK4() if variant.integrating_factor else ETDRK4() if variant.order == 4 else ETDRK2()
            )
            discretisation = Spectral(grid.with_shape(shape), variant.dealiasing)
            stepper = TimeStepper(equation, discretisation, dt, substeps, solver)
            rivals.setdefault(rival_name(stepper), OnDataGrid(stepper, grid))
    return rivals


def rivals_of_data(
    test: Trajectories,
    equation: Equation | None,
    dt: float,
    family: RivalFamily | VolumeRivals,
    truth_shape: tuple[int, ...] | None,
) -> tuple[dict[str, OnDataGrid], list[str], Grid | None]:
    """The rivals, what was left out and why, and the grid of the modes common to all."""
    if not isinstance(family, RivalFamily | VolumeRivals):
        raise TypeError(f"`family` is a RivalFamily(...) or VolumeRivals(FiniteVolume(...)), got {family!r}.")
    if equation is None:
        return {}, [], None
    grid = test.grid.with_dtype(jax.dtypes.canonicalize_dtype(test.u.dtype))
    finest = None if truth_shape is None else tuple(n // 2 for n in truth_shape)
    own = varied(test, equation)
    frames = np.unique(np.linspace(0, test.num_frames - 1, 3).astype(int))
    # The step has to do for every trajectory: the largest states and the extremes of each coefficient are among those
    # that it is chosen from.
    largest = [max(float(np.max(np.abs(test.u[i, int(j)]))) for j in frames) for i in range(len(test))]
    flat = [np.asarray(values).reshape(len(test), -1) for values in own.values()]
    extremes = [int(end(column)) for values in flat for column in values.T for end in (np.argmin, np.argmax)]
    samples = list(dict.fromkeys([*(int(i) for i in np.argsort(largest)[::-1][:4]), *extremes]))
    states = np.stack([np.asarray(test.u[i, int(j)]) for i in samples for j in frames])
    of_states = np.repeat(samples, len(frames))
    of_state: dict[str, Any] = {
        "times": np.tile(np.asarray(test.times, float)[frames], len(samples)),
        "coefficients": {name: values[of_states] for name, values in own.items()},
    }
    reasons = {shape: _reason_against(shape, equation, grid, finest) for shape in family.shapes(grid)}
    left_out = [f"{'x'.join(map(str, shape))}: {reason}" for shape, reason in reasons.items() if reason is not None]
    if isinstance(family, VolumeRivals):
        shapes = [shape for shape, reason in reasons.items() if reason is None]
        of_state["made_between"] = test.provenance.get("walls")
        rivals = family.rivals(_in_dtype(equation, grid), grid, dt, states, shapes, **of_state)
    else:
        rivals = classical_rivals(equation, grid, dt, states, family, finest=finest, **of_state)
    shapes = [stepper.stepper.grid.shape for stepper in rivals.values()]
    return rivals, left_out, family.common(test.grid, [*shapes, test.grid.shape]) if shapes else None


def _reason_against(shape: tuple[int, ...], equation: Equation, grid: Grid, finest: Sequence[int] | None) -> str | None:
    if finest is not None and any(m > n for m, n in zip(shape, finest, strict=True)):
        return f"the truth, solved on {'x'.join(str(2 * n) for n in finest)} points, is not twice as fine"
    try:
        equation.check_grid(grid.with_shape(shape))
    except ValueError as error:
        return str(error)
    return None


def rival_name(stepper: TimeStepper) -> str:
    """Resolution, scheme, step size and dealiasing, e.g. `32x32 ETDRK4 h=0.05 dealiased`."""
    points = "x".join(str(n) for n in stepper.grid.shape)
    points = points if stepper.grid.ndim > 1 else f"N={points}"
    assert isinstance(stepper.discretisation, Spectral)
    rule = stepper.discretisation.dealiasing
    words = "not dealiased" if rule is None else "dealiased" if rule == "auto" else f"dealiased {rule:.3g}"
    return f"{points} {type(stepper.solver).__name__} h={float(stepper.dt) / stepper.substeps:.3g} {words}"


def _in_dtype(equation: Equation, grid: Grid) -> Equation:
    """Coefficients in the precision of the states: a float64 one would silently make the whole solver float64."""
    return jax.tree.map(lambda leaf: leaf.astype(grid.dtype) if eqx.is_inexact_array(leaf) else leaf, equation)


def _friendly(size: float) -> int:
    """The even number without prime factors above 5 that is nearest to `size`."""

    def smooth(n: int) -> bool:
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    near = max(2, round(size))
    candidates = [n for n in range(2, 2 * near + 2, 2) if smooth(n)]
    return min(candidates, key=lambda n: abs(n - size))


def _kept_fraction(dealiasing: Dealiasing, equation: Equation) -> float:
    if dealiasing is None:
        return 1.0
    return 2 / ((equation.degree or 2) + 1) if dealiasing == "auto" else float(dealiasing)
