"""The hyperparameters of neuraloperator's FNO, release 2.0.0, as arguments of ours."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pdejax import nn

# The arguments of its constructor, in their order, which is that of "args" in its metadata; and their defaults.
_REQUIRED = ("n_modes", "in_channels", "out_channels", "hidden_channels")
_DEFAULTS: dict[str, Any] = {
    "n_layers": 4,
    "lifting_channel_ratio": 2,
    "projection_channel_ratio": 2,
    "positional_embedding": "grid",
    "non_linearity": "gelu",
    "norm": None,
    "complex_data": False,
    "use_channel_mlp": True,
    "channel_mlp_dropout": 0,
    "channel_mlp_expansion": 0.5,
    "channel_mlp_skip": "soft-gating",
    "fno_skip": "linear",
    "resolution_scaling_factor": None,
    "domain_padding": None,
    "fno_block_precision": "full",
    "stabilizer": None,
    "max_n_modes": None,
    "factorization": None,
    "rank": 1.0,
    "fixed_rank_modes": False,
    "implementation": "factorized",
    "decomposition_kwargs": None,
    "separable": False,
    "preactivation": False,
    "conv_module": "SpectralConv",
}
# The only value that ours has a counterpart of, and what the others would need.
_ONLY: dict[str, tuple[Any, str]] = {
    "complex_data": (False, "complex states; two real channels are another network"),
    "channel_mlp_dropout": (0, "dropout. It acts in training alone: pass channel_mlp_dropout=0 for the output without"),
    "resolution_scaling_factor": (None, "layers that change the resolution"),
    "fno_block_precision": ("full", "convolutions in half precision. Pass fno_block_precision='full' to run in full"),
    "conv_module": ("SpectralConv", "other convolutions than SpectralConv"),
}
_SHORTCUTS = {
    None: None,
    "linear": nn.LinearShortcut(bias=False),
    "identity": nn.IdentityShortcut(),
    "soft-gating": nn.GatedShortcut(),
}
_NORMS = {None: None, "group_norm": nn.GroupNorm(1), "instance_norm": nn.InstanceNorm()}
_STABILISERS = {None: None, "tanh": jnp.tanh}
_ACTIVATIONS = {
    "gelu": nn.exact_gelu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "leakyrelu": jax.nn.leaky_relu,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}
# Which its models have had in release 2.0.0; what "_metadata" of a `state_dict()` calls "_version".
_MODEL_VERSION = "0.1.0"


def all_options(metadata: Mapping[str, Any] | None, hyperparameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Every hyperparameter: from `hyperparameters`, else from `metadata`, else the default.

    Raises `ValueError` without either, for another class or version of model, for names that are unknown or missing,
    and for values that ours has no counterpart of.
    """
    if metadata is None and hyperparameters is None:
        raise ValueError(
            "Without the '_metadata' of state_dict() the arrays do not say all: pass hyperparameters, the keywords of "
            "the model, e.g. {'n_modes': (16, 16), 'in_channels': 3, 'out_channels': 1, 'hidden_channels': 64}."
        )
    given = {**_DEFAULTS, **_flat(metadata or {}), **_flat(hyperparameters or {})}
    unknown = sorted(set(given) - set(_DEFAULTS) - set(_REQUIRED))
    missing = [name for name in _REQUIRED if name not in given]
    if unknown or missing:
        raise ValueError(
            f"The hyperparameters are those of neuraloperator's FNO: unknown {unknown}, missing {missing}."
        )
    if not isinstance(given["n_modes"], tuple | list):
        raise ValueError(f"n_modes has one number per axis, got {given['n_modes']!r}.")
    for name, (value, lacking) in _ONLY.items():
        if getattr(given[name], "__name__", given[name]) != value:
            raise ValueError(f"The model has {name}={given[name]!r}, but ours has no {lacking}.")
    return given


