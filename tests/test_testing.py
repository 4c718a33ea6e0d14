"""The checks that users build on must fail for what is wrong."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Burgers
from pdejax.testing import check_equation, check_model, check_stepper, observed_orders

TURN = 2 * np.pi


def test_orders_of_a_known_sequence():
    np.testing.assert_allclose(observed_orders([8.0, 1.0, 1 / 27], [2.0, 1.0, 1 / 3]), [3.0, 3.0])
    with pytest.raises(ValueError, match="two or more positive"):
        observed_orders([1.0, 0.0], [1.0, 0.5])


def cole_hopf(x, t):
    decay = jnp.exp(-0.3 * t)
    return 0.6 * decay * jnp.sin(x) / (2 + decay * jnp.cos(x))


class AdvectsBackwards(Burgers):
    degree: ClassVar[int | None] = 2

    def nonlinear(self, t, u):
        return u.advect(u)


class SpreadsTooFast(Burgers):
    degree: ClassVar[int | None] = 2

    def linear(self, u):
        return u.laplacian() * (1.01 * self.viscosity)


@pytest.mark.float64
@pytest.mark.parametrize("wrong", [AdvectsBackwards(0.3), SpreadsTooFast(0.3)])
def test_a_wrong_term_is_noticed(wrong):
    with pytest.raises(AssertionError, match="pointwise residual"):
        check_equation(wrong, cole_hopf, extent=TURN)


@pytest.mark.float64
def test_a_solution_that_tests_nothing_is_refused():
    with pytest.raises(AssertionError, match="every term vanishes"):
        check_equation(Burgers(0.3), lambda x, t: 0.0 * x, extent=TURN)


@pytest.mark.float64
def test_an_exact_solution_is_a_tuple_or_an_array_of_components():
    def exact(x, y, t):
        decay = jnp.exp(-0.3 * t)
        return 0.6 * decay * jnp.sin(x) / (8 + decay * jnp.cos(x)), 0 * y

    check_equation(Burgers(0.3), exact, extent=TURN, ndim=2, num_points=32)
    # What it returns is made one array before anything is checked: the first check, at points, is enough for these.
    for kind in (list, jnp.stack):
        given = lambda *where, kind=kind: kind(exact(*where))  # noqa: E731
        check_equation(Burgers(0.3), given, extent=TURN, ndim=2, periodic=False)


@pytest.mark.float64
def test_an_exact_solution_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"shape \(1, 2\) at one point: return a tuple of one value per component"):
        check_equation(Burgers(0.3), lambda x, t: jnp.stack([x, t])[None], extent=TURN)


class Stepper(eqx.Module):
    dt: float = 0.1

    def __call__(self, u, *, t=0.0, key=None):
        return 0.9 * jnp.roll(u, 1, -1)


class Narrows(Stepper):
    def __call__(self, u, *, t=0.0, key=None):
        return u.astype(jnp.float16)


class LosesTheGradient(Stepper):
    def __call__(self, u, *, t=0.0, key=None):
        return u - 0.1 * jax.lax.stop_gradient(u)


@pytest.mark.float64
def test_steppers_that_break_the_contract_are_noticed():
    u = jnp.asarray(np.sin(np.arange(2 * 7.0)).reshape(2, 7))
    check_stepper(Stepper(), u)
    with pytest.raises(AssertionError, match="float16"):
        check_stepper(Narrows(), u)
    with pytest.raises(AssertionError, match="central differences"):
        check_stepper(LosesTheGradient(), u)


class Model(eqx.Module):
    weight: jax.Array
    unused: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return jnp.tensordot(self.weight, u, 1)


@pytest.mark.float64
def test_models_that_break_the_contract_are_noticed():
    u = jnp.asarray(np.sin(np.arange(2 * 7.0)).reshape(2, 7))
    weight = jax.random.normal(jax.random.key(0), (3, 2))
    with pytest.raises(AssertionError, match="unused is zero"):
        check_model(Model(weight, jnp.ones(2)), u, out_channels=3)
    with pytest.raises(AssertionError, match=r"not \(5, \*space\)"):
        check_model(Model(weight, jnp.ones(2)), u, out_channels=5)


def test_checks_that_need_double_precision_say_so():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        check_equation(Burgers(0.3), cole_hopf, extent=TURN)


def test_the_grid_of_a_stepper_is_its_discretisation_s():
    grid = pj.Grid(8, 1.0)
    assert pj.TimeStepper(Burgers(0.1), pj.Spectral(grid), 0.1).grid is grid
