r"""Random Fourier series whose coefficients do not know the grid.

    u(x) = sum over n of c_n exp(i k_n . (x - origin)),    k_n = 2 pi n / extent,    c_{-n} = conj(c_n)

The coefficient of mode n = (n_1, ..., n_d) is drawn from a key folded with n itself, so it is the same on every grid
that holds the mode. Only half of the modes are free; the free one of the pair n, -n is the one whose first nonzero
entry of (n_d, n_1, ..., n_{d-1}) is positive. A grid of N points holds |n| <= (N - 1) // 2: the points of an even N
cannot tell the sine of mode N/2 from zero, so that mode is absent.

Coefficients are stored as a block `(channel, *block)` in the order of a real transform: 0..K, -K..-1 along every axis
but the last, which has 0..K.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, PRNGKeyArray

from pdejax.grid import Grid, check_uniform
from pdejax.keys import checked_key


def mode_numbers(grid: Grid, law: str, cutoff: int | None = None) -> Int[Array, "ndim *block"]:
    """The modes up to `cutoff` along every axis, or all modes that the grid holds.

    Raises `ValueError` when the grid is not periodic, has stretched points or does not hold the modes up to `cutoff`.
    """
    if not all(grid.periodic):
        raise ValueError(f"{law} is a Fourier series and needs a periodic grid, got periodic={grid.periodic}.")
    check_uniform(grid, law, "on which it evaluates a Fourier series", "use nodes or centres")
    held = [(n - 1) // 2 for n in grid.shape]
    for axis, most in enumerate(held):
        if cutoff is not None and cutoff > most:
            raise ValueError(
                f"{law} draws modes up to {cutoff} but a grid of {grid.shape[axis]} points along axis {axis} holds "
                f"{most}; use at least {2 * cutoff + 1} points, or a lower cutoff."
            )
    highest = held if cutoff is None else [cutoff] * grid.ndim
    signed = [np.r_[0 : most + 1, -most:0] for most in highest[:-1]]
    axes = [jnp.asarray(axis, jnp.int32) for axis in (*signed, np.arange(highest[-1] + 1))]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"))


def mode_radius(modes: Int[Array, "ndim *block"], dtype: np.dtype) -> Float[Array, " *block"]:
    """|n|, the Euclidean length of the mode numbers."""
    return jnp.sqrt(jnp.sum(modes**2, axis=0).astype(dtype))


def wavevectors(modes: Int[Array, "ndim *block"], grid: Grid) -> Float[Array, "ndim *block"]:
    """k = 2 pi n / extent, in radians per length."""
    per_axis = (2 * jnp.pi / grid.extent).reshape((grid.ndim,) + (1,) * grid.ndim)
    return per_axis * modes.astype(grid.dtype)


def unit_normals(
    key: PRNGKeyArray, modes: Int[Array, "ndim *block"], num_channels: int, dtype: np.dtype
) -> Complex[Array, "channel *block"]:
    """Independent circular complex normals with mean |z|^2 = 1 and z_{-n} = conj(z_n); z_0 is not real, leave it out.

    They are drawn in single precision for every `dtype`, so a float32 and a float64 field agree to rounding.
    """
    key = counter_based(key)

    def draw(channel, mode):
        channel_key = jax.random.fold_in(key, channel)
        # A loop compiles one hash instead of ndim of them, a good part of the compile time of a law.
        mode_key, _ = jax.lax.scan(lambda folded, n: (jax.random.fold_in(folded, n), None), channel_key, mode)
        return jax.random.normal(mode_key, (2,), jnp.float32)

    sign = jnp.zeros_like(modes[0])
    for component in (modes[-1], *modes[:-1]):
        sign = jnp.where(sign == 0, jnp.sign(component), sign)
    free = jnp.where(sign < 0, -modes, modes).reshape(modes.shape[0], -1).T.astype(jnp.uint32)
    normals = jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(jnp.arange(num_channels, dtype=jnp.uint32), free)
    normals = normals.astype(dtype) * np.sqrt(0.5).astype(dtype)
    real, imaginary = (normals[..., part].reshape((num_channels, *modes.shape[1:])) for part in (0, 1))
    return jax.lax.complex(real, jnp.where(sign < 0, -imaginary, imaginary))


def counter_based(key: PRNGKeyArray) -> PRNGKeyArray:
    """A threefry key made from any key.

    Other generators (the hardware ones are common on TPU) give values that depend on the batch in which they are drawn
    under `jax.vmap`, here on the number of modes and so on the grid.
    """
    checked_key(key, "An initial law")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if str(jax.random.key_impl(key)) == "threefry2x32":
        return key
    return jax.random.wrap_key_data(jax.random.bits(key, (2,), jnp.uint32), impl="threefry2x32")


def mean_square(coefficients: Complex[Array, "channel *block"]) -> Float[Array, " channel"]:
    """Mean of u^2 over the box, by Parseval: a function of the coefficients alone, whatever the grid."""
    power = coefficients.real**2 + coefficients.imag**2
    spatial = tuple(range(1, power.ndim))
    return 2 * jnp.sum(power, axis=spatial) - jnp.sum(power[..., 0], axis=spatial[:-1])


def evaluate(coefficients: Complex[Array, "channel *block"], grid: Grid) -> Float[Array, "channel *space"]:
    """The series on the points of the grid."""
    for a, points in enumerate(grid.points):
        axis = a + 1
        length = coefficients.shape[axis]
        last = a == grid.ndim - 1
        highest = length - 1 if last else length // 2
        if points == "centres":
            modes = np.arange(length) if last else np.r_[0 : highest + 1, -highest:0]
            shift = np.exp(1j * np.pi * modes / grid.shape[a]).reshape((length,) + (1,) * (grid.ndim - a - 1))
            coefficients = coefficients * shift.astype(coefficients.dtype)
        stored = grid.shape[a] // 2 + 1 if last else grid.shape[a]
        missing = list(coefficients.shape)
        missing[axis] = stored - length
        parts = jnp.split(coefficients, [highest + 1], axis=axis)
        zeros = jnp.zeros(missing, coefficients.dtype)
        coefficients = jnp.concatenate([parts[0], zeros, parts[1]], axis=axis)
    return jnp.fft.irfftn(coefficients, s=grid.shape, axes=tuple(range(1, grid.ndim + 1)), norm="forward")
