"""The compiled part of a fit: many optimiser steps per call, and the score on held-out data."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from pdejax.devices import Devices
from pdejax.models.ensemble import member_axes, without_ensemble
from pdejax.training.dataset import DeviceData, batch_at, sample_batch
from pdejax.training.members import EACH, each_member, member_keys, step_keys
from pdejax.training.objectives import Pairs, Windows

# Of a batch that is scored: later than any run takes, so that every schedule of the step has come to its end.
_AFTER_ALL_STEPS = np.int32(2**30)


QUICK_COMPILATION: dict[str, Any] = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""Options for `fit(..., compiler_options=)`: XLA compiles a U-Net for one CPU core in half the time, for two cores in
a tenth to a fifth less, and its steps take a tenth to a fifth longer. For short runs of deep networks."""

QUICKEST_COMPILATION: dict[str, Any] = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""The same for runs of a few steps, tests and debugging: a U-Net is compiled in a fifth of the time, and its steps take
two to four times as long."""


class Carry(NamedTuple):
    """What a step changes; see `TrainingState`."""

    parameters: Any
    optimiser_state: Any
    average: Any
    average_weight: Any


def compiled_steps(
    objective,
    optimiser,
    rest,
    batch_size: int,
    ema_decay: float | None,
    capacity: int,
    devices: Devices | None = None,
    compiler_options: dict[str, Any] | None = None,
):
    """The compiled loop: `(carry, data, key, first, count) -> (carry, rows, steps done, all finite)`.

    `rest` is the model without what is optimised. For an ensemble, rows and finiteness have an axis of members.
    """

    def update(carry: Carry, key: PRNGKeyArray, rest: Any, data: DeviceData, step):
        def loss_of(parameters, batch, key):
            if devices is not None:
                parameters = devices.constrain_whole(parameters)
            return objective(without_ensemble(eqx.combine(parameters, rest)), batch, key)

        batch_key, loss_key = jax.random.split(key)
        batch = sample_batch(data, batch_size, batch_key)
        if isinstance(batch, Windows):
            batch = batch._replace(step=step)
        if devices is not None:
            batch = _cut(batch, devices)
        (loss, logs), gradient = jax.value_and_grad(loss_of, has_aux=True)(carry.parameters, batch, loss_key)
        norm = optax.tree.norm(gradient)
        # Of a complex weight JAX returns the conjugate of the direction of steepest ascent, which optimisers want.
        gradient = jax.tree.map(jnp.conj, gradient)
        updates, optimiser_state = optimiser.update(
            gradient,
            carry.optimiser_state,
            carry.parameters,
            value=loss,
            grad=gradient,
            value_fn=lambda parameters: loss_of(parameters, batch, loss_key)[0],
        )
        parameters = optax.apply_updates(carry.parameters, updates)
        average, weight = carry.average, carry.average_weight
        if ema_decay is not None:
            gain = 1 - ema_decay
            average = jax.tree.map(lambda a, p: a + gain * (p.astype(a.dtype) - a), average, parameters)
            weight = weight + gain * (1 - weight)
        # What the optimiser keeps beside is not asked: some keep an infinity on purpose, a best loss not yet seen.
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        for leaf in jax.tree.leaves(parameters):
            finite &= jnp.all(jnp.isfinite(leaf))
        rows = {"loss": loss, "gradient_norm": norm, **logs}
        return Carry(parameters, optimiser_state, average, weight), rows, finite

    updates_of = each_member(update, rest, (EACH, 0, member_axes(rest), None, None))

    def one_step(carry: Carry, data: DeviceData, key: PRNGKeyArray, step):
        following, rows, finite = updates_of(carry, step_keys(key, rest, step), rest, data, step)
        # A step that fails changes nothing, or its NaN would be met in what the error hands back.
        following = jax.lax.cond(jnp.all(finite), lambda new, _: new, lambda _, old: old, following, carry)
        if devices is not None:
            following = devices.constrain_kept(following)
        return following, rows, finite

    # It hands these to `jax.jit`, which its overloads do not say.
    @eqx.filter_jit(donate="all-except-first", compiler_options=compiler_options)  # pyright: ignore[reportCallIssue]
    def advance(arguments, carry):
        data, key, first, count = arguments
        shapes = jax.eval_shape(one_step, carry, data, key, first)[1]
        rows = {name: jnp.zeros((capacity, *row.shape), row.dtype) for name, row in shapes.items()}

        def body(loop):
            i, carry, rows, _ = loop
            carry, row, finite = one_step(carry, data, key, first + i)
            return i + 1, carry, {name: rows[name].at[i].set(row[name]) for name in rows}, jnp.all(finite)

        # A while loop with the number of steps as an argument: one program for every number, so that how a run is cut
        # into calls cannot change how XLA rounds.
        start = (jnp.int32(0), carry, rows, jnp.bool_(True))
        done, carry, rows, finite = jax.lax.while_loop(lambda loop: (loop[0] < count) & loop[3], body, start)
        return carry, rows, done, finite

    def call(carry, data, key, first, count):
        # Numbers of numpy: in a run of several processes an array of JAX would belong to one of them.
        return advance((data, key, np.int32(first), np.int32(count)), carry)

    call.lower = lambda carry, data, key: advance.lower((data, key, np.int32(0), np.int32(1)), carry)
    return call


def _cut(batch: Any, devices: Devices) -> Any:
    """The states and the parameters of a batch; its domain is the same for all."""
    if isinstance(batch, Pairs):
        inputs, targets = devices.cut((batch.inputs, batch.targets), channel_axis=1)
        return Pairs(inputs, targets, devices.cut(batch.parameters, channel_axis=0))  # fields have no channels
    assert isinstance(batch, Windows)
    return batch._replace(u=devices.cut(batch.u, channel_axis=2), parameters=devices.cut(batch.parameters, 1))


def compiled_score(objective, batch_size: int, compiler_options: dict[str, Any] | None = None):
    """The mean loss over evenly spread windows, in batches of the training size; for an ensemble one per member."""

    def score(model, key: PRNGKeyArray, data: DeviceData):
        model = without_ensemble(model)
        size = min(batch_size, data.num_windows)
        batches = min(-(-64 // size), data.num_windows // size)
        indices = np.linspace(0, data.num_windows - 1, batches * size).round().astype(int).reshape(batches, size)
        # No training step has this number, so this key meets no other.
        key = jax.random.fold_in(key, 2**32 - 1)

        def of(index):
            batch = batch_at(data, index)
            if isinstance(batch, Windows):
                batch = batch._replace(step=_AFTER_ALL_STEPS)
            return objective(model, batch, key)[0]

        return jnp.mean(jax.lax.map(of, jnp.asarray(indices)))

    @eqx.filter_jit(compiler_options=compiler_options)  # pyright: ignore[reportCallIssue]
    def scores(model, data: DeviceData, key: PRNGKeyArray):
        axes = member_axes(model), 0, None
        return each_member(score, model, axes)(model, member_keys(key, model), data)

    return scores
