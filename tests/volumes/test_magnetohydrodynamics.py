"""Magnetohydrodynamics: the flux against Maxwell's stress, waves where they coincide, exact solutions, jumps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Outflow, Reflecting
from pdejax.equations import Euler, Magnetohydrodynamics
from pdejax.testing import check_equation, observed_orders
from pdejax.volumes import HLL, HLLC, HLLD, MUSCL, WENO, PiecewiseConstant, Roe, divergence, solenoidal_field
from pdejax.volumes.constrained_transport import constrained

LAW = Magnetohydrodynamics(1.7)


def turned(axis):
    """Where the components go when x, y, z become the axes from `axis` on."""
    return np.array([0, *(1 + (k - axis) % 3 for k in range(3)), *(4 + (k - axis) % 3 for k in range(3)), 7])


def primitives(count=6, seed=0):
    random = np.random.default_rng(seed)
    w = random.uniform(-1, 1, (8, count))
    w[[0, 7]] = random.uniform(0.2, 2, (2, count))
    return w


def degenerate():
    """No field through the face; none along it; none at all; the fast, the slow and the rotation as fast as sound;
    all of this nearly."""
    w = primitives(24, 3)
    w[4, :4] = 0
    w[5:7, 4:8] = 0
    w[4:7, 8:12] = 0
    w[4, 12:20] = np.sqrt(1.7 * w[7, 12:20]) * np.array([1, -1] * 4)
    w[5:7, 12:16] = 0
    w[5:7, 16:20] *= 1e-9
    w[5:7, 20:24] *= 1e-5
    return w


def advanced(law, reading, u, time, steps):
    """SSPRK3 with its three stages in one loop, so that the tendency is compiled once."""
    h, kept = time / steps, jnp.array([0.0, 0.75, 1 / 3])

    def step(_, u):
        stage = lambda i, y: kept[i] * u + (1 - kept[i]) * (y + h * reading.tendency(law, 0.0, y))  # noqa: E731
        return jax.lax.fori_loop(0, 3, stage, u)

    return jax.jit(lambda u: jax.lax.fori_loop(0, steps, step, u))(u)


@pytest.mark.float64
def test_the_flux_is_that_of_maxwells_stress_and_of_induction():
    w = primitives()
    density, v, b, pressure = w[0], w[1:4], w[4:7], w[7]
    field = -np.cross(v, b, axis=0)
    poynting = np.cross(field, b, axis=0)
    stress = np.einsum("ip,jp->ijp", b, b) - np.eye(3)[..., None] * np.sum(b * b, axis=0) / 2
    momentum = density * np.einsum("ip,jp->ijp", v, v) + np.eye(3)[..., None] * pressure - stress
    levi_civita = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        levi_civita[i, j, k], levi_civita[i, k, j] = 1, -1
    # (curl E)_i = sum of e_iak dE_k / dx_a.
    induction = np.einsum("iak,kp->aip", levi_civita, field)
    energy = (density * np.sum(v * v, axis=0) / 2 + 1.7 / 0.7 * pressure) * v + poynting
    u = LAW.conserved(jnp.asarray(w))
    for axis in range(3):
        expected = np.concatenate([[density * v[axis]], momentum[axis], induction[axis], [energy[axis]]])
        np.testing.assert_allclose(LAW.flux(u, axis), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(LAW.primitive(u), w, rtol=1e-12)


@pytest.mark.float64
def test_waves_are_those_of_the_flux_even_where_they_coincide():
    """Seven of a field that is constant along the axis; with Powell's source the eighth, too, which goes with the gas.
    Their speeds are those of the textbook's polynomial, and the same along all axes."""
    w = np.concatenate([primitives(), degenerate()], axis=1)
    count = w.shape[1]
    sound, alfven = 1.7 * w[7] / w[0], w[4:7] ** 2 / w[0]
    both = [np.roots([1, -(a + sum(b)), a * b[0]]) for a, b in zip(sound, alfven.T, strict=True)]
    slow, fast = np.sqrt(np.maximum(np.sort(np.real(both), axis=1), 0)).T
    relative = np.stack([fast, np.sqrt(alfven[0]), slow, 0 * fast])
    expected = np.concatenate([w[1] - relative, w[1] + relative[::-1]])

    @jax.jit
    def waves(u):
        jacobians = [jax.vmap(jax.jacfwd(lambda v, a=a: LAW.flux(v[:, None], a)[:, 0]), 1, 2)(u[a]) for a in range(3)]
        systems = [LAW.eigensystem(u[a], u[a], a) for a in range(3)]
        return jacobians, systems, [LAW.wave_speeds(u[a], u[a], a) for a in range(3)]

    u = jnp.stack([LAW.conserved(jnp.asarray(w[turned(axis)])) for axis in range(3)])
    for axis, jacobian, (speeds, to_state, to_waves), (slowest, fastest) in zip(range(3), *waves(u), strict=True):
        # Where speeds coincide roots of the polynomial have half the digits.
        np.testing.assert_allclose(speeds, expected, atol=2e-7)
        np.testing.assert_allclose(speeds[:, :6], expected[:, :6], rtol=1e-11, atol=1e-12)
        identity = np.broadcast_to(np.eye(8)[..., None], (8, 8, count))
        np.testing.assert_allclose(np.einsum("wcp,cvp->wvp", to_waves, to_state), identity, atol=1e-12)
        rest = np.einsum("cdp,dwp->cwp", jacobian, to_state) - to_state * speeds
        np.testing.assert_allclose(rest[:, [0, 1, 2, 3, 5, 6, 7]], 0, atol=1e-12)
        v, b = w[1:4][turned(axis)[1:4] - 1], w[4:7][turned(axis)[1:4] - 1]
        np.testing.assert_allclose(rest[1:4, 4], -b, atol=1e-12)
        np.testing.assert_allclose(rest[4:7, 4], -v, atol=1e-12)
        np.testing.assert_allclose(rest[7, 4], -np.sum(v * b, axis=0), atol=1e-12)
        np.testing.assert_allclose(slowest, speeds[0], atol=1e-12)
        np.testing.assert_allclose(fastest, speeds[-1], atol=1e-12)


