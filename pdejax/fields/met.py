"""What a field in finite differences meets at the walls and around the axes, and how it is passed on.

Multiples and sums of the state meet the multiple and the sum of its conditions. Other fields (a product, a derivative)
have none: a first derivative of them, as in the divergence of a flux, extrapolates; a higher one is refused, since it
would lose the condition. On an anti-periodic axis a derivative changes its sign like u, a product of two such fields
does not.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from pdejax.boundary import AntiPeriodic, Condition, Outflow, Robin


@dataclasses.dataclass(frozen=True)
class Met:
    """What a field meets at one wall: the kind of the state's condition there, and a datum for this field."""

    condition: Condition
    datum: Array

    def scaled(self, factor: Array) -> "Met":
        return Met(self.condition, self.datum * factor)

    def plus(self, other: "Met") -> "Met | Unknown":
        """What the sum of two fields meets."""
        a, b = self.condition, other.condition
        # Two mixtures are the same if they are one object: their weights may be traced.
        same = a is b if isinstance(a, Robin) else type(a) is type(b)
        return Met(a, self.datum + other.datum) if same else Unknown()


@dataclasses.dataclass(frozen=True)
class Unknown:
    """No condition is known: at a wall, of a product or a derivative; around an axis, of a function of u."""


# For each axis: periodic, or what is met.
MetSides = tuple[AntiPeriodic | Unknown | tuple[Met | Unknown, Met | Unknown] | None, ...]


def check_stated(side: tuple[Met | Unknown, Met | Unknown], axis: int, order: int) -> None:
    """Raises `ValueError` where a derivative above the first lacks a condition at a wall."""
    if order > 1 and any(isinstance(end, Met) and isinstance(end.condition, Outflow) for end in side):
        raise ValueError(
            f"A derivative of order {order} along axis {axis} was asked of a field that flows out there: "
            "diffusion needs a condition at that wall. Neumann(0.0) is the usual one."
        )
    if order > 1 and any(isinstance(end, Unknown) for end in side):
        raise ValueError(
            f"A derivative of order {order} along axis {axis} was asked of a field for which no condition "
            "is known at that axis' walls: the state has one, and so have its multiples and sums, but not "
            "products or derivatives. Write D * u.laplacian() with the state inside, or a flux and its "
            "divergence (first derivatives need no condition)."
        )


def differentiated(sides: MetSides) -> MetSides:
    return tuple((Unknown(), Unknown()) if isinstance(side, tuple) else side for side in sides)


def joined(sides: tuple[MetSides, ...], rule: Callable[[Any], Any]) -> MetSides:
    """What a function of all components meets."""
    return tuple(
        (Unknown(), Unknown())
        if isinstance(along[0], tuple)
        else rule(next((side for side in along if side is not None), None))
        for along in zip(*sides, strict=True)
    )


def summed(a: Any, b: Any) -> Any:
    """What a sum meets along one axis."""
    if isinstance(a, tuple):
        both = zip(a, b, strict=True)
        return tuple(Unknown() if Unknown() in pair else pair[0].plus(pair[1]) for pair in both)
    return a if type(a) is type(b) else Unknown()


def multiplied(a: Any, b: Any) -> Any:
    """What a product or quotient meets along one axis."""
    if isinstance(a, tuple):
        return (Unknown(), Unknown())
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return Unknown()
    return None if type(a) is type(b) else AntiPeriodic()
