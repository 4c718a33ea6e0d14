"""Laws alone: waves against automatic derivatives, Roe's property, numerical fluxes, solutions without shock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import (
    Advection,
    BuckleyLeverett,
    Euler,
    ForcedKortewegDeVriesBurgers,
    InviscidBurgers,
    ShallowWater,
    TrafficFlow,
)
from pdejax.testing import check_equation
from pdejax.volumes import HLL, HLLC, Roe, Rusanov

LAWS = [
    (Euler(1.4), 1),
    (Euler(5 / 3), 2),
    (Euler(1.3), 3),
    (ShallowWater(9.81), 1),
    (ShallowWater(2.0), 2),
    (InviscidBurgers(), 2),
    (TrafficFlow(1.3, 0.8), 1),
    (BuckleyLeverett(0.5), 1),
    (Advection([0.7, -0.4]), 2),
    (ForcedKortewegDeVriesBurgers(1.7, 0.0, 0.0), 1),
]
IDS = [f"{type(law).__name__}-{ndim}" for law, ndim in LAWS]


def states(law, ndim, count=6, seed=0):
    """Random admissible ones, `(channel, count)`."""
    random = np.random.default_rng(seed)
    w = random.uniform(0.2, 2.0, size=(len(law.components(ndim)), count))
    if isinstance(law, Euler | ShallowWater):
        w[1 : 1 + ndim] -= 1.1
    if isinstance(law, TrafficFlow | BuckleyLeverett):
        w *= 0.3
    return law.conserved(jnp.asarray(w))


@pytest.mark.float64
@pytest.mark.parametrize(("law", "ndim"), LAWS, ids=IDS)
def test_waves_are_those_of_the_flux(law, ndim):
    u, other = states(law, ndim), states(law, ndim, seed=1)
    for axis in range(ndim):
        speeds, to_state, to_waves = law.eigensystem(u, u, axis)
        jacobian = jax.vmap(jax.jacfwd(lambda v, a=axis: law.flux(v[:, None], a)[:, 0]), in_axes=1, out_axes=2)(u)
        rebuilt = jnp.einsum("cwp,wp,wdp->cdp", to_state, speeds, to_waves)
        np.testing.assert_allclose(rebuilt, jacobian, rtol=1e-10, atol=1e-10)
        slowest, fastest = law.wave_speeds(u, u, axis)
        np.testing.assert_allclose(slowest, jnp.min(speeds, axis=0), rtol=1e-12)
        np.testing.assert_allclose(fastest, jnp.max(speeds, axis=0), rtol=1e-12)
        # Between two states: inverse to each other, and the jump of the flux.
        speeds, to_state, to_waves = law.eigensystem(u, other, axis)
        identity = np.broadcast_to(np.eye(len(u))[..., None], (len(u), len(u), u.shape[1]))
        np.testing.assert_allclose(jnp.einsum("cwp,wdp->cdp", to_state, to_waves), identity, atol=1e-11)
        jump = jnp.einsum("cwp,wp,wdp,dp->cp", to_state, speeds, to_waves, other - u)
        np.testing.assert_allclose(jump, law.flux(other, axis) - law.flux(u, axis), rtol=1e-10, atol=1e-10)
        slowest, fastest = law.wave_speeds(u, other, axis)
        assert np.all(np.asarray(slowest) <= np.min(speeds, axis=0) + 1e-12)
        assert np.all(np.asarray(fastest) >= np.max(speeds, axis=0) - 1e-12)
    np.testing.assert_allclose(law.conserved(law.primitive(u)), u, rtol=1e-13)


@pytest.mark.float64
@pytest.mark.parametrize(("law", "ndim"), LAWS, ids=IDS)
def test_fluxes_are_consistent_upwind_and_symmetric(law, ndim):
    u, other = states(law, ndim), states(law, ndim, seed=1)
    solvers = [Rusanov(), HLL(), Roe()] + [HLLC()] * isinstance(law, Euler | ShallowWater)
    for axis, solver in ((a, s) for a in range(ndim) for s in solvers):
        np.testing.assert_allclose(solver(law, u, u, axis), law.flux(u, axis), rtol=1e-11, atol=1e-12)
        if isinstance(law, Euler | ShallowWater):
            # Faster than every wave: what comes from upstream. And the mirror image, which turns normal momentum round.
            fast, faster = (law.conserved(law.primitive(v).at[1 + axis].add(9.0)) for v in (u, other))
            if not isinstance(solver, Rusanov):
                np.testing.assert_allclose(solver(law, fast, faster, axis), law.flux(fast, axis), rtol=1e-10)
            mirrored = solver(law, law.reflected(other, axis), law.reflected(u, axis), axis)
            np.testing.assert_allclose(mirrored, -law.reflected(solver(law, u, other, axis), axis), rtol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize(("law", "ndim"), LAWS[:5], ids=IDS[:5])
def test_the_two_states_of_hllc_meet_at_the_contact(law, ndim):
    """Each wave's jump is its speed times the jump of the states: behind the outer ones by construction, across the
    middle one because pressure and velocity are the same on both sides."""
    u, other = states(law, ndim), states(law, ndim, seed=1)
    for axis in range(ndim):
        slowest, fastest = law.wave_speeds(u, other, axis)
        contact = law.contact_speed(u, other, slowest, fastest, axis)
        left, right = (law.behind_wave(v, s, contact, axis) for v, s in ((u, slowest), (other, fastest)))
        through_left = law.flux(u, axis) + slowest * (left - u)
        through_right = law.flux(other, axis) + fastest * (right - other)
        np.testing.assert_allclose(through_right - through_left, contact * (right - left), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(left[1 + axis] / left[0], contact, rtol=1e-9, atol=1e-12)


@pytest.mark.float64
def test_contacts_and_shears_at_rest_stay_sharp():
    """With HLLC and Roe the flux of a contact at rest is the pressure alone; HLL and Rusanov smear it."""
    law = Euler(1.4)
    left = law.conserved(jnp.array([[1.0], [0.0], [0.7], [0.6]]))
    right = law.conserved(jnp.array([[0.2], [0.0], [-0.4], [0.6]]))
    for solver in (HLLC(), Roe()):
        np.testing.assert_allclose(solver(law, left, right, 0)[:, 0], [0, 0.6, 0, 0], atol=1e-14)
    for solver in (HLL(), Rusanov()):
        assert abs(float(solver(law, left, right, 0)[0, 0])) > 0.1


@pytest.mark.float64
def test_roe_opens_a_rarefaction_through_sonic_points():
    """The flux of the exact solution there is zero; the linearised problem alone would keep a jump from -1 to 1."""
    assert float(Roe()(InviscidBurgers(), jnp.array([[-1.0]]), jnp.array([[1.0]]), 0)[0, 0]) == 0
    assert float(Roe()(InviscidBurgers(), jnp.array([[1.0]]), jnp.array([[-1.0]]), 0)[0, 0]) == 0.5


def steepening(profile, speed):
    """`c = profile(x - speed(c) t)`, before it breaks."""

    def wave(x, t):
        return jax.lax.fori_loop(0, 20, lambda _, c: profile(x - speed(c) * t), profile(x))

    return wave


@pytest.mark.float64
def test_solutions_without_shocks_are_met_by_every_reading():
    """A wave of density that a gas carries along; simple waves of water, traffic and Burgers' equation that steepen."""

    def carried(*place):
        *x, t = place
        velocity = [0.7, -0.4][: len(x)]
        density = 1 + 0.2 * jnp.sin(sum(k * (s - c * t) for k, s, c in zip((1.0, 2.0), x, velocity, strict=False)))
        energy = 1.3 / 0.4 + density * sum(c * c for c in velocity) / 2
        return (density, *(density * c for c in velocity), energy)

    check_equation(Euler(1.4), carried, extent=2 * np.pi, ndim=2, num_points=20, time=0.1)
    # Sound that steepens: isentropic, p = rho^1.4, and u - 5 a constant.
    sound = steepening(lambda x: 1.2 + 0.05 * jnp.sin(x), lambda a: a + 5 * (a - 1.2))

    def gas(x, t):
        a = sound(x, t)
        density, velocity = (a**2 / 1.4) ** 2.5, 5 * (a - 1.2)
        return density, density * velocity, density**1.4 / 0.4 + density * velocity**2 / 2

    check_equation(Euler(1.4), gas, extent=2 * np.pi, num_points=40, time=0.2)
    celerity = steepening(lambda x: 1.5 + 0.1 * jnp.sin(x), lambda c: 3 * c - 3.0)

    def water(x, t):
        depth = celerity(x, t) ** 2 / 2.0
        return depth, depth * 2 * (celerity(x, t) - 1.5)

    check_equation(ShallowWater(2.0), water, extent=2 * np.pi, num_points=40, time=0.3)
    slow = steepening(lambda x: 0.3 + 0.1 * jnp.sin(x), lambda c: 1.3 * (1 - 2 * c / 0.8))
    check_equation(TrafficFlow(1.3, 0.8), slow, extent=2 * np.pi, num_points=40, time=0.3)
    ratio = BuckleyLeverett(0.5)
    driven = steepening(lambda x: 0.4 + 0.05 * jnp.sin(x), lambda s: s * (1 - s) / (s**2 + 0.5 * (1 - s) ** 2) ** 2)
    check_equation(ratio, driven, extent=2 * np.pi, num_points=44, time=0.2)
    broken = steepening(lambda x: 0.3 + 0.2 * jnp.sin(x), lambda c: c)
    check_equation(InviscidBurgers(), broken, extent=2 * np.pi, num_points=40, time=0.3)


@pytest.mark.float64
def test_a_source_sees_where_it_is():
    """Fourier modes, differences and volumes read `sin(2 pi x) + u` at the points, on odd and even numbers of them."""

    class Driven(InviscidBurgers):
        def source(self, t, x, u):
            return jnp.sin(2 * jnp.pi * x[:1]) + u

    for n in (33, 36):
        grid = pj.Grid(n, 1.0, origin=0.2)
        u = jnp.full((1, n), 0.7)
        readings = (pj.Spectral(grid), pj.FiniteDifference(grid, 4), pj.FiniteVolume(grid))
        for rate in jax.jit(lambda u, readings=readings: [r.tendency(Driven(), 0.0, u) for r in readings])(u):
            np.testing.assert_allclose(rate[0], jnp.sin(2 * jnp.pi * grid.axes[0]) + 0.7, atol=1e-12)
