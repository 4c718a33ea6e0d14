r"""The matrices of channels of a spectral convolution, one per kept frequency: as they are, or made of fewer numbers.

All of them together are an array W with one axis for the channels in, one for those out and one for each axis of the
grid, of sizes d_1, ..., d_n. A kind says what its entries are made of:

- `Dense()`: numbers of their own.
- `Tucker(rank)`: `W_(a b c ...) = sum over p q r ... of G_(p q r ...) U_ap V_bq X_cr ...`
- `CP(rank)`: `W_(a b c ...) = sum over p of U_ap V_bp X_cp ...`
- `TensorTrain(rank)`: `W_(a b c ...) = sum over p q ... of U_ap V_pbq X_qc ...`

`rank` is a whole number, or one for each axis (Tucker) or joint (tensor train), or a fraction: of the number of entries
of W, which the ranks are then chosen for, each in proportion to its axis. With `separable` the channels out are those
in, each with one number per frequency, and W has one axis of channels.

Contractions never make W itself. Sources: Kossaifi et al., Multi-Grid Tensorized Fourier Neural Operator for
High-Resolution PDEs (TMLR 2024), section 4; Kolda & Bader, Tensor Decompositions and Applications (SIAM Review 2009).
"""

import itertools
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Rank = float | int | Sequence[int]


@dataclass(frozen=True)
class Dense:
    """A number of its own for every entry of W, in the order (frequencies, channels in, channels out)."""

    separable: bool = False

    def terms(self, axes: str) -> list[str]:
        """The indices of every factor, for W with the indices `axes`, channels first."""
        channels = 1 if self.separable else 2
        return [axes[channels:] + axes[:channels]]

    def shapes(self, sizes: Sequence[int]) -> list[tuple[int, ...]]:
        """The shape of every factor, for W of the shape `sizes`."""
        channels = 1 if self.separable else 2
        return [(*sizes[channels:], *sizes[:channels])]


@dataclass(frozen=True)
class Tucker:
    """A core of one axis for each one of W, and a matrix for each axis."""

    rank: Rank
    separable: bool = False

    def __post_init__(self):
        _check_rank(self)

    def terms(self, axes: str) -> list[str]:
        inner = _others(axes)
        return [inner[: len(axes)], *(a + p for a, p in zip(axes, inner, strict=False))]

    def shapes(self, sizes: Sequence[int]) -> list[tuple[int, ...]]:
        ranks = self.ranks(sizes)
        return [ranks, *zip(sizes, ranks, strict=True)]

    def ranks(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """One per axis. Those of a fraction are c d_a, with c^n prod(d) + c sum(d^2) that part of prod(d)."""
        if isinstance(self.rank, float):
            squares, entries = sum(d**2 for d in sizes), math.prod(sizes)
            coefficients = [entries, *(0,) * (len(sizes) - 2), squares, -self.rank * entries]
            return tuple(max(1, round(d * _positive_root(coefficients))) for d in sizes)
        return _as_many(self, len(sizes))


@dataclass(frozen=True)
class CP:
    """A matrix for each axis of W, of as many columns as the rank; canonical polyadic."""

    rank: float | int
    separable: bool = False

    def __post_init__(self):
        _check_rank(self)

    def terms(self, axes: str) -> list[str]:
        return [a + _others(axes)[0] for a in axes]

    def shapes(self, sizes: Sequence[int]) -> list[tuple[int, ...]]:
        rank = self.rank
        if isinstance(rank, float):
            rank = max(1, round(rank * math.prod(sizes) / sum(sizes)))
        (rank,) = _as_many(CP(rank), 1)
        return [(d, rank) for d in sizes]


@dataclass(frozen=True)
class TensorTrain:
    """A matrix for the first and the last axis of W and an array of three axes for each one between them."""

    rank: Rank
    separable: bool = False

    def __post_init__(self):
        _check_rank(self)

    def terms(self, axes: str) -> list[str]:
        joints = _others(axes)
        middle = [joints[i - 1] + axes[i] + joints[i] for i in range(1, len(axes) - 1)]
        return [axes[0] + joints[0], *middle, joints[len(axes) - 2] + axes[-1]]

    def shapes(self, sizes: Sequence[int]) -> list[tuple[int, ...]]:
        ranks = self.ranks(sizes)
        middle = [(ranks[i - 1], sizes[i], ranks[i]) for i in range(1, len(sizes) - 1)]
        return [(sizes[0], ranks[0]), *middle, (ranks[-1], sizes[-1])]

    def ranks(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """One per joint. Those of a fraction are c times the mean of the sizes beside it, c so that the entries of all
        factors are that part of those of W."""
        if isinstance(self.rank, float):
            beside = [(one + two) / 2 for one, two in itertools.pairwise(sizes)]
            square = sum(beside[i - 1] * sizes[i] * beside[i] for i in range(1, len(sizes) - 1))
            ends = beside[0] * sizes[0] + beside[-1] * sizes[-1]
            share = _positive_root([square, ends, -self.rank * math.prod(sizes)])
            return tuple(max(1, round(share * each)) for each in beside)
        return _as_many(self, len(sizes) - 1)


def is_kind_of_weights(value: Any) -> bool:
    return isinstance(value, Dense | Tucker | CP | TensorTrain)


def entry_deviation(kind: Any, shapes: Sequence[tuple[int, ...]], deviation: float | int) -> float:
    """That of the entries of every factor, independent and centred, for which those of W have `deviation`."""
    if isinstance(kind, Dense):
        return float(deviation)
    # An entry of W is a sum over the ranks of products of one entry of each factor.
    ranks = shapes[0] if isinstance(kind, Tucker) else [shape[-1] for shape in shapes[:-1]]
    summands = shapes[0][-1] if isinstance(kind, CP) else math.prod(ranks)
    return (deviation / summands**0.5) ** (1 / len(shapes))


def _positive_root(coefficients: Sequence[float | int]) -> float:
    """The one of a polynomial that ascends from a negative value at zero."""
    roots = np.roots(coefficients)
    return float(max(root.real for root in roots if abs(root.imag) < 1e-9 * abs(root)))


def _others(axes: str) -> str:
    return "".join(letter for letter in string.ascii_uppercase if letter not in axes)


def _check_rank(kind: Any) -> None:
    rank = kind.rank
    if isinstance(rank, list):
        rank = tuple(rank)
        object.__setattr__(kind, "rank", rank)
    whole = isinstance(rank, int | np.integer) and not isinstance(rank, bool) and rank >= 1
    part = isinstance(rank, float) and 0 < rank < math.inf
    several = isinstance(rank, tuple) and all(isinstance(r, int | np.integer) and r >= 1 for r in rank)
    if not (whole or part or (several and not isinstance(kind, CP))):
        per_axis = "" if isinstance(kind, CP) else ", whole numbers for each"
        raise ValueError(
            f"{type(kind).__name__} needs as rank a whole number >= 1{per_axis}, or a fraction of the entries as a "
            f"float > 0, got {rank!r}."
        )


def _as_many(kind: Any, count: int) -> tuple[int, ...]:
    ranks = (kind.rank,) * count if isinstance(kind.rank, int | np.integer) else tuple(kind.rank)
    if len(ranks) != count:
        raise ValueError(f"{type(kind).__name__} needs {count} ranks here, got {kind.rank}.")
    return tuple(int(rank) for rank in ranks)
