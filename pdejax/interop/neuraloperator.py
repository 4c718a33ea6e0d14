"""Weights of neuraloperator's FNO, release 2.0.0, in ours. Neither torch nor neuraloperator is needed or imported."""

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.interop.neuraloperator_options import all_options, fno_arguments, padding
from pdejax.interop.spectral_weights import dense_weight, kept_part
from pdejax.models import FNO
from pdejax.nn import ChannelMap


def fno_from_neuraloperator(
    weights: Mapping[str, Any] | str | os.PathLike,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    space: Sequence[int] | None = None,
    activation: Callable | None = None,
    shift_odd_axes: bool = True,
    dtype: Any = jnp.float32,
) -> FNO:
    """An FNO of ours with the weights of an `FNO` or `TFNO` of neuraloperator 2.0.0, and with its output.

    - `weights`: its `state_dict()`, or another mapping from those names to arrays, or the path of an `.npz` file of
      them.
    - `hyperparameters`: the keywords that it was made with. What is not given is taken from the "_metadata" in its
      `state_dict()`, else its default. `n_modes` may be fewer than there are weights for, as in incremental training.
    - `space`: the points per axis, where they are too few for `n_modes`. neuraloperator then uses a part of the
      weights, without a word; the model made here has that part alone.
    - `activation`: what `non_linearity` is, where that has no usual name: a function of `jax.nn` or `jax.numpy`.
    - `shift_odd_axes`: in two dimensions and more, 2.0.0 lowers every frequency by one along the axes of an odd number
      of points but the last (mended after that release, by its pull request 688). True gives this output, too, and
      costs a second convolution per layer there; False is the mended layer. Without odd axes nothing differs.
    - `dtype`: of the model.

    Weights that are factorised (Tucker, CP, TT) or separable become dense: the same output, with more to train.

    Raises `ValueError` for a hyperparameter that is unknown or that ours has no counterpart of, and for arrays that are
    missing, left over or of another shape than the hyperparameters say.
    """
    arrays, metadata = _arrays(weights)
    given = all_options(metadata, hyperparameters)
    layers = range(given["n_layers"])
    convolutions = [f"fno_blocks.convs.{i}.weight." for i in layers]
    dense = [_dense(arrays, prefix, given) for prefix in convolutions]
    points = None
    if space is not None:
        fractions = np.broadcast_to(np.asarray(padding(given), float), len(given["n_modes"]))
        points = [n + 2 * round(float(p) * n) for n, p in zip(space, fractions, strict=True)]
    where, modes = kept_part(dense[0], given["n_modes"], points)

    made = fno_arguments(given, modes, activation, shift_odd_axes)
    # Shapes alone: drawing weights that are replaced would take a second set of them.
    skeleton = eqx.filter_eval_shape(lambda: FNO(**made, dtype=dtype, key=jax.random.key(0)))
    places = _places(skeleton)
    names = {name for name in arrays if not name.startswith(tuple(convolutions))}
    if names != set(places):
        raise ValueError(
            "The arrays are not those of neuraloperator's FNO with these hyperparameters: "
            f"missing {sorted(set(places) - names)}, left over {sorted(names - set(places))}."
        )
    new = {path: _fitted(name, arrays[name], _at(skeleton, path).shape) for name, path in places.items()}
    for i, weight in enumerate(dense):
        kept = np.moveaxis(weight[:, :, *where], (0, 1), (-2, -1))
        new |= {f"convolutions.{i}.real": np.real(kept), f"convolutions.{i}.imaginary": np.imag(kept)}
    leaves = [jnp.asarray(array, dtype) for array in new.values()]
    return eqx.tree_at(lambda model: [_at(model, path) for path in new], skeleton, leaves)


