"""One state in the layout of another package, and back."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def to_foreign(u: Float[Array, "channel *space"], channels_last: bool, batched: bool) -> Array:
    """`(channel, *space)` with its channels last, where asked for, and then a batch axis of one in front."""
    x = jnp.moveaxis(u, 0, -1) if channels_last else u
    return x[None] if batched else x


def from_foreign(y: Any, space: tuple[int, ...], channels_last: bool, batched: bool, name: str) -> Array:
    """The way back: `(channel_out, *space)`.

    Raises `ValueError` for anything but an array of that layout, e.g. with fewer points than came in.
    """
    shape = tuple(getattr(y, "shape", ()))
    ahead = (1,) * batched
    channels = len(ahead) + (len(space) if channels_last else 0)
    if len(shape) != len(ahead) + len(space) + 1 or shape[:channels] + shape[channels + 1 :] != ahead + space:
        given = f"shape {shape}" if hasattr(y, "shape") else f"a {type(y).__name__}"
        sizes = list(map(str, ahead + space))
        sizes.insert(channels, "channel_out")
        raise ValueError(
            f"{name} gives {given} where ({', '.join(sizes)}) is expected: keep the points with "
            f'padding="CIRCULAR" or "SAME", or choose channels_last (is {channels_last}) and batched (is {batched}).'
        )
    y = y[0] if batched else y
    return jnp.moveaxis(y, -1, 0) if channels_last else y
