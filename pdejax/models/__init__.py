"""Architectures, one per file, and what surrounds a network: statistics, a time step, a file."""

from pdejax.models.bundles import LastFrames as LastFrames
from pdejax.models.bundles import bundled as bundled
from pdejax.models.bundles import unbundled as unbundled
from pdejax.models.corrected import Corrected as Corrected
from pdejax.models.ensemble import Ensemble as Ensemble
from pdejax.models.ensemble import members as members
from pdejax.models.file import SavedModel as SavedModel
from pdejax.models.file import load as load
from pdejax.models.file import save as save
from pdejax.models.fno import FNO as FNO
from pdejax.models.galerkin_transformer import GalerkinTransformer as GalerkinTransformer
from pdejax.models.ifactformer import IFactFormer as IFactFormer
from pdejax.models.in_precision import InPrecision as InPrecision
from pdejax.models.integrated import Integrated as Integrated
from pdejax.models.learned_reconstruction import LearnedReconstruction as LearnedReconstruction
from pdejax.models.learned_solver import LearnedSolver as LearnedSolver
from pdejax.models.normalised import Normalised as Normalised
from pdejax.models.normalised import Statistics as Statistics
from pdejax.models.normalised import input_scale as input_scale
from pdejax.models.normalised import output_scale as output_scale
from pdejax.models.normalised import trainable as trainable
from pdejax.models.stepper import NeuralStepper as NeuralStepper
from pdejax.models.swin_unet import SwinUNet as SwinUNet
from pdejax.nn import Held as Held
