"""The objective of latent steps: by hand, zero where all is exact, and each term where that alone is wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import (
    FNO,
    Ensemble,
    InPrecision,
    LatentEvolution,
    NeuralStepper,
    Normalised,
    Statistics,
    latent_rollout,
)
from pdejax.nn import Conditioning, LatentMLP, StridedDecoder, StridedEncoder
from pdejax.training.normalising import normalised
from pdejax.training.objectives import Bundled, Curriculum, Latent, OneStep, Sum, Windows

KEY = jax.random.key(0)
RATES = np.array([0.2, 0.5])
TERMS = ("loss_prediction", "loss_reconstruction", "loss_consistency")


def frames(count):
    """Two trajectories of 2 times 0.9^n in the Euclidean norm, two channels on three points."""
    first = np.random.default_rng(0).normal(size=(2, 1, 2, 3))
    first = 2 * first / np.linalg.norm(first, axis=(2, 3), keepdims=True)
    return jnp.asarray(first * 0.9 ** np.arange(count)[:, None, None])


def part(function):
    return lambda u, parameters=None, *, domain=None, key=None: function(u)


def flat(u):
    return u.reshape(-1)


def shaped(z):
    return z[:6].reshape(2, 3)


def parts(encoder=flat, dynamics=lambda z: -0.1 * z, decoder=shaped):
    return LatentEvolution(part(encoder), part(dynamics), part(decoder))


def terms_of(model, objective=None, count=4, **fields):
    objective = Latent(count - 1) if objective is None else objective
    loss, logs = eqx.filter_jit(objective)(model, Windows(frames(count), {}, None, **fields), KEY)
    return float(loss), {name: float(value) for name, value in logs.items()}


def test_all_is_zero_where_all_is_exact():
    loss, logs = terms_of(parts())
    assert set(logs) == {*TERMS, "loss_step_1", "loss_step_2", "loss_step_3"}
    assert max(loss, *logs.values()) < 1e3 * float(jnp.finfo(frames(1).dtype).eps) ** 2
    # Around what keeps a mean of zero any unit will do.
    unit = Statistics([0.0, 0.0], [0.3, 4.0])
    loss, logs = terms_of(Normalised(parts(), unit, unit))
    assert max(loss, *logs.values()) < 1e3 * float(jnp.finfo(frames(1).dtype).eps) ** 2


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        # Of all states the first one alone, or all but it, come back with one added.
        (parts(decoder=lambda z: shaped(z) + (jnp.sum(z**2) > 3.6)), {"loss_reconstruction"}),
        (parts(decoder=lambda z: shaped(z) + (jnp.sum(z**2) < 3.6)), {"loss_prediction"}),
        # A number that the encoder makes, the dynamics keeps wrong, and the decoder never reads.
        (parts(lambda u: jnp.append(flat(u), 1.0)), {"loss_consistency"}),
        (parts(dynamics=lambda z: -0.2 * z), {"loss_prediction", "loss_consistency"}),
    ],
    ids=["reconstruction", "prediction", "consistency", "dynamics"],
)
def test_each_term_is_there_where_that_alone_is_wrong(model, wrong):
    loss, logs = terms_of(model)
    assert {name for name in TERMS if logs[name] > 1e-6} == wrong
    assert loss == pytest.approx(sum(logs[name] for name in TERMS), rel=1e-6)
    for chosen in TERMS:
        name = chosen.removeprefix("loss_")
        others = {each.removeprefix("loss_"): 0.0 for each in TERMS} | {name: 2.0}
        assert terms_of(model, Latent(3, **others))[0] == pytest.approx(2 * logs[chosen], rel=1e-6, abs=1e-12)


class Random(eqx.Module):
    """Three matrices."""

    matrices: tuple[jax.Array, ...]

    def model(self):
        e, g, d = self.matrices
        return LatentEvolution(
            part(lambda u: jnp.tanh(e @ flat(u))), part(lambda z: g @ jnp.sin(z)), part(lambda z: shaped(d @ z))
        )


@pytest.mark.float64
def test_value_and_gradient_are_those_by_hand():
    shapes = ((4, 6), (4, 4), (6, 4))
    keys = jax.random.split(KEY, 3)
    weights = Random(tuple(0.5 * jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)))
    mean, std = np.array([0.2, -0.1]), np.array([2.0, 0.5])
    objective = Latent(3, weights=(2, 1, 1), prediction=0.7, reconstruction=0.3, consistency=1.9)
    batch = Windows(frames(4), {}, None)

    @jax.jit
    def value(weights):
        statistics = Statistics(mean, std)
        return objective(Normalised(weights.model(), statistics, statistics), batch, KEY)[0]

    e, g, d = map(np.asarray, weights.matrices)
    expected = 0.0
    for u in np.asarray(frames(4)):
        seen = (u - mean[:, None]) / std[:, None]
        encoded = [np.tanh(e @ each.ravel()) for each in seen]
        z = encoded[0]
        expected += 0.3 * np.mean(((d @ z).reshape(2, 3) - seen[0]) ** 2) / 2
        for n, weight in ((1, 0.5), (2, 0.25), (3, 0.25)):
            z = z + g @ np.sin(z)
            expected += 0.7 * weight * np.mean(((d @ z).reshape(2, 3) - seen[n]) ** 2) / 2
            expected += 1.9 / 3 * np.sum((z - encoded[n]) ** 2) / np.sum(encoded[n] ** 2) / 2
    assert float(value(weights)) == pytest.approx(expected, rel=1e-12)
    gradient = jax.jit(jax.grad(value))(weights)
    along = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=float)).reshape(leaf.shape), weights)
    moved = [value(jax.tree.map(lambda w, a, h=h: w + h * a, weights, along)) for h in (1e-5, -1e-5)]
    slope = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True))
    assert float(slope) == pytest.approx(float(moved[0] - moved[1]) / 2e-5, rel=1e-7)


def test_a_latent_state_of_zero_is_no_division_by_zero():
    model = parts(encoder=lambda u: 0 * flat(u), dynamics=lambda z: z + 1)
    loss, logs = terms_of(model)
    # The states are then the numbers 1, 3, 7 of six entries, over 1.
    assert logs["loss_consistency"] == pytest.approx(6 * (1 + 9 + 49) / 3, rel=1e-6)
    assert np.isfinite(loss)


def trajectories():
    grid = pj.Grid(16, 2 * np.pi, dtype="float32")
    x, t = np.asarray(grid.axes[0], float), 0.5 * np.arange(6)
    phase = np.array([[0.0], [1.0], [2.5], [4.0]])
    rate = np.array([0.1, 0.3, 0.1, 0.3])
    u = 3 + 0.2 * np.exp(-rate[:, None, None] * t[:, None]) * np.sin(x - t[:, None] + phase[..., None])
    return pj.Trajectories.from_arrays(u[:, :, None].astype(np.float32), grid, ("u",), t, parameters={"rate": rate})


def small_network():
    one, two, three = jax.random.split(KEY, 3)
    return LatentEvolution(
        StridedEncoder(1, 6, 1, (8,), space=(16,), key=one),
        LatentMLP(6, (16,), conditioning=Conditioning("rate"), key=two),
        StridedDecoder(1, 6, 1, (8,), space=(16,), key=three),
    )


@pytest.mark.either
def test_it_learns_a_few_trajectories_and_rolls_them_out(tmp_path):
    data = trajectories()
    options = {"optimiser": optax.adam(3e-3), "num_steps": 150, "batch_size": 8, "key": KEY, "progress": False}
    found = pj.fit(eqx.filter_jit(small_network)(), Latent(2), data, **options)
    for name in ("loss", *TERMS):
        assert found.log[name][-1] < 0.1 * found.log[name][0]
    model = found.model
    assert not model.residual
    np.testing.assert_array_equal(model.input.std, model.output.std)
    pj.models.save(tmp_path / "model", model, grid=data.grid, dt=0.5)
    saved = pj.models.load(tmp_path / "model")
    stepper = NeuralStepper(saved.model, saved.dt, saved.grid, {"rate": 0.3})
    states = latent_rollout(stepper, data.u[1, 0], 5)
    # In units of what the states vary by.
    error = np.sqrt(np.mean((np.asarray(states) - data.u[1, 1:]) ** 2)) / np.asarray(model.output.std)[0]
    assert error < 0.2
    again = latent_rollout(NeuralStepper(model, 0.5, data.grid, {"rate": 0.3}), data.u[1, 0], 5)
    np.testing.assert_array_equal(again, states)


@pytest.mark.either
def test_statistics_around_it_are_those_of_states_whatever_trains_it():
    data, network = trajectories(), parts()
    for model in (network, Ensemble(network, 2), InPrecision(network)):
        found = normalised(model, data, OneStep().frames)
        assert not found.residual
        np.testing.assert_allclose(found.output.mean, np.mean(data.u), rtol=1e-5)
    found = normalised(network, data, 2, bundle=2)
    assert not found.residual and found.input.mean.shape == found.output.mean.shape == (2,)
    assert normalised(FNO(1, 1, 1, 2, 4, key=KEY), data, 2).residual
    # Beside others, in stages, and on bundles.
    windows = Windows(jnp.asarray(data.u[:, :4]), {"rate": jnp.asarray(data.parameters["rate"])}, data.grid)
    total = Sum({"latent": Latent(2), "next": OneStep()}, {"next": 0.1})
    simple = LatentEvolution(part(jnp.tanh), part(jnp.sin), part(jnp.cos))
    around = normalised(simple, data, 2)
    loss, logs = eqx.filter_jit(total)(around, windows, KEY)
    assert float(loss) == pytest.approx(float(logs["loss_latent"] + 0.1 * logs["loss_next"]), rel=1e-6)
    assert Curriculum({0: OneStep(), 10: Latent(3)}).frames == 4
    bundles = normalised(simple, data, 2, bundle=2)
    loss, _ = eqx.filter_jit(Bundled(Latent(1), 2))(bundles, windows, KEY)
    assert np.isfinite(loss)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Latent(0), "num_steps must be >= 1, got 0"),
        (lambda: Latent(2, weights=(1,)), r"Latent\(2\) needs 2 weights, .* got \(1,\)"),
        (lambda: Latent(2, consistency=-1), "numbers >= 0, not all of them 0, got .*'consistency': -1"),
        (lambda: Latent(2, prediction=0, reconstruction=0, consistency=0), "not all of them 0"),
        (lambda: Latent(2, "mse"), "got 'mse': pass pdejax.losses.MeanSquare"),
        (
            lambda: Latent(1)(FNO(2, 2, 1, 1, 2, num_layers=1, key=KEY), Windows(frames(2), {}, None), KEY),
            r"no latent space in a FNO: LatentEvolution\(encoder, dynamics, decoder\) has one",
        ),
        (
            lambda: pj.fit(parts(), Latent(9), trajectories(), optimiser=optax.adam(1e-3), num_steps=1, key=KEY),
            "needs 10 consecutive frames but the trajectories of `data` have 6",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
