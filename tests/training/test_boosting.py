import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import FNO, Boosted, Normalised, load, save
from pdejax.training.fitted import Fitted

GRID = pj.Grid(16, 1.0, dtype=jnp.float32)


class Damped(eqx.Module):
    """The true step without its last part: what it misses is known."""

    factor: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.factor * u


def waves(samples=6, frames=4, channels=1):
    """`u -> 0.9 u`, and the second harmonic of each frame grows by a hundredth of the first's amplitude."""
    x = 2 * np.pi * np.arange(16) / 16
    amplitude = np.linspace(0.5, 2.0, samples)[:, None] * 0.9 ** np.arange(frames)
    second = 0.01 * np.linspace(1, 3, samples)[:, None] * np.arange(frames)
    u = amplitude[..., None] * np.sin(x) + second[..., None] * np.cos(2 * x)
    return pj.Trajectories.from_arrays(u[:, :, None].astype(np.float32), GRID, ("u",), times=np.arange(frames) / 4)


def second(key=0):
    return FNO(2, 1, 1, 4, 4, num_layers=1, key=jax.random.key(key))


def test_it_is_the_sum_of_both():
    first = Damped(jnp.asarray(0.9))
    model = Boosted(first, second())
    u = jnp.asarray(np.random.default_rng(0).normal(size=(1, 16)), jnp.float32)
    np.testing.assert_allclose(model(u), 0.9 * u + second()(jnp.concatenate([u, 0.9 * u])), atol=1e-6)


def test_the_units_are_those_of_what_is_missed():
    data = waves()
    model = pj.boosted(Damped(jnp.asarray(0.9)), second(), data)
    u = np.asarray(data.u)
    missed = u[:, 1:] - 0.9 * u[:, :-1]
    np.testing.assert_allclose(model.second.output.std, [missed.std()], rtol=1e-3)
    np.testing.assert_allclose(model.second.input.std, [u[:, :-1].std(), 0.9 * u[:, :-1].std()], rtol=1e-3)
    pairs = (u[:, :-1].reshape(-1, 1, 16), u[:, 1:].reshape(-1, 1, 16))
    of_pairs = pj.boosted(Damped(jnp.asarray(0.9)), second(), pairs)
    assert eqx.tree_equal(of_pairs, model)


def test_the_second_alone_is_trained_and_learns_what_is_missed():
    data = waves()
    first = Damped(jnp.asarray(0.9, jnp.float32))
    model = pj.boosted(first, second(), data)
    options = {"optimiser": optax.adam(1e-2), "num_steps": 200, "batch_size": 9, "key": jax.random.key(0)}
    fitted = pj.fit(model, pj.objectives.OneStep(), data, frozen=lambda m: m.first, progress=False, **options).model
    assert fitted.first.factor == first.factor
    u = jnp.asarray(data.u)[:, :-1].reshape(-1, 1, 16)
    truth = jnp.asarray(data.u)[:, 1:].reshape(-1, 1, 16)
    error = [float(jnp.linalg.norm(jax.vmap(m)(u) - truth)) for m in (first, fitted)]
    assert error[1] < 0.5 * error[0]


def test_parameters_reach_both(tmp_path):
    told = FNO(1, 1, 1, 3, 4, num_layers=1, parameters="a", key=jax.random.key(1))
    other = FNO(2, 1, 1, 3, 4, num_layers=1, parameters="a", key=jax.random.key(2))
    data = waves()
    data = pj.Trajectories.from_arrays(data.u, GRID, ("u",), times=data.times, parameters={"a": np.arange(6.0)})
    model = pj.boosted(told, other, data)
    assert set(model.second.parameters) == {"a"}
    results = [model(jnp.ones((1, 16)), {"a": a}) for a in (0.0, 1.0)]
    assert float(jnp.max(jnp.abs(results[0] - results[1]))) > 1e-4
    save(tmp_path / "model.pdejax", model, names="u")
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, model)


@pytest.mark.either
def test_mistakes_are_named(without_shape_checks):
    with pytest.raises(ValueError, match="as `second` a model that is built"):
        Boosted(second(), FNO)
    with pytest.raises(ValueError, match="build it with as many output channels"):
        Boosted(Damped(jnp.asarray(1.0)), FNO(2, 2, 1, 3, 4, key=jax.random.key(0)))(jnp.ones((1, 16)))
    with pytest.raises(ValueError, match="values that are not finite"):
        pj.boosted(Damped(jnp.asarray(np.nan)), second(), waves())
    with pytest.raises(ValueError, match="makes shape .2, 16. of a state"):
        pj.boosted(FNO(1, 2, 1, 3, 4, key=jax.random.key(0)), second(), waves())
    with pytest.raises(ValueError, match="have one frame"):
        pj.boosted(Damped(jnp.asarray(1.0)), second(), waves(frames=1))
    identity, inputs = Damped(jnp.asarray(1.0)), np.ones((4, 1, 16), np.float32)
    assert isinstance(pj.boosted(identity, second(), waves()).second, Normalised)
    unknown = np.where(np.arange(4)[:, None, None] == 2, np.nan, inputs)
    for data in ((inputs, unknown), (unknown, inputs)):
        with pytest.raises(ValueError, match="data hold values that are not finite"):
            pj.boosted(identity, second(), data)
    with pytest.raises(ValueError, match="lacks the channel axis"):
        pj.boosted(identity, second(), (inputs[:, 0], inputs[:, 0]))
    with pytest.raises(ValueError, match="must be .inputs, targets., each"):
        pj.boosted(identity, second(), [inputs, inputs[:3]])
    with pytest.raises(ValueError, match="There are no pairs"):
        pj.boosted(identity, second(), (inputs[:0], inputs[:0]))
    with pytest.raises(ValueError, match="got a ndarray"):
        pj.boosted(identity, second(), inputs)
    with pytest.raises(ValueError, match="leave out `domain`"):
        pj.boosted(identity, second(), waves(), domain=GRID)
    with pytest.raises(ValueError, match="pass fitted.model"):
        pj.boosted(Fitted(identity, None, None), second(), waves())


