"""Models with a latent space: `evaluate` stays in it where it is asked to, over all segments of a rollout."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.evaluate import evaluate
from pdejax.models import InLatentSpace, InPrecision, LatentEvolution, NeuralStepper, Normalised, Statistics
from pdejax.models import latent_rollout as rolled

GRID = pj.Grid((12,), 2.0, dtype="float32")
RATES = np.asarray([0.02, 0.1, 0.3], np.float32)
OPTIONS = {"timing_seconds": 0.01, "progress": False}


def encoder(u, parameters=None, *, domain=None, key=None):
    return 2.0 * u[:, ::2]


def grows(z, parameters=None, *, domain=None, key=None):
    return parameters["rate"] * z


def decoder(z, parameters=None, *, domain=None, key=None):
    """Not what the encoder undoes: who encodes again goes on from elsewhere."""
    return jnp.repeat(z, 2, axis=1) + 1.0


def drawn(z, parameters=None, *, domain=None, key=None):
    return jax.random.normal(key, (), z.dtype) + 0 * z


def model(dynamics=grows):
    given = Statistics(0.1, 0.5)
    within = LatentEvolution(encoder, dynamics, decoder)
    return Normalised(within, Statistics([0.5], [2.0]), Statistics([0.1], [3.0]), parameters={"rate": given})


def first_states():
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, 1, 12)).astype(np.float32))


def truth():
    """What stays in the latent space, over more frames than a segment has."""
    states = [
        rolled(NeuralStepper(model(), 0.2, GRID, {"rate": rate}), u, 11, include_initial=True)
        for u, rate in zip(first_states(), jnp.asarray(RATES), strict=True)
    ]
    u = np.stack([np.asarray(each) for each in states])
    return pj.Trajectories.from_arrays(u, GRID, ("u",), 0.2 * np.arange(12), parameters={"rate": RATES})


def test_a_rollout_stays_in_the_latent_space_and_the_parameters_are_those_of_each_trajectory():
    surrogates = {"inside": InLatentSpace(model()), "outside": model()}
    found = evaluate(surrogates, truth(), batch_size=2, **OPTIONS).results
    inside, outside = (found[name].scores["relative_l2"] for name in surrogates)
    assert inside.shape == (3, 12, 1) and np.all(inside < 1e-6)
    # The first step is that of the model, and then it has to encode what it has decoded.
    assert np.all(outside[:, 1] < 1e-6) and np.all(outside[:, 2:] > 0.01)
    assert found["inside"].costs is not None


def test_the_parts_are_given_the_grid_of_the_data():
    def told(z, parameters=None, *, domain=None, key=None):
        return decoder(z) + domain.extent[0] - 2.0

    found = evaluate(
        {"inside": InLatentSpace(LatentEvolution(encoder, lambda z, *_, **__: 0 * z, told))}, truth(), **OPTIONS
    )
    assert np.all(np.isfinite(found.results["inside"].scores["relative_l2"]))


def test_every_step_draws_anew():
    data = truth()
    surrogates = {"inside": InLatentSpace(model(drawn))}
    found, again, other = (
        evaluate(surrogates, data, key=jax.random.key(k), **OPTIONS).results["inside"].example for k in (0, 0, 1)
    )
    assert np.all(found == again) and not np.any(found[1:] == other[1:])
    steps = np.diff(found[1:, 0, 0])
    assert len(np.unique(np.round(steps, 5))) == steps.size == 10


def test_by_itself_it_is_the_model():
    u, told = first_states()[0], {"rate": 0.3}
    np.testing.assert_array_equal(eqx.filter_jit(InLatentSpace(model()))(u, told), eqx.filter_jit(model())(u, told))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    "around",
    [
        lambda inside: NeuralStepper(inside, 0.2, GRID),
        lambda inside: Normalised(inside, Statistics([0.0], [1.0]), Statistics([0.0], [1.0])),
    ],
)
def test_within_something_else_it_would_be_passed_over_and_is_refused(around):
    with pytest.raises(ValueError, match="around InLatentSpace, which would go from state to state"):
        evaluate({"inside": around(InLatentSpace(model()))}, truth(), **OPTIONS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (encoder, "There is no latent space in a function"),
        (InPrecision(LatentEvolution(encoder, grows, decoder)), "in a InPrecision: .* around each of them"),
        (
            Normalised(
                LatentEvolution(encoder, grows, decoder), Statistics([0.0], [1.0]), Statistics([0.0], [1.0]), True
            ),
            r"these statistics \(residual=True\) are of increments",
        ),
    ],
)
def test_other_models_have_no_latent_space_to_stay_in(given, message):
    with pytest.raises(ValueError, match=message):
        InLatentSpace(given)
