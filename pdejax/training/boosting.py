"""A network that is to learn what a fitted model misses, in the units of what that is."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.models import Boosted, Normalised
from pdejax.training.normalising import statistics

# Of the pairs on which the misses are measured: more change their deviation by a few per cent.
_MOST_PAIRS = 512


def boosted(first: Any, network: Any, data: Any) -> Boosted:
    """`Boosted(first, network)`, where the network works in the units of the states, of what `first` makes of them and
    of what that misses, as measured on `data`.

    - `first`: a fitted model, e.g. `fit(...).model`, or one that is boosted already.
    - `network`: takes `channel + channel_out` channels: the state, and what `first` made of it.
    - `data`: what `first` was trained on: `Trajectories`, of which it maps each frame to the next, or a pair of arrays
      `(inputs, targets)`.

    With the options `frozen` and `normalise` as here, the network alone is then trained, by any objective:

        model = pj.boosted(fitted.model, pj.models.FNO(2, 1, ...), data)
        pj.fit(model, objective, data, frozen=lambda model: model.first, normalise=False, ...)

    Raises `ValueError` for trajectories of one frame, and where `first` returns what is not finite or another shape
    than that of the targets.
    """
    if isinstance(data, tuple):
        inputs, targets = (np.asarray(each) for each in data)
        chosen = _spread_over(len(inputs))
        inputs, targets, parameters, domain = inputs[chosen], targets[chosen], {}, None
    else:
        u, domain = np.asarray(data.u[:]), data.grid
        if u.shape[1] < 2:
            raise ValueError("What a model misses is measured from frame to frame: the trajectories have one frame.")
        sample, frame = np.divmod(_spread_over(u.shape[0] * (u.shape[1] - 1)), u.shape[1] - 1)
        inputs, targets = u[sample, frame], u[sample, frame + 1]
        parameters = {name: np.asarray(values)[sample] for name, values in data.parameters.items()}

    @eqx.filter_jit
    def predict(model: Any, states: Any, of_each: Any) -> Any:
        return jax.lax.map(lambda pair: model(pair[0], pair[1] or None, domain=domain), (states, of_each))

    predicted = np.asarray(predict(first, jnp.asarray(inputs), jax.tree.map(jnp.asarray, parameters)))
    # What is missed is known as well as the targets are.
    predicted = predicted.astype(targets.dtype)
    if predicted.shape != targets.shape:
        raise ValueError(
            f"The first model makes shape {predicted.shape[1:]} of a state, but the targets have {targets.shape[1:]}."
        )
    if not np.all(np.isfinite(predicted)):
        raise ValueError("The first model gives values that are not finite on these data: it is no model to boost.")
    seen_by = getattr(network, "in_channels", inputs.shape[1] + predicted.shape[1])
    if seen_by != inputs.shape[1] + predicted.shape[1]:
        raise ValueError(
            f"The network takes {seen_by} channels, but sees {inputs.shape[1]} of the state and {predicted.shape[1]} "
            f"that the first model made of it: build it with in_channels={inputs.shape[1] + predicted.shape[1]}."
        )
    size = np.sqrt(np.mean(targets.astype(np.float64) ** 2, axis=(0, *range(2, targets.ndim))))
    seen = statistics(np.concatenate([inputs, predicted], axis=1), 1)
    told = {name: statistics(values) for name, values in parameters.items()}
    return Boosted(first, Normalised(network, seen, statistics(targets - predicted, 1, size), parameters=told))


def _spread_over(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(_MOST_PAIRS, count)).round().astype(int)
