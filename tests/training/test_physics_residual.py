"""The equation as objective: its order with exact solutions, on every discretisation; its gradient; refinement."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Neumann
from pdejax.equations import AdvectionDiffusion, Burgers, Diffusion, InviscidBurgers
from pdejax.models import Normalised, Statistics
from pdejax.testing import Manufactured, observed_orders
from pdejax.training import OneStep, PhysicsResidual, Sobolev, Sum, Unrolled, Windows, fit
from pdejax.training.checkpoints import described_run
from pdejax.training.objectives.physics_residual import interval_weights

KEY = jax.random.key(0)


def test_the_weights_are_those_of_known_rules():
    np.testing.assert_allclose(interval_weights(3, 2), [[0.5, 0.5, 0], [0, 0.5, 0.5]], atol=1e-15)
    np.testing.assert_allclose(interval_weights(3, 3).sum(axis=0), [1 / 3, 4 / 3, 1 / 3], atol=1e-14)
    fourth = np.array([[9, 19, -5, 1, 0], [-1, 13, 13, -1, 0], [0, -1, 13, 13, -1], [0, 1, -5, 19, 9]]) / 24
    np.testing.assert_allclose(interval_weights(5, 4), fourth, atol=1e-14)


def of_exact_frames(residual, exact, num_frames, steps, start=0.3):
    """The residual per time of exact frames at distances `steps`, its largest value for each."""
    x = residual.discretisation.grid.coordinates()

    @jax.jit
    def largest(dt):
        u = jnp.stack([exact(*x, start + n * dt)[None] for n in range(num_frames)])
        return jnp.max(jnp.abs(residual.of(u, time=start, dt=dt)))

    return [float(largest(dt)) for dt in steps]


def cole_hopf(x, t, nu=0.3):
    decay = jnp.exp(-nu * t)
    return 2 * nu * decay * jnp.sin(x) / (2 + decay * jnp.cos(x))


def cooling(x, t):
    """Held at the lower wall, with a slope at the upper one that changes in time."""
    return jnp.exp(-0.5 * t) * jnp.sin(0.9 * x) + 0.2 * x * t


WALLS = {
    "x-": Dirichlet(lambda x, t: cooling(x[0], t)),
    "x+": Neumann(lambda x, t: jax.jvp(lambda s: cooling(s, t), (x[0],), (jnp.ones_like(x[0]),))[1]),
}
BURGERS = pj.Grid((65,), 2 * np.pi)
BETWEEN_WALLS = pj.Grid((18,), 1.3, periodic=False, origin=0.2, points="chebyshev")
NODES = pj.Grid((40,), 1.3, periodic=False, origin=0.2, points="nodes")
READINGS = {
    "spectral": (Burgers(0.3), pj.Spectral(BURGERS), cole_hopf),
    "chebyshev": (Manufactured(Diffusion(0.4), cooling), pj.Chebyshev(BETWEEN_WALLS, WALLS), cooling),
    "differences": (Manufactured(Diffusion(0.4), cooling), pj.FiniteDifference(NODES, 8, WALLS), cooling),
}


@pytest.mark.float64
@pytest.mark.parametrize("reading", READINGS)
def test_the_residual_of_an_exact_solution_falls_with_the_order_of_the_scheme(reading):
    equation, discretisation, exact = READINGS[reading]
    steps = [0.1, 0.05, 0.025]
    for order in (2, 3, 4) if reading == "spectral" else (4,):
        errors = of_exact_frames(PhysicsResidual(equation, discretisation, 4, order=order), exact, 5, steps)
        np.testing.assert_allclose(observed_orders(errors, steps), order, atol=0.25)


@pytest.mark.float64
def test_the_residual_of_a_wrong_solution_does_not_fall():
    residual = PhysicsResidual(Burgers(0.3), pj.Spectral(BURGERS), order=2)
    errors = of_exact_frames(residual, lambda x, t: cole_hopf(x, 1.1 * t), 3, (0.1, 0.05))
    assert errors[1] == pytest.approx(errors[0], rel=0.1) and errors[0] > 0.01


@pytest.mark.float64
def test_frames_without_residual_are_those_of_the_trapezoidal_rule():
    grid = pj.Grid((7, 6), (2.0, 3.0), dtype=jnp.float64)
    u = np.random.default_rng(0).normal(size=(1, *grid.shape))
    equation, read, dt = AdvectionDiffusion((1.0, -0.5), 0.1), pj.Spectral(grid), 0.3
    size = u.size
    matrix = np.asarray(jax.jacfwd(lambda v: read.tendency(equation, 0.0, v))(jnp.asarray(u))).reshape(size, size)
    following = np.linalg.solve(np.eye(size) - dt / 2 * matrix, (np.eye(size) + dt / 2 * matrix) @ u.ravel())
    found = PhysicsResidual(equation, read, dt=dt).of(np.stack([u, following.reshape(u.shape)]))
    np.testing.assert_allclose(found, 0, atol=1e-12)


@pytest.mark.float64
def test_frames_without_residual_of_order_four_are_off_by_the_fourth_power():
    decay, errors, steps = -1.0, [], (0.2, 0.1, 0.05)
    for dt in steps:
        count = round(1 / dt)
        weights = interval_weights(count + 1, 4)
        step = np.eye(count + 1)[1:] - np.eye(count + 1)[:-1] - dt * decay * weights
        frames = np.linalg.solve(step[:, 1:], -step[:, 0])
        errors.append(np.max(np.abs(frames - np.exp(decay * dt * np.arange(1, count + 1)))))
    np.testing.assert_allclose(observed_orders(errors, steps), 4, atol=0.4)


@pytest.mark.float64
def test_values_at_walls_are_compared_with_those_that_are_stated():
    for reading in ("chebyshev", "differences"):
        equation, discretisation, exact = READINGS[reading]
        x = discretisation.grid.coordinates()[0]
        u = np.stack([np.asarray(exact(x, t))[None] for t in (0.3, 0.301)])
        of = eqx.filter_jit(PhysicsResidual(equation, discretisation, dt=1e-3).of)
        right = np.asarray(of(jnp.asarray(u), time=0.3))
        u[1, 0, 0] += 0.5
        wrong = np.asarray(of(jnp.asarray(u), time=0.3))
        # What a held wall is given is not what the equation reads there.
        assert wrong[0, 0, 0] == pytest.approx(0.5 / 1e-3, rel=1e-4)
        np.testing.assert_allclose(wrong[0, 0, 1:], right[0, 0, 1:], atol=1e-6)
        # It is what is stated there at that time, and not what a scheme makes of its rate.
        u = np.stack([np.asarray(exact(x, t))[None] for t in (0.3, 0.9)])
        far = np.asarray(of(jnp.asarray(u), time=0.3, dt=0.6))
        assert abs(far[0, 0, 0]) < 1e-14 and np.max(np.abs(far)) > 1e-4


class Curved(eqx.Module):
    """Two channels that act on each other, three weights and one parameter."""

    weights: jax.Array

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        a, b, c = self.weights.astype(u.dtype)
        mixed = jnp.stack([u[1], u[0] ** 2])
        return a * u + b * jnp.tanh(mixed) + c * parameters["rate"] * jnp.roll(u, 1, axis=-1)


WEIGHTS = np.array([0.8, -0.3, 0.2])
PLANE = pj.Grid((9, 10), (2.0, 3.0))
RATE = jnp.array([0.5, -1.0, 2.0])
U = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2, 9, 10)))
OBJECTIVES = [
    PhysicsResidual(Burgers(0.3), pj.Spectral(PLANE), 3, dt=0.1),
    PhysicsResidual(Burgers(0.3), pj.FiniteDifference(PLANE, 4), 3, order=4, dt=0.1, loss=Sobolev(-1, relative=False)),
    Sum({"data": Unrolled(3), "physics": PhysicsResidual(Burgers(0.3), pj.Spectral(PLANE), scale=2.0)}, {"data": 0.3}),
]


@pytest.mark.float64
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: repr(objective)[:15])
def test_gradients_are_those_of_differences(objective):
    batch = Windows(U[:, : objective.frames], {"rate": RATE}, PLANE, interval=0.1)
    at = jax.jit(lambda weights: objective(Curved(weights), batch, KEY)[0])
    unit, step = np.eye(3), 1e-6
    differences = [(at(WEIGHTS + step * e) - at(WEIGHTS - step * e)) / (2 * step) for e in unit]
    np.testing.assert_allclose(jax.grad(at)(jnp.asarray(WEIGHTS)), differences, rtol=1e-5, atol=1e-8)


@pytest.mark.float64
def test_the_loss_is_the_mean_square_of_the_residual_over_a_step_in_units_of_the_model():
    unit, std = Statistics([0.0, 0.0], [1.0, 1.0]), np.array([0.5, 4.0])
    network = eqx.Partial(lambda u, parameters, domain, key: 0.9 * u[::-1])
    model = Normalised(network, unit, Statistics([0.0, 0.0], std))
    residual = PhysicsResidual(Burgers(0.3), pj.Spectral(PLANE), 2, dt=0.1)
    batch = Windows(U[:, :1], {}, PLANE)
    loss, logs = residual(model, batch, KEY)
    by_step, of = [], eqx.filter_jit(residual.of)
    for u in U[:, 0]:
        frames = [u, model(u)]
        frames = jnp.stack([*frames, model(frames[1])])
        by_step.append(np.mean((0.1 * of(frames) / std[:, None, None]) ** 2, axis=(1, 2, 3)))
    expected = np.mean(by_step, axis=0)
    np.testing.assert_allclose([logs["residual_step_1"], logs["residual_step_2"]], expected, rtol=1e-12)
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-12)


@pytest.mark.float64
def test_every_trajectory_has_its_own_coefficient_and_time():
    grid = pj.Grid((16,), 2.0, dtype=jnp.float64)
    k = np.pi
    x = np.asarray(grid.axes[0])

    class Decay(eqx.Module):
        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return u * jnp.exp(-parameters["diffusivity"] * k**2 * 0.01)

    diffusivity = np.array([0.1, 0.3, 0.7])
    u = np.stack([np.sin(k * x)[None, None]] * 3)
    data = pj.Trajectories.from_arrays(u, grid, ("u",), parameters={"diffusivity": diffusivity})
    residual = PhysicsResidual(Diffusion(5.0), pj.Spectral(grid), dt=0.01)
    residual.check_data(grid, None, data.parameters)
    batch = Windows(jnp.asarray(u), {"diffusivity": jnp.asarray(diffusivity)}, grid)
    assert float(residual(Decay(), batch, KEY)[0]) < 1e-8
    with pytest.raises(ValueError, match=r"diffusivity=5.* but the data were solved with diffusivity=0.3"):
        residual.check_data(grid, None, {"diffusivity": np.array([0.3, 0.3])})

    moving = Manufactured(Diffusion(0.4), lambda x, t: jnp.sin(k * x) * jnp.cos(3 * t))
    times = np.array([0.0, 0.4, 1.0])
    u = jnp.asarray(np.stack([np.sin(k * x)[None, None] * np.cos(3 * t) for t in times]))

    class At(eqx.Module):
        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return jnp.sin(k * x)[None] * jnp.cos(3 * (parameters["of"] + 0.01))

    def loss(of):
        batch = Windows(u, {"of": jnp.asarray(of)}, grid, time=jnp.asarray(times))
        return float(PhysicsResidual(moving, pj.Spectral(grid), dt=0.01)(At(), batch, KEY)[0])

    assert loss(times) < 1e-9 and loss(times + 0.2) > 1e-3


@pytest.mark.float64
def test_every_trajectory_has_its_own_interval():
    grid, intervals = pj.Grid((8,), 2.0, dtype=jnp.float64), jnp.array([0.01, 0.05, 0.2])

    def trapezoidal(u, parameters, *, domain=None, key=None):
        half = 0.3 * np.pi**2 * parameters["output_interval"] / 2
        return u * (1 - half) / (1 + half)

    u = jnp.tile(jnp.sin(np.pi * grid.axes[0]), (3, 1, 1, 1))
    batch = Windows(u, {"output_interval": intervals}, grid, interval=0.05)
    loss, _ = PhysicsResidual(Diffusion(0.3), pj.Spectral(grid))(trapezoidal, batch, KEY)
    assert float(loss) < 1e-25


def test_the_coefficients_are_not_trained_and_can_be_differentiated_in():
    grid = pj.Grid((8,), 2.0, dtype=jnp.float32)
    residual = PhysicsResidual(Diffusion(0.3), pj.Spectral(grid), dt=0.1)

    class Gain(eqx.Module):
        gain: jax.Array

        def __call__(self, u, parameters=None, *, domain=None, key=None):
            return self.gain * u

    u = np.random.default_rng(0).normal(size=(4, 1, 1, 8)).astype(np.float32)
    data = pj.Trajectories.from_arrays(u, grid, ("u",))
    options = {"optimiser": optax.adam(1e-2), "num_steps": 3, "batch_size": 4, "key": KEY, "progress": False}
    fitted = fit(Gain(jnp.float32(1.0)), residual, data, normalise=False, **options)
    assert float(fitted.model.gain) < 1 and len(jax.tree.leaves(eqx.filter(fitted.model, eqx.is_array))) == 1
    assert float(residual.equation.diffusivity) == pytest.approx(0.3)
    batch = Windows(jnp.asarray(u), {}, grid)
    slope = eqx.filter_grad(lambda objective: objective(Gain(jnp.float32(0.9)), batch, KEY)[0])(residual)
    assert float(slope.equation.diffusivity) != 0


@pytest.mark.usefixtures("without_shape_checks")
def test_another_coefficient_is_another_objective_to_a_checkpoint():
    grid = pj.Grid((8,), 2.0)
    data = SimpleNamespace(arrays=(jnp.zeros(3),), parameters={}, times=None, domain=None)

    def described(diffusivity):
        residual = PhysicsResidual(Diffusion(diffusivity), pj.Spectral(grid), dt=0.1)
        state = SimpleNamespace(model=jnp.zeros(2), optimiser_state=(), best=None)
        return described_run(state, [True], residual, data, KEY, 4, None)

    assert described(0.3) == described(0.3)
    assert [name for name, text in described(0.3).items() if described(0.4)[name] != text] == ["objective"]


@pytest.mark.float64
def test_averages_over_cells_have_a_residual_too():
    grid = pj.Grid((40,), 1.0, points="centres", dtype=jnp.float64)
    law, volumes, steps = InviscidBurgers(), pj.FiniteVolume(grid), [2e-3, 1e-3]
    first = 1 + 0.3 * jnp.sin(2 * np.pi * grid.coordinates())
    residuals = []
    for dt in steps:
        frames = pj.rollout(pj.TimeStepper(law, volumes, dt=dt), first, 2, include_initial=True)
        of = eqx.filter_jit(PhysicsResidual(law, volumes, dt=dt).of)
        residuals.append(float(jnp.sqrt(jnp.mean(of(frames) ** 2))))
    # Limiters are no smooth functions of the state: the order is seen in the mean.
    np.testing.assert_allclose(observed_orders(residuals, steps), 2, atol=0.4)
    assert residuals[0] < 1e-3


def test_a_sum_adds_weighted_parts_and_logs_each():
    u = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2, 9, 10)))
    batch = Windows(u, {"rate": RATE}, PLANE, interval=0.1, step=3)
    parts = {"data": Unrolled(3), "next": OneStep()}
    total, logs = Sum(parts, {"next": optax.linear_schedule(0.0, 2.0, 10)})(Curved(jnp.asarray(WEIGHTS)), batch, KEY)
    alone = {name: part(Curved(jnp.asarray(WEIGHTS)), batch, KEY)[0] for name, part in parts.items()}
    assert float(total) == pytest.approx(float(alone["data"] + 0.6 * alone["next"]), rel=1e-6)
    assert set(logs) == {"loss_data", "loss_next", *(f"data_loss_step_{n}" for n in (1, 2, 3))}
    assert float(logs["loss_next"]) == pytest.approx(float(alone["next"]), rel=1e-6)
    assert Sum(parts).frames == 4 and Sum({"next": OneStep()}).frames == 2


def test_the_parts_of_a_sum_draw_numbers_of_their_own():
    def drawn(u, parameters=None, *, domain=None, key=None):
        return jax.random.normal(key, u.shape, u.dtype)

    _, logs = Sum({"one": OneStep(), "other": OneStep()})(drawn, Windows(jnp.zeros((3, 2, 1, 20)), {}, None), KEY)
    assert abs(float(logs["loss_one"] - logs["loss_other"])) > 1e-3


GRID = pj.Grid((8,), 2.0)
RESIDUAL = PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PhysicsResidual(Diffusion, pj.Spectral(GRID)), "The equation must be an instance"),
        (lambda: PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID), 0), "num_steps must be >= 1"),
        (lambda: PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID), order=1), "two or more, got 1"),
        (lambda: PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID), dt=0.0), "dt > 0, got 0"),
        (lambda: PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID), scale=[0.0]), "scale > 0"),
        (lambda: RESIDUAL.of(jnp.zeros((3, 1, 8))), "pass dt"),
        (lambda: PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID), order=4, dt=1.0).of(jnp.zeros((3, 1, 8))), "<= 3"),
        (lambda: RESIDUAL.check_data(None, 1.0, {}), "live on a grid, and these on None"),
        (
            lambda: RESIDUAL.check_data(pj.Grid((9,), 2.0), 1.0, {}),
            r"shape=\(9,\), and the discretisation of PhysicsResidual on one with",
        ),
        (lambda: RESIDUAL.check_data(pj.Grid((8,), 2.5), 1.0, {}), r"box of extent \[2.5"),
        (lambda: RESIDUAL.check_data(GRID, None, {}), "one frame, or frames that are not equally far apart.*pass dt"),
        (lambda: RESIDUAL.check_data(GRID, 1.0, {"extent_x": np.ones(2)}), "the data vary extent_x"),
        (
            lambda: PhysicsResidual(Diffusion(0.3), pj.Spectral(GRID), dt=0.2).check_data(GRID, 0.1, {}),
            "has dt=0.2 but the frames of the data are 0.1 apart",
        ),
        (
            lambda: RESIDUAL(lambda u, *_, **__: u, Windows(jnp.zeros((2, 1, 3, 8)), {}, GRID), KEY),
            "1 components and a state 3 channels",
        ),
        (lambda: Sum({}), "objectives by name"),
        (lambda: Sum({"a": pj.objectives.Supervised()}), "Sum takes an objective in time"),
        (lambda: Sum({"a": OneStep()}, {"b": 1.0}), "'b' belongs to no part"),
        (lambda: Sum({"a": OneStep()}, {"a": -1.0}), "numbers >= 0"),
        (lambda: Sum({"a": pj.objectives.Bundled(OneStep(), 2)}), r"Bundled\(Sum\(...\), frames\)"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
