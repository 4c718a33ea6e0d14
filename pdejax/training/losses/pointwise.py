"""Losses that are means over the points. All points count alike, wherever the grid puts them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.sizes import safe_sqrt, size
from pdejax.training.losses.loss import AbstractLoss, per_channel, where_positive


class MeanSquare(AbstractLoss):
    """`mean(((prediction - target) / scale)^2)`, over channels and points.

    For a `Normalised` residual model it is 1 for a model that changes nothing (persistence) and 0 for a perfect one.
    """

    def __call__(
        self,
        prediction: Float[Array, "channel *space"],
        target: Float[Array, "channel *space"],
        domain: Any,
        scale: Any,
    ) -> Float[Array, ""]:
        # Divided before it is squared: the square of an error of 1e-25 is zero in single precision.
        return jnp.mean(self.residuals(prediction, target, scale) ** 2)

    def residuals(self, prediction: Array, target: Array, scale: Any) -> Array:
        """What this is the mean square of, for solvers of least squares."""
        return (prediction - target) / per_channel(scale, target)


class RelativeL2(AbstractLoss):
    """The ratio of norms `|prediction - target| / |target|` per channel, averaged over the channels.

    The size of a channel whose target is zero is that of the whole state.
    """

    def __call__(
        self,
        prediction: Float[Array, "channel *space"],
        target: Float[Array, "channel *space"],
        domain: Any,
        scale: Any,
    ) -> Float[Array, ""]:
        space = tuple(range(1, target.ndim))
        sizes = where_positive(size(target, lambda square: jnp.mean(square, axis=space), space))
        error = (prediction - target) / per_channel(sizes, target)
        return jnp.mean(safe_sqrt(jnp.mean(error**2, axis=space)))


class RelativeL1(AbstractLoss):
    """`sum |prediction - target| / sum |target|` over the points, per channel, averaged over the channels.

    Fronts and shocks, where errors are large on few points, weigh less than in `RelativeL2`. The size of a channel
    whose target is zero is that of the whole state (the root of the mean square over the channels).
    """

    def __call__(
        self,
        prediction: Float[Array, "channel *space"],
        target: Float[Array, "channel *space"],
        domain: Any,
        scale: Any,
    ) -> Float[Array, ""]:
        space = tuple(range(1, target.ndim))
        sizes = where_positive(jnp.mean(_magnitude(target), axis=space))
        return jnp.mean(_magnitude((prediction - target) / per_channel(sizes, target)))


def _magnitude(u: Array) -> Array:
    """`|u|` with the derivative 0 at 0, the middle of its slopes; that of `jnp.abs` is 1 there."""
    return u * jax.lax.stop_gradient(jnp.sign(u))