@pytest.mark.float64
def test_fluxes_are_consistent_upwind_symmetric_and_alike_along_axes():
    """Of one field through a face, as in the exact problem."""
    left, right = (np.concatenate([primitives(6, seed), degenerate()], 1) for seed in (0, 1))
    fast, faster = left.copy(), right.copy()
    fast[1], faster[1] = 9.0, 9.5
    right[4], faster[4] = left[4], left[4]
    mirror = np.ones((8, 1))
    mirror[[1, 4]] = -1
    # Of one state; between two; their mirror image; between two that outrun their waves.
    lower, upper = [left, left, mirror * right, fast], [left, right, mirror * left, faster]
    for solver in (HLL(), HLLD(), Roe()):
        found = []
        for axis in (0, 2):
            u, v = (LAW.conserved(jnp.asarray(np.concatenate(w, 1)[turned(axis)])) for w in (lower, upper))
            flux = jax.jit(lambda u, v, s=solver, a=axis: s(LAW, u, v, a))(u, v)
            found.append(np.asarray(flux)[np.argsort(turned(axis))])
        np.testing.assert_allclose(found[0], found[1], atol=1e-10)
        same, between, mirrored, upwind = np.split(found[0], 4, axis=1)
        # States behind fast waves that are nearly rotations: half the digits.
        loose = 1e-8 if isinstance(solver, HLLD) else 1e-12
        np.testing.assert_allclose(same, LAW.flux(LAW.conserved(jnp.asarray(left)), 0), atol=loose)
        np.testing.assert_allclose(mirrored, -mirror * between, atol=1e-10)
        if not isinstance(solver, Roe):  # whose mean is not quite that of the jump
            np.testing.assert_allclose(upwind, LAW.flux(LAW.conserved(jnp.asarray(fast)), 0), rtol=1e-9, atol=1e-9)


