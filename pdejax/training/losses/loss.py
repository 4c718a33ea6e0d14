"""What a loss is, and the sizes that relative ones divide by."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pdejax.sizes import size


class AbstractLoss(eqx.Module):
    """`loss(prediction, target, domain, scale)`: a scalar, of two unbatched states `(channel, *space)`.

    - `domain`: where the states live, a `Grid`; None where nobody said it.
    - `scale`: what an error of order one is, one number or one per channel; that of the model is
      `pdejax.models.output_scale`. Losses that are relative to the target do not need it.
    """

    def check_domain(self, domain: Any) -> None:
        """Raises `ValueError` for data on a domain that this loss says nothing of; called before anything is traced."""

    @abc.abstractmethod
    def __call__(
        self,
        prediction: Float[Array, "channel *space"],
        target: Float[Array, "channel *space"],
        domain: Any,
        scale: Any,
    ) -> Float[Array, ""]:
        """Zero where the two are equal, with a gradient that is finite there, too."""


Loss = AbstractLoss | Callable[[Array, Array], Array]


def check_loss(loss: Any) -> None:
    """Raises `ValueError` for a name, a class and whatever else is no loss, and says what to pass."""
    if isinstance(loss, type) and issubclass(loss, AbstractLoss):
        raise ValueError(f"A loss is a value, got the class {loss.__name__}: pass {loss.__name__}().")
    if not callable(loss):
        meant = {"mse": "MeanSquare()", "relative_l2": "RelativeL2()", "relative_l1": "RelativeL1()"}
        fix = meant.get(loss, "MeanSquare()") if isinstance(loss, str) else "MeanSquare()"
        raise ValueError(
            f"A loss is a value of pdejax.losses, or a function of prediction and target, got {loss!r}: pass "
            f"pdejax.losses.{fix}."
        )


def per_channel(values: Any, like: Array) -> Array:
    """One number, or one per channel, in the shape that multiplies `like (channel, ...)`."""
    values = jnp.asarray(values, like.dtype)
    return values.reshape((-1,) + (1,) * (like.ndim - 1)) if values.ndim else values


def where_positive(sizes: Float[Array, " channel"]) -> Float[Array, " channel"]:
    """What to divide by: the size of a channel; of one that is zero, that of all of them; of zero altogether, 1."""
    over_all = size(sizes, jnp.mean)
    return jnp.where(sizes > 0, sizes, jnp.where(over_all > 0, over_all, 1.0))
