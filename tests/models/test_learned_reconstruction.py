"""Learned interpolation: consistent and conservative whatever its weights are, and better by training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.models import Ensemble, LearnedReconstruction, LearnedSolver, output_scale, trainable
from pdejax.testing import check_lowering
from pdejax.volumes import MUSCL, WENO, PiecewiseConstant

POINTS = 24
TIME = 0.5 / POINTS


def reconstruction_of(stepper):
    return stepper.discretisation.reconstruction


def wild(seed=0, dtype=jnp.float32, **given):
    """One whose last layer says something."""
    given = {"neighbours": 2, "width": 5} | given
    learned = LearnedReconstruction(**given, dtype=dtype, key=jax.random.key(seed))
    weight = 0.1 * jax.random.normal(jax.random.key(seed + 1), learned.network.out.weight.shape, dtype)
    return eqx.tree_at(lambda tree: tree.network.out.weight, learned, weight)


def model_of(learned, grid=None, equation=None, dt=TIME, substeps=1):
    grid = pj.Grid(POINTS, 1.0, dtype="float32") if grid is None else grid
    equation = pj.equations.Advection(1.0) if equation is None else equation
    stepper = pj.TimeStepper(equation, pj.FiniteVolume(grid, learned), dt, substeps)
    return LearnedSolver(stepper, reconstruction_of)


def waves(samples, seed, frames=25, modes=5):
    """Exact averages of sums of sines that move to the right, `(sample, frame, 1, cell)`."""
    rng = np.random.default_rng(seed)
    amplitude, phase = rng.normal(size=(samples, modes)), rng.uniform(0, 2 * np.pi, (samples, modes))
    k = 2 * np.pi * np.arange(1, modes + 1)
    x = np.arange(POINTS) / POINTS - TIME * np.arange(frames)[:, None]
    # The mean of a sine over a cell is its value at the centre times sin(k h / 2) / (k h / 2).
    share = np.sinc(k / (2 * np.pi * POINTS))
    u = np.einsum("sm,sfxm->sfx", amplitude * share, np.sin(k * x[None, ..., None] + phase[:, None, None]))
    return pj.Trajectories.from_arrays(
        u[:, :, None].astype(np.float32), pj.Grid(POINTS, 1.0, dtype="float32"), ("u",), TIME * np.arange(frames)
    )


def stencil(antiderivative, reach=2):
    edges = 0.3 + 0.2 * np.arange(2 * reach + 2)
    averages = [jnp.asarray(each) for each in np.diff(antiderivative(edges)) / np.diff(edges)]
    return averages, edges[reach + 1], edges[reach]


@pytest.mark.float64
def test_it_begins_as_its_base():
    u = [jnp.asarray(each) for each in np.random.default_rng(0).normal(size=(5, 3, 7))]
    share = jnp.asarray(0.1)
    for base in (PiecewiseConstant(), MUSCL(), WENO(5)):
        learned = LearnedReconstruction(2, base=base, key=jax.random.key(0))
        middle = u[2 - base.reach : 3 + base.reach]
        np.testing.assert_array_equal(learned.at_edge(u, share), base.at_edge(middle, share))


@pytest.mark.float64
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_weights_are_consistent_whatever_the_network_says(order):
    """Polynomials below its order are met, both edges, where the base does so; of its order they are not."""
    powers = [lambda x: 1.5 * x, lambda x: x - 2.5 * x**2, lambda x: x - x**2 + 3 * x**3]
    values = [lambda x: 1.5, lambda x: 1 - 5 * x, lambda x: 1 - 2 * x + 9 * x**2]
    learned = wild(order=order, base=WENO(5), dtype=jnp.float64)
    for antiderivative, value in zip(powers[:order], values[:order], strict=True):
        averages, upper, lower = stencil(antiderivative)
        np.testing.assert_allclose(learned.at_edge(averages, jnp.asarray(0.2)), value(upper), rtol=1e-13)
        np.testing.assert_allclose(learned.at_edge(averages[::-1], jnp.asarray(0.2)), value(lower), rtol=1e-13)
    averages, upper, _ = stencil(lambda x: x ** (order + 1))
    assert abs(float(learned.at_edge(averages, jnp.asarray(0.2))) - (order + 1) * upper**order) > 1e-6


@pytest.mark.float64
def test_the_value_is_its_formula():
    learned = wild(order=2, base=PiecewiseConstant(), dtype=jnp.float64)
    u = np.random.default_rng(6).normal(size=(5, 4))
    first = np.diff(u, axis=0)
    theta = learned.network(jnp.asarray(first / np.linalg.norm(first, axis=0)))
    expected = u[2] + np.sum(theta * np.diff(u, n=2, axis=0), axis=0)
    found = learned.at_edge([jnp.asarray(each) for each in u], jnp.asarray(0.1))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.float64
def test_units_do_not_matter_and_nothing_is_lost_at_the_ends_of_the_numbers():
    learned, share = wild(base=PiecewiseConstant(), dtype=jnp.float64), jnp.asarray(0.1)
    u = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)))
    plain = learned.at_edge(list(u), share)
    for scale in (1e-200, 3.0, 1e200):
        np.testing.assert_allclose(learned.at_edge(list(scale * u), share), scale * plain, rtol=1e-12)
    np.testing.assert_allclose(learned.at_edge(list(u + 7.0), share), plain + 7.0, rtol=1e-12)
    flat = jax.grad(lambda u: jnp.sum(learned.at_edge(list(u), share)))(jnp.ones((5, 4)))
    assert np.all(np.isfinite(flat))


@pytest.mark.float64
@pytest.mark.parametrize("shape", [(17,), (9, 12)])
def test_what_leaves_a_cell_enters_the_next(shape):
    """Every component of a gas, along one and two dimensions, with untrained weights that are not zero."""
    grid = pj.Grid(shape, 1.0)
    equation = pj.equations.Euler()
    rng = np.random.default_rng(2)
    count = 2 + len(shape)
    moving = 0.2 * rng.normal(size=(count, *shape))
    u = jnp.asarray(np.concatenate([1 + 0.1 * moving[:1], moving[1:-1], 3 + moving[-1:]]))
    following = eqx.filter_jit(model_of(wild(dtype=jnp.float64), grid, equation, 0.004))(u)
    space = tuple(range(1, 1 + len(shape)))
    assert float(jnp.max(jnp.abs(following - u))) > 1e-3
    np.testing.assert_allclose(following.sum(space), u.sum(space), rtol=1e-13, atol=1e-12)


@pytest.mark.float64
def test_gradients_are_those_of_central_differences_and_pass_through_the_solver():
    grid = pj.Grid((5, 6), 1.0)
    equation = pj.equations.Advection((1.0, -0.7))
    model = model_of(wild(dtype=jnp.float64), grid, equation, 0.05)
    u = jnp.asarray(np.random.default_rng(3).normal(size=(1, 5, 6)))
    flags = trainable(model)
    moving, still = eqx.partition(model, flags)

    @jax.jit
    def loss_and_gradients(moving, u):
        return jax.value_and_grad(lambda moving, u: jnp.sum(jnp.sin(eqx.combine(moving, still)(u))), (0, 1))(moving, u)

    _, (found, by_state) = loss_and_gradients(moving, u)
    rng = np.random.default_rng(4)
    for given, gradient, at in ((moving, found, 0), (u, by_state, 1)):
        direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), given)
        ends = [jax.tree.map(lambda a, d, h=h: a + h * d, given, direction) for h in (1e-6, -1e-6)]
        pair = [loss_and_gradients(*((end, u) if at == 0 else (moving, end)))[0] for end in ends]
        exact = sum(jax.tree.leaves(jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)))
        assert float((pair[0] - pair[1]) / 2e-6) == pytest.approx(float(exact), rel=1e-6)
    assert not any(jax.tree.leaves(flags.held)) and any(jax.tree.leaves(flags.part))
    everything = eqx.filter_jit(eqx.filter_grad(lambda model: jnp.sum(model(u) ** 2)))(model)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(everything.held))


def test_trained_on_a_coarse_grid_it_beats_its_base_and_weno_on_held_out_waves():
    train, held_out = waves(16, 0), waves(12, 1)
    model = model_of(LearnedReconstruction(2, key=jax.random.key(0)))
    steps = 90
    run = pj.fit(
        model,
        pj.objectives.Unrolled(2),
        train,
        optimiser=optax.adamw(optax.cosine_decay_schedule(1e-2, steps), weight_decay=1e-2),
        num_steps=steps,
        batch_size=8,
        key=jax.random.key(1),
        progress=False,
    )
    # In units of what the solver missed as it was given.
    assert 0.3 < run.log["loss"][0] < 6 and run.log["loss"][-1] < 0.1 * run.log["loss"][0]
    u = jnp.asarray(held_out.u[:])
    missed = np.asarray(jax.vmap(jax.vmap(model))(jnp.asarray(train.u[:, :-1]))) - train.u[:, 1:]
    np.testing.assert_allclose(output_scale(run.model), missed.std((0, 1, 3)), rtol=1e-3)
    assert float(run.model.held.inside.dt) == np.float32(TIME)
    assert float(jnp.max(jnp.abs(run.model.held.inside.equation.velocity - model.held.inside.equation.velocity))) == 0

    def error(stepper):
        def body(v, _):
            return jax.vmap(stepper)(v), None

        end = jax.lax.scan(body, u[:, 0], None, held_out.num_frames - 1)[0]
        return float(jnp.linalg.norm(end - u[:, -1]) / jnp.linalg.norm(u[:, -1]))

    volumes = (pj.FiniteVolume(train.grid, each) for each in (MUSCL(), WENO(5)))
    rivals = [error(pj.TimeStepper(pj.equations.Advection(1.0), each, TIME)) for each in volumes]
    assert error(run.model.stepper) < 0.6 * min(rivals)


def test_it_lowers_for_every_platform():
    model = model_of(wild())
    gradient = eqx.filter_grad(lambda model, u: jnp.sum(model(u) ** 2))
    check_lowering(lambda u: gradient(model, u).part.network.out.weight, jax.ShapeDtypeStruct((1, POINTS), jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
def test_what_does_not_fit_is_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="5 averages have no differences of order 5: take order <= 4"):
        LearnedReconstruction(2, order=5, key=key)
    with pytest.raises(ValueError, match="base WENO reads 2 neighbours on either side: give neighbours >= 2, got 1"):
        LearnedReconstruction(1, base=WENO(5), key=key)
    with pytest.raises(TypeError, match="corrects a reconstruction such as MUSCL"):
        LearnedReconstruction(base=MUSCL, key=key)
    with pytest.raises(ValueError, match="neighbours must be >= 1, got 0"):
        LearnedReconstruction(0, key=key)
    stepper = model_of(wild()).stepper
    with pytest.raises(ValueError, match="built and can be called, got the class TimeStepper"):
        LearnedSolver(pj.TimeStepper, reconstruction_of)
    with pytest.raises(ValueError, match="NoneType has no weights: point at a network"):
        LearnedSolver(stepper, lambda stepper: stepper.discretisation.riemann)
    model = LearnedSolver(stepper, reconstruction_of)
    given = {"optimiser": optax.adam(1e-2), "num_steps": 1, "batch_size": 2, "key": key, "progress": False}
    with pytest.raises(ValueError, match="several: fit an Ensemble of them with normalise=False"):
        pj.fit(Ensemble.of([model, model]), pj.objectives.OneStep(), waves(2, 0), **given)
    pairs = tuple(waves(2, 0).u[0, frame : frame + 4] for frame in (0, 1))
    with pytest.raises(ValueError, match="steps physical states: for pairs pass normalise=False"):
        pj.fit(model, pj.objectives.Supervised(), pairs, **given)
