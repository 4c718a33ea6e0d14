"""Maxwell's equations in time: Yee's staggered leapfrog (finite-difference time-domain), with layers that absorb."""

from pdejax.yee.dispersion import numerical_frequency as numerical_frequency
from pdejax.yee.lattice import TE as TE
from pdejax.yee.lattice import TM as TM
from pdejax.yee.maxwell import Maxwell as Maxwell
from pdejax.yee.maxwell import YeeState as YeeState
from pdejax.yee.rollout import rollout as rollout
from pdejax.yee.stepper import YeeStepper as YeeStepper
from pdejax.yee.walls import Conductor as Conductor
from pdejax.yee.walls import PerfectlyMatchedLayer as PerfectlyMatchedLayer
