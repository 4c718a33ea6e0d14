import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid, yee
from pdejax.testing import observed_orders
from pdejax.yee import Conductor, Maxwell, YeeStepper

rng = np.random.default_rng(0)
SHAPE, EXTENT = (9, 7, 6), (1.0, 1.3, 0.7)


def random_state(maxwell):
    return maxwell.initial(**{name: rng.standard_normal(maxwell.grid.shape) for name in maxwell.components})


@pytest.mark.float64
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_plane_wave_has_the_frequency_of_the_dispersion_relation(ndim):
    grid = Grid(SHAPE[:ndim], EXTENT[:ndim])
    eps, mu, dt = 1.7, 0.6, 0.1
    k = 2 * np.pi * np.array([2, -1, 1])[:ndim] / np.array(EXTENT[:ndim])
    h = np.array(EXTENT[:ndim]) / SHAPE[:ndim]
    maxwell = Maxwell(grid, eps, mu)
    stepper = YeeStepper(maxwell, dt, substeps=4)
    step = dt / 4
    # Differences in space multiply a wave by K, those in time by Omega.
    big_k = np.zeros(3)
    big_k[:ndim] = 2 * np.sin(k * h / 2) / h
    big_omega = np.linalg.norm(big_k) / np.sqrt(eps * mu)
    omega = 2 / step * np.arcsin(big_omega * step / 2)
    np.testing.assert_allclose(yee.numerical_frequency(k, h, step, 1 / np.sqrt(eps * mu)), omega, rtol=1e-14)
    assert omega < 0.98 * np.linalg.norm(k) / np.sqrt(eps * mu)  # far from that of the equations
    electric = np.cross(big_k, [0.3, -1.0, 0.7])
    magnetic = np.cross(big_k, electric) / (mu * big_omega)

    places = {name: np.asarray(maxwell.positions(name)) for name in maxwell.components}

    def wave(t):
        fields = []
        for name in maxwell.components:
            # H at the time of E is the mean of H half a step before and after.
            amplitude = electric if name[0] == "E" else magnetic * np.cos(omega * step / 2)
            phase = np.tensordot(k, places[name], 1) - omega * t
            fields.append(amplitude["xyz".index(name[1])] * np.cos(phase))
        return np.stack(fields)

    state = maxwell.initial(**dict(zip(maxwell.components, wave(0.0), strict=True)))
    frames, _ = yee.rollout(stepper, state, 50)
    for n in (1, 17, 50):
        np.testing.assert_allclose(frames[n - 1], wave(n * dt), atol=1e-11 * np.abs(wave(0.0)).max())


@pytest.mark.float64
@pytest.mark.parametrize("periodic", [(True,), (False, True), (True, False, False)])
def test_energy_is_conserved_at_the_courant_limit_and_lost_to_conduction(periodic):
    ndim = len(periodic)
    grid = Grid(SHAPE[:ndim], EXTENT[:ndim], periodic=periodic)

    def rough(seed, least):  # jumps from place to place, by factors up to 100
        return lambda x: jnp.asarray(least * 100 ** np.random.default_rng(seed).uniform(0, 1, x.shape[1:]))

    maxwell = Maxwell(grid, rough(1, 0.1), rough(2, 0.2))
    stepper = YeeStepper(maxwell, float(maxwell.largest_step()))
    lossy = eqx.tree_at(lambda s: s.maxwell.conductivity, stepper, Maxwell(grid, 1.0, 1.0, rough(3, 0.5)).conductivity)
    state = random_state(maxwell)

    @eqx.filter_jit
    def energies(stepper):
        def step(state, _):
            return stepper(state), (stepper.conserved_energy(state), maxwell.energy(state.fields))

        return jax.lax.scan(step, state, None, 400)[1]

    conserved, ordinary = energies(stepper)
    np.testing.assert_allclose(conserved, conserved[0], rtol=1e-12)
    assert 1e-4 < np.ptp(ordinary) / ordinary[0] < 1
    decaying, _ = energies(lossy)
    assert np.all(np.diff(decaying) < 0) and decaying[-1] < 0.5 * decaying[0]  # steady H stays


