"""Laws that spread: friction and heat in a gas, the porous medium, and electrons in their own field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root
from scipy.special import wofz

import pdejax as pj
from pdejax.boundary import Dirichlet, Outflow, Reflecting
from pdejax.equations import CompressibleNavierStokes, Euler, PorousMedium, VlasovPoisson
from pdejax.testing import check_equation, observed_orders
from pdejax.volumes import HLLC, MUSCL, WENO, Rusanov, monotonized_central


def cells(n, extent=1.0, periodic=False, **options):
    return pj.Grid(n, extent, periodic=periodic, points="centres", **options)


# Of a front at x = 0 in a gas that flows in with the velocity 2 and leaves with 1, where the mass flux is one.
FRICTION = {"shear_viscosity": 0.03, "bulk_viscosity": 0.02}
ALONG = 4 / 3 * 0.03 + 0.02
# Prandtl number 3/4 of the whole longitudinal viscosity: the total enthalpy stays constant through the front.
GAS = CompressibleNavierStokes(1.4, **FRICTION, conductivity=1.4 / 0.4 * ALONG)


def shock_front(x):
    """Becker's solution: velocity, and from it density and pressure, through a shock with a front of its own.

    `x = L (2 ln(2 - v) - ln(v - 1))`, with `v = 1 + 1 / (1 + e^s)`; found for s by Newton's method.
    """
    length = 2 * 1.4 * ALONG / 2.4

    def improved(s, x=x):
        value = 2 * jax.nn.log_sigmoid(s) - jax.nn.log_sigmoid(-s) - x / length
        return s - value / (2 * jax.nn.sigmoid(-s) + jax.nn.sigmoid(s))

    s = jax.lax.fori_loop(
        0, 30, lambda _, s: improved(s, jax.lax.stop_gradient(x)), jax.lax.stop_gradient(2 * x / length / 3)
    )
    # Each further step makes one more derivative exact.
    s = improved(improved(improved(jax.lax.stop_gradient(s))))
    velocity = 1 + jax.nn.sigmoid(-s)
    density = 1 / velocity
    # The enthalpy at which these two velocities are the ends.
    enthalpy = 2.4 / (2 * 0.4) * 2.0
    pressure = 0.4 / 1.4 * density * (enthalpy - velocity**2 / 2)
    return density, density * velocity, pressure / 0.4 + density * velocity**2 / 2


@pytest.mark.float64
def test_a_shock_with_a_front_of_its_own():
    """Normal stress, its work and the conduction of heat; met pointwise, also where the front moves, and by finite
    volumes with second order."""

    def moving(x, t):
        density, momentum, energy = shock_front(x - 0.7 * t)
        return density, momentum + 0.7 * density, energy + 0.7 * momentum + 0.7**2 / 2 * density

    check_equation(GAS, moving, extent=2.0, origin=-1.0, periodic=False)

    def error(n):
        grid = cells(n, 2.4, origin=-1.2)
        u = jnp.stack(jax.jit(shock_front)(grid.axes[0]))
        reading = pj.FiniteVolume(grid, MUSCL(monotonized_central), HLLC(), Outflow(), variables="primitive")
        end = pj.solve(GAS, reading, u, [0.0, 0.25]).u[-1]
        return float(jnp.mean(jnp.abs(end - u)))

    (observed,) = observed_orders([error(60), error(90)], [1.5, 1.0])
    assert abs(observed - 2) <= 0.4


@pytest.mark.float64
def test_friction_warms_a_gas_between_plates():
    """Couette flow: a straight profile of velocity along y and a parabola of temperature, at constant pressure."""

    def flow(x, y, t):
        x = x - 0.4 * t
        temperature = 1.3 + 0.7 * x - 0.03 * 2.0**2 / (2 * 0.05) * x**2
        velocity, density = 2.0 * x + 0.4, 1 / temperature
        return density, 0.4 * density, density * velocity, 1 / 0.4 + density * (velocity**2 + 0.4**2) / 2

    gas = CompressibleNavierStokes(1.4, shear_viscosity=0.03, conductivity=0.05)
    check_equation(gas, flow, extent=1.0, ndim=2, periodic=False)


@pytest.mark.float64
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_diffusive_fluxes_at_faces_are_those_of_the_other_readings(ndim):
    """Against Fourier modes, on a smooth state in which everything varies along everything; and beside walls."""
    gas = CompressibleNavierStokes(1.4, shear_viscosity=0.2, bulk_viscosity=0.5, conductivity=0.3)

    def state(grid):
        x = grid.coordinates()
        w = [1 + 0.2 * jnp.cos(sum(x))]
        w += [0.3 * jnp.sin(sum(x[b] * (-1) ** (a == b) for b in range(ndim)) + a) for a in range(ndim)]
        return gas.conserved(jnp.stack([*w, 1 + 0.2 * jnp.sin(x[0] + 0.4)]))

    def gap(n):
        grid = cells(tuple(n + 2 * a for a in range(ndim)), 2 * np.pi, True)
        u = state(grid)
        volumes, modes = pj.FiniteVolume(grid, WENO(5), HLLC()), pj.Spectral(grid)
        spread = lambda reading, v: reading.tendency(gas, 0.0, v) - reading.tendency(Euler(1.4), 0.0, v)  # noqa: E731
        found, expected = jax.jit(lambda v: (spread(volumes, v), spread(modes, v)))(u)
        return float(jnp.max(jnp.abs(found - expected)) / jnp.max(jnp.abs(expected)))

    small = {1: 32, 2: 26, 3: 20}[ndim]
    gaps = [gap(small), gap(small * 3 // 2)]
    (observed,) = observed_orders(gaps, [1.5, 1.0])
    assert abs(observed - 2) <= 0.25 and gaps[1] < 0.2


@pytest.mark.float64
def test_slopes_along_a_wall_are_exact_on_straight_lines():
    """A velocity that is a line in both directions, or a parabola along the face where there are three cells."""
    gas = CompressibleNavierStokes(1.4, shear_viscosity=0.2, bulk_viscosity=0.5)
    for shape in ((6, 5), (2, 3)):
        grid = cells(shape, (1.0, 1.3))
        bend, (x, y) = 0.5 * (shape[0] > 2), grid.coordinates()
        w = jnp.stack([1 + 0 * x, 0.3 * x + 0.7 * y, 0.2 * y - 0.4 * x + bend * x**2, 1 + 0 * x])
        reading = pj.FiniteVolume(grid, MUSCL(), HLLC(), Outflow())
        fluxes = lambda u, of=reading: [of.face_fluxes(law, 0.0, u, 1) for law in (gas, Euler(1.4))]  # noqa: E731
        with_friction, without = jax.jit(fluxes)(gas.conserved(w))
        stress = (without - with_friction)[:, :, 1:-1]
        np.testing.assert_allclose(stress[0], 0, atol=1e-14)
        np.testing.assert_allclose(stress[1], 0.2 * (0.3 + 2 * bend * x)[:, :-1], rtol=1e-12)
        np.testing.assert_allclose(stress[2], 0.2 * 0.4 + (0.5 - 2 / 3 * 0.2) * 0.5, rtol=1e-12)


@pytest.mark.float64
def test_a_gas_between_plates_that_it_sticks_to_comes_to_rest():
    """A slow stream along them dies away as the heat of a plate does; mass and energy stay inside, to rounding."""
    gas = CompressibleNavierStokes(1.4, shear_viscosity=0.1, conductivity=0.1)

    def error(n):
        grid = cells((3, n), (0.4, 1.0), (True, False))
        sine = -jnp.diff(jnp.cos(jnp.pi * jnp.linspace(0.0, 1.0, n + 1))) * n / jnp.pi
        stream = lambda t: 1e-4 * jnp.exp(-0.1 * jnp.pi**2 * t) * jnp.broadcast_to(sine, (3, n))  # noqa: E731
        one = jnp.ones((3, n))
        u = gas.conserved(jnp.stack([one, stream(0.0), 0 * one, one]))
        reading = pj.FiniteVolume(grid, MUSCL(), HLLC(), Reflecting(sticks=True), variables="primitive")
        end = pj.solve(gas, reading, u, [0.0, 0.3]).u[-1]
        np.testing.assert_allclose(jnp.sum(end[jnp.array([0, 3])]), jnp.sum(u[jnp.array([0, 3])]), rtol=1e-13)
        return float(jnp.max(jnp.abs(end[1] - stream(0.3)))) / 1e-4

    (observed,) = observed_orders([error(12), error(20)], [1 / 12, 1 / 20])
    assert abs(observed - 2) <= 0.3
    with pytest.raises(ValueError, match="Euler does not state walls that it sticks to"):
        walls = pj.FiniteVolume(cells(8), boundary=Reflecting(sticks=True))
        walls.tendency(Euler(1.4), 0.0, jnp.ones((3, 8)))
    with pytest.raises(ValueError, match="free or sticks, not both"):
        Reflecting(free=True, sticks=True)


@pytest.mark.float64
@pytest.mark.parametrize("ndim", [1, 2])
def test_a_drop_in_a_porous_medium_spreads_like_barenblatt(ndim):
    """The solution that starts from a point: its edge, its height, its mass."""
    m = 2.5
    alpha = ndim / (ndim * (m - 1) + 2)
    k = alpha * (m - 1) / (2 * m * ndim)
    law = PorousMedium(m)

    def drop(x, t):
        bulge = 0.3 - k * sum(s**2 for s in x) * t ** (-2 * alpha / ndim)
        return (t**-alpha * jnp.maximum(bulge, 0) ** (1 / (m - 1)))[None]

    def error(n):
        grid = cells((n, n + 4)[:ndim], 6.0 if ndim == 1 else (5.0, 5.5), origin=-3.0 if ndim == 1 else (-2.5, -2.75))
        u = drop(grid.coordinates(), 1.0)
        # With positivity, too: edge values need no room where there is nothing.
        reading = pj.FiniteVolume(grid, boundary=Reflecting(), positivity=n < 60)
        end = pj.solve(law, reading, u, [1.0, 1.5]).u[-1]
        assert float(jnp.min(end)) >= 0 and float(jnp.abs(jnp.sum(end) / jnp.sum(u) - 1)) < 1e-13
        return float(jnp.mean(jnp.abs(end - drop(grid.coordinates(), 1.5))))

    errors = [error(n) for n in ((30, 180) if ndim == 1 else (28, 56))]
    assert errors[1] < errors[0] * (28 / 56 if ndim == 2 else 30 / 180) and errors[1] < 3e-3
    if ndim == 1:
        # Where nothing is zero it is smooth.
        check_equation(law, lambda x, t: drop(x[None], t + 1.0)[0], extent=0.5, origin=-0.3, periodic=False)
        slope = lambda m: jnp.sum(  # noqa: E731
            pj.solve(PorousMedium(m), reading, start, [1.0, 1.1], dt=0.01).u[-1] ** 2
        )
        grid = cells(20, 6.0, origin=-3.0)
        reading, start = pj.FiniteVolume(grid, boundary=Reflecting()), drop(grid.coordinates(), 1.0)
        found, expected = jax.grad(slope)(m), (slope(m + 1e-5) - slope(m - 1e-5)) / 2e-5
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        with pytest.raises(ValueError, match="its u is -0.2 at x = -2.25"):
            pj.solve(law, reading, start.at[0, 2].set(-0.2), [1.0, 1.1])
        with pytest.raises(ValueError, match="exponent - 1 must be > 0"):
            PorousMedium(1.0)


@pytest.mark.float64
def test_values_at_walls_are_at_the_wall_for_what_spreads():
    """A steady profile between two values, and Couette's plates, both exact. Nothing is filled from a wall
    with steps that do not see how fast that is."""

    def error(n):
        grid = cells(n)
        exact = jnp.sqrt(1 - 0.75 * grid.axes[0])
        reading = pj.FiniteVolume(grid, boundary={"x-": 1.0, "x+": 0.5})
        end = pj.solve(PorousMedium(2.0), reading, exact[None], [0.0, 3.0]).u[-1, 0]
        return float(jnp.max(jnp.abs(end - exact)))

    # What flows is a line: met exactly.
    assert error(8) < 1e-12
    gas, grid = CompressibleNavierStokes(1.4, shear_viscosity=0.1), cells((3, 9), 1.0, (True, False))
    one, y = jnp.ones((3, 9)), grid.coordinates()[1]
    flow = gas.conserved(jnp.stack([one, 0.05 * y, 0 * one, one]))
    plates = {"density": Reflecting(), "momentum_y": Reflecting(), "energy": Reflecting()}
    plates |= {"momentum_x": {"y-": 0.0, "y+": 0.05}}
    reading = pj.FiniteVolume(grid, MUSCL(), HLLC(), plates)
    with_friction, without = jax.jit(lambda u: [reading.face_fluxes(law, 0.0, u, 1) for law in (gas, Euler(1.4))])(flow)
    np.testing.assert_allclose((without - with_friction)[1], 0.1 * 0.05, rtol=1e-10)
    empty = pj.FiniteVolume(cells(16), boundary={"x-": 1.0, "x+": Reflecting()})
    filled = pj.solve(PorousMedium(2.0), empty, jnp.zeros((1, 16)), [0.0, 0.05]).u[-1, 0]
    assert float(filled[0]) > 0.8 and float(filled[-1]) == 0 and bool(jnp.all(jnp.diff(filled) <= 0))


def test_how_fast_anything_spreads():
    """What limits steps: friction along a wave, heat, and the porous medium where it is fullest."""
    gas = CompressibleNavierStokes(1.4, shear_viscosity=0.3, bulk_viscosity=0.1, conductivity=5.0)
    u = jnp.array([[2.0], [0.0], [1.0]])
    np.testing.assert_allclose(gas.largest_diffusivity(u), 0.4 * 5.0 / 2.0, rtol=1e-6)
    np.testing.assert_allclose(PorousMedium(3.0).largest_diffusivity(jnp.array([[2.0]])), 12.0, rtol=1e-6)
    # A density that alternates from cell to cell has no slope at them: no field.
    plane = cells((6, 4), 1.0, (True, False))
    even = jnp.ones((1, 6, 4)) + 0.5 * (-1.0) ** jnp.arange(6)[None, :, None]
    np.testing.assert_allclose(VlasovPoisson().electric_field(plane.coordinates(), even), 0, atol=1e-6)


def root_of_the_dispersion(k, drift, guess):
    """The frequency w of a wave on two Maxwellian streams, and its rate of growth:
    `1 + sum of (1 + z Z(z)) / (2 k^2) = 0` with `z = (w / k -+ drift) / sqrt(2)`."""

    def dispersion(parts):
        total = 1.0
        for stream in (drift, -drift):
            z = ((parts[0] + 1j * parts[1]) / k - stream) / np.sqrt(2)
            total = total + (1 + z * 1j * np.sqrt(np.pi) * wofz(z)) / (2 * k**2)
        return [total.real, total.imag]

    return root(dispersion, guess).x


@pytest.mark.float64
@pytest.mark.parametrize(("k", "drift", "guess"), [(0.5, 0.0, [1.4, -0.15]), (0.25, 2.4, [0.0, 0.2])])
def test_electrons_damp_a_wave_and_two_streams_make_one(k, drift, guess):
    """Landau damping and the two-stream instability, at the rates of the linear theory; nothing is lost."""
    frequency, growth = root_of_the_dispersion(k, drift, guess)
    assert growth < -0.15 or growth > 0.2
    grid = cells((24, 64), (2 * np.pi / k, 16.0), (True, False), origin=(0.0, -8.0))
    x, v = grid.coordinates()
    law = VlasovPoisson()
    streams = (jnp.exp(-((v - drift) ** 2) / 2) + jnp.exp(-((v + drift) ** 2) / 2)) / np.sqrt(8 * np.pi)
    f = (1 + 1e-4 * jnp.cos(k * x)) * streams
    times = jnp.linspace(0, 12 if drift == 0 else 30, 121)
    frames = pj.solve(law, pj.FiniteVolume(grid, WENO(5), Rusanov(), Outflow()), f[None], times).u
    field = jax.vmap(lambda u: law.electric_field(grid.coordinates(), u))(frames)[..., 0]
    in_field = np.asarray(jnp.sum(field**2, axis=1)) * grid.mean_spacing(0) / 2
    if drift == 0:
        peaks = 1 + np.flatnonzero((in_field[1:-1] > in_field[:-2]) & (in_field[1:-1] > in_field[2:]))
        assert abs(np.pi / np.mean(np.diff(times[peaks])) - frequency) < 0.03
    else:
        peaks = np.arange(88, 121)
    observed = np.polyfit(np.asarray(times)[peaks], np.log(in_field[peaks]), 1)[0] / 2
    np.testing.assert_allclose(observed, growth, rtol=0.02)
    energy = np.asarray(jnp.sum(frames[:, 0] * v**2 / 2, axis=(1, 2))) * float(np.prod(grid.spacing)) + in_field
    np.testing.assert_allclose(energy, energy[0], rtol=2e-6)
    np.testing.assert_allclose(jnp.sum(frames[-1]), jnp.sum(f), rtol=1e-10)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="shear_viscosity must be >= 0"):
        CompressibleNavierStokes(1.4, shear_viscosity=-0.1)
    grid = cells((8, 12), 1.0, True)
    with pytest.raises(ValueError, match=r"periodic in the first alone.*periodic \(True, True\)"):
        pj.solve(VlasovPoisson(), pj.FiniteVolume(grid), jnp.ones((1, 8, 12)), [0.0, 0.1])
    with pytest.raises(ValueError, match="sums over all velocities, which this reading cannot"):
        pj.Spectral(grid).tendency(VlasovPoisson(), 0.0, jnp.ones((1, 8, 12)))
    # Spreading limits steps as well as waves do.
    line = cells(20)
    gas = CompressibleNavierStokes(1.4, shear_viscosity=0.3)
    u = gas.conserved(jnp.stack([jnp.ones(20), jnp.zeros(20), jnp.ones(20)]))
    walls = {"density": Outflow(), "momentum_x": Dirichlet(0.0), "energy": Outflow()}
    rates = pj.FiniteVolume(line, boundary=walls).courant_rates(gas, 0.0, u)
    np.testing.assert_allclose(rates, 20 * 1.4**0.5 + 2 * 0.4 * 400, rtol=1e-6)