@pytest.mark.float64
def test_the_fan_meets_both_states_and_is_admissible():
    """Its jumps add up to that of the flux, contacts and rotations at rest stay sharp, and without a field it is HLLC's
    of a gas."""
    ends = [primitives(300, seed) for seed in (4, 5)]
    random = np.random.default_rng(6)
    for w in ends:
        # The last ones of very unequal strengths: where the fan fails it is HLL's.
        w[:, 40:] *= 10 ** random.uniform([[-2]] * 8, np.array([[1, 1, 1, 1, 1, 1, 1, 2]]).T, (8, 260))
    left, right = (LAW.conserved(jnp.asarray(w)) for w in ends)
    speeds, states = jax.jit(lambda u, v: LAW.fan(u, v, 0))(left, right)
    of_fan = jax.jit(lambda u, v: HLLD()(LAW, u, v, 0))
    jumps = np.sum(speeds[:, None] * np.diff(states, axis=0), axis=0)
    np.testing.assert_allclose(jumps, LAW.flux(states[-1], 0) - LAW.flux(states[0], 0), atol=1e-12)
    assert np.all(np.diff(speeds[:, :40], axis=0) > 0)
    is_hll = np.all(np.asarray(states[1] == states[4]), axis=0)
    assert np.all(~is_hll[:40]) and 0 < np.sum(is_hll) < 60
    for u in states:
        assert bool(jnp.all(LAW.admissible(u)))
        np.testing.assert_allclose(u[4], (ends[0][4] + ends[1][4]) / 2)
    np.testing.assert_allclose(LAW.pressure(states[0]), ends[0][7], rtol=1e-10)
    # A rotation does no work on the gas: what is admissible behind the fast waves stays so between the rotations.
    for behind, turned_state in ((1, 2), (4, 3)):
        of_both = (LAW.pressure(states[k])[:40] for k in (behind, turned_state))
        np.testing.assert_allclose(*of_both, rtol=1e-9)
    assert np.max(np.abs(states[2] - states[1])[5:7, :40]) > 0.1

    contact = np.tile(primitives(1, 6), 2)
    contact[0, 1], contact[1] = 0.3, 0.0
    # A field that turns about the normal, and the gas with it, in a flow that holds the wave at rest.
    rotation = np.tile(primitives(1, 7), 2)
    rotation[4], rotation[5:7] = 0.8, [[0.6, -0.36], [0.0, 0.48]]
    rotation[1] = -0.8 / np.sqrt(rotation[0])
    rotation[2:4, 1] -= (rotation[5:7, 1] - rotation[5:7, 0]) / np.sqrt(rotation[0, 0])
    u, v = (LAW.conserved(jnp.asarray(np.stack([contact[:, i], rotation[:, i]], axis=1))) for i in (0, 1))
    np.testing.assert_allclose(LAW.flux(u, 0), LAW.flux(v, 0), atol=1e-13)
    np.testing.assert_allclose(of_fan(u, v), LAW.flux(u, 0), atol=1e-13)
    assert np.all(np.max(np.abs(HLL()(LAW, u, v, 0) - LAW.flux(u, 0)), axis=0) > 0.02)

    bare = [np.concatenate([w[:4], 0 * w[4:7], w[7:]]) for w in ends]
    here = of_fan(*(LAW.conserved(jnp.asarray(w)) for w in bare))

    class Bounded(Euler):
        def wave_speeds(self, left, right, axis):
            one, other = left[1 + axis] / left[0], right[1 + axis] / right[0]
            sound = jnp.maximum(self.speed_of_sound(left), self.speed_of_sound(right))
            return jnp.minimum(one, other) - sound, jnp.maximum(one, other) + sound

    gas = Bounded(1.7)
    there = jax.jit(lambda u, v: HLLC()(gas, u, v, 0))(*(gas.conserved(jnp.asarray(w[[0, 1, 2, 3, 7]])) for w in bare))
    np.testing.assert_allclose(here[jnp.array([0, 1, 2, 3, 7])], there, atol=1e-12)


