"""Finite volumes: orders with exact averages, conservation, walls, axes alike, and what is refused with its place."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Outflow, Reflecting, Robin
from pdejax.equations import Advection, BuckleyLeverett, Burgers, Euler, InviscidBurgers, ShallowWater, TrafficFlow
from pdejax.riemann import EulerRiemann, Gas, ShallowWaterRiemann, Water
from pdejax.solvers import ETDRK4, SSPRK3, CourantLimited
from pdejax.testing import check_stepper, observed_orders
from pdejax.volumes import HLL, HLLC, MUSCL, WENO, PiecewiseConstant, Roe, Rusanov

GAS = Euler(1.4)


def cells(n, extent=1.0, periodic=False, **options):
    return pj.Grid(n, extent, periodic=periodic, points="centres", **options)


@pytest.mark.float64
@pytest.mark.parametrize("velocity", [1.0, -1.0])
def test_a_wave_of_density_converges_with_fifth_order(velocity):
    """rho = 1 + 0.2 sin(x - u t) in a gas that moves with u at p = 1: averages exact at the start and at the end, and
    steps that shrink as h^(5/3), so that the third order in time has its part in fifth."""

    def error(n):
        grid = cells(n, 2 * np.pi, True)
        edges = np.linspace(0, 2 * np.pi, n + 1)

        def averages(t):
            density = 1 + 0.2 * -np.diff(np.cos(edges - velocity * t)) / np.diff(edges)
            return jnp.stack([density, velocity * density, 2.5 + density / 2])

        steps = int(np.ceil(40 * (n / 20) ** (5 / 3)))
        reading = pj.FiniteVolume(grid, WENO(5), HLLC(), variables="characteristic")
        u = eqx.filter_jit(pj.TimeStepper(GAS, reading, 1.0, steps, SSPRK3()))(averages(0.0))
        return float(jnp.mean(jnp.abs(u - averages(1.0))[0]))

    (observed,) = observed_orders([error(24), error(37)], [1 / 24, 1 / 37])
    assert 4.7 <= observed <= 5.4


@pytest.mark.float64
def test_a_vortex_converges_with_second_order():
    """Carried across the box along both axes: one value per face makes nonlinear laws second order in two dimensions,
    whatever the reconstruction; its constant is that of WENO 5."""

    def averages(grid, center):
        """By 4 x 4 Gauss points per cell."""
        offsets, weights = np.polynomial.legendre.leggauss(4)
        h = np.asarray(grid.spacing)
        total = 0.0
        for dx, wx in zip(offsets, weights, strict=True):
            for dy, wy in zip(offsets, weights, strict=True):
                x, y = (np.asarray(c) + d * s / 2 for c, d, s in zip(grid.coordinates(), (dx, dy), h, strict=True))
                # The nearest image.
                x, y = ((q - center + 5) % 10 - 5 for q in (x, y))
                swirl = 5 / (2 * np.pi) * np.exp((1 - x**2 - y**2) / 2)
                temperature = 1 - 0.4 / 2.8 * swirl**2
                density = temperature**2.5
                w = np.stack([density, 1 - y * swirl, 0.5 + x * swirl, density * temperature])
                total = total + wx * wy / 4 * np.asarray(GAS.conserved(jnp.asarray(w)))
        return jnp.asarray(total)

    def error(n):
        grid = cells((n, n + 4), 10.0, True)
        reading = pj.FiniteVolume(grid, WENO(5), HLLC(), variables="primitive")
        moved = pj.solve(GAS, reading, averages(grid, 5.0), [0.0, 0.5]).u[-1]
        x = lambda g: averages(g, 5.0)  # noqa: E731
        exact = x(eqx.tree_at(lambda g: g.origin, grid, grid.origin - jnp.array([0.5, 0.25])))
        return float(grid.integrate(jnp.abs(moved - exact))[0]) / 100

    (observed,) = observed_orders([error(48), error(72)], [1.5, 1.0])
    assert abs(observed - 2) <= 0.3


@pytest.mark.float64
@pytest.mark.parametrize(
    ("law", "riemann", "options"),
    [
        (GAS, HLLC(), {"variables": "primitive"}),
        (GAS, Roe(), {"variables": "characteristic", "positivity": True}),
        (ShallowWater(9.81), HLL(), {}),
    ],
    ids=["HLLC", "Roe", "water"],
)
def test_what_is_inside_walls_is_kept(law, riemann, options):
    """Mass, energy and the momentum along the walls to rounding, per step and in the end; periodic boxes keep all."""
    random = np.random.default_rng(0)
    w = random.uniform(0.5, 1.5, size=(len(law.components(2)), 12, 15))
    w[1:3] -= 1.0
    u = law.conserved(jnp.asarray(w))
    for periodic, kept in (((False, True), [0, 2, *([3] if law is GAS else [])]), (True, range(len(w)))):
        grid = cells((12, 15), (1.0, 1.3), periodic)
        boundary = None if periodic is True else Reflecting()
        reading = pj.FiniteVolume(grid, MUSCL(), riemann, boundary, **options)
        end = pj.solve(law, reading, u, [0.0, 0.1]).u[-1]
        before, after = (np.sum(np.asarray(v), axis=(1, 2)) for v in (u, end))
        np.testing.assert_allclose(after[list(kept)], before[list(kept)], rtol=1e-12, atol=1e-12)
        assert float(jnp.max(jnp.abs(end - u))) > 0.1


@pytest.mark.float64
@pytest.mark.parametrize("reconstruction", [PiecewiseConstant(), MUSCL(), WENO(5)], ids=str)
def test_half_of_a_mirror_image_beside_a_wall_is_half_of_the_whole(reconstruction):
    """The same tendency to the bit of rounding, in a plane, with what is turned round along the wall's normal alone."""
    random = np.random.default_rng(1)
    for axis in (0, 1):
        shape = [9, 10]
        w = random.uniform(0.5, 1.5, size=(4, *shape))
        w[1:3] -= 1.0
        half = GAS.conserved(jnp.asarray(w))
        turned = half * jnp.array([-1.0 if i == 1 + axis else 1.0 for i in range(4)])[:, None, None]
        whole = jnp.concatenate([half, jnp.flip(turned, axis + 1)], axis + 1)
        periodic = [a != axis for a in (0, 1)]
        walled = pj.FiniteVolume(cells(shape, 1.0, periodic), reconstruction, HLLC(), Reflecting())
        extent = [2.0 if a == axis else 1.0 for a in (0, 1)]
        around = pj.FiniteVolume(cells(whole.shape[1:], extent, True), reconstruction, HLLC())
        rate = jax.jit(lambda u, r=walled: r.tendency(GAS, 0.0, u))(half)
        expected = jax.jit(lambda u, r=around: r.tendency(GAS, 0.0, u))(whole)
        # WENO's epsilon follows the share of the axis that a cell is.
        tolerance = 2e-2 if isinstance(reconstruction, WENO) else 1e-11
        np.testing.assert_allclose(rate, jax.lax.slice_in_dim(expected, 0, shape[axis], axis=axis + 1), atol=tolerance)


