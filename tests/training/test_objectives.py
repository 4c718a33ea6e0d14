import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pdejax.models import FNO, Normalised, Statistics
from pdejax.nn import Conditioning
from pdejax.training import MeanSquare, OneStep, Pairs, RelativeL1, RelativeL2, Supervised, Windows, fit


def identity(u, parameters=None, *, domain=None, key=None):
    return u


of = eqx.filter_jit(lambda objective, model, batch, key: objective(model, batch, key))


def example():
    values = np.random.default_rng(0).normal(size=(2, 3, 2, 4, 5)).astype(np.float32)  # frames lead here
    return values[0], values[1]


@pytest.mark.parametrize("in_time", [True, False])
def test_the_losses_are_their_formulas(in_time):
    u, target = example()
    if in_time:
        make, batch = OneStep, Windows(jnp.stack([u, target], axis=1), {}, None)
    else:
        make, batch = Supervised, Pairs(jnp.asarray(u), jnp.asarray(target))
    std = np.array([2.0, 5.0], np.float32)
    scaled = Normalised(identity, Statistics([0.0] * 2, [1.0] * 2), Statistics([0.0] * 2, std))
    prediction = u * std[:, None, None]
    key = jax.random.key(0)

    loss, logs = of(make(), identity, batch, key)
    assert float(loss) == pytest.approx(np.mean((u - target) ** 2), rel=1e-5)
    assert logs == {}
    in_units = np.mean(((prediction - target) / std[:, None, None]) ** 2)
    assert float(of(make(), scaled, batch, key)[0]) == pytest.approx(in_units, rel=1e-5)
    ratios = np.linalg.norm((u - target).reshape(3, 2, -1), axis=2) / np.linalg.norm(target.reshape(3, 2, -1), axis=2)
    assert float(of(make(loss=RelativeL2()), identity, batch, key)[0]) == pytest.approx(ratios.mean(), rel=1e-5)
    largest = np.max(np.abs(u - target), axis=(1, 2, 3)).mean()
    worst = make(loss=lambda prediction, target: jnp.max(jnp.abs(prediction - target)))
    assert float(of(worst, identity, batch, key)[0]) == pytest.approx(largest, rel=1e-5)


@pytest.mark.parametrize("loss", [MeanSquare(), RelativeL2(), RelativeL1()])
def test_a_loss_has_a_gradient_where_it_vanishes_and_where_the_target_does(loss):
    _, target = example()
    target[:, 1] = 0
    batch, key = Pairs(jnp.asarray(target), jnp.asarray(target)), jax.random.key(0)

    @jax.jit
    @jax.value_and_grad
    def at(gain):
        return Supervised(loss=loss)(lambda u, *, key=None: gain * u + (gain - 1), batch, key)[0]

    value, slope = at(1.0)
    assert float(value) == 0 and float(slope) == 0
    assert 0 < float(at(1.5)[0]) < 10


def test_losses_do_not_depend_on_the_units():
    u, target = example()
    tiny = np.float32(1e-25)
    model = Normalised(identity, Statistics([0.0] * 2, [tiny] * 2), Statistics([0.0] * 2, [tiny] * 2))
    for loss in (MeanSquare(), RelativeL2(), RelativeL1()):
        key = jax.random.key(0)
        small = of(Supervised(loss=loss), model, Pairs(jnp.asarray(u * tiny), jnp.asarray(target * tiny)), key)
        usual = of(Supervised(loss=loss), identity, Pairs(jnp.asarray(u), jnp.asarray(target)), key)
        assert float(small[0]) == pytest.approx(float(usual[0]), rel=1e-4)


def test_how_many_frames_an_objective_needs():
    assert (OneStep().frames, Supervised().frames) == (2, None)


def test_shapes_that_would_broadcast_are_refused():
    u = jnp.ones((3, 1, 4))
    with pytest.raises(ValueError, match=r"returns shape \(1, 4\) but the target has shape \(2, 4\)"):
        Supervised()(identity, Pairs(u, jnp.ones((3, 2, 4))), jax.random.key(0))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", r"got 'mse': pass pdejax.losses.MeanSquare\(\)"),
        ("relative_l2", r"pass pdejax.losses.RelativeL2\(\)"),
        ("mae", "got 'mae'"),
        (RelativeL2, r"got the class RelativeL2: pass RelativeL2\(\)"),
    ],
)
def test_what_is_no_loss_is_refused(loss, message):
    for make in (OneStep, Supervised):
        with pytest.raises(ValueError, match=message):
            make(loss=loss)


class Masked(eqx.Module):
    """The parameter "rate" times a weight, where the field "mask" is one."""

    weight: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.weight * parameters["rate"] * parameters["mask"] * u


def test_pairs_come_with_numbers_and_fields_that_the_model_is_told():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 1, 8)).astype(np.float32)
    told = {"rate": rng.uniform(1, 2, 12).astype(np.float32), "mask": rng.integers(0, 2, (12, 8))}
    targets = 3 * told["rate"][:, None, None] * told["mask"][:, None].astype(np.float32) * inputs
    options = {"num_steps": 60, "batch_size": 4, "key": jax.random.key(0), "progress": False}
    model = Masked(jnp.asarray(1.0, jnp.float32))
    fitted = fit(model, Supervised(), (inputs, targets, told), optimiser=optax.adam(0.1), normalise=False, **options)
    assert float(fitted.model.weight) == pytest.approx(3, abs=1e-2)
    # Between statistics, of which the parameters have their own.
    network = FNO(
        1, 1, 1, 3, 4, num_layers=1, conditioning=Conditioning(parameters="rate", fields="mask"), key=jax.random.key(1)
    )
    options["num_steps"] = 2
    normed = fit(network, Supervised(), (inputs, targets, told), optimiser=optax.adam(0.1), **options).model
    np.testing.assert_allclose(normed.parameters["rate"].mean, told["rate"].mean(), rtol=1e-5)
    np.testing.assert_allclose(normed.parameters["mask"].std, told["mask"].std(), rtol=1e-5)
    for data, message in (
        ((inputs, targets), "in the data.*for pairs .inputs, targets, "),
        ((inputs, targets, told | {"rate": np.ones(3)}), "'rate' of `data` has shape .3,., and there are 12 samples"),
        (
            (inputs, targets, told | {"rate": np.full(12, np.nan)}),
            "'rate' of `data` have a value that is not finite",
        ),
        ((inputs, targets, [1]), "given by name"),
        ((inputs, targets, told, 1), "got 4 entries"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(network, Supervised(), data, optimiser=optax.adam(0.1), **options)
