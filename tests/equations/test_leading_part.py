"""An equation with less of it in `linear`: the same equation, solved by solvers that the whole part refuses."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann, Robin
from pdejax.equations import AdvectionDiffusion, Equation, KolmogorovFlow, LeadingPart
from pdejax.solvers import ETDRK4, KenCarp4

pytestmark = pytest.mark.float64


def exact(x, t):
    return jnp.sin(2 * x + t) + 2


class Moving(Equation):
    """u = sin(2 x + t) + 2 by its source, with diffusion and transport in `linear`."""

    def components(self, ndim):
        return ("u",)

    def linear(self, u):
        return u.laplacian() * 0.5 - u.derivative(0) * 0.6

    def nonlinear(self, t, u):
        return u.coordinates.map(lambda x: 2.2 * jnp.cos(2 * x + t) + 2 * jnp.sin(2 * x + t))


WALLS = {
    "x-": Dirichlet(lambda x, t: exact(x[0], t)),
    "x+": Robin(2.0, 1.0, lambda x, t: 2 * exact(x[0], t) + 2 * jnp.cos(2 * x[0] + t)),
}


@pytest.mark.parametrize("solver", [KenCarp4(), ETDRK4()], ids=str)
@pytest.mark.parametrize("points", ["nodes", "chebyshev"])
def test_moving_walls_are_followed_where_transport_is_linear(points, solver):
    grid = pj.Grid(40 if points == "nodes" else 20, 1.2, periodic=False, points=points)
    reading = pj.FiniteDifference(grid, 8, WALLS) if points == "nodes" else pj.Chebyshev(grid, WALLS)
    x, errors = grid.axes[0], []
    # A half as long, twice: the same program.
    step = eqx.filter_jit(lambda stepper, u, t: stepper(u, t=t))
    for dt in (1.0, 0.5):
        stepper, u = pj.TimeStepper(LeadingPart(Moving(), grid), reading, dt, 50, solver), exact(x, 5.0)[None]
        for t in np.arange(5.0, 6.0, dt):
            u = step(stepper, u, t)
        errors.append(float(jnp.max(jnp.abs(u[0] - exact(x, 6.0)))))
    # What explicit stages see of moving walls costs order there, and little more: 1e-6 of a state of size 3.
    assert errors[0] < 1e-5 and errors[1] < errors[0] / 3.5, errors


class Fed(Equation):
    """The second component diffuses into the first; the diffusivity varies by a third about its mean."""

    def components(self, ndim):
        return ("u", "v")

    def linear(self, state):
        u, v = state["u"], state["v"]
        varying = u.coordinates[0].map(lambda x: 0.3 + 0.1 * jnp.sin(3 * x))
        return (varying * u.laplacian() + v.derivative(0)).stack(v.laplacian() * 0.2 - v)

    def nonlinear(self, t, state):
        return state * jnp.cos(t)


@pytest.mark.parametrize("kind", [pj.FiniteDifference, pj.Chebyshev])
def test_it_says_what_the_equation_says(kind):
    points = ("chebyshev" if kind is pj.Chebyshev else "nodes", "nodes")
    grid = pj.Grid((11, 10), (1.0, 2.0), periodic=(False, True), points=points)
    walls = {"x-": lambda x, t: jnp.sin(x[1] + t), "x+": Neumann(0.3)}
    reading = kind(grid, boundary=walls) if kind is pj.Chebyshev else kind(grid, 4, walls)
    u = jnp.asarray(np.random.default_rng(0).normal(size=(2, *grid.shape)))

    @jax.jit
    def tendencies(u):
        whole, split = Fed(), LeadingPart(Fed(), grid)
        return reading.tendency(whole, 0.3, u), reading.tendency(split, 0.3, u)

    whole, split = tendencies(u)
    np.testing.assert_allclose(split, whole, atol=1e-11 * float(jnp.max(jnp.abs(whole))))


def test_it_refuses_and_dealiases_as_the_equation_does():
    box = pj.Grid((12, 12), 2.0)
    flow = KolmogorovFlow(0.1, wavenumber=2)
    split = LeadingPart(flow, box)
    assert split.degree == flow.degree == 2 and list(split.coefficients()) == list(flow.coefficients())
    for equation in (flow, split):
        with pytest.raises(ValueError, match="periods in a box"):
            equation.check_grid(box)


def test_what_is_left_of_linear_is_diagonal_and_the_solution_that_of_the_whole():
    grid = pj.Grid(25, 1.0, periodic=False, points="chebyshev")
    reading = pj.Chebyshev(grid, {"x-": 1.0, "x+": Neumann()})
    u0 = jnp.stack([1 + 0 * grid.axes[0], 1 + jnp.sin(grid.axes[0]) ** 2])
    split = LeadingPart(Fed(), grid)
    assert "by a Krylov method" in pj.explain(Fed(), reading)
    assert "diagonal in a basis per axis" in pj.explain(split, reading)
    # The whole by explicit steps: no implicit solver is compiled for it.
    whole = pj.solve(Fed(), reading, u0, [0.0, 1.0], solver=diffrax.Tsit5(), rtol=1e-8, max_steps=100_000).u[-1]
    found = pj.solve(split, reading, u0, [0.0, 1.0], rtol=1e-8).u[-1]
    np.testing.assert_allclose(found, whole, atol=1e-6)
    with pytest.raises(ValueError, match=r"orders \[1, 2\]"):
        transported = AdvectionDiffusion(1.0, 0.1)
        pj.TimeStepper(transported, reading, 0.1, 2, ETDRK4())(u0[:1])
    stepper = pj.TimeStepper(LeadingPart(transported, grid), reading, 0.1, 20, ETDRK4())
    assert eqx.filter_jit(stepper)(u0[:1]).shape == (1, 25)
