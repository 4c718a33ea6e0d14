r"""Points that crowd where a solution is steep: the images of equally spaced numbers under a smooth increasing map.

    x = origin + extent * m(s),    s = i / N, i / (N - 1) or (i + 1/2) / N,    m(0) = 0, m(1) = 1, m' > 0

Derivatives in x are sums of those in s, with coefficients that follow from m by automatic differentiation:

    d/dx = 1/m' d/ds,    d^2/dx^2 = 1/m'^2 d^2/ds^2 - m''/m'^3 d/ds,    ...        (extent = 1)

so a formula of order p in s, where the points are equally spaced, is one of order p in x. Source: Thompson, Warsi &
Mastin, Numerical Grid Generation (1985), chapter 5; the maps: Vinokur, J. Comput. Phys. 50 (1983) 215.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from math import comb
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

# A map is differentiated so often for the derivatives of Kuramoto-Sivashinsky; around a periodic axis so many
# derivatives must agree at its ends.
_SMOOTHNESS = 4
# Maps are evaluated at so many points at once: each number of points is a program of its own.
_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class TowardsWalls:
    """`m(s) = 1/2 + tanh(b (2 s - 1)) / (2 tanh b)`: points crowd at both ends.

    - `strength`: b > 0. The distance of points at the ends is `b / (sinh b cosh b)` of that of equally many uniform
      ones: a half at b = 1.1, a tenth at 2.2, a hundredth at 3.6; in the middle it is `b / tanh b`.
    """

    strength: float

    def __post_init__(self):
        _keep(self, "strength", lambda b: b > 0, "a positive number")

    def __call__(self, s: Any) -> Any:
        b = self.strength
        # The same without a difference of nearly equal numbers at s = 0.
        return jnp.sinh(2 * b * s) / (2 * jnp.cosh(b * (2 * s - 1)) * np.sinh(b))


@dataclasses.dataclass(frozen=True)
class TowardsWall:
    """`m(s) = 1 + tanh(b (s - 1)) / tanh b`: points crowd at the lower end, or mirrored at the upper one.

    - `strength`: b > 0. The distance of points at that end is `b / (sinh b cosh b)` of that of equally many uniform
      ones, at the other end `b / tanh b`.
    - `end`: `"lower"` or `"upper"`.
    """

    strength: float
    end: Literal["lower", "upper"] = "lower"

    def __post_init__(self):
        _keep(self, "strength", lambda b: b > 0, "a positive number")
        if self.end not in ("lower", "upper"):
            raise ValueError(f'TowardsWall has end="lower" or "upper", got {self.end!r}.')

    def __call__(self, s: Any) -> Any:
        b = self.strength
        if self.end == "upper":
            return jnp.tanh(b * s) / np.tanh(b)
        return jnp.sinh(b * s) / (jnp.cosh(b * (s - 1)) * np.sinh(b))


@dataclasses.dataclass(frozen=True)
class TowardsPoint:
    """`m(s) = c (1 + sinh(b (s - s_c)) / sinh(b s_c))` with `m(s_c) = c`: points crowd around an interior point.

    - `place`: c, as a fraction of the extent, between 0 and 1.
    - `strength`: b > 0. With c = 1/2 the distance of points there is `(b / 2) / sinh(b / 2)` of that of equally many
      uniform ones.
    """

    place: float
    strength: float

    def __post_init__(self):
        _keep(self, "place", lambda c: 0 < c < 1, "a fraction of the extent between 0 and 1")
        _keep(self, "strength", lambda b: b > 0, "a positive number")

    def __call__(self, s: Any) -> Any:
        b, c = self.strength, self.place
        scaled = 0.5 * np.log1p(c * np.expm1(b)) - 0.5 * np.log1p(c * np.expm1(-b))  # b s_c
        return c * (1 + jnp.sinh(b * s - scaled) / np.sinh(scaled))


@dataclasses.dataclass(frozen=True)
class Sine:
    """`m(s) = s + a sin(2 pi s) / (2 pi)`, for periodic axes: points crowd in the middle of the box (a > 0) or at its
    ends (a < 0), where their distance is `1 - |a|` of that of equally many uniform ones.

    - `amplitude`: a, between -1 and 1. What is to be resolved is put there by the grid's `origin`.
    """

    amplitude: float

    def __post_init__(self):
        _keep(self, "amplitude", lambda a: abs(a) < 1, "a number between -1 and 1")

    def __call__(self, s: Any) -> Any:
        return s + self.amplitude * jnp.sin(2 * np.pi * s) / (2 * np.pi)


@dataclasses.dataclass(frozen=True)
class Stretched:
    """How the points of an axis are placed: `Grid(..., points=Stretched(TowardsWalls(2.0)))`.

    - `map`: one of `TowardsWalls`, `TowardsWall`, `TowardsPoint`, `Sine`, or a function of your own on [0, 1], of one
      number s, written with `jax.numpy`: `Stretched(lambda s: s**2 / 2 + s / 2)`. It decides the program, and is no
      place to differentiate in: its numbers are not traced. Two grids are the same where their maps are equal, of
      functions: the same object.
    - `kind`: whether the numbers s are `"nodes"` or `"centres"`, as of uniform points (`Grid`).

    The map is smooth: a formula of order p needs p derivatives more than it computes.

    Raises `ValueError` for a map whose values at 0 and 1 are not 0 and 1, that is not finite or has a slope that is not
    positive; `TypeError` for one that is not written with `jax.numpy`, or computes with traced numbers. A grid refuses
    one whose derivatives do not agree at the ends of a periodic axis.
    """

    map: Callable[[Any], Any]
    kind: Literal["nodes", "centres"] = "nodes"

    def __post_init__(self):
        if self.kind not in ("nodes", "centres"):
            raise ValueError(f'Stretched points are images of "nodes" or "centres", got {self.kind!r}.')
        if isinstance(self.map, type) or not callable(self.map):
            raise TypeError(
                f"Stretched takes a map such as TowardsWalls(2.0) or a function of s on [0, 1], got {self.map!r}."
            )
        try:
            hash(self.map)
        except TypeError:
            raise TypeError(f"Stretched needs a map that is hashable, as functions are, got {self.map!r}.") from None
        s = np.linspace(0, 1, _BLOCK)
        values, slopes = derivatives(self.map, 0, tuple(s)), derivatives(self.map, 1, tuple(s))
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))):
            worst = s[np.argmin(np.isfinite(values) & np.isfinite(slopes))]
            raise ValueError(f"The map of Stretched, or its slope, is not finite at s = {worst:.4g}: {self.map!r}.")
        if not np.allclose(values[[0, -1]], (0, 1), rtol=0, atol=1e-9):
            raise ValueError(
                f"The map of Stretched takes 0 to {values[0]:.6g} and 1 to {values[-1]:.6g}, and must take them to 0 "
                "and 1, the ends of the axis: subtract m(0), and divide by m(1) - m(0)."
            )
        if not np.all(slopes > 0):
            worst = int(np.argmin(slopes))
            raise ValueError(
                f"The map of Stretched has the slope {slopes[worst]:.3g} at s = {s[worst]:.4g}: it must increase "
                "everywhere, the ends included (s**2 does not, (s**2 + s) / 2 does)."
            )

    def check_periodic(self) -> None:
        """Raises `ValueError` where `m(s) - s` does not go on smoothly around a periodic axis."""
        for order in range(1, _SMOOTHNESS + 1):
            low, high = derivatives(self.map, order, (0.0, 1.0))
            if not abs(low - high) <= 1e-7 * (1 + abs(low) + abs(high)):
                raise ValueError(
                    f"Around a periodic axis the map of Stretched goes on with its derivative of order {order} "
                    f"{high:.4g} at the upper end and {low:.4g} at the lower one: they must be equal, as those of "
                    "Sine(0.5) are; or give the axis walls, Grid(..., periodic=False)."
                )

    def numbers(self, num_points: int, periodic: bool) -> tuple[Float[np.ndarray, " points"], int]:
        """s at the points, and how many distances there are on an axis."""
        intervals = num_points - (self.kind == "nodes" and not periodic)
        return (np.arange(num_points) + (0.5 if self.kind == "centres" else 0.0)) / intervals, intervals

    def slopes(self, s: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
        """m' at numbers between 0 and 1."""
        return derivatives(self.map, 1, tuple(s))

    def end_slopes(self) -> tuple[float, float]:
        """m' at either end: the derivative along s there is this much larger than that along x / extent."""
        low, high = derivatives(self.map, 1, (0.0, 1.0))
        return float(low), float(high)

    def coefficients(self, order: int, num_points: int, periodic: bool) -> Float[np.ndarray, "order points"]:
        """a_k of `d^order/dx^order = sum over k = 1..order of a_k(i) d^k/di^k` at the points of an axis whose extent is
        the number of its distances: 1 and zeros where the map is that of uniform points."""
        s, intervals = self.numbers(num_points, periodic)
        return _coefficients(self.map, order, tuple(s)) * float(intervals) ** (np.arange(1, order + 1) - order)[:, None]

    def placed(self, num_points: int, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
        """m at the points, and their quadrature weights: m' over its sum, half of it at the ends of nodes."""
        s, _ = self.numbers(num_points, periodic)
        fractions, weights = (derivatives(self.map, order, tuple(s)) for order in (0, 1))
        if not np.all(weights > 0):
            raise ValueError(
                f"The map of Stretched has the slope {weights.min():.3g} at one of {num_points} points: it must "
                "increase everywhere."
            )
        if self.kind == "nodes" and not periodic:
            weights = weights * np.r_[0.5, np.ones(num_points - 2), 0.5]
        return fractions, weights / weights.sum()


@functools.lru_cache(maxsize=256)
def derivatives(function: Callable[[Any], Any], order: int, s: tuple[float, ...]) -> Float[np.ndarray, " s"]:
    """The derivative of that order of a function of one number, at each of `s`; in double precision."""
    for _ in range(order):
        function = _slope(function)
    try:
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            at = np.pad(np.asarray(s), (0, -len(s) % _BLOCK), constant_values=0.5).reshape(-1, _BLOCK)
            everywhere = jax.vmap(lambda one: jnp.asarray(function(one)).reshape(()))
            return np.concatenate([np.asarray(everywhere(jnp.asarray(block))) for block in at])[: len(s)]
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
        raise TypeError(
            f"The map of Stretched, {function!r}, must be written with jax.numpy and hold numbers that are not traced "
            "by jit, vmap or grad: it decides where the points are, and is part of the program. The extent may be "
            "traced."
        ) from error


def _slope(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda s: jax.jvp(function, (s,), (jnp.ones_like(s),))[1]


@functools.lru_cache(maxsize=128)
def _coefficients(function: Callable[[Any], Any], order: int, s: tuple[float, ...]) -> np.ndarray:
    r"""From `d/dx = g d/ds`, g = 1 / m': `a_(n+1,k) = g (a_(n,k)' + a_(n,k-1))`. Each is carried with its derivatives
    at the points, one less in every round."""
    slope = [derivatives(function, derivative, s) for derivative in range(1, order + 1)]
    rate = [1 / slope[0]]
    for k in range(1, order):
        rate.append(-sum(comb(k, j) * slope[j] * rate[k - j] for j in range(1, k + 1)) / slope[0])
    coefficients = [np.stack(rate)]
    for _ in range(order - 1):
        none = np.zeros_like(coefficients[0][:-1])
        changes = [*(one[1:] for one in coefficients), none]
        below = [none, *(one[:-1] for one in coefficients)]
        coefficients = [_product(rate, change + lower) for change, lower in zip(changes, below, strict=True)]
    return np.stack([one[0] for one in coefficients])


def _product(a: Sequence[np.ndarray], b: np.ndarray) -> np.ndarray:
    """A product with its derivatives, as many as b has, by Leibniz' rule."""
    return np.stack([sum(comb(k, j) * a[j] * b[k - j] for j in range(k + 1)) for k in range(len(b))])


def _keep(map_: Any, name: str, is_right: Callable[[float], bool], what: str) -> None:
    """Makes a number of a map a float. Raises `ValueError` unless it is right, and `TypeError` if it is traced."""
    given = getattr(map_, name)
    if isinstance(given, Tracer):
        raise TypeError(
            f"{type(map_).__name__} decides where the points are, and is part of the program: {name} must be a number "
            "that is not traced by jit, vmap or grad. The extent of a grid may be traced."
        )
    if not (np.ndim(given) == 0 and np.isfinite(given) and is_right(float(given))):
        raise ValueError(f"{type(map_).__name__} needs {name}, {what}; got {given!r}.")
    object.__setattr__(map_, name, float(given))