@pytest.mark.float64
def test_a_rotating_wave_satisfies_the_law():
    """Alfven's, circularly polarised: exact at any amplitude. It runs obliquely, and has all eight components."""

    def wave(x, y, t):
        sine, cosine, one = 0.3 * jnp.sin(x + y - t), 0.3 * jnp.cos(x + y - t), 1 + 0 * x
        # Along (1, 1): speed 1 / sqrt(2), field 1, density 2.
        along, across = jnp.array([1.0, 1.0, 0.0]) / 2**0.5, jnp.array([-1.0, 1.0, 0.0]) / 2**0.5
        turning = across * sine + jnp.array([0.0, 0.0, 1.0]) * cosine
        energy = (0.6 / 0.7 + 0.09 + 0.5) * one
        return jnp.stack([2 * one, *(-(2**0.5) * turning), *(along + turning), energy])

    check_equation(LAW, wave, extent=2 * np.pi, ndim=2, num_points=12, periodic=False)


@pytest.mark.float64
def test_a_rotating_wave_converges_with_fifth_order_along_a_line():
    def error(n):
        grid = pj.Grid(n, 1.0, points="centres")
        edges = 2 * np.pi * np.linspace(0, 1, n + 1)
        sine, cosine = (np.diff(f) / np.diff(edges) * 0.1 for f in (-np.cos(edges), np.sin(edges)))
        one = np.ones(n)
        u = jnp.stack([one, 0 * one, -sine, -cosine, one, sine, cosine, (0.1 / 0.7 + 0.01 + 0.5) * one])
        reading = pj.FiniteVolume(grid, WENO(5), HLLD())
        # Once through the box.
        end = advanced(LAW, reading, u, 1.0, int(np.ceil(40 * (n / 16) ** (5 / 3))))
        np.testing.assert_allclose(end[4], 1.0, rtol=1e-14)
        return float(jnp.mean(jnp.abs(end - u)[5]))

    (observed,) = observed_orders([error(14), error(21)], [1 / 14, 1 / 21])
    assert 4.6 <= observed <= 5.4


@pytest.mark.float64
def test_a_rotating_wave_that_runs_obliquely_converges_with_second_order_and_stays_without_charges():
    def error(shape):
        grid = pj.Grid(shape, (2.0, 1.0), points="centres")
        k = 2 * np.pi * np.array([0.5, 1.0])
        size = np.linalg.norm(k)
        (nx, ny), h = k / size, np.asarray(grid.spacing)

        def phase(x, t=0.0):
            return k[0] * x[0] + k[1] * x[1] - size * t

        def averages(t):
            share = 0.1 * np.prod(np.sinc(k * h / (2 * np.pi)))
            p = phase(np.asarray(grid.coordinates()), t)
            s, c, one = share * np.sin(p), share * np.cos(p), np.ones_like(p)
            energy = (0.1 / 0.7 + 0.01 + 0.5) * one
            return np.stack([one, ny * s, -nx * s, -c, nx - ny * s, ny + nx * s, c, energy])

        potential = lambda x: nx * x[1] - ny * x[0] + 0.1 / size * jnp.cos(phase(x))  # noqa: E731
        field = jax.jit(lambda: solenoidal_field(potential, grid))()
        start = averages(0.0)
        assert np.max(np.abs(start[4:6] - field)) < 0.02 * h[0]
        start[4:6] = field
        end = advanced(LAW, pj.FiniteVolume(grid, WENO(5), HLL()), jnp.asarray(start), 0.2, shape[0])
        charges = jax.jit(lambda b: divergence(b, grid))
        for u in (field, end[4:6]):
            np.testing.assert_allclose(charges(u), 0, atol=1e-12)
        np.testing.assert_allclose(np.mean(end, axis=(1, 2)), np.mean(start, axis=(1, 2)), atol=1e-14)
        return np.mean(np.abs(end - averages(0.2)))

    (observed,) = observed_orders([error((16, 12)), error((32, 24))], [2.0, 1.0])
    assert abs(observed - 2) <= 0.15


ENDS = (1.0, 0.0, 0.0, 0.0, 0.75, 1.0, 0.0, 1.0), (0.125, 0.0, 0.0, 0.0, 0.75, -1.0, 0.0, 0.1)
BRIO_WU = Magnetohydrodynamics(2.0)


