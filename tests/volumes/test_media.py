"""Waves in media: sound, elastic solids and light, met by every reading, exact at interfaces and of second order."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Outflow, Reflecting
from pdejax.equations import Acoustics, Elasticity, InviscidBurgers, Maxwell
from pdejax.solvers import SSPRK3
from pdejax.testing import check_equation, observed_orders
from pdejax.volumes import HLL, MUSCL, WENO, FluxWaves, PiecewiseConstant, Roe, Rusanov


def everywhere(value):
    """A number as a function of the place: the same law, read by its fluxes."""
    return lambda x: value + 0 * x[0]


def elastic_wave(k, along, density, frequency, phase):
    """Components where the displacement `along` has the slope `cos(phase)`, with phase `k . x - frequency t`."""
    ndim, slope = len(k), jnp.cos(phase)
    shears = [along[a] * k[b] + along[b] * k[a] for a, b in itertools.combinations(range(ndim), 2)]
    parts = [*(along[a] * k[a] for a in range(ndim)), *shears, *(-density * frequency * d for d in along)]
    return jnp.stack([part * slope for part in parts])


def elastic_waves(ndim, density, bulk, shear):
    k = np.array([1.0, 2.0, -1.0])[:ndim]
    across = np.array([2.0, -1.0, 0.0])[:ndim]
    of_p, of_s = np.sqrt((bulk + 4 * shear / 3) / density * (k @ k)), np.sqrt(shear / density * (k @ k))

    def exact(*place):
        *x, t = place
        phase = sum(wave * s for wave, s in zip(k, x, strict=True))
        compressed = elastic_wave(k, k, density, of_p, phase - of_p * t)
        return compressed + (0.7 * elastic_wave(k, across, density, of_s, phase - of_s * t) if ndim > 1 else 0.0)

    return exact


def light(ndim, permittivity, permeability, conductivity):
    """D along d and B along k x d, damped: `lambda^2 + sigma / epsilon lambda + c^2 k^2 = 0`."""
    k = np.array([1.0, -2.0, 1.0]) * (np.arange(3) < ndim)
    d = np.cross(k, [0.3, -0.5, 0.8])
    damping = conductivity / permittivity / 2
    rate = complex(-damping, np.sqrt(k @ k / (permittivity * permeability) - damping**2))
    induced = -1j / (permittivity * rate)
    b = np.cross(k, d)

    def exact(*place):
        *x, t = place
        phase = sum(wave * s for wave, s in zip(k, x, strict=False)) + rate.imag * t
        electric = jnp.exp(rate.real * t) * jnp.cos(phase)
        magnetic = jnp.exp(rate.real * t) * (induced.real * jnp.cos(phase) - induced.imag * jnp.sin(phase))
        return jnp.concatenate([d * electric, b * magnetic])

    return exact


def sound(ndim, density, bulk):
    k = np.array([1.0, 2.0, -1.0])[:ndim]
    frequency = np.sqrt(bulk / density * (k @ k))

    def exact(*place):
        *x, t = place
        wave = jnp.sin(sum(n * s for n, s in zip(k, x, strict=True)) - frequency * t)
        return jnp.stack([frequency * density / bulk * wave, *(density * n * wave for n in k)])

    return exact


LAWS = [(Acoustics, sound, (1.3, 0.7)), (Elasticity, elastic_waves, (1.2, 2.0, 0.7)), (Maxwell, light, (1.3, 0.6, 0.4))]


@pytest.mark.float64
@pytest.mark.parametrize(("law", "wave", "coefficients"), LAWS, ids=["sound", "solid", "light"])
def test_plane_waves_solve_the_equations(law, wave, coefficients):
    for ndim in (1, 2, 3):
        for one in (law(*coefficients), law(*(everywhere(value) for value in coefficients))):
            check_equation(one, wave(ndim, *coefficients), extent=2 * np.pi, ndim=ndim, periodic=False)


@pytest.mark.float64
def test_fourier_and_stencils_read_them_and_constant_media_take_one_long_step():
    grid, varied = pj.Grid((9, 8), 2 * np.pi), Elasticity(*(everywhere(value) for value in (1.2, 2.0, 0.7)))

    @jax.jit
    def evaluated():
        at = lambda exact, t: jax.vmap(jax.vmap(exact, (0, 0, None), 1), (0, 0, None), 1)(*grid.coordinates(), t)  # noqa: E731
        solid, glow = (
            functools.partial(at, exact) for exact in (elastic_waves(2, 1.2, 2.0, 0.7), light(2, 1.3, 0.6, 0.4))
        )
        u, rate = jax.jvp(solid, (0.0,), (1.0,))
        # The wave numbers 1 and 2 as differences of second order see them.
        stencil = pj.FiniteDifference(grid, 2).tendency(Elasticity(1.2, 2.0, 0.7), 0.0, u)
        stepped = pj.TimeStepper(Maxwell(1.3, 0.6, 0.4), pj.Spectral(grid), 3.0)(glow(0.0))
        return pj.Spectral(grid).tendency(varied, 0.0, u) - rate, stencil - rate, stepped - glow(3.0), rate

    spectral, stencil, stepped, rate = evaluated()
    np.testing.assert_allclose(spectral, 0, atol=1e-12)
    np.testing.assert_allclose(stepped, 0, atol=1e-12)
    assert 0.05 < jnp.max(jnp.abs(stencil)) / jnp.max(jnp.abs(rate)) < 0.4


# Each pair of a wave along an axis: what presses and what flows, the sign of each, and the two coefficients whose
# product is the square of the impedance. Written down law by law.
def through_face(law, axis, ndim):
    """`(pressing, its sign, flowing, its sign, impedance, flux component of what flows, of what presses)`."""
    if law is Acoustics:
        return [(0, 1, 1 + axis, 1, lambda rho, bulk: np.sqrt(rho * bulk), 0, 1 + axis)]
    if law is Maxwell:
        y, z = (axis + 1) % 3, (axis + 2) % 3
        impedance = lambda eps, mu: np.sqrt(mu / eps)  # noqa: E731
        return [(y, 1, 3 + z, 1, impedance, y, 3 + z), (z, 1, 3 + y, -1, impedance, z, 3 + y)]
    voigt = {(0, 0): 0, (1, 1): 1, (2, 2): 2, (0, 1): 3, (0, 2): 4, (1, 2): 5}
    pairs = []
    for b in range(3):
        strain = voigt[min(axis, b), max(axis, b)]
        stiff = (lambda k, g: k + 4 * g / 3) if b == axis else (lambda k, g: g)
        impedance = lambda rho, k, g, stiff=stiff: np.sqrt(rho * stiff(k, g))  # noqa: E731
        pairs.append((strain, -1, 6 + b, 1, impedance, strain, 6 + b))
    return pairs


@pytest.mark.float64
@pytest.mark.parametrize(("law", "ndim"), [(Acoustics, 2), (Elasticity, 3), (Maxwell, 3)])
def test_flux_waves_are_exact_between_two_media(law, ndim):
    count = {Acoustics: 2, Elasticity: 3, Maxwell: 2}[law]
    equation = law(*[everywhere(1.0)] * count)
    random, n = np.random.default_rng(0), len(equation.components(ndim))
    media = random.uniform(0.2, 3.0, (2, count, 4))
    fields = random.normal(size=(2, n, 4))
    left, right = (equation.conserved(jnp.concatenate([w, np.log(m)])) for w, m in zip(fields, media, strict=True))

    def jacobian(u, axis):
        flux = lambda v, m: equation.flux(jnp.concatenate([v, m])[:, None], axis)[:, 0]  # noqa: E731
        return jax.vmap(jax.jacfwd(flux), 1, 2)(u[:n], u[n:])

    @jax.jit
    def evaluated():
        return [
            (
                equation.eigensystem(left, right, axis),
                jacobian(left, axis),
                jacobian(right, axis),
                FluxWaves()(equation, left, right, axis),
                FluxWaves()(equation, left, left, axis) - equation.flux(left, axis),
                FluxWaves()(equation, left, equation.reflected(left, axis), axis),
                FluxWaves()(equation, equation.released(right, axis), right, axis),
            )
            for axis in range(ndim)
        ]

    for axis, ((speeds, columns, rows), of_left, of_right, flux, gap, wall, free) in enumerate(evaluated()):
        identity = np.broadcast_to(np.eye(n)[..., None], (n, n, 4))
        np.testing.assert_allclose(np.einsum("cwp,wdp->cdp", columns, rows), identity, atol=1e-13)
        for of_medium, waves in ((of_left, speeds[:, 0] <= 0), (of_right, speeds[:, 0] > 0)):
            pushed = np.einsum("cdp,dwp->cwp", of_medium, columns)
            np.testing.assert_allclose(pushed[:, waves], (columns * speeds)[:, waves], atol=1e-12)
        np.testing.assert_allclose(gap, 0, atol=1e-13)
        expected, crossing, pressing = np.zeros((n, 4)), [], []
        for p, p_sign, v, v_sign, impedance, of_v, of_p in through_face(law, axis, ndim):
            z_l, z_r = (impedance(*medium) for medium in media)
            p_l, p_r = p_sign * fields[:, p]
            v_l, v_r = v_sign * fields[:, v]
            between = (z_r * p_l + z_l * p_r + z_l * z_r * (v_l - v_r)) / (z_l + z_r)
            flowing = (z_l * v_l + z_r * v_r + p_l - p_r) / (z_l + z_r)
            expected[of_v], expected[of_p] = p_sign * flowing, v_sign * between
            crossing.append(of_v)
            pressing.append(of_p)
        np.testing.assert_allclose(flux, expected, atol=1e-12)
        # Velocity, or E along the wall, is zero at walls; pressure, traction, or H along it, where they are free.
        at_wall, at_free = (pressing, crossing) if law is Maxwell else (crossing, pressing)
        np.testing.assert_allclose(wall[np.array(at_wall)], 0, atol=1e-13)
        np.testing.assert_allclose(free[np.array(at_free)], 0, atol=1e-13)
        assert np.min(np.max(np.abs(wall[np.array(at_free)]), axis=1)) > 0.01


def of_pulse(law, p, v):
    """Fields of a wave along x, from what presses and what flows."""
    if law is Maxwell:
        return jnp.stack([0 * p, p, 0 * p, 0 * p, 0 * p, v])
    return jnp.stack([-p if law is Elasticity else p, v])


@pytest.mark.float64
@pytest.mark.parametrize("law", [Acoustics, Elasticity, Maxwell])
def test_a_pulse_is_reflected_and_transmitted_at_an_interface(law):
    """Heavy and stiff beyond the middle: impedances 1 and 3.2, speeds 1 and 0.8."""
    step = lambda low, high: lambda x: jnp.where(x[0] < 0.5, low, high)  # noqa: E731
    coefficients = {
        Acoustics: (step(1.0, 4.0), step(1.0, 2.56)),
        Elasticity: (step(1.0, 4.0), step(0.6, 1.36), step(0.3, 0.9)),
        Maxwell: (step(1.0, 1 / 2.56), step(1.0, 4.0)),
    }[law]
    equation = law(*coefficients)
    grid = pj.Grid(240, 1.0, periodic=False, points="centres")
    pulse = lambda s: jnp.exp(-(((s - 0.25) / 0.05) ** 2))  # noqa: E731
    stepper = pj.TimeStepper(equation, pj.FiniteVolume(grid, WENO(5), FluxWaves(), Outflow()), 0.1, 50, SSPRK3())

    @jax.jit
    def evaluated():
        x = grid.coordinates()
        frames = [equation.state(x, of_pulse(law, pulse(x[0]), pulse(x[0])))]
        frames += list(pj.rollout(stepper, frames[0], 5))
        there = jnp.where(x[0] < 0.5, x[0], 0.5 + (x[0] - 0.5) / 0.8) - 0.5
        back = jnp.where(x[0] < 0.5, 2.2 / 4.2 * pulse(0.5 - x[0]), 0.0)
        p = jnp.where(x[0] < 0.5, 1.0, 6.4 / 4.2) * pulse(there) + back
        v = jnp.where(x[0] < 0.5, 1.0, 2 / 4.2) * pulse(there) - back
        energy = jnp.stack([jnp.sum(equation.energy(x, frame)) for frame in frames])
        return equation.fields(x, frames[-1]), of_pulse(law, p, v), energy

    fields, expected, energy = evaluated()
    np.testing.assert_allclose(fields, expected, atol=0.012)
    assert np.all(np.diff(energy) < 1e-9 * energy[0]) and energy[-1] > 0.995 * energy[0]


@pytest.mark.float64
def test_the_energy_is_that_of_the_textbook():
    """Of fields that are constant, in media that are."""
    density, bulk, shear, permittivity, permeability = 1.2, 2.0, 0.7, 1.3, 0.6
    x = jnp.zeros((2, 1))
    w = np.random.default_rng(5).normal(size=6)
    p, v, electric, magnetic = w[0], w[1:3], w[:3], w[3:]
    # Two strains and a shear, nothing along z, and the momentum.
    (e_xx, e_yy, g_xy), momentum = w[:3], w[3:5]
    deviator = np.array([[e_xx, g_xy / 2, 0], [g_xy / 2, e_yy, 0], [0, 0, 0]]) - np.eye(3) * (e_xx + e_yy) / 3
    stretched = bulk * (e_xx + e_yy) ** 2 / 2 + shear * np.sum(deviator**2) + momentum @ momentum / (2 * density)
    sound, solid, glow = (
        Acoustics(density, bulk),
        Elasticity(density, bulk, shear),
        Maxwell(permittivity, permeability),
    )
    column = lambda *parts: jnp.asarray(np.hstack(parts))[:, None]  # noqa: E731
    expected = [
        p**2 / (2 * bulk) + density * v @ v / 2,
        stretched,
        permittivity * electric @ electric / 2 + permeability * magnetic @ magnetic / 2,
    ]
    found = [
        sound.energy(x, sound.state(x, column(p, v))),
        solid.energy(x, column(w[:3], momentum)),
        glow.energy(x, glow.state(x, column(electric, magnetic))),
    ]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-13)


@pytest.mark.float64
def test_cells_beside_a_jump_have_the_courant_rate_of_the_faster_side():
    """Speeds of 1 and, in four cells of twelve, 2: at both ends of these the cell beside them is as fast."""
    fast = lambda slow, value: lambda x: jnp.where(jnp.abs(x[0] - 0.5) < 1 / 6, value, slow)  # noqa: E731
    reading = pj.FiniteVolume(pj.Grid(12, 1.0, points="centres"), riemann=FluxWaves())
    expected = 12 * np.array([1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1])
    for law in (
        Acoustics(fast(1.0, 0.5), fast(1.0, 2.0)),
        Elasticity(fast(1.0, 0.5), fast(0.6, 1.2), fast(0.3, 0.6)),
        Maxwell(fast(1.0, 0.5), fast(1.0, 0.5)),
    ):
        u = jnp.zeros((len(law.components(1)), 12))
        np.testing.assert_allclose(reading.courant_rates(law, 0.0, u), expected, rtol=1e-12)


class Medium(eqx.Module):
    """`1 / c = 1 + a sin(2 pi x)`, where the impedance is 1.7: density and bulk modulus are the slowness and the speed
    times the impedance, and no wave is reflected."""

    strength: jax.Array
    power: int = eqx.field(static=True)

    def __call__(self, x):
        return 1.7 * (1 + self.strength * jnp.sin(2 * jnp.pi * x[0])) ** self.power


def matched(strength):
    strength = jnp.asarray(strength)
    return Acoustics(Medium(strength, 1), Medium(strength, -1))


def travelled(x, t, strength):
    """Pressure and velocity of a wave of one direction, a function of its travel time."""
    arrival = x - strength * (jnp.cos(2 * jnp.pi * x) - 1) / (2 * jnp.pi) - t
    p = 1.0 + jnp.sin(2 * jnp.pi * arrival)
    return jnp.stack([p, p / 1.7])


@pytest.mark.float64
@pytest.mark.parametrize(("reconstruction", "order"), [(MUSCL(), 2), (WENO(5), 5)])
def test_the_order_where_the_medium_is_smooth(reconstruction, order):
    """That of the reconstruction, for values at the centres, since what flows is linear in the fields."""

    def error(n):
        grid, law = pj.Grid(n, 1.0, points="centres"), matched(0.5)
        stepper = pj.TimeStepper(law, pj.FiniteVolume(grid, reconstruction, FluxWaves()), 0.6, int(2.5 * n), SSPRK3())

        @jax.jit
        def evaluated():
            x = grid.coordinates()
            end = stepper(law.state(x, travelled(x[0], 0.0, 0.5)))
            return jnp.mean(jnp.abs(law.fields(x, end) - travelled(x[0], 0.6, 0.5)))

        return float(evaluated())

    errors = [error(n) for n in (40, 80)]
    (observed,) = observed_orders(errors, [2.0, 1.0])
    assert abs(observed - order) < 0.3, errors


@pytest.mark.float64
def test_two_readings_agree_where_the_medium_varies_in_the_plane():
    wavy = lambda mean, part: lambda x: mean + part * jnp.sin(x[0] + 0.3) * jnp.cos(2 * x[1] - x[0])  # noqa: E731
    law, grid = Elasticity(wavy(1.2, 0.4), wavy(2.0, -0.5), wavy(0.7, 0.3)), pj.Grid((36, 44), 2 * np.pi)

    @jax.jit
    def evaluated():
        x = grid.coordinates()
        u = law.state(x, jnp.stack([jnp.sin(x[0] + k % 2 * x[1]) + k * jnp.cos(x[1] - k) for k in range(5)]))
        volumes = pj.FiniteVolume(grid, WENO(5), FluxWaves())
        return volumes.tendency(law, 0.0, u), pj.Spectral(grid).tendency(law, 0.0, u)

    by_volumes, by_series = evaluated()
    np.testing.assert_allclose(by_volumes, by_series, atol=1e-5 * float(jnp.max(jnp.abs(by_series))))


def layered(low, high):
    """Blocks that jump, on all axes."""
    return lambda x: jnp.where(jnp.prod(jnp.sin(9 * x + 1.0), axis=0) > 0, low, high * (1 + 0.5 * jnp.sin(20 * x[0])))


@pytest.mark.float64
@pytest.mark.parametrize(
    "law",
    [
        Acoustics(layered(1.0, 0.002), layered(3.0, 0.1)),
        Elasticity(layered(1.0, 5.0), layered(2.0, 9.0), layered(0.1, 4.0)),
        Maxwell(layered(1.0, 9.0), layered(2.0, 1.0)),
    ],
    ids=["sound", "solid", "light"],
)
def test_energy_never_grows_and_constant_fields_stay(law):
    grid = pj.Grid((11, 14), (1.0, 1.3), points="centres")
    random = np.random.default_rng(1).normal(size=(len(law.components(2)), 11, 14))
    readings = [pj.FiniteVolume(grid, of, FluxWaves()) for of in (PiecewiseConstant(), MUSCL())]

    @jax.jit
    def evaluated():
        x = grid.coordinates()
        u, ones = law.state(x, jnp.asarray(random)), jnp.ones_like(random)
        still = law.state(x, ones * jnp.arange(1.0, len(random) + 1)[:, None, None])
        rates = [(one.tendency(law, 0.0, u), one.tendency(law, 0.0, still)) for one in readings]
        return rates, jnp.sum(random * rates[0][0]), jnp.sum(law.energy(x, u))

    rates, power, energy = evaluated()
    for rate, at_rest in rates:
        scale = float(jnp.max(jnp.abs(rate)))
        np.testing.assert_allclose(jnp.sum(rate, axis=(1, 2)), 0, atol=1e-12 * scale)
        np.testing.assert_allclose(at_rest, 0, atol=1e-11 * scale)
    assert power < -0.1 * energy


@pytest.mark.float64
def test_a_rayleigh_wave_runs_along_a_free_surface():
    """`(2 - c^2 / b^2)^2 = 4 q s` with b the speed of shear and q, s the decay of both potentials into the depth."""
    density, bulk, shear = 1.2, 2.0, 0.9
    of_p, of_s = np.sqrt((bulk + 4 * shear / 3) / density), np.sqrt(shear / density)
    decay = lambda c: (np.sqrt(1 - c**2 / of_p**2), np.sqrt(1 - c**2 / of_s**2))  # noqa: E731
    low, high = 0.5 * of_s, 0.999 * of_s
    for _ in range(60):
        c = (low + high) / 2
        q, s = decay(c)
        low, high = (c, high) if (1 + s**2) ** 2 < 4 * q * s else (low, c)
    (q, s), k = decay(c), 2 * np.pi

    def displacement(x, y, t):
        compressed, sheared, phase = jnp.exp(k * q * y), 2 * q / (1 + s**2) * jnp.exp(k * s * y), k * (x - c * t)
        return jnp.stack([jnp.sin(phase) * (s * sheared - compressed), jnp.cos(phase) * (q * compressed - sheared)])

    def exact(*place):
        slope = jax.jacfwd(lambda at: displacement(*at))(jnp.stack(place))
        strain = [slope[0, 0], slope[1, 1], slope[0, 1] + slope[1, 0]]
        return jnp.stack([*strain, density * slope[0, 2], density * slope[1, 2]])

    law, walls = Elasticity(density, bulk, shear), {"y+": Reflecting(free=True), "y-": Reflecting()}
    check_equation(law, exact, extent=1.0, origin=(0.0, -1.0), ndim=2, periodic=False)
    grid = pj.Grid((16, 32), (1.0, 2.0), origin=(0.0, -2.0), periodic=(True, False), points="centres")
    stepper = pj.TimeStepper(law, pj.FiniteVolume(grid, WENO(5), FluxWaves(), walls), 0.5 / c, 100, SSPRK3())

    @jax.jit
    def evaluated():
        at = lambda t: jax.vmap(jax.vmap(exact, (0, 0, None), 1), (0, 0, None), 1)(*grid.coordinates(), t)  # noqa: E731
        return jnp.mean(jnp.abs(stepper(at(0.0)) - at(0.5 / c))), jnp.mean(jnp.abs(at(0.5 / c)))

    error, size = evaluated()
    assert error < 0.06 * size, (error, size)


@pytest.mark.float64
def test_the_gradient_in_the_medium():
    grid = pj.Grid(16, 1.0, points="centres")
    reading = pj.FiniteVolume(grid, PiecewiseConstant(), FluxWaves())
    u = matched(0.3).state(grid.coordinates(), travelled(grid.axes[0], 0.0, 0.3))

    def loss(strength):
        return jnp.sum(pj.TimeStepper(matched(strength), reading, 0.2, 8, SSPRK3())(u)[0] ** 2)

    slope, rise = jax.jit(lambda gap: (jax.grad(loss)(0.3), loss(0.3 + gap) - loss(0.3 - gap)))(1e-5)
    np.testing.assert_allclose(slope, rise / 2e-5, rtol=1e-6)


def test_media_that_are_none_are_refused():
    grid = pj.Grid((4, 5), 1.0, points="centres")
    reading = pj.FiniteVolume(grid, riemann=FluxWaves())
    hole = lambda x: jnp.where((x[0] > 0.5) & (x[1] > 0.8), -2.0, 1.0)  # noqa: E731
    zero = jnp.zeros((6, 4, 5))
    with pytest.raises(ValueError, match=r"bulk_modulus must be positive and finite; at x = \(0.625, 0.9\) it is -2"):
        pj.solve(Acoustics(1.0, hole), reading, zero[:3], [0.0, 0.1])
    with pytest.raises(ValueError, match=r"shear_modulus must be positive and finite; at x = .* it is inf"):
        pj.solve(Elasticity(1.0, 1.0, lambda x: 1 / hole(x) * jnp.inf), reading, zero[:5], [0.0, 0.1])
    with pytest.raises(ValueError, match=r"conductivity must be finite and not negative; at x = .* it is -2"):
        pj.solve(Maxwell(1.0, 1.0, hole), reading, zero, [0.0, 0.1])
    with pytest.raises(ValueError, match=r"Maxwell reads permeability of the place: .*riemann=FluxWaves\(\)"):
        pj.solve(Maxwell(1.0, everywhere(1.0)), pj.FiniteVolume(grid, riemann=HLL()), zero, [0.0, 0.1])
    # Nobody has to know which: the default is the law's.
    assert isinstance(Maxwell(1.0, everywhere(1.0)).default_flux(), FluxWaves)
    with pytest.raises(ValueError, match="density must be > 0, got 0"):
        Acoustics(0.0, 1.0)
    with pytest.raises(ValueError, match="conductivity must be >= 0"):
        Maxwell(1.0, 1.0, -0.1)
    with pytest.raises(ValueError, match="Burgers does not state surfaces that are free"):
        walls = pj.Grid(6, 1.0, periodic=False, points="centres")
        free = pj.FiniteVolume(walls, boundary=Reflecting(free=True))
        free.tendency(InviscidBurgers(), 0.0, jnp.ones((1, 6)))


@pytest.mark.float64
def test_constant_media_take_any_numerical_flux():
    """Roe's flux is that of the flux waves; HLL and Rusanov smear shear."""
    law, random = Elasticity(1.2, 2.0, 0.7), np.random.default_rng(3)
    left, right = jnp.asarray(random.normal(size=(2, 5, 3)))
    roe, waves, hll, rusanov = (solver(law, left, right, 1) for solver in (Roe(), FluxWaves(), HLL(), Rusanov()))
    np.testing.assert_allclose(roe, waves, atol=1e-13)
    np.testing.assert_allclose(hll, rusanov, atol=1e-13)
    assert jnp.max(jnp.abs(hll - roe)) > 0.1
