"""Any objective in time, for a model that predicts several frames in one call."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.training.objectives.objective import AbstractObjective, Logs, Windows, check_in_time


class Bundled(AbstractObjective):
    r"""`objective` for a model whose states are bundles of `num_frames` consecutive frames (`pdejax.models.bundled`):

        model: (num_frames * channel, *space) -> (num_frames * channel, *space),   frame k, channel c at k * C + c

    A step of the objective is a step of the model, `num_frames` intervals: `Bundled(Pushforward(1), 5)` pushes by a
    bundle, `Bundled(Unrolled(2), 5)` compares ten frames with the truth. Every frame counts alike in the loss, in units
    of its own increment where `fit` normalises the model.

    - `num_frames`: of a bundle.
    - `inputs`: how many true frames the first bundle is made of, by default all; the ones before them are the first of
      these, repeated. For a model that reads no more (`pdejax.models.LastFrames`); one frame then is enough to begin.

    Raises `ValueError` for counts below one, more inputs than frames, an objective that takes pairs, and a bundle of
    bundles.
    Source: Brandstetter, Worrall & Welling, Message Passing Neural PDE Solvers (ICLR 2022), section 3.1.
    """

    objective: AbstractObjective
    num_frames: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True)

    def __init__(self, objective: Any, num_frames: int, inputs: int | None = None):
        check_in_time("Bundled", objective)
        self.objective, self.num_frames = objective, count_of("num_frames", num_frames)
        self.inputs = self.num_frames if inputs is None else count_of("inputs", inputs)
        if self.inputs > self.num_frames:
            raise ValueError(f"A bundle of {num_frames} frames has no {inputs} inputs: use inputs <= {num_frames}.")

    @property
    def frames(self) -> int:
        return self.inputs + ((self.objective.frames or 1) - 1) * self.num_frames

    @property
    def bundle(self) -> int:
        return self.num_frames

    def __call__(self, model: Any, batch: Windows, key: PRNGKeyArray) -> tuple[Float[Array, ""], Logs]:
        missing = self.num_frames - self.inputs
        u = jnp.concatenate([jnp.repeat(batch.u[:, :1], missing, axis=1), batch.u], axis=1)
        # Frames that are not equally far apart have no interval; whoever needs the time refuses them.
        interval = batch.parameters.get("output_interval", 0.0 if batch.interval is None else batch.interval)
        time = batch.time + (self.inputs - 1) * interval
        u = u.reshape(u.shape[0], -1, self.num_frames * u.shape[2], *u.shape[3:])
        return self.objective(model, batch._replace(u=u, time=time, bundle=self.num_frames), key)
