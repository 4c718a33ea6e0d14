"""Fitting models to data."""

from pdejax.training.checkpoints import Checkpoints as Checkpoints
from pdejax.training.devices import Devices as Devices
from pdejax.training.fit import fit as fit
from pdejax.training.fitted import Fitted as Fitted
from pdejax.training.fitted import TrainingDiverged as TrainingDiverged
from pdejax.training.log import TrainingLog as TrainingLog
from pdejax.training.losses import AbstractLoss as AbstractLoss
from pdejax.training.losses import MeanSquare as MeanSquare
from pdejax.training.losses import RelativeL1 as RelativeL1
from pdejax.training.losses import RelativeL2 as RelativeL2
from pdejax.training.losses import Sobolev as Sobolev
from pdejax.training.losses import SpectralBands as SpectralBands
from pdejax.training.objectives import AbstractObjective as AbstractObjective
from pdejax.training.objectives import AllPairs as AllPairs
from pdejax.training.objectives import Curriculum as Curriculum
from pdejax.training.objectives import DirectMultiStep as DirectMultiStep
from pdejax.training.objectives import DivertedChain as DivertedChain
from pdejax.training.objectives import InputNoise as InputNoise
from pdejax.training.objectives import OneStep as OneStep
from pdejax.training.objectives import Pairs as Pairs
from pdejax.training.objectives import Pushforward as Pushforward
from pdejax.training.objectives import Supervised as Supervised
from pdejax.training.objectives import Unrolled as Unrolled
from pdejax.training.objectives import Windows as Windows
from pdejax.training.state import TrainingState as TrainingState