def rarefied(w, density, sign):
    """The state behind a fast rarefaction, at this density: Runge and Kutta along `dw / d rho`, gamma = 2; density,
    velocity, field along y and pressure. `sign` is the wave's direction."""

    def slope(w):
        rho, _, _, b, p = w
        sound, along, whole = 2 * p / rho, 0.75**2 / rho, (0.75**2 + b**2) / rho
        square = (sound + whole + np.sqrt((sound + whole) ** 2 - 4 * sound * along)) / 2
        bend = b * square / (square - along) / rho
        c = sign * np.sqrt(square)
        return np.array([1.0, c / rho, -0.75 * bend / (c * rho), bend, sound])

    h = (density - w[0]) / 50
    for _ in range(50):
        a = slope(w)
        b = slope(w + h / 2 * a)
        c = slope(w + h / 2 * b)
        w = w + h / 6 * (a + 2 * b + 2 * c + slope(w + h * c))
    return w


@pytest.mark.float64
def test_the_tube_of_brio_and_wu_has_the_jumps_that_its_waves_allow():
    """Behind both fast rarefactions the states of their curves; Rankine and Hugoniot's conditions across the slow
    shock, and its place; velocity, field and pressure alike on both sides of the contact; everything kept."""
    n, time = 400, 0.1
    grid = pj.Grid(n, 1.0, periodic=False)
    x, (left, right) = np.asarray(grid.axes[0]), (np.asarray(w) for w in ENDS)
    start = BRIO_WU.conserved(jnp.where(grid.coordinates() < 0.5, left[:, None], right[:, None]))
    u = advanced(BRIO_WU, pj.FiniteVolume(grid, MUSCL(), HLLD(), Outflow(), variables="primitive"), start, time, 320)
    w = np.asarray(BRIO_WU.primitive(u))
    assert w[0].min() > 0.11 and w[7].min() > 0.08
    np.testing.assert_allclose(w[4], 0.75, rtol=1e-13)
    np.testing.assert_allclose(w[[3, 6]], 0, atol=1e-13)
    # What crosses the two ends, where nothing has arrived.
    through = BRIO_WU.flux(BRIO_WU.conserved(jnp.asarray(np.stack([left, right], axis=1))), 0)
    kept = jnp.mean(u - start, axis=1) + time * (through[:, 1] - through[:, 0])
    np.testing.assert_allclose(kept, 0, atol=1e-12)

    seen = [0, 1, 2, 5, 7]
    first, inner, outer, last = (
        w[:, (x > a) & (x < b)].mean(axis=1) for a, b in ((0.43, 0.46), (0.49, 0.53), (0.59, 0.63), (0.66, 0.8))
    )
    np.testing.assert_allclose(first[seen], rarefied(left[seen], first[0], -1), atol=2e-3)
    np.testing.assert_allclose(last[seen], rarefied(right[seen], last[0], 1), atol=2e-3)
    assert inner[0] > 2 * outer[0]
    np.testing.assert_allclose(inner[[1, 2, 5, 7]], outer[[1, 2, 5, 7]], atol=2e-3)
    before, behind = (BRIO_WU.conserved(jnp.asarray(v)[:, None]) for v in (last, outer))
    jump, thrust = (np.asarray(f)[:, 0] for f in (behind - before, BRIO_WU.flux(behind, 0) - BRIO_WU.flux(before, 0)))
    speed = np.sum(jump * thrust) / np.sum(jump * jump)
    np.testing.assert_allclose(thrust, speed * jump, atol=1e-2)
    # Where half of the density is reached.
    place = x[(x > 0.6) & (w[0] < (outer[0] + last[0]) / 2)][0]
    assert abs(place - (0.5 + speed * time)) < 2 / n


