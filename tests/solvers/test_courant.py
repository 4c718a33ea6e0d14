"""Limits of stability: known before a step is taken, and followed by steps that the flow decides."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Advection, Burgers, Diffusion, Equation
from pdejax.fields.power_iteration import dominant_pair, spectral_radius
from pdejax.solvers import (
    BDF2,
    ETDRK2,
    ETDRK4,
    CourantLimited,
    CrankNicolsonRK4,
    ExponentialAdamsBashforth2,
    NotFinite,
    Sil3,
)
from pdejax.solvers.stability_region import ANGLES, stability_radii

TURN = 2 * np.pi


@pytest.mark.either
def test_stability_regions_are_those_of_the_methods():
    """On the real axis, and on the imaginary one up to a growth of 1% per step; a multiple of 0.05 below."""
    for solver, real, imaginary in (
        (diffrax.Euler(), 2.0, np.sqrt(1.01**2 - 1)),
        (diffrax.Heun(), 2.0, (4 * (1.01**2 - 1)) ** 0.25),
        (ETDRK4(), 2.785, 2.83),  # Runge-Kutta 4
        (ETDRK2(), 2.0, (4 * (1.01**2 - 1)) ** 0.25),  # Heun's
        (ExponentialAdamsBashforth2(), 1.0, 0.43),  # Adams-Bashforth 2: -1 < z
        (BDF2(), 4 / 3, 0.35),  # 3/2 r^2 - 2 r + 1/2 = z (2 r - 1): r = -1 at z = -4/3
        (Sil3(), 2.5127, 1.75),  # the polynomial 1 + z + z^2 / 2 + z^3 / 6 of third order
        (CrankNicolsonRK4(), 4.65, 3.34),
        (diffrax.Tsit5(), 3.5, 1.75),
    ):
        radii = stability_radii(solver)
        assert -0.06 < radii[-1] - real < 0.03, (solver, radii[-1])
        assert -0.1 < radii[0] - imaginary < 0.03, (solver, radii[0])
        assert np.all(stability_radii(solver, 1.1) >= radii)
    assert stability_radii(diffrax.Kvaerno5()) is None


@pytest.mark.float64
def test_the_largest_eigenvalue_is_found_with_its_direction():
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((6, 6))
    turn = lambda r, angle: r * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # noqa: E731
    for block, modulus, angle in (
        (turn(3.0, 2.0), 3.0, 2.0),
        (turn(3.0, np.pi / 2), 3.0, np.pi / 2),
        (np.diag([-3.0, 1.0]), 3.0, np.pi),
        (np.diag([2.0, -3.0]), 3.0, np.pi),
        (np.zeros((2, 2)), 0.5, 0.0),
    ):
        matrix = np.zeros((6, 6))
        matrix[:2, :2] = block
        matrix[2:, 2:] = np.diag([0.5, -0.4, 0.3, 0.2])
        matrix = jnp.asarray(basis @ matrix @ np.linalg.inv(basis))
        apply = lambda v, matrix=matrix: {"part": matrix @ v["part"]}  # noqa: E731
        radius, vector = spectral_radius(apply, {"part": jnp.asarray(rng.standard_normal(6))}, 40)
        found = dominant_pair(apply, vector)
        np.testing.assert_allclose(found[0], modulus, rtol=1e-3)
        np.testing.assert_allclose(found[1], angle, atol=1e-3)
        assert abs(radius - modulus) < 0.1 * modulus


def wave(grid, speed=1.0):
    return (speed * (1 + 0.3 * jnp.sin(grid.axes[0])))[None]


@pytest.mark.float64
def test_a_fixed_step_over_the_limit_is_refused_before_it_is_taken():
    """The limits are known: of transport by spacing over speed, of diffusion by spacing squared."""
    grid = pj.Grid(48, TURN)
    spacing, central = TURN / 48, pj.FiniteDifference(grid, 2)
    taken = lambda equation, reading, u, dt, solver: pj.solve(equation, reading, u, [0, dt], dt=dt, solver=solver)  # noqa: E731
    for equation, reading, u, solver, limit, words in (
        (Advection(2.0), central, wave(grid), diffrax.Tsit5(), 1.7 * spacing / 2, "`linear` of Advection, .*transport"),
        (Diffusion(0.5), central, wave(grid), diffrax.Heun(), spacing**2, "`linear` of Diffusion, .*diffusion"),
        # N alone is explicit: Burgers' fastest wave, at the largest mode that products keep, 15.
        (Burgers(1e-3), pj.Spectral(grid), wave(grid), ETDRK4(), 2.83 / (1.3 * 15), "`nonlinear` of Burgers .explicit"),
    ):
        with pytest.raises(ValueError, match=words) as refusal:
            taken(equation, reading, u, 1.5 * limit, solver)
        named = float(str(refusal.value).split("initial state, about ")[1].split(" ")[0].rstrip("."))
        assert 0.9 * limit < named < 1.25 * limit, (named, limit)
        assert "2 substeps" in str(refusal.value)
    # Damped by the linear part, which is exact: stable where N alone would not be, and let pass.
    assert bool(jnp.all(jnp.isfinite(taken(Burgers(0.5), pj.Spectral(grid), wave(grid), 0.3, ETDRK4()).u)))


class Driven(Equation):
    """u_t + a(t) u_x = 0 with a speed that doubles at t = 1, said in `nonlinear`."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u.derivative(0) * jnp.where(t < 1, -1.0, -2.0)


