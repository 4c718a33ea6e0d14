"""What a model is made of and what a call costs, layer by layer, without running it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pdejax.grid import Grid, check_is_grid
from pdejax.nn.checks import check_is_model
from pdejax.operations import operations_by_name

ELSEWHERE = "between the layers"
# Gradients below this part of the largest are what transforms and means round to.
_NOTHING = 1e-5


@dataclass(frozen=True)
class Summary:
    """Of one model on one grid; `print` it.

    - `layers`: a `pandas.DataFrame`, one row per layer in the order of the first call: `name`, `kind`, `parameters`
      (real numbers that are trained), `output` (the shape of its last result), `flops` and `bytes` (of its results, all
      calls together; what a gradient keeps of a layer at least).
    - `parameters`, `flops`: of the whole model; `parameter_bytes`, `activation_bytes`: of its arrays, and of the
      results of all layers.
    - `receptive_field`: on how many points along each axis one point of the result depends.
    """

    layers: pd.DataFrame
    parameters: int
    flops: float | int
    parameter_bytes: int
    activation_bytes: int
    receptive_field: tuple[int, ...]
    grid: tuple[int, ...]

    def __str__(self) -> str:
        table = self.layers.assign(flops=[_short(value) for value in self.layers["flops"]])
        table = table.assign(bytes=[_short(value) for value in self.layers["bytes"]])
        field = " x ".join(map(str, self.receptive_field))
        return (
            f"{table.to_string(index=False)}\n"
            f"{self.parameters} parameters ({_short(self.parameter_bytes)}B); on {' x '.join(map(str, self.grid))} "
            f"points {_short(self.flops)} floating-point operations, {_short(self.activation_bytes)}B of results; one "
            f"point sees {field}"
        )


def summary(
    model: Any, grid: Grid, *, parameters: Mapping[str, Any] | None = None, in_channels: int | None = None
) -> Summary:
    """Parameters, floating-point operations, memory and receptive field of a call on one state of `grid`.

    Operations are counted in what the model does (its jaxpr): a product of matrices takes two per term, of complex ones
    eight; a convolution two per term; an FFT of n points 5 n log2 n (half of that for real ones); everything else one
    per number. Loops count as often as they are gone through, those that end on a condition once. A layer is every
    callable part that holds arrays and no other such part.

    The receptive field is measured and not derived: along each axis, how far those points of a random state are apart
    on which the middle point of the result depends, by its gradient. Transforms, and means over all points, make it the
    whole grid.

    - `parameters`: those of a call, where the model needs them. `in_channels`: where the model does not keep it.

    Raises `ValueError` where the number of channels is not known and for what is no model, `TypeError` for what is no
    grid, and what the model raises for this grid.
    """
    if isinstance(model, Grid):
        raise ValueError("The model comes first, summary(model, grid), got a Grid in its place.")
    check_is_model(model, "summary")
    check_is_grid(grid, "summary")
    is_ensemble = lambda node: hasattr(node, "num_members")  # noqa: E731
    if any(is_ensemble(node) for node in jax.tree.leaves(model, is_leaf=is_ensemble)):
        raise ValueError("All members of an Ensemble are alike: pass one, pdejax.models.members(model)[0].")
    count = in_channels if in_channels is not None else _channels(model)
    shape = (count, *grid.shape)
    dtype = _floating(model)
    seen: dict[str, tuple[str, Any]] = {}
    watched = _watched(model, seen)
    call = lambda u: watched(u, parameters, domain=grid)  # noqa: E731
    jaxpr = jax.make_jaxpr(call)(jax.ShapeDtypeStruct(shape, dtype))
    operations, results = operations_by_name(jaxpr, set(seen))
    sizes = _parameters_by_layer(model, seen)
    rows = [
        {
            "name": name,
            "kind": kind,
            "parameters": sizes[name],
            "output": output,
            "flops": operations.get(name, 0.0),
            "bytes": results.get(name, 0),
        }
        for name, (kind, output) in seen.items()
    ]
    total = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    rows.append(
        {
            "name": ELSEWHERE,
            "kind": type(model).__name__,
            "parameters": total - sum(sizes.values()),
            "output": tuple(jaxpr.out_avals[0].shape),
            "flops": operations.get("", 0.0),
            "bytes": results.get("", 0),
        }
    )
    arrays = jax.tree.leaves(eqx.filter(model, eqx.is_array))
    return Summary(
        layers=pd.DataFrame(rows),
        parameters=total,
        flops=sum(operations.values()),
        parameter_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in arrays),
        activation_bytes=sum(results.values()),
        receptive_field=_receptive_field(lambda u: model(u, parameters, domain=grid), shape, dtype, grid.periodic),
        grid=grid.shape,
    )


def _watched(model: Any, seen: dict[str, tuple[str, Any]]) -> Any:
    """The same model, where the operations of every layer carry its name, and its results are noted."""

    def wrapped(path: Any, node: Any) -> Any:
        return _named(node, _name(path), seen) if _is_layer(node) else node

    # The model itself is gone into, whatever it is.
    return jax.tree_util.tree_map_with_path(wrapped, model, is_leaf=lambda node: node is not model and _is_layer(node))


def _named(layer: Any, name: str, seen: dict[str, tuple[str, Any]]) -> Any:
    kind = type(layer)

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        with jax.named_scope(name):
            result = layer(*arguments, **options)
        shapes = [tuple(leaf.shape) for leaf in jax.tree.leaves(result)]
        seen[name] = (kind.__name__, shapes[0] if len(shapes) == 1 else shapes)
        return result

    # Of the same kind, for models that ask for it, and with all that it has but its call.
    twin = object.__new__(type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__}))
    for attribute, value in vars(layer).items():
        object.__setattr__(twin, attribute, value)
    return twin


def _is_layer(node: Any) -> bool:
    """Callable, with arrays, and without parts that are so."""
    if not isinstance(node, eqx.Module) or not callable(node) or not _has_arrays(node):
        return False
    inside = jax.tree.leaves(node, is_leaf=lambda part: part is not node and isinstance(part, eqx.Module))
    return not any(isinstance(part, eqx.Module) and _has_layers(part) for part in inside)


def _has_layers(node: Any) -> bool:
    return _is_layer(node) or any(
        isinstance(part, eqx.Module) and _has_layers(part)
        for part in jax.tree.leaves(node, is_leaf=lambda part: part is not node and isinstance(part, eqx.Module))
    )


def _has_arrays(node: Any) -> bool:
    return any(eqx.is_array(leaf) for leaf in jax.tree.leaves(node))


def _name(path: Any) -> str:
    # Slashes separate scopes, and brackets are no part of a name.
    return re.sub(r"\[(\d+)\]", r".\1", jax.tree_util.keystr(path)).lstrip(".")


def _parameters_by_layer(model: Any, seen: Mapping[str, Any]) -> dict[str, int]:
    sizes = dict.fromkeys(seen, 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_inexact_array)):
        name = _name(path)
        for layer in seen:
            if name.startswith(f"{layer}."):
                sizes[layer] += leaf.size
    return sizes


def _channels(model: Any) -> int:
    node = model
    while not hasattr(node, "in_channels"):
        if hasattr(node, "input"):
            return int(node.input.mean.shape[0])
        inner = [getattr(node, name) for name in ("model", "first") if hasattr(node, name)]
        if not inner:
            raise ValueError(f"{type(model).__name__} does not keep its in_channels: pass summary(..., in_channels=).")
        node = inner[0]
    return int(node.in_channels)


def _floating(model: Any) -> Any:
    leaves = [leaf.dtype for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))]
    return leaves[0] if leaves else jnp.result_type(float)


def _receptive_field(
    call: Callable[[Any], Any], shape: tuple[int, ...], dtype: Any, periodic: tuple[bool, ...]
) -> tuple[int, ...]:
    u = jax.random.normal(jax.random.key(0), shape, dtype)
    middle = tuple(n // 2 for n in shape[1:])
    read = lambda u: jnp.sum(jnp.sin(call(u)[(slice(None), *middle)]))  # noqa: E731
    gradient = np.sum(np.abs(np.asarray(jax.jit(jax.grad(read))(u), np.float64)), axis=0)
    field = []
    for axis, points in enumerate(gradient.shape):
        others = tuple(a for a in range(gradient.ndim) if a != axis)
        along = np.max(gradient, axis=others)
        places = np.flatnonzero(along > _NOTHING * np.max(along)) - points // 2
        field.append(int(places.max() - places.min() + 1) if places.size else 0)
    return tuple(field)


def _short(value: float | int) -> str:
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.0f}"
