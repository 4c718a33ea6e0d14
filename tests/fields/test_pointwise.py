import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Equation, KolmogorovFlow, KuramotoSivashinsky, NavierStokesVorticity


@pytest.mark.float64
def test_terms_of_kuramoto_sivashinsky_by_hand():
    def u(t, x):
        return jnp.sin(2 * x - t)

    t, x = jnp.asarray(0.3), jnp.asarray([0.7])
    terms = pj.Pointwise().terms(KuramotoSivashinsky(0.5), u, t, x)
    s, c = np.sin(2 * 0.7 - 0.3), np.cos(2 * 0.7 - 0.3)
    np.testing.assert_allclose(terms.time_derivative, [-c], rtol=1e-14)
    np.testing.assert_allclose(terms.linear, [4 * s - 0.5 * 16 * s], rtol=1e-13)
    np.testing.assert_allclose(terms.nonlinear, [-2 * s * c], rtol=1e-13)


@pytest.mark.float64
def test_an_auxiliary_field_brings_its_constraint():
    def flow(t, x):  # psi = sin x sin y has vorticity 2 psi; the stream function is off by a factor
        psi = jnp.sin(x[0]) * jnp.sin(x[1])
        return jnp.stack([2 * psi, 1.5 * psi])

    x = jnp.asarray([0.4, 1.1])
    terms = pj.Pointwise().terms(NavierStokesVorticity(0.1), flow, jnp.asarray(0.0), x)
    psi = np.sin(0.4) * np.sin(1.1)
    np.testing.assert_allclose(terms.constraints, [-3 * psi + 2 * psi], rtol=1e-12)  # Lap psi + w
    assert terms.residual.shape == (2,)


def test_the_residual_of_a_network_is_differentiable_in_its_parameters():
    def network(weights, t, x):
        return jnp.tanh(weights[0] @ jnp.append(x, t)) @ weights[1]

    weights = (
        jax.random.normal(jax.random.key(0), (7, 3)),
        jax.random.normal(jax.random.key(1), (7, 2)),
    )
    points = jax.random.uniform(jax.random.key(2), (11, 2))

    def loss(weights):
        read = lambda x: pj.Pointwise().residual(  # noqa: E731
            KolmogorovFlow(0.1), lambda t, x: network(weights, t, x), jnp.asarray(0.2, x.dtype), x
        )
        return jnp.mean(jax.vmap(read)(points) ** 2)

    gradient = jax.jit(jax.grad(loss))(weights)
    assert all(bool(jnp.all(jnp.isfinite(leaf)) and jnp.any(leaf != 0)) for leaf in gradient)


def test_a_function_with_missing_outputs_is_named():
    with pytest.raises(ValueError, match=r"outputs \['vorticity', 'stream_function'\], this one has 1"):
        pj.Pointwise().residual(
            NavierStokesVorticity(0.1), lambda t, x: jnp.sin(x[:1]), jnp.asarray(0.0), jnp.asarray([0.1, 0.2])
        )


def test_a_map_may_change_the_number_of_components():
    class Squares(Equation):
        def components(self, ndim):
            return ("u", "v")

        def nonlinear(self, t, u):
            products = u.map(lambda w: jnp.concatenate([w[:1] ** 2, w[:1] * w[1:], w[1:] ** 2]))
            return (products[0] + products[2]).stack(products[2])

    terms = pj.fields.Pointwise().terms(
        Squares(), lambda t, x: jnp.stack([2.0 + 0 * x[0], 3.0 + 0 * t]), jnp.asarray(0.0), jnp.zeros(1)
    )
    np.testing.assert_allclose(terms.nonlinear, [13.0, 9.0])


def test_a_scalar_times_a_vector_is_a_vector():
    class Product(Equation):
        def components(self, ndim):
            return ("u",)

        def nonlinear(self, t, u):
            return (u * u.coordinates).divergence()

    terms = pj.fields.Pointwise().terms(
        Product(), lambda t, x: jnp.stack([x[0] * x[1] + 0 * t]), jnp.asarray(0.0), jnp.asarray([2.0, 3.0])
    )
    np.testing.assert_allclose(terms.nonlinear, [4 * 2.0 * 3.0], rtol=1e-6)
