"""Gauss-Newton methods on problems whose answer is known, and on those where they must say that they failed."""

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optax
import optimistix
import pytest

from pdejax.data import Trajectories
from pdejax.grid import Grid
from pdejax.models import Ensemble
from pdejax.nn import ChannelMap
from pdejax.training import (
    AbstractObjective,
    Curriculum,
    OneStep,
    RelativeL2,
    Supervised,
    Unrolled,
    Windows,
    fit,
    fit_least_squares,
)


class Affine(ChannelMap):
    """`u -> weight u + bias` at every point."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return super().__call__(u)


class Mlp(Affine):
    """One hidden layer at every point; `last` are the weights of the second one."""

    last: ChannelMap

    def __init__(self, in_channels, width, out_channels, *, dtype=jnp.float32, key):
        first_key, last_key = jax.random.split(key)
        super().__init__(in_channels, width, dtype=dtype, key=first_key)
        self.last = ChannelMap(width, out_channels, dtype=dtype, key=last_key)

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.last(jnp.tanh(super().__call__(u)))


def pairs():
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (4, 2, 5, 7), jnp.float32) * jnp.asarray([1.0, 30.0]).reshape(2, 1, 1) + 0.5
    noise = jax.random.normal(keys[2], (4, 3, 5, 7), jnp.float32)
    mixed = jnp.einsum("oi,bixy->boxy", jax.random.normal(keys[1], (3, 2)), x)
    return np.asarray(x, np.float32), np.asarray(mixed + 0.3 * noise - 1.0, np.float32)


def normal_equations(x, y, columns=slice(None)):
    """`[weight, bias]` of the columns that are free, the others zero, and the mean square that is left, by numpy."""
    rows = np.moveaxis(np.asarray(x, np.float64), 1, -1).reshape(-1, 2)
    targets = np.moveaxis(np.asarray(y, np.float64), 1, -1).reshape(-1, 3)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)[:, columns]
    solution = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return solution.T, np.mean((rows @ solution - targets) ** 2)


TOLERANCES = {"rtol": 1e-6, "atol": 1e-6, "norm": optimistix.rms_norm}
SOLVERS = {
    "by default": (None, 6),
    "Gauss-Newton": (optimistix.GaussNewton(**TOLERANCES), 1),
    "dogleg": (optimistix.Dogleg(**TOLERANCES), 6),
    "Cholesky": (optimistix.LevenbergMarquardt(**TOLERANCES, linear_solver=lineax.Normal(lineax.Cholesky())), 6),
    "without a matrix": (
        optimistix.LevenbergMarquardt(**TOLERANCES, linear_solver=lineax.Normal(lineax.CG(1e-4, 1e-4))),
        6,
    ),
}


def solve(model, objective, data, **given):
    return fit_least_squares(
        model, objective, data, **{"key": jax.random.key(2), "normalise": False, "progress": False} | given
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_linear_model_meets_the_normal_equations_in_a_few_steps(name):
    # With a condition number of 1e3.
    solver, enough = SOLVERS[name]
    fitted = solve(Affine(2, 3, key=jax.random.key(1)), Supervised(), pairs(), solver=solver)
    exact, left = normal_equations(*pairs())
    # Weights in single precision, in a session in double, come to an end at their rounding.
    assert fitted.converged or "trials in a row" in fitted.message
    assert fitted.model.weight.dtype == jnp.float32
    np.testing.assert_allclose(np.column_stack([fitted.model.weight, fitted.model.bias]), exact, atol=1e-3)
    np.testing.assert_allclose(fitted.log["loss"][min(enough, len(fitted.log) - 1) :], left, rtol=1e-4)
    assert list(fitted.log["step"]) == list(range(len(fitted.log)))


@pytest.mark.float64
def test_weights_in_double_precision_meet_them_to_its_digits():
    fitted = solve(Affine(2, 3, dtype=float, key=jax.random.key(1)), Supervised(), pairs())
    exact, _ = normal_equations(*pairs())
    assert fitted.converged and fitted.message == f"the tolerances were met in step {len(fitted.log) - 1}"
    np.testing.assert_allclose(np.column_stack([fitted.model.weight, fitted.model.bias]), exact, atol=1e-9)


def test_frozen_parts_and_statistics_stay():
    model = Affine(2, 3, key=jax.random.key(1))
    fitted = solve(model, Supervised(), pairs(), frozen=lambda m: m.bias)
    np.testing.assert_array_equal(fitted.model.bias, model.bias)
    exact, _ = normal_equations(*pairs(), slice(2))
    np.testing.assert_allclose(fitted.model.weight, exact, atol=1e-3)
    between = solve(model, Supervised(), pairs(), normalise=True)
    exact, _ = normal_equations(*pairs())
    for u in ([0.0, 0.0], [1.0, -2.0]):
        np.testing.assert_allclose(between.model(jnp.asarray(u)[:, None])[:, 0], exact @ [*u, 1.0], atol=2e-3)
    x, _ = pairs()
    np.testing.assert_allclose(between.model.input.std, x.std(axis=(0, 2, 3)), rtol=1e-5)


def decaying():
    """Trajectories that a factor per step explains only on average: 0.5 and 0.7 in turn."""
    u0 = jax.random.normal(jax.random.key(0), (2, 1, 9), jnp.float32)
    factors = jnp.asarray([1.0, 0.5, 0.35])[:, None, None]
    return Trajectories.from_arrays(u0[:, None] * factors, Grid(9, 1.0), ["u"], [0.0, 1.0, 2.0])


def test_all_windows_of_trajectories_are_fitted(tmp_path):
    path = tmp_path / "log.csv"
    fitted = solve(Affine(1, 1, key=jax.random.key(1)), OneStep(), decaying(), frozen=lambda m: m.bias, log_path=path)
    header, *rows = path.read_text().splitlines()
    assert header == "step,loss,accepted,seconds"
    assert [int(row.split(",")[0]) for row in rows] == list(range(len(fitted.log)))
    np.testing.assert_allclose(fitted.model.weight, [[(1 * 0.5 + 0.5 * 0.35) / (1 + 0.25)]], rtol=1e-4)


def test_unrolled_steps_are_weighed():
    # w minimises a (w - 0.5)^2 + b (w^2 - 0.35)^2.
    a, b = 0.2, 0.8
    fitted = solve(
        Affine(1, 1, key=jax.random.key(1)), Unrolled(2, weights=[a, b]), decaying(), frozen=lambda m: m.bias
    )
    roots = np.roots([4 * b, 0, 2 * a - 4 * b * 0.35, -2 * a * 0.5])
    losses = a * (roots - 0.5) ** 2 + b * (roots**2 - 0.35) ** 2
    np.testing.assert_allclose(fitted.model.weight, [[roots[np.argmin(losses.real)].real]], rtol=1e-4)


@pytest.mark.parametrize("objective", [Unrolled(2, weights=[0.3, 0.7]), Unrolled(3, remat=True, teacher_forcing=0.5)])
def test_residuals_have_the_loss_for_their_mean_square(objective):
    keys = jax.random.split(jax.random.key(3), 2)
    batch = Windows(jax.random.normal(keys[0], (3, objective.frames, 2, 5, 4)), {}, None)
    model = Affine(2, 2, key=keys[1])
    residuals = objective.residuals(model, batch, keys[0])
    np.testing.assert_allclose(jnp.mean(residuals**2), objective(model, batch, keys[0])[0], rtol=1e-6)


def test_a_small_network_comes_far_below_adam():
    x = jax.random.uniform(jax.random.key(0), (8, 2, 25), jnp.float32, -2, 2)
    data = x, jnp.sin(2 * x[:, :1]) * x[:, 1:]
    model = Mlp(2, 12, 1, key=jax.random.key(1))
    fitted = solve(model, Supervised(), data, max_steps=60)
    # The evaluations of Levenberg-Marquardt cost the solutions besides: Adam gets twenty times as many.
    schedule = optax.cosine_decay_schedule(0.03, 1200)
    adam = fit(
        model,
        Supervised(),
        data,
        optimiser=optax.adam(schedule),
        num_steps=1200,
        batch_size=8,
        key=jax.random.key(2),
        normalise=False,
        progress=False,
    )
    assert fitted.log["loss"][-1] < 0.1 * adam.log["loss"][-1]
    assert fitted.message == "max_steps=60 reached" and not fitted.converged
    refused = fitted.log["accepted"][1:] == 0
    assert np.all(np.diff(fitted.log["loss"])[refused] == 0) and np.all(np.diff(fitted.log["loss"])[~refused] < 0)


class Root(Affine):
    """Not a number where the weight is negative, which a step without damping reaches."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jnp.sqrt(self.weight[0, 0]) * jnp.ones((1, *u.shape[1:]))


