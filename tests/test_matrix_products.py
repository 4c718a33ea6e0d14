"""Accelerators round matrix products in single precision to TF32 or bfloat16 unless a program forbids it."""

import equinox as eqx
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import AntiPeriodic, Dirichlet
from pdejax.elliptic import darcy
from pdejax.volumes import remap


def products(jaxpr):
    """All matrix products of a program, with those inside of loops and calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for value in equation.params.values():
            for inner in jax.tree.leaves(value, is_leaf=lambda leaf: isinstance(leaf, jax.extend.core.ClosedJaxpr)):
                if isinstance(inner, jax.extend.core.ClosedJaxpr):
                    yield from products(inner.jaxpr)
                elif isinstance(inner, jax.extend.core.Jaxpr):
                    yield from products(inner)


def rounded(function, *arguments):
    """How many products there are, and those that may be rounded."""
    found = list(products(eqx.filter_make_jaxpr(function)(*arguments)[0].jaxpr))
    exact = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    return len(found), [each for each in found if each.params["precision"] != exact]


def walled(u):
    grid = pj.Grid((12, 9), 1.0, periodic=False, points="nodes", dtype=u.dtype)
    return darcy(grid, jnp.exp(u), u, 0.0, method="multigrid")[0]


def antiperiodic(u):
    grid = pj.Grid((12, 9), 1.0, points="nodes", dtype=u.dtype)
    operator = pj.elliptic.EllipticOperator(grid, {"x": AntiPeriodic(), "y": AntiPeriodic()})
    return pj.elliptic.solve_elliptic(operator, u)[0]


def preconditioned(u):
    grid = pj.Grid((12, 9), 1.0, periodic=False, dtype=u.dtype)
    return darcy(grid, jnp.exp(u), u, 0.0, method="cg")[0]


def remapped(u):
    return remap(u, pj.Grid((12, 9), 1.0, dtype=u.dtype), pj.Grid((7, 5), 1.0, dtype=u.dtype))


def chebyshev(u):
    grid = pj.Grid((12, 9), 1.0, periodic=False, points="chebyshev", dtype=u.dtype)
    reading = pj.Chebyshev(grid, {"x": Dirichlet(0.0), "y": Dirichlet(0.0)})
    return pj.TimeStepper(pj.equations.Diffusion(0.1), reading, dt=0.01)(u[None])


def test_a_network_multiplies_as_exactly_as_it_is_told():
    model = pj.models.FNO(1, 1, 2, 3, 4, num_layers=2, key=jax.random.key(0))
    u = jnp.ones((1, 12, 9), jnp.float32)
    count, found = rounded(model, u)
    assert count > 10 and not found
    with jax.default_matmul_precision("tensorfloat32"):
        # The maps of channels and the complex weights; transforms stay exact.
        assert len(rounded(model, u)[1]) == 1 + 2 * 2 + 2


@pytest.mark.either
@pytest.mark.parametrize("function", [walled, antiperiodic, preconditioned, remapped, chebyshev])
def test_no_solver_lets_an_accelerator_round_its_products(function):
    count, found = rounded(function, jnp.asarray(np.random.default_rng(0).normal(size=(12, 9)), jnp.float32))
    assert count > 0 and not found, found
