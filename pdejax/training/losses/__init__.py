"""How far a predicted state is from the true one, as values: `OneStep(loss=RelativeL2())`."""

from pdejax.training.losses.loss import AbstractLoss as AbstractLoss
from pdejax.training.losses.pointwise import MeanSquare as MeanSquare
from pdejax.training.losses.pointwise import RelativeL1 as RelativeL1
from pdejax.training.losses.pointwise import RelativeL2 as RelativeL2
from pdejax.training.losses.spectral import Sobolev as Sobolev
from pdejax.training.losses.spectral import SpectralBands as SpectralBands