def test_what_is_not_finite_ends_the_search_with_the_last_good_model():
    # r = sqrt(w) - c: from w = 9 the first step leads to w = 6 c - 9 = -3.
    data = np.ones((2, 1, 400), np.float32), np.ones((2, 1, 400), np.float32)
    model = Root(1, 1, key=jax.random.key(0))
    model = jax.tree.map(lambda leaf: jnp.full_like(leaf, 9.0), model)
    solver = optimistix.GaussNewton(1e-6, 1e-6)
    with pytest.warns(
        UserWarning, match=r"in step 1, whose loss is nan; the model is that of step 0, whose loss is 4\."
    ):
        fitted = solve(model, Supervised(), data, solver=solver, frozen=lambda m: m.bias)
    assert not fitted.converged
    np.testing.assert_array_equal(fitted.model.weight, model.weight)
    # Levenberg-Marquardt refuses that trial and goes on from where it was.
    damped = solve(model, Supervised(), data, frozen=lambda m: m.bias)
    assert damped.log["accepted"][1] == 0
    np.testing.assert_allclose(damped.model.weight, 1, rtol=1e-3)


class OfOnesOwn(AbstractObjective):
    """Residuals of the wrong size."""

    frames = 2

    def __call__(self, model, batch, key):
        return jnp.mean((jax.vmap(model)(batch.u[:, 0]) - batch.u[:, 1]) ** 2), {}

    def residuals(self, model, batch, key):
        return 2 * (jax.vmap(model)(batch.u[:, 0]) - batch.u[:, 1])


