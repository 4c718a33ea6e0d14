"""Linear elliptic problems on a grid: direct solvers, multigrid, and the plate equation."""

from pdejax.elliptic.biharmonic import biharmonic as biharmonic
from pdejax.elliptic.operator import EllipticOperator as EllipticOperator
from pdejax.elliptic.solve import Statistics as Statistics
from pdejax.elliptic.solve import darcy as darcy
from pdejax.elliptic.solve import helmholtz as helmholtz
from pdejax.elliptic.solve import poisson as poisson
from pdejax.elliptic.solve import solve_elliptic as solve_elliptic
