"""A classical solver beside a surrogate: from states on the data's points to states on the data's points."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from pdejax.data.solver_error import on_grid
from pdejax.grid import Grid
from pdejax.solvers import TimeStepper


class OnDataGrid(eqx.Module):
    """A solver of any resolution as a map between states on the points of the data.

    A surrogate takes and returns states on those points, and so does its rival: the state is truncated to the solver's
    modes (averaged over its cells), advanced by one output interval, and evaluated on the data's points again. Both are
    part of its cost. Truncating what was just padded changes nothing, and neither does averaging what was just made
    finer by a whole number, so there the trajectory is that of the solver by itself.

    Of a solver with more points than the data this is not so: what the data do not hold would be lost at every output.
    A rollout of such a one carries its own states, from `entered` to `shown`.
    """

    stepper: TimeStepper
    grid: Grid

    @property
    def dt(self) -> Float[Array, ""]:
        return self.stepper.dt

    def __call__(
        self, u: Float[Array, "channel *space"], *, t: Any = 0.0, key: Any = None
    ) -> Float[Array, "channel *space"]:
        return self.shown(self.stepper(self.entered(u), t=t)).astype(u.dtype)

    @property
    def is_finer(self) -> bool:
        """Whether the solver has more points than the data, along any axis."""
        return any(m > n for m, n in zip(self.stepper.grid.shape, self.grid.shape, strict=True))

    def entered(self, u: Float[Array, "channel *space"]) -> Float[Array, "channel *own_space"]:
        """A state of the data on the solver's points."""
        return on_grid(u, self.stepper, self.grid, self.stepper.grid)

    def shown(self, u: Float[Array, "channel *own_space"]) -> Float[Array, "channel *space"]:
        """A state of the solver on the data's points."""
        return on_grid(u, self.stepper, self.stepper.grid, self.grid)
