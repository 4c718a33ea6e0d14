"""Energies of Fourier modes, shell by shell."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pdejax.grid import Grid, check_uniform
from pdejax.metrics.sizes_of_fields import State, both_checked, in_units_of_truth, ratio_of
from pdejax.sizes import safe_sqrt


def energy_spectrum(u: State, domain: Grid) -> Float[Array, "channel shell"]:
    r"""Mean square of the field in shells of Fourier modes: entry s sums |c_n|^2 over s - 1/2 <= |n| < s + 1/2,

        u(x) = sum over n of c_n exp(2 pi i n . (x - origin) / extent).

    Entry 0 is the squared mean, and all entries sum to the mean of u^2 over the box (Parseval). The kinetic energy per
    mass of a velocity is half the sum over its channels. The mode numbers n count waves per side of the box, so shell s
    is the wavenumber 2 pi s / extent where all sides are equal.

    Shells beyond (min(shape) - 1) // 2 are cut by the edge of the resolved modes and hold only their corners.
    Energies are squares: in single precision those of fields beyond 1e19 or below 1e-19 are not numbers that it has.

    Raises `ValueError` on a grid that is not periodic, and on stretched points.
    """
    if not all(domain.periodic):
        raise ValueError(f"energy_spectrum needs a periodic grid, got periodic={domain.periodic}.")
    check_uniform(
        domain, "energy_spectrum", "of which it takes a Fourier transform", "compare fields by relative_l2 or vrmse"
    )
    domain.check_state(u, jnp.shape(u)[0])
    space = tuple(range(1, domain.ndim + 1))
    coefficients = jnp.fft.rfftn(jnp.asarray(u, jnp.promote_types(u.dtype, jnp.float32)), axes=space, norm="forward")
    power = coefficients.real**2 + coefficients.imag**2
    # A real transform stores one of each pair n, -n, except on the lines that are their own mirror image.
    pairs = np.full(power.shape[-1], 2.0)
    pairs[0] = 1.0
    if domain.shape[-1] % 2 == 0:
        pairs[-1] = 1.0
    axes = [np.fft.fftfreq(n, 1 / n) for n in domain.shape[:-1]] + [np.arange(power.shape[-1])]
    radius = np.sqrt(sum(mode**2 for mode in np.meshgrid(*axes, indexing="ij")))
    shells = np.floor(radius + 0.5).astype(np.int32).ravel()
    per_mode = (power * jnp.asarray(pairs, power.dtype)).reshape(power.shape[0], -1)
    return jax.ops.segment_sum(per_mode.T, shells, num_segments=int(shells.max()) + 1).T


def spectrum_error(
    prediction: State, truth: State, domain: Grid, *, floor: float | int = 1e-10
) -> Float[Array, " channel"]:
    r"""Root mean square of log((E_prediction(s) + e) / (E_truth(s) + e)) over the shells s = 1..S of `energy_spectrum`.

    Every complete shell counts the same, S = (min(shape) - 1) // 2, so missing small scales show although they hold
    little energy: 0.1 is 10 % too much or too little energy in a typical shell, 0.69 a factor of two. The logarithm is
    natural. Energies below e = `floor` times the mean square of the truth are noise and count as equal; 1e-10 is above
    the rounding of fields stored in single precision.

    Raises `ValueError` on a grid that is not periodic, on stretched points, and on a grid that has two points along an
    axis and no complete shell.
    """
    prediction, truth = both_checked(prediction, truth, domain)
    if min(domain.shape) < 3:
        raise ValueError(
            f"spectrum_error compares complete shells of modes, of which a grid of shape {domain.shape} has none: it "
            "needs three points along every axis."
        )
    complete = slice(1, (min(domain.shape) - 1) // 2 + 1)
    prediction, truth = in_units_of_truth(prediction, truth, domain)
    predicted, true = energy_spectrum(prediction, domain), energy_spectrum(truth, domain)
    least = floor * jnp.sum(true, axis=1, keepdims=True)
    ratio = ratio_of(predicted[:, complete] + least, true[:, complete] + least, both_zero=1.0)
    return safe_sqrt(jnp.mean(jnp.log(ratio) ** 2, axis=1))
