"""The schedule against published numbers, and the sampling with networks that know the answer."""

from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid
from pdejax.models import FNO, NeuralStepper, Normalised, PDERefiner, Statistics, load, save
from pdejax.nn import Conditioning, Embedding, FiLM, RefinementSchedule
from pdejax.rollout import rollout
from pdejax.training.objectives import Refined
from pdejax.training.objectives.objective import Windows

KEY = jax.random.key(0)
SCHEDULES = [RefinementSchedule(), RefinementSchedule(2, 0.01), RefinementSchedule(3, 1e-3, "noise")]


class Knows(eqx.Module):
    """A network that returns exactly what is sought for `y = answer(u)`."""

    schedule: RefinementSchedule = eqx.field(static=True)

    def __call__(self, inputs, parameters=None, *, domain=None):
        u, x = inputs[:1], inputs[1:]
        k = jnp.round(parameters["refinement"] * self.schedule.num_refinements / 1000).astype(int)
        signal, noise, of_y, of_e = (
            jnp.asarray(part, x.dtype)[k] for part in (self.schedule.signal, self.schedule.noise, *self.schedule.target)
        )
        y = answer(u)
        return of_y * y + of_e * (x - signal * y) / jnp.where(noise > 0, noise, 1)


def answer(u):
    return jnp.concatenate([jnp.sin(u), jnp.roll(u, 1, 1)])


def small(**options):
    told = Conditioning("refinement", modulation=FiLM(), embedding=Embedding(8, 4))
    network = FNO(2, 1, 1, 3, 4, num_layers=1, conditioning=told, key=KEY)
    return PDERefiner(network, 1, RefinementSchedule(2, 0.01), **options)


def test_deviations_and_transitions_are_those_of_the_published_code():
    # Measured there with min_noise_std = 4e-7, which is a variance.
    for count, expected in (
        (1, (1, 6.32e-4)),
        (2, (1, 2.52e-2, 6.3e-4)),
        (3, (1, 8.62e-2, 7.40e-3, 6.32e-4)),
        (4, (1, 0.161, 2.55e-2, 4.04e-3, 6.3e-4)),
    ):
        schedule = RefinementSchedule(count, 4e-7**0.5)
        np.testing.assert_allclose(schedule.noise, expected, rtol=6e-3)
        np.testing.assert_allclose(schedule.signal**2 + schedule.noise**2, 1, rtol=1e-12)
    of_y, of_x, of_noise = RefinementSchedule(3, 4e-7**0.5).transitions((0, 1, 2, 3))
    np.testing.assert_allclose(of_y, (0.9963, 0.99266, 0.99269, 1), rtol=1e-4)
    np.testing.assert_allclose(of_x, (0, 0.00734, 0.00731, 0), rtol=2e-3, atol=1e-12)
    np.testing.assert_allclose(of_noise, (0.0862, 0.00737, 6.30e-4, 0), rtol=3e-3)
    np.testing.assert_allclose(RefinementSchedule(2, 0.01, "noise").noise, (0, 0.1, 0.01))


@pytest.mark.parametrize(
    ("count", "smallest"), [(3, 1e-9), (2, 1e-20), (1000, 0.5), (5000, 0.1), (10, 1 - 1e-16), (1, 0.999)]
)
def test_schedules_of_very_little_noise_and_of_very_many_levels_have_no_rounding(count, smallest):
    with np.errstate(invalid="raise", over="raise"):
        schedule = RefinementSchedule(count, smallest)
        parts = schedule.transitions(range(count + 1))
        found = (schedule.noise, schedule.signal, *parts, *schedule.target)
    assert all(np.all(np.isfinite(each)) for each in found)
    assert schedule.noise[-1] == pytest.approx(smallest, rel=1e-12) and np.all(np.diff(schedule.noise) <= 0)
    mean, variance = 0.0, 1.0
    for step, (of_y, of_x, of_noise) in enumerate(zip(*parts, strict=True)):
        if step < count:
            mean, variance = of_y + of_x * mean, of_x**2 * variance + of_noise**2
            np.testing.assert_allclose(mean, schedule.signal[step + 1], rtol=1e-10)
            np.testing.assert_allclose(variance, schedule.noise[step + 1] ** 2, rtol=1e-9)


