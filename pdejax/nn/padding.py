"""Points beyond the ends of the axes, by what there is: the other end of a periodic axis, or a wall."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Walls = Literal["zeros", "edge", "reflect"]
"""What stands behind a wall: zeros, the value of the last point, or the points before it mirrored in it, of which there
have to be as many: on the coarsest grid of a network, too."""

SAY_PERIODIC = (
    "has to know which axes are periodic: pass domain=grid to the call (for pairs Supervised(domain=grid), "
    "boosted(..., domain=grid) and evaluate(..., grid=grid)), or say it once, "
    "conditioning=pdejax.nn.Conditioning(periodic=True), or False, or one per axis."
)


def check_walls(walls: Any, what: str) -> None:
    """Raises `ValueError` for what is none of `Walls`."""
    if not isinstance(walls, str) or walls not in get_args(Walls):
        known = ", ".join(f'"{each}"' for each in get_args(Walls))
        raise ValueError(
            f"{what} takes walls= one of {known}, what stands behind walls, got {walls!r}; which axes are periodic is "
            "said by the domain of the call or by Conditioning(periodic=...)."
        )


def padded(
    u: Float[Array, "..."],
    widths: Sequence[tuple[int, int]],
    periodic: Sequence[bool],
    walls: Walls = "zeros",
    *,
    first: int = 1,
) -> Float[Array, "..."]:
    """`u`, `(channel, *space)`, with `widths[a] = (before, behind)` more points along axis a: those of the other end
    where the axis is periodic, as many times around as they ask for, and behind walls what `walls` says.

    `first`: the first axis of space; 0 for `(*space, channel)`.

    Raises `ValueError` for other numbers of axes and for a mirror image of more points than there are.
    """
    if not len(widths) == len(periodic) == u.ndim - 1:
        raise ValueError(f"A state of {u.ndim - 1} axes needs as many widths and flags, got {widths} and {periodic}.")
    behind_walls = {"zeros": "constant", "edge": "edge", "reflect": "reflect"}[walls]
    for axis, (width, around) in enumerate(zip(widths, periodic, strict=True), start=first):
        if walls == "reflect" and not around and max(width) >= u.shape[axis]:
            raise ValueError(
                f'walls="reflect" mirrors up to {u.shape[axis] - 1} of {u.shape[axis]} points along axis '
                f'{axis - first}, asked for {max(width)}: take walls="edge", states of more points, or fewer levels.'
            )
        if any(width):
            if around and sum(width) <= u.shape[axis]:
                u = _around(u, axis, width)
                continue
            every = [(0, 0)] * u.ndim
            every[axis] = width
            u = jnp.pad(u, every, mode="wrap" if around else behind_walls)
    return u


def _around(u: Array, axis: int, width: tuple[int, int]) -> Array:
    """`u` between copies of its own ends, of which no point is asked for twice.

    The gradient of a split joins the parts again, that of slices adds as many arrays of the whole size: a training step
    of a U-Net takes a tenth longer with those.
    """
    before, behind = width
    sizes = (behind, u.shape[axis] - before - behind, before)
    first, middle, last = jax.lax.split(u, sizes, axis)
    return jnp.concatenate([last, first, middle, last, first], axis)
