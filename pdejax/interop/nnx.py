"""A module of flax.nnx as a model of this package."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.interop.layout import from_foreign, to_foreign
from pdejax.models import Held

try:
    from flax import nnx
except ImportError as error:
    raise ImportError("NnxModel needs flax: pip install 'pdejax[interop]'.") from error


class NnxModel(eqx.Module):
    """`model(u, parameters=None, *, domain=None, key=None)` from a flax.nnx module, which is copied.

    Shapes `(channel, *space) -> (channel_out, *space)`. The module sees `(1, *space, channel)`, the layout that layers
    of flax expect; `channels_last=False` keeps the channels first, `batched=False` leaves the batch axis out.

    - `module`: its `nnx.Param`s are trained. Other variables, e.g. running statistics, keep their values (`Held`): a
      model here is a function of its input, without memory.
    - Random numbers: a call with `key` runs the module as it is, every stream of `nnx.Rngs` starting from that key; one
      without runs it with `deterministic=True`. `fit` gives a key, `evaluate` and rollouts do
      so only where asked.

    The module is told neither `parameters` nor `domain`: what it has to know goes into channels of the data. The module
    with its trained weights: `model.merged()`.

    Raises `ValueError` for something that is no nnx module; at trace time for an output of another layout, for random
    numbers without a key, and for a module that writes into its variables (`BatchNorm` in training:
    `use_running_average=True` is its function of one input).
    """

    parameters: Any
    held: Held
    graph: Any = eqx.field(static=True)
    streams: Any = eqx.field(static=True)
    channels_last: bool = eqx.field(static=True)
    batched: bool = eqx.field(static=True)

    def __init__(self, module: Any, *, channels_last: bool = True, batched: bool = True):
        if not isinstance(module, nnx.Module):
            raise ValueError(
                f"NnxModel takes a module of flax.nnx that is built, got {module!r}: pass e.g. Net(rngs=nnx.Rngs(0))."
            )
        self.graph, parameters, streams, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
        # Copied, so that no training of the module elsewhere, which may donate its arrays, reaches this model.
        self.parameters, rest = jax.tree.map(jnp.copy, (parameters, rest))
        self.held = Held(rest)
        # The keys and counters of `nnx.Rngs` are made anew in every call: only their layout is kept.
        leaves, layout = jax.tree.flatten(streams)
        self.streams = (tuple(_is_key(leaf) for leaf in leaves), tuple(leaf.shape for leaf in leaves), layout)
        self.channels_last, self.batched = channels_last, batched

    def merged(self, key: PRNGKeyArray | None = None) -> Any:
        """The nnx module with the weights of this model, its random streams beginning at `key`, by default 0."""
        start = jax.random.key(0) if key is None else key
        if not _is_key(start):  # of the older kind, jax.random.PRNGKey; flax keeps the newer one
            start = jax.random.wrap_key_data(start)
        are_keys, shapes, layout = self.streams
        leaves = [
            _spread(jax.random.fold_in(start, i), shape) if is_key else jnp.zeros(shape, jnp.uint32)
            for i, (is_key, shape) in enumerate(zip(are_keys, shapes, strict=True))
        ]
        return nnx.merge(self.graph, self.parameters, jax.tree.unflatten(layout, leaves), self.held.values)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        module = self.merged(key)
        name = type(module).__name__
        if key is None:
            module.set_attributes(deterministic=True, raise_if_not_found=False)
        before = _variables(module)
        y = module(to_foreign(u, self.channels_last, self.batched))
        # Nothing that is written survives the call, so a write would be lost without a word. Arrays are compared by
        # identity, which needs no values and so works while it is traced.
        after = _variables(module)
        written = [path for path in after if path not in before or after[path][1] is not before[path][1]]
        if key is None and any(issubclass(after[path][0], nnx.RngState) for path in written):
            raise ValueError(
                f"{name} draws random numbers but has no key: pass key=, or let `deterministic=True` switch this off."
            )
        written = [path for path in written if not issubclass(after[path][0], nnx.RngState)]
        if written:
            raise ValueError(
                f"{name} writes into {', '.join(written)} when it is called, and a model keeps nothing from call to "
                "call: build it for evaluation, e.g. BatchNorm(use_running_average=True), or call module.eval() first."
            )
        return from_foreign(y, u.shape[1:], self.channels_last, self.batched, name)


def _variables(module: Any) -> dict[str, tuple[type, Any]]:
    """Class and value of every variable by its path, e.g. `norm.mean`."""
    flat = nnx.to_flat_state(nnx.state(module))
    return {".".join(map(str, path)): (variable.type, variable.get_value()) for path, variable in flat}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _spread(key: PRNGKeyArray, shape: tuple[int, ...]) -> PRNGKeyArray:
    return jax.random.split(key, shape) if shape else key
