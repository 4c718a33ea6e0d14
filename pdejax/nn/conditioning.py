"""What a model is told beside the state: physical parameters, lead time, masks, geometry, where the points are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid, check_uniform
from pdejax.nn.modulation import is_kind_of_modulation
from pdejax.nn.padding import SAY_PERIODIC
from pdejax.nn.parameter_embedding import Embedding, ParameterEmbedding
from pdejax.nn.position import GridEmbedding, harmonic_channels, spread
from pdejax.nn.products import at_least_single


@dataclass(frozen=True)
class Conditioning:
    """What a model is told beside the state, and where in it that enters. A value: its weights are kept by the model.

    - `parameters`: names of numbers among the `parameters` of a call (or one name): coefficients of the equation, the
      `lead_time` of `pdejax.objectives.AllPairs`, where a body stands.
    - `fields`: names of fields among them, each `(*space)`: boundary masks, signed distances to a geometry, variable
      coefficients. They are appended to the state as channels.
    - `modulation`: how the numbers enter. None appends each as a constant channel. A kind of `pdejax.nn`, `Addition()`,
      `FiLM()` or `ChannelAttention()`, changes what every layer makes, by a vector that a network of its own, the
      `embedding`, makes of all the numbers. With a norm in the layer `FiLM()` is adaptive normalisation.
    - `embedding`: a `pdejax.nn.Embedding`, of use with a `modulation` only.
    - `coordinates`: how many harmonics of the position are appended, one number or one per axis, or a
      `pdejax.nn.GridEmbedding`. A harmonic k along a periodic axis of length L is the pair sin, cos of 2 pi k x / L,
      which has no seam at the ends of the box; along others cos of pi k x / L and its odd neighbour
      pi (k - 1/2) x / L. Harmonics need the `domain` in every call, or `periodic`. With 0, the default, a model that
      commutes with translations still does.
    - `periodic`: of calls without a `domain`, one value or one per axis; layers that look at neighbouring points have
      to know it, too.

    Numbers should be of order one; `pdejax.fit` standardises them.

    Raises `ValueError` for names that appear twice, counts below zero, something that is no kind of modulation and an
    embedding that is none; at trace time for values that are missing or are no numbers, and no fields on the points of
    the state.
    """

    parameters: str | Sequence[str] = ()
    fields: str | Sequence[str] = ()
    modulation: Any = None
    embedding: Embedding = field(default_factory=Embedding)
    coordinates: int | Sequence[int] | GridEmbedding = 0
    periodic: bool | Sequence[bool] | None = None

    def __post_init__(self):
        # One text is one name, and not its letters; and a value that decides a program is made of tuples.
        for name in ("parameters", "fields"):
            given = getattr(self, name)
            given = (given,) if isinstance(given, str) else given
            names = tuple(given) if isinstance(given, Iterable) else (given,)
            if not all(isinstance(each, str) for each in names):
                raise ValueError(f"Conditioning takes as `{name}` names, one or several, got {given!r}.")
            object.__setattr__(self, name, names)
        object.__setattr__(self, "coordinates", _checked_coordinates(self.coordinates))
        object.__setattr__(self, "periodic", _checked_periodic(self.periodic))
        if not isinstance(self.embedding, Embedding):
            raise ValueError(
                f"Conditioning takes embedding=pdejax.nn.Embedding(...), e.g. Embedding(16), got {self.embedding!r}."
            )
        names = (*self.parameters, *self.fields)
        if len(set(names)) < len(names):
            raise ValueError(f"Conditioning names each parameter and field once, got {names}.")
        if self.modulation is not None and not is_kind_of_modulation(self.modulation):
            raise ValueError(
                "Conditioning takes as modulation a kind that is built, e.g. pdejax.nn.FiLM(), or None, got "
                f"{self.modulation!r}."
            )
        if self.modulation is not None and not self.parameters:
            raise ValueError("A modulation needs `parameters` to follow; fields and coordinates are always appended.")

    def on(self, ndim: int, what: str) -> "Conditioning":
        """The same with one entry per axis. Raises `ValueError` where there is another number of them."""
        if isinstance(self.coordinates, GridEmbedding):
            self.coordinates.check(ndim)
        per_axis = {}
        for name, what_it_is in (("coordinates", "number"), ("periodic", "value")):
            given = getattr(self, name)
            if isinstance(given, bool | int):
                given = (given,) * ndim
            if isinstance(given, tuple) and len(given) != ndim:
                raise ValueError(f"{what} needs `{name}`: one {what_it_is} or {ndim}, one per axis, got {given}.")
            per_axis[name] = given
        return replace(self, **per_axis)

    def num_channels(self, ndim: int) -> int:
        """How many channels are appended to a state of so many axes."""
        numbers = 0 if self.modulation is not None else len(self.parameters)
        grid = isinstance(self.coordinates, GridEmbedding)
        return numbers + len(self.fields) + (ndim if grid else 2 * sum(self._harmonics(ndim)))

    def make_embedding(self, *, dtype: Any, key: PRNGKeyArray) -> ParameterEmbedding | None:
        """New weights of the network that makes the vector of the numbers; None where none is needed."""
        return None if self.modulation is None else self.embedding.make(len(self.parameters), dtype=dtype, key=key)

    def make_modulation(self, channels: int, ndim: int, *, dtype: Any, key: PRNGKeyArray) -> Any:
        """New weights of the modulation of one layer; None where there is none."""
        if self.modulation is None:
            return None
        return self.modulation.make(channels, self.embedding.width, ndim, dtype=dtype, key=key)

    def channels(
        self,
        space: tuple[int, ...],
        parameters: Mapping[str, Any] | None,
        domain: Grid | None,
        dtype: Any,
        what: str,
    ) -> list[Float[Array, "_ *space"]]:
        """What is appended to a state: harmonics of the position, then numbers, then fields. `what` names the model."""
        if domain is not None and domain.shape != space:
            raise ValueError(
                f"{what}: the state has space {space} but the domain has shape {domain.shape}: pass the grid of the "
                "state, or resample the state to the domain first, pdejax.resample(u, its_grid, domain)."
            )
        channels = [spread(each, space, dtype) for each in self._position(space, domain, what)]
        for name in () if self.modulation is not None else self.parameters:
            channels.append(jnp.broadcast_to(_number(name, parameters, dtype, what), (1, *space)))
        return channels + [_field(name, parameters, space, dtype, what) for name in self.fields]

    def embedded(
        self, embedding: ParameterEmbedding | None, parameters: Mapping[str, Any] | None, dtype: Any, what: str
    ) -> Float[Array, " embedding"] | None:
        """The vector that the modulations follow; None where there are none."""
        if embedding is None:
            return None
        dtype = at_least_single(dtype)
        return embedding(jnp.stack([_number(name, parameters, dtype, what) for name in self.parameters]))

    def periodic_axes(self, ndim: int, domain: Grid | None, what: str) -> tuple[bool, ...]:
        """Which axes are periodic. Raises `ValueError` where nothing says so, and for a domain that says otherwise."""
        flags = None if self.periodic is None else _per_axis(self.periodic, ndim)
        if domain is None:
            # Guessing would give a model that was trained with walls other inputs when it is used.
            if flags is None:
                raise ValueError(f"{what} {SAY_PERIODIC}")
            return flags
        if flags not in (None, domain.periodic):
            raise ValueError(
                f"This {what} was made for periodic={flags} but the domain has periodic={domain.periodic}."
            )
        return domain.periodic

    def periodic_axes_if_told(self, ndim: int, domain: Grid | None, what: str) -> tuple[bool, ...] | None:
        """Which axes are periodic, or None where nothing says so: for layers that may not need it."""
        return None if domain is None and self.periodic is None else self.periodic_axes(ndim, domain, what)

    def _position(self, space: tuple[int, ...], domain: Grid | None, what: str) -> list[np.ndarray]:
        if not isinstance(self.coordinates, GridEmbedding) and not any(self._harmonics(len(space))):
            return []
        if domain is not None:
            check_uniform(domain, what, "whose coordinates count points", "leave its coordinates out")
        if isinstance(self.coordinates, GridEmbedding):
            return self.coordinates.channels(space)
        counts = self._harmonics(len(space))
        return harmonic_channels(counts, space, self.periodic_axes(len(space), domain, what), domain)

    def _harmonics(self, ndim: int) -> tuple[int, ...]:
        return _per_axis(self.coordinates, ndim)


def _checked_coordinates(given: Any) -> Any:
    if isinstance(given, GridEmbedding):
        return given
    several = isinstance(given, list | tuple | np.ndarray)
    counts = tuple(given) if several else (given,)
    if any(not isinstance(each, int | np.integer) for each in counts):
        raise ValueError(
            "Conditioning takes as `coordinates` a number of harmonics, one or one per axis, or a position that is "
            f"built, pdejax.nn.GridEmbedding(), got {given!r}."
        )
    if min(counts, default=0) < 0:
        raise ValueError(f"Conditioning needs `coordinates` >= 0, got {given}.")
    return tuple(int(each) for each in counts) if several else int(given)


def _checked_periodic(given: Any) -> Any:
    if given is None:
        return None
    several = isinstance(given, list | tuple | np.ndarray)
    flags = tuple(given) if several else (given,)
    if any(not isinstance(each, bool | np.bool_) for each in flags):
        raise ValueError(f"Conditioning takes periodic=True, False, one of them per axis, or None, got {given!r}.")
    return tuple(bool(each) for each in flags) if several else bool(given)


def _per_axis(value: Any, ndim: int) -> tuple:
    return value if isinstance(value, tuple) else (value,) * ndim


def _given(name: str, parameters: Mapping[str, Any] | None, what: str) -> Any:
    if parameters is None or name not in parameters:
        given = [] if parameters is None else sorted(parameters)
        raise ValueError(
            f"{what} needs the parameter {name!r} but the call has {given}; pass parameters={{...}}, or have "
            "it in the data: Trajectories.from_arrays(..., parameters={...}), for pairs (inputs, targets, {...})."
        )
    return parameters[name]


def _array(name: str, parameters: Mapping[str, Any] | None, dtype: Any, what: str, kind: str) -> Array:
    given = _given(name, parameters, what)
    try:
        return jnp.asarray(given, dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} takes the parameter {name!r} as {kind}, got {given!r}.") from error


def _number(name: str, parameters: Mapping[str, Any] | None, dtype: Any, what: str) -> Float[Array, ""]:
    value = _array(name, parameters, dtype, what, "one number")
    if value.size != 1:
        raise ValueError(
            f"{what} takes the parameter {name!r} as one number, got shape {value.shape}: a field is named in "
            "Conditioning(fields=...), and a batch goes through jax.vmap."
        )
    return value.reshape(())


def _field(
    name: str, parameters: Mapping[str, Any] | None, space: tuple[int, ...], dtype: Any, what: str
) -> Float[Array, "1 *space"]:
    value = _array(name, parameters, dtype, what, "a field, an array of numbers")
    if value.shape not in (space, (1, *space)):
        raise ValueError(f"{what} takes {name!r} as a field on the points of the state, {space}, got {value.shape}.")
    return value.reshape(1, *space)
