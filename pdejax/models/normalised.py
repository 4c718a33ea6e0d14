"""A network between two changes of units. The statistics belong to the data: they are no parameters."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.nn import Held
from pdejax.nn.products import at_least_single


class Statistics(eqx.Module):
    """Mean and standard deviation of a quantity, one per channel (or one number of each for a parameter).

    `trainable` leaves everything inside a `Statistics` out, so no optimiser, average or weight decay sees it.

    Raises `ValueError` for numbers that are not finite, means and deviations of different shapes, and a standard
    deviation that is not positive: the caller decides what a constant channel means.
    """

    mean: Float[Array, "..."]
    std: Float[Array, "..."]

    def __init__(self, mean: Any, std: Any):
        self.mean, self.std = jnp.asarray(mean, float), jnp.asarray(std, float)
        if self.mean.shape != self.std.shape:
            raise ValueError(
                f"Statistics have as many means as deviations, got the shapes {self.mean.shape} and {self.std.shape}."
            )
        if isinstance(self.mean, Tracer) or isinstance(self.std, Tracer):
            return
        if not bool(jnp.all(self.std > 0)):
            raise ValueError(f"A standard deviation must be positive, got {self.std}; use 1 for a constant channel.")
        if not bool(jnp.all(jnp.isfinite(self.mean) & jnp.isfinite(self.std))):
            raise ValueError(f"Statistics are finite numbers, got the means {self.mean}, the deviations {self.std}.")

    def remove(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """`(u - mean) / std`, per channel."""
        mean, std = self._like(u)
        return ((u.astype(mean.dtype) - mean) / std).astype(_real(u.dtype))

    def restore(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """`mean + std z`, per channel."""
        mean, std = self._like(z)
        return (mean + std * z.astype(mean.dtype)).astype(_real(z.dtype))

    def _like(self, u: Array) -> tuple[Array, Array]:
        shape = self.mean.shape + (1,) * (u.ndim - self.mean.ndim)
        # Of half precision a deviation of 1e-9 would be zero, one of 1e5 infinite, and 1000.5 the number 1000.
        dtype = at_least_single(_real(u.dtype))
        # Stopped for loops of one's own that differentiate everything; `fit` does not even see these leaves.
        mean, std = jax.lax.stop_gradient((self.mean, self.std))
        return mean.reshape(shape).astype(dtype), std.reshape(shape).astype(dtype)


def _real(dtype: Any) -> np.dtype:
    """`dtype`, or of whole numbers that of real ones."""
    return np.dtype(dtype) if jnp.issubdtype(dtype, jnp.inexact) else jnp.result_type(float)


class Normalised(eqx.Module):
    r"""A model in physical units around a network that sees numbers of order one:

        z = (u - input.mean) / input.std
        residual=False:  result =     output.mean + output.std * model(z)
        residual=True:   result = u + output.mean + output.std * model(z)

    With `frames` above one a state is a bundle of so many consecutive frames (`pdejax.models.bundled`), and with
    `residual=True` the increments of all frames of the result are those from the last frame of u.

    With `residual=True` the network predicts the increment, and `output` is the statistics of increments: a step that
    changes the state little is then right to first order before training begins. `parameters` standardises the named
    physical parameters in the same way.

    Raises `ValueError` for a model that is not built and for statistics that are no `Statistics`; at trace time for
    other numbers of channels, in and out, than the statistics have, when `residual=True` and the model changes it, and
    for channels that are not those of so many `frames`.
    """

    model: Any
    input: Statistics
    output: Statistics
    residual: bool = eqx.field(static=True)
    parameters: dict[str, Statistics]
    frames: int = eqx.field(static=True)

    def __init__(
        self,
        model: Any,
        input: Statistics,
        output: Statistics,
        residual: bool = False,
        parameters: Mapping[str, Statistics] | None = None,
        frames: int = 1,
    ):
        if isinstance(model, type) or not callable(model):
            given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
            raise ValueError(f"Normalised surrounds a model that is built, e.g. FNO(...), got {given}.")
        for name, statistics in {"input": input, "output": output, **dict(parameters or {})}.items():
            if not isinstance(statistics, Statistics):
                raise ValueError(
                    f"Normalised needs Statistics(mean, std) for {name!r}, got a {type(statistics).__name__}."
                )
        self.model, self.input, self.output, self.residual = model, input, output, residual
        self.parameters = dict(parameters or {})
        self.frames = count_of("frames", frames)

    @property
    def input_scale(self) -> Float[Array, " channel"]:
        """The standard deviation of the states, per channel."""
        return jax.lax.stop_gradient(self.input.std)

    @property
    def output_scale(self) -> Float[Array, " channel_out"]:
        """The standard deviation of what is predicted, per channel."""
        return jax.lax.stop_gradient(self.output.std)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        seen, told = self.seen(u, parameters)
        predicted = self.model(seen, told, domain=domain, key=key)
        if predicted.shape[:1] != self.output.mean.shape:
            # One channel would be broadcast to all of them, and trained so.
            raise ValueError(
                f"The model returns shape {predicted.shape} but has to predict {self.output.mean.shape[0]} channels, "
                "(channel, *space): build it with as many output channels."
            )
        change = self.output.restore(predicted)
        if not self.residual:
            return change
        if change.shape != u.shape:
            raise ValueError(
                f"A residual model returns the shape of its input, {u.shape}, but this gives {change.shape}."
            )
        return _last_frame_repeated(u, self.frames) + change

    def seen(
        self, u: Float[Array, "channel *space"], parameters: Mapping[str, Any] | None = None
    ) -> tuple[Float[Array, "channel *space"], Mapping[str, Any] | None]:
        """The state and the parameters in the units of the model inside."""
        if self.input.mean.shape[0] != u.shape[0]:
            raise ValueError(
                f"The statistics are for {self.input.mean.shape[0]} channels but the state has {u.shape[0]}, shape "
                f"{u.shape}: a state is (channel, *space), and batches go through jax.vmap(model)."
            )
        if parameters is None or not self.parameters:
            return self.input.remove(u), parameters
        dtype = at_least_single(_real(u.dtype))
        told = {
            name: self.parameters[name].remove(jnp.asarray(value, dtype)) if name in self.parameters else value
            for name, value in parameters.items()
        }
        return self.input.remove(u), told

    def sought(
        self, u: Float[Array, "channel *space"], result: Float[Array, "channel_out *space"]
    ) -> Float[Array, "channel_out *space"]:
        """What the model inside has to return, in its units, for this to return `result`."""
        return self.output.remove(result - _last_frame_repeated(u, self.frames) if self.residual else result)


def _last_frame_repeated(u: Array, frames: int) -> Array:
    if u.shape[0] % frames:
        raise ValueError(f"The state has {u.shape[0]} channels, which are not those of {frames} frames.")
    count = u.shape[0] // frames
    return u if frames == 1 else jnp.concatenate([u[-count:]] * frames)


def trainable(model: Any) -> Any:
    """A tree of flags shaped like `model`: True for every real or complex array outside `Statistics` and `Held`.

    For `eqx.partition(model, trainable(model))`, which is what `fit` optimises.
    """

    def flags(node: Any) -> Any:
        if isinstance(node, Statistics | Held):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    return jax.tree.map(flags, model, is_leaf=lambda node: isinstance(node, Statistics | Held))


def output_scale(model: Any) -> Float[Array, " channel_out"] | float:
    """What an error of order one is, per channel: what the model states as `output_scale`, else 1.

    That of a `Normalised` model is the standard deviation that it predicts in.
    """
    return getattr(model, "output_scale", 1.0)


def input_scale(model: Any) -> Float[Array, " channel"] | float:
    """The standard deviation of the input per channel, of a model that states it as `input_scale`, else 1."""
    return getattr(model, "input_scale", 1.0)
