"""Models that follow one another, each of which learns what those before it miss."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Boosted(eqx.Module):
    r"""The sum of a model and of one that corrects it:

        p = first(u),      result = p + second((u, p))

    `second` sees the state and what `first` made of it, one behind the other in its channels, and is trained on what
    `first` misses, with the weights of `first` held: what is left is other than what was learned, for a Fourier
    network mostly at high frequencies, and in units of its own (`pdejax.boosted` measures them). `first` may be
    `Boosted` itself.

    - `first`: takes `channel` channels and returns `channel_out`.
    - `second`: takes `channel + channel_out` and returns `channel_out`, in physical units, e.g. `Normalised(FNO(...))`.

    `model(u, parameters, domain=, key=)`: all is passed on to both, a key is split.

    Raises `ValueError` for a model that is not built; at trace time where `second` returns another shape than `first`.
    Source: Qin et al., Toward a Better Understanding of Fourier Neural Operators from a Spectral Perspective
    (arXiv:2404.07200), section 4.
    """

    first: Any
    second: Any

    def __init__(self, first: Any, second: Any):
        for name, model in (("first", first), ("second", second)):
            if isinstance(model, type) or not callable(model):
                given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
                raise ValueError(f"Boosted takes as `{name}` a model that is built, e.g. FNO(...), got {given}.")
        self.first, self.second = first, second

    @property
    def input_scale(self) -> Any:
        """That of the state, as the second model states it, else as the first does; 1 where neither does."""
        seen, missed = (getattr(self.second, f"{of}put_scale", None) for of in ("in", "out"))
        if seen is None or missed is None:
            return getattr(self.first, "input_scale", 1.0)
        return seen[: seen.size - missed.size]  # behind them are the channels of what the first model made

    @property
    def output_scale(self) -> Any:
        """What an error of order one is: that of what the second model learns; 1 where it states none."""
        return getattr(self.second, "output_scale", 1.0)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        keys = (None, None) if key is None else jax.random.split(key)
        predicted = self.first(u, parameters, domain=domain, key=keys[0])
        missed = self.second(jnp.concatenate([u, predicted]), parameters, domain=domain, key=keys[1])
        if missed.shape != predicted.shape:
            raise ValueError(
                f"The second model of Boosted returns shape {missed.shape}, but has to correct {predicted.shape}: "
                "build it with as many output channels as the first."
            )
        return predicted + missed