def test_the_courant_limit_sees_a_single_light_place():
    eps = np.array([1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 1.0, 1.0])
    maxwell = Maxwell(Grid(8, 1.6), lambda x: jnp.asarray(eps), components=("Ez", "Hy"))
    difference = (np.roll(np.eye(8), 1, axis=1) - np.eye(8)) / 0.2
    fastest = np.linalg.eigvals(difference.T @ difference / eps[:, None]).real.max()
    stable = 2 / np.sqrt(fastest)
    assert 0.6 * stable < maxwell.largest_step() < stable


@pytest.mark.float64
def test_no_conductivity_is_too_large():
    # E alone: permittivity E_t = -conductivity E, by the rule of the mean.
    grid = Grid((5, 4), (1.0, 0.7))
    for conductivity in (0.3, 1e6):
        maxwell = Maxwell(grid, 2.0, 1.0, conductivity, components=yee.TM)
        fields = YeeStepper(maxwell, 0.2, substeps=2)(maxwell.initial(Ez=1.0)).fields
        a = conductivity * 0.1 / 2 / 2.0
        np.testing.assert_allclose(fields[0], ((1 - a) / (1 + a)) ** 2, rtol=1e-12)
        np.testing.assert_array_equal(fields[1:], 0.0)


@pytest.mark.float64
def test_divergence_of_b_stays():
    grid = Grid(SHAPE, EXTENT, periodic=(False, True, False))
    maxwell = Maxwell(
        grid,
        lambda x: 1 + x[0],
        lambda x: 1 + 0.5 * jnp.sin(9 * x[1]),
        conductivity=0.3,
        boundary={"x+": yee.PerfectlyMatchedLayer(3)},
        current={"Ey": lambda x, t: jnp.cos(3 * x[2] + t)},
    )

    def divergence(fields):
        total = 0.0
        for axis, name in enumerate(("Hx", "Hy", "Hz")):
            b = np.asarray(maxwell.permeability[name] * fields[maxwell.components.index(name)])
            last = np.take(b, [0], axis) * (1.0 if grid.periodic[axis] else 0.0)
            total = total + np.diff(b, axis=axis, append=last) / grid.mean_spacing(axis)
        return total

    state = random_state(maxwell)
    frames, _ = yee.rollout(YeeStepper(maxwell, 0.2, substeps=4), state, 20)
    # In a layer derivatives across it are others, and so is what they conserve.
    outside = slice(0, 9 - 3)
    before, after = divergence(state.fields)[outside], divergence(frames[-1])[outside]
    np.testing.assert_allclose(after, before, atol=1e-12 * np.abs(before).max())
    assert np.abs(frames[-1] - state.fields).max() > 1


@pytest.mark.float64
@pytest.mark.parametrize("ndim", [2, 3])
def test_modes_of_a_cavity_converge_with_second_order(ndim):
    extent, eps, mu = np.array((1.0, 1.3, 0.7)[:ndim]), 1.5, 1.2
    k = np.zeros(3)
    k[:ndim] = np.pi * np.array((2, 1, 1)[:ndim]) / extent
    omega = np.linalg.norm(k) / np.sqrt(eps * mu)
    electric = np.array((0.0, 0.0, 1.0)) if ndim == 2 else np.cross(k, (1.0, 0.4, -0.3))
    # curl of (A_i cos(k_i x_i) prod_{j != i} sin(k_j x_j)) has the sines and cosines exchanged, and k x A.
    magnetic = -np.cross(k, electric) / (mu * omega)

    def field(name, x, t):
        own = "xyz".index(name[1])
        product = (electric if name[0] == "E" else magnetic)[own]
        for axis in range(ndim):
            # At a conductor tangential E and normal H are zero.
            vanishes = (axis == own) == (name[0] == "H")
            product = product * (jnp.sin if vanishes else jnp.cos)(k[axis] * x[axis])
        return product * (jnp.cos(omega * t) if name[0] == "E" else jnp.sin(omega * t))

    def error(refinement):
        grid = Grid([refinement * n for n in (5, 6, 4)[:ndim]], extent, periodic=False)
        maxwell = Maxwell(grid, eps, mu, components=yee.TM if ndim == 2 else ("Hz", "Ex", "Hx", "Ey", "Hy", "Ez"))

        @eqx.filter_jit
        def at_the_end():
            def exact(t):
                return jnp.stack([field(name, maxwell.positions(name), t) for name in maxwell.components])

            state = yee.YeeState(exact(0.2), {})
            return YeeStepper(maxwell, 0.9, substeps=10 * refinement)(state, t=0.2).fields - exact(1.1)

        return float(jnp.sqrt(jnp.mean(at_the_end() ** 2)))

    errors = [error(1), error(2), error(4)]
    np.testing.assert_allclose(observed_orders(errors, [4.0, 2.0, 1.0]), 2, atol=0.2)
    assert errors[-1] < 0.02


