"""Steps in a latent space: against a solver where everything is linear and exact, and against themselves by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid, Spectral, TimeStepper
from pdejax.equations import AdvectionDiffusion
from pdejax.models import (
    FNO,
    InPrecision,
    LatentEvolution,
    NeuralStepper,
    Normalised,
    Statistics,
    latent_rollout,
    load,
    save,
)
from pdejax.nn import Conditioning, Embedding, FiLM, LatentMLP, StridedDecoder, StridedEncoder
from pdejax.rollout import rollout
from pdejax.testing import check_model

KEY = jax.random.key(0)
GRID = Grid(16, 2.0, dtype=jnp.zeros(()).dtype)
DT, VELOCITY, DIFFUSIVITY, MODES = 0.1, 0.7, 0.05, 4


class Coefficients(eqx.Module):
    """Real and imaginary parts of the lowest Fourier coefficients, as one vector."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        found = jnp.fft.rfft(u[0])[:MODES]
        return jnp.concatenate([found.real, found.imag])


class Values(eqx.Module):
    """Back from them."""

    def __call__(self, z, parameters=None, *, domain=None, key=None):
        return jnp.fft.irfft(z[:MODES] + 1j * z[MODES:], n=16)[None].astype(z.dtype)


class Turned(eqx.Module):
    """What a step of the equation does to them, or the change by it."""

    change: bool = eqx.field(static=True, default=False)

    def __call__(self, z, parameters=None, *, domain=None, key=None):
        assert domain is None  # a vector has no points
        k = 2 * np.pi * np.arange(MODES) / 2.0
        after = (z[:MODES] + 1j * z[MODES:]) * np.exp((-DIFFUSIVITY * k**2 - 1j * VELOCITY * k) * DT)
        after = jnp.concatenate([after.real, after.imag]).astype(z.dtype)
        return after - z if self.change else after


def same(u, parameters=None, *, domain=None, key=None):
    return u


def first_state():
    x = GRID.axes[0]
    return (1.5 + jnp.sin(np.pi * x) - 0.4 * jnp.cos(3 * np.pi * x + 1))[None]


@pytest.fixture(scope="module")
def solved():
    stepper = TimeStepper(AdvectionDiffusion(VELOCITY, DIFFUSIVITY), Spectral(GRID), dt=DT)
    return np.asarray(rollout(stepper, first_state(), 6))


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_with_the_exact_propagator_it_is_the_solver(solved, residual, around):
    model = LatentEvolution(Coefficients(), Turned(residual), Values(), residual)
    if around:
        # A mean stays what it is in this equation, and so do the units.
        statistics = Statistics([0.7], [0.3])
        model = Normalised(model, statistics, statistics)
    stepper = NeuralStepper(model, DT, GRID)
    close = {"rtol": 0, "atol": 100 * float(jnp.finfo(GRID.dtype).eps)}
    np.testing.assert_allclose(latent_rollout(stepper, first_state(), 6), solved, **close)
    np.testing.assert_allclose(latent_rollout(stepper, first_state(), 6, every=3), solved[2::3], **close)
    whole = latent_rollout(stepper, first_state(), 2, include_initial=True)
    np.testing.assert_allclose(whole, [first_state(), *solved[:2]], **close)
    np.testing.assert_allclose(rollout(stepper, first_state(), 6), solved, **close)


def small(residual=True, dtype=jnp.float32):
    told = Conditioning("rate", periodic=True)
    one, two, three = jax.random.split(KEY, 3)
    return LatentEvolution(
        StridedEncoder(2, 5, 1, (3,), space=(12,), conditioning=told, dtype=dtype, key=one),
        LatentMLP(
            5, (6,), conditioning=Conditioning("rate", modulation=FiLM(), embedding=Embedding(4)), dtype=dtype, key=two
        ),
        StridedDecoder(2, 5, 1, (3,), space=(12,), conditioning=told, dtype=dtype, key=three),
        residual,
    )


def random_state(*shape, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(dtype))


TOLD = {"rate": 0.3}


def test_n_steps_are_one_encoding_n_evolutions_and_the_decodings_asked_for():
    counted = {"encoder": 0, "dynamics": 0, "decoder": 0}

    def counting(name, part):
        def count(*_):
            counted[name] += 1

        def call(u, parameters=None, *, domain=None, key=None):
            jax.debug.callback(count)
            return part(u, parameters, domain=domain, key=key)

        return call

    model, u = eqx.filter_jit(small)(), random_state(2, 12)
    statistics = Statistics([0.5, -1.0], [2.0, 0.3]), Statistics([0.1, 0.2], [3.0, 0.5])
    around = Normalised(model, *statistics, parameters={"rate": Statistics(0.1, 0.5)})
    told = {"rate": (0.3 - 0.1) / 0.5}

    @eqx.filter_jit
    def by_hand(model, u):
        z, states = model.encode(statistics[0].remove(u), told), []
        for _ in range(6):
            z = z + model.dynamics(z, told)
            states.append(statistics[1].restore(model.decoder(z, told)))
        return jnp.stack(states)

    watched = LatentEvolution(*(counting(name, getattr(model, name)) for name in counted))
    watched = eqx.tree_at(lambda tree: tree.model, around, watched)
    found = latent_rollout(NeuralStepper(watched, DT, parameters=TOLD), u, 6, every=2)
    jax.effects_barrier()
    assert counted == {"encoder": 1, "dynamics": 6, "decoder": 3}
    np.testing.assert_allclose(found, by_hand(model, u)[1::2], rtol=1e-5, atol=1e-5)
    # One step from state to state is the first of them.
    np.testing.assert_allclose(eqx.filter_jit(around)(u, TOLD), by_hand(model, u)[0], rtol=1e-5, atol=1e-5)


