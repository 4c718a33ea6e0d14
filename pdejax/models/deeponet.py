"""The deep operator network: a sum of functions of the place, weighed by what a second network sees of the input."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.grid import Grid
from pdejax.keys import checked_key
from pdejax.nn import Addition, ChannelMap, Conditioning, FiLM, GridEmbedding, PODBasis
from pdejax.nn.checks import (
    check_activation,
    check_sizes,
    checked_conditioning,
    checked_dtype,
    checked_sizes,
    checked_state,
)
from pdejax.nn.modulation import modulated
from pdejax.nn.products import at_least_single, product_precision
from pdejax.resample import resample

Outputs = Literal["independent", "split branch", "split trunk", "split both"]
"""What the output channels have of their own: everything; coefficients; functions; coefficients and functions."""


class DeepONet(eqx.Module):
    r"""A deep operator network in any number of dimensions:

        v_o(x) = bias_o + p^(-1/2) sum over i < p of b_oi(u) t_oi(x)    [+ mean_o(x) + sum over j of c_j(u) phi_jo(x)]

    The branch b is a perceptron of the values of u at the `sensors`, which are the points of one grid; the trunk t is a
    perceptron of the position, with an activation behind its last layer, too. The second sum is there with a `pod`, a
    basis made of data by `pdejax.nn.pod_basis`; its coefficients c are further outputs of the branch. With `p = 0` and
    a `pod` this is POD-DeepONet.

    The position is a fraction of the box along each axis, in [0, 1], so that the result is a function of x: `at` gives
    it anywhere. With `coordinates` in the conditioning the trunk reads harmonics of it instead; with those a function
    of a periodic box is periodic. The call takes the points of the `domain`, or, where the conditioning says which axes
    are `periodic`, of nodes.

    `model(u, parameters=None, *, domain=None, key=None)`: `(in_channels, *space) -> (out_channels, *space)`.

    - `sensors`: how many points along each axis the branch reads, one number per axis. `sensor_points`: which ones, as
      in `pdejax.Grid` ("nodes", "centres", ..., one or one per axis); None, the default, for those of each `domain`.
    - `num_functions`: p, for every output channel.
    - `branch`, `trunk`: the widths of the layers inside, e.g. `(128, 128)`; none for an affine map.
    - `outputs`: "split branch" (the default): all output channels share the functions t and have coefficients of their
      own; "split trunk": they share the coefficients; "split both": they share the layers of both networks, and
      neither functions nor coefficients; "independent": they share nothing.
    - `pod`: a `pdejax.nn.PODBasis` with `out_channels` channels, or None.
    - `resampled`: whether input on another grid of the same periodic box is resampled to the sensors; the result is on
      that grid. Otherwise such input is refused.
    - `conditioning`: a `pdejax.nn.Conditioning`. Numbers and fields are further inputs of the branch, and a modulation
      acts on what its inner layers make.
    - `dtype`: of the weights and of the computation. Input of another precision is cast on entry and on return.

    Raises `ValueError` for sizes that make no sense, a `pod` of other channels or with "independent", no functions at
    all, a modulation that convolves, a `GridEmbedding`, which counts points, and a seed in place of the key; at trace
    time for a wrong number of channels or axes and for input on other points than the sensors.
    Sources: Lu et al., Nature Machine Intelligence 3 (2021) 218; with `pod` and for several outputs: Lu et al., A
    comprehensive and fair comparison of two neural operators, CMAME 393 (2022), sections 3.1.3 and 3.1.6. Departures:
    the factor `p^(-1/2)`, which keeps the size of the result for every p, and normal first weights of variance one over
    the number of inputs.
    """

    branches: tuple[tuple[ChannelMap, ...], ...]
    trunks: tuple[tuple[ChannelMap, ...], ...]
    bias: Float[Array, " out_channels"]
    pod: PODBasis | None
    embedding: Any
    modulations: tuple[tuple[Any, ...], ...]
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    sensors: tuple[int, ...] = eqx.field(static=True)
    num_functions: int = eqx.field(static=True)
    branch: tuple[int, ...] = eqx.field(static=True)
    trunk: tuple[int, ...] = eqx.field(static=True)
    outputs: Outputs = eqx.field(static=True)
    resampled: bool = eqx.field(static=True)
    sensor_points: Any = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    conditioning: Conditioning | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sensors: int | Sequence[int],
        num_functions: int,
        *,
        branch: Sequence[int] = (128, 128),
        trunk: Sequence[int] = (128, 128),
        outputs: Outputs = "split branch",
        pod: PODBasis | None = None,
        resampled: bool = False,
        sensor_points: Any = None,
        activation: Callable = jax.nn.gelu,
        conditioning: Conditioning | None = None,
        dtype: Any = jnp.float32,
        key: PRNGKeyArray,
    ):
        several = isinstance(sensors, Sequence) and not isinstance(sensors, str)
        self.sensors = checked_sizes("DeepONet", "sensors", sensors if several else (sensors,))
        self.branch, self.trunk = (
            checked_sizes("DeepONet", name, given) for name, given in (("branch", branch), ("trunk", trunk))
        )
        check_sizes("DeepONet", in_channels=in_channels, out_channels=out_channels, ndim=len(self.sensors))
        check_activation(activation, "DeepONet")
        if num_functions < (pod is None):
            raise ValueError(f"DeepONet needs num_functions >= 1, or 0 and a `pod`, got {num_functions}.")
        if outputs not in get_args(Outputs):
            raise ValueError(f"DeepONet takes outputs= one of {get_args(Outputs)}, got {outputs!r}.")
        self.in_channels, self.out_channels, self.num_functions = in_channels, out_channels, num_functions
        self.outputs, self.pod, self.resampled, self.activation = outputs, pod, resampled, activation
        if pod is not None:
            self._check_pod(pod)
        ndim = len(self.sensors)
        one_per_axis = isinstance(sensor_points, Sequence) and not isinstance(sensor_points, str)
        self.sensor_points = tuple(sensor_points) if one_per_axis else sensor_points
        if sensor_points is not None:
            _check_sensor_points(self.sensor_points, ndim)
        self.conditioning = checked_conditioning(conditioning, ndim, "DeepONet")
        told = self._told
        if isinstance(told.coordinates, GridEmbedding):
            raise ValueError("A DeepONet reads positions, and a GridEmbedding counts points: leave it out.")
        if not isinstance(told.modulation, Addition | FiLM | None):
            raise ValueError(
                "The layers of a DeepONet have channels and no points: it takes as modulation Addition() or FiLM(), "
                f"got {told.modulation!r}."
            )
        self.dtype = checked_dtype(dtype, "DeepONet")

        branch_key, trunk_key, modulation_key = jax.random.split(checked_key(key, "DeepONet"), 3)
        copies = out_channels if outputs == "independent" else 1
        own_coefficients, own_functions = (
            out_channels if outputs in (f"split {of}", "split both") else 1 for of in ("branch", "trunk")
        )
        points = int(np.prod(self.sensors))
        read = points * (in_channels + len(told.fields)) + self._count_of_numbers
        made = num_functions * own_coefficients + (0 if pod is None else pod.rank)
        places = 2 * sum(self._harmonics) or ndim
        branch_keys, trunk_keys = jax.random.split(branch_key, copies), jax.random.split(trunk_key, copies)
        self.branches = tuple(_layers((read, *self.branch, made), dtype, each) for each in branch_keys)
        self.trunks = tuple(
            _layers((places, *self.trunk, num_functions * own_functions), dtype, each)
            for each in trunk_keys
            if num_functions
        )
        self.bias = jnp.zeros(out_channels, dtype)
        self.embedding = told.make_embedding(dtype=dtype, key=modulation_key)
        self.modulations = tuple(
            tuple(
                told.make_modulation(width, 0, dtype=dtype, key=jax.random.fold_in(each, index))
                for index, width in enumerate(self.branch)
            )
            for each in jax.random.split(jax.random.fold_in(modulation_key, 0), copies)
        )

    @property
    def ndim(self) -> int:
        return len(self.sensors)

    def __call__(
        self,
        u: Float[Array, "in_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        u = self._checked(u, parameters, domain)
        if domain is None:
            periodic = self._told.periodic_axes(self.ndim, None, "DeepONet")
            domain = Grid(u.shape[1:], 1.0, periodic, points="nodes", dtype=jnp.float32)
        coefficients, sums = self._coefficients(u, parameters, domain)
        periodic = self._told.periodic_axes(self.ndim, domain, "DeepONet")
        result = self._sum(coefficients, _fractions(domain.coordinates(), domain), periodic)
        if self.pod is not None:
            result = result + _weighed(sums, *self.pod.on(domain))
        return result.astype(u.dtype)

    def at(
        self,
        u: Float[Array, "in_channels *space"],
        points: Float[Array, "axis *points"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Grid | None = None,
    ) -> Float[Array, "out_channels *points"]:
        """The result at any points, component first as `Grid.coordinates()` has them.

        They are coordinates in the box of the `domain`, whose points are those of u; without one, fractions of the box.
        Raises `ValueError` as the call does, and for a `pod` that has no values between its points.
        """
        u = self._checked(u, parameters, domain)
        if points.shape[0] != self.ndim:
            raise ValueError(f"A point has {self.ndim} coordinates, (axis, *points), but got shape {points.shape}.")
        coefficients, sums = self._coefficients(u, parameters, domain)
        fractions = points if domain is None else _fractions(points, domain)
        periodic = self._told.periodic_axes(self.ndim, domain, "DeepONet") if any(self._harmonics) else None
        result = self._sum(coefficients, fractions, periodic)
        if self.pod is not None:
            result = result + _weighed(sums, *self.pod.at(fractions))
        return result.astype(u.dtype)

    def _coefficients(
        self, u: Array, parameters: Mapping[str, Any] | None, domain: Grid | None
    ) -> tuple[Float[Array, "channel function"], Float[Array, " rank"]]:
        """What the branch makes of the input: for the functions of the trunk, per output channel or once, and of the
        POD."""
        told, computing, space = self._without_coordinates, self._computing, u.shape[1:]
        *appended, count = *told.channels(space, parameters, domain, computing, "DeepONet"), self._count_of_numbers
        numbers = [each.reshape(-1)[:1] for each in appended[:count]]
        read = jnp.concatenate([u.astype(computing), *appended[count:]])
        read = self._at_sensors(read, domain)
        read = jnp.concatenate([read.reshape(-1), *numbers])
        embedded = told.embedded(self.embedding, parameters, computing, "DeepONet")
        made = []
        for layers, modulations in zip(self.branches, self.modulations, strict=True):
            h = read
            for layer, modulation in zip(layers[:-1], modulations, strict=True):
                h = self.activation(modulated(modulation, layer(h), embedded, None))
            made.append(layers[-1](h))
        rank = 0 if self.pod is None else self.pod.rank
        coefficients = jnp.stack([each[rank:] for each in made])
        return coefficients.reshape(-1, self.num_functions) if self.num_functions else coefficients, made[0][:rank]

    def _sum(
        self, coefficients: Array, fractions: Float[Array, "axis *points"], periodic: tuple[bool, ...] | None
    ) -> Float[Array, "out_channels *points"]:
        each = (-1, *(1,) * (fractions.ndim - 1))
        bias = jnp.broadcast_to(self.bias.reshape(each), (self.out_channels, *fractions.shape[1:]))
        if not self.num_functions:
            return bias
        # Harmonics of positions that were rounded to three digits would be those of other places.
        places = self._places(fractions.astype(at_least_single(self._computing)), periodic).astype(self._computing)
        functions = []
        for layers in self.trunks:
            h = places
            for layer in layers:
                h = self.activation(layer(h))
            functions.append(h.reshape(-1, self.num_functions, *h.shape[1:]))
        t = jnp.concatenate(functions)
        # What is shared is contracted as such, and not once more for every channel.
        if self.outputs == "split branch":
            sums = jnp.einsum("op,p...->o...", coefficients, t[0], precision=product_precision())
        elif self.outputs == "split trunk":
            sums = jnp.einsum("p,op...->o...", coefficients[0], t, precision=product_precision())
        else:
            sums = jnp.einsum("op,op...->o...", coefficients, t, precision=product_precision())
        return bias + sums / self.num_functions**0.5

    def _places(
        self, fractions: Float[Array, "axis *points"], periodic: tuple[bool, ...] | None
    ) -> Float[Array, "feature *points"]:
        """What the trunk reads: the position, or harmonics of it."""
        if periodic is None or not any(self._harmonics):
            return fractions
        features = []
        for fraction, count, wraps in zip(fractions, self._harmonics, periodic, strict=True):
            for k in range(1, count + 1):
                angles = [2 * np.pi * k * fraction] if wraps else [np.pi * k * fraction, np.pi * (k - 0.5) * fraction]
                features += [jnp.sin(angles[0]), jnp.cos(angles[0])] if wraps else [jnp.cos(a) for a in angles]
        return jnp.stack(features)

    def _at_sensors(self, read: Array, domain: Grid | None) -> Array:
        """The input at the sensors: as it is, or resampled where it is on other points."""
        space = read.shape[1:]
        if domain is None and space != self.sensors and self.resampled:
            periodic = self._told.periodic_axes(self.ndim, None, "DeepONet")
            domain = Grid(space, 1.0, periodic, points="nodes", dtype=jnp.float32)
        if domain is None:
            same, target = space == self.sensors, None
        else:
            points = domain.points if self.sensor_points is None else self.sensor_points
            target = Grid(self.sensors, domain.extent, domain.periodic, domain.origin, points, domain.dtype)
            same = (domain.shape, domain.points) == (target.shape, target.points)
        if same:
            return read
        if domain is None or target is None or not self.resampled:
            points = f"{self.sensors} points" if self.sensor_points is None else f"{self.sensors} {self.sensor_points}"
            given = f"{space} points" if domain is None else f"{space} points, {domain.points}"
            raise ValueError(
                f"This DeepONet reads its input at {points}, its sensors, but got {given}: resample the input with "
                "pdejax.resample and evaluate with model.at(u, points), or make the model with resampled=True."
            )
        if not all(domain.periodic) or not all(domain.is_uniform + target.is_uniform):
            raise ValueError(
                f"DeepONet(resampled=True) resamples its input to {self.sensors} sensors by Fourier series, on boxes "
                f"that are periodic along all axes, and got {space} points, {domain.points}, "
                f"periodic={domain.periodic}: interpolate the input onto the sensors, and evaluate with "
                "model.at(u, points)."
            )
        return resample(read, domain, target)

    def _checked(self, u: Array, parameters: Any, domain: Any) -> Array:
        return checked_state(u, parameters, domain, self.in_channels, self.ndim, self._computing, "DeepONet")

    def _check_pod(self, pod: PODBasis) -> None:
        if not isinstance(pod, PODBasis):
            raise ValueError(
                f"DeepONet takes pod=pdejax.nn.pod_basis(fields, rank, grid), a PODBasis, got a {type(pod).__name__}."
            )
        if pod.channels != self.out_channels or len(pod.space) != len(self.sensors):
            raise ValueError(
                f"The POD basis has {pod.channels} channels on {pod.space} points, and the model {self.out_channels} "
                f"output channels and {len(self.sensors)} axes."
            )
        if self.outputs == "independent":
            raise ValueError('The functions of a POD basis have all channels: outputs="independent" shares nothing.')

    @property
    def _count_of_numbers(self) -> int:
        return 0 if self._told.modulation is not None else len(self._told.parameters)

    @property
    def _harmonics(self) -> tuple[int, ...]:
        given: Any = self._told.coordinates
        return given

    @property
    def _computing(self) -> np.dtype:
        """That of the weights as they are now: `InPrecision` hands on others than the model was made with."""
        return self.bias.dtype

    @property
    def _told(self) -> Conditioning:
        return Conditioning().on(len(self.sensors), "DeepONet") if self.conditioning is None else self.conditioning

    @property
    def _without_coordinates(self) -> Conditioning:
        """For the branch, whose sensors stand where they stand."""
        return dataclasses.replace(self._told, coordinates=(0,) * self.ndim)


def _check_sensor_points(points: Any, ndim: int) -> None:
    """Raises `ValueError` for what no grid takes as its points, whichever of its axes are periodic."""
    refusals = []
    for periodic in (False, True):
        try:
            Grid((8,) * ndim, 1.0, periodic, points=points, dtype=jnp.float32)
            return
        except ValueError as error:
            refusals.append(error)
    raise ValueError(f"DeepONet takes sensor_points as a Grid takes points, got {points!r}: {refusals[0]}")


def _layers(widths: tuple[int, ...], dtype: Any, key: PRNGKeyArray) -> tuple[ChannelMap, ...]:
    keys = jax.random.split(key, len(widths) - 1)
    pairs = zip(widths[:-1], widths[1:], keys, strict=True)
    return tuple(ChannelMap(width, following, dtype=dtype, key=each) for width, following, each in pairs)


def _fractions(points: Float[Array, "axis *points"], domain: Grid) -> Float[Array, "axis *points"]:
    each = (-1, *(1,) * (points.ndim - 1))
    return (points - domain.origin.reshape(each)) / domain.extent.reshape(each)


def _weighed(
    coefficients: Float[Array, " rank"],
    mean: Float[Array, "channel *points"],
    functions: Float[Array, "rank channel *points"],
) -> Float[Array, "channel *points"]:
    return mean + jnp.einsum("r,r...->...", coefficients, functions, precision=product_precision())
