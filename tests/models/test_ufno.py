import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import UFNO, InPrecision, load, save
from pdejax.nn import Conditioning, FiLM, GridEmbedding, InstanceNorm
from pdejax.testing import check_model

PERIODIC = Conditioning(periodic=True)
made = eqx.filter_jit(lambda *arguments, **options: UFNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, modes=2, **options):
    layers = {"num_fourier_layers": 1, "num_u_layers": 1, "projection_width": 6, "conditioning": PERIODIC}
    return made(2, 5, ndim, modes, 3, **layers | options, key=jax.random.key(0))


def random_state(space, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, *space)).astype(dtype))


def test_the_published_network_has_as_many_weights():
    # Nine fields and three coordinates in, one field out; here a complex weight counts as one entry.
    told = Conditioning(coordinates=GridEmbedding())
    model = eqx.filter_eval_shape(lambda: UFNO(9, 1, 3, 10, 36, conditioning=told, key=jax.random.key(0)))
    leaves = jax.tree.leaves(eqx.filter(model, lambda leaf: hasattr(leaf, "shape")))
    numbers = sum(leaf.size for leaf in leaves)
    complex_weights = sum(convolution.real.size for convolution in model.convolutions)
    assert numbers - complex_weights == 33_097_829
    assert complex_weights == 6 * 36**2 * 4 * 10**3


@pytest.mark.float64
def test_the_contract_in_one_dimension():
    model = network(1, activation=jax.nn.gelu, dtype=jnp.float64)
    check_model(model, random_state((16,), np.float64), out_channels=5)


@pytest.mark.float64
def test_the_contract_in_three_with_numbers_and_a_field_and_walls():
    told = Conditioning(parameters="rate", fields="permeability", modulation=FiLM(), coordinates=(1, 2, 0))
    model = network(3, conditioning=told, padding=(0.2, 0, 0), walls="reflect", dtype=jnp.float64)
    u = random_state((9, 8, 8), np.float64)
    grid = Grid((9, 8, 8), 2.0, periodic=(False, True, True))
    check_model(model, u, out_channels=5, domain=grid, parameters={"rate": 0.3, "permeability": u[0] ** 2})


def test_it_commutes_with_translations_by_the_points_of_the_coarsest_level():
    model, u = network(2), random_state((16, 24))
    result = np.asarray(applied(model, u))
    moved = np.asarray(applied(model, jnp.roll(u, (8, -16), (1, 2))))
    np.testing.assert_allclose(moved, np.roll(result, (8, -16), (1, 2)), atol=1e-5)
    other = np.asarray(applied(model, jnp.roll(u, 1, 1)))
    assert np.max(np.abs(other - np.roll(result, 1, 1))) > 1e-3


def test_u_nets_see_what_the_kept_frequencies_do_not():
    # Without the matrices of the channels a layer of K alone is blind to frequency 7 of 16 points.
    u = jnp.asarray(np.cos(2 * np.pi * 7 * np.arange(16) / 16)[None].repeat(2, 0).astype(np.float32))
    model = network(1, num_fourier_layers=0)
    blind = eqx.tree_at(lambda m: m.shortcuts[0].weight, model, replace_fn=jnp.zeros_like)
    assert np.max(np.abs(applied(blind, u) - applied(blind, 0 * u))) > 1e-2
    without = eqx.tree_at(lambda m: m.u_nets[0].out.weight, blind, replace_fn=jnp.zeros_like)
    np.testing.assert_allclose(applied(without, u), applied(without, 0 * u), atol=1e-5)


def test_any_number_of_points_between_walls_and_only_there():
    model = network(2, conditioning=None, padding=(0.1, 0.5))
    shape = jax.ShapeDtypeStruct((2, 21, 16), jnp.float32)
    call = eqx.Partial(model, domain=Grid((21, 16), 1.0, periodic=(False, True), dtype=jnp.float32))
    assert eqx.filter_eval_shape(call, shape).shape == (5, 21, 16)
    u = random_state((16,))
    np.testing.assert_array_equal(*(applied(network(1, padding=each), u) for each in (0.0, 0.5)))
    with pytest.raises(ValueError, match="UFNO halves axis 1 three times, which goes around 12 points"):
        network(2)(jnp.ones((2, 16, 12)))


