"""The forced Korteweg-de Vries-Burgers equation: its formula in two readings, its soliton, its mean, its force."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Outflow
from pdejax.equations import ForcedKortewegDeVriesBurgers, random_sines
from pdejax.solvers import SSPRK3
from pdejax.testing import observed_orders
from pdejax.volumes import HLL, WENO

EXTENT = 16.0
SINES = random_sines(jax.random.key(3), EXTENT)
WAVES = ((0.4, 1, 0.3), (-0.7, 2, 1.1), (0.2, 3, -0.5))


def waves(x, width=0.0, order=0):
    """A mean and three sines, or a derivative of them; averages over cells of that width."""
    total = 0.6 * (order == 0)
    for amplitude, mode, phase in WAVES:
        k = 2 * np.pi * mode / EXTENT
        total = total + amplitude * np.sinc(k * width / 2 / np.pi) * k**order * np.sin(
            k * x + phase + order * np.pi / 2
        )
    return total


def formula(x, t, alpha, beta, gamma):
    """The paper's, term by term."""
    u, u_x, u_xx, u_xxx = (waves(x, order=order) for order in range(4))
    a, omega, k, phi = (np.asarray(SINES[name]) for name in ("amplitudes", "frequencies", "wavenumbers", "phases"))
    force = sum(a[j] * np.sin(omega[j] * t + k[j] * x + phi[j]) for j in range(5))
    return -2 * alpha * u * u_x + beta * u_xx - gamma * u_xxx + force


TASKS = {"E1": (0.5, 0.0, 0.0), "E2": (0.5, 0.2, 0.0), "E3": (2.3, 0.3, 0.7)}


@pytest.mark.float64
def test_fourier_and_finite_volumes_read_the_formula():
    """Fourier to rounding; WENO 5 and differences of averages with order 4 or more, once the force is left out (its
    average is read at the middle: second order)."""
    t, errors, sizes = 0.7, {name: [] for name in TASKS}, (64, 101)
    for n in sizes:
        grid = pj.Grid(n, EXTENT, points="centres")
        x, h = np.asarray(grid.axes[0]), EXTENT / n
        fine = (np.arange(8 * n) - 4) * h / 8
        spectral, volumes = pj.Spectral(grid), pj.FiniteVolume(grid, WENO(5), HLL())

        @eqx.filter_jit
        def read(forced, free, point, average, spectral=spectral, volumes=volumes):
            rates = (volumes.tendency(law, t, average) for law in (free, forced))
            return spectral.tendency(forced, t, point), *rates

        for name, task in TASKS.items():
            forced, free = ForcedKortewegDeVriesBurgers(*task, **SINES), ForcedKortewegDeVriesBurgers(*task)
            by_modes, by_volumes, with_force = read(
                forced, free, jnp.asarray(waves(x)[None]), jnp.asarray(waves(x, h)[None])
            )
            np.testing.assert_allclose(by_modes[0], formula(x, t, *task), atol=1e-11)
            np.testing.assert_allclose((with_force - by_volumes)[0], forced.force(t, grid.axes[0]), atol=1e-12)
            # The averages of the formula without its force, mode by mode.
            modes = np.fft.rfft(formula(fine, t, *task) - np.asarray(forced.force(t, jnp.asarray(fine)))) / (8 * n)
            k = 2 * np.pi * np.arange(len(modes)) / EXTENT
            smooth = modes * np.sinc(k * h / 2 / np.pi) * np.where(k > 0, 2, 1)
            averages = np.real(np.exp(1j * np.outer(x - fine[0], k)) @ smooth)
            errors[name].append(np.mean(np.abs(by_volumes[0] - averages)) / np.max(np.abs(averages)))
    for name, found in errors.items():
        (order,) = observed_orders(found, [1 / n for n in sizes])
        assert 3.8 <= order <= 5.6, name
        assert found[-1] <= 1e-3, name


@pytest.mark.float64
def test_a_soliton_keeps_its_shape():
    """alpha = 3, gamma = 1: `(c / 2) sech^2(sqrt(c) / 2 (x - c t))`, by Fourier modes to 2e-5 and by finite volumes to
    a hundredth of its height."""
    speed, time, law = 4.0, 0.5, ForcedKortewegDeVriesBurgers(3.0, 0.0, 1.0)

    def averages(grid, t):
        """By its antiderivative."""
        edges = np.arange(grid.shape[0] + 1) * EXTENT / grid.shape[0]
        primitive = np.sqrt(speed) * np.tanh(np.sqrt(speed) / 2 * (edges - 7 - speed * t))
        return jnp.asarray(np.diff(primitive) / np.diff(edges))[None]

    def point(x, t):
        return speed / 2 / np.cosh(np.sqrt(speed) / 2 * (x - 7 - speed * t)) ** 2

    grid = pj.Grid(128, EXTENT)
    x = np.asarray(grid.axes[0])
    u = pj.solve(law, pj.Spectral(grid), jnp.asarray(point(x, 0.0)[None]), [0.0, time], rtol=1e-8).u[-1, 0]
    np.testing.assert_allclose(u, point(x, time), atol=2e-5)

    grid = pj.Grid(100, EXTENT, points="centres")
    stepper = pj.TimeStepper(law, pj.FiniteVolume(grid, WENO(5), HLL()), time, 600, SSPRK3())
    moved = eqx.filter_jit(stepper)(averages(grid, 0.0))
    np.testing.assert_allclose(moved, averages(grid, time), atol=0.02)


