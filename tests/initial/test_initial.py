"""Initial laws are functions of the key: resolution-consistent, with the stated spectra and constraints."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.initial import BandLimited, FilteredTurbulence, GaussianRandomField, SumOfSines
from pdejax.resample import resample

EXTENT = (2.0, 5.0)
COARSE, FINE = (24, 33), (40, 50)

LAWS = {
    "band-limited": BandLimited(peak=4, rms=2.0, mean=0.7, num_channels=2),
    "gaussian": GaussianRandomField(alpha=2.5, tau=7.0, num_channels=2),
    "velocity": FilteredTurbulence(peak=3, cutoff=11, rms_speed=3.0),
    "vorticity": FilteredTurbulence(peak=3, cutoff=11, rms_speed=3.0, quantity="vorticity"),
    "sines": SumOfSines(num_waves=4, max_mode=3, num_channels=2),
}
move = jax.jit(resample)
sample = eqx.filter_jit(lambda law, grid, key: law(grid, key=key))
samples = eqx.filter_jit(lambda law, grid, keys: jax.vmap(lambda key: law(grid, key=key))(keys))


def coefficients(u, shape):
    """Fourier coefficients on the modes below the Nyquist mode of `shape`, as (..., n_1, n_2 >= 0)."""
    full = np.fft.rfft2(np.asarray(u, np.float64), norm="forward")
    first, second = ((n - 1) // 2 for n in shape)
    return full[..., np.r_[0 : first + 1, -first:0], : second + 1]


def modes_2d(shape):
    first, second = ((n - 1) // 2 for n in shape)
    return np.meshgrid(np.r_[0 : first + 1, -first:0], np.arange(second + 1), indexing="ij")


@pytest.mark.parametrize("name", LAWS)
def test_same_key_is_the_same_function_on_every_resolution(name):
    law, key = LAWS[name], jax.random.key(7)
    coarse = Grid(COARSE, EXTENT)
    fine = Grid(FINE, EXTENT, points=("nodes", "centres"))
    u, v = sample(law, coarse, key), sample(law, fine, key)
    scale = np.max(np.abs(v))
    tolerance = scale * (2e-6 if coarse.dtype == np.float32 else 1e-14)
    # On nodes of the fine grid, so that both are compared as Fourier coefficients of x.
    v = move(v, fine, coarse.with_shape(FINE))
    np.testing.assert_allclose(coefficients(u, COARSE), coefficients(v, COARSE), atol=tolerance)
    if name != "gaussian":
        np.testing.assert_allclose(move(u, coarse, coarse.with_shape(FINE)), v, atol=10 * tolerance)


@pytest.mark.parametrize(
    ("law", "ndim"), [(BandLimited(peak=2), 1), (FilteredTurbulence(peak=1, quantity="vorticity"), 3)]
)
def test_resolution_consistency_in_one_and_three_dimensions(law, ndim):
    coarse = Grid((9, 12, 11)[-ndim:], (2.0, 5.0, 3.0)[-ndim:])
    fine = coarse.with_shape((14, 13, 15)[-ndim:])
    u, v = (sample(law, grid, jax.random.key(3)) for grid in (coarse, fine))
    tolerance = np.max(np.abs(u)) * (5e-6 if coarse.dtype == np.float32 else 1e-14)
    np.testing.assert_allclose(move(u, coarse, fine), v, atol=tolerance)


def test_hardware_keys_are_resolution_consistent_too():
    # A law without a cutoff draws more modes on the finer grid, on which these generators depend.
    u, v = (
        sample(GaussianRandomField(), Grid(shape, 1.0), jax.random.key(0, impl="rbg")) for shape in ((7, 10), (12, 9))
    )
    np.testing.assert_allclose(coefficients(u, (7, 9)), coefficients(v, (7, 9)), atol=1e-6)


def covariance(law, grid, num_samples=1000):
    """Sample covariance of the coefficients of channel 0, and their mode numbers."""
    u = samples(law, grid, jax.random.split(jax.random.key(11), num_samples))
    c = coefficients(u[:, 0], grid.shape).reshape(num_samples, -1)
    n = np.stack([mode.ravel() for mode in modes_2d(grid.shape)])
    # One of each pair n, -n: the transform also stores the negative half of the line n_2 = 0.
    free = (n[1] > 0) | (n[0] > 0)
    return c[:, free].conj().T @ c[:, free] / num_samples, c[:, free], n[:, free]


def assert_independent_with_variance(law, grid, expected_variance):
    num_samples = 1000
    sampled, c, n = covariance(law, grid, num_samples)
    expected = expected_variance(n)
    present = expected > 0
    assert np.all(np.abs(c[:, ~present]) < 1e-5)
    deviation = sampled[np.ix_(present, present)] / np.sqrt(np.outer(expected[present], expected[present]))
    # Each entry has standard deviation 1 / sqrt(num_samples); there are some 1e4 of them.
    np.testing.assert_allclose(deviation, np.eye(present.sum()), atol=5.5 / np.sqrt(num_samples))
    # Circular: real and imaginary part are independent and equally large.
    relation = np.mean(c[:, present] ** 2, axis=0) / expected[present]
    np.testing.assert_allclose(relation, 0, atol=5.5 / np.sqrt(num_samples))


def test_band_limited_has_its_stated_spectrum():
    def variance(n):
        radius = np.hypot(*n)
        w = np.where(radius <= 6, (radius / 3) ** 4 * np.exp(-2 * (radius / 3) ** 2) / radius, 0.0)
        return w / (2 * w.sum()) * 1.5**2

    law = BandLimited(peak=3, rms=1.5, same_rms=False)
    assert_independent_with_variance(law, Grid((14, 15), EXTENT), variance)


def test_gaussian_random_field_has_its_stated_covariance():
    def variance(n):
        k_squared = sum((2 * np.pi * mode / extent) ** 2 for mode, extent in zip(n, EXTENT, strict=True))
        return 0.3**2 * (k_squared + 2.0**2) ** (-1.7) / np.prod(EXTENT)

    assert_independent_with_variance(GaussianRandomField(1.7, 2.0, sigma=0.3), Grid((12, 11), EXTENT), variance)

    # The default amplitude on the unit square: tau^3 (4 pi^2 |n|^2 + tau^2)^(-alpha) with tau = 7, alpha = 2.5.
    def default_variance(n):
        return 7.0**3 * (4 * np.pi**2 * (n[0] ** 2 + n[1] ** 2) + 49.0) ** (-2.5)

    assert_independent_with_variance(GaussianRandomField(), Grid((12, 11), 1.0), default_variance)

    # In one dimension the default has another power of tau: tau^(2 alpha - 1).
    u = samples(GaussianRandomField(), Grid(15, 1.0), jax.random.split(jax.random.key(8), 3000))[:, 0]
    n = np.arange(1, 8)
    variance_of_modes = np.mean(np.abs(np.fft.rfft(np.asarray(u, np.float64), norm="forward")[:, 1:]) ** 2, axis=0)
    np.testing.assert_allclose(variance_of_modes, 7.0**4 * (4 * np.pi**2 * n**2 + 49.0) ** (-2.5), rtol=0.1)


def test_band_limited_has_its_rms_and_mean_in_every_sample_and_independent_channels():
    grid = Grid((24, 33), EXTENT)
    u = np.asarray(samples(LAWS["band-limited"], grid, jax.random.split(jax.random.key(0), 50)))
    tolerance = 2e-5 if grid.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(np.mean(u, axis=(2, 3)), 0.7, atol=tolerance)
    np.testing.assert_allclose(np.std(u, axis=(2, 3)), 2.0, rtol=tolerance)
    correlation = np.mean((u[:, 0] - 0.7) * (u[:, 1] - 0.7), axis=(1, 2)) / 4
    assert abs(np.mean(correlation)) < 0.1 and np.max(np.abs(correlation)) < 0.8


def derivative(u, axis, grid):
    """Spectral derivative along a spatial axis, in double precision."""
    length = grid.shape[axis]
    k = 2 * np.pi / float(grid.extent[axis]) * np.fft.fftfreq(length, 1 / length)
    along = [1] * grid.ndim
    along[axis] = length
    axis -= grid.ndim
    return np.fft.ifft(1j * k.reshape(along) * np.fft.fft(np.asarray(u, np.float64), axis=axis), axis=axis).real


@pytest.mark.parametrize(("shape", "extent"), [((17, 20), (2.0, 5.0)), ((9, 12, 11), (2.0, 5.0, 3.0))])
def test_turbulence_is_solenoidal_and_its_vorticity_is_the_curl(shape, extent):
    grid = Grid(shape, extent)
    law = FilteredTurbulence(peak=2, cutoff=4, rms_speed=3.0)
    curl = FilteredTurbulence(peak=2, cutoff=4, rms_speed=3.0, quantity="vorticity")
    u, w = (np.asarray(sample(each, grid, jax.random.key(5)), np.float64) for each in (law, curl))
    gradient = np.stack([[derivative(component, a, grid) for a in range(grid.ndim)] for component in u])
    size = np.sqrt(np.mean(gradient**2))
    tolerance = size * (2e-5 if grid.dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(np.trace(gradient), 0, atol=tolerance)
    np.testing.assert_allclose(u.mean(axis=tuple(range(1, u.ndim))), 0, atol=tolerance)
    np.testing.assert_allclose(np.sqrt(np.mean(np.sum(u**2, axis=0))), 3.0, rtol=1e-6)
    if grid.ndim == 2:
        expected = gradient[1, 0][None] - gradient[0, 1][None]
    else:
        expected = np.stack([gradient[(i + 2) % 3, (i + 1) % 3] - gradient[(i + 1) % 3, (i + 2) % 3] for i in range(3)])
    np.testing.assert_allclose(w, expected, atol=tolerance)


def test_turbulence_has_its_stated_spectrum():
    grid = Grid((22, 23), 1.0)
    law = FilteredTurbulence(peak=3, width=0.6, cutoff=10)
    u = samples(law, grid, jax.random.split(jax.random.key(2), 1000))
    radius = np.hypot(*modes_2d(grid.shape))
    power = np.mean(np.sum(np.abs(coefficients(u, grid.shape)) ** 2, axis=1), axis=0)
    inside = (radius > 0) & (radius <= 10)
    expected = np.exp(-(np.log(radius[inside] / 3) ** 2) / (2 * 0.6**2)) / radius[inside]
    ratio = power[inside] / expected
    np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.2)
    assert np.all(power[~inside] < 1e-12)


def shell_energies(u):
    """Mean square in shells of |n| around 1, 2, ..., summed over channels: by hand, over all modes."""
    c = np.fft.fftn(np.asarray(u, np.float64), axes=(-3, -2, -1), norm="forward")
    modes = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in u.shape[-3:]), indexing="ij")
    radius = np.sqrt(sum(n**2 for n in modes))
    power = np.mean(np.sum(np.abs(c) ** 2, axis=1), axis=0)
    return radius, power


def assert_shells_have(law, energy, cutoff):
    """Each mode has `energy(r) / r^2`: unequal numbers of points and sides, in three dimensions."""
    grid = Grid((13, 15, 16), (2.0, 5.0, 3.0), dtype=jnp.float32)
    radius, power = shell_energies(samples(law, grid, jax.random.split(jax.random.key(6), 40)))
    inside = (radius > 0) & (radius <= cutoff)
    assert np.all(power[~inside] < 1e-10)
    expected = np.where(inside, energy(np.where(inside, radius, 1.0)) / np.where(inside, radius, 1.0) ** 2, 0.0)
    ratio = []
    for shell in range(1, cutoff + 1):
        modes = inside & (np.abs(radius - shell) <= 0.5)
        ratio.append(power[modes].sum() / expected[modes].sum())
    # The first shell has 18 modes in 40 samples, half of them free: 5 % of spread; 15 % are three times that.
    np.testing.assert_allclose(np.asarray(ratio) / (power.sum() / expected.sum()), 1, atol=0.15)


def test_spectra_in_three_dimensions_are_those_stated():
    assert_shells_have(
        BandLimited(peak=3, same_rms=False), lambda r: (r / 3) ** 4 * np.exp(-2 * (r / 3) ** 2), cutoff=6
    )
    assert_shells_have(
        FilteredTurbulence(peak=3, width=0.6, cutoff=6),
        lambda r: np.exp(-(np.log(r / 3) ** 2) / (2 * 0.6**2)),
        cutoff=6,
    )


@pytest.mark.parametrize(
    "law", [BandLimited(peak=0.1), BandLimited(peak=0.01), FilteredTurbulence(peak=0.1, width=0.05)], ids=str
)
def test_a_peak_below_every_mode_leaves_the_longest_waves(law):
    grid = Grid((7, 8), EXTENT, dtype=jnp.float32)
    u = np.asarray(sample(law, grid, jax.random.key(0)))
    np.testing.assert_allclose(np.mean(np.sum(u**2, axis=0)), 1.0, rtol=1e-4)
    held = np.hypot(*modes_2d(grid.shape)) == 1
    assert np.all(np.abs(coefficients(u, grid.shape)[:, ~held]) < 1e-6)


@pytest.mark.float64
def test_turbulence_has_a_gradient_in_the_box():
    law, key = FilteredTurbulence(peak=1, cutoff=2), jax.random.key(0)

    @jax.jit
    @jax.value_and_grad
    def sheared(side):
        u = law(Grid((6, 7), jnp.stack([side, jnp.asarray(5.0)])), key=key)
        return jnp.sum(u**3 * np.arange(42.0).reshape(6, 7))

    differences = (float(sheared(2.0 + 1e-6)[0]) - float(sheared(2.0 - 1e-6)[0])) / 2e-6
    np.testing.assert_allclose(sheared(2.0)[1], differences, rtol=1e-5)
    assert abs(differences) > 1e-2


def test_a_traced_peak_needs_a_cutoff():
    grid, key = Grid((12, 15), EXTENT), jax.random.key(0)
    for law in (BandLimited, FilteredTurbulence):
        with pytest.raises(ValueError, match=rf"pass cutoff=, e.g. {law.__name__}\(peak, cutoff=8\)"):
            jax.eval_shape(lambda peak, law=law: law(peak)(grid, key=key), 3.0)
        jax.eval_shape(lambda peak, law=law: law(peak, cutoff=5)(grid, key=key), 3.0)


def test_sum_of_sines_has_its_waves_and_mean_square():
    grid = Grid(16, 16.0)
    u = samples(SumOfSines(num_waves=5, max_mode=2), grid, jax.random.split(jax.random.key(4), 3000))[:, 0]
    c = np.fft.rfft(np.asarray(u, np.float64), norm="forward")
    assert np.max(np.abs(c[:, [0, 3, 4, 5, 6, 7, 8]])) < 1e-6
    power = 2 * np.mean(np.abs(c[:, 1:3]) ** 2, axis=0)
    np.testing.assert_allclose(power, 5 * 0.25 / 12, rtol=0.08)
    # Every mode up to the largest is as likely as any other.
    u = samples(SumOfSines(num_waves=5, max_mode=3), grid, jax.random.split(jax.random.key(6), 3000))[:, 0]
    power = 2 * np.mean(np.abs(np.fft.rfft(np.asarray(u, np.float64), norm="forward")[:, 1:4]) ** 2, axis=0)
    np.testing.assert_allclose(power, 5 * 0.25 / 18, rtol=0.1)
    # One wave alone never exceeds its amplitude, and phases fill the circle.
    one = samples(SumOfSines(num_waves=1, max_mode=1), grid, jax.random.split(jax.random.key(5), 1000))[:, 0]
    c = 2j * np.fft.rfft(np.asarray(one, np.float64), norm="forward")[:, 1]
    assert 0.49 < np.max(np.abs(c)) <= 0.5 + 1e-6
    assert abs(np.mean(c / np.abs(c))) < 0.1 and abs(np.mean((c / np.abs(c)) ** 2)) < 0.1


@pytest.mark.float64
@pytest.mark.parametrize("name", ["gaussian", "velocity", "sines"])
def test_float32_equals_float64_to_rounding(name):
    single, double = (Grid(COARSE, EXTENT, dtype=dtype) for dtype in (jnp.float32, jnp.float64))
    u, v = (sample(LAWS[name], grid, jax.random.key(9)) for grid in (single, double))
    assert u.dtype == jnp.float32 and v.dtype == jnp.float64
    np.testing.assert_allclose(u, v, atol=5e-6 * np.max(np.abs(v)))


def test_vmap_over_keys_and_over_boxes_equals_one_by_one():
    grid = Grid(COARSE, EXTENT)
    keys = jax.random.split(jax.random.key(1), 3)
    law = LAWS["vorticity"]
    together = np.asarray(samples(law, grid, keys))
    tolerance = 1e-6 * np.max(np.abs(together))
    for key, w in zip(keys, together, strict=True):
        np.testing.assert_allclose(sample(law, grid, key), w, atol=tolerance)
    assert np.max(np.abs(together[0] - together[1])) > 1

    extents = jnp.asarray([[2.0, 5.0], [4.0, 10.0]], grid.dtype)
    w = jax.jit(jax.vmap(lambda extent: law(Grid(COARSE, extent), key=keys[0])))(extents)
    np.testing.assert_allclose(w[0], together[0], atol=10 * tolerance)
    # Twice the box, half the vorticity of the same stretched eddies.
    np.testing.assert_allclose(w[1], together[0] / 2, atol=10 * tolerance)


@pytest.mark.parametrize("name", LAWS)
def test_lowers_for_every_platform(name):
    grid = Grid((24, 33), EXTENT, dtype=jnp.float32)
    exported = jax.export.export(jax.jit(lambda key: LAWS[name](grid, key=key)), platforms=["cpu", "cuda", "tpu"])
    assert exported(jax.random.key(0)).out_avals[0].shape == (1 if name == "vorticity" else 2, 24, 33)


def test_refuses_what_it_cannot_draw():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="modes up to 8 but a grid of 16 points along axis 1 holds 7"):
        BandLimited(peak=4)(Grid((24, 16), 1.0), key=key)
    with pytest.raises(ValueError, match="modes up to 12"):
        FilteredTurbulence(peak=3)(Grid((24, 32), 1.0), key=key)
    with pytest.raises(ValueError, match="modes up to 2 "):
        SumOfSines()(Grid(4, 1.0), key=key)
    for law in (BandLimited(), GaussianRandomField(), SumOfSines(), FilteredTurbulence()):
        with pytest.raises(ValueError, match="periodic"):
            law(Grid((64, 64), 1.0, periodic=(True, False)), key=key)
    with pytest.raises(ValueError, match="two or three dimensions"):
        FilteredTurbulence()(Grid(64, 1.0), key=key)
    with pytest.raises(ValueError, match=r"alpha > 1\.5"):
        GaussianRandomField(alpha=1.5)(Grid((8, 8, 8), 1.0), key=key)
    with pytest.raises(ValueError, match="rms"):
        BandLimited(rms=-1.0)


@pytest.mark.usefixtures("without_shape_checks")
def test_refuses_an_unknown_quantity():
    with pytest.raises(ValueError, match=r"velocity.*vorticity.*pressure"):
        FilteredTurbulence(quantity="pressure")  # pyright: ignore[reportArgumentType]


def test_a_seed_is_no_key(without_shape_checks):
    with pytest.raises(
        ValueError, match=r"An initial law draws random numbers with key=jax.random.key\(3\), got key=3"
    ):
        BandLimited()(Grid(20, 1.0), key=3)