@pytest.mark.parametrize("levels", [(0, 1, 2, 3), (0, 3), (0, 2)])
def test_the_next_level_has_the_law_that_training_shows(levels):
    # With y known: mean a_k y and deviation n_k on every level that is passed.
    schedule = RefinementSchedule(3, 0.02)
    mean, variance = 0.0, 1.0
    of_y, of_x, of_noise = schedule.transitions(levels)
    for step, then in enumerate(levels[1:]):
        mean = of_y[step] + of_x[step] * mean
        variance = of_x[step] ** 2 * variance + of_noise[step] ** 2
        np.testing.assert_allclose((mean, variance), (schedule.signal[then], schedule.noise[then] ** 2), rtol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("levels", [None, (0,), (0, 2)])
def test_a_network_that_knows_the_answer_gives_it_whatever_is_drawn(schedule, levels):
    u = jax.random.normal(jax.random.key(1), (1, 12))
    model = PDERefiner(Knows(schedule), 2, schedule, levels)
    for seed in (0, 1):
        np.testing.assert_allclose(jax.jit(model)(u, key=jax.random.key(seed)), answer(u), atol=2e-5)
    residual = jax.jit(model.residual)(u, answer(u), key=KEY)
    # Noise of 6e-4 is what single precision leaves of it over y of order one.
    np.testing.assert_allclose(residual, 0, atol=5e-4)


def test_its_residual_is_on_every_level_equally_often():
    schedule = RefinementSchedule(2, 0.01)

    class Level(eqx.Module):
        def __call__(self, inputs, parameters=None, *, domain=None):
            return jnp.full_like(inputs[1:], parameters["refinement"])

    model = PDERefiner(Level(), 1, schedule)
    u = jnp.zeros((1, 1))
    drawn = jax.vmap(lambda key: model.residual(u, u, key=key))(jax.random.split(KEY, 3000))
    levels, counts = np.unique(np.round(np.asarray(drawn) / 500), return_counts=True)
    np.testing.assert_array_equal(levels, [0, 1, 2])
    assert np.all(np.abs(counts - 1000) < 120)


def test_it_says_what_it_takes_where_its_network_does():
    assert (small().in_channels, small().ndim) == (1, 1)
    assert not hasattr(PDERefiner(One(), 1), "in_channels")


def test_every_key_gives_another_member_and_the_same_one_the_same():
    model, u = small(), jax.random.normal(jax.random.key(1), (1, 16))
    one, again, other = (eqx.filter_jit(model)(u, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert float(jnp.max(jnp.abs(one - other))) > 1e-3
    members = eqx.filter_jit(eqx.filter_vmap(lambda key: rollout(NeuralStepper(model, 0.1), u, 3, key=key)))(
        jax.random.split(KEY, 4)
    )
    assert members.shape == (4, 3, 1, 16) and float(jnp.min(jnp.std(members, axis=0))) > 0


class Recorded:
    """A network that keeps what it was given, and predicts zero."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, inputs, parameters=None, *, domain=None):
        self.calls.append((inputs, parameters, domain))
        return jnp.zeros_like(inputs[1:])


def test_the_noise_of_every_level_is_new_and_the_network_is_told_what_the_call_is():
    calls, schedule, grid = [], RefinementSchedule(2, 0.2), Grid(4096, 1.0, dtype=jnp.float32)
    u = jnp.sin(jnp.arange(4096.0, dtype=jnp.float32))[None]
    with jax.disable_jit():
        PDERefiner(Recorded(calls), 1, schedule)(u, {"viscosity": 0.3}, domain=grid, key=KEY)
        PDERefiner(Recorded(calls), 1, schedule).residual(u, u, {"viscosity": 0.3}, domain=grid, key=KEY)
    assert [float(told["refinement"]) for _, told, _ in calls[:3]] == [0, 500, 1000]
    for inputs, told, domain in calls:
        np.testing.assert_array_equal(inputs[:1], u)
        assert told["viscosity"] == 0.3 and domain is grid
    # With a prediction of zero y is a_k x.
    x = [inputs[1] for inputs, _, _ in calls[:3]]
    of_y, of_x, of_noise = schedule.transitions((0, 1, 2))
    drawn = [x[0]] + [(x[k + 1] - (of_y[k] * schedule.signal[k] + of_x[k]) * x[k]) / of_noise[k] for k in (0, 1)]
    np.testing.assert_allclose(np.corrcoef(drawn), np.eye(3), atol=0.06)
    np.testing.assert_allclose(np.std(drawn, axis=1), 1, atol=0.05)


class Goes(eqx.Module):
    """A network through which y is 0 on the first level, then 1, 1.001 and 5."""

    schedule: RefinementSchedule = eqx.field(static=True)

    def __call__(self, inputs, parameters=None, *, domain=None):
        x, k = inputs[1:], jnp.round(parameters["refinement"] * 3 / 1000).astype(int)
        y = jnp.asarray([0.0, 1.0, 1.001, 5.0])[k]
        of_x, of_predicted = (jnp.asarray(each, x.dtype)[k] for each in self.schedule.estimate)
        return (y - of_x * x) / of_predicted


def test_it_ends_by_what_a_refinement_changes_in_the_result_and_not_before_there_is_one():
    schedule = RefinementSchedule(3, 0.02, "noise")
    for tolerance, ends_with in ((0.01, 1.001), (1e-4, 5.0), (2.0, 1.0)):
        model = PDERefiner(Goes(schedule), 1, schedule, tolerance=tolerance)
        found = eqx.filter_jit(model)(jnp.ones((1, 64)), key=KEY)
        np.testing.assert_allclose(found, ends_with, atol=1e-4)


def test_it_ends_early_where_refinement_changes_little():
    u = jax.random.normal(jax.random.key(1), (1, 16))
    whole, first = small(), small(levels=(0,))
    results = {tolerance: eqx.filter_jit(small(tolerance=tolerance))(u, key=KEY) for tolerance in (1e-9, 1e9)}
    np.testing.assert_allclose(results[1e-9], eqx.filter_jit(whole)(u, key=KEY), atol=1e-6)
    two = eqx.filter_jit(small(levels=(0, 1)))(u, key=KEY)
    assert float(jnp.max(jnp.abs(two - eqx.filter_jit(first)(u, key=KEY)))) > 1e-3
    # After the first change, which is smaller than anything.
    assert float(jnp.max(jnp.abs(results[1e9] - results[1e-9]))) > 1e-3


@pytest.mark.parametrize("residual", [True, False])
def test_the_objective_is_the_residual_in_the_units_of_the_network(residual):
    schedule = RefinementSchedule(2, 0.01)
    model = PDERefiner(Knows(schedule), 2, schedule)
    grid = Grid(12, 1.0, dtype=jnp.float32)
    around = Normalised(model, Statistics([1.0], [2.0]), Statistics([0.5, -1.0], [3.0, 0.1]))
    u = jax.random.normal(jax.random.key(1), (4, 1, 12))
    following = jax.vmap(lambda u: around.output.restore(answer(around.input.remove(u))))(u)
    if residual:
        pair = jnp.concatenate([u, 2 * u], axis=1)
        network = PDERefiner(Both(), 2, schedule)
        around = Normalised(network, Statistics([1.0, 0], [2.0, 1]), Statistics([0.5, -1.0], [3.0, 0.1]), residual=True)
        following = pair + jnp.asarray([0.5, -1.0])[:, None]
        frames = jnp.stack([pair, following], axis=1)
    else:
        frames = [u, following]
    if residual:
        # What is sought is then zero in the network's units, and a network of zeros is wrong by the noise alone.
        np.testing.assert_allclose(jax.vmap(around.sought)(pair, following), 0, atol=1e-5)
        loss, _ = Refined()(around, Windows(frames, {}, grid), KEY)
        assert 0.01 < float(loss) < 1.5
    else:
        sought = jax.vmap(around.sought)(*frames)
        np.testing.assert_allclose(sought, jax.vmap(answer)(jax.vmap(around.input.remove)(u)), atol=1e-4)


class Answers(Knows):
    """Knows the answer to the first channel of a state in its own units, told a parameter in its own and the grid."""

    def __call__(self, inputs, parameters=None, *, domain=None):
        assert isinstance(domain, Grid)
        first = inputs[:1] + parameters["viscosity"]
        return super().__call__(jnp.concatenate([first, inputs[2:]]), parameters, domain=domain)


def test_the_objective_gives_the_network_everything_in_its_units():
    schedule, grid = RefinementSchedule(2, 0.1), Grid(12, 1.0, dtype=jnp.float32)
    units = Statistics([1.0, 0.3], [2.0, 0.5]), Statistics([0.5, -1.0], [3.0, 0.1])
    told = {"viscosity": Statistics(0.2, 0.5)}
    model = Normalised(PDERefiner(Answers(schedule), 2, schedule), *units, parameters=told)
    u, viscosity = jax.random.normal(jax.random.key(1), (4, 2, 12)), jnp.asarray([0.1, 0.2, 0.3, 0.9], jnp.float32)
    seen = (u[:, :1] - 1) / 2 + ((viscosity - 0.2) / 0.5)[:, None, None]
    following = jax.vmap(answer)(seen) * jnp.asarray([3.0, 0.1])[:, None] + jnp.asarray([0.5, -1.0])[:, None]
    windows = Windows(jnp.stack([u, following], axis=1), {"viscosity": viscosity}, grid)
    np.testing.assert_allclose(Refined().residuals(model, windows, KEY), 0, atol=2e-4)


def test_the_objective_draws_level_and_noise_for_every_window():
    schedule, grid = RefinementSchedule(2, 0.1), Grid(12, 1.0, dtype=jnp.float32)
    model = PDERefiner(Recorded([]), 1, schedule)
    same = Windows(jnp.ones((6, 2, 1, 12)), {}, grid)
    found = np.asarray(Refined().residuals(model, same, KEY)).reshape(6, -1)
    # What is sought on the first level is the result alone, and elsewhere noise in part.
    noisy = [each for each in found if np.std(each) > 1e-3]
    assert 2 <= len(noisy) < 6
    assert all(np.max(np.abs(one - other)) > 1e-2 for one, other in combinations(noisy, 2))


class One(eqx.Module):
    def __call__(self, inputs, parameters=None, *, domain=None):
        return inputs[:1]


class Both(eqx.Module):
    def __call__(self, inputs, parameters=None, *, domain=None):
        return jnp.zeros_like(inputs[2:])


@pytest.mark.usefixtures("without_shape_checks")
def test_whole_numbers_are_a_state_and_half_precision_stays_it():
    model = small()
    np.testing.assert_array_equal(*(model(u, key=KEY) for u in (jnp.arange(16)[None], jnp.arange(16.0)[None])))

    class Widens(eqx.Module):
        def __call__(self, inputs, parameters=None, *, domain=None):
            return jnp.asarray(inputs[1:], jnp.float32)

    u = jnp.ones((1, 16), jnp.bfloat16)
    assert PDERefiner(Widens(), 1, RefinementSchedule(2, 0.1))(u, key=KEY).dtype == jnp.bfloat16


@pytest.mark.usefixtures("without_shape_checks")
def test_it_is_saved_and_loaded(tmp_path):
    u = jax.random.normal(jax.random.key(1), (1, 16))
    network = small().network
    # Numbers of numpy are no arrays of the model.
    model = PDERefiner(network, 1, RefinementSchedule(np.int64(2), np.float32(0.01)), np.asarray([0, 2]), np.float32(1))
    save(tmp_path / "model", model)
    both = (model, load(tmp_path / "model").model)
    np.testing.assert_array_equal(*(eqx.filter_jit(each)(u, key=KEY) for each in both))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RefinementSchedule(0), "num_refinements must be >= 1, got 0"),
        (lambda: RefinementSchedule(1.5), "num_refinements must be a whole number, got 1.5"),
        (lambda: RefinementSchedule(3, "a"), r"smallest_noise in \(0, 1\), a standard deviation, got 'a'"),
        (lambda: small(levels=0), "levels that rise from 0, up to 2, got 0"),
        (lambda: small(levels=(0, 1.5)), r"levels that rise from 0, up to 2, got \(0, 1.5\)"),
        (
            lambda: PDERefiner(FNO(2, 1, 1, 3, 4, num_layers=1, key=KEY), 1),
            'the parameter "refinement", and this FNO is not told it: .*Conditioning',
        ),
        (
            lambda: PDERefiner(small().network, 2),
            r"PDERefiner\(network, 2\) takes the channels of a state and 2 more, and makes 2, .* takes 2 and makes 1",
        ),
        (lambda: PDERefiner(One(), 2)(jnp.ones((2, 8)), key=KEY), r"shape \(1, 8\) and has to predict \(2, 8\)"),
        (
            lambda: PDERefiner(One(), 2).residual(jnp.ones((2, 8)), jnp.ones((2, 8)), key=KEY),
            r"build it with in_channels=4 and out_channels=2",
        ),
        (lambda: small()(jnp.ones((1, 16)), key=3), r"with key=jax.random.key\(3\), got key=3"),
        (lambda: RefinementSchedule(3, 1.0), r"smallest_noise in \(0, 1\), a standard deviation, got 1.0"),
        (lambda: RefinementSchedule(3, 0.1, "x"), "the predictions .*, got 'x'"),
        (lambda: small(levels=(1, 2)), r"levels that rise from 0, up to 2, got \(1, 2\)"),
        (lambda: small(levels=(0, 3)), r"levels that rise from 0, up to 2, got \(0, 3\)"),
        (lambda: small(tolerance=0), "a tolerance > 0"),
        (lambda: PDERefiner(FNO, 1), "takes a model that is built, .* got the class FNO"),
        (lambda: PDERefiner(Both(), 1, 3), r"schedule=RefinementSchedule\(...\), got 3"),
        (lambda: small()(jnp.ones((1, 16))), r"needs a key: model\(u, key=jax.random.key\(0\)\)"),
        (
            lambda: Refined()(Both(), Windows(jnp.ones((1, 2, 1, 8)), {}, None), KEY),
            "Refined trains a PDERefiner, .* got a Both",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