@pytest.mark.float64
def test_the_tube_is_the_same_along_another_axis_in_space():
    """And with space around it: constrained transport leaves what varies along one axis as it is."""
    w = np.where(np.arange(16) < 8, np.asarray(ENDS[0])[:, None], np.asarray(ENDS[1])[:, None])
    w = w + 0.1 * np.random.default_rng(0).uniform(size=w.shape)
    w[4] = 0.75
    line = pj.FiniteVolume(pj.Grid(16, 1.0, periodic=False), PiecewiseConstant(), HLL(), Outflow())
    expected = jax.jit(lambda u: line.tendency(BRIO_WU, 0.0, u))(BRIO_WU.conserved(jnp.asarray(w)))
    for axis, ndim in ((1, 3),):
        shape = [16 if a == axis else 3 + a for a in range(ndim)]
        spread = w[turned(axis)].reshape(8, *[16 if a == axis else 1 for a in range(ndim)])
        u = BRIO_WU.conserved(jnp.broadcast_to(spread, (8, *shape)))
        extent = [1.0 if a == axis else 0.7 for a in range(ndim)]
        grid = pj.Grid(shape, extent, [a != axis for a in range(ndim)], points="centres")
        reading = pj.FiniteVolume(grid, PiecewiseConstant(), HLL(), Outflow())
        rate = jax.jit(lambda u, r=reading: r.tendency(BRIO_WU, 0.0, u))(u)
        for place in (0, -1):
            along = jnp.moveaxis(rate, axis + 1, 1).reshape(8, 16, -1)[..., place]
            np.testing.assert_allclose(along[np.argsort(turned(axis))], expected, atol=1e-11)


@pytest.mark.float64
def test_a_vortex_of_shocks_keeps_its_symmetry_and_has_no_charges():
    """Orszag and Tang's, on unequal sizes: symmetric about the centre, all eight sums kept, pressures positive."""
    grid = pj.Grid((24, 28), 1.0, points="centres")
    x, y = 2 * np.pi * np.asarray(grid.coordinates())
    size, one, law = 1 / np.sqrt(4 * np.pi), np.ones_like(x), Magnetohydrodynamics(5 / 3)
    potential = lambda x: size * (jnp.cos(4 * np.pi * x[0]) / 2 + jnp.cos(2 * np.pi * x[1])) / (2 * np.pi)  # noqa: E731
    field = jax.jit(lambda: solenoidal_field(potential, grid))()
    np.testing.assert_allclose(field, size * np.stack([-np.sin(y), np.sin(2 * x)]), atol=0.03)
    w = [25 / (36 * np.pi) * one, -np.sin(y), np.sin(x), 0 * one, *field, 0 * one, 5 / (12 * np.pi) * one]
    start = law.conserved(jnp.asarray(np.stack(w)))
    reading = pj.FiniteVolume(grid, MUSCL(), HLLD(), variables="primitive")
    u = advanced(law, reading, start, 0.3, 80)
    np.testing.assert_allclose(divergence(u[4:6], grid), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.mean(u, axis=(1, 2)), jnp.mean(start, axis=(1, 2)), atol=1e-14)
    opposite = u[:, ::-1, ::-1] * jnp.array([1.0, -1, -1, -1, -1, -1, -1, 1])[:, None, None]
    np.testing.assert_allclose(u, opposite, atol=1e-12)
    assert bool(jnp.all(law.admissible(u))) and float(jnp.max(u[0])) > 0.38


