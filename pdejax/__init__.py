"""pdejax: neural PDE solvers and operator learning, beside the classical solvers that judge them."""

from pdejax import boundary as boundary
from pdejax import equations as equations
from pdejax import solvers as solvers
from pdejax.fields import FiniteDifference as FiniteDifference
from pdejax.fields import Pointwise as Pointwise
from pdejax.fields import Spectral as Spectral
from pdejax.grid import Grid as Grid
from pdejax.rollout import rollout as rollout
from pdejax.solvers import TimeStepper as TimeStepper
from pdejax.solvers import explain as explain
from pdejax.solvers import solve as solve
