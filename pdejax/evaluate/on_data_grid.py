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
    """

    stepper: TimeStepper
    grid: Grid

    @property
    def dt(self) -> Float[Array, ""]:
        return self.stepper.dt

    def __call__(
        self, u: Float[Array, "channel *space"], *, t: Any = 0.0, key: Any = None
    ) -> Float[Array, "channel *space"]:
        following = self.stepper(on_grid(u, self.stepper, self.grid, self.stepper.grid), t=t)
        return on_grid(following, self.stepper, self.stepper.grid, self.grid).astype(u.dtype)
