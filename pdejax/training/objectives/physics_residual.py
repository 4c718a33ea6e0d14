"""The equation itself as the objective: no targets, whatever discretisation reads it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.data.coefficients import coefficient_leaves, stated_by_data, with_coefficients
from pdejax.equations import Equation
from pdejax.models import output_scale
from pdejax.solvers.terms import Discretisation, check_problem
from pdejax.training.losses.loss import Loss, check_loss
from pdejax.training.objectives.errors import MEAN_SQUARE, error_in
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows
from pdejax.training.objectives.same_grid import check_grid
from pdejax.training.objectives.unrolled import STEPS_IN_A_ROW


class PhysicsResidual(AbstractObjective):
    r"""How far the model's own frames are from obeying an equation, u_t = f(t, u), between one and the next:

        v_0 = u_j,   v_n = model(v_n-1) for n = 1 .. num_steps
        v_n is compared with  w_n = v_n-1 + dt sum over m of beta_nm f(t_m, v_m),   mean over n of loss(v_n, w_n)

    f is `discretisation.tendency(equation, ...)`: any equation on any grid, as the solvers read it. It asks for one
    frame and no target. The difference v_n - w_n is the residual over a step, in units of the state: `MeanSquare` takes
    it in those of the model's `output_scale`, so that persistence has a loss of order one and the weight of a sum with
    `OneStep` is a number without units.

    The weights beta integrate the polynomial through the tendencies of the `order` frames around the interval, where a
    trajectory begins or ends those nearest to it. For the exact solution the residual is O(dt^(order + 1)), O(dt^order)
    per time, and frames that make it zero are off by O(dt^order): by that of an implicit scheme, the trapezoidal rule
    for order 2. **No training brings the model nearer to the solution than this scheme is at the step dt.** The `of` of
    true frames says how near that is; raise `order` (as many frames have to follow) where it is not near enough.

    At walls: points whose values follow from conditions (`discretisation.hold`) are compared with those values, all
    others with the equation. Where `parameters` of the data vary a coefficient, every trajectory has its own.

    - `equation`, `discretisation`: what holds and how it is read, on the grid of the data. They are no part of the
      model, and nothing in them is trained; they can be differentiated in.
    - `num_steps`: of the model. Those of a bundle (`Bundled(PhysicsResidual(...), frames)`) are of so many frames each.
    - `order`: of the scheme, at most the number of frames, the first included; even ones are symmetric in time.
    - `dt`: the time between frames; by default that of the data, which data of one frame do not state.
    - `loss`: that of `OneStep`, of v_n and w_n. High wavenumbers weigh as the equation's derivatives make them:
      `Sobolev(-2, relative=False)` undoes it for one of second order.
    - `scale`: what a difference of order one is, one number or one per component; by default the model's, which is one
      for a model that is not `Normalised`: state it then.

    Test-time refinement: `fit(model, PhysicsResidual(..., dt=dt), first_frames, normalise=False, ...)` goes on with a
    fitted (`Normalised`) model on the first frames of the trajectories that it is to predict.

    Raises `ValueError` for counts below one, an `order` below 2 or above the number of frames, a dt or a scale that is
    not positive; from `fit`, before it begins, for data on another grid, at other intervals than `dt`, at none that are
    known or equal, and on boxes that vary; at trace time for channels that are not those of the equation. `TypeError`
    for what is no equation or discretisation.
    Source: Li et al., Physics-Informed Neural Operator for Learning Partial Differential Equations (2021); the schemes,
    for whole trajectories: Brugnano & Trigiante, Solving Differential Problems by Multistep Initial and Boundary Value
    Methods (1998), "extended trapezoidal rules".
    """

    equation: Equation
    discretisation: Discretisation
    num_steps: int = eqx.field(static=True)
    order: int = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)
    loss: Loss
    scale: Any

    def __init__(
        self,
        equation: Any,
        discretisation: Any,
        num_steps: int = 1,
        *,
        order: int = 2,
        dt: Any = None,
        loss: Loss = MEAN_SQUARE,
        scale: Any = None,
    ):
        check_problem(equation, discretisation)
        check_loss(loss)
        self.equation, self.discretisation = equation, discretisation
        self.num_steps, self.order = count_of("num_steps", num_steps), count_of("order", order)
        if self.order < 2:
            raise ValueError(f"order counts the frames that a step is judged by, two or more, got {order}.")
        if dt is not None and not 0 < float(dt) < np.inf:
            raise ValueError(f"PhysicsResidual needs dt > 0, got {dt}.")
        if scale is not None and not isinstance(scale, Tracer) and not np.all(np.asarray(scale) > 0):
            raise ValueError(f"PhysicsResidual needs a scale > 0, in units of the state, got {scale}.")
        self.dt, self.loss = None if dt is None else float(dt), loss
        self.scale = None if scale is None else jnp.asarray(scale, float)

    @property
    def frames(self) -> int:
        return 1

    def check_data(self, domain: Any, interval: float | None, parameters: Any) -> None:
        grid = self.discretisation.grid
        check_grid("the discretisation of PhysicsResidual", grid, domain, parameters)
        stated = parameters.get("output_interval", interval)
        if self.dt is None and stated is None:
            raise ValueError(
                "PhysicsResidual needs the time between frames, which these data do not have (one frame, or frames "
                "that are not equally far apart): pass dt."
            )
        if self.dt is not None and stated is not None and not np.allclose(stated, self.dt, rtol=1e-3):
            raise ValueError(f"PhysicsResidual has dt={self.dt:g} but the frames of the data are {stated} apart.")
        own = coefficient_leaves(self.equation)
        for name, values in stated_by_data(self.equation, parameters, grid.ndim).items():
            values = np.asarray(values)
            # What varies is each trajectory's own; what does not says what the equation says, or one of them is wrong.
            if len(values) and np.all(values == values[:1]) and not np.allclose(values[0], own[name], rtol=1e-5):
                has, had = (np.array2string(np.asarray(each), precision=6) for each in (own[name], values[0]))
                raise ValueError(
                    f"The equation of PhysicsResidual has {name}={has} but the data were solved with {name}={had}."
                )

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        interval = batch.interval if self.dt is None else self.dt
        count = len(self.equation.components(self.discretisation.grid.ndim))
        # A whole number that came into a program as an argument is not known there.
        frames = batch.u.shape[2] // count if isinstance(batch.bundle, Tracer) else batch.bundle
        if batch.u.shape[2] != count * frames:
            raise ValueError(
                f"{type(self.equation).__name__} has {count} components and a state {batch.u.shape[2]} channels"
                f"{f' for {frames} frames' if frames > 1 else ''}: select those of the equation."
            )
        scale: Any = output_scale(model) if self.scale is None else self.scale
        # Of a bundle that of its first frame: the increment over one interval.
        scale = scale[:count] if jnp.ndim(scale) else scale

        def one(u: Array, parameters: dict[str, Array], time: Array, key: PRNGKeyArray) -> Array:
            def step(state: Array, n: Array) -> tuple[Array, Array]:
                following = model(state, parameters, domain=batch.domain, key=jax.random.fold_in(key, n))
                return following.astype(state.dtype), following

            _, states = jax.lax.scan(step, u[0], jnp.arange(self.num_steps), unroll=min(self.num_steps, STEPS_IN_A_ROW))
            states = jnp.concatenate([u[0][-count:][None], states.reshape(-1, count, *states.shape[2:])])
            reached, expected = self._steps(states, time, parameters.get("output_interval", interval), parameters)
            return jax.vmap(lambda v, w: error_in(self.loss, v, w, batch.domain, scale))(reached, expected)

        keys = jax.random.split(key, batch.u.shape[0])
        times = jnp.broadcast_to(batch.time, keys.shape)
        errors = jnp.mean(jax.vmap(one)(batch.u, batch.parameters, times, keys), axis=0)
        return jnp.mean(errors), {f"residual_step_{n + 1}": errors[n] for n in range(errors.shape[0])}

    def of(
        self, u: Float[Array | np.ndarray, "time channel *space"], *, time: Any = 0.0, dt: Any = None, **parameters: Any
    ) -> Float[Array, "interval channel *space"]:
        """The residual of given frames per time, `(v_n - w_n) / dt`, in units of u_t; the first one is at `time`.

        `dt` is that of the objective unless it is given; `parameters` are coefficients that are not the equation's own.
        """
        dt = self.dt if dt is None else dt
        if dt is None:
            raise ValueError("The residual of frames needs the time between them: pass dt.")
        reached, expected = self._steps(jnp.asarray(u), time, dt, parameters)
        return (reached - expected) / dt

    def _steps(self, states: Array, time: Any, dt: Any, parameters: Any) -> tuple[Array, Array]:
        """The frames after the first, and what the scheme would have in their place."""
        grid, read = self.discretisation.grid, self.discretisation
        if len(states) < self.order:
            raise ValueError(
                f"The residual of order {self.order} is read from as many frames and there are {len(states)}: take "
                f"more steps, or order <= {len(states)}."
            )
        equation = with_coefficients(self.equation, stated_by_data(self.equation, parameters, grid.ndim))
        states, dt = states.astype(grid.dtype), jnp.asarray(dt, grid.dtype)
        times = jnp.asarray(time, grid.dtype) + dt * jnp.arange(len(states), dtype=grid.dtype)
        states_held = jax.vmap(lambda t, v: read.hold(equation, t, v))(times, states)
        tendencies = jax.vmap(lambda t, v: read.tendency(equation, t, v))(times, states_held)
        weights = jnp.asarray(interval_weights(len(states), self.order), grid.dtype)
        expected = states_held[:-1] + dt * jnp.tensordot(weights, tendencies, 1)
        return states[1:], jax.vmap(lambda t, v: read.hold(equation, t, v))(times[1:], expected)


def interval_weights(num_frames: int, order: int) -> np.ndarray:
    """Row n integrates, from frame n to n + 1 at distance one, the polynomial through the values at `order` frames:
    those around the interval, at the ends of the trajectory the nearest ones. `(num_frames - 1, num_frames)`."""
    weights = np.zeros((num_frames - 1, num_frames))
    for n in range(num_frames - 1):
        first = min(max(0, n + 1 - order // 2), num_frames - order)
        # Counted from the middle of the interval, where powers stay small.
        nodes = np.arange(first, first + order) - n - 0.5
        powers = np.arange(order)
        moments = (0.5 ** (powers + 1) - (-0.5) ** (powers + 1)) / (powers + 1)
        weights[n, first : first + order] = np.linalg.solve(nodes ** powers[:, None], moments)
    return weights
