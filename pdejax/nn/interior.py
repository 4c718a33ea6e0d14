"""Where networks of convolutions begin and end: between states and the features that they compute with."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from pdejax.grid import Grid
from pdejax.nn.channels import channels_first, channels_last
from pdejax.nn.checks import check_neighbours, checked_state
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.fitted_space import fitted_space
from pdejax.nn.parameter_embedding import ParameterEmbedding
from pdejax.nn.resampling import placement_of


@runtime_checkable
class Network(Protocol):
    """What such a network says about itself; its errors name its class."""

    @property
    def in_channels(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def conditioning(self) -> Conditioning | None: ...
    @property
    def embedding(self) -> ParameterEmbedding | None: ...


class Interior(NamedTuple):
    """- `features`: the state and what is appended to it, `(*fitted, channel)`.
    - `periodic`: which axes are.
    - `embedded`: what the modulations follow, None where there are none.
    - `leave`: from features of the result, `(*fitted, out_channels)`, to `(out_channels, *space)` as the state was."""

    features: Float[Array, "*fitted channel"]
    periodic: tuple[bool, ...]
    embedded: Float[Array, " embedding"] | None
    leave: Callable[[Float[Array, "*fitted out_channels"]], Shaped[Array, "out_channels *space"]]


def interior(
    network: Network,
    u: Shaped[Array, "in_channels *space"],
    parameters: Mapping[str, Any] | None,
    domain: Grid | None,
    *,
    multiple: int = 1,
    computing: Any,
) -> Interior:
    """What a network of convolutions computes with when it is called with `u, parameters, domain=domain`.

    - `multiple`: of points along each axis that the levels need (`pdejax.nn.fitted_space`).
    - `computing`: the dtype of the weights at hand; `InPrecision` hands on others than the network was made with.

    Raises `ValueError` for what is no such state, parameter or domain, points at unequal distances, and where nothing
    says which axes are periodic.
    """
    what, ndim = type(network).__name__, network.ndim
    told = Conditioning() if network.conditioning is None else network.conditioning
    u = checked_state(u, parameters, domain, network.in_channels, ndim, computing, what)
    check_neighbours(domain, what)
    periodic = told.periodic_axes(ndim, domain, what)
    channels = told.channels(u.shape[1:], parameters, domain, computing, what)
    embedded = told.embedded(network.embedding, parameters, computing, what)
    v = jnp.concatenate([u.astype(computing), *channels])
    v, restore = fitted_space(v, multiple, periodic, placement_of(domain, ndim))
    return Interior(channels_last(v), periodic, embedded, lambda w: restore(channels_first(w)).astype(u.dtype))
