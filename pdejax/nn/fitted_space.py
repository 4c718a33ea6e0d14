"""States on numbers of points that a network's levels divide, and back."""

from collections.abc import Callable, Sequence

from jaxtyping import Array, Float

from pdejax.nn.padding import Walls, padded
from pdejax.nn.resampling import resampled

Restore = Callable[[Float[Array, "channel *fitted"]], Float[Array, "channel *space"]]


def fitted_space(
    u: Float[Array, "channel *space"],
    multiple: int,
    periodic: Sequence[bool],
    placement: Sequence[str],
    walls: Walls = "edge",
) -> tuple[Float[Array, "channel *fitted"], Restore]:
    """`u` on the next multiple of `multiple` points along each axis, and the function that takes a result back.

    - Around a periodic axis nothing can be put in between: the trigonometric interpolant is taken at more points, which
      loses nothing, and that of the result at the points there were, without the frequencies they do not hold.
    - Between walls points are added at both ends, of what `walls` says, and cut off again.

    Axes that are multiples already are left as they are. Shapes `(channel, *space) -> (channel, *fitted)`.
    """
    space = u.shape[1:]
    fitted = tuple(-(-n // multiple) * multiple for n in space)
    around = tuple(m if p else n for n, m, p in zip(space, fitted, periodic, strict=True))
    more = [m - n for n, m in zip(around, fitted, strict=True)]
    ends = [(each // 2, each - each // 2) for each in more]
    u = padded(resampled(u, around, periodic, placement), ends, periodic, walls)

    def restore(v: Float[Array, "channel *fitted"]) -> Float[Array, "channel *space"]:
        inside = (slice(before, before + n) for (before, _), n in zip(ends, around, strict=True))
        return resampled(v[:, *inside], space, periodic, placement)

    return u, restore