def test_a_fit_leaves_the_units_as_they_were_measured():
    """States of mean 5, targets about 100: standardised ones would be none that the first model knows."""
    rng = np.random.default_rng(0)
    inputs = (5 + 3 * rng.normal(size=(12, 1, 16))).astype(np.float32)
    targets = 2 * inputs + 100
    options = {"optimiser": optax.adam(1e-3), "num_steps": 2, "batch_size": 4, "key": jax.random.key(0)}
    options |= {"progress": False}
    objective = pj.objectives.Supervised()
    first = pj.fit(FNO(1, 1, 1, 4, 4, num_layers=1, key=jax.random.key(1)), objective, (inputs, targets), **options)
    start = pj.boosted(first.model, second(), (inputs, targets))
    for model in (start, pj.models.Ensemble.of([start, pj.boosted(first.model, second(1), (inputs, targets))])):
        fitted = pj.fit(model, objective, (inputs, targets), frozen=lambda m: _boosted(m).first, **options).model
        assert type(fitted) is type(model)
        assert eqx.tree_equal(_boosted(fitted).first, _boosted(model).first)


def _boosted(model):
    return model.model if isinstance(model, pj.models.Ensemble) else model


def test_it_states_the_units_of_the_state_and_of_what_is_missed():
    data = waves()
    model = pj.boosted(Damped(jnp.asarray(0.9)), second(), data)
    u = np.asarray(data.u)
    np.testing.assert_allclose(pj.models.input_scale(model), [u[:, :-1].std()], rtol=1e-3)
    np.testing.assert_allclose(pj.models.output_scale(model), [(u[:, 1:] - 0.9 * u[:, :-1]).std()], rtol=1e-3)
    assert pj.models.input_scale(Boosted(Damped(jnp.asarray(0.9)), second())) == 1


def test_pairs_are_measured_where_they_live_and_with_what_is_told_of_them():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(6, 1, 16)).astype(np.float32)
    told = {"a": np.linspace(0.5, 0.9, 6, dtype=np.float32)}
    asking = FNO(2, 1, 1, 4, 4, num_layers=1, coordinates=1, key=jax.random.key(0))
    targets = told["a"][:, None, None] * inputs + np.float32(0.1) * np.sign(inputs)
    model = pj.boosted(Multiplied(), asking, (inputs, targets, told), domain=GRID)
    np.testing.assert_allclose(model.second.output.std, [0.1], rtol=1e-2)
    np.testing.assert_allclose(model.second.parameters["a"].mean, 0.7, rtol=1e-5)
    first = FNO(1, 1, 1, 4, 4, num_layers=1, coordinates=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"boosted\(..., domain=grid\)"):
        pj.boosted(first, second(), (inputs, targets))
    assert pj.boosted(first, second(), (inputs, targets), domain=GRID)(jnp.ones((1, 16)), domain=GRID).shape == (1, 16)


class Noise(eqx.Module):
    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jax.random.normal(key, (1, u.shape[1]))


class Multiplied(eqx.Module):
    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return parameters["a"] * u


def test_both_draw_with_keys_of_their_own():
    key = jax.random.key(3)
    result = Boosted(Noise(), Noise())(jnp.ones((1, 8)), key=key)
    np.testing.assert_allclose(result, sum(jax.random.normal(k, (1, 8)) for k in jax.random.split(key)), atol=1e-6)


def test_what_is_missed_is_measured_with_the_parameters_of_each_trajectory():
    a = np.linspace(0.5, 0.9, 6)
    x = np.sin(2 * np.pi * np.arange(16) / 16)
    u = (a[:, None] ** np.arange(4))[..., None] * x
    data = pj.Trajectories.from_arrays(
        u[:, :, None].astype(np.float32), GRID, ("u",), times=np.arange(4.0), parameters={"a": a}
    )
    # Nothing but rounding is missed, whose unit is one and not its own size: of small numbers, and of large ones.
    assert pj.boosted(Multiplied(), second(), data).second.output.std == 1
    rough = np.random.default_rng(0).normal(1000, 1, (8, 1, 16)).astype(np.float32)
    pairs = (rough, rough + np.float32(6e-5) * np.sign(rough - 1000))
    assert pj.boosted(Damped(jnp.asarray(1.0)), second(), pairs).second.output.std == 1
