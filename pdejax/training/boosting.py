"""A network that is to learn what a fitted model misses, in the units of what that is."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.data import Trajectories
from pdejax.data.pairs import pair_arrays
from pdejax.grid import Grid
from pdejax.models import Boosted, Normalised
from pdejax.training.fitted import Fitted
from pdejax.training.normalising import statistics

# Of the pairs on which the misses are measured: more change their deviation by a few per cent.
_MOST_PAIRS = 512


def boosted(first: Any, network: Any, data: Any, *, domain: Grid | None = None) -> Boosted:
    """`Boosted(first, network)`, where the network works in the units of the states, of what `first` makes of them and
    of what that misses, as measured on `data`.

    - `first`: a fitted model, e.g. `fit(...).model`, or one that is boosted already.
    - `network`: takes `channel + channel_out` channels: the state, and what `first` made of it.
    - `data`: what `first` was trained on: `Trajectories`, of which it maps each frame to the next, or a pair of arrays
      `(inputs, targets)` or `(inputs, targets, parameters)`, as for `Supervised`.
    - `domain`: where pairs live, for models that have to be told; trajectories have a grid of their own.

    With the option `frozen` as here the network alone is then trained, by any objective that maps frames to later ones
    or inputs to targets:

        model = pj.boosted(fitted.model, pj.models.FNO(2, 1, ...), data)
        pj.fit(model, objective, data, frozen=lambda model: model.first, ...)

    `fit` leaves the units as they are here.

    Raises `ValueError` for something that is no model or no data, data that are not finite, trajectories of one frame,
    a domain beside trajectories, and where `first` returns what is not finite or another shape than that of the
    targets.
    """
    if isinstance(first, Fitted):
        raise ValueError("boosted takes the model of a fit, and not the whole result: pass fitted.model.")
    if isinstance(data, tuple | list):
        given = pair_arrays("data", data)
        if len(given.inputs) == 0:
            raise ValueError("There are no pairs: what is missed of none has no size.")
        chosen = _spread_over(len(given.inputs))
        inputs, targets = (np.asarray(each)[chosen] for each in given[:2])
        parameters = {name: np.asarray(values)[chosen] for name, values in given.parameters.items()}
    elif not isinstance(data, Trajectories):
        raise ValueError(
            f"boosted measures what is missed on Trajectories or a pair (inputs, targets), got a {type(data).__name__}."
        )
    else:
        if domain is not None:
            raise ValueError("Trajectories have a grid of their own: leave out `domain`.")
        u, domain = np.asarray(data.u[:]), data.grid
        if u.shape[1] < 2:
            raise ValueError("What a model misses is measured from frame to frame: the trajectories have one frame.")
        sample, frame = np.divmod(_spread_over(u.shape[0] * (u.shape[1] - 1)), u.shape[1] - 1)
        inputs, targets = u[sample, frame], u[sample, frame + 1]
        parameters = {name: np.asarray(values)[sample] for name, values in data.parameters.items()}

    @eqx.filter_jit
    def predict(model: Any, states: Any, of_each: Any) -> Any:
        return jax.lax.map(lambda pair: model(pair[0], pair[1] or None, domain=domain), (states, of_each))

    if not (np.all(np.isfinite(inputs)) and np.all(np.isfinite(targets))):
        raise ValueError("The data hold values that are not finite: what is missed of them has no size.")
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
