"""Gauss-Newton methods for small models: steps of optimistix on all data at once."""

import dataclasses
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray

from pdejax.counts import count_of
from pdejax.models.ensemble import num_members
from pdejax.progress import ProgressBar
from pdejax.training.full_batch import full_batch
from pdejax.training.log import TrainingLog, check_log_path
from pdejax.training.objectives import AbstractObjective

# Entries of a Jacobian that is written down where nobody chose a solver. Its columns are computed all at once, so that
# every number inside the model is held once per weight.
_DENSE = 2**23
_TOLERANCE = 1e-6
# Every one of them makes the damping four times larger: after so many the loss is as low as rounding lets it be.
_REJECTED_IN_A_ROW = 12


@dataclasses.dataclass(frozen=True)
class LeastSquaresFit:
    """What `fit_least_squares` returns: `model` (physical units in and out) with the lowest loss that was met, `log`,
    whether the solver's tolerances were met, and in words how it ended.

    The log holds for every step the `loss` of the weights it left, whether its trial was `accepted` (1 or 0), and the
    `seconds` since the beginning; step 0 is the model as it was given.
    """

    model: Any
    log: TrainingLog
    converged: bool
    message: str


def fit_least_squares(
    model: Any,
    objective: AbstractObjective,
    data: Any,
    *,
    key: PRNGKeyArray,
    solver: optx.AbstractGaussNewton | None = None,
    max_steps: int = 100,
    normalise: bool = True,
    frozen: Callable[[Any], Any] | None = None,
    progress: bool = True,
    log_path: str | os.PathLike | None = None,
) -> LeastSquaresFit:
    r"""Minimises the mean square of `objective.residuals` over the weights w of `model` by a Gauss-Newton method:

        loss(w) = mean of r(w)^2,   step = argmin over d of |r + J d|^2 + damping |d|^2,   J = dr/dw

    on all windows (or pairs) at once. For models of up to some thousand weights, where it reaches losses that steps
    along the gradient do not come near. `OneStep`, `Supervised` and `Unrolled` have residuals if their loss is
    `MeanSquare`; an objective of one's own has them by defining `residuals(model, batch, key) -> array`.

    - `data`, `normalise`, `frozen`, `log_path`: those of `fit`.
    - `solver`: `optimistix.LevenbergMarquardt(rtol, atol)`, `.GaussNewton` (no damping, no step is refused), `.Dogleg`
      or one of one's own. Their `linear_solver` decides how d is found: `lineax.QR()` and, in half the time and with
      half the digits, `lineax.Normal(lineax.Cholesky())` write J down, `(residuals, weights)`, and hold all numbers
      inside the model once per weight while they do; `lineax.Normal(lineax.CG(1e-3, 1e-3))` needs products with J and
      its transpose alone. Its damping is in units of the sum of the squares, not of their mean. By default
      Levenberg-Marquardt with tolerances of 1e-6, by QR up to 8 million entries of J and by CG beyond.
    - `max_steps`: trials, accepted or not. Each costs one evaluation with its linearisation, and the solution for d.
    - `key`: for what the objective or the model draws at random; the draw is the same in every evaluation.

    Weights are kept in the session's precision while it runs, and in their own inside the model and in the result.

    It ends where the tolerances are met, and where a dozen trials in a row are refused: the loss is then as low as
    rounding lets it be (or not smooth). A loss that is not finite ends it with a warning. The model is the best that
    was met, and `message` says what happened and where.

    Raises `ValueError` for arguments that `fit` would not take, for an `Ensemble`, for an objective without residuals
    or with those of another loss, for a solver that is no Gauss-Newton method, and for a loss that is not finite from
    the start.
    Source: Nocedal & Wright, Numerical Optimization (2006), chapter 10.
    """
    max_steps = count_of("max_steps", max_steps)
    if solver is not None and not isinstance(solver, optx.AbstractGaussNewton):
        raise ValueError(
            "fit_least_squares needs a Gauss-Newton method that is built, e.g. "
            f"optimistix.LevenbergMarquardt(rtol=1e-6, atol=1e-6), got {solver!r}."
        )
    if num_members(model) is not None:
        raise ValueError(
            "fit_least_squares fits one model: call it for each of pdejax.models.members(model), or train the Ensemble "
            "by `fit`."
        )
    if log_path is not None:
        check_log_path(log_path)
    problem = full_batch(model, objective, data, normalise, frozen)
    flat, unravel = ravel_pytree(problem.weights)
    if jnp.iscomplexobj(flat):
        raise ValueError("fit_least_squares needs real weights: keep real and imaginary parts as arrays of their own.")
    working = jnp.promote_types(flat.dtype, jnp.result_type(float))

    def weights_of(vector: Any) -> Any:
        return unravel(vector.astype(flat.dtype))

    def residuals(vector: Any, arrays: Any) -> tuple[Any, None]:
        trained = problem.model(weights_of(vector))
        return jnp.ravel(objective.residuals(trained, problem.batch(arrays), key)).astype(working), None

    best = flat.astype(working)
    shape = eqx.filter_eval_shape(residuals, best, problem.arrays)[0]
    lowest = _checked_start(problem, objective, key, jax.jit(residuals)(best, problem.arrays)[0])
    solver = _default(shape.size, best.size) if solver is None else solver
    state = solver.init(residuals, best, problem.arrays, {}, shape, None, frozenset())

    @eqx.filter_jit
    def advance(vector: Any, state: Any, arrays: Any) -> tuple[Any, Any, Any]:
        vector, state, _ = solver.step(residuals, vector, arrays, {}, state, frozenset())
        return vector, state, jnp.mean(state.f_info.residual**2)

    log, vector, best_step, refused, start = TrainingLog(), best, 0, 0, time.perf_counter()
    converged, failed, message = False, False, f"max_steps={max_steps} reached"
    with ProgressBar(max_steps, unit="step", description="least squares", shown=progress) as bar:
        # What a call evaluates is the trial of the call before, and in the first one the weights as given.
        for step in range(max_steps + 1):
            vector, state, loss = advance(vector, state, problem.arrays)
            loss, refused = float(loss), int(state.num_steps_since_acceptance)
            row = {"step": [step], "loss": loss, "accepted": int(refused == 0)}
            log.append(row | {"seconds": time.perf_counter() - start})
            if step:
                bar.update(1)
                bar.set_postfix({"loss": f"{loss:.2e}"})
            if not np.isfinite(loss):
                failed, message = True, f"stopped in step {step}, whose loss is {loss:g}"
                break
            if loss < lowest:
                best, lowest, best_step = vector, loss, step
            if bool(solver.terminate(residuals, vector, problem.arrays, {}, state, frozenset())[0]):
                converged, message = True, f"the tolerances were met in step {step}"
                break
            if refused >= _REJECTED_IN_A_ROW:
                message = f"stopped in step {step}: none of {refused} trials in a row lowered the loss"
                break
    if log_path is not None:
        log.write(log_path)
    if not loss <= lowest * (1 + 1e-3):
        message += f"; the model is that of step {best_step}, whose loss is {lowest:g}"
    if failed:
        warnings.warn(f"fit_least_squares {message}.", stacklevel=2)
    return LeastSquaresFit(problem.model(weights_of(best)), log, converged, message)