@pytest.mark.float64
def test_constrained_transport_keeps_the_divergence_whatever_the_fluxes():
    """At every corner, also beside walls, in the plane and in space; other components keep their fluxes."""
    random = np.random.default_rng(8)
    for periodic in ((True, True), (True, False), (False, True, False), (True, True, True)):
        ndim = len(periodic)
        grid = pj.Grid((5, 6, 4)[:ndim], (1.0, 1.3, 0.8)[:ndim], periodic, points="centres")
        walls = tuple(None if p else (Outflow(), Reflecting()) for p in periodic)
        u = LAW.conserved(jnp.asarray(primitives(int(np.prod(grid.shape)), 8).reshape(8, *grid.shape)))
        fluxes = []
        for axis, wraps in enumerate(periodic):
            flux = random.normal(size=(8, *(n + (a == axis) for a, n in enumerate(grid.shape))))
            last = np.moveaxis(flux, axis + 1, 0)
            last[-1] = last[0] if wraps else last[-1]
            fluxes.append(jnp.asarray(flux))
        found = jax.jit(lambda f, u, w=walls, g=grid: constrained(LAW, f, u, (w,) * 8, g))(fluxes, u)
        rate = sum(-np.diff(f, axis=a + 1) / float(grid.spacing[a]) for a, f in enumerate(found))
        charges = divergence(jnp.asarray(rate[4 : 4 + ndim]), grid)
        assert charges.shape == tuple(n if p else n - 1 for n, p in zip(grid.shape, periodic, strict=True))
        np.testing.assert_allclose(charges, 0, atol=1e-11)
        others = [0, 1, 2, 3, *range(4 + ndim, 8)]
        for before, after in zip(fluxes, found, strict=True):
            np.testing.assert_array_equal(np.asarray(before)[others], np.asarray(after)[others])
        for axis in range(ndim):
            assert np.max(np.abs(rate[4 + axis])) > 0.1
    # A field that has charges, by numpy.
    grid = pj.Grid((5, 6), (1.0, 1.3))
    b, (hx, hy) = random.normal(size=(2, 5, 6)), np.asarray(grid.spacing)
    here, below, left, both = (np.roll(b, shift, (1, 2)) for shift in ((0, 0), (0, 1), (1, 0), (1, 1)))
    expected = (here[0] + below[0] - left[0] - both[0]) / (2 * hx) + (here[1] + left[1] - below[1] - both[1]) / (2 * hy)
    np.testing.assert_allclose(divergence(jnp.asarray(b), grid), expected, atol=1e-12)


@pytest.mark.float64
def test_half_of_a_mirror_image_beside_a_conducting_wall_is_half_of_the_whole():
    half = LAW.conserved(jnp.asarray(primitives(42, 9).reshape(8, 6, 7)))
    whole = jnp.concatenate([half, LAW.reflected(jnp.flip(half, 2), 1)], 2)
    first = PiecewiseConstant()
    walled = pj.FiniteVolume(pj.Grid((6, 7), 1.0, (True, False), points="centres"), first, HLL(), Reflecting())
    around = pj.FiniteVolume(pj.Grid((6, 14), (1.0, 2.0), points="centres"), first, HLL())
    rate, expected = (jax.jit(lambda u, r=r: r.tendency(LAW, 0.0, u))(u) for r, u in ((walled, half), (around, whole)))
    np.testing.assert_allclose(rate, expected[:, :, :7], atol=1e-11)


@pytest.mark.float64
def test_potentials_make_fields_without_charges():
    """In a box with walls and a uniform part, and in space: zero to rounding, and the curl to second order."""
    plane = pj.Grid((9, 7), (1.0, 2.0), (True, False), points="centres")
    field = solenoidal_field(lambda x: 0.4 * x[1] - 0.3 * x[0] ** 0 * x[1] ** 2, plane)
    np.testing.assert_allclose(field, jnp.stack([0.4 - 0.6 * plane.coordinates()[1], 0 * field[1]]), atol=1e-13)
    space = pj.Grid((8, 10, 12), 2 * np.pi)
    wave = lambda x: jnp.stack([jnp.sin(x[1]), jnp.sin(x[2]), jnp.sin(x[0])])  # noqa: E731
    field, charges = jax.jit(lambda: (b := solenoidal_field(wave, space), divergence(b, space)))()
    np.testing.assert_allclose(charges, 0, atol=1e-13)
    # Means over a cell of cos(z) from differences across it, those of cos(z) across a face: exact but for the mean of
    # two faces, which for what varies along another axis is nothing.
    x, y, z = np.asarray(space.coordinates())
    h = np.asarray(space.spacing)
    share = np.sinc(h / (2 * np.pi))
    expected = -np.stack([share[2] * np.cos(z), share[0] * np.cos(x), share[1] * np.cos(y)])
    np.testing.assert_allclose(field, expected, atol=1e-13)
    with pytest.raises(ValueError, match="two or three dimensions, got 1"):
        solenoidal_field(lambda x: x[0], pj.Grid(8, 1.0))
    with pytest.raises(ValueError, match=r"The field has shape \(3, 9, 7\)"):
        divergence(jnp.ones((3, 9, 7)), plane)


