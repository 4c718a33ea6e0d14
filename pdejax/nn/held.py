"""What a model contains and no optimiser may move."""

from typing import Any

import equinox as eqx
import jax


class Held(eqx.Module):
    """Arrays of a model that are no weights, e.g. the running statistics of a layer of another package.

    `pdejax.models.trainable` leaves everything inside out; a loop of one's own that differentiates everything finds
    zero there.
    """

    inside: Any

    @property
    def values(self) -> Any:
        """The pytree that was given, without a gradient."""
        return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, self.inside)
