"""pdejax: neural PDE solvers and operator learning, beside the classical solvers that judge them."""

from pdejax import boundary as boundary
from pdejax import elliptic as elliptic
from pdejax import equations as equations
from pdejax import initial as initial
from pdejax import metrics as metrics
from pdejax import models as models
from pdejax import plotting as plotting
from pdejax import solvers as solvers
from pdejax.data import Trajectories as Trajectories
from pdejax.data import generate as generate
from pdejax.data import read_well as read_well
from pdejax.data import write_well as write_well
from pdejax.evaluate import evaluate as evaluate
from pdejax.fields import Chebyshev as Chebyshev
from pdejax.fields import FiniteDifference as FiniteDifference
from pdejax.fields import Pointwise as Pointwise
from pdejax.fields import Spectral as Spectral
from pdejax.fields import interpolate as interpolate
from pdejax.grid import Grid as Grid
from pdejax.resample import resample as resample
from pdejax.rollout import rollout as rollout
from pdejax.solvers import TimeStepper as TimeStepper
from pdejax.solvers import explain as explain
from pdejax.solvers import solve as solve
from pdejax.training import fit as fit
from pdejax.training import objectives as objectives
