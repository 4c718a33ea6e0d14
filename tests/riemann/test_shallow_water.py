"""The Riemann problem of shallow water: closed forms of dam breaks, the laws of its waves, dry beds, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from pdejax.riemann import ShallowWaterRiemann, Water
from pdejax.testing import check_lowering

NUM_PROBLEMS, NUM_SPEEDS, NUM_CELLS, TIME, GRAVITY = 120, 41, 29, 0.8, 9.81


def _study(states, gravity, speeds, edges):
    """Everything of one problem; states: `(2, 3)`, of depth, velocity, one transverse velocity."""
    problem = ShallowWaterRiemann(*(Water(*state[:2], state[2:]) for state in states), gravity)
    star = problem.star
    return {
        "star": jnp.stack([star.depth, star.velocity]),
        "waves": jnp.stack(jax.tree.leaves(problem.wave_speeds)),
        "sampled": problem(speeds),
        "conserved": problem.cell_averages(edges, TIME),
        "primitive": problem.cell_averages(edges, TIME, conserved=False),
    }


_program = jax.jit(jax.vmap(_study, (0, None, 0, 0)))


def study(states, speeds=None):
    num = len(states)
    states = np.asarray(states, float)
    depth, velocity = states[..., 0].max(1), np.abs(states[..., 1]).max(1)
    largest = 1.2 * (3 * np.sqrt(GRAVITY * depth) + 3 * velocity)[:, None]
    speeds = largest * np.linspace(-1, 1, NUM_SPEEDS) if speeds is None else np.broadcast_to(speeds, (num, NUM_SPEEDS))
    edges = TIME * largest * np.sin(np.linspace(-1.4, 1.2, NUM_CELLS + 1))
    padded = [np.concatenate([a, np.repeat(a[:1], NUM_PROBLEMS - num, axis=0)]) for a in (states, speeds, edges)]
    result = _program(jnp.asarray(padded[0]), GRAVITY, *map(jnp.asarray, padded[1:]))
    return {name: np.asarray(value)[:num] for name, value in result.items()} | {"speeds": speeds, "edges": edges}


def random_problems(num=NUM_PROBLEMS, seed=0):
    rng = np.random.default_rng(seed)
    states = np.empty((num, 2, 3))
    states[..., 0] = 10 ** rng.uniform(-3, 3, (num, 2))
    states[::6, 1] = states[::6, 0]
    states[..., 2] = rng.normal(size=(num, 2))
    speed = np.sqrt(GRAVITY * states[..., 0])
    apart = np.choose(
        np.arange(num) % 3, [rng.uniform(-2, 2, num), -(10 ** rng.uniform(-2, 1.5, num)), rng.uniform(0, 2.5, num)]
    )
    states[:, 0, 1] = speed.max(1) * rng.normal(size=num)
    states[:, 1, 1] = states[:, 0, 1] + speed.sum(1) * apart
    return states


def conserved_of(primitive):
    depth, velocity, transverse = primitive
    return np.stack([depth, depth * velocity, depth * transverse])


def flux_of(primitive):
    depth, velocity, _ = primitive
    return conserved_of(primitive) * velocity + np.stack([0 * depth, GRAVITY * depth**2 / 2, 0 * depth])


@pytest.mark.float64
def test_dam_breaks_over_wet_and_dry_beds():
    """Stoker's solution, by a root finder of another kind; Ritter's, in closed form; both in both directions."""
    upper, lower = 2.0, 0.3
    fast = np.sqrt(GRAVITY * upper)

    def gap(depth):  # the velocity behind the fan less that behind the bore
        bore = (depth - lower) * np.sqrt(GRAVITY / 2 * (1 / depth + 1 / lower))
        return 2 * (fast - np.sqrt(GRAVITY * depth)) - bore

    depth = brentq(gap, lower, upper, xtol=1e-15, rtol=1e-14)
    velocity = 2 * (fast - np.sqrt(GRAVITY * depth))
    bore = depth * velocity / (depth - lower)
    wet = [(upper, 0.0, 0.0), (lower, 0.0, 0.0)]
    # The velocity of a dry bed is nobody's.
    dry = [(upper, 0.0, 0.0), (0.0, -5.0, 0.0)]
    found = study([wet, wet[::-1], dry, dry[::-1]])
    np.testing.assert_allclose(found["star"][:2], [(depth, velocity), (depth, -velocity)], rtol=1e-13)
    expected = np.array([-fast, velocity - np.sqrt(GRAVITY * depth), velocity, bore, bore])
    np.testing.assert_allclose(found["waves"][:2], [expected, -expected[::-1]], rtol=1e-12)
    np.testing.assert_allclose(found["waves"][2], [-fast, *[2 * fast] * 4], rtol=1e-14)
    np.testing.assert_allclose(found["waves"][3], [*[-2 * fast] * 4, fast], rtol=1e-14)
    np.testing.assert_allclose(found["star"][2:], [(0, 2 * fast), (0, -2 * fast)], rtol=1e-14)
    x = found["speeds"][2]
    is_fan = (x > -fast) & (x < 2 * fast)
    ritter = np.where(is_fan, (2 * fast - x) ** 2 / (9 * GRAVITY), np.where(x < 0, upper, 0))
    np.testing.assert_allclose(found["sampled"][2, 0], ritter, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(found["sampled"][2, 1], np.where(is_fan, 2 / 3 * (x + fast), np.where(x < 0, 0, -5)))
    np.testing.assert_allclose(found["sampled"][3, 0, ::-1], ritter, rtol=1e-13, atol=1e-14)
    # Depth and discharge at the dam stay what they are: 4/9 of the depth, 8/27 of depth times speed.
    at_dam = study([dry], speeds=np.zeros(NUM_SPEEDS))["sampled"][0, :2, 0]
    np.testing.assert_allclose([at_dam[0], at_dam.prod()], [4 / 9 * upper, 8 / 27 * upper * fast], rtol=1e-14)


@pytest.mark.float64
def test_a_bed_falls_dry_between_two_fans():
    states = [[(1.0, -12.0, 1.0), (2.0, 12.0, 2.0)], [(0.0, 1.0, 0.0), (0.0, -1.0, 0.0)]]
    found = study(states)
    waves = found["waves"][0]
    edges = [-12 + 2 * np.sqrt(GRAVITY), 12 - 2 * np.sqrt(2 * GRAVITY)]
    np.testing.assert_allclose(waves[[1, 3]], edges, rtol=1e-14)
    np.testing.assert_allclose(found["star"][0], [0.0, np.mean(edges)], rtol=1e-13)
    between = np.linspace(*waves[[1, 3]], NUM_SPEEDS)
    assert np.all(study(states[:1], speeds=between)["sampled"][0, 0] == 0)
    assert np.all(found["sampled"][1, 0] == 0) and np.all(found["conserved"][1] == 0)
    assert all(np.all(np.isfinite(one)) for one in found.values())


@pytest.mark.float64
def test_waves_obey_their_laws():
    states = random_problems()
    waves = study(states)["waves"]
    heads, tails = waves[:, [0, 4]], waves[:, [1, 3]]
    inside = tails[..., None] + (heads - tails)[..., None] * np.linspace(0, 0.999, NUM_SPEEDS // 2)
    speeds = np.concatenate([inside.reshape(len(states), -1), np.zeros((len(states), 1))], axis=1)
    result = study(states, speeds)
    depth, velocity = result["star"].T
    is_bore = heads == tails
    assert is_bore.sum() > 50 and (~is_bore).sum() > 50 and (depth == 0).sum() > 3
    np.testing.assert_array_equal(is_bore, depth[:, None] > states[..., 0])
    assert np.all(np.diff(waves, axis=1) >= 0)
    for k, direction in ((0, -1), (1, 1)):
        at, ahead = is_bore[:, k], states[:, k]
        one = ahead[at].T - np.outer([0, 1, 0], heads[at, k])
        other = np.stack([depth, velocity, ahead[:, 2]])[:, at] - np.outer([0, 1, 0], heads[at, k])
        scale = np.abs(flux_of(one))
        scale[2] = one[0] * np.abs(one[1]) * (1 + np.abs(one[2]))
        loss = 1 + np.abs(states[at, :, 1]).sum(1) / np.abs(one[1])
        assert np.max(np.abs(flux_of(one) - flux_of(other)) / scale / loss) < 5e-13
        at = ~is_bore[:, k]
        fan = result["sampled"][:, :, :-1].reshape(len(states), 3, 2, -1)[at, :, k]
        c, ahead = np.sqrt(GRAVITY * fan[:, 0]), ahead[at]
        c_ahead = np.sqrt(GRAVITY * ahead[:, 0])[:, None]
        size = np.abs(ahead[:, 1:2]) + 2 * c_ahead
        invariant = fan[:, 1] - direction * 2 * c - (ahead[:, 1:2] - direction * 2 * c_ahead)
        straight = fan[:, 1] + direction * c - speeds[:, :-1].reshape(len(states), 2, -1)[at, k]
        # At the very edge of a dry bed there is no speed of waves to speak of.
        there = fan[:, 0] > 0
        assert np.max(np.where(there, np.abs(invariant), 0) / size) < 1e-13
        assert np.max(np.where(there, np.abs(straight), 0) / size) < 1e-13
        np.testing.assert_array_equal(fan[:, 2], np.broadcast_to(ahead[:, 2:3], fan[:, 2].shape))


@pytest.mark.float64
def test_cell_averages_conserve():
    """The integral over a box is the initial one less what flowed out, over dry beds as well; primitive averages agree
    with a quadrature of samples where the solution is a fan."""
    states = random_problems(seed=1)
    states[:8, 0, 0] = states[8:16, 1, 0] = 0
    found = study(states)
    widths = np.diff(found["edges"])
    total = np.sum(found["conserved"] * widths[:, None], axis=2).T
    first, last = found["edges"][:, 0], found["edges"][:, -1]
    assert np.all(TIME * found["waves"][:, 0] > first) and np.all(TIME * found["waves"][:, -1] < last)
    left, right = (states[:, k].T for k in (0, 1))
    one, other = conserved_of(left), conserved_of(right)
    expected = other * last - one * first + TIME * (flux_of(left) - flux_of(right))
    size = np.abs(other * last) + np.abs(one * first) + TIME * (np.abs(flux_of(left)) + np.abs(flux_of(right)))
    assert np.max(np.abs(total - expected) / size.max(0)) < 1e-12
    # Ritter's fan in one cell: the average depth is a third of that of the dam.
    problem = ShallowWaterRiemann(Water(2.0), Water(0.0))
    waves = problem.wave_speeds
    fan = [float(waves.left_head) * TIME, float(waves.left_tail) * TIME]
    np.testing.assert_allclose(problem.cell_averages(fan, TIME, conserved=False)[0, 0], 2 / 3, rtol=1e-13)
    np.testing.assert_allclose(
        problem.cell_averages(fan, TIME, conserved=False)[1, 0], np.sqrt(GRAVITY * 2), rtol=1e-13
    )


@pytest.mark.float64
def test_derivatives_are_those_of_differences():
    """In all data and gravity; for a dam break over a wet bed, two bores, two fans, a dry middle, a dry bed, and equal
    states. Averages over cells know how fast the waves are."""
    data = [((2.0, 0.1), (1.0, 0.0)), ((1.0, 2.0), (0.6, -1.0)), ((1.0, -1.0), (1.3, 1.0))]
    data += [((1.0, -9.0), (1.3, 9.0)), ((1.5, 0.2), (0.0, 0.0)), ((1.2, 0.4), (1.2, 0.4))]
    data = jnp.asarray(data)
    gravity = jnp.full(len(data), 9.81)
    edges = jnp.linspace(-7, 7, 8)

    rng = np.random.default_rng(0)

    def figure(states, gravity, weights):
        problem = ShallowWaterRiemann(*(Water(*state) for state in states), gravity)
        parts = jax.tree.leaves((problem.star, problem.cell_averages(edges, 0.5, conserved=False)))
        return weights @ jnp.concatenate([part.ravel() for part in parts])

    program = jax.jit(jax.vmap(jax.value_and_grad(figure, (0, 1)), (0, 0, None)))
    along = rng.normal(size=data.shape)
    # A dry bed stays dry.
    along[4, 1] = 0
    along = jnp.asarray(along), jnp.asarray(rng.normal(size=len(data)))
    for _ in range(4):
        weights = jnp.asarray(rng.normal(size=2 + 2 * (len(edges) - 1)))
        _, gradient = program(data, gravity, weights)
        assert all(np.all(np.isfinite(leaf)) for leaf in gradient)
        slope = jnp.sum(gradient[0] * along[0], axis=(1, 2)) + gradient[1] * along[1]
        ahead, behind = (program(data + h * along[0], gravity + h * along[1], weights)[0] for h in (1e-5, -1e-5))
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-6)


def test_single_precision_lowers_and_never_fails():
    states = random_problems(seed=2)
    states[:5, 0, 0] = states[5:10, 1, 0] = states[9, :, 0] = 0

    def values(states):
        problem = ShallowWaterRiemann(*(Water(*state[:2]) for state in states), jnp.float32(9.81))
        places = jnp.linspace(-50, 50, 12, dtype=jnp.float32)
        return problem(places), problem.cell_averages(places, 1.0)

    for leaf in jax.jit(jax.vmap(values))(jnp.asarray(states, jnp.float32)):
        assert leaf.dtype == jnp.float32 and np.all(np.isfinite(leaf))
    check_lowering(values, jax.ShapeDtypeStruct((2, 3), jnp.float32))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Water(-0.1), "Water needs depth >= 0, got -0.1"),
        (lambda: Water(np.inf), "depth to be finite, got inf"),
        (lambda: Water(1.0, np.zeros(2)), "velocity to be one number"),
        (lambda: ShallowWaterRiemann(Water(), Water(), 0.0), "gravity > 0, got 0.0"),
        (lambda: ShallowWaterRiemann(Water(1, 0, (1.0,)), Water()), "1 transverse velocities on the left and 0"),
    ],
)
def test_data_that_make_no_sense_are_refused(build, match, without_shape_checks):
    with pytest.raises(ValueError, match=match):
        build()