def test_what_makes_no_sense_is_named():
    grid = pj.Grid(20, 1.0, points="centres")
    w = jnp.ones((8, 20))
    u = LAW.conserved(w)
    reading = pj.FiniteVolume(grid, MUSCL(), HLLD())
    with pytest.raises(ValueError, match=r"no state of Magnetohydrodynamics: its pressure is -4.25 at x = 0.175"):
        pj.solve(LAW, reading, u.at[5, 3].set(4.0), [0.0, 0.1])
    with pytest.raises(ValueError, match=r"Euler does not state the states between its waves \(`HLLD`\)"):
        jax.eval_shape(lambda u: reading.tendency(Euler(1.4), 0.0, u), u[:3])
    with pytest.raises(ValueError, match=r"does not state a middle wave \(`HLLC`\)"):
        jax.eval_shape(lambda u: pj.FiniteVolume(grid, riemann=HLLC()).tendency(LAW, 0.0, u), u)
    with pytest.raises(ValueError, match="dimensions, the grid has 4"):
        LAW.check_grid(pj.Grid((2, 2, 2, 2), 1.0))
    # Where the law has kinks, at no field, derivatives are finite.
    still = LAW.conserved(jnp.ones((8, 1)).at[4:7].set(0.0))
    slope = eqx.filter_jit(eqx.filter_grad(lambda law: jnp.sum(law.wave_speeds(still, 1.1 * still, 0)[1])))(LAW)
    assert np.isfinite(float(slope.heat_capacity_ratio))


@pytest.mark.float64
def test_gas_at_rest_between_walls_stays_at_rest_whatever_the_field():
    """Field lines that cross a wall are held there; a wall that mirrors them is refused along a line."""
    grid = pj.Grid(12, 1.0, periodic=False, points="centres")
    law = Magnetohydrodynamics(5 / 3)
    u = law.conserved(jnp.broadcast_to(jnp.array([1.0, 0, 0, 0, 0.75, 0.4, -0.3, 1.0])[:, None], (8, 12)))
    held = pj.FiniteVolume(grid, MUSCL(), HLLD(), Reflecting(sticks=True))
    np.testing.assert_allclose(pj.solve(law, held, u, [0.0, 0.2]).u[-1], u, atol=1e-13)
    with pytest.raises(ValueError, match=r"goes through its ends.*sticks=True"):
        pj.solve(law, pj.FiniteVolume(grid, MUSCL(), HLLD(), Reflecting()), u, [0.0, 0.2])


@pytest.mark.float64
def test_beside_the_resonance_of_a_fast_wave_the_jumps_still_add_up():
    """Where a fast wave moves as a rotation does, the field behind it is a quotient of small numbers."""
    law = Magnetohydrodynamics(5 / 3)
    right = np.array([3.7741, -0.0189, -0.2594, -13.8659, -4.7752, -0.0441, 6.756, 4.2707])
    left = np.array([0.1223, -0.0343, -0.0836, 0.1317, -4.7752, 0.6166, -0.5775, 1.1602261204239297])
    for conserve in (lambda w: law.conserved(jnp.asarray(w)), jnp.asarray):
        shifts = np.concatenate([[0.0], 10.0 ** np.arange(-14, -1), -(10.0 ** np.arange(-14, -1))])
        lefts = np.repeat(left[:, None], len(shifts), axis=1)
        lefts[7] += shifts
        one, other = conserve(lefts), conserve(np.repeat(right[:, None], len(shifts), axis=1))
        if not bool(jnp.all(law.admissible(one) & law.admissible(other))):
            continue
        speeds, states = law.fan(one, other, 0)
        jumps = jnp.sum(speeds[:, None] * jnp.diff(states, axis=0), axis=0)
        expected = law.flux(states[-1], 0) - law.flux(states[0], 0)
        np.testing.assert_allclose(jumps, expected, rtol=1e-6, atol=1e-5)
