"""What is known of the truth: how finely it was solved, that it is finite, and how large it is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pdejax.data import Trajectories


def truth_shape_of(test: Trajectories, given: Sequence[int] | None) -> tuple[int, ...] | None:
    """The points per axis that the truth was solved on: as given, or from the provenance, or None if nobody says.

    Raises `ValueError` when what is given is not one whole number for every axis, or less than the data has points.
    """
    if given is not None:
        sizes = tuple(given) if isinstance(given, Sequence | np.ndarray) else (given,)
        if len(sizes) != test.grid.ndim or any(not isinstance(n, int | np.integer) or n < 2 for n in sizes):
            example = tuple(2 * n for n in test.grid.shape)
            raise ValueError(
                f"truth_shape needs one number of points for each of {test.grid.ndim} axes, e.g. {example}, got "
                f"{given!r}."
            )
        if any(n < own for n, own in zip(sizes, test.grid.shape, strict=True)):
            shown = ["x".join(map(str, points)) for points in (sizes, test.grid.shape)]
            raise ValueError(
                f"truth_shape states that the truth was solved on {shown[0]} points, but the data has {shown[1]}: it "
                "was solved on at least as many."
            )
        return tuple(int(n) for n in sizes)
    shape = test.provenance.get("solved_on", ())
    return tuple(int(n) for n in shape) if len(shape) == test.grid.ndim else None


def sizes_of(test: Trajectories) -> Float[np.ndarray, " channel"]:
    """The root mean square of every channel over points, times and trajectories.

    Raises `ValueError` for a truth that is not finite, naming trajectory and frame, and for one that is zero.
    """
    squares = np.zeros(test.num_channels)
    for i in range(len(test)):  # one at a time: `test` may be a file larger than memory
        u = np.asarray(test.u[i])
        finite = np.isfinite(u).all(axis=tuple(range(1, u.ndim)))
        if not finite.all():
            frame = int(np.argmin(finite))
            raise ValueError(
                f"The stored truth of trajectory {i} is not finite from frame {frame} (t = {test.times[frame]:g}) on, "
                "which no surrogate can be blamed for: leave the trajectory out, or keep the frames before."
            )
        squares += np.mean(u.astype(np.float64) ** 2, axis=(0, *range(2, u.ndim))) / len(test)
    if not squares.any():
        raise ValueError("The truth is zero in every channel at all times: there is nothing to predict.")
    return np.sqrt(squares)
