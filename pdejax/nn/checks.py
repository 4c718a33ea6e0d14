"""What every model asks of its arguments and of a state, in the same words."""

from collections.abc import Mapping, Sequence
from typing import Any, overload

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from pdejax.grid import Grid, check_is_grid, check_uniform
from pdejax.nn.conditioning import Conditioning
from pdejax.nn.modes import Modes


def check_sizes(what: str, **sizes: int) -> None:
    """Raises `ValueError` for a size that is no `int` or below one, and for more than three axes, `ndim`."""
    for name, size in sizes.items():
        # A number of numpy is an array to JAX, and what decides a program must not be one.
        if not isinstance(size, int) or isinstance(size, bool):
            raise ValueError(f"{what} needs {name}: an int of Python, got {size!r}.")
        if size < 1:
            raise ValueError(f"{what} needs {name} >= 1, got {size}.")
        if name == "ndim" and size > 3:
            raise ValueError(f"{what} is for one, two or three dimensions, got ndim={size}.")


def check_activation(activation: Any, what: str) -> None:
    """Raises `ValueError` for what cannot be called, such as the name of a function."""
    if not callable(activation) or isinstance(activation, type):
        raise ValueError(f"{what} takes as activation a function of arrays, e.g. jax.nn.gelu, got {activation!r}.")


def check_norm(norm: Any, what: str) -> None:
    """Raises `ValueError` for what is neither None nor a kind of norm that is built."""
    if norm is not None and (isinstance(norm, type) or not hasattr(norm, "make")):
        built = "a kind that is built, e.g. pdejax.nn.InstanceNorm(), or None for its default"
        raise ValueError(f"{what} takes as norm {built}, got {norm!r}.")


def check_is_model(model: Any, what: str) -> None:
    """Raises `ValueError` for the class of a model, what `fit` returns, and what cannot be called."""
    if isinstance(model, type):
        raise ValueError(f"{what} takes a model that is built, e.g. FNO(...), got the class {model.__name__}.")
    if not callable(model):
        inside = "the model in it, fitted.model" if hasattr(model, "model") else "a model, e.g. FNO(...)"
        raise ValueError(f"{what} takes a model, got a {type(model).__name__}: pass {inside}.")


def checked_sizes(what: str, name: str, values: Any) -> tuple[int, ...]:
    """Some sizes of one kind. Raises `ValueError` for what is no sequence of whole numbers >= 1."""
    several = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
    given: Any = tuple(values) if several else (None,)
    if any(not _is_whole(each) or each < 1 for each in given):
        raise ValueError(f"{what} needs `{name}`: a sequence of whole numbers >= 1, e.g. (1, 2, 2), got {values!r}.")
    return tuple(int(each) for each in given)


def checked_modes(modes: Any, ndim: int, what: str) -> Modes:
    """The frequencies of a model. Raises `ValueError` for no whole numbers and for another number of axes."""
    found = modes if isinstance(modes, Modes) else Modes.classic(modes, ndim)
    if found.ndim != ndim:
        raise ValueError(f"{what} has ndim={ndim} but `modes` has {found.ndim} axes.")
    return found


def checked_padding(padding: float | int | Sequence[float | int], ndim: int, what: str) -> tuple[float, ...]:
    """One fraction per axis. Raises `ValueError` for another number of them, and for one that is not in [0, 1]."""
    numbers = int | float | np.integer | np.floating
    given: Any = padding
    fractions = tuple(given) if isinstance(given, Sequence | np.ndarray) else (given,) * ndim
    fits = len(fractions) == ndim and all(isinstance(each, numbers) for each in fractions)
    if not fits or not all(0 <= each < np.inf for each in fractions):
        raise ValueError(
            f"{what} needs `padding` >= 0, a fraction of each axis, one number or {ndim}, got {padding!r}."
        )
    if max(fractions) > 1:
        points = int(max(fractions))
        raise ValueError(
            f"{what} takes `padding` as a fraction of each axis, at most 1, got {padding!r}: {points} points of "
            f"{8 * points} are 0.125."
        )
    return tuple(float(each) for each in fractions)


