"""What a fit returns, and what it raises when it cannot go on."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pdejax.training.checkpoints import CheckpointFolder
from pdejax.training.log import TrainingLog
from pdejax.training.state import TrainingState


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What `fit` returns: `model` (physical units in and out, averaged weights if asked for), `log`, and `state`.

    With `keep_best` the model is that of step `state.best.step`; the state is always the last one.
    """

    model: Any
    log: TrainingLog
    state: TrainingState


class TrainingDiverged(RuntimeError):
    """The loss, its gradient or the updated weights are not finite. `fitted` is the run up to the step before.

    That step has changed nothing: weights, average and optimiser state are those of a run that stopped before it.
    """

    def __init__(self, message: str, fitted: Fitted):
        super().__init__(message)
        self.fitted = fitted


def divergence(step: int, rows: Mapping[str, np.ndarray], folder: CheckpointFolder | None) -> str:
    """What happened at `step`, the last of `rows`, and what to do."""
    losses, norms = np.atleast_1d(rows["loss"][-1]), np.atleast_1d(rows["gradient_norm"][-1])
    bad = ~(np.isfinite(losses) & np.isfinite(norms))
    which = int(np.argmax(bad))
    member = f", member {which} of the ensemble" if len(losses) > 1 and bad.any() else ""
    update = "" if bad.any() else ", and the update is not finite"
    kept = ""
    if folder is not None and folder.newest is not None:
        kept = f"; the last checkpoint in {folder.settings.folder} is that of step {folder.newest}"
    return (
        f"Step {step}{member}: the loss is {losses[which]:g} and the norm of its gradient {norms[which]:g}{update}. "
        "Lower the learning rate, clip the gradient (optax.clip_by_global_norm) or check the data; the error's "
        f"`fitted` holds the run before this step{kept}."
    )
