"""Which steps a fit takes and which weights it returns: best models, patience, frozen parts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pdejax.nn import ChannelMap
from pdejax.training import Supervised, fit


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.gain * u


class Two(eqx.Module):
    first: ChannelMap
    second: ChannelMap

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.second(jnp.tanh(self.first(u)))


def two():
    return Two(ChannelMap(2, 4, key=jax.random.key(0)), ChannelMap(4, 3, key=jax.random.key(1)))


INPUTS = np.random.default_rng(0).normal(size=(12, 2, 16)).astype(np.float32)
TARGETS = np.concatenate([INPUTS, INPUTS[:, :1] ** 2], axis=1)


def passing(num_steps, **given):
    """A gain that grows by 0.1 a step from 1, past the 1.5 of the validation, whatever the gradient is."""
    steady = optax.stateless(lambda updates, params: jax.tree.map(lambda g: jnp.full_like(g, 0.1), updates))
    return fit(
        Gain(jnp.float32(1.0)),
        Supervised(),
        (INPUTS, INPUTS),
        valid=(INPUTS, 1.5 * INPUTS),
        normalise=False,
        **{
            "optimiser": steady,
            "valid_every": 1,
            "num_steps": num_steps,
            "batch_size": 4,
            "key": jax.random.key(0),
            "progress": False,
        }
        | given,
    )


def test_the_best_model_is_that_of_the_lowest_validation():
    fitted = passing(12, keep_best=True)
    assert float(fitted.model.gain) == pytest.approx(1.5, abs=1e-5)
    assert float(fitted.state.model.gain) == pytest.approx(2.2, abs=1e-5)
    assert int(fitted.state.best.step) == 5 == 1 + int(np.argmin(fitted.log["valid_loss"]))
    assert float(fitted.state.best.loss) == pytest.approx(fitted.log["valid_loss"].min())
    assert float(passing(12).model.gain) == pytest.approx(2.2, abs=1e-5)


def test_patience_ends_the_run_and_leaves_the_last_model_unless_the_best_is_asked_for():
    fitted = passing(50, patience=3)
    assert fitted.state.step == len(fitted.log) == 8
    assert float(fitted.model.gain) == pytest.approx(1.8, abs=1e-5)
    assert float(passing(50, patience=3, keep_best=True).model.gain) == pytest.approx(1.5, abs=1e-5)


def test_what_was_waited_goes_on_with_a_resumed_run():
    begun = passing(7, patience=3)
    assert begun.state.step == 7
    assert passing(50, patience=3, resume=begun.state).state.step == 8


@pytest.mark.parametrize(("given", "cut"), [({"keep_best": True}, 5), ({"patience": 2}, 4)])
def test_where_a_run_is_cut_decides_neither_the_best_nor_the_patience(given, cut):
    """Every third step is scored; the end of the first part, which is no such step, is scored besides."""
    whole = passing(12, valid_every=3, **given)
    begun = passing(cut, valid_every=3, **given)
    resumed = passing(12 - cut, valid_every=3, resume=begun.state, **given)
    assert eqx.tree_equal(whole.state, resumed.state) and eqx.tree_equal(whole.model, resumed.model)
    if "keep_best" in given:  # of the first part alone, the score at its end counts: step 5 is the best of all
        assert float(begun.model.gain) == pytest.approx(1.5, abs=1e-5)
        assert int(whole.state.best.step) == 6


def test_the_average_is_what_is_scored_and_kept():
    fitted = passing(12, keep_best=True, ema_decay=0.5)
    averages, average = [], 0.0
    for step in range(1, 13):
        average = 0.5 * average + 0.5 * (1 + 0.1 * step)
        averages.append(average / (1 - 0.5**step))
    best = int(np.argmin(np.abs(np.array(averages) - 1.5)))
    assert int(fitted.state.best.step) == best + 1
    assert float(fitted.model.gain) == pytest.approx(averages[best], rel=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_frozen_parts_keep_their_bits_and_the_others_learn(normalise):
    model = two()
    decay = optax.adamw(1e-2, weight_decay=1.0)
    fitted = fit(
        model,
        Supervised(),
        (INPUTS, TARGETS),
        optimiser=decay,
        num_steps=30,
        key=jax.random.key(0),
        batch_size=4,
        normalise=normalise,
        ema_decay=0.9,
        frozen=lambda model: (model.first.weight, model.second.bias),
        progress=False,
    )
    for found in (fitted.model, fitted.state.model):
        network = found.model if normalise else found
        assert eqx.tree_equal(network.first.weight, model.first.weight)
        assert eqx.tree_equal(network.second.bias, model.second.bias)
        assert not np.allclose(network.second.weight, model.second.weight, atol=1e-2)
        assert not np.allclose(network.first.bias, model.first.bias, atol=1e-3)
    assert np.mean(fitted.log["loss"][-5:]) < np.mean(fitted.log["loss"][:5])


def test_clipping_and_accumulation_come_from_the_optimiser():
    """Two batches per update: every second step changes nothing, and an update is no longer than the clip allows."""
    every_other = optax.MultiSteps(optax.chain(optax.clip_by_global_norm(1e-2), optax.sgd(1.0)), 2)
    lengths = []
    state = None
    for _ in range(4):
        before = two() if state is None else state.model
        fitted = fit(
            two(),
            Supervised(),
            (INPUTS, TARGETS),
            optimiser=every_other.gradient_transformation(),
            num_steps=1,
            key=jax.random.key(0),
            batch_size=4,
            normalise=False,
            resume=state,
            progress=False,
        )
        state = fitted.state
        change = jax.tree.map(lambda new, old: new - old, *(eqx.filter(m, eqx.is_array) for m in (state.model, before)))
        lengths.append(float(optax.tree.norm(change)))
    assert lengths == pytest.approx([0, 1e-2, 0, 1e-2], rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frozen": lambda model: model.third}, "`frozen` has to pick parts of the model"),
        ({"frozen": lambda model: (model.first, model.second)}, "There is nothing to train"),
        ({"patience": 3}, "pass `valid`"),
        ({"keep_best": True}, "pass `valid`"),
        ({"patience": 0, "valid": (INPUTS, TARGETS)}, "patience must be >= 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    options = {"optimiser": optax.sgd(1e-2), "num_steps": 2, "key": jax.random.key(0), "batch_size": 4}
    with pytest.raises(ValueError, match=message):
        fit(two(), Supervised(), (INPUTS, TARGETS), progress=False, **options, **given)


def test_another_choice_of_frozen_parts_is_no_continuation():
    options = {"optimiser": optax.adam(1e-2), "num_steps": 2, "key": jax.random.key(0), "batch_size": 4}
    begun = fit(two(), Supervised(), (INPUTS, TARGETS), progress=False, **options)
    with pytest.raises(ValueError, match="the optimiser and `frozen` of that fit"):
        fit(
            two(),
            Supervised(),
            (INPUTS, TARGETS),
            progress=False,
            resume=begun.state,
            frozen=lambda m: m.first,
            **options,
        )
