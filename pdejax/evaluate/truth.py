"""How finely the truth was solved, as far as the data says."""

from collections.abc import Sequence

from pdejax.data import Trajectories


def truth_shape_of(test: Trajectories, given: Sequence[int] | None) -> tuple[int, ...] | None:
    """The points per axis that the truth was solved on: as given, or from the provenance, or None if nobody says.

    Raises `ValueError` when what is given does not fit the number of axes.
    """
    if given is not None:
        if len(given) != test.grid.ndim:
            raise ValueError(f"truth_shape needs one size for each of {test.grid.ndim} axes, got {tuple(given)}.")
        return tuple(int(n) for n in given)
    shape = test.provenance.get("solved_on", ())
    return tuple(int(n) for n in shape) if len(shape) == test.grid.ndim else None
