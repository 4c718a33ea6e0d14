"""What a model is trained for: a scalar of the model and a batch."""

from pdejax.training.objectives.all_pairs import AllPairs as AllPairs
from pdejax.training.objectives.bundled import Bundled as Bundled
from pdejax.training.objectives.curriculum import Curriculum as Curriculum
from pdejax.training.objectives.derivative import Derivative as Derivative
from pdejax.training.objectives.direct import DirectMultiStep as DirectMultiStep
from pdejax.training.objectives.diverted_chain import DivertedChain as DivertedChain
from pdejax.training.objectives.latent import Latent as Latent
from pdejax.training.objectives.noise import InputNoise as InputNoise
from pdejax.training.objectives.objective import AbstractObjective as AbstractObjective
from pdejax.training.objectives.objective import Pairs as Pairs
from pdejax.training.objectives.objective import Windows as Windows
from pdejax.training.objectives.one_step import OneStep as OneStep
from pdejax.training.objectives.physics_residual import PhysicsResidual as PhysicsResidual
from pdejax.training.objectives.pushforward import Pushforward as Pushforward
from pdejax.training.objectives.refined import Refined as Refined
from pdejax.training.objectives.sum import Sum as Sum
from pdejax.training.objectives.supervised import Supervised as Supervised
from pdejax.training.objectives.unrolled import Unrolled as Unrolled
