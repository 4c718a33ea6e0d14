"""What a fit returns, and what it raises when it cannot go on."""

import dataclasses
from typing import Any

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
