"""Solvers of jaxopt and of optimistix reach the optimum of a convex fit, which the normal equations know exactly."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

from pdejax.data import Trajectories
from pdejax.grid import Grid
from pdejax.interop.with_jaxopt import full_batch_loss, minimise_with_jaxopt
from pdejax.nn import ChannelMap
from pdejax.training import OneStep, Supervised

with warnings.catch_warnings():
    # jaxopt says whenever it is imported that it is no longer maintained; its users know.
    warnings.filterwarnings("ignore", "JAXopt is no longer maintained", DeprecationWarning)
    import jaxopt


class Affine(ChannelMap):
    """A model of 9 weights: `u -> weight u + bias` at every point, 2 channels in and 3 out."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return super().__call__(u)


def pairs():
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (4, 2, 5, 7)) + 0.5
    matrix = jax.random.normal(keys[1], (3, 2))
    noise = jax.random.normal(keys[2], (4, 3, 5, 7))
    return x, jnp.einsum("oi,bixy->boxy", matrix, x) + 0.3 * noise - 1.0


def normal_equations(x, y):
    """`[weight, bias]`, `(3, 3)`, and the mean square that is left, in double precision by numpy."""
    rows = np.moveaxis(np.asarray(x, np.float64), 1, -1).reshape(-1, 2)
    targets = np.moveaxis(np.asarray(y, np.float64), 1, -1).reshape(-1, 3)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    solution = np.linalg.solve(rows.T @ rows, rows.T @ targets)
    return solution.T, np.mean((rows @ solution - targets) ** 2)


def assert_solved(model, loss):
    exact, left = normal_equations(*pairs())
    np.testing.assert_allclose(np.column_stack([model.weight, model.bias]), exact, atol=1e-3)
    assert abs(loss - left) <= 1e-5 * left


@pytest.mark.parametrize("solver", ["LBFGS", "BFGS"])
def test_jaxopt_and_optimistix_reach_the_solution_of_the_normal_equations(solver):
    # In the precision of the session: optimistix.LBFGS takes no weights in single precision while double is on.
    arguments = Affine(2, 3, dtype=float, key=jax.random.key(1)), Supervised(), pairs()
    options = dict(key=jax.random.key(2), normalise=False)
    loss, weights, batch, model_of = full_batch_loss(*arguments, **options)

    class_ = getattr(jaxopt, solver)
    model, state = minimise_with_jaxopt(lambda f: class_(f, maxiter=60, tol=1e-5), *arguments, **options)
    assert 0 < int(state.iter_num) <= 60
    assert_solved(model, float(loss(model, batch)))

    minimiser = getattr(optimistix, solver)(rtol=1e-6, atol=1e-6)
    found = optimistix.minimise(loss, minimiser, weights, batch, max_steps=200, throw=False).value
    assert_solved(model_of(found), float(loss(found, batch)))


def test_the_class_alone_is_a_solver_and_frozen_parts_stay():
    model = Affine(2, 3, key=jax.random.key(1))
    fitted, _ = minimise_with_jaxopt(
        jaxopt.LBFGS, model, Supervised(), pairs(), key=jax.random.key(2), frozen=lambda m: m.bias
    )
    np.testing.assert_array_equal(fitted.model.bias, model.bias)
    # Between its statistics the optimum has no bias, so that the whole is the same affine map.
    exact, _ = normal_equations(*pairs())
    for u in ([0.0, 0.0], [1.0, -2.0]):
        np.testing.assert_allclose(fitted(jnp.asarray(u)[:, None])[:, 0], exact @ [*u, 1.0], atol=2e-3)


def test_all_windows_of_trajectories_are_in_the_batch():
    u0 = jax.random.normal(jax.random.key(0), (2, 1, 9), jnp.float32)
    factors = jnp.asarray([1.0, 0.5, 0.35])  # steps by 0.5 and by 0.7: the fit lies between, wherever both are seen
    data = Trajectories.from_arrays(u0[:, None] * factors[:, None, None], Grid(9, 1.0), ["u"], [0.0, 1.0, 2.0])
    model, _ = minimise_with_jaxopt(
        lambda f: jaxopt.LBFGS(f, maxiter=30, tol=1e-6),
        Affine(1, 1, key=jax.random.key(1)),
        OneStep(),
        data,
        key=jax.random.key(2),
        normalise=False,
        frozen=lambda m: m.bias,
    )
    expected = (1 * 0.5 + 0.5 * 0.35) / (1 + 0.25)
    np.testing.assert_allclose(model.weight, [[expected]], rtol=1e-4)


class Diverging:
    """A solver that returns weights that are not finite."""

    def __init__(self, loss):
        pass

    def run(self, weights, batch):
        return jax.tree.map(lambda leaf: leaf * jnp.nan, weights), None


def test_a_solver_that_diverges_is_an_error():
    with pytest.raises(ValueError, match="ended at a loss of nan"):
        minimise_with_jaxopt(
            Diverging, Affine(2, 3, key=jax.random.key(1)), Supervised(), pairs(), key=jax.random.key(2)
        )
