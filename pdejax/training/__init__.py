"""Fitting models to data."""

from pdejax.training.checkpoints import Checkpoints as Checkpoints
from pdejax.training.devices import Devices as Devices
from pdejax.training.fit import fit as fit
from pdejax.training.fitted import Fitted as Fitted
from pdejax.training.fitted import TrainingDiverged as TrainingDiverged
from pdejax.training.log import TrainingLog as TrainingLog
from pdejax.training.objectives import AbstractObjective as AbstractObjective
from pdejax.training.objectives import DirectMultiStep as DirectMultiStep
from pdejax.training.objectives import InputNoise as InputNoise
from pdejax.training.objectives import OneStep as OneStep
from pdejax.training.objectives import Pairs as Pairs
from pdejax.training.objectives import Pushforward as Pushforward
from pdejax.training.objectives import Supervised as Supervised
from pdejax.training.objectives import Unrolled as Unrolled
from pdejax.training.objectives import Windows as Windows
from pdejax.training.state import TrainingState as TrainingState
