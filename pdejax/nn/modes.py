"""Which Fourier frequencies a layer keeps, said once and converted exactly between the conventions in use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Modes:
    r"""The frequencies `lowest[a] <= k_a <= highest[a]` along each axis a, both ends included.

    The last axis is the one a real transform halves: its frequencies start at 0, because those of the other sign are
    the complex conjugates. Two conventions are in use, and they differ by more than a factor of two:

    | | all axes but the last | last axis |
    |---|---|---|
    | `Modes.classic(m, ndim)` (Li et al. 2021) | -m .. m-1 | 0 .. m-1 |
    | `Modes.neuraloperator(n)` (n = 2m in total) | -n/2 .. n/2-1 | 0 .. n/2 |

    So neuraloperator's `n_modes=(16, 16)` is the classic 8 with one column more: `Modes((-8, 0), (7, 8))`.

    Raises `ValueError` for ranges that are empty, leave out frequency 0, or start below 0 on the last axis.
    """

    lowest: tuple[int, ...]
    highest: tuple[int, ...]

    def __post_init__(self):
        if len(self.lowest) != len(self.highest) or not self.lowest:
            raise ValueError(f"Modes need one range per axis, got lowest={self.lowest} and highest={self.highest}.")
        for axis, (low, high) in enumerate(zip(self.lowest, self.highest, strict=True)):
            if not low <= 0 <= high:
                raise ValueError(
                    f"Modes must include frequency 0, but those along axis {axis} run from {low} to {high}."
                )
        if self.lowest[-1] != 0:
            raise ValueError(f"Modes start at 0 on the last axis (a real transform), got {self.lowest[-1]}.")

    @classmethod
    def classic(cls, modes: int | Sequence[int], ndim: int) -> "Modes":
        """`modes` non-negative frequencies per axis, one number or one per axis, and as many negative ones."""
        counts = _counts("modes", (modes,) * ndim if isinstance(modes, int | np.integer) else modes)
        if len(counts) != ndim:
            raise ValueError(f"There are {ndim} axes but `modes` has {len(counts)} entries: give one number or {ndim}.")
        return cls((*(-m for m in counts[:-1]), 0), tuple(m - 1 for m in counts))

    @classmethod
    def neuraloperator(cls, n_modes: Sequence[int]) -> "Modes":
        """The frequencies that the package neuraloperator keeps for `n_modes`, its total number per axis.

        Raises `ValueError` for an odd total on any axis but the last: no symmetric range has that many, and releases
        of that package round it differently.
        """
        totals = _counts("n_modes", n_modes)
        for axis, n in enumerate(totals[:-1]):
            if n % 2:
                raise ValueError(f"n_modes is {n} along axis {axis}: use an even total, {n - 1} or {n + 1}.")
        return cls((*(-(n // 2) for n in totals[:-1]), 0), (*(n // 2 - 1 for n in totals[:-1]), totals[-1] // 2))

    @property
    def ndim(self) -> int:
        return len(self.lowest)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many frequencies are kept along each axis."""
        return tuple(high - low + 1 for low, high in zip(self.lowest, self.highest, strict=True))

    def frequencies(self, axis: int) -> np.ndarray:
        """The kept frequencies along one axis, ascending, in cycles per box."""
        return np.arange(self.lowest[axis], self.highest[axis] + 1)

    def check_resolved(self, space: tuple[int, ...], what: str) -> None:
        """Raises `ValueError` unless a grid of `space` points holds every kept frequency."""
        if len(space) != self.ndim:
            raise ValueError(f"{what} is {self.ndim}-dimensional but the grid has shape {space}.")
        # A real transform of N points holds 0 .. N//2, a complex one -(N//2) .. (N-1)//2.
        highest = (*((points - 1) // 2 for points in space[:-1]), space[-1] // 2)
        for axis, points in enumerate(space):
            if self.highest[axis] > highest[axis] or -self.lowest[axis] > points // 2:
                # In the classic convention m modes are -m .. m-1, on the last axis 0 .. m-1.
                limits = (*(n // 2 for n in space[:-1]), space[-1] // 2 + 1)
                per_axis = f", or one number per axis, up to {limits}" if len(set(limits)) > 1 else ""
                raise ValueError(
                    f"{what} keeps {max(self.highest[axis] + 1, -self.lowest[axis])} modes along axis {axis}, whose "
                    f"{points} points resolve {limits[axis]}. On {'x'.join(map(str, space))} points use modes <= "
                    f"{min(limits)}{per_axis}; or take a finer grid."
                )


def _counts(name: str, values: Sequence[int]) -> tuple[int, ...]:
    several = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) and np.ndim(values) == 1
    if not several or any(not isinstance(value, int | np.integer) or value < 1 for value in values) or not len(values):
        raise ValueError(f"`{name}` must be positive whole numbers, one or one per axis, got {values!r}.")
    return tuple(int(value) for value in values)
