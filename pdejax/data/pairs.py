"""Pairs of input and target, and what a model is told of each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class PairArrays(NamedTuple):
    """Inputs and targets, each `(sample, channel, *space)`, and by name numbers `(sample,)` or fields
    `(sample, *space)`."""

    inputs: Any
    targets: Any
    parameters: dict[str, Any]


def pair_arrays(what: str, data: Any) -> PairArrays:
    """`(inputs, targets)` or `(inputs, targets, parameters)`, checked.

    Raises `ValueError` for other numbers of entries and samples, arrays without a channel axis, and parameters that
    are no mapping.
    """
    if len(data) not in (2, 3):
        raise ValueError(
            f"`{what}` must be (inputs, targets) or (inputs, targets, parameters), got {len(data)} entries."
        )
    inputs, targets = data[:2]
    parameters = data[2] if len(data) == 3 else {}
    shapes = [np.shape(each) for each in (inputs, targets)]
    if any(len(shape) == 2 for shape in shapes):
        raise ValueError(
            f"`{what}` of shapes {shapes} lacks the channel axis: pass x[:, None], (sample, channel, *space)."
        )
    if shapes[0][:1] != shapes[1][:1] or min(len(shape) for shape in shapes) < 3:
        raise ValueError(
            f"`{what}` must be (inputs, targets), each (sample, channel, *space), but has shapes {shapes}."
        )
    if not isinstance(parameters, Mapping):
        raise ValueError(
            f"The parameters of `{what}` are given by name, e.g. {{'mask': masks}}, got a {type(parameters).__name__}."
        )
    for name, values in parameters.items():
        if np.shape(values)[:1] != shapes[0][:1]:
            raise ValueError(
                f"The parameter {name!r} of `{what}` has shape {np.shape(values)}, and there are {shapes[0][0]} "
                "samples: a number for each is (sample,), a field (sample, *space)."
            )
    return PairArrays(inputs, targets, dict(parameters))
