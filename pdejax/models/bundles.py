"""Several consecutive frames as the channels of one state, for models that predict them in one call.

    state (frames * channel, *space):  channel c of frame k is entry  k * num_channels + c,  the oldest frame first

Source: Brandstetter, Worrall & Welling, Message Passing Neural PDE Solvers (ICLR 2022), section 3.1, "temporal
bundling".
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of


def bundled(u: Float[Array | np.ndarray, "time channel *space"], frames: int) -> Float[Array, "bundle channels *space"]:
    """Every `frames` consecutive states as one of `frames * channel` channels; `unbundled` takes them apart again.

    Raises `ValueError` where the states are no whole number of bundles.
    """
    frames = count_of("frames", frames)
    if u.shape[0] % frames:
        raise ValueError(f"{u.shape[0]} frames are no whole number of bundles of {frames}: leave some out.")
    return jnp.asarray(u).reshape((u.shape[0] // frames, frames * u.shape[1], *u.shape[2:]))


def unbundled(
    states: Float[Array | np.ndarray, "bundle channels *space"], frames: int
) -> Float[Array, "time channel *space"]:
    """The single frames in bundles of `frames`, e.g. of `rollout(NeuralStepper(model, frames * dt), first, n)`.

    Raises `ValueError` for channels that are not those of so many frames.
    """
    frames = count_of("frames", frames)
    if states.shape[1] % frames:
        raise ValueError(f"A state of {states.shape[1]} channels is no bundle of {frames} frames.")
    return jnp.asarray(states).reshape((states.shape[0] * frames, states.shape[1] // frames, *states.shape[2:]))


class LastFrames(eqx.Module):
    """A model that needs only the last `channels` channels of a bundle, e.g. its last frame, to make the next one.

    `LastFrames(FNO(1, 4, ...), 1)` maps bundles of four frames of one channel to the next four: its rollout needs one
    true frame, repeated to a bundle. Inside `Normalised`, so `fit` may surround it.

    Raises `ValueError` for a number below one; at trace time for a state of fewer channels.
    """

    model: Any
    channels: int = eqx.field(static=True)

    def __init__(self, model: Any, channels: int):
        self.model, self.channels = model, count_of("channels", channels)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        if u.shape[0] < self.channels:
            raise ValueError(f"LastFrames takes {self.channels} channels of a state that has {u.shape[0]}.")
        return self.model(u[-self.channels :], parameters, domain=domain, key=key)
