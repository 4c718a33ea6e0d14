"""What is no weight: running statistics, random numbers, layouts; and mistakes that are named."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import pdejax as pj
from pdejax.interop.linen import LinenModel
from pdejax.interop.nnx import NnxModel
from pdejax.models import Held, trainable


class LinenNormed(linen.Module):
    running: bool = True

    @linen.compact
    def __call__(self, x):
        x = linen.BatchNorm(use_running_average=self.running)(x)
        return linen.Dense(1)(x)


class LinenDropout(linen.Module):
    @linen.compact
    def __call__(self, x, deterministic=False):
        return linen.Dropout(0.5, deterministic=deterministic)(linen.Dense(1)(x))


class NnxNormed(nnx.Module):
    def __init__(self, running=True):
        rngs = nnx.Rngs(0)
        self.norm = nnx.BatchNorm(1, use_running_average=running, rngs=rngs)
        self.dense = nnx.Linear(1, 1, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.norm(x))


class NnxDropout(nnx.Module):
    def __init__(self, switch=True):
        rngs = nnx.Rngs(0)
        self.dense, self.dropout, self.switch = nnx.Linear(1, 1, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), switch

    def __call__(self, x):
        return self.dropout(self.dense(x)) if self.switch else self.dropout(self.dense(x), deterministic=False)


U = jax.random.normal(jax.random.key(0), (1, 40), jnp.float32)


def linen_normed(running=True):
    variables = LinenNormed().init(jax.random.key(0), jnp.zeros((1, 40, 1)))
    return LinenModel(LinenNormed(running), variables)


def nnx_normed(running=True):
    return NnxModel(NnxNormed(running))


def linen_dropout():
    return LinenModel.init(LinenDropout(), U, key=jax.random.key(0), deterministic="deterministic")


@pytest.mark.parametrize("build", [linen_normed, nnx_normed])
def test_running_statistics_are_kept_and_not_trained(build):
    model = build()
    assert len(jax.tree.leaves(model.held)) == 2
    assert not any(jax.tree.leaves(trainable(model).held))
    assert sum(jax.tree.leaves(trainable(model))) == 4  # scale and bias, kernel and bias
    gradient = eqx.filter_grad(lambda m: jnp.sum(m(U) ** 2))(model)
    assert all(bool(jnp.all(leaf == 0)) for leaf in jax.tree.leaves(gradient.held))
    fitted = pj.fit(
        model,
        pj.objectives.Supervised(),
        (U[None], 3 * U[None]),
        optimiser=optax.adamw(0.1, weight_decay=0.1),
        num_steps=3,
        batch_size=1,
        key=jax.random.key(0),
        progress=False,
        steps_per_call=3,
    ).model.model
    assert eqx.tree_equal(fitted.held, model.held)
    assert not eqx.tree_equal(fitted.parameters, model.parameters)


def test_running_statistics_are_those_of_the_module():
    """`kernel (u - 0.5) / sqrt(4 + 1e-5) + bias`: scale 1 and bias 0 inside, as both begin."""
    variables = LinenNormed().init(jax.random.key(0), jnp.zeros((1, 40, 1)))
    statistics = {"BatchNorm_0": {"mean": jnp.asarray([0.5]), "var": jnp.asarray([4.0])}}
    of_linen = LinenModel(LinenNormed(), {"params": variables["params"], "batch_stats": statistics})
    module = NnxNormed()
    module.norm.mean[...], module.norm.var[...] = jnp.asarray([0.5], jnp.float32), jnp.asarray([4.0], jnp.float32)
    kernels = variables["params"]["Dense_0"]["kernel"], module.dense.kernel.get_value()
    for model, kernel in zip((of_linen, NnxModel(module)), kernels, strict=True):
        np.testing.assert_allclose(model(U), kernel[0, 0] * (U - 0.5) / 2, atol=1e-5)


@pytest.mark.parametrize("build", [linen_normed, nnx_normed])
def test_a_module_that_writes_into_its_variables_is_refused(build):
    with pytest.raises(ValueError, match="writes into .*use_running_average=True"):
        eqx.filter_jit(build(running=False))(U)


@pytest.mark.parametrize("build", [linen_dropout, lambda: NnxModel(NnxDropout())], ids=["linen", "nnx"])
def test_dropout_follows_the_key_of_the_call(build):
    model = build()
    still, one, again, two = (model(U, key=key) for key in (None, *map(jax.random.key, (1, 1, 2))))
    assert bool(jnp.all(still != 0))
    dropped = one == 0
    assert 5 < int(dropped.sum()) < 35
    np.testing.assert_array_equal(one, again)
    assert not bool(jnp.all(dropped == (two == 0)))
    np.testing.assert_allclose(one[~dropped], 2 * still[~dropped], rtol=1e-5)
    batch = jax.vmap(lambda key: model(U, key=key))(jax.random.split(jax.random.key(3), 2))
    assert not bool(jnp.all((batch[0] == 0) == (batch[1] == 0)))


def test_streams_of_random_numbers_are_not_one():
    class OfLinen(linen.Module):
        @linen.compact
        def __call__(self, x):
            return (
                x + jax.random.normal(self.make_rng("one"), x.shape) - jax.random.normal(self.make_rng("two"), x.shape)
            )

    class OfNnx(nnx.Module):
        def __init__(self):
            self.rngs = nnx.Rngs(one=0, two=1)

        def __call__(self, x):
            return x + jax.random.normal(self.rngs.one(), x.shape) - jax.random.normal(self.rngs.two(), x.shape)

    for model in (LinenModel(OfLinen(), {"params": {}}, rngs=("one", "two")), NnxModel(OfNnx())):
        difference = model(U, key=jax.random.key(0)) - U
        assert float(jnp.mean(difference**2)) == pytest.approx(2, rel=0.5)


def test_keys_of_the_older_kind_work():
    assert int((NnxModel(NnxDropout())(U, key=jax.random.PRNGKey(1)) == 0).sum()) > 5


def test_random_numbers_without_a_key_are_refused():
    model = LinenModel.init(LinenDropout(), U, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"pass key=, or name the keyword"):
        model(U)
    with pytest.raises(ValueError, match=r"LinenModel\(rngs=...\), now \('noise',\)"):
        LinenModel(LinenDropout(), {"params": model.parameters}, rngs=["noise"])(U, key=jax.random.key(0))
    with pytest.raises(ValueError, match="draws random numbers but has no key"):
        NnxModel(NnxDropout(switch=False))(U)


def test_layouts_are_asked_for():
    seen = []

    class Look(nnx.Module):
        def __call__(self, x):
            seen.append(x.shape)
            return 2 * x

    u = jnp.ones((2, 5, 7))
    for last in (True, False):
        for batched in (True, False):
            np.testing.assert_array_equal(NnxModel(Look(), channels_last=last, batched=batched)(u), 2 * u)
    assert seen == [(1, 5, 7, 2), (5, 7, 2), (1, 2, 5, 7), (2, 5, 7)]


def test_an_output_of_another_layout_is_refused():
    valid = linen.Conv(3, (3,), padding="VALID")
    model = LinenModel.init(valid, U, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"Conv gives shape \(1, 38, 3\) where \(1, 40, channel_out\) is expected"):
        model(U)
    with pytest.raises(ValueError, match="gives a tuple"):
        NnxModel(type("Two", (nnx.Module,), {"__call__": lambda self, x: (x, x)})())(U)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"got the collections \['kernel'\]"):
        LinenModel(linen.Dense(1), {"kernel": U})
    with pytest.raises(ValueError, match="takes a module of flax.nnx that is built"):
        NnxModel(NnxDropout)


def test_held_values_keep_what_is_no_array():
    assert Held({"a": 1.0, "b": None}).values == {"a": 1.0, "b": None}
