import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from pdejax.models import ImplicitFNO, load, save
from pdejax.nn import Conditioning, FiLM
from pdejax.testing import check_model, observed_orders

KEY = jax.random.key(0)
made = eqx.filter_jit(lambda *arguments, **options: ImplicitFNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def field(space, channels=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (channels, *space), dtype)


def identity(v):
    return v


@pytest.mark.float64
@pytest.mark.parametrize(("space", "modes"), [((8, 9), (3, 4))])
def test_it_keeps_the_contract(space, modes):
    told = Conditioning(("a", "b"), modulation=FiLM())
    model = made(2, 5, len(space), modes, 4, num_layers=3, conditioning=told, dtype=jnp.float64, key=KEY)
    check_model(model, field(space, dtype=jnp.float64), out_channels=5, parameters={"a": 0.3, "b": -1.0})


@pytest.mark.parametrize("space", [(17,), (6, 5, 7)])
def test_unequal_channels_and_grids_in_one_and_three_dimensions(space):
    make = lambda u: ImplicitFNO(2, 5, len(space), 2, 4, key=KEY)(u)  # noqa: E731
    assert jax.eval_shape(make, field(space)).shape == (5, *space)


@pytest.mark.float64
def test_layers_are_steps_of_euler_for_one_differential_equation():
    # Without an activation the equation is linear: on a constant field v' = (Re K_0 + W) v, whose solution at 1 is exp.
    model = made(3, 3, 1, 2, 4, activation=identity, dtype=jnp.float64, key=KEY)
    model = eqx.tree_at(lambda m: [m.convolution.imaginary], model, [jnp.zeros_like(model.convolution.imaginary)])
    rate = np.asarray(model.convolution.real[0]).T + np.asarray(model.shortcut.weight)
    start = np.asarray(model.lift(jnp.ones((3, 5))))
    end = scipy.linalg.expm(rate) @ start
    exact = np.asarray(model.projection(jnp.asarray(end)))
    depths = [16, 32, 64]
    errors = [np.max(np.abs(np.asarray(model.with_layers(n)(jnp.ones((3, 5)))) - exact)) for n in depths]
    orders = observed_orders(errors, [1 / n for n in depths])
    assert np.all(np.abs(orders - 1) < 0.2), orders


def test_it_commutes_with_translations():
    model = made(2, 5, 2, (3, 4), 6, num_layers=3, key=KEY)
    u = field((8, 9))
    moved = applied(model, jnp.roll(u, (3, -2), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(applied(model, u), (3, -2), (1, 2)), atol=1e-5)


def test_layers_cost_no_weights(tmp_path):
    shallow, deep = (made(2, 5, 2, (3, 4), 6, num_layers=n, key=KEY) for n in (2, 9))
    assert deep.num_layers == 9 and jax.tree.leaves(shallow)[0].shape == jax.tree.leaves(deep)[0].shape
    assert eqx.tree_equal(shallow.with_layers(9), deep)
    save(tmp_path / "model.pdejax", deep, names=("u", "v"))
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, deep)


@pytest.mark.either
def test_mistakes_are_named():
    with pytest.raises(ValueError, match="ImplicitFNO needs num_layers >= 1, got 0"):
        ImplicitFNO(1, 1, 2, 3, 4, num_layers=0, key=KEY)
    with pytest.raises(ValueError, match="takes a state of 1 channels and 2 axes"):
        made(1, 1, 2, 3, 4, key=KEY)(field((8, 9)))


def test_numbers_act_on_what_the_convolution_makes():
    told = Conditioning("a", modulation=FiLM())
    model = made(2, 5, 1, 3, 6, num_layers=1, conditioning=told, key=KEY)
    model = eqx.tree_at(lambda m: m.convolution, model, jax.tree.map(jnp.zeros_like, model.convolution))
    shift = model.modulation.shift(model.embedding(jnp.asarray([0.7])))
    v = model.lift(field((12,)))
    expected = model.projection(v + jax.nn.gelu(shift[:, None] + model.shortcut(v)))
    np.testing.assert_allclose(applied(model, field((12,)), {"a": 0.7}), expected, atol=1e-5)