def test_numbers_act_on_all_that_a_layer_makes_but_its_matrix_of_channels():
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=True)
    model = network(1, num_fourier_layers=0, conditioning=told)
    # At first a modulation changes nothing.
    model = jax.tree.map(lambda leaf: leaf + 0.1 if eqx.is_inexact_array(leaf) else leaf, model)
    u, given = random_state((16,)), {"rate": 0.7}

    def by_hand(model, u):
        v = model.lift(u)
        made = model.convolutions[0](v) + model.u_nets[0](v, (True,))
        embedded = told.embedded(model.embedding, given, np.float32, "UFNO")
        made = model.modulations[0](made, embedded, (True,))
        return model.projection(model.activation(made + model.shortcuts[0](v)))

    np.testing.assert_allclose(applied(model, u, given), eqx.filter_jit(by_hand)(model, u), rtol=1e-4, atol=1e-4)


def test_behind_a_wall_there_is_what_was_asked_for():
    told = Conditioning(periodic=False)
    results = []
    for walls in ("zeros", "reflect"):
        model = network(1, num_fourier_layers=0, conditioning=told, padding=0.0, walls=walls)
        # Neither the series nor the matrices of the channels look behind a wall.
        model = eqx.tree_at(
            lambda m: (m.convolutions[0].real, m.convolutions[0].imaginary), model, replace_fn=jnp.zeros_like
        )
        results.append(np.asarray(applied(model, random_state((40,)))))
    assert np.max(np.abs(results[0] - results[1])) > 1e-3
    padded = [
        np.asarray(applied(network(1, conditioning=told, padding=0.25, walls=walls), random_state((16,))))
        for walls in ("zeros", "reflect")
    ]
    assert np.max(np.abs(padded[0] - padded[1])) > 1e-3


def test_it_computes_in_half_precision():
    model = InPrecision(network(2), jnp.bfloat16)
    lowered = eqx.filter_make_jaxpr(model)(jax.ShapeDtypeStruct((2, *(16, 24)), jnp.float32))
    assert lowered[1].shape == (5, *(16, 24)) and lowered[1].dtype == jnp.float32


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(parameters="rate", modulation=FiLM(), periodic=False, coordinates=1)
    model = network(1, conditioning=told, norm=InstanceNorm(affine=True), padding=0.1, slope=0.2, walls="zeros")
    save(tmp_path / "model", model)
    u, given = random_state((9,)), {"rate": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_u_layers": 0}, "num_u_layers >= 1, got 0"),
        ({"num_fourier_layers": 1.0}, "num_fourier_layers >= 0, an int of Python, got 1.0"),
        ({"slope": float("nan")}, "UFNO needs as slope a number, got nan"),
        ({"num_fourier_layers": -1}, "num_fourier_layers >= 0, an int of Python, got -1"),
        ({"padding": (0.1, -1)}, "`padding` >= 0"),
        ({"modes": (2, 2, 2)}, "`modes` has 3 entries"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    sizes = {"in_channels": 2, "out_channels": 5, "ndim": 2, "modes": 2, "width": 3}
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda: UFNO(**sizes | options, key=jax.random.key(0)))


@pytest.mark.usefixtures("without_shape_checks")
def test_states_that_do_not_fit_are_refused():
    model = eqx.filter_eval_shape(lambda: UFNO(2, 5, 1, 5, 3, key=jax.random.key(0)))
    for shape, domain, message in (
        ((1, 16), None, r"2 channels and 1 axes.*\(1, 16\)"),
        ((2, 16), None, "UFNO has to know which axes are periodic"),
        ((2, 6), Grid(6, 1.0, periodic=False), "UFNO keeps 5 modes along axis 0"),
        ((2, 16), Grid(16, 1.0, periodic=False, points="chebyshev"), "UFNO needs points at equal distances"),
    ):
        with pytest.raises(ValueError, match=message):
            model(jnp.ones(shape), domain=domain)
