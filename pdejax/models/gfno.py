"""The group-equivariant Fourier neural operator, which turns with the square that it is given."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid, check_uniform
from pdejax.keys import checked_key
from pdejax.nn import (
    Addition,
    ChannelMap,
    Conditioning,
    FiLM,
    GroupChannelMap,
    GroupSpectralConvolution,
    InstanceNorm,
    SquareGroup,
)
from pdejax.nn.checks import (
    check_activation,
    check_norm,
    check_sizes,
    checked_conditioning,
    checked_dtype,
    checked_padding,
    checked_state,
    padding_widths,
)
from pdejax.nn.group_convolution import elements
from pdejax.nn.group_spectral_convolution import check_turns
from pdejax.nn.modulation import modulated


class GFNO(eqx.Module):
    r"""The Fourier neural operator on a square that commutes with quarter turns (p4), and with reflections too (p4m):

        v = P u at every element of the group;
        v <- activation(M(norm(K(norm(v)))) + W v)  num_layers times;      w = mean over the group of R activation(Q v)

    K is a `pdejax.nn.GroupSpectralConvolution`; W, Q and the two maps around the activation inside M are
    `pdejax.nn.GroupChannelMap`; P and R are the same affine map for every element; no activation follows the last
    layer. A field inside has `width` channels for each of the 4 (p4) or 8 (p4m) elements, and a norm takes its means
    over the elements and the points.

    Turning the state turns the result, to rounding, on grids of any size, odd or even; so does moving it. On a periodic
    grid a turn takes the point (i, j) to (-j, i), counted around the box; turning the array, as `jax.numpy.rot90` does,
    is this and a translation, and the model commutes with both. Two dimensions only, and equal axes: other grids have
    no quarter turn.

    With `group="p1"` it is the same network without turns, to see what they are worth.

    All channels are scalars: those of the state (a velocity would have to be turned itself) and what `conditioning`
    appends, numbers and fields. The vorticity is a scalar under turns and changes its sign when it is mirrored, which
    is what `pseudoscalar` is for.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, n, n) -> (out_channels, n, n)`.

    - `modes`: kept frequencies `|k| < modes` along both axes; below half the number of points.
    - `width`: channels per element. As many weights have 20 (p1), 10 (p4) and 7 (p4m).
    - `projection_width`: channels between Q and R, `4 * width` by default.
    - `norm`: the kind of norm, `InstanceNorm()`, the default, `GroupNorm()`, or None. With a norm the size of the state
      is lost in every layer, but for what goes through W.
    - `radius_channel`: appends `(x - 1/2)^2 + (y - 1/2)^2`, x and y in units of the box. It is the same function at
      every resolution, turns about the centre of the box leave it as it is, and translations do not: for walls, and for
      forces that stand still. Needs the `domain` in every call, or `periodic` in the conditioning. Turning an array of
      centres, or of nodes between walls, is a turn about the centre of the box; for nodes of a periodic box it is not.
    - `pseudoscalar`: whether the channels of the state change their sign under reflections.
    - `padding`: what part of an axis is added at each of its ends, as zeros, after P and until Q, as in `FNO`: none
      where the `domain` or the conditioning says that the box is periodic.
    - `conditioning`: numbers, fields, and how the numbers enter, a `pdejax.nn.Conditioning`.
    - `dtype`: of the weights and of the computation. Input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense, a group that is not of the square, `coordinates` in the
    conditioning of a group with turns, which do not leave them as they are, or a modulation that convolves,
    `pseudoscalar` without reflections, and a seed in place of the key; at trace time for unequal axes, of the state or
    of the domain (whose sides it cannot see where the domain is an argument of a compiled function), for a wrong number
    of channels, and frequencies that the grid does not resolve.
    Source: Helwig et al., Group Equivariant Fourier Neural Operators for Partial Differential Equations (ICML 2023).
    Departures: centred first weights, the mean over the group in place of the sum, a radius that counts from the centre
    of the box, and pseudoscalars.
    """

    lift: ChannelMap
    convolutions: tuple[GroupSpectralConvolution, ...]
    norms: tuple[Any, ...]
    hidden: tuple[GroupChannelMap, ...]
    out: tuple[GroupChannelMap, ...]
    shortcuts: tuple[GroupChannelMap, ...]
    projection: GroupChannelMap
    last: ChannelMap
    embedding: Any
    modulations: tuple[Any, ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    modes: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    group: SquareGroup = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)
    projection_width: int = eqx.field(static=True)
    norm: Any = eqx.field(static=True)
    radius_channel: bool = eqx.field(static=True)
    pseudoscalar: bool = eqx.field(static=True)
    padding: float = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: int,
        width: int,
        *,
        group: SquareGroup = "p4",
        num_layers: int = 4,
        projection_width: int | None = None,
        norm: Any = InstanceNorm(),  # noqa: B008 - a value that nothing changes
        radius_channel: bool = False,
        pseudoscalar: bool = False,
        padding: float | int = 0.0,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        modes = int(modes) if isinstance(modes, np.integer) else modes
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "modes": modes, "width": width}
        check_sizes("GFNO", **sizes, num_layers=num_layers)
        check_activation(activation, "GFNO")
        self.in_channels, self.out_channels, self.modes, self.width = in_channels, out_channels, modes, width
        self.group, self.num_layers = group, num_layers
        self.projection_width = 4 * width if projection_width is None else projection_width
        check_sizes("GFNO", projection_width=self.projection_width)
        check_norm(norm, "GFNO")
        self.norm, self.radius_channel, self.pseudoscalar = norm, radius_channel, pseudoscalar
        if np.ndim(padding) or isinstance(padding, str) or not 0 <= padding < np.inf:
            raise ValueError(f"GFNO needs `padding` >= 0, the same fraction of both axes, got {padding!r}.")
        self.padding, self.activation = checked_padding(padding, 2, "GFNO")[0], activation
        self.conditioning = checked_conditioning(conditioning, 2, "GFNO")
        self._check_symmetry()
        self.dtype = checked_dtype(dtype, "GFNO")

        lift_key, projection_key, last_key, *layer_keys = jax.random.split(checked_key(key, "GFNO"), 3 + num_layers)
        told = self._told
        self.lift = ChannelMap(in_channels + radius_channel + told.num_channels(2), width, dtype=dtype, key=lift_key)
        keys = [jax.random.split(each, 5) for each in layer_keys]
        self.convolutions = tuple(
            GroupSpectralConvolution(width, width, modes, group, scale=0.25, dtype=dtype, key=each[0]) for each in keys
        )
        norms = [None, None] if norm is None else [norm.make(width, dtype=dtype) for _ in range(2)]
        self.norms = tuple(tuple(norms) for _ in keys)
        self.hidden, self.out, self.shortcuts = (
            tuple(GroupChannelMap(width, width, group, dtype=dtype, key=each[place]) for each in keys)
            for place in (1, 2, 3)
        )
        self.projection = GroupChannelMap(width, self.projection_width, group, dtype=dtype, key=projection_key)
        # A constant would not change its sign.
        self.last = ChannelMap(
            self.projection_width, out_channels, use_bias=not pseudoscalar, dtype=dtype, key=last_key
        )
        self.embedding = told.make_embedding(dtype=dtype, key=jax.random.fold_in(lift_key, 0))
        self.modulations = tuple(told.make_modulation(width, 2, dtype=dtype, key=each[4]) for each in keys)

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = checked_state(u, parameters, domain, self.in_channels, 2, self._computing, "GFNO")
        space, points = u.shape[1:], u.shape[1]
        if domain is not None:
            _check_square(domain)
        told, computing = self._told, self._computing
        widths = padding_widths((self.padding,) * 2, space, told.periodic_axes_if_told(2, domain, "GFNO"))
        end = widths[0][0]
        check_turns(tuple(n + 2 * side for n, (side, _) in zip(space, widths, strict=True)), self.modes, "GFNO")
        appended = told.channels(space, parameters, domain, computing, "GFNO")
        if self.radius_channel:
            appended = [jnp.asarray(self._radius(points, domain), computing), *appended]
        embedded = told.embedded(self.embedding, parameters, computing, "GFNO")
        v = self._lifted(u.astype(computing), appended)
        v = jnp.pad(v, [(0, 0), (0, 0), (end, end), (end, end)]) if end else v
        for index in range(self.num_layers):
            v = self._layer(index, v, embedded)
        v = v[:, :, end : end + points, end : end + points] if end else v
        v = self.activation(self.projection(v))
        v = jnp.mean(v * self._signs(v.dtype) if self.pseudoscalar else v, axis=1)
        return self.last(v).astype(u.dtype)

    def _lifted(self, u: Array, appended: list[Array]) -> Float[Array, "width element n n"]:
        order = len(elements(self.group))
        if self.pseudoscalar:
            seen = [u[:, None] * self._signs(u.dtype)]
            seen += [jnp.broadcast_to(each[:, None], (1, order, *each.shape[1:])) for each in appended]
            return self.lift(jnp.concatenate(seen))
        v = self.lift(jnp.concatenate([u, *appended]))
        return jnp.broadcast_to(v[:, None], (self.width, order, *v.shape[1:]))

    def _layer(self, index: int, v: Array, embedded: Array | None) -> Array:
        before, behind = (_unchanged if norm is None else norm for norm in self.norms[index])
        h = behind(self.convolutions[index](before(v)))
        h = modulated(self.modulations[index], h, embedded, None)
        h = self.out[index](self.activation(self.hidden[index](h))) + self.shortcuts[index](v)
        return h if index == self.num_layers - 1 else self.activation(h)

    def _signs(self, dtype: Any) -> Float[Array, "element 1 1"]:
        """The determinants of the elements: -1 for those that mirror."""
        return jnp.asarray(np.rint(np.linalg.det(elements(self.group))), dtype)[:, None, None]

    def _radius(self, points: int, domain: Grid | None) -> Float[np.ndarray, "1 n n"]:
        """The squared distance from the centre of the box, whose side is one."""
        periodic = self._told.periodic_axes(2, domain, "GFNO")[0]
        centred = domain is not None and domain.placement[0] == "centres"
        intervals = points if periodic or centred else points - 1
        if intervals < 1:
            raise ValueError("GFNO has one node between two walls, which is no place: use centres, or more points.")
        # In whole numbers, so that both sides of the centre are the same to the last digit.
        squares = ((2 * np.arange(points) + centred - intervals) / (2 * intervals)) ** 2
        return (squares[:, None] + squares)[None]

    def _check_symmetry(self) -> None:
        """Raises `ValueError` for what would make it another function when the state is turned."""
        if self._told.coordinates != (0, 0) and self.group != "p1":
            raise ValueError(
                f"GFNO takes no `coordinates` in its conditioning, got {self._told.coordinates}: the position along an "
                "axis is another one when the square is turned. radius_channel=True appends the distance from the "
                "centre."
            )
        if not isinstance(self._told.modulation, Addition | FiLM | None):
            raise ValueError(
                "GFNO takes as modulation Addition() or FiLM(), which are the same wherever the square is turned, got "
                f"{self._told.modulation!r}."
            )
        if self.pseudoscalar and self.group != "p4m":
            raise ValueError(
                f"Pseudoscalars change their sign under reflections, and group={self.group!r} has none: leave "
                '`pseudoscalar` out, or use group="p4m".'
            )

    @property
    def _computing(self) -> np.dtype:
        """That of the weights as they are now: `InPrecision` hands on others than the model was made with."""
        return self.convolutions[0].weight.dtype

    @property
    def _told(self) -> Conditioning:
        return Conditioning().on(2, "GFNO") if self.conditioning is None else self.conditioning


def _unchanged(v: Array) -> Array:
    return v


def _check_square(domain: Grid) -> None:
    check_uniform(
        domain,
        "GFNO",
        "whose layers convolve in space by Fourier transforms",
        "interpolate the states onto a Grid of nodes or centres",
    )
    for name, values in (("periodic", domain.periodic), ("points", domain.placement)):
        if len(set(values)) > 1:
            raise ValueError(f"GFNO turns the plane by 90 degrees, and the axes of the domain differ: {name}={values}.")
    if isinstance(domain.extent, Tracer):
        return
    sides = np.asarray(domain.extent)
    if not np.allclose(sides, sides[0], rtol=1e-6):
        raise ValueError(
            f"GFNO turns the plane by 90 degrees, which takes a square, and the sides of the domain are "
            f"{sides.tolist()}: use pdejax.models.FNO, or a square box."
        )
