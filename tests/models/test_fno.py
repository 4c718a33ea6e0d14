import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import FNO
from pdejax.nn import Modes


def waves(space, num_channels=2):
    """The same few sines on any grid, `(num_channels, *space)`, with frequencies up to 3 along each axis."""
    x = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in space), indexing="ij")
    channels = []
    for c in range(num_channels):
        phase = sum((a + c + 1) % 4 * xa for a, xa in enumerate(x))
        channels.append(np.sin(phase + c) + 0.5 * np.cos(2 * x[-1] - x[0]))
    return jnp.asarray(np.stack(channels).astype(np.float32))


# The weights are drawn by one program, and not by one for each of their shapes.
made = eqx.filter_jit(lambda *arguments, **options: FNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


@pytest.mark.parametrize(("space", "modes"), [((33,), 6), ((24, 33), (4, 7)), ((8, 9, 12), (2, 3, 4))])
def test_unequal_channels_and_grids_in_one_two_and_three_dimensions(space, modes):
    made_and_applied = lambda u: FNO(2, 5, len(space), modes, 6, num_layers=2, key=jax.random.key(0))(u)  # noqa: E731
    assert jax.eval_shape(made_and_applied, waves(space)).shape == (5, *space)


@pytest.mark.parametrize("space", [(24, 33), (15, 16)])
def test_it_commutes_with_translations(space):
    model = made(2, 5, 2, (4, 7), 8, num_layers=3, key=jax.random.key(0))
    u, shift = waves(space), (5, -4)
    moved = applied(model, jnp.asarray(np.roll(u, shift, (1, 2))))
    np.testing.assert_allclose(moved, np.roll(applied(model, u), shift, (1, 2)), atol=1e-5)


def test_coordinates_along_one_axis_break_only_that_translation():
    model = made(2, 5, 2, (4, 7), 8, num_layers=2, coordinates=(0, 3), periodic=True, key=jax.random.key(0))
    u = waves((24, 33))
    result = np.asarray(applied(model, u))
    moved = [np.asarray(applied(model, jnp.asarray(np.roll(u, 5, axis)))) for axis in (1, 2)]
    np.testing.assert_allclose(moved[0], np.roll(result, 5, 1), atol=1e-5)
    assert np.max(np.abs(moved[1] - np.roll(result, 5, 2))) > 0.1


@pytest.mark.parametrize("coordinates", [0, (1, 2)])
def test_the_same_function_at_another_resolution(coordinates):
    # Aliasing of the activation is what differs between two grids; a cubic of frequencies <= 3 stays below 24 / 2.
    at = {"coordinates": coordinates, "periodic": True}
    model = made(2, 3, 2, (5, 6), 8, num_layers=1, activation=lambda v: v**3, **at, key=jax.random.key(0))
    coarse, fine = (np.asarray(applied(model, waves(space))) for space in ((24, 26), (48, 78)))
    np.testing.assert_allclose(fine[:, ::2, ::3], coarse, atol=2e-5 * np.max(np.abs(coarse)))


def test_coordinates_follow_the_domain():
    model = made(1, 1, 1, 3, 4, num_layers=1, coordinates=2, key=jax.random.key(0))

    def on(n, **options):
        grid = Grid(n, 3.0, dtype=jnp.float32, **options)
        return np.asarray(applied(model, jnp.zeros((1, n), jnp.float32), domain=grid))

    nodes, centres, finer = on(12), on(12, points="centres"), on(24)
    np.testing.assert_allclose(finer[:, ::2], nodes, atol=1e-5)
    assert np.max(np.abs(centres - nodes)) > 1e-3
    walls = on(12, periodic=False)
    assert np.max(np.abs(walls[:, 0] - walls[:, -1])) > 1e-3  # the two ends are different places


def test_coordinates_without_a_domain_are_those_of_the_stated_kind_of_axes():
    u = jnp.zeros((1, 12), jnp.float32)
    for periodic in (True, False):
        stated = made(1, 1, 1, 3, 4, num_layers=1, coordinates=2, periodic=periodic, key=jax.random.key(0))
        grid = Grid(12, 3.0, periodic=periodic, points="nodes", dtype=jnp.float32)
        np.testing.assert_array_equal(applied(stated, u), applied(stated, u, domain=grid))
        with pytest.raises(ValueError, match=rf"made for periodic=\({periodic},\).*periodic=\({not periodic},\)"):
            stated(u, domain=Grid(12, 3.0, periodic=not periodic, dtype=jnp.float32))
    untold = made(1, 1, 1, 3, 4, num_layers=1, coordinates=2, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"which axes are periodic: pass domain=grid"):
        untold(u)


def test_parameters_are_constant_channels():
    model = made(1, 1, 1, 3, 4, num_layers=1, parameters=("drag", "viscosity"), key=jax.random.key(0))
    u = waves((12,), 1)
    results = jax.jit(lambda u, *of: [model(u, parameters) for parameters in of])
    result, exchanged = results(u, {"viscosity": 0.1, "drag": 2.0, "unused": 1.0}, {"viscosity": 2.0, "drag": 0.1})
    assert np.max(np.abs(np.asarray(result) - np.asarray(exchanged))) > 1e-2
    with pytest.raises(ValueError, match="needs the parameter 'drag'"):
        model(u, {"viscosity": 0.1})


def test_one_text_is_the_name_of_one_parameter():
    one = made(1, 1, 1, 2, 3, num_layers=1, parameters="viscosity", key=jax.random.key(0))
    assert one.parameters == ("viscosity",)


def test_both_conventions_give_the_same_model_when_they_keep_the_same_frequencies():
    total = made(1, 1, 2, Modes.neuraloperator((8, 8)), 4, key=jax.random.key(0))
    classic = made(1, 1, 2, (4, 5), 4, key=jax.random.key(0))
    np.testing.assert_array_equal(*(applied(model, waves((16, 17), 1)) for model in (total, classic)))


@pytest.mark.float64
def test_the_model_casts_at_its_own_boundary():
    u = np.asarray(waves((24, 33)), np.float64)
    single = made(2, 5, 2, 4, 6, key=jax.random.key(0))
    result, of_single = (np.asarray(applied(single, jnp.asarray(v))) for v in (u, u.astype(np.float32)))
    assert result.dtype == np.float64
    assert {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(single, eqx.is_array))} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(result, of_single.astype(np.float64))

    double = made(2, 5, 2, 4, 6, dtype=jnp.float64, key=jax.random.key(0))
    moved = applied(double, jnp.asarray(np.roll(u, 3, 1)))
    shift = np.roll(applied(double, jnp.asarray(u)), 3, 1) - moved
    assert np.max(np.abs(shift)) < 1e-13  # a float32 step inside would leave 1e-7