@pytest.mark.float64
def test_the_mean_is_kept_and_steps_at_the_limit_are_stable():
    """A rough state, of which dispersion and diffusion decide the step; without them the waves do."""
    grid = pj.Grid(45, EXTENT, points="centres")
    u = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 45)))
    volumes = pj.FiniteVolume(grid, WENO(5), HLL())

    @eqx.filter_jit
    def step(law, u, h):
        return pj.TimeStepper(law, volumes, h, 400, SSPRK3())(u)

    for task, exceeded in (((0.5, 0.4, 0.0), "diffusion"), ((1.0, 0.0, 1.0), "dispersion")):
        law = ForcedKortewegDeVriesBurgers(*task)
        limit = 1 / float(jnp.max(volumes.courant_rates(law, 0.0, u)))
        # Of the matrix that the differences are, beside the waves of this flux.
        still = ForcedKortewegDeVriesBurgers(0.0, *task[1:])
        matrix = jax.jacfwd(lambda v, law=still: volumes.tendency(law, 0.0, v[None])[0])(jnp.zeros(45))
        largest = np.max(np.abs(np.linalg.eigvals(np.asarray(matrix))))
        np.testing.assert_allclose(jnp.max(volumes.courant_rates(still, 0.0, 0 * u)), largest, rtol=1e-9)
        end = step(law, u, 400 * limit)
        np.testing.assert_allclose(jnp.mean(end), jnp.mean(u), atol=1e-13)
        assert float(jnp.max(jnp.abs(end))) <= 1.5, exceeded
        # Not far below what is stable: the modulus is found, and not its square root or a part of it.
        assert not float(jnp.max(jnp.abs(step(law, u, 4 * 400 * limit)))) <= 1.5, exceeded


@pytest.mark.float64
def test_one_program_solves_a_batch_of_equations():
    """Each trajectory has its own coefficients and force; a batch is what they are one by one."""
    grid = pj.Grid(32, EXTENT, points="centres")

    def made(key):
        draws = jax.random.uniform(key, (3,))
        return ForcedKortewegDeVriesBurgers(*draws, **random_sines(key, EXTENT))

    def end(key):
        law = made(key)
        u0 = law.force(0.0, grid.axes[0])[None]
        return pj.TimeStepper(law, pj.FiniteVolume(grid, WENO(5), HLL()), 0.1, 8, SSPRK3())(u0)

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(end))(keys)
    np.testing.assert_allclose(together[1], jax.jit(end)(keys[1]), rtol=1e-12, atol=1e-13)
    assert float(jnp.max(jnp.abs(together[1] - together[2]))) > 0.1


def test_random_sines_keep_to_their_ranges():
    many = jax.vmap(lambda key: random_sines(key, 16.0))(jax.random.split(jax.random.key(1), 400))
    modes = np.asarray(many["wavenumbers"]) * 16 / (2 * np.pi)
    np.testing.assert_allclose(np.unique(np.round(modes, 4)), [1, 2])
    for name, low, high in (("amplitudes", -0.5, 0.5), ("frequencies", -0.4, 0.4), ("phases", 0, 2 * np.pi)):
        values = np.asarray(many[name])
        assert low <= values.min() <= low + 0.02 * (high - low) and high - 0.02 * (high - low) <= values.max() <= high
        assert abs(values.mean() - (low + high) / 2) <= 0.05 * (high - low)


def test_what_does_not_fit_is_refused():
    grid = pj.Grid(20, 16.0, points="centres")
    law = ForcedKortewegDeVriesBurgers(0.5, 0.1, 0.0, [1.0], [0.0], [0.5], [0.0])
    with pytest.raises(ValueError, match=r"1.273 periods in a box of 16"):
        pj.solve(law, pj.FiniteVolume(grid), jnp.zeros((1, 20)), [0.0, 1.0])
    with pytest.raises(ValueError, match="one entry per sine"):
        ForcedKortewegDeVriesBurgers(0.5, 0.1, 0.0, amplitudes=[1.0, 2.0])
    walled = pj.FiniteVolume(pj.Grid(20, 16.0, periodic=False), boundary=Outflow())
    with pytest.raises(ValueError, match="around periodic boxes"):
        walled.tendency(ForcedKortewegDeVriesBurgers(0.5, 0.1, 0.0), 0.0, jnp.zeros((1, 20)))
