"""One objective after another, by the number of the optimiser step."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows, check_in_time


class Curriculum(AbstractObjective):
    r"""The objective of the stage that the optimiser step is in: that of the last stage with `first_step <= step`.

        Curriculum(((0, OneStep()), (1000, Unrolled(2)), (2000, Unrolled(8))))

    A dict from first step to objective says the same. Every window is as long as the longest stage needs; each stage
    takes its first frames. All stages are compiled into one program, and one of them runs. Held-out data are scored by
    the last stage all through, so that the scores of a run can be compared. The logs hold what any stage logs, NaN
    while it is not the one that runs.

    Raises `ValueError` without a stage, for a first one that does not begin at step 0, for steps that do not increase,
    and for an objective that takes pairs.
    Source: Bengio et al., Curriculum Learning (ICML 2009); growing horizons: Lam et al., Learning skillful medium-range
    global weather forecasting (Science 2023).
    """

    first_steps: tuple[int, ...] = eqx.field(static=True)
    objectives: tuple[AbstractObjective, ...]

    def __init__(self, stages: Sequence[Any] | Mapping[int, Any]):
        stages = tuple(stages.items()) if isinstance(stages, Mapping) else tuple(stages)
        for stage in stages:
            if not (isinstance(stage, tuple | list) and len(stage) == 2):
                raise ValueError(f"Curriculum takes stages (first_step, objective), got {stage!r}.")
            if not isinstance(stage[1], AbstractObjective) or stage[1].frames is None:
                raise ValueError(f"A stage of Curriculum is an objective in time, e.g. OneStep(), got {stage[1]!r}.")
            check_in_time("Curriculum", stage[1])
        steps = [first for first, _ in stages]
        whole = all(isinstance(first, int | np.integer) for first in steps)
        if not whole or not steps or steps[0] != 0 or any(b <= a for a, b in itertools.pairwise(steps)):
            raise ValueError(f"The stages of Curriculum begin at step 0 and at ever later whole numbers, got {steps}.")
        self.first_steps = tuple(int(first) for first in steps)
        self.objectives = tuple(objective for _, objective in stages)

    @property
    def frames(self) -> int:
        return max(objective.frames or 1 for objective in self.objectives)

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        calls = [self._call_of(objective, model, batch) for objective in self.objectives]
        logged: Logs = {}
        for call in calls:
            logged |= jax.eval_shape(call, key)[1]

        def with_all_logs(call: Callable[[Any], tuple[Array, Logs]]) -> Callable[[Any], tuple[Array, Logs]]:
            def run(key: Any) -> tuple[Array, Logs]:
                loss, logs = call(key)
                absent = {name: jnp.full(row.shape, jnp.nan, row.dtype) for name, row in logged.items()}
                return loss, absent | {name: row.astype(logged[name].dtype) for name, row in logs.items()}

            return run

        # Their sum counts the later stages that have begun.
        stage = jnp.sum(jnp.asarray(batch.step) >= jnp.asarray(self.first_steps[1:], jnp.int32))
        return jax.lax.switch(stage, [with_all_logs(call) for call in calls], key)

    def _call_of(self, objective: AbstractObjective, model: Any, batch: Windows) -> Callable[[Any], Any]:
        first_frames = batch._replace(u=batch.u[:, : objective.frames])
        return lambda key: objective(model, first_frames, key)