def fno_arguments(given: Mapping[str, Any], modes: nn.Modes, activation: Callable | None, shift_odd_axes: bool) -> dict:
    """What `pdejax.models.FNO` takes for these hyperparameters, but for `dtype` and `key`."""
    width, ndim = given["hidden_channels"], len(given["n_modes"])
    mlp = None
    if given["use_channel_mlp"]:
        # Whatever `non_linearity` is, these have gelu.
        inside = round(width * given["channel_mlp_expansion"])
        mlp = nn.LayerMLP(inside, nn.exact_gelu, _looked_up(given, "channel_mlp_skip", _SHORTCUTS))
    layer = nn.FourierLayer(
        shortcut=_looked_up(given, "fno_skip", _SHORTCUTS),
        spectral_bias=True,
        norm=_looked_up(given, "norm", _NORMS),
        mlp=mlp,
        preactivation=bool(given["preactivation"]),
        stabiliser=_looked_up(given, "stabilizer", _STABILISERS),
        second_activation=mlp is None and not given["preactivation"],
        shift_odd_axes=shift_odd_axes and ndim > 1,
    )
    return {
        "in_channels": given["in_channels"],
        "out_channels": given["out_channels"],
        "ndim": ndim,
        "modes": modes,
        "width": width,
        "num_layers": given["n_layers"],
        "lifting_width": int(given["lifting_channel_ratio"] * width) or None,
        "projection_width": int(given["projection_channel_ratio"] * width),
        "layer": layer,
        "padding": padding(given),
        # It does not know what is periodic, and these weights were trained on what it made.
        "pad_periodic": True,
        "coordinates": _embedding(given["positional_embedding"]),
        "activation": _activation(given["non_linearity"]) if activation is None else activation,
    }


def padding(given: Mapping[str, Any]) -> float | int | tuple[float | int, ...]:
    """The fraction that is added at each end, one number or one per axis. Of a tuple it takes no notice, nor do we."""
    value = given["domain_padding"]
    if isinstance(value, list):
        return tuple(value) if sum(value) > 0 else 0.0
    return value if isinstance(value, float | int) and value > 0 else 0.0


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters, or what neuraloperator keeps of them: beside them its version, and those given by position."""
    version, name = options.get("_version", _MODEL_VERSION), options.get("_name", "FNO")
    if version != _MODEL_VERSION or name not in ("FNO", "TFNO"):
        raise ValueError(
            f"The weights are of {name!r}, version {version!r}, and not of an FNO or TFNO of version "
            f"{_MODEL_VERSION!r}, which is that of neuraloperator 2.0.0."
        )
    flat = {key: value for key, value in options.items() if key not in ("_version", "_name", "args", "verbose")}
    # By position: next to them the keywords hold the defaults.
    return flat | dict(zip((*_REQUIRED, *_DEFAULTS), options.get("args", ()), strict=False))


def _looked_up(given: Mapping[str, Any], name: str, table: Mapping[Any, Any]) -> Any:
    value = given[name].lower() if isinstance(given[name], str) else given[name]
    if value not in table:
        raise ValueError(f"The model has {name}={given[name]!r}, but ours has only {list(table)}.")
    return table[value]


def _embedding(value: Any) -> Any:
    if value is None:
        return 0
    if isinstance(value, str) and value == "grid":
        return nn.GridEmbedding()
    boundaries = getattr(value, "grid_boundaries", None)
    if boundaries is not None:
        lowest, highest = np.asarray(boundaries, float).T
        return nn.GridEmbedding(tuple(lowest.tolist()), tuple(highest.tolist()))
    raise ValueError(
        f"The model has positional_embedding={value!r}, but ours has only 'grid', None and grid embeddings."
    )


def _activation(value: Any) -> Callable:
    """Ours of that name: of a function, or of a torch module whose parameters are the defaults."""
    name = value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)
    if name.lower() == "gelu" and getattr(value, "approximate", "none") == "tanh":
        return jax.nn.gelu
    usual = getattr(value, "alpha", 1.0) == 1.0 and getattr(value, "negative_slope", 0.01) == 0.01
    if name.lower() not in _ACTIVATIONS or not usual:
        raise ValueError(
            f"The model has non_linearity={value!r}, but only {sorted(_ACTIVATIONS)} are known by name: pass "
            "activation=, the function of jax.nn or jax.numpy that it is."
        )
    return _ACTIVATIONS[name.lower()]