@pytest.mark.float64
def test_all_axes_are_alike():
    """A state that varies along one of three axes is that of one dimension, with its velocities in their places."""
    w = np.random.default_rng(2).uniform(0.5, 1.5, size=(5, 14))
    line = pj.FiniteVolume(cells(14), WENO(5), HLLC(), Outflow(), variables="characteristic")
    expected = jax.jit(lambda u: line.tendency(GAS, 0.0, u))(GAS.conserved(jnp.asarray(w[[0, 1, 4]])))
    for axis in range(3):
        shape = [14 if a == axis else 3 for a in range(3)]
        spread = w[[0, 1, 4]][[0, *[1 if a == axis else 0 for a in range(3)], 2]].copy()
        spread[[1 + a for a in range(3) if a != axis]] = 0
        state = np.broadcast_to(spread.reshape(5, *[14 if a == axis else 1 for a in range(3)]), (5, *shape))
        periodic = [a != axis for a in range(3)]
        reading = pj.FiniteVolume(
            cells(shape, [1.0 if a == axis else 0.7 for a in range(3)], periodic),
            WENO(5),
            HLLC(),
            Outflow(),
            variables="characteristic",
        )
        rate = jax.jit(lambda u, r=reading: r.tendency(GAS, 0.0, u))(GAS.conserved(jnp.asarray(state)))
        along = jnp.moveaxis(rate, axis + 1, 1)[:, :, 0, 0]
        np.testing.assert_allclose(along[jnp.array([0, 1 + axis, 4])], expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(along[jnp.array([1 + a for a in range(3) if a != axis])], 0, atol=1e-12)


def water_behind_a_front(speed, ratio=0.5):
    """A fan, in which f' is the speed, and its end."""
    share = np.linspace(1.0, np.sqrt(ratio / (1 + ratio)), 4001)
    speeds = 2 * ratio * share * (1 - share) / (share**2 + ratio * (1 - share) ** 2) ** 2
    return np.where(speed < speeds[-1], np.interp(speed, speeds, share), 0.0)


@pytest.mark.float64
def test_shocks_and_fans_of_scalar_laws_are_where_they_belong():
    """Jumps of Burgers' equation and of traffic: the shock at its speed, the fan by its formula, nothing beyond."""
    cases = [
        # law, left, right, exact at x / t
        (InviscidBurgers(), 1.0, -0.4, lambda s: np.where(s < 0.3, 1.0, -0.4)),
        (InviscidBurgers(), -0.6, 1.0, lambda s: np.clip(s, -0.6, 1.0)),
        (TrafficFlow(1.3, 0.8), 0.1, 0.6, lambda s: np.where(s < 1.3 * (1 - 0.7 / 0.8), 0.1, 0.6)),
        (TrafficFlow(1.3, 0.8), 0.7, 0.1, lambda s: np.clip(0.4 * (1 - s / 1.3), 0.1, 0.7)),
        (BuckleyLeverett(0.5), 1.0, 0.0, water_behind_a_front),
    ]
    grid = cells(100, 2.0, origin=-1.0)
    x = np.asarray(grid.axes[0])
    for law, left, right, exact in cases:
        start = jnp.asarray(np.where(x < 0, left, right))[None]  # the jump is between two cells
        for riemann in (Rusanov(), HLL(), Roe()) if right == 1.0 else (HLL(),):
            reading = pj.FiniteVolume(grid, MUSCL(), riemann, Outflow())
            u = pj.solve(law, reading, start, [0.0, 0.4]).u[-1, 0]
            assert float(np.mean(np.abs(u - exact(x / 0.4)))) < 8e-3, (law, riemann)
            assert float(jnp.max(u)) <= max(left, right) + 1e-9 and float(jnp.min(u)) >= min(left, right) - 1e-9


@pytest.mark.float64
@pytest.mark.parametrize(
    ("problem", "law", "bound"),
    [
        (EulerRiemann(Gas(1.0, 0.0, 1.0), Gas(0.125, 0.0, 0.1)), GAS, 5.5e-3),
        (EulerRiemann(Gas(5.99924, 19.5975, 460.894), Gas(5.99242, -6.19633, 46.095)), GAS, 0.4),
        (ShallowWaterRiemann(Water(1.0), Water(0.1)), ShallowWater(9.81), 3.3e-3),
    ],
    ids=["Sod", "colliding shocks", "dam break"],
)
def test_tubes_follow_the_exact_solution(problem, law, bound):
    """In the L1 norm of density or depth; docs/shocks.md has more of them. What does not reach the walls is kept."""
    edges = jnp.linspace(0.0, 1.0, 101)
    time = 0.3 / float(jnp.max(jnp.abs(jnp.stack(jax.tree.leaves(problem.wave_speeds)))))
    start, end = (problem.cell_averages(edges, t, x0=0.5) for t in (0.0, time))
    reading = pj.FiniteVolume(cells(100), MUSCL(), HLLC(), Outflow(), variables="primitive")
    u = pj.solve(law, reading, start, [0.0, time]).u[-1]
    assert float(jnp.mean(jnp.abs(u - end)[0])) < bound
    np.testing.assert_allclose(jnp.mean(u[0]), jnp.mean(end[0]), rtol=1e-7)


@pytest.mark.float64
def test_a_profile_that_is_carried_around_stays_between_its_bounds():
    """A step and a hat, once around: total variation does not grow with any limiter, and WENO 5 is the sharpest."""
    grid = cells(100, 1.0, True)
    x = grid.axes[0]
    u = jnp.where(jnp.abs(x - 0.3) < 0.1, 1.0, 0.0) + jnp.maximum(0.0, 1 - 10 * jnp.abs(x - 0.7))
    limiters = (pj.volumes.minmod, pj.volumes.van_leer, pj.volumes.superbee)
    errors = {}
    for reconstruction in (PiecewiseConstant(), *(MUSCL(limiter) for limiter in limiters), WENO(3), WENO(5)):
        reading = pj.FiniteVolume(grid, reconstruction, Rusanov())
        end = pj.solve(Advection(1.0), reading, u[None], [0.0, 1.0]).u[-1, 0]
        errors[reconstruction] = float(jnp.mean(jnp.abs(end - u)))
        variation = float(jnp.sum(jnp.abs(jnp.diff(jnp.append(end, end[0])))))
        assert variation <= 4 + (0.02 if isinstance(reconstruction, WENO) else 1e-9)
    found = list(errors.values())
    assert found[0] > found[1] > found[2] > found[3]
    assert found[4] > found[5] and found[5] < found[2]


@pytest.mark.float64
def test_two_streams_that_part_leave_a_near_vacuum_and_nothing_negative():
    """Density and pressure fall to 3e-3 and below: without `positivity` values at the faces are lost."""
    grid = cells(100)
    x = grid.axes[0]
    w = jnp.stack([jnp.ones(100), jnp.where(x < 0.5, -4.0, 4.0), jnp.full(100, 0.4)])
    lost = pj.FiniteVolume(grid, WENO(5), HLLC(), Outflow())
    with pytest.raises(FloatingPointError, match=r"at x = 0.4.*positivity=True"):
        pj.solve(GAS, lost, GAS.conserved(w), [0.0, 0.1])
    kept = pj.FiniteVolume(grid, WENO(5), HLLC(), Outflow(), positivity=True)
    careful = pj.solve(GAS, kept, GAS.conserved(w), [0.0, 0.05, 0.1], dt=CourantLimited(0.08))
    assert int(careful.num_rejected) == 0
    # Longer steps are halved where they lead to nothing.
    halved = pj.solve(GAS, kept, GAS.conserved(w), [0.0, 0.05, 0.1], dt=CourantLimited(0.5))
    assert 0 < int(halved.num_rejected) and int(halved.num_steps) < int(careful.num_steps)
    np.testing.assert_allclose(halved.u[-1], careful.u[-1], atol=0.05)
    u = halved.u
    assert bool(jnp.all(jax.vmap(GAS.admissible)(u))) and float(jnp.min(u[-1, 0])) < 0.02
    np.testing.assert_allclose(u[-1, 0], u[-1, 0, ::-1], atol=1e-10)


@pytest.mark.float64
def test_conditions_at_walls():
    """What flows in faster than sound is met; a slope makes ghost cells of a line exact; a datum may change in time."""
    grid = cells((12, 10), 1.0, (False, True))
    w = jnp.broadcast_to(jnp.array([1.0, 3.0, 0.5, 1.0])[:, None, None], (4, 12, 10))
    u = GAS.conserved(w)
    inflow = {name: {"x-": float(u[i, 0, 0]), "x+": Outflow()} for i, name in enumerate(GAS.components(2))}
    reading = pj.FiniteVolume(grid, MUSCL(), HLLC(), inflow)
    np.testing.assert_allclose(jax.jit(lambda v: reading.tendency(GAS, 0.0, v))(u), 0, atol=1e-11)
    line = cells(12)
    sloped = pj.FiniteVolume(line, MUSCL(), Rusanov(), {"x-": Neumann(-2.0), "x+": Neumann(2.0)})
    rate = sloped.tendency(Advection(0.7), 0.0, (2.0 * line.axes[0] + 0.3)[None])
    np.testing.assert_allclose(rate, -1.4, rtol=1e-12)
    moving = pj.FiniteVolume(
        line, PiecewiseConstant(), Rusanov(), {"x-": Dirichlet(lambda x, t: 2 * t), "x+": Outflow()}
    )
    fluxes = moving.face_fluxes(Advection(0.7), 0.4, jnp.ones((1, 12)), 0)
    np.testing.assert_allclose(fluxes[0], [0.7 * 0.8, *[0.7] * 12], rtol=1e-12)


def smooth_waves():
    """A gas in a periodic box, and a reading without a kink there: limiters have some at extrema, WENO and the fluxes
    where a speed changes its sign."""
    grid = cells(16, 1.0, True)
    x = grid.axes[0]
    w = jnp.stack([1 + 0.3 * jnp.sin(2 * jnp.pi * x), 0.2 + 0 * x, 1 + 0.2 * jnp.cos(2 * jnp.pi * x)])
    return pj.FiniteVolume(grid, WENO(3), HLL()), w


def test_a_stepper_keeps_its_contract():
    reading, w = smooth_waves()
    check_stepper(pj.TimeStepper(GAS, reading, 0.02, 2), GAS.conserved(w).astype(reading.grid.dtype))


@pytest.mark.either
def test_it_is_in_the_contract_that_a_law_is_differentiable():
    reading, w = smooth_waves()
    slope = jax.grad(lambda gamma: jnp.sum(pj.TimeStepper(Euler(gamma), reading, 0.02, 2)(GAS.conserved(w))[0] ** 2))(
        1.4
    )
    assert np.isfinite(float(slope)) and abs(float(slope)) > 1e-6
    # A solve checks its state before it begins, as far as it is known.
    end = lambda gamma: jnp.sum(pj.solve(Euler(gamma), reading, GAS.conserved(w), [0.0, 0.02], dt=0.01).u[-1, 0] ** 2)  # noqa: E731
    np.testing.assert_allclose(jax.grad(end)(1.4), slope, rtol=1e-3)


def test_what_makes_no_sense_is_named_with_its_place():
    grid = cells(20)
    x = grid.axes[0]
    u = GAS.conserved(jnp.stack([1 + 0 * x, 0 * x, 1 + 0 * x]))
    reading = pj.FiniteVolume(grid, MUSCL(), HLL(), Outflow())
    solve = lambda v, **options: pj.solve(GAS, reading, v, [2.0, 2.1], **options)  # noqa: E731
    with pytest.raises(ValueError, match=r"state at t = 2 is no state of Euler: its density is -1 at x = 0.175"):
        solve(u.at[0, 3].set(-1.0))
    with pytest.raises(ValueError, match=r"its pressure is -0.* at x = 0.325"):
        solve(u.at[2, 6].set(-1.0))
    with pytest.raises(ValueError, match=r"its depth is 0 at x = \(0.375, 0.1\)"):
        square = cells((4, 5))
        flat = jnp.ones((3, 4, 5)).at[0, 1, 0].set(0.0)
        pj.solve(ShallowWater(), pj.FiniteVolume(square, boundary=Reflecting()), flat, [0.0, 0.1])
    with pytest.raises(ValueError, match=r"at t = 2 has the CFL number 2.37, .*Take dt <= 0.0423, 3 substeps"):
        solve(u, dt=0.1)
    plane = pj.FiniteVolume(cells((4, 5), (1.0, 2.0)), boundary=Outflow())
    still = GAS.conserved(jnp.ones((4, 4, 5)))
    np.testing.assert_allclose(plane.courant_rates(GAS, 0.0, still), (4 + 2.5) * (1 + 1.4**0.5), rtol=1e-6)
    with pytest.raises(ValueError, match="CFL number 2.37"):
        pj.TimeStepper(GAS, reading, 0.1).check_step(u)
    with pytest.raises(ValueError, match=r"shape \(2, 20\) but \(3, 20\)"):
        solve(u[:2])
    with pytest.raises(TypeError, match="Burgers states no flux"):
        pj.solve(Burgers(0.1), reading, u[:1], [0.0, 1.0])
    with pytest.raises(ValueError, match="finite volumes have none: use an explicit solver"):
        solve(u, solver=ETDRK4(), dt=0.01)
    with pytest.raises(ValueError, match=r"InviscidBurgers does not state a middle wave \(`HLLC`\)"):
        pj.FiniteVolume(grid, riemann=HLLC(), boundary=Outflow()).tendency(InviscidBurgers(), 0.0, u[:1])
    with pytest.raises(ValueError, match="InviscidBurgers does not state walls that reflect"):
        pj.FiniteVolume(grid, boundary=Reflecting()).tendency(InviscidBurgers(), 0.0, u[:1])
    with pytest.raises(ValueError, match="Reflecting.. is a wall for the finite volumes"):
        pj.FiniteDifference(grid, 2, Reflecting())
    with pytest.raises(ValueError, match="axis 0 has 'nodes': use Grid.*\"centres\""):
        pj.FiniteVolume(pj.Grid(8, 1.0, periodic=False, points="nodes"), boundary=Outflow())
    with pytest.raises(TypeError, match=r"for `reconstruction` an instance such as MUSCL\(\)"):
        pj.FiniteVolume(grid, HLL(), boundary=Outflow())
    with pytest.raises(ValueError, match="reads no Robin"):
        pj.FiniteVolume(grid, boundary=Robin(1.0, 2.0))
    with pytest.raises(ValueError, match="`variables` is one of"):
        pj.FiniteVolume(grid, boundary=Outflow(), variables="entropy")
    with pytest.raises(ValueError, match="heat_capacity_ratio - 1 must be > 0"):
        Euler(1.0)


def test_a_law_of_ones_own_is_looked_at_before_it_is_broadcast():
    class Gas(pj.equations.ConservationLaw):
        """The p-system, with one member written wrong at a time."""

        wrong: str = eqx.field(static=True, default="")

        def components(self, ndim):
            return ("volume", "velocity")

        def flux(self, u, axis):
            return u[0] ** -1.4 if self.wrong == "flux" else jnp.stack([-u[1], u[0] ** -1.4])

        def wave_speeds(self, left, right, axis):
            speed = jnp.sqrt(1.4) * jnp.minimum(left, right) ** -1.2
            return (-speed, speed) if self.wrong == "wave_speeds" else (-speed[0], speed[0])

        def source(self, t, x, u):
            return -0.5 * u[1] if self.wrong == "source" else jnp.stack([0 * u[1], -0.5 * u[1]])

    grid = cells(16, 1.0, True)
    u = jnp.stack([1 + 0.1 * jnp.sin(2 * jnp.pi * grid.axes[0]), 0 * grid.axes[0]]).astype(grid.dtype)
    assert pj.FiniteVolume(grid).tendency(Gas(), 0.0, u).shape == (2, 16)
    for member in ("flux", "wave_speeds", "source"):
        with pytest.raises(ValueError, match=f"Gas.{member} returns one number per"):
            pj.FiniteVolume(grid).tendency(Gas(member), 0.0, u)
    with pytest.raises(ValueError, match="Gas.flux returns one number per component, 2"):
        pj.Spectral(grid).tendency(Gas("flux"), 0.0, u)


@pytest.mark.float64
def test_steps_follow_what_arrives_in_the_middle_of_them():
    """Through a wall whose value wakes or jumps, and from a force: nothing moves when the first step begins."""
    line = cells(64)
    wakes = {"x-": Dirichlet(lambda x, t: jnp.sin(t)), "x+": Outflow()}
    jumps = {"x-": Dirichlet(lambda x, t: jnp.where(t > 0.3, 5.0, 0.1)), "x+": Outflow()}
    sine = {name: jnp.array([value]) for name, value in (("amplitudes", 2.0), ("frequencies", 0.4), ("phases", 0.0))}
    forced = pj.equations.ForcedKortewegDeVriesBurgers(0.5, 0.0, 0.0, **sine, wavenumbers=jnp.array([np.pi / 4]))
    for law, reading, start, times, small in (
        (InviscidBurgers(), pj.FiniteVolume(line, boundary=wakes), jnp.zeros((1, 64)), [0.0, 1.0], 2e-3),
        (InviscidBurgers(), pj.FiniteVolume(line, boundary=jumps), jnp.full((1, 64), 0.1), [0.0, 0.35], 5e-4),
        (forced, pj.FiniteVolume(cells(64, 16.0, True)), jnp.zeros((1, 64)), [0.0, 4.0], 1e-2),
    ):
        found = pj.solve(law, reading, start, times)
        exact = pj.solve(law, reading, start, times, dt=small).u[-1]
        assert int(found.num_rejected) > 0
        assert float(jnp.mean(jnp.abs(found.u[-1] - exact))) < 0.02 * float(jnp.max(jnp.abs(exact)))


def test_weno_on_many_cells_and_in_any_units_in_single_precision():
    grid = pj.Grid(65536, 1.0, points="centres").with_dtype(jnp.float32)
    step = jnp.where(grid.coordinates() > 0.5, 1.0, 0.0).astype(jnp.float32)
    assert bool(jnp.all(jnp.isfinite(pj.FiniteVolume(grid, WENO(5)).tendency(InviscidBurgers(), 0.0, step))))
    small = pj.Grid(64, 1.0, points="centres").with_dtype(jnp.float32)
    wave = (0.3 + 0.2 * jnp.sin(2 * jnp.pi * small.coordinates())).astype(jnp.float32)
    rates = [
        pj.FiniteVolume(small, WENO(3), HLL()).tendency(
            TrafficFlow(1.0, scale), 0.0, (wave * scale).astype(jnp.float32)
        )
        for scale in (1.0, 1e-6, 1e-12)
    ]
    for rate, scale in zip(rates[1:], (1e-6, 1e-12), strict=True):
        np.testing.assert_allclose(rate / scale, rates[0], atol=2e-3)
