"""What every model asks of its arguments and of a state, in the same words."""

from collections.abc import Mapping, Sequence
from typing import Any, overload

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from pdejax.grid import Grid, check_is_grid, check_uniform
from pdejax.nn.conditioning import Conditioning


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


def checked_padding(padding: float | int | Sequence[float | int], ndim: int, what: str) -> tuple[float, ...]:
    """One fraction per axis. Raises `ValueError` for another number of them, and for one below zero or not finite."""
    fractions = (padding,) * ndim if isinstance(padding, float | int) else tuple(padding)
    if len(fractions) != ndim or not all(0 <= each < np.inf for each in fractions):
        raise ValueError(f"{what} needs `padding` >= 0, a fraction of each axis, one number or {ndim}, got {padding}.")
    return tuple(float(each) for each in fractions)


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
