"""Integrators and the two drivers that run them."""

from pdejax.solvers.etdrk import ETDRK2 as ETDRK2
from pdejax.solvers.etdrk import ETDRK3 as ETDRK3
from pdejax.solvers.etdrk import ETDRK4 as ETDRK4
from pdejax.solvers.exponential import AbstractExponentialSolver as AbstractExponentialSolver
from pdejax.solvers.exponential import SemilinearTerm as SemilinearTerm
from pdejax.solvers.integrating_factor import IntegratingFactorRK4 as IntegratingFactorRK4
from pdejax.solvers.linear_part import Coupled as Coupled
from pdejax.solvers.linear_part import Diagonal as Diagonal
from pdejax.solvers.solve import Solution as Solution
from pdejax.solvers.solve import explain as explain
from pdejax.solvers.solve import solve as solve
from pdejax.solvers.time_stepper import TimeStepper as TimeStepper