def test_a_coarse_grid_as_latent_space_has_the_box_of_the_states():
    grid, told = Grid((8, 12), (1.0, 3.0), dtype=jnp.float32), Conditioning(coordinates=1)
    seen = []

    class Seen(eqx.Module):
        network: FNO

        def __call__(self, z, parameters=None, *, domain=None, key=None):
            seen.append(domain)
            return self.network(z, parameters, domain=domain, key=key)

    model = eqx.filter_jit(
        lambda: LatentEvolution(
            StridedEncoder(2, 3, 2, (4,), key=KEY),
            Seen(FNO(3, 3, 2, (2, 3), 4, num_layers=1, conditioning=told, key=KEY)),
            StridedDecoder(2, 3, 2, (4,), key=KEY),
        )
    )()
    states = latent_rollout(NeuralStepper(model, DT, grid), random_state(2, 8, 12), 2)
    assert states.shape == (2, 2, 8, 12) and seen[0].shape == (4, 6)
    model.evolve(jnp.zeros((3, 4, 6)), domain=grid)
    np.testing.assert_array_equal(seen[-1].extent, grid.extent)
    assert (model.in_channels, model.out_channels, model.ndim) == (2, 2, 2)


def test_a_key_is_that_of_each_step_of_a_rollout():
    def drawn(u, parameters=None, *, domain=None, key=None):
        return jax.random.normal(key, u.shape, u.dtype)

    stepper = NeuralStepper(LatentEvolution(same, drawn, same), DT)
    found = latent_rollout(stepper, first_state(), 4, every=2, key=KEY)
    np.testing.assert_allclose(found, rollout(stepper, first_state(), 4, key=KEY)[1::2], rtol=1e-6)
    # What is drawn to decode is that of the step, too.
    stepper = NeuralStepper(LatentEvolution(same, same, drawn), DT)
    found = latent_rollout(stepper, first_state(), 4, every=2, key=KEY)
    np.testing.assert_allclose(found, rollout(stepper, first_state(), 4, key=KEY)[1::2], rtol=1e-6)


@pytest.mark.float64
def test_the_contract():
    model = eqx.filter_jit(lambda: small(dtype=jnp.float64))()
    check_model(model, random_state(2, 12, dtype=np.float64), out_channels=2, parameters=TOLD)


def test_states_that_are_not_finite_are_told_of():
    model = LatentEvolution(same, lambda z, *_, **__: 1e12 * z, same, residual=False)
    # The largest number of single precision is reached in the fourth step, that of double precision in the 26th.
    step = 26 if GRID.dtype == np.float64 else 4
    with pytest.warns(RuntimeWarning, match=f"is not finite after step {step}, nor are those that follow"):
        latent_rollout(NeuralStepper(model, DT), first_state(), step + 4, every=2)


def test_it_is_saved_and_loaded(tmp_path):
    model = LatentEvolution(*(LatentMLP(4, (), key=key) for key in jax.random.split(KEY, 3)), residual=False)
    save(tmp_path / "model", model)
    again = load(tmp_path / "model").model
    assert eqx.tree_equal(again, model) and again.residual is False


def stepped(model, num_steps=2, **options):
    return latent_rollout(NeuralStepper(model, DT), first_state(), num_steps, **options)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LatentEvolution(FNO, same, same), r"LatentEvolution\(encoder=...\) takes a model that is built"),
        (lambda: LatentEvolution(same, 3, same), r"LatentEvolution\(dynamics=...\) takes a model, got a int"),
        (lambda: stepped(LatentEvolution(same, lambda z, *_, **__: z[:, 1:], same)), r"\(1, 16\) into \(1, 15\)"),
        (lambda: LatentEvolution(same, same, lambda z, *_, **__: z[:, 1:])(first_state()), "pass domain=grid"),
        (lambda: stepped(same), "There is no latent space in a function"),
        (lambda: stepped(InPrecision(LatentEvolution(same, same, same))), "in a InPrecision: .* around each of them"),
        (lambda: stepped(LatentEvolution(same, same, same), 0), "num_steps must be >= 1, got 0"),
        (lambda: stepped(LatentEvolution(same, same, same), 5, every=2), "5 steps are no multiple of every=2"),
        (
            lambda: latent_rollout(
                Normalised(LatentEvolution(same, same, same), *[Statistics([0.0], [1.0])] * 2), first_state(), 2
            ),
            r"takes NeuralStepper\(model, dt, grid\) first, got a Normalised",
        ),
        (lambda: latent_rollout(same, first_state(), 2), r"takes NeuralStepper\(model, dt, grid\) first, got a func"),
        (
            lambda: stepped(
                Normalised(LatentEvolution(same, same, same), Statistics([0.0], [1.0]), Statistics([0.0], [1.0]), True)
            ),
            r"these statistics \(residual=True\) are of increments",
        ),
        (lambda: stepped(LatentEvolution(same, same, lambda z, *_, **__: z[:, 1:])), r"into \(1, 15\), other points"),
        (
            lambda: stepped(LatentEvolution(same, same, lambda z, *_, **__: jnp.tile(z, (2, 1))), include_initial=True),
            r"states of shape \(2, 16\), and u0 has \(1, 16\)",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
