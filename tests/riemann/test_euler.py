"""The Riemann problem of an ideal gas: published values, the laws of its waves, conservation, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.riemann import EulerRiemann, Gas
from pdejax.testing import check_lowering

NUM_PROBLEMS, NUM_SPEEDS, NUM_CELLS, TIME, ORIGIN = 240, 33, 37, 0.7, -0.3


def _study(states, gamma, speeds, edges):
    """Everything of one problem; states: `(2, 4)`, of density, velocity, pressure, one transverse velocity."""
    problem = EulerRiemann(*(Gas(*state[:3], state[3:]) for state in states), gamma)
    star, waves = problem.star, problem.wave_speeds
    return {
        "star": jnp.stack([star.pressure, star.velocity, star.left_density, star.right_density]),
        "waves": jnp.stack(jax.tree.leaves(waves)),
        "sampled": problem(speeds),
        "conserved": problem.cell_averages(edges, TIME, ORIGIN),
        "primitive": problem.cell_averages(edges, TIME, ORIGIN, conserved=False),
    }


_program = jax.jit(jax.vmap(_study))


def study(states, gamma, speeds=None, edges=None):
    """One program for the problems of all tests; places follow the sizes of the problems unless given."""
    num = len(states)
    states, gamma = np.broadcast_to(states, (num, 2, 4)), np.broadcast_to(gamma, num)
    largest = _largest_speed(states, gamma)
    speeds = largest[:, None] * np.linspace(-1, 1, NUM_SPEEDS) if speeds is None else speeds
    # Cells of unequal sizes.
    places = np.sin(np.linspace(-1.4, 1.2, NUM_CELLS + 1))
    edges = ORIGIN + TIME * largest[:, None] * places if edges is None else edges
    padded = [np.concatenate([a, np.repeat(a[:1], NUM_PROBLEMS - num, axis=0)]) for a in (states, gamma, speeds, edges)]
    result = {name: np.array(value)[:num] for name, value in _program(*map(jnp.asarray, padded)).items()}
    return result | {"speeds": speeds, "edges": edges}


def _sound(states, gamma):
    return np.sqrt(np.asarray(gamma)[..., None] * states[:, :, 2] / states[:, :, 0])


def _largest_speed(states, gamma):
    """No wave is faster; the edges of vacuum are the fastest, behind a shock nothing is."""
    sound = _sound(states, gamma).max(1)
    return 1.2 * (
        np.abs(states[:, :, 1]).max(1) + (2 + 2 / (gamma - 1)) * sound + (gamma + 1) * np.abs(states[:, :, 1]).max(1)
    )


def random_problems(num=NUM_PROBLEMS, seed=0, ratio=3.0):
    """Data that differ by up to 10^(2 ratio), and velocities from a collision at Mach 100 to a vacuum."""
    rng = np.random.default_rng(seed)
    gamma = rng.choice([1.1, 1.4, 5 / 3, 2.0, 3.5], num)
    states = np.empty((num, 2, 4))
    states[..., [0, 2]] = 10 ** rng.uniform(-ratio, ratio, (num, 2, 2))
    states[::5, 1] = states[::5, 0]
    states[..., 3] = rng.normal(size=(num, 2))
    sound = _sound(states, gamma)
    apart = np.choose(
        np.arange(num) % 4,
        [
            rng.uniform(-2, 2, num),
            -(10 ** rng.uniform(-2, 2, num)),
            2 / (gamma - 1) * (1 - 10 ** rng.uniform(-3, 0, num)),
            2 / (gamma - 1) * rng.uniform(0, 1.3, num),
        ],
    )
    states[:, 0, 1] = sound.max(1) * rng.normal(size=num)
    states[:, 1, 1] = states[:, 0, 1] + sound.sum(1) * apart
    return states, gamma


def conserved_of(primitive, gamma):
    density, velocity, transverse, pressure = primitive
    kinetic = density * (velocity**2 + transverse**2) / 2
    return np.stack([density, density * velocity, density * transverse, pressure / (gamma - 1) + kinetic])


def flux_of(primitive, gamma):
    _, velocity, _, pressure = primitive
    none = np.zeros_like(pressure)
    return conserved_of(primitive, gamma) * velocity + np.stack([none, pressure, none, pressure * velocity])


def _ordered(state):
    """As the solution orders them: density, velocity, transverse velocity, pressure."""
    return state[..., [0, 1, 3, 2]]


# Toro, Riemann Solvers and Numerical Methods for Fluid Dynamics, tables 4.1 to 4.3: left and right state, then the
# pressure, velocity and densities between the waves.
TORO = [
    ((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), (0.30313, 0.92745, 0.42632, 0.26557)),
    ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), (0.00189, 0.0, 0.02185, 0.02185)),
    ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), (460.894, 19.5975, 0.57506, 5.99924)),
    ((1.0, 0.0, 0.01), (1.0, 0.0, 100.0), (46.0950, -6.19633, 5.99242, 0.57511)),
    ((5.99924, 19.5975, 460.894), (5.99242, -6.19633, 46.0950), (1691.64, 8.68975, 14.2823, 31.0426)),
]


@pytest.mark.float64
def test_published_star_values():
    states = np.zeros((len(TORO), 2, 4))
    states[..., :3] = [(left, right) for left, right, _ in TORO]
    found = study(states, 1.4)["star"]
    expected = np.array([star for *_, star in TORO])
    # All digits of the table: half a unit of the fifth significant or fifth decimal one.
    np.testing.assert_allclose(found, expected, rtol=5e-6, atol=5.1e-6)


@pytest.mark.float64
def test_waves_obey_their_laws():
    """Rankine-Hugoniot across each shock; isentropy and the Riemann invariant through each fan; a contact moves with
    the gas on both of its sides."""
    states, gamma = random_problems()
    sound = _sound(states, gamma)
    heads, tails = study(states, gamma)["waves"][:, [0, 4]], study(states, gamma)["waves"][:, [1, 3]]
    inside = tails[..., None] + (heads - tails)[..., None] * np.linspace(0, 0.999, NUM_SPEEDS // 2)
    speeds = np.concatenate([inside.reshape(len(states), -1), np.zeros((len(states), 1))], axis=1)
    result = study(states, gamma, speeds=speeds)
    pressure, velocity, *densities = result["star"].T
    is_shock = heads == tails
    is_vacuum = pressure == 0
    assert is_shock.sum() > 100 and (~is_shock).sum() > 100 and is_vacuum.sum() > 5
    np.testing.assert_array_equal(is_shock, pressure[:, None] > states[..., 2])
    room = (2 / (gamma - 1) * sound.sum(1) - (states[:, 1, 1] - states[:, 0, 1])) / sound.sum(1)
    np.testing.assert_array_equal(is_vacuum, room <= 0)
    assert np.all(np.diff(result["waves"], axis=1) >= 0)
    np.testing.assert_array_equal(result["waves"][:, 2], velocity)
    for k, direction in ((0, -1), (1, 1)):
        everywhere = ahead = _ordered(states[:, k])
        behind = np.stack([densities[k], velocity, ahead[:, 2], pressure], axis=1)
        at = is_shock[:, k]
        # Velocities relative to the shock: those of the gas may be much larger.
        s, g = heads[at, k], gamma[at]
        one, other = ahead[at].T.copy(), behind[at].T.copy()
        one[1], other[1] = one[1] - s, other[1] - s
        gap = flux_of(one, g) - flux_of(other, g)
        scale = np.abs(flux_of(one, g))
        scale[2] = one[0] * np.abs(one[1]) * (1 + np.abs(one[2]))
        loss = 1 + np.abs(ahead[at, 1]) / np.abs(one[1]) + np.abs(states[at, 1 - k, 1]) / np.abs(one[1])
        assert np.max(np.abs(gap) / scale / loss) < 1e-13
        at = ~is_shock[:, k]
        fan = result["sampled"][:, :, :-1].reshape(len(states), 4, 2, -1)[at, :, k]
        g, a, ahead = gamma[at, None], sound[at, k][:, None], ahead[at][:, :, None]
        density, u, transverse, p = fan[:, 0], fan[:, 1], fan[:, 2], fan[:, 3]
        # At the very edge of vacuum both are zero, and say nothing.
        there = density > 1e-200
        power = 2 * g / (g - 1)
        isentropic = np.where(there, p * ahead[:, 0] ** g / np.where(there, density, 1) ** g / ahead[:, 3], 1)
        assert np.max(np.abs(isentropic - 1) / power) < 1e-14
        local_sound = np.sqrt(g * p / np.where(there, density, 1))
        invariant = u - direction * 2 / (g - 1) * local_sound - (ahead[:, 1] - direction * 2 / (g - 1) * a)
        size = np.abs(ahead[:, 1]) + 2 / (g - 1) * a
        assert np.max(np.where(there, np.abs(invariant), 0) / size) < 1e-13
        # A characteristic: the fan is made of straight ones.
        straight = u + direction * local_sound - speeds[:, :-1].reshape(len(states), 2, -1)[at, k]
        assert np.max(np.where(there, np.abs(straight) / size, 0)) < 1e-13
        np.testing.assert_array_equal(transverse, np.broadcast_to(ahead[:, 2], transverse.shape))
        # It ends in the state behind it.
        at &= ~is_vacuum
        fan = result["sampled"][:, :, :-1].reshape(len(states), 4, 2, -1)[at, :, k, 0]
        size = np.abs(behind[at]) + np.outer(np.abs(everywhere[at, 1]) + sound[at, k], [0, 1, 1, 0])
        assert np.max(np.abs(fan - behind[at]) / size) < 1e-8


@pytest.mark.float64
def test_mirrored_moving_and_scaled_problems():
    states, gamma = random_problems(seed=1, ratio=2.0)
    found = study(states, gamma)
    largest = np.abs(found["speeds"][:, :1])
    scale = np.stack([states[..., 0].max(1), largest[:, 0], np.full(len(states), 3.0)], axis=1)
    scale = np.concatenate([scale, (found["sampled"][:, 3].max(1) + 0 * largest[:, 0])[:, None]], axis=1)[:, :, None]

    mirrored = states[:, ::-1] * [1, -1, 1, 1]
    # A speed that is no wave's, from either side.
    back = study(mirrored, gamma, speeds=-found["speeds"][:, ::-1])["sampled"][:, :, ::-1] * [[1], [-1], [1], [1]]
    assert np.max(np.abs(back - found["sampled"]) / scale) < 1e-12

    shift = 0.3 * largest
    moving = states + np.concatenate([shift, 0 * shift, 0 * shift], axis=1)[:, None, [1, 0, 2, 1]]
    seen = study(moving, gamma, speeds=found["speeds"] + shift)["sampled"]
    seen[:, 1] -= shift
    assert np.max(np.abs(seen - found["sampled"]) / scale) < 1e-11

    # Units: density times 4, velocity times 1/2, hence pressure times 1; powers of two leave no rounding but of powers.
    scaled = study(states * [4, 0.5, 1, 0.5], gamma, speeds=found["speeds"] / 2)["sampled"]
    assert np.max(np.abs(scaled / np.array([[4], [0.5], [0.5], [1]]) - found["sampled"]) / scale) < 1e-13


@pytest.mark.float64
def test_cell_averages_conserve_and_are_those_of_the_solution():
    """The integral over a box is the initial one less what flowed out; averages over cells are quadratures of samples,
    and at time 0 those of the data."""
    states, gamma = random_problems(seed=2, ratio=1.5)
    found = study(states, gamma)
    widths = np.diff(found["edges"])
    total = np.sum(found["conserved"] * widths[:, None], axis=2)
    left, right = (_ordered(states[:, k]).T for k in (0, 1))
    first, last = found["edges"][:, 0] - ORIGIN, found["edges"][:, -1] - ORIGIN
    # All waves are inside of the box.
    assert np.all(TIME * found["waves"][:, 0] > first) and np.all(TIME * found["waves"][:, -1] < last)
    one, other = conserved_of(left, gamma), conserved_of(right, gamma)
    expected = other * last - one * first + TIME * (flux_of(left, gamma) - flux_of(right, gamma))
    size = np.abs(other * last) + np.abs(one * first)
    size = np.maximum(size, TIME * (np.abs(flux_of(left, gamma)) + np.abs(flux_of(right, gamma))))
    size[1:3] = np.maximum(size[1:3], np.sqrt(size[0] * size[3]))
    # 1e-15 times 2 / (gamma - 1) squared, from the energy of a fan.
    assert np.max(np.abs(total.T - expected) / size) < 1e-12

    # Quadrature, on many times as many samples as cells; first order across jumps.
    chosen = slice(0, 12)
    fine = np.linspace(0, 1, 2001)[:-1] + 1 / 4000
    cells = found["edges"][chosen, :-1, None] + widths[chosen, :, None] * fine
    sample = jax.jit(
        jax.vmap(lambda s, g, x: EulerRiemann(*(Gas(*one[:3], one[3:]) for one in s), g)((x - ORIGIN) / TIME))
    )
    sampled = np.asarray(sample(states[chosen], gamma[chosen], cells))
    for name, values in (
        ("primitive", sampled),
        ("conserved", np.stack([conserved_of(s, g) for s, g in zip(sampled, gamma[chosen], strict=True)])),
    ):
        gap = np.abs(values.mean(-1) - found[name][chosen])
        spread = np.ptp(values, axis=-1)
        assert np.all(gap <= 1.1 / 2000 * spread + 1e-12 * np.abs(values).max((2, 3), keepdims=True)[..., 0]), name
        # Within fans the rule's error is of second order, so this is an equality there.
        smooth = np.abs(np.diff(values, axis=-1)).max(-1) < 1e-2 * spread
        assert np.all((gap <= 1e-5 * spread + 1e-13 * np.abs(values).max())[smooth])

    problem = EulerRiemann(Gas(2.0, -1.0, 3.0), Gas(1.0, 0.5, 0.2), 1.3)
    start = problem.cell_averages([-1.0, 0.0, 1.0], 0.0, 0.25)
    one, other = np.array([2.0, -2.0, 3 / 0.3 + 1]), np.array([1.0, 0.5, 0.2 / 0.3 + 0.125])
    np.testing.assert_allclose(start, np.stack([one, (one + 3 * other) / 4], axis=1), rtol=1e-14)


@pytest.mark.float64
def test_vacuum_is_between_two_fans():
    states = np.array([[(1.0, -20.0, 0.4, 2.0), (2.0, 20.0, 0.4, 3.0)]])
    waves = study(states, 1.4)["waves"][0]
    sound = _sound(states, np.array([1.4]))[0]
    np.testing.assert_allclose(waves[[1, 3]], [-20 + 5 * sound[0], 20 - 5 * sound[1]], rtol=1e-14)
    np.testing.assert_allclose(waves[2], waves[[1, 3]].mean(), rtol=1e-13)
    speeds = np.linspace(waves[1], waves[3], NUM_SPEEDS, endpoint=False)[None]
    density, velocity, transverse, pressure = study(states, 1.4, speeds=speeds)["sampled"][0]
    assert np.all(density == 0) and np.all(pressure == 0)
    np.testing.assert_array_equal(velocity, waves[2])
    assert set(transverse) == {2.0, 3.0}
    # Half way through a fan the sound speed has fallen to a half: density by 2^-5, pressure by 2^-7.
    half = np.full((1, NUM_SPEEDS), waves[:2].mean())
    np.testing.assert_allclose(
        study(states, 1.4, speeds=half)["sampled"][0, [0, 3], 0], [2.0**-5, 0.4 * 2.0**-7], rtol=1e-13
    )


@pytest.mark.float64
def test_derivatives_are_those_of_differences():
    """In all data, gamma included: for a shock and a fan, two shocks, two fans, a vacuum, two equal states. Averages
    over cells know how fast the waves are."""
    data = [((1.0, 0.3, 1.0), (0.125, 0.1, 0.1)), ((1.0, 2.0, 1.0), (0.5, -1.0, 0.7))]
    data += [((1.0, -1.0, 0.4), (1.3, 1.0, 0.4)), ((1.0, -9.0, 0.4), (1.3, 9.0, 0.4))]
    data += [((1.2, 0.4, 0.8), (1.2, 0.4, 0.8))]
    data, gamma = jnp.asarray(data), jnp.full(len(data), 1.4)
    speeds, edges = jnp.linspace(-8, 8, 14), jnp.linspace(-5, 5, 8)

    def figures(states, gamma):
        problem = EulerRiemann(*(Gas(*state) for state in states), gamma)
        parts = jax.tree.leaves((problem.star, problem(speeds), problem.cell_averages(edges, 0.5)))
        return jnp.concatenate([part.ravel() for part in parts])

    program = jax.jit(lambda one, direction: jax.jvp(jax.vmap(figures), one, direction))
    rng = np.random.default_rng(0)
    for _ in range(4):
        along = jnp.asarray(rng.normal(size=data.shape)), jnp.asarray(rng.normal(size=len(data)))
        _, tangent = program((data, gamma), along)
        ahead, behind = (program((data + h * along[0], gamma + h * along[1]), along)[0] for h in (1e-5, -1e-5))
        difference = (ahead - behind) / 2e-5
        assert np.all(np.isfinite(tangent))
        scale = 1 + np.abs(difference).max(axis=1, keepdims=True)
        assert np.max(np.abs(tangent - difference) / scale) < 1e-7


@pytest.mark.float64
def test_second_derivatives_are_those_of_differences():
    pressure = lambda p: EulerRiemann(Gas(1.0, 0.5, p), Gas(0.4, -0.3, 0.6)).star.pressure  # noqa: E731
    slope, curvature = jax.grad(pressure), jax.jit(jax.hessian(pressure))
    slope = jax.jit(slope)
    np.testing.assert_allclose(curvature(1.0), (slope(1.0001) - slope(0.9999)) / 2e-4, rtol=1e-6)


@pytest.mark.float64
def test_single_precision_never_fails():
    """Pressures and densities that differ by up to 1e10, near vacuum, Mach 100, equal states: values and derivatives,
    now in reverse, are finite, and close to those of double precision."""
    states, gamma = random_problems(seed=3, ratio=5.0)
    states[0, 1] = states[0, 0]
    states, gamma = states.astype(np.float32), gamma.astype(np.float32)
    truth = study(states.astype(float), gamma.astype(float))

    def figures(states, gamma, speeds):
        problem = EulerRiemann(*(Gas(*state[:3], state[3:]) for state in states), gamma)
        parts = problem.star, problem.cell_averages(speeds, 1.0)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(parts)), parts

    program = jax.jit(jax.vmap(jax.grad(figures, (0, 1), has_aux=True)))
    gradients, (star, averages) = program(*map(jnp.asarray, (states, gamma, truth["speeds"].astype(np.float32))))
    for leaf in jax.tree.leaves((gradients, star, averages)):
        assert leaf.dtype == jnp.float32 and np.all(np.isfinite(leaf))
    pressure, velocity = truth["star"][:, 0], truth["star"][:, 1]
    sound = _sound(states, gamma)
    size = np.abs(states[..., 1]).max(1) + 2 / (gamma - 1) * sound.max(1)
    assert np.max(np.abs(star.velocity - velocity) / size) < 2e-6
    # Near vacuum a pressure follows from the small difference of two velocities.
    gap = np.abs(star.pressure - pressure)[pressure > 0.1 * states[..., 2].min(1)]
    size = pressure[pressure > 0.1 * states[..., 2].min(1)]
    assert len(size) > 100 and np.median(gap / size) < 1e-6


def test_it_lowers_and_takes_states_of_any_precision():
    def values(states, speed):
        problem = EulerRiemann(Gas(*states[0]), Gas(*states[1]))
        return problem(speed), problem.cell_averages(speed, 0.3)

    check_lowering(values, jax.ShapeDtypeStruct((2, 3), jnp.float32), jax.ShapeDtypeStruct((5,), jnp.float32))
    assert Gas(jnp.float32(2.0), 1, 3.0, [0.5, 1]).transverse_velocity.dtype == jnp.float32
    default = jnp.zeros(()).dtype
    problem = EulerRiemann(Gas(1, 0, 1), Gas(1, 0, 1))
    assert Gas(1, 0, 1).density.dtype == default
    # Nothing happens, at places of any shape; what is no place has no value.
    found = problem([[0.0, -3.0, jnp.nan], [jnp.inf, -jnp.inf, 3.0]])
    assert found.shape == (3, 2, 3) and found.dtype == default
    np.testing.assert_array_equal(found[:, 0, 2], np.full(3, np.nan))
    np.testing.assert_array_equal(found[:, 1], [[1.0] * 3, [0.0] * 3, [1.0] * 3])
    assert float(problem.star.pressure) == 1.0


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Gas(density=0.0), "Gas needs density > 0, got 0.0"),
        (lambda: Gas(pressure=-1.0), "Gas needs pressure > 0, got -1.0"),
        (lambda: Gas(velocity=np.nan), "velocity to be finite, got nan"),
        (lambda: Gas(density=np.ones(3)), r"density to be one number, got shape \(3,\): `jax.vmap`"),
        (lambda: Gas(transverse_velocity=1.0), r"one entry per direction, got shape \(\)"),
        (lambda: Gas(velocity=1j), "real numbers"),
        (lambda: EulerRiemann(Gas(), Gas(), 1.0), "heat_capacity_ratio > 1, got 1.0"),
        (lambda: EulerRiemann(Gas(), Gas(1, 1, 1, (2.0,))), "0 transverse velocities on the left and 1 on the right"),
        (lambda: EulerRiemann(Gas(), Gas()).cell_averages([0.0, 1.0, 1.0], 1.0), "must be finite and increase"),
        (lambda: EulerRiemann(Gas(), Gas()).cell_averages([0.0], 1.0), r"\(cells \+ 1,\).*got shape \(1,\)"),
        (lambda: EulerRiemann(Gas(), Gas()).cell_averages([0.0, 1.0], -0.5), "time >= 0, got -0.5"),
        (lambda: EulerRiemann(Gas(), Gas()).cell_averages([0.0, 1.0], [0.5]), "at one time, got shape"),
    ],
)
def test_data_that_make_no_sense_are_refused(build, match, without_shape_checks):
    with pytest.raises(ValueError, match=match):
        build()


def test_it_is_offered():
    assert pj.riemann.EulerRiemann is EulerRiemann
