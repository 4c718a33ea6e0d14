"""Integrators and the two drivers that run them."""

from pdejax.solvers.backward_differentiation import BDF2 as BDF2
from pdejax.solvers.etdrk import ETDRK2 as ETDRK2
from pdejax.solvers.etdrk import ETDRK3 as ETDRK3
from pdejax.solvers.etdrk import ETDRK4 as ETDRK4
from pdejax.solvers.exponential import AbstractExponentialSolver as AbstractExponentialSolver
from pdejax.solvers.exponential_multistep import ExponentialAdamsBashforth2 as ExponentialAdamsBashforth2
from pdejax.solvers.exponential_multistep import ExponentialAdamsBashforth3 as ExponentialAdamsBashforth3
from pdejax.solvers.exponential_multistep import ExponentialAdamsBashforth4 as ExponentialAdamsBashforth4
from pdejax.solvers.implicit_explicit import CrankNicolsonRK4 as CrankNicolsonRK4
from pdejax.solvers.implicit_explicit import KenCarp3 as KenCarp3
from pdejax.solvers.implicit_explicit import KenCarp4 as KenCarp4
from pdejax.solvers.implicit_explicit import Sil3 as Sil3
from pdejax.solvers.integrating_factor import IntegratingFactorRK4 as IntegratingFactorRK4
from pdejax.solvers.linear_part import Coupled as Coupled
from pdejax.solvers.linear_part import Diagonal as Diagonal
from pdejax.solvers.semilinear import AbstractSemilinearSolver as AbstractSemilinearSolver
from pdejax.solvers.semilinear import SemilinearTerm as SemilinearTerm
from pdejax.solvers.solve import Solution as Solution
from pdejax.solvers.solve import explain as explain
from pdejax.solvers.solve import solve as solve
from pdejax.solvers.strong_stability import SSPRK2 as SSPRK2
from pdejax.solvers.strong_stability import SSPRK3 as SSPRK3
from pdejax.solvers.time_stepper import TimeStepper as TimeStepper
