"""A trained model in one file: a JSON header that says what it is, then its arrays. No pickle: nothing is executed."""

import dataclasses
import importlib
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax import leaf_file, nn, stretching
from pdejax.grid import Grid, check_is_grid
from pdejax.nn.checks import check_is_model

_MAGIC = b"pdejax model\n"
_FORMAT_VERSION = 1
# Only classes and functions of these packages are looked up by name, so that a file cannot name anything else.
_CLASSES = ("pdejax.models.", "pdejax.nn.", "pdejax.grid", "pdejax.stretching.")
_FUNCTIONS = {"jax.nn": jax.nn, "jax.numpy": jnp, "pdejax.nn": nn}


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    - `model`: as it was saved; takes and returns physical units if it did then.
    - `names`, `units`: of the state's channels; `grid`, `dt`: where and at which interval it was trained, or None:
      `NeuralStepper(saved.model, saved.dt, saved.grid)` steps it.
    - `provenance`: a JSON-able dict, e.g. the data, the settings of the fit and its result.
    """

    model: Any
    names: tuple[str, ...]
    units: tuple[str, ...]
    grid: Grid | None
    dt: float | None
    provenance: dict[str, Any]


def save(
    path: str | os.PathLike,
    model: eqx.Module,
    *,
    names: Sequence[str] = (),
    units: Sequence[str] = (),
    grid: Grid | None = None,
    dt: float | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes `model` and what is needed to use it to one file; it appears under `path` only when it is whole.

    A model is described by its class and the arguments of its constructor, each of which it must keep in a field of
    the same name (`key` excepted), so a constructor stays the only list of hyperparameters; or it has a method
    `constructor_arguments() -> dict` that says them.

    A class of one's own is saved by `equinox.tree_serialise_leaves`; the README shows how.

    Raises `ValueError` for a model that cannot be described: a class outside pdejax, a constructor argument that is not
    kept, an activation that is not from `jax.nn`, `jax.numpy` or `pdejax.nn`; for a number of names that is not that of
    the channels, a dt that is no interval, a grid of other axes than the model's, and a folder that is not there.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"The path comes first, save(path, model), got a {type(path).__name__} in its place.")
    check_is_model(model, "pdejax.models.save")
    names, units = _as_names(names), _as_names(units)
    network: Any = model
    while hasattr(network, "model"):
        network = network.model
    channels = getattr(network, "in_channels", len(names))
    # A state may be a bundle of several frames with the same names.
    if names and channels % len(names):
        raise ValueError(f"The model has {channels} channels and there are the names {names}: one for each.")
    if units and len(units) != len(names):
        raise ValueError(f"There are the names {names} and the units {units}: one unit for each name, or none.")
    if grid is not None:
        check_is_grid(grid, "pdejax.models.save")
        ndim = getattr(network, "ndim", grid.ndim)
        if ndim != grid.ndim:
            raise ValueError(f"The model has ndim={ndim} but the grid has shape {grid.shape}: pass the model's own.")
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt is the interval from call to call, positive and finite, got {dt}.")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {Path(path).parent}.")
    header = {
        "format_version": _FORMAT_VERSION,
        "model": _describe(model),
        "names": names,
        "units": units,
        "grid": _describe(grid),
        "dt": None if dt is None else float(dt),
        "provenance": dict(provenance or {}),
    }
    leaf_file.write(path, _MAGIC, header, jax.tree.leaves(eqx.filter(model, eqx.is_array)))


def load(path: str | os.PathLike) -> SavedModel:
    """Reads what `save` wrote.

    Raises `ValueError` for a file that is not a model of this package, that is truncated or altered, that a newer
    version wrote, or whose arrays do not fit the class it names, and where there is no file.
    """
    header, arrays = leaf_file.read(
        path, _MAGIC, _FORMAT_VERSION, "model", "Copy or train it again.", "pdejax.models.save"
    )
    model = _fill(path, _rebuild(header["model"]), arrays)
    return SavedModel(
        model=model,
        names=tuple(header["names"]),
        units=tuple(header["units"]),
        grid=_rebuild(header["grid"]),
        dt=header["dt"],
        provenance=header["provenance"],
    )


def _as_names(names: str | Sequence[str]) -> list[str]:
    """A single text is one name, and not its letters."""
    return [names] if isinstance(names, str) else list(names)


def _fill(path: Any, skeleton: Any, stored: list[np.ndarray]) -> Any:
    arrays, rest = eqx.partition(skeleton, eqx.is_array)
    expected, structure = jax.tree.flatten(arrays)
    if [leaf.shape for leaf in expected] != [leaf.shape for leaf in stored]:
        raise ValueError(
            f"{path} holds arrays of shapes {[leaf.shape for leaf in stored]} but its class has "
            f"{[leaf.shape for leaf in expected]}: it belongs to another version of that class."
        )
    return eqx.combine(jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in stored]), rest)


def _describe(value: Any) -> Any:
    """A constructor argument as JSON: numbers and text as they are, all else as an object that names its kind."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_describe(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {str(name): _describe(item) for name, item in value.items()}}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return {"array": np.asarray(value).tolist(), "dtype": np.asarray(value).dtype.name}
    is_kind = type(value).__module__.startswith(f"{nn.__name__}.")  # what a layer is made of, e.g. Modes
    if isinstance(value, eqx.Module) or is_kind or type(value).__module__ == stretching.__name__:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if not name.startswith(_CLASSES):
            raise ValueError(
                f"{name} is no model or layer of pdejax.models, and cannot be saved by description: use "
                "equinox.tree_serialise_leaves, and build the model again to load it; the README shows how."
            )
        own: Any = getattr(value, "constructor_arguments", None)
        if own is not None:
            given = own()
        else:
            given = {name: _argument(value, name) for name in _arguments(kind)}
        return {"class": name, "arguments": {name: _describe(argument) for name, argument in given.items()}}
    for module, package in _FUNCTIONS.items():
        name = getattr(value, "__name__", "")
        if getattr(package, name, None) is value:
            return {"function": f"{module}.{name}"}
    raise ValueError(f"{value!r} cannot be written to a model file; use a function of jax.nn or jax.numpy.")