@pytest.mark.float64
@pytest.mark.parametrize(("solver", "atol"), [(diffrax.Euler(), 0.3), (ExponentialAdamsBashforth2(), 0.01)])
def test_steps_follow_the_flow(solver, atol):
    """Twice the speed, twice the steps; their number is that of the Courant condition, and they end on the times."""
    grid = pj.Grid(32, TURN)
    fraction, times = 0.5, [0.0, 0.3, 1.0, 2.0]
    solution = pj.solve(
        Driven(), pj.Spectral(grid), wave(grid), times, solver=solver, dt=CourantLimited(fraction), until=NotFinite()
    )
    per_unit = 15 / (fraction * stability_radii(solver)[0])
    # One unit of time at speed 1, one at speed 2. Two more for each output interval that is cut evenly.
    assert 3 * per_unit - 2 < int(solution.num_steps) < 1.15 * 3 * per_unit + 6, (solution.num_steps, per_unit)
    exact = [wave_at(grid, shift) for shift in (0.0, 0.3, 1.0, 3.0)]
    np.testing.assert_allclose(solution.ts, times)
    np.testing.assert_allclose(solution.u[:, 0], np.stack(exact), atol=atol)


def wave_at(grid, shift):
    return 1 + 0.3 * np.sin(np.asarray(grid.axes[0]) - shift)


@pytest.mark.float64
def test_each_of_several_solves_at_once_has_steps_of_its_own_and_gradients_pass():
    grid = pj.Grid(24, TURN)

    def solve(speed):
        dt = CourantLimited(0.6, longest=0.5)
        solution = pj.solve(
            Burgers(0.3), pj.Spectral(grid), wave(grid) + speed, [0.0, 0.4, 3.0], solver=ETDRK2(), dt=dt
        )
        return jnp.mean(solution.u[-1]), solution.num_steps

    several = jax.jit(jax.vmap(jax.value_and_grad(solve, has_aux=True)))
    (means, counts), slopes = several(jnp.asarray([0.0, 3.0]))
    np.testing.assert_allclose(means, [1.0, 4.0])  # the mean is conserved
    assert 2 * counts[0] < counts[1], counts
    assert counts[0] >= 3 / 0.5, counts
    np.testing.assert_allclose(slopes, 1, atol=1e-10)


def test_what_makes_no_sense_is_named():
    grid = pj.Grid(16, TURN)
    for make, match in (
        (lambda: CourantLimited(1.5), r"fraction in \(0, 1\], got 1.5"),
        (lambda: CourantLimited(0.5, longest=0.0), "longest positive, got 0"),
        (
            lambda: pj.solve(Burgers(0.1), pj.Spectral(grid), wave(grid), [0, 1], dt=CourantLimited(), rtol=1e-3),
            "not both",
        ),
        (
            lambda: pj.solve(
                Burgers(0.1),
                pj.FiniteDifference(grid),
                wave(grid),
                [0, 1],
                dt=CourantLimited(),
                solver=diffrax.Kvaerno3(),
            ),
            "known stability region",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            make()
    assert len(ANGLES) == 19
