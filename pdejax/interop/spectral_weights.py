"""The spectral weights of neuraloperator 2.0.0, whole: from their factors, and the part of them that it uses."""

import string
from collections.abc import Mapping, Sequence

import numpy as np

from pdejax.nn import Modes


def dense_weight(name: str, parts: Mapping[str, np.ndarray], separable: bool) -> np.ndarray:
    """`(in_channels, out_channels, *kept)`, complex, from the arrays that begin with `name`, by the rest of
    theirs.

    A separable weight, `(channels, *kept)`, comes back as diagonal matrices of the channels.

    Raises `ValueError` for names that are neither those of a dense weight nor of Tucker, CP or tensor-train factors.
    """
    factors = [parts[each] for each in sorted((n for n in parts if n.startswith("factors.factor_")), key=_number)]
    letters = string.ascii_lowercase[: len(factors)]
    ranks = string.ascii_uppercase[: len(factors) + 1]
    others = {each for each in parts if not each.startswith("factors.factor_")}
    if others == {"tensor"} and not factors:
        weight = parts["tensor"]
    elif others == {"core"} and factors:
        terms = [a + r for a, r in zip(letters, ranks, strict=False)]
        weight = np.einsum(f"{ranks[:-1]},{','.join(terms)}->{letters}", parts["core"], *factors, optimize=True)
    elif others == {"weights"} and factors:
        terms = [a + "Z" for a in letters]
        weight = np.einsum(f"Z,{','.join(terms)}->{letters}", parts["weights"], *factors, optimize=True)
    elif not others and factors:
        terms = [ranks[i] + a + ranks[i + 1] for i, a in enumerate(letters)]
        # The first and the last rank are 1.
        weight = np.einsum(f"{','.join(terms)}->{letters}", *factors, optimize=True)
    else:
        raise ValueError(f"{name} has {sorted(parts)}: neither dense weights nor Tucker, CP or tensor-train factors.")
    if not separable:
        return weight
    return np.einsum("ij,i...->ij...", np.eye(weight.shape[0], dtype=weight.dtype), weight)


def kept_part(
    weight: np.ndarray, n_modes: Sequence[int], space: Sequence[int] | None
) -> tuple[tuple[slice, ...], Modes]:
    """Where the weights lie that are used with `n_modes` on a grid of `space` points, and their frequencies.

    `space` None stands for a grid that resolves all of them.

    Raises `ValueError` for `n_modes` beyond the weights.
    """
    stored = weight.shape[2:]
    wanted = [*n_modes[:-1], n_modes[-1] // 2 + 1]  # half of the last axis, by the real transform
    if any(n > m for n, m in zip(wanted, stored, strict=True)):
        raise ValueError(
            f"n_modes={tuple(n_modes)} are more than the weights are for, which are {stored} per channels."
        )
    resolved = stored if space is None else [*space[:-1], space[-1] // 2 + 1]
    kept = [min(n, size) for n, size in zip(wanted, resolved, strict=True)]
    # Of the stored weights the middle is used, with the odd one out dropped at the end; on the last axis the beginning.
    left = [(m - k) // 2 for m, k in zip(stored, kept, strict=True)]
    places = [*(slice(first, first + k) for first, k in zip(left[:-1], kept, strict=False)), slice(0, kept[-1])]
    return tuple(places), Modes(
        (*(-(k // 2) for k in kept[:-1]), 0), (*((k + 1) // 2 - 1 for k in kept[:-1]), kept[-1] - 1)
    )


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
