"""What exponential integrators share.

The linear part is exact: stiffness costs nothing, and a linear equation is solved to rounding. Updates are written as
`y + (e^(hL) - 1) y + ...`: in float32 the round-off of many steps then grows several times more slowly.
"""

import diffrax

from pdejax.solvers.semilinear import AbstractSemilinearSolver


class AbstractExponentialSolver(AbstractSemilinearSolver, diffrax.AbstractAdaptiveSolver):
    """A one-step method whose coefficients are functions phi_l of `h L`, with an embedded error estimate."""