def test_mistakes_are_named(without_shape_checks):
    model, data = Affine(1, 1, key=jax.random.key(1)), decaying()
    with pytest.raises(ValueError, match="Least squares minimise MeanSquare"):
        solve(model, OneStep(RelativeL2()), data)
    with pytest.raises(ValueError, match="Curriculum has no residuals"):
        solve(model, Curriculum(((0, OneStep()), (10, Unrolled(2)))), data)
    with pytest.raises(ValueError, match="gradient_steps=1: leave it out"):
        solve(model, Unrolled(2, gradient_steps=1), data)
    with pytest.raises(ValueError, match="OfOnesOwn have the mean square .* its loss is"):
        solve(model, OfOnesOwn(), data)
    with pytest.raises(ValueError, match="Gauss-Newton method that is built"):
        solve(model, OneStep(), data, solver=optimistix.LevenbergMarquardt)
    with pytest.raises(ValueError, match="Gauss-Newton method that is built"):
        solve(model, OneStep(), data, solver=optimistix.BFGS(1e-3, 1e-3))
    with pytest.raises(ValueError, match="max_steps must be >= 1"):
        solve(model, OneStep(), data, max_steps=0)
    with pytest.raises(ValueError, match="fits one model"):
        solve(Ensemble(model, 2), OneStep(), data)
    with pytest.raises(ValueError, match="as it is given is nan"):
        solve(jax.tree.map(lambda leaf: leaf * jnp.nan, model), OneStep(), data)
