"""The compiled part of `generate`: chunks of initial value problems, solved at once."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PRNGKeyArray

from pdejax.data.coefficients import coefficient_parameters, leaves_apart
from pdejax.data.plan import Plan, keys_of, stepper_of
from pdejax.data.provenance import decimal
from pdejax.data.solver_error import on_grid
from pdejax.data.trajectories import axis_names
from pdejax.equations import ConservationLaw


class Chunk(eqx.Module):
    """What a chunk's program returns; every leaf leads with the sample."""

    frames: Any
    start: Any
    failed_at: Any
    dt: Any
    parameters: dict[str, Any]


@eqx.filter_jit
def solve_chunk(stepper: Any, initial: Any, key: PRNGKeyArray, indices: Int[Array, " sample"], plan: Plan) -> Chunk:
    one, devices = lambda index: _solve_one(stepper, initial, key, index, plan), plan.devices
    if devices is None:
        return jax.vmap(one)(indices)
    samples = NamedSharding(devices.mesh, PartitionSpec("data"))
    return jax.vmap(one, spmd_axis_name="data")(jax.lax.with_sharding_constraint(indices, samples))


@eqx.filter_jit
def apart_of(stepper: Any, key: PRNGKeyArray, indices: Int[Array, " sample"]) -> dict[str, Array]:
    """The numbers of the equations of these samples that are no parameters, `(sample, ...)`."""

    def of_sample(index: Int[Array, ""]) -> dict[str, Array]:
        made, _ = stepper_of(stepper, keys_of(key, index)[1])
        return leaves_apart(getattr(made, "equation", None))

    return jax.vmap(of_sample)(indices)


def _solve_one(stepper: Any, initial: Any, key: PRNGKeyArray, index: Int[Array, ""], plan: Plan) -> Chunk:
    initial_key, stepper_key, step_key = keys_of(key, index)
    stepper, declared = stepper_of(stepper, stepper_key)
    grid = stepper.grid
    stored_grid = plan.stored_grid(grid)

    def keep(u: Array) -> Array:
        return on_grid(u, stepper, grid, stored_grid).astype(plan.dtype)

    def step(n: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        u, failed_at = carry
        following = stepper(u, t=n * stepper.dt, key=jax.random.fold_in(step_key, n)).astype(u.dtype)
        failed_now = (failed_at < 0) & ~jnp.all(jnp.isfinite(following))
        return following, jnp.where(failed_now, n + 1, failed_at)

    def frame(carry: tuple[Array, Array, Array], j: Array) -> tuple[tuple[Array, Array, Array], Array]:
        # The burn-in is the way to frame 0: with a loop of its own, the step would be compiled twice.
        u, start, failed_at = carry
        first = jnp.where(j == 0, 0, plan.burn_in + (j - 1) * plan.store_every)
        u, failed_at = jax.lax.fori_loop(first, plan.burn_in + j * plan.store_every, step, (u, failed_at))
        return (u, jnp.where(j == 0, u, start), failed_at), keep(u)

    def drawn(key: PRNGKeyArray) -> Array:
        return jnp.asarray(initial(grid, key=key), grid.dtype)

    u = drawn(initial_key) if plan.devices is None else plan.devices.alone(drawn)(initial_key)
    carry = (u, u, jnp.where(jnp.all(jnp.isfinite(u)), -1, 0))
    (_, start, failed_at), frames = jax.lax.scan(frame, carry, jnp.arange(plan.num_frames))
    return Chunk(
        frames=frames,
        start=start,
        failed_at=failed_at,
        dt=stepper.dt,
        parameters=_parameters(stepper, declared, plan),
    )


def _parameters(stepper: Any, declared: dict[str, Array], plan: Plan) -> dict[str, Array]:
    """Interval and extents, the coefficients of the equation, and what was declared with the stepper.

    Raises `ValueError` when two of them have one name.
    """
    grid = stepper.grid
    layout = {"output_interval": stepper.dt * plan.store_every}
    layout |= {f"extent_{name}": grid.extent[a] for a, name in enumerate(axis_names(grid.ndim))}
    coefficients = coefficient_parameters(getattr(stepper, "equation", None), grid.ndim)
    if taken := sorted(coefficients.keys() & layout.keys()):
        raise ValueError(f"The equation has a coefficient {taken[0]!r}, the name of an interval or extent: rename it.")
    if taken := sorted(declared.keys() & (coefficients.keys() | layout.keys())):
        # Stored in its place, it would tell `evaluate` and a model of another problem than the one solved.
        whose = "coefficient of the equation" if taken[0] in coefficients else "interval or extent of the data"
        raise ValueError(
            f"The function that makes the steppers declares {taken[0]!r}, the name of a {whose}, which is stored as it "
            "was solved with: leave it out, or rename it."
        )
    return layout | coefficients | declared


def check_initial(stepper: Any, initial: Any, key: PRNGKeyArray) -> None:
    """Raises `ValueError` where the first initial state is none of the conservation law that is solved."""
    initial_key, stepper_key, _ = keys_of(key, 0)
    made, _ = stepper_of(stepper, stepper_key)
    law = getattr(made, "equation", None)
    if not isinstance(law, ConservationLaw):
        return
    for name, values in law.positive(jnp.asarray(initial(made.grid, key=initial_key), made.grid.dtype)).items():
        if not np.all(np.asarray(values) > 0):
            raise ValueError(
                f"The initial state of trajectory 0 is no state of {type(law).__name__}: its {name} is as low as "
                f"{float(np.min(values)):.4g}. Give the initial law a mean (--initial-mean on the command line)."
            )


def check_finite(chunk: Chunk, first: int, plan: Plan) -> None:
    for i, failed_at in enumerate(chunk.failed_at.tolist()):
        if failed_at == 0:
            raise FloatingPointError(f"The initial state of trajectory {first + i} is not finite: see the initial law.")
        if failed_at > 0:
            after = failed_at - plan.burn_in
            where = f"by frame {-(-after // plan.store_every)}" if after > 0 else "during the burn-in"
            dt = decimal(chunk.dt[i])
            raise FloatingPointError(
                f"Trajectory {first + i} is not finite at t = {failed_at * dt:g}, {where} (step {failed_at} of dt = "
                f"{dt:g}): take more substeps or a smaller dt, a finer grid, or a smoother initial state."
            )
        if not np.all(np.isfinite(chunk.frames[i])):
            raise FloatingPointError(f"Trajectory {first + i} has values beyond {plan.dtype}: store dtype=float64.")