@pytest.mark.float64
def test_a_dielectric_reflects_what_fresnel_says():
    # A pulse from the left meets the step of the refractive index at x = 1, midway in time.
    eps, mu = (1.3, 6.5), (0.8, 1.1)
    speed = [1 / np.sqrt(e * m) for e, m in zip(eps, mu, strict=True)]
    impedance = [np.sqrt(m / e) for e, m in zip(eps, mu, strict=True)]
    reflected = (impedance[1] - impedance[0]) / (impedance[1] + impedance[0])

    def pulse(s):
        return jnp.exp(-((s / 0.1) ** 2))

    def exact(x, t):
        into, back = pulse(x - 0.5 - speed[0] * t), reflected * pulse(1.5 - x - speed[0] * t)
        through = (1 + reflected) * pulse((x - 1) * speed[0] / speed[1] + 0.5 - speed[0] * t)
        return jnp.where(x < 1, into + back, through)

    def errors(n):
        grid = Grid(n, 2.0, periodic=False)
        near = 0.01 * 2.0 / n

        def jump(values):  # the mean on the interface itself
            return lambda x: jnp.where(
                jnp.abs(x[0] - 1) < near, sum(values) / 2, jnp.where(x[0] < 1, values[0], values[1])
            )

        @jax.jit
        def run():
            maxwell = Maxwell(grid, jump(eps), jump(mu), components=("Ez", "Hy"))
            state = maxwell.initial(Ez=lambda x: exact(x[0], 0.0), Hy=lambda x: -exact(x[0], 0.0) / impedance[0])
            fields = YeeStepper(maxwell, 0.9, n // 2)(state).fields
            x = maxwell.positions("Ez")[0]
            # The pulse came and went: what is left of it at x < 1 is the reflected one.
            ratio = jnp.sum(jnp.where(x < 0.98, fields[0], 0)) / jnp.sum(state.fields[0])
            return jnp.max(jnp.abs(fields[0] - exact(x, 0.9))), jnp.abs(ratio - reflected)

        return [float(value) for value in run()]

    coarse, fine = errors(200), errors(400)
    np.testing.assert_allclose(observed_orders([coarse[0], fine[0]], [2.0, 1.0]), 2, atol=0.2)
    # At zero frequency, which the sum is, nothing is lost to the lattice.
    assert abs(reflected) > 0.3 and coarse[1] < 1e-6 and fine[0] < 0.01


@pytest.mark.float64
def test_a_sheet_of_current_sends_waves_to_both_sides():
    # J = K(t) delta(x) sends E = -Z/2 K(t - |x| / c), H = (sign x) ... with E x H pointing away.
    eps, mu, dt = 2.0, 0.5, 0.01
    grid = Grid(80, 1.6, periodic=False, origin=-0.8)

    def signal(t):
        return jnp.exp(-(((t - 0.4) / 0.08) ** 2))

    maxwell = Maxwell(
        grid,
        eps,
        mu,
        current={"Ey": lambda x, t: jnp.where(jnp.abs(x[0]) < 0.001, signal(t) / 0.02, 0.0)},
        components=("Hz", "Ey"),
    )
    # At this step waves travel a cell per step, and the lattice is exact; the source is a midpoint rule.
    last = YeeStepper(maxwell, 80 * 0.02, substeps=80)(maxwell.initial(), t=-0.7).fields
    x = {name: maxwell.positions(name)[0] for name in ("Ey", "Hz")}
    late = {name: signal(0.9 - jnp.abs(x[name])) for name in x}
    np.testing.assert_allclose(last[1], -np.sqrt(mu / eps) / 2 * late["Ey"], atol=2e-2)
    np.testing.assert_allclose(last[0], -jnp.sign(x["Hz"]) / 2 * late["Hz"], atol=2e-2)
    assert dt < float(maxwell.largest_step())


@pytest.mark.float64
def test_gradients_in_the_permittivity_and_a_batch_of_them():
    grid = Grid((11, 8), (1.1, 0.9), periodic=(False, True))

    class Lens(eqx.Module):
        height: jax.Array

        def __call__(self, x):
            return 1 + self.height * jnp.exp(-20 * ((x[0] - 0.6) ** 2 + (x[1] - 0.4) ** 2))

    def received(height):
        maxwell = Maxwell(grid, Lens(height), boundary={"x+": yee.PerfectlyMatchedLayer(3)}, components=yee.TE)
        state = maxwell.initial(Ey=lambda x: jnp.exp(-50 * (x[0] - 0.3) ** 2) * jnp.cos(2 * jnp.pi * x[1] / 0.9))
        frames, _ = yee.rollout(YeeStepper(maxwell, 0.3, substeps=6), state, 3)
        return jnp.sum(frames[-1, :, 7] ** 2)

    heights = jnp.array([0.5, 0.5 + 1e-5, 0.5 - 1e-5, 2.0])
    values = jax.jit(jax.vmap(received))(heights)
    value, gradient = jax.jit(jax.value_and_grad(received))(heights[0])
    np.testing.assert_allclose(gradient, (values[1] - values[2]) / 2e-5, rtol=1e-6)
    np.testing.assert_allclose(values[0], value, rtol=1e-12)
    assert abs(values[3] / values[0] - 1) > 0.05


def test_single_precision_stays_single_and_close_to_double():
    def run(dtype):
        grid = Grid((16, 12), (1.0, 0.8), periodic=(True, False), dtype=dtype)
        maxwell = Maxwell(
            grid,
            lambda x: 1 + x[0] ** 2,
            conductivity=0.1,
            components=yee.TM,
            boundary=yee.PerfectlyMatchedLayer(4),
            current={"Ez": lambda x, t: jnp.sin(9 * t) * jnp.cos(2 * jnp.pi * x[0])},
        )
        return yee.rollout(YeeStepper(maxwell, 0.2, 5), maxwell.initial(Ez=lambda x: jnp.sin(4 * x[1])), 4)

    frames, last = jax.jit(run, static_argnums=0)(np.float32)
    assert {leaf.dtype for leaf in (frames, *jax.tree.leaves(last))} == {np.dtype(np.float32)}
    if jax.config.read("jax_enable_x64"):
        np.testing.assert_allclose(frames, jax.jit(run, static_argnums=0)(np.float64)[0], atol=2e-6)


@pytest.mark.float64
def test_many_steps_and_calls_go_on_from_each_other():
    grid = Grid((9, 7), (1.0, 0.8), periodic=(True, False))
    maxwell = Maxwell(
        grid,
        boundary={"y-": yee.PerfectlyMatchedLayer(3)},
        current={"Ex": lambda x, t: (1 + x[1]) * jnp.sin(7 * t)},
        components=yee.TE,
    )
    state = random_state(maxwell)
    frames, last = yee.rollout(YeeStepper(maxwell, 0.05, 1), state, 6, t0=0.3)
    # A conductor shorts the current that runs along it.
    np.testing.assert_array_equal(frames[:, 0, :, 0], 0.0)
    # The same leapfrog, whether or not it is interrupted.
    at_once = eqx.filter_jit(YeeStepper(maxwell, 0.3, 6))(state, t=0.3)
    np.testing.assert_allclose(at_once.fields, frames[-1], atol=1e-13)
    first, middle = yee.rollout(YeeStepper(maxwell, 0.1, 2), state, 2, t0=0.3, include_initial=True)
    np.testing.assert_array_equal(first[0], state.fields)
    again, end = yee.rollout(YeeStepper(maxwell, 0.1, 2), middle, 1, t0=0.5)
    np.testing.assert_allclose(again[0], frames[-1], atol=1e-13)
    for key, memory in last.memory.items():
        np.testing.assert_allclose(end.memory[key], memory, atol=1e-13)
        assert np.abs(memory).max() > 0.01


def test_what_cannot_be_solved_is_refused_with_the_fix(without_shape_checks):
    grid = Grid((6, 5), (1.2, 0.5), periodic=(False, True))
    good = Maxwell(grid, components=yee.TM)
    # 1 / (c sqrt(1 / 0.2^2 + 1 / 0.1^2)) with c = 1 / sqrt(0.25 * 0.5)
    slow = Maxwell(grid, 0.25, 0.5, components=yee.TM)
    limit = 1 / np.sqrt(1 / 0.125) / np.sqrt(25 + 100)
    np.testing.assert_allclose(slow.largest_step(), limit, rtol=1e-6)
    with pytest.raises(ValueError, match=r"Courant limit 0\.03162 .* c = 2\.828: use substeps >= 4"):
        YeeStepper(slow, 0.1, substeps=3)
    assert YeeStepper(slow, 0.1).substeps == 4
    with pytest.raises(ValueError, match="give substeps"):
        jax.jit(lambda eps: YeeStepper(Maxwell(grid, eps), 0.1)(random_state(good)))(1.0)
    with pytest.raises(ValueError, match="In 2D Ez follows Hx, .*add it"):
        Maxwell(grid, components=("Ez", "Hy"))
    with pytest.raises(ValueError, match="permittivity must be finite and positive; .* Ey it is from 0 to 1"):
        Maxwell(grid, lambda x: x[0])
    with pytest.raises(ValueError, match="conductivity must be finite and not negative"):
        Maxwell(grid, conductivity=-1.0)
    with pytest.raises(ValueError, match=r"permeability .* for Hx it has shape \(5,\)"):
        Maxwell(grid, 1.0, lambda x: x[0, 0])
    with pytest.raises(ValueError, match=r"Axis y is periodic and has no wall: drop 'y-'"):
        Maxwell(grid, boundary={"y-": Conductor()})
    with pytest.raises(ValueError, match="axis x are 6 cells together, and the grid has 6"):
        Maxwell(grid, boundary=yee.PerfectlyMatchedLayer(3))
    with pytest.raises(ValueError, match="thickness of a layer is a whole number"):
        yee.PerfectlyMatchedLayer(2.5)
    with pytest.raises(ValueError, match="stretching of a layer must be a number >= 1"):
        yee.PerfectlyMatchedLayer(stretching=0.5)
    with pytest.raises(ValueError, match="axis 0 has nodes between its walls"):
        Maxwell(Grid(9, 1.0, periodic=False, points="nodes"))
    with pytest.raises(ValueError, match="current along 'Hx'"):
        Maxwell(grid, current={"Hx": lambda x, t: 0.0})
    with pytest.raises(ValueError, match="no component 'Ex' here"):
        good.initial(Ex=1.0)
    with pytest.raises(ValueError, match="initial Hy is not finite"):
        good.initial(Hy=np.nan)
    stepper = YeeStepper(good, 0.1)
    state = good.initial(Ez=1.0)
    with pytest.raises(ValueError, match=r"shape \(2, 6, 5\) but \(3, 6, 5\)"):
        yee.rollout(stepper, yee.YeeState(state.fields[:2], {}), 3)
    with pytest.raises(ValueError, match="not finite: look at its Hx"):
        yee.rollout(stepper, yee.YeeState(state.fields.at[1, 0, 0].set(np.inf), {}), 3)
    with pytest.raises(ValueError, match="remembers layers"):
        layered = Maxwell(grid, boundary={"x+": yee.PerfectlyMatchedLayer(2)}, components=yee.TM)
        yee.rollout(YeeStepper(layered, 0.1), state, 3)
    with pytest.raises(FloatingPointError, match=r"finite between t = 2\.5 and t = 2\.6"):
        explodes = Maxwell(grid, current={"Ez": lambda x, t: jnp.where(t > 2.52, jnp.inf, 0.0)}, components=yee.TM)
        yee.rollout(YeeStepper(explodes, 0.1), state, 12, t0=1.8)
    with pytest.raises(ValueError, match="Waves of this length grow"):
        yee.numerical_frequency([np.pi / 0.2, np.pi / 0.1], (0.2, 0.1), 0.1)
