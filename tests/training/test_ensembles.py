"""Members of an ensemble are fitted as each would be alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import Ensemble, Normalised, members
from pdejax.training import Checkpoints, OneStep, Supervised, TrainingDiverged, fit
from tests.training.test_fit import Gain, decaying, options, pairs, small

KEY = jax.random.key(1)


def seeds(count=3):
    return [small(seed) for seed in range(count)]


def test_every_member_is_what_fit_makes_of_it_alone():
    data = pairs()
    clipped = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(optax.linear_schedule(1e-2, 1e-3, 8)))
    given = options(optimiser=clipped, num_steps=12, ema_decay=0.8, valid=data, valid_every=3, keep_best=True)
    together = fit(Ensemble.of(seeds()), Supervised(), data, **given)
    alone = [
        fit(model, Supervised(), data, **given | {"key": jax.random.fold_in(KEY, number)})
        for number, model in enumerate(seeds())
    ]
    for number, (member, single) in enumerate(zip(members(together.model), alone, strict=True)):
        assert isinstance(member, Normalised)
        leaves = (jax.tree.leaves(eqx.filter(model, eqx.is_array)) for model in (member, single.model))
        for found, expected in zip(*leaves, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        for name in ("loss", "gradient_norm", "valid_loss"):
            np.testing.assert_allclose(together.log[f"{name}_{number}"], single.log[name], rtol=1e-4)
    losses = np.array([single.log["loss"] for single in alone])
    np.testing.assert_allclose(together.log["loss"], losses.mean(0), rtol=1e-4)
    np.testing.assert_allclose(together.log["loss_spread"], losses.std(0, ddof=1), rtol=1e-3)


def test_every_member_keeps_its_own_best():
    """One begins at the answer, so that nothing later is better; the other one comes closer all the time."""
    data = decaying()
    target = (data.u[:, :-1].reshape(-1, 1, 8), 0.9 * data.u[:, :-1].reshape(-1, 1, 8))
    ensemble = Ensemble.of([Gain(jnp.float32(0.9)), Gain(jnp.float32(0.0))])
    fitted = fit(
        ensemble,
        Supervised(),
        target,
        valid=target,
        **options(optimiser=optax.sgd(1e-3), num_steps=20, valid_every=2, keep_best=True, normalise=False),
    )
    scores = np.stack([fitted.log[f"valid_loss_{number}"] for number in range(2)])
    measured = np.isfinite(scores[0])
    steps = fitted.log["step"][measured]
    best = steps[np.argmin(scores[:, measured], axis=1)]
    np.testing.assert_array_equal(fitted.state.best.step, best)
    assert best.tolist() == [2, 20]
    assert float(members(fitted.model)[0].gain) == pytest.approx(0.9, abs=1e-6)


def test_an_ensemble_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    data = decaying()

    def run(steps, folder):
        model = Ensemble.of([small(seed, 1, 1) for seed in range(2)])
        saved = Checkpoints(folder, every=3)
        return fit(model, OneStep(), data, checkpoints=saved, **options(num_steps=steps, ema_decay=0.9))

    whole = run(6, tmp_path / "whole")
    run(3, tmp_path / "cut")
    resumed = run(6, tmp_path / "cut")
    assert eqx.tree_equal(whole.state, resumed.state)
    np.testing.assert_array_equal(whole.log["loss_1"], resumed.log["loss_1"])


def test_the_member_that_diverged_is_named_and_none_has_moved():
    data = pairs()
    models = seeds(2)
    huge = eqx.tree_at(lambda model: model.layer.weight, models[1], jnp.full((3, 2), 1e30, jnp.float32))
    with pytest.raises(TrainingDiverged, match="Step 1, member 1 of the ensemble: the loss is inf") as error:
        fit(Ensemble.of([models[0], huge]), Supervised(), data, **options())
    first = members(error.value.fitted.model)[0].model
    np.testing.assert_array_equal(first.layer.weight, models[0].layer.weight)


def test_an_ensemble_returns_the_mean_and_is_saved_and_taken_apart(tmp_path):
    models = [pj.models.FNO(1, 2, 1, 3, 4, num_layers=1, key=jax.random.key(seed)) for seed in range(3)]
    ensemble = Ensemble.of(models)
    u = jax.random.normal(jax.random.key(5), (1, 11))
    mean = sum(model(u) for model in models) / 3
    np.testing.assert_allclose(ensemble(u), mean, rtol=1e-5, atol=1e-6)
    pj.models.save(tmp_path / "ensemble.pdejax", ensemble)
    loaded = pj.models.load(tmp_path / "ensemble.pdejax").model
    assert eqx.tree_equal(loaded, ensemble)
    for found, expected in zip(members(loaded), models, strict=True):
        assert eqx.tree_equal(found, expected)
    assert members(models[0]) == [models[0]]


def test_every_member_and_every_call_draws_numbers_of_its_own():
    class Drawn(eqx.Module):
        gain: jax.Array

        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return self.gain * jax.random.normal(key, u.shape, u.dtype)

    # Zero where both draw the same.
    ensemble = Ensemble.of([Drawn(jnp.asarray(sign)) for sign in (1.0, -1.0)])
    one, other = (ensemble(jnp.zeros((1, 50)), key=jax.random.key(seed)) for seed in range(2))
    assert float(jnp.mean(one**2)) == pytest.approx(0.5, rel=0.5)
    assert float(jnp.mean((one - other) ** 2)) == pytest.approx(1, rel=0.5)


def test_what_is_no_ensemble_is_refused():
    with pytest.raises(ValueError, match="number 1 is not as number 0"):
        Ensemble.of([small(), small(1, 2, 4)])
    with pytest.raises(ValueError, match="needs one model or more"):
        Ensemble.of([])
    with pytest.raises(ValueError, match="num_members must be >= 1, got 0"):
        Ensemble(small(), 0)

    class Beside(eqx.Module):
        first: jax.Array
        rest: Ensemble

        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return self.first * self.rest(u)

    model = Beside(jnp.ones(()), Ensemble.of(seeds(2)))
    with pytest.raises(ValueError, match="Weights beside an Ensemble would be trained by all of its members"):
        fit(model, Supervised(), pairs(), **options())
    # Held still they are no weights.
    fitted = fit(model, Supervised(), pairs(), frozen=lambda model: model.first, **options(num_steps=1))
    assert float(fitted.model.model.first) == 1.0