def _default(num_residuals: int, num_weights: int) -> optx.AbstractGaussNewton:
    dense = num_residuals * num_weights <= _DENSE
    linear_solver = lx.QR() if dense else lx.Normal(lx.CG(1e-3, 1e-3))
    return optx.LevenbergMarquardt(_TOLERANCE, _TOLERANCE, norm=optx.rms_norm, linear_solver=linear_solver)


def _checked_start(problem: Any, objective: AbstractObjective, key: PRNGKeyArray, residuals: Any) -> float:
    """The loss of the model as given, if it is finite and the mean square of the residuals."""

    @jax.jit
    def loss_of(weights: Any, arrays: Any) -> Any:
        return objective(problem.model(weights), problem.batch(arrays), key)[0]

    loss, mean_square = float(loss_of(problem.weights, problem.arrays)), float(jnp.mean(residuals**2))
    if not (np.isfinite(loss) and np.isfinite(mean_square)):
        raise ValueError(f"The loss of the model as it is given is {loss:g}: begin from other weights.")
    if abs(mean_square - loss) > 1e-3 * max(loss, mean_square):
        raise ValueError(
            f"The residuals of {type(objective).__name__} have the mean square {mean_square:g}, but its loss is "
            f"{loss:g}: return an array whose mean square is the loss."
        )
    return mean_square