def _arrays(weights: Mapping[str, Any] | str | os.PathLike) -> tuple[dict[str, np.ndarray], Mapping[str, Any] | None]:
    """The arrays by name, and what is said about the model."""
    if isinstance(weights, Mapping):
        named = {name: value for name, value in weights.items() if name != "_metadata"}
        return {name: _as_numpy(name, value) for name, value in named.items()}, weights.get("_metadata")
    if not os.path.isfile(weights):
        raise ValueError(f"{weights}: there is no such file.")
    if not zipfile.is_zipfile(weights):
        raise ValueError(f"{weights} is no .npz file: write one by numpy.savez(path, **arrays), or pass the arrays.")
    with np.load(weights, allow_pickle=False) as stored:
        broken = [name for name in stored.zip.namelist() if not name.endswith(".npy")]
        if broken:
            raise ValueError(
                f"{weights} holds {broken[0]}, as a file of torch.save does, and no arrays of numpy: pass what "
                "torch.load(path, weights_only=True) gives."
            )
        return dict(stored), None


def _as_numpy(name: str, value: Any) -> np.ndarray:
    # A torch tensor, without torch.
    array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    if not np.issubdtype(array.dtype, np.inexact):
        raise ValueError(f"{name} is no array of numbers with a fraction, but of dtype {array.dtype}.")
    return array


def _dense(arrays: Mapping[str, np.ndarray], prefix: str, given: Mapping[str, Any]) -> np.ndarray:
    parts = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    weight = dense_weight(prefix.rstrip("."), parts, bool(given["separable"]))
    width, ndim = given["hidden_channels"], len(given["n_modes"])
    if weight.ndim != 2 + ndim or weight.shape[:2] != (width, width):
        raise ValueError(
            f"{prefix.rstrip('.')} is for {weight.shape[:2]} channels and {weight.ndim - 2} axes, but "
            f"hidden_channels={width} and n_modes={tuple(given['n_modes'])}."
        )
    return weight


def _fitted(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    # There, what acts on a point has axes of one behind those of the channels, and a gate has one before them.
    squeezed = tuple(n for n in array.shape if n != 1), tuple(n for n in shape if n != 1)
    if squeezed[0] != squeezed[1]:
        raise ValueError(f"{name} has shape {array.shape}, but with these hyperparameters it has {shape}.")
    return array.reshape(shape)


def _places(model: FNO) -> dict[str, str]:
    """Every array of the model but the spectral weights: its name there -> its path in ours."""
    pairs = [("lifting.fcs.0.weight", "lift.weight"), ("lifting.fcs.0.bias", "lift.bias")]
    pairs += _of_mlp("lifting", "lift") + _of_mlp("projection", "projection")
    for i in range(model.num_layers):
        pairs.append((f"fno_blocks.convs.{i}.bias", f"additions.{i}.spectral_bias"))
        for theirs, ours in (("fno_skips", f"shortcuts.{i}"), ("channel_mlp_skips", f"additions.{i}.mlp_shortcut")):
            inside = ".conv" if isinstance(_at(model, ours), ChannelMap) else ""
            pairs.append((f"fno_blocks.{theirs}.{i}{inside}.weight", f"{ours}.weight"))
        pairs += _of_mlp(f"fno_blocks.channel_mlp.{i}", f"additions.{i}.mlp")
        for place, ours in enumerate(("first_norm", "second_norm")):
            theirs = f"fno_blocks.norm.{2 * i + place}"
            pairs += [(f"{theirs}.{each}", f"additions.{i}.{ours}.{each}") for each in ("weight", "bias")]
    return {theirs: ours for theirs, ours in pairs if _at(model, ours) is not None}


def _of_mlp(theirs: str, ours: str) -> list[tuple[str, str]]:
    parts = [(f"{theirs}.fcs.0", f"{ours}.hidden"), (f"{theirs}.fcs.1", f"{ours}.out")]
    return [(f"{there}.{each}", f"{here}.{each}") for there, here in parts for each in ("weight", "bias")]


def _at(model: Any, path: str) -> Any:
    """What is at a path such as "additions.2.mlp.out.weight", or None."""
    for step in path.split("."):
        model = model[int(step)] if step.isdigit() else getattr(model, step, None)
    return model