def test_it_lowers_for_every_platform():
    model = made(2, 5, 2, (4, 7), 8, num_layers=2, key=jax.random.key(0))
    arrays, rest = eqx.partition(model, eqx.is_array)
    call = jax.jit(lambda arrays, u: jax.vmap(eqx.combine(arrays, rest))(u))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)
    state = jax.ShapeDtypeStruct((3, 2, 24, 33), jnp.float32)
    exported = jax.export.export(call, platforms=["cpu", "cuda", "tpu"])(shapes, state)
    assert exported.out_avals[0].shape == (3, 5, 24, 33)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({}, (1, 24, 33), r"state of 2 channels and 2 axes.*\(1, 24, 33\)"),
        ({}, (2, 24), r"\(2, 24\); batches go through jax.vmap"),
        ({"modes": (4, 18)}, (2, 24, 33), "FNO keeps 18 modes along axis 1, whose 33 points resolve 17"),
        ({"modes": 13}, (2, 24, 33), r"FNO keeps 13 modes along axis 0, whose 24 points resolve 12.*up to \(12, 17\)"),
    ],
)
def test_states_that_do_not_fit_are_refused(arguments, shape, message):
    sizes = {"in_channels": 2, "out_channels": 5, "ndim": 2, "modes": 4, "width": 4, "num_layers": 1}
    model = eqx.filter_eval_shape(lambda: FNO(**(sizes | arguments), key=jax.random.key(0)))
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(model, jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"num_layers": 0}, "num_layers >= 1, got 0"),
        ({"coordinates": (1, 2, 3)}, "one number or 2"),
        ({"coordinates": 1, "periodic": (True, False, True)}, "`periodic`: one value or 2"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
        ({"modes": Modes.classic(3, 1)}, "ndim=2 but `modes` has 1"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    sizes = {"in_channels": 2, "out_channels": 5, "ndim": 2, "modes": 4, "width": 4, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        FNO(**(sizes | arguments))
