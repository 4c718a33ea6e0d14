"""A module of flax.linen as a model of this package."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.interop.layout import from_foreign, to_foreign
from pdejax.keys import checked_key
from pdejax.models import Held

try:
    from flax import errors, linen
except ImportError as error:
    raise ImportError("LinenModel needs flax: pip install 'pdejax[interop]'.") from error


class LinenModel(eqx.Module):
    """`model(u, parameters=None, *, domain=None, key=None)` from a flax.linen module and its variables.

    Shapes `(channel, *space) -> (channel_out, *space)`. The module sees `(1, *space, channel)`, the layout that layers
    of flax expect; `channels_last=False` keeps the channels first, `batched=False` leaves the batch axis out.

    - `variables`: what `module.init` gives; `LinenModel.init` calls it. The collection "params" is trained. All others,
      e.g. running statistics, keep their values (`Held`): a model here is a function of its input, without memory.
    - `rngs`: the names under which the module draws random numbers. They come from the `key` of the call: `fit` gives
      one, `evaluate` and rollouts do so only where asked.
    - `deterministic`: the keyword of the module's `__call__` that switches its dropout off. It is True in a call
      without key and False in one with; None gives no such keyword.

    The module is told neither `parameters` nor `domain`: what it has to know goes into channels of the data.

    Raises `ValueError` for variables without "params"; at trace time for an output of another layout, for random
    numbers without a key, and for a module that writes into its variables (`BatchNorm` in training:
    `use_running_average=True` is its function of one input).
    """

    parameters: Any
    held: Held
    module: linen.Module = eqx.field(static=True)
    channels_last: bool = eqx.field(static=True)
    batched: bool = eqx.field(static=True)
    rngs: tuple[str, ...] = eqx.field(static=True)
    deterministic: str | None = eqx.field(static=True)

    def __init__(
        self,
        module: linen.Module,
        variables: Mapping[str, Any],
        *,
        channels_last: bool = True,
        batched: bool = True,
        rngs: Sequence[str] = ("dropout",),
        deterministic: str | None = None,
    ):
        collections = dict(variables)
        if "params" not in collections:
            raise ValueError(
                f'LinenModel trains variables["params"], got the collections {sorted(collections)}: pass all that '
                "module.init(key, x) gives, or use LinenModel.init."
            )
        self.module, self.parameters, self.held = module, collections.pop("params"), Held(collections)
        self.channels_last, self.batched = channels_last, batched
        self.rngs, self.deterministic = tuple(rngs), deterministic

    @classmethod
    def init(
        cls, module: linen.Module, example_state: Float[Array, "channel *space"], *, key: PRNGKeyArray, **options: Any
    ) -> "LinenModel":
        """With new variables, made for states of this shape, `(channel, *space)`; `options` are those of the class."""
        if not isinstance(module, linen.Module):
            fix = "use pdejax.interop.nnx.NnxModel" if callable(module) else "pass one that is built"
            raise ValueError(f"LinenModel takes a module of flax.linen, got {type(module).__name__}: {fix}.")
        # The options are read by the class alone: a model without variables knows the layout.
        blank = cls(module, {"params": {}}, **options)
        names = ("params", *blank.rngs)
        keys = dict(zip(names, jax.random.split(checked_key(key, "LinenModel.init"), len(names)), strict=True))
        variables = module.init(keys, blank._arranged(example_state), **blank._switch(None))
        return cls(module, variables, **options)

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        name = type(self.module).__name__
        variables = {"params": self.parameters, **self.held.values}
        rngs = None if key is None else {each: jax.random.fold_in(key, i) for i, each in enumerate(self.rngs)}
        try:
            y = self.module.apply(variables, self._arranged(u), rngs=rngs, **self._switch(key))
        except errors.ModifyScopeVariableError as error:
            raise ValueError(
                f"{name} writes into its variables when it is called, and a model keeps nothing from call to call: "
                f"build it for evaluation, e.g. BatchNorm(use_running_average=True). {error}"
            ) from error
        except errors.InvalidRngError as error:
            fix = "pass key=, or name the keyword that switches this off, e.g. LinenModel(deterministic=...)"
            if key is not None:
                fix = f"name its streams, LinenModel(rngs=...), now {self.rngs}"
            raise ValueError(f"{name} draws random numbers that it is not given: {fix}. {error}") from error
        return from_foreign(y, u.shape[1:], self.channels_last, self.batched, name)

    def _arranged(self, u: Array) -> Array:
        return to_foreign(u, self.channels_last, self.batched)

    def _switch(self, key: Any) -> dict[str, Any]:
        return {} if self.deterministic is None else {self.deterministic: key is None}