def _rebuild(description: Any) -> Any:
    if isinstance(description, list):
        return tuple(_rebuild(item) for item in description)
    if not isinstance(description, dict):
        return description
    if "dict" in description:
        return {name: _rebuild(item) for name, item in description["dict"].items()}
    if "array" in description:
        return jnp.asarray(np.asarray(description["array"], description["dtype"]))
    if "dtype" in description:
        return np.dtype(description["dtype"])
    if "function" in description:
        module, _, name = description["function"].rpartition(".")
        if module not in _FUNCTIONS or not hasattr(_FUNCTIONS[module], name):
            raise ValueError(
                f"The file names the function {description['function']!r}, which this pdejax cannot look up."
            )
        return getattr(_FUNCTIONS[module], name)
    module, _, name = description["class"].rpartition(".")
    kind = None
    if description["class"].startswith(_CLASSES):
        try:
            kind = getattr(importlib.import_module(module), name, None)
        except ModuleNotFoundError:
            kind = None
    if not inspect.isclass(kind):
        raise ValueError(f"The file names the class {description['class']!r}, which this pdejax does not have.")
    unknown = sorted(set(description["arguments"]) - set(_arguments(kind)))
    if unknown:
        raise ValueError(f"The file says {unknown} of {name}, which this pdejax does not know: update pdejax.")
    arguments = {name: _rebuild(item) for name, item in description["arguments"].items()}
    if "key" in inspect.signature(kind).parameters:
        # The weights drawn here are replaced by those in the file.
        arguments["key"] = jax.random.key(0)
    return kind(**arguments)


def _arguments(kind: type) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name != "key"]


def _argument(value: Any, name: str) -> Any:
    if not hasattr(value, name):
        raise ValueError(f"{type(value).__name__} does not keep its constructor argument `{name}`; keep it in a field.")
    return getattr(value, name)
