"""The schedule against published numbers, and the sampling with networks that know the answer."""

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


def test_every_key_gives_another_member_and_the_same_one_the_same():
    model, u = small(), jax.random.normal(jax.random.key(1), (1, 16))
    one, again, other = (eqx.filter_jit(model)(u, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert float(jnp.max(jnp.abs(one - other))) > 1e-3
    members = eqx.filter_jit(eqx.filter_vmap(lambda key: rollout(NeuralStepper(model, 0.1), u, 3, key=key)))(
        jax.random.split(KEY, 4)
    )
    assert members.shape == (4, 3, 1, 16) and float(jnp.min(jnp.std(members, axis=0))) > 0


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


class Both(eqx.Module):
    def __call__(self, inputs, parameters=None, *, domain=None):
        return jnp.zeros_like(inputs[2:])


def test_it_is_saved_and_loaded(tmp_path):
    model, u = small(tolerance=0.1, levels=(0, 2)), jax.random.normal(jax.random.key(1), (1, 16))
    save(tmp_path / "model", model)
    both = (model, load(tmp_path / "model").model)
    np.testing.assert_array_equal(*(eqx.filter_jit(each)(u, key=KEY) for each in both))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RefinementSchedule(0), "num_refinements >= 1, got 0"),
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