def padding_widths(
    padding: Sequence[float], space: Sequence[int], periodic: Sequence[bool] | None
) -> list[tuple[int, int]]:
    """How many points are added at both ends of each axis: none of those that are known to be periodic."""
    around = (False,) * len(space) if periodic is None else periodic
    ends = [0 if wraps else round(part * n) for part, n, wraps in zip(padding, space, around, strict=True)]
    return [(end, end) for end in ends]


@overload
def checked_conditioning(conditioning: Conditioning, ndim: int, what: str) -> Conditioning: ...
@overload
def checked_conditioning(conditioning: Conditioning | None, ndim: int, what: str) -> Conditioning | None: ...
def checked_conditioning(conditioning: Conditioning | None, ndim: int, what: str) -> Conditioning | None:
    """The same with one entry per axis. Raises `ValueError` for what is neither a `Conditioning` nor None."""
    if conditioning is not None and not isinstance(conditioning, Conditioning):
        raise ValueError(
            f"{what} takes conditioning=pdejax.nn.Conditioning(...), got {conditioning!r}; a parameter is named by "
            'Conditioning("viscosity").'
        )
    return conditioning if conditioning is None else conditioning.on(ndim, what)


def checked_dtype(dtype: Any, what: str) -> np.dtype:
    """Raises `ValueError` for float64 that JAX would turn into float32, and for a dtype of other than real numbers."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{what} computes in a floating-point dtype, e.g. jnp.float32, got {np.dtype(dtype)}.")
    if np.dtype(dtype) == np.float64 and jnp.result_type(float) != np.float64:
        raise ValueError(f"A float64 {what} needs jax.config.update('jax_enable_x64', True); or use dtype=jnp.float32.")
    return np.dtype(dtype)


def checked_state(
    u: Shaped[Array, "..."], parameters: Any, domain: Any, in_channels: int, ndim: int, computing: Any, what: str
) -> Shaped[Array, "channel *space"]:
    """The state, whole numbers as ones of the dtype `computing`, since they would come back as whole numbers.

    Raises `ValueError` for other numbers of channels and axes, complex numbers, and parameters that are no mapping,
    `TypeError` for a domain that is no grid.
    """
    check_told(parameters, domain, what)
    if u.ndim != ndim + 1 or u.shape[0] != in_channels:
        raise ValueError(
            f"{what} takes a state of {in_channels} channels and {ndim} axes, (channel, *space), but got shape "
            f"{u.shape}; batches go through jax.vmap."
        )
    if jnp.iscomplexobj(u):
        raise ValueError(f"{what} takes real states: give real and imaginary part as two channels.")
    return u if jnp.issubdtype(u.dtype, jnp.inexact) else u.astype(computing)


def check_told(parameters: Any, domain: Any, what: str) -> None:
    """Raises `ValueError` for parameters that are no mapping, `TypeError` for a domain that is no grid."""
    if parameters is not None and not isinstance(parameters, Mapping):
        raise ValueError(
            f"{what} takes as parameters a mapping of names to values, got {type(parameters).__name__}: the points are "
            'given by name, domain=grid, and a number as {"name": number}.'
        )
    if domain is not None:
        check_is_grid(domain, what)


def check_transformable(domain: Grid | None, what: str) -> None:
    """Raises `ValueError` for points that are not at equal distances."""
    if domain is not None:
        check_uniform(
            domain,
            what,
            "whose layers convolve in space by Fourier transforms",
            "interpolate the states onto a Grid of nodes or centres",
        )


def check_neighbours(domain: Grid | None, what: str) -> None:
    """Raises `ValueError` for points at unequal distances, for layers that take so many of them to either side."""
    if domain is not None:
        check_uniform(
            domain,
            what,
            "whose convolutions count points",
            "interpolate the states onto a Grid of nodes or centres",
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
