"""A solver that a fit uses lives on the grid of the data."""

from typing import Any

import numpy as np

from pdejax.data.trajectories import layout_names
from pdejax.grid import Grid


def check_grid(what: str, grid: Grid, domain: Any, parameters: Any) -> None:
    """Raises `ValueError` unless the data live on this grid, in one box."""
    if not isinstance(domain, Grid):
        raise ValueError(f"The data for {what} live on a grid, and these on {domain!r}: pass Trajectories.")
    for name in ("shape", "periodic", "points"):
        if getattr(domain, name) != getattr(grid, name):
            raise ValueError(
                f"The data live on a grid with {name}={getattr(domain, name)}, and {what} on one with "
                f"{getattr(grid, name)}: build it with `data.grid`."
            )
    for name in ("extent", "origin"):
        of_data, own = (np.asarray(getattr(each, name), float) for each in (domain, grid))
        if not np.allclose(of_data, own, rtol=1e-5, atol=1e-5 * float(np.max(np.asarray(grid.extent)))):
            raise ValueError(f"The data live in a box of {name} {of_data}, and {what} in one of {own}.")
    if varying := sorted(set(parameters) & {*layout_names(grid.ndim)} - {"output_interval"}):
        raise ValueError(f"{what} knows one box, and the data vary {varying[0]}: choose one box.")
